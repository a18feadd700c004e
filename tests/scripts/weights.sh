#!/usr/bin/env bash
# Weights from elsewhere on the command line: train --init, convert, and .pt files where norma reads a model.
#   tests/scripts/weights.sh [build directory]      or NORMA=<program> tests/scripts/weights.sh
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
torch=$(cd "$(dirname -- "$0")/../golden/torch" && pwd)
. "$(dirname "$0")/checks.sh"

# The net of sequential.pt, on images of 6x6.
cat >net.toml <<'RECIPE'
[data]
name = "digits"
train_samples = 200
test_samples = 100
resize = 6
[model]
layers = [
  { type = "conv2d", out = 2, kernel = 3 }, { type = "batch_norm" }, { type = "relu" }, { type = "flatten" },
  { type = "linear", out = 4 }, { type = "batch_norm" }, { type = "relu" }, { type = "linear", out = 3 }, { type = "linear", name = "head", out = 10 },
]
[train]
epochs = 1
batch_size = 32
RECIPE
# The file's own net, and one whose layers have other names.
sed 's/, { type = "linear", name = "head", out = 10 }//; s/name = "digits"/name = "idx"/; /_samples/d; /resize/d' net.toml >small.toml
printf '\0\0\10\3\0\0\0\50\0\0\0\6\0\0\0\6' >images && head -c 1440 "$norma" >>images
{ printf '\0\0\10\1\0\0\0\50' && for _ in 1 2 3 4 5 6 7 8 9 10; do printf '\0\1\2\0'; done; } >labels
sed -i 's/name = "idx"/&\ntrain_images = "images"\ntrain_labels = "labels"\ntest_images = "images"\ntest_labels = "labels"/' small.toml

# ---- convert
expect "convert" 0 "those of the file's 'model'" convert "$torch/checkpoint.pt" checkpoint.safetensors
check "... a line a tensor" "$(sed -n 2p stdout)" "weight                          (2, 3)           f32"
check "... in 80 columns" "$(awk 'length($0) > 80' stdout)" ""
expect "convert: a file that is there" 2 "exists: --force replaces it" convert "$torch/checkpoint.pt" checkpoint.safetensors
expect "convert --force: its own file" 0 "" convert "$torch/checkpoint.pt" checkpoint.safetensors --force
echo mine >mine.safetensors
expect "convert --force: another's file" 2 "is not a file of norma's" convert "$torch/checkpoint.pt" mine.safetensors --force
check "... stays" "$(cat mine.safetensors)" mine
expect "convert: no .safetensors" 2 "the file to write is a .safetensors" convert "$torch/checkpoint.pt" out.pt
expect "convert: several dictionaries" 3 "'model', 'ema': choose one by its key" convert "$torch/two.pt" two.safetensors
expect "convert --key" 0 "" convert "$torch/two.pt" two.safetensors --key ema
expect "convert --key of none" 3 "has no state_dict 'other'" convert "$torch/two.pt" other.safetensors --key other
expect "convert --rename" 0 "" convert two.safetensors renamed.safetensors --rename '*=fc.*' --rename 'bias=b'
check "... by the last that fits" "$(awk 'NR > 1 { print $1 }' stdout | head -n 2 | tr '\n' ' ')" "fc.weight b "
check "... says what it was" "$(sed -n 2p stdout | grep -c ' weight$')" 1
check "... with PyTorch's mark" "$(grep -c '"format":"pt"' renamed.safetensors)" 1
expect "convert --rename: no pattern" 2 "OLD=NEW" convert two.safetensors x.safetensors --rename fc
expect "convert --rename: it fits nothing" 2 'did you mean "weight"' convert two.safetensors x.safetensors --rename wieght=w
"$norma" convert "$torch/types.pt" types.safetensors --json >stdout 2>stderr
check "convert --json: one object" "$(grep -c '^{"schema":1,"model":"types.safetensors","tensors":\[{"name":"float16",.*"file_dtype":"F16"}' stdout) $(wc -l <stdout)" "1 1"
expect "convert: a type that norma does not read" 3 "torch.BoolStorage" convert "$torch/bool.pt" x.safetensors
expect "convert: code" 3 "holds __main__.Counted, code that unpickling would execute" convert "$torch/module.pt" x.safetensors
expect "convert: an old format" 3 "save the state_dict anew" convert "$torch/legacy.pt" x.safetensors
expect "convert: TorchScript" 3 "TorchScript" convert "$torch/script.pt" x.safetensors
check "nothing is left of what was refused" "$(ls -d x.safetensors* other.safetensors* 2>/dev/null)" ""

# ---- train --init
pt="$torch/sequential.pt"
expect "train --init" 0 "0.weight               conv1.weight            (2, 1, 3, 3)     by order" train small.toml --init "$pt" --init-key model --out run
check "... in 80 columns" "$(grep -v '^norma:' stderr | awk 'length($0) > 80')" ""
check "... counts what happened" "$(grep -c '16 tensors: 16 by order' stderr)" 1
check "... config.toml has the file and its digest" "$(grep -cE "^file = \".*/sequential.pt\"|^sha256 = \"$(sha256sum <"$pt" | cut -d' ' -f1)\"" run/config.toml)" 2
expect "train --init: of steps that move nothing the file's values are left" 0 "" train small.toml --init "$pt" --init-key model --lr 0 \
  --set 'train.groups=[{ pattern = "bn*", frozen_statistics = true }]' --out still --quiet
