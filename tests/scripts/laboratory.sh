#!/usr/bin/env bash
# The laboratory as a user meets it: comparisons, shipped and made on the spot. A line a check.
#   tests/scripts/laboratory.sh [build directory]      or NORMA=<program> tests/scripts/laboratory.sh
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
. "$(dirname "$0")/checks.sh"

# ---- comparisons: what is refused
expect "compare: nothing to compare" 2 "a recipe or a comparison is needed" compare
expect "compare: unknown name" 2 'did you mean "learning-rates"?' compare learning-rate
expect "compare: a field that does not exist" 2 'unknown key "nrm" in model; did you mean "norm"?' compare tiny.toml --vary model.nrm=none
expect "compare: a value that does not exist" 2 'model.norm = bach (varied): must be one of' compare tiny.toml --vary model.norm=none,bach
expect "compare: --vary without values" 2 "KEY=VALUE,VALUE is needed" compare tiny.toml --vary model.norm
expect "compare: a name that several fields have" 2 "ambiguous name, it could be model.batch_norm.momentum" compare tiny.toml --vary momentum=0.1,0.2
expect "compare: a field by its last name" 0 "run 2/2" compare tiny.toml --vary batch_size=16,32 --seeds 1 --epochs 1 --out short_name
expect "compare: a value twice" 2 "is listed twice" compare tiny.toml --vary optimizer.lr=1,1
expect "compare: a field set and varied" 2 "optimizer.lr is varied" compare tiny.toml --vary optimizer.lr=1,2 --lr 3
expect "compare: the seed varied" 2 "by --seeds" compare tiny.toml --vary train.seed=1,2
expect "compare: unknown measure" 2 'did you mean "test_loss"?' compare tiny.toml --measure tes_loss
expect "compare: a comparison beside another" 2 "give it alone" compare learning-rates tiny.toml
expect "compare: --resume without --out" 2 "--resume needs --out" compare --resume
expect "compare: --resume with other values" 2 "unchanged" compare --resume --out x --vary optimizer.lr=1,2
expect "compare: --resume of what is none" 3 "it holds no comparison" compare --resume --out nowhere
expect "compare: more training samples than there are" 2 "data.train_samples is 70000" \
  compare fashion-lenet-bn-sigmoid --set data.train_samples=70000 --out many
check "compare: what was refused left nothing" "$(ls -d x nowhere runs 2>/dev/null)" ""
check "compare --list" "$("$norma" compare --list | grep -c '^learning-rates .*Batch norm allows larger learning rates')" 1

# ---- comparisons: runs
expect "compare: variations of a recipe" 0 "run 8/8" compare tiny.toml --vary model.activation=relu,tanh --vary optimizer.lr=0.001,0.01 \
  --seeds 2 --epochs 1 --out lab
check "... a line each" "$(grep -cE '^(relu|tanh) +0\.[0-9]+ .*±' stdout)" 4
check "... and which is the best" "$(grep -c '^Best test accuracy: ' stdout)" 1
check "... no wider than 80 columns" "$(awk 'length($0) > 100' stdout | grep -vc '^Best')" 0
check "... the folder" "$(ls lab | tr '\n' ' ')" "comparison.svg comparison.toml report.html results.jsonl runs "
check "... a run in it is a run" "$("$norma" eval lab/runs/activation=relu,lr=0.01,seed=1 --quiet | grep -c '^accuracy')" 1
expect "compare: the folder again" 2 "already holds a comparison" compare tiny.toml --out lab
expect "compare: a finished one resumed runs nothing" 0 "8 of them done before" compare --resume --out lab
check "... " "$(grep -c '^run ' stderr)" 0
"$norma" compare lab/comparison.toml --out again --json --quiet --jobs 1 >again.json
check "compare: from its file, one at a time, the same bits" "$(for f in lab again; do sort $f/results.jsonl | sed 's/"seconds":[^,]*,//'; done | sort | uniq -u)" ""
check "--json: a line a run and one at the end" "$(wc -l <again.json) $(grep -c '"final":true.*"verdict":"Best' again.json)" "9 1"

# ---- comparisons: an interruption
expect_interrupted() {
  "$norma" compare tiny.toml --vary optimizer.lr=0.001,0.01,0.1 --seeds 4 --epochs 40 --out cut --jobs 2 >/dev/null 2>cut.err &
  local pid=$!
  for _ in $(seq 300); do [ -s cut/results.jsonl ] && break; sleep 0.05; done
  kill -INT $pid
  wait $pid
  check "compare: Ctrl-C" "$? $(grep -c 'resume with: norma compare --resume --out cut' cut.err)" "130 1"
}
set -m # a background job of its own that SIGINT reaches
expect_interrupted
set +m
before=$(wc -l <cut/results.jsonl)
check "... before all had run" "$([ "$before" -lt 12 ] && echo yes)" yes
expect "... and resumed" 0 "$before of them done before" compare --resume --out cut
check "... runs the rest alone" "$(grep -c '^run ' stderr)" $((12 - before))
check "... each once" "$(wc -l <cut/results.jsonl) $(sed 's/.*"run":"\([^"]*\).*/\1/' cut/results.jsonl | sort -u | wc -l)" "12 12"
"$norma" compare cut/comparison.toml --out uncut --quiet >/dev/null
check "... to the bits of an uninterrupted one" "$(for f in cut uncut; do sort $f/results.jsonl | sed 's/"seconds":[^,]*,//'; done | sort | uniq -u)" ""

# ---- a comparison whose data moved
mkdir lies moved
{ printf '\0\0\10\3\0\0\0\44\0\0\0\6\0\0\0\6'; yes abcdefgh_ijk | head -c $((36 * 36)); } >lies/images # 36 samples of 6x6
{ printf '\0\0\10\1\0\0\0\44'; printf '\0\1\2\0\1\2\0\1\2%.0s' 1 2 3 4; } >lies/labels
cat >idx.toml <<'RECIPE'
[data]
name = "idx"
train_images = "lies/images"
train_labels = "lies/labels"
test_images = "lies/images"
test_labels = "lies/labels"
[model]
layers = [{ type = "flatten" }, { type = "linear", out = 3 }]
RECIPE
expect "compare: files of one's own" 0 "run 2/2" compare "$work/idx.toml" --vary optimizer.lr=0.1,0.2 --seeds 1 --epochs 2 --out own
sed -i 2d own/results.jsonl
rm -r own/runs/lr=0.2,seed=0
mv lies/* moved
expect "... that moved" 3 "lies/images: cannot be read" compare --resume --out own
check "... what helps" "$(grep -c 'if the files have moved: --set data.train_images=FILE' stderr)" 1
moved=()
for split in train test; do moved+=(--set data.${split}_images=moved/images --set "data.${split}_labels=$work/moved/labels"); done
expect "... a field of something else beside" 2 "--lr: --resume continues the comparison in --out unchanged" compare --resume --out own "${moved[@]}" --lr 1
expect "... named" 0 "1 of them done before" compare --resume --out own "${moved[@]}"
(cd moved && exec "$norma" compare --resume --out ../own --quiet) >stdout 2>stderr
check "... and known from then on, in any folder" "$? $(grep -c '^Best' stdout)" "0 1"

# ---- every comparison that comes with norma, at reduced size
for name in $("$norma" compare --list | cut -d' ' -f1); do
  expect "compare $name" 0 "" compare "$name" --data digits --set data.train_samples=200 --set data.test_samples=100 --epochs 2 --seeds 2 \
    --out "shipped-$name" --progress never
  check "... a verdict" "$(grep -cE '^verdict  (Holds|Does not hold here|Undecided): ' stdout)" 1
  check "... drawn first" "$(grep -c '<h2>In one picture</h2>' "shipped-$name/report.html")" 1
  check "... of runs that had what it is about" "$(grep -cE ' 0 pairs| nan|can be compared' stdout)" 0
done

# ---- every recipe that is about images, at reduced size
for name in mnist-lenet-bn fashion-lenet-bn-sigmoid fashion-cnn-bn deep-mlp; do
  expect "train $name" 0 "epoch 1/1" train "$name" --data digits --set data.train_samples=200 --set data.test_samples=100 --epochs 1 \
    --out "recipe-$name"
done

finish