"$norma" convert "$pt" same.safetensors --key model >/dev/null 2>&1
hash_of() { "$norma" eval "$1" --recipe small.toml --json --quiet 2>stderr >stdout; key stdout parameters_hash; }
check "... by their hash" "$(hash_of still)" "$(hash_of same.safetensors)"
check "... the run of other weights differs" "$([ "$(hash_of run)" != "$(hash_of same.safetensors)" ] && echo yes)" yes
cp "$pt" gone.pt
expect "train: a file that goes" 0 "" train small.toml --init gone.pt --init-key model --epochs 2 --out whole --quiet
expect "... stopped" 0 "" train small.toml --init gone.pt --init-key model --epochs 1 --out part --quiet
rm gone.pt
expect "... --resume needs it no more" 0 "" train --resume --out part --epochs 2 --quiet
check "... and ends with the same bits" "$(hash_of part)" "$(hash_of whole)"
expect "... --resume with another" 2 "--resume with --init: init.file" train --resume --out part --epochs 3 --init same.safetensors
expect "... repeated it is missed" 3 "gone.pt: cannot be read" train part/config.toml --out again
cp same.safetensors gone.pt
expect "... and another is refused" 3 "is not the file that init.sha256 means" train part/config.toml --out again
expect "... unless asked for" 0 "16 tensors: 16 by order" train part/config.toml --init "$pt" --out again --force
check "a run leaves no trace where its weights are refused" "$(ls -d x 2>/dev/null)" ""
expect "train --init RUN" 0 "16 tensors: 16 as is" train small.toml --init run --out from_run
expect "train --init: of several dictionaries none" 3 "choose one by its key" train small.toml --init "$pt" --out x
expect "train --init: another net" 3 "--init-rename '0.*=conv1.*' --init-rename '1.*=bn1.*'" train net.toml --init same.safetensors --out x
expect "train --init: a part of the net" 0 "16 renamed, 2 kept" train net.toml --init same.safetensors --init-rename '0.*=conv1.*' --init-rename '1.*=bn1.*' \
  --init-rename '4.*=fc1.*' --init-rename '5.*=bn2.*' --init-rename '7.*=fc2.*' --init-missing --out part2 --force
expect "train --init: more than the net" 3 "head.weight" train small.toml --init part2 --out x
expect "train --init-extra" 0 "16 as is, 2 ignored" train small.toml --init part2 --init-extra --out part3
expect "train --init: a pattern that fits nothing" 2 'did you mean "conv1.*"' train small.toml --init run --init-rename 'cnov1.*=conv1.*' --out x
expect "train --init-missing alone" 2 "init.file is missing" train small.toml --init-missing --out x
expect "train --init: code" 3 "holds __main__.Counted" train small.toml --init "$torch/module.pt" --out x
expect "train --init: no such file" 3 "cannot be read" train small.toml --init none.pt --out x
printf '[init]\nfile = "same.safetensors"\nrename = ["0.*=conv1.*", "1.*=bn1.*", "4.*=fc1.*", "5.*=bn2.*", "7.*=fc2.*"]\n' | cat small.toml - >recipe.toml
before=$(sha256sum <run/model.safetensors)
expect "train --init RUN --out RUN --force" 2 "--force would remove that file" train small.toml --init run --out run --force
check "... leaves the run as it was" "$(sha256sum <run/model.safetensors)" "$before"
expect "[init] in a recipe" 0 "16 tensors: 16 renamed" train recipe.toml --out by_recipe
expect "[init] with an unknown key" 2 'did you mean "file"' train small.toml --set init.fiel=x --out x
check "nothing is left of what was refused" "$(ls -d x 2>/dev/null)" ""
expect "compare from weights" 0 "" compare small.toml --init same.safetensors --vary optimizer.lr=0.01,0.1 --seeds 1 --out lab --quiet
expect "... resumed" 0 "" compare --resume --out lab --quiet

# ---- .pt where a model is read
"$norma" convert "$pt" named.safetensors --key model --rename '0.*=conv1.*' --rename '1.*=bn1.*' --rename '4.*=fc1.*' --rename '5.*=bn2.*' \
  --rename '7.*=fc2.*' >/dev/null 2>&1
expect "inspect a .pt" 0 "" inspect "$torch/checkpoint.pt"
check "... its tensors" "$(grep -c '^weight .*(2, 3)' stdout)" 1
expect "eval of a .pt of several" 3 "choose one by its key" eval "$pt" --recipe small.toml
check "eval of converted weights" "$(hash_of named.safetensors)" "$(hash_of same.safetensors)"
expect "bn-fold of converted weights" 0 "" bn-fold named.safetensors --recipe small.toml --out folded
finish
