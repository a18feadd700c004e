#!/usr/bin/env bash
# The norma program as a user meets it: flags, exit codes, streams, signals, resuming, bad input. A line a check.
#   tests/scripts/cli.sh [build directory]      or NORMA=<program> tests/scripts/cli.sh
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
. "$(dirname "$0")/checks.sh"

# ---- help, version, usage
check "--version" "$("$norma" --version | grep -c '^norma [0-9]')" 1
check "--help names every command" "$("$norma" --help | sed -nE 's/^  ([a-z][a-z-]+) +[A-Z].*/\1/p' | tr '\n' ' ')" \
  "train eval predict convert compare plan verify bench inspect export bn-recalibrate bn-fold explain data doctor completions man "
check "--help explains the exit codes" "$("$norma" --help | grep -c '5 diverged')" 1
check "help of a command" "$("$norma" train --help | grep -c 'Usage: norma train')" 1
expect "no command" 2 "a command is needed"
expect "unknown command" 2 'did you mean "train"?' trian
expect "unknown flag" 2 'unknown flag "--epoch"; did you mean "--epochs"?' train tiny.toml --epoch 3
expect "flag without its value" 2 "--epochs" train tiny.toml --epochs
expect "a second recipe" 2 'unexpected argument "b"' train tiny.toml b
expect "no recipe" 2 "a recipe is needed" train
expect "unknown --progress" 2 "--progress must be one of" train tiny.toml --progress sometimes
expect "--verbose with --quiet" 2 "one or the other" train tiny.toml --verbose --quiet
expect "--resume without --out" 2 "--resume needs --out" train --resume
expect "--resume with --force" 2 "one or the other" train --resume --force --out x

# ---- recipes
expect "unknown recipe" 2 'did you mean "mnist-lenet-bn"?' train mnist-lenet
expect "recipe file that is not there" 2 "no/such.toml: cannot be read: No such file" train no/such.toml
sed 's/^kind/knid/' tiny.toml >typo.toml
expect "unknown key: file, line, column, suggestion" 2 'typo.toml:13:1: optimizer.knid: unknown key "knid" in optimizer; did you mean "kind"?' train typo.toml
sed 's/^epochs = 3/epochs = "3"/' tiny.toml >type.toml
expect "wrong type: line and column" 2 'type.toml:15:10: train.epochs: must be an integer' train type.toml
sed 's/^batch_size = 32/batch_size = 0/' tiny.toml >range.toml
expect "wrong range: line and column" 2 'range.toml:16:14: train.batch_size: must be' train range.toml
sed 's/^\[train\]/[train/' tiny.toml >syntax.toml
expect "not TOML" 2 'syntax.toml:14:' train syntax.toml
expect "a wrong value in a flag names the flag" 2 '--lr: must be a number of at least 0, got -1' train tiny.toml --lr -1
expect "a wrong --set names it" 2 '--set optimizer.lrr: unknown key "lrr"' train tiny.toml --set optimizer.lrr=1
expect "--set without a value" 2 'KEY=VALUE' train tiny.toml --set optimizer.lr
expect "shapes that do not fit name the layer" 2 '[conv1]' train tiny.toml --set model.layers.0.kernel=31
expect "a pool larger than its input names the layer" 2 '[pool1]' train tiny.toml --set model.layers.3.kernel=40
expect "a last batch of one sample" 2 '[bn2]' train tiny.toml --set data.train_samples=33 --out one
check "... before anything was trained, and leaves no run" "$(ls one 2>&1 | grep -c 'No such')" 1
expect "... and --drop-last helps" 0 '' train tiny.toml --set data.train_samples=33 --drop-last --epochs 1 --out dropped
expect "unknown instruction set" 2 '"sse9"' train tiny.toml --isa sse9

# ---- devices
if "$norma" doctor --json | grep -q '"usable": false'; then
  expect "--device cuda never becomes the CPU" 4 "device cuda cannot be used" train tiny.toml --device cuda
else
  skip "--device cuda never becomes the CPU" "this machine has a usable GPU"
fi
expect "unknown device" 2 "--device: unknown device" train tiny.toml --device gpu
expect "--device auto says what it chose" 0 "(auto: " eval dropped

# ---- data
expect "a missing set says where it was looked for, and what helps" 3 "norma data fetch mnist; where it lies elsewhere: --data-dir DIR" train mnist-lenet-bn --data-dir "$work/nothing"
image() { printf '\0\0\10\3\0\0\0\44\0\0\0\6\0\0\0\6'; yes abcdefgh_ijk | head -c $((36 * 36)); } # 36 samples of 6x6
label() { printf '\0\0\10\1\0\0\0\44'; printf '\0\1\2\0\1\2\0\1\2%.0s' 1 2 3 4; }
image >images; label >labels
cat >idx.toml <<'RECIPE'
[data]
name = "idx"
train_images = "images"
train_labels = "labels"
test_images = "images"
test_labels = "labels"
[model]
layers = [{ type = "flatten" }, { type = "linear", out = 3 }]
RECIPE
expect "IDX files of one's own" 0 "36 training" train idx.toml --out idx
head -c 700 images >short
expect "truncated images" 3 "short" train idx.toml --set data.train_images=short
{ cat images; printf 'x'; } >long
expect "bytes after the images" 3 "long" train idx.toml --set data.train_images=long
expect "wrong magic" 3 "labels" train idx.toml --set data.train_images=labels
expect "labels out of range" 3 "label" train idx.toml --set data.classes=2
{ printf '\0\0\10\1\0\0\0\43'; label | tail -c 35; } >fewer
expect "counts that differ" 3 "fewer" train idx.toml --set data.train_labels=fewer
printf '\0\0\10\3\0\0\0\0\0\0\0\6\0\0\0\6' >none; printf '\0\0\10\1\0\0\0\0' >no_labels
expect "an empty set" 3 "holds no samples" train idx.toml --set data.train_images=none --set data.train_labels=no_labels
gzip -c images | head -c 60 >cut.gz
expect "a gzip cut short" 3 "cut.gz" train idx.toml --set data.train_images=cut.gz
expect "a folder of IDX files: what to use instead" 2 "--data-dir: idx files are named one by one: --set data.train_images=FILE" train --resume --out idx --data-dir .
mkdir moved && mv images moved/
for tool in eval bn-recalibrate train; do
  case $tool in train) set -- --resume ;; eval) set -- idx ;; *) set -- idx --out tool ;; esac
  expect "$tool: data that moved, and what helps" 3 "if the files have moved: --set data." $tool "$@" $([ $tool = train ] && echo --out idx)
done
"$norma" bn-fold idx --out tool >/dev/null 2>stderr
check "bn-fold: the same" "$(grep -c 'warning: .*images: cannot be read' stderr) $(grep -c 'moved: --set data.test_images=FILE' stderr)" "1 1"
mv moved/images .
expect "data path of a set that is not there" 3 "norma data fetch" data path mnist --data-dir "$work/nothing"
expect "data verify of a set that is not there" 3 "not found" data verify mnist --data-dir "$work/nothing"
mkdir -p broken/mnist
for file in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do printf x >broken/mnist/$file-ubyte; done
expect "a broken file of a known set: how to mend it" 3 "mend it: norma data fetch mnist --data-dir $work/broken" train mnist-lenet-bn --data-dir "$work/broken"
"$norma" data verify mnist --data-dir "$work/broken" >/dev/null 2>stderr
check "data verify names each broken file once" "$? $(grep -o "broken/mnist/[a-z0-9]*-images-idx3-ubyte" stderr | wc -l)" "3 2"
expect "data show" 0 "" data show digits --out digits.png
check "... writes a PNG" "$(head -c 4 digits.png | tail -c 3)" PNG
"$norma" doctor --json >doctor.json
check "doctor exits with 0 and speaks of CUDA" "$? $(grep -c '^  "cuda": {' doctor.json)" "0 1"
if grep -q '"usable": false' doctor.json; then
  check "... says what to do where it cannot be used" "$("$norma" doctor | grep -A 1 '^cuda ' | grep -c 'fix: .*; until then training runs on the CPU$')" 1
else
  check "... names the GPU" "$("$norma" doctor | grep -c '^gpu 0 .*: usable$')" 1
fi
check "... never speaks of what there is not yet" "$("$norma" doctor | grep -ci 'no CUDA backend')" 0

# ---- bench
expect "bench without a subcommand" 2 "a command is needed: step, calls, epoch, bn, latency, ops, predict, export" bench
expect "bench step: no threads" 2 "--threads" bench step tiny.toml --threads 0
expect "bench step: threads that are no number" 2 "--threads" bench step tiny.toml --threads 1,many
expect "bench step: an unknown level" 2 '"sse9"' bench step tiny.toml --isa sse9
expect "bench step: a batch larger than the data" 2 "200 samples" bench step tiny.toml --batch 1000
expect "bench calls: an unknown recipe" 2 "nonesuch" bench calls nonesuch
expect "bench calls: no steps" 2 "--steps" bench calls tiny.toml --steps 0
expect "bench ops: nothing of that name" 2 "resnet18/layer1.0.conv1" bench ops nonesuch --seconds 0
if "$norma" doctor --json | grep -q '"usable": false'; then
  for what in "step tiny.toml" "calls tiny.toml" "epoch tiny.toml" bn latency; do
    expect "bench $what on a GPU that is not there" 4 "device cuda cannot be used" bench $what --device cuda
  done
fi
expect "bench step: threads of a GPU" 2 "--threads is for the CPU" bench step tiny.toml --device cuda --threads 2
expect "bench epoch: the first does not count" 2 "--epochs 1" bench epoch tiny.toml --epochs 1
expect "bench bn: nothing of that name" 2 "resnet50/layer1.0.bn3" bench bn nonesuch --device cpu
expect "bench bn: an unknown layout" 2 'got "nhcw"' bench bn lenet --layout nhcw
expect "bench latency: not of a CPU" 2 "a GPU's" bench latency --device cpu
expect "bench: a set that is missing" 3 "norma data fetch mnist" bench step mnist-lenet-bn --data-dir "$work/nothing"

"$norma" plan tiny.toml --json >plan.json
"$norma" bench calls tiny.toml --threads 1 --steps 3 --json --quiet >calls.json
check "bench calls --json: one object" "$? $(grep -c '^{"schema":1,"recipe":"tiny","mode":"train","tables":\[{"batch":32,"threads":1,.*}$' calls.json)" "0 1"
check "... every call of the plan, in its order" "$(tr ',' '\n' <calls.json | sed '/"groups"/,$d' | sed -n 's/.*"call":"\(.*\)"/\1/p')" \
  "$(tr ',' '\n' <plan.json | sed -n 's/.*"call":"\(.*\)"/\1/p')"
for field in seconds bytes flops share_of_roofline flops_per_second copy_bytes_per_second calls_seconds step_seconds; do
  check "... has $field" "$(grep -c "\"$field\":" calls.json)" 1
done
"$norma" bench calls tiny.toml --threads 1,2 --steps 2 --eval --quiet >calls.txt
check "bench calls: a table for each number of threads" "$? $(grep -c '^sum ' calls.txt)" "0 2"
check "... of evaluation: no backward calls" "$(grep -c backward calls.txt)" 0
"$norma" bench step tiny.toml --threads 1,2 --batch 16,32 --steps 3 --rounds 2 --json --quiet >step.json
check "bench step --json: a variant for each batch size and number of threads" "$? $(grep -o '"samples_per_second"' step.json | wc -l)" "0 4"
check "... counts the steps of all rounds" "$(grep -o '"step_seconds":{[^}]*"count":6}' step.json | wc -l)" 4
"$norma" bench step tiny.toml --threads 1 --steps 3 --rounds 2 --quiet >step.txt
check "bench step: a line a variant" "$? $(grep -cE '^ +32 +1 ' step.txt)" "0 1"
"$norma" bench epoch tiny.toml --epochs 3 --runs 1 --device cpu --quiet >epoch.txt
check "bench epoch: a line for training, evaluation, both" "$? $(grep -cE '^(training|evaluation|epoch) +[0-9.]+ ' epoch.txt)" "0 3"
check "... and a run in a process of its own" "$(grep -c 'from the process.s start to its exit: .*of 1)$' epoch.txt)" 1
"$norma" bench bn lenet/bn1 --threads 1 --seconds 0 --quiet >bn.txt
check "bench bn: two passes of a layer" "$? $(grep -cE '^bn1 256x6x24x24 +lanes +(fwd|bwd) ' bn.txt)" "0 2"
"$norma" bench ops fc3 --seconds 0 --quiet >ops.txt
check "bench ops: three passes of a layer" "$? $(grep -cE '^84 -> 10 +(fwd|wgrad|dgrad) ' ops.txt)" "0 3"
check "bench: no line is wider than 80 columns" "$(cat calls.txt step.txt epoch.txt bn.txt ops.txt | awk 'length($0) > 80' | head -n 3)" ""
mkdir alone && cp "$norma" alone/norma
alone/norma bench ops fc3 --seconds 0 >ops.txt 2>ops.err
check "bench ops without oneDNN says so and goes on" "$? $(grep -c 'not installed$' ops.txt) $(grep -c 'apt-get install libdnnl-dev' ops.err)" "0 4 1"
alone/norma bench ops fc3 --seconds 0 --json --quiet >ops.json 2>ops.err
check "... --json" "$? $(grep -c '"onednn":null' ops.json) $(grep -c onednn_direct ops.json)" "0 1 0"
expect "bench export" 0 "" bench export exported tiny.toml --epochs 2
check "... the order of every epoch" "$(grep -ac '"order":{[^}]*"shape":\[2,200\]' exported/order.safetensors)" 1
check "... as int32" "$(grep -ac '"order":{[^}]*"dtype":"I32"' exported/order.safetensors)" 1
check "... the initial weights" "$(grep -ac '"conv1.weight"' exported/weights.safetensors)" 1
expect "bench export into a file" 1 "tiny.toml" bench export tiny.toml tiny.toml

# ---- verify
"$norma" verify tiny.toml --device cpu >verify.txt 2>verify.err
check "verify passes" "$? $(grep -c '^passed: [0-9]* calls$' verify.txt)" "0 1"
check "... a line for each kind of call" "$(grep -cE '^(conv2d_forward|batch_norm_max_pool|update|batch_norm_rstd) +cpu +[0-9]+ ' verify.txt)" 4
check "... training, an epoch's last batch and evaluation as they really run" "$(grep -cE '^cpu +(train 32|train 8|eval 32) +3 runs: the same bits$' verify.txt)" 3
check "... in 80 columns" "$(awk 'length($0) > 80' verify.txt)" ""
check "... the level and the data in the log" "$(grep -cE 'device: cpu \(|data: digits/train' verify.err)" 2
"$norma" verify tiny.toml --device cpu --json --quiet >verify.json 2>verify.err
check "verify --json: one object, and nothing else" "$? $(grep -c '^{"schema":1,"recipe":"tiny",.*"passed":true,.*}$' verify.json) $(wc -l <verify.json) $(wc -c <verify.err)" "0 1 1 0"
for level in $(sed -n '/^  "isa"/,/]/s/^    "\(.*\)".*/\1/p' doctor.json); do
  "$norma" verify tiny.toml --device cpu --isa "$level" >verify.txt 2>/dev/null
  check "verify --isa $level" "$? $(grep -c "^cpu .*($level, " verify.txt)" "0 1"
done
expect "verify without its data set: the built-in digits, loudly" 0 "warning: mnist was not found" verify --device cpu --batch-size 16 --data-dir "$work/nothing" --quiet
expect "verify: an unknown recipe" 2 'did you mean "mnist-lenet-bn"?' verify mnist-lenet --device cpu
expect "verify: an unknown flag" 2 'did you mean "--device"?' verify --devices cpu
expect "verify: what training refuses" 2 '[bn2]' verify tiny.toml --device cpu --set data.train_samples=33
if grep -q '"usable": false' doctor.json; then
  expect "verify --device cuda never becomes the CPU" 4 "device cuda cannot be used" verify tiny.toml --device cuda
else
  expect "verify --device cuda" 0 "" verify tiny.toml --device cuda
  check "... in two columns at least" "$(grep -c '^ \{35\}cuda ' stdout)" "$(grep -cE '^[a-z0-9_]+ +cpu +[0-9]+ ' stdout)"
fi

# ---- explain
expect "explain: no topic" 2 "topic is required" explain
expect "explain: an unknown topic" 2 'did you mean "batchnorm"?' explain batchnrom
"$norma" explain batchnorm >explain.txt
check "explain batchnorm" "$? $(grep -c '0.4000  1.3000  2.2000$' explain.txt) $(grep -c 'tanh(x) *0.9999  1.0000$' explain.txt)" "0 1 1"
check "... in 80 columns" "$(awk 'length($0) > 80' explain.txt)" ""
check "... --json: one object" "$("$norma" explain batchnorm --json | grep -c '^{"schema":1,"topic":"batchnorm",.*}$')" 1
check "explain recipe: a table of each section" "$("$norma" explain recipe | grep -cE '^## `(data|model|optimizer|schedule|loss|init|train|device)`$')" 8
check "... --json: one object" "$("$norma" explain recipe --json | grep -c '^{"schema":1,"topic":"recipe","tables":\[{"of":"section",.*}$')" 1
check "train --help: one line for a flag and the page" "$("$norma" train --help | grep -c 'Optimizer, with its own defaults: sgd, adam, adamw')" 1

# ---- the shipped recipes at reduced size
for recipe in mnist-lenet-bn fashion-lenet-bn-sigmoid fashion-cnn-bn; do
  expect "recipe $recipe on few digits" 0 "epoch 1/1  train loss" train $recipe --data digits --set data.train_samples=512 \
    --set data.test_samples=100 --epochs 1 --out "reduced-$recipe"
done
for recipe in circles-bn circles; do
  "$norma" train $recipe --epochs 150 --threads 1 --json --verbose --out $recipe >$recipe.json 2>$recipe.err
  check "recipe $recipe: exit code, lines of 150 epochs" "$? $(grep -c '^epoch [0-9]*/150 ' $recipe.err) $(wc -l <$recipe.json)" "0 2 151"
  check "... --verbose shows the shapes" "$(grep -cE '^  (fc1 +\(1400, 64\) +192|fc2 +\(1400, 32\) +2080|fc3 +\(1400, 2\) +66)$' $recipe.err)" 3
  check "... is drawn with its boundary" "$(grep -c 'class="boundary"' $recipe/curves.svg $recipe/report.html | grep -c ':[1-9]')" 2
done
check "circles-bn tells the circles apart" "$(key circles-bn.json test_accuracy | cut -c1-4)" 0.99
check "... long before circles does" "$(awk -v a="$(key circles-bn.json train_loss)" -v b="$(key circles.json train_loss)" 'BEGIN { print (a < b / 4) }')" 1

# ---- a run: streams and the run directory
"$norma" train tiny.toml --epochs 12 --out whole --json >whole.json 2>whole.err
check "a run exits with 0" $? 0
check "--json: a line an epoch and a final one" "$(wc -l <whole.json)" 13
check "--json: nothing but objects" "$(grep -cvE '^\{.*\}$' whole.json)" 0
check "the final object" "$(tail -n 1 whole.json | grep -c '^{"schema":1,"final":true,"epoch":12,')" 1
for k in epoch train_loss train_accuracy test_loss test_accuracy seconds train_seconds samples_per_second learning_rate parameters_hash device; do
  check "--json: $k in every line" "$(grep -c "\"$k\":" whole.json)" 13
done
check "the log and a line an epoch on stderr" "$(grep -c '^epoch [0-9]*/12  train loss' whole.err)" 12
check "no bar and no color without a terminal" "$(grep -c $'[\r\033]' whole.err)" 0
for f in config.toml environment.json metrics.jsonl metrics.csv health.jsonl model.safetensors training.safetensors report.html curves.svg; do
  check "the run directory has $f" "$([ -s whole/$f ] && echo yes)" yes
done
check "metrics.csv: a row an epoch, and its keys" "$(grep -c . whole/metrics.csv) $(head -n 1 whole/metrics.csv | tr -d '\r' | tr ',' '\n' | tr '\n' ' ')" \
  "13 $(head -n 1 whole/metrics.jsonl | tr ',' '\n' | sed -n 's/^{*"\([a-z_]*\)":.*/\1/p' | grep -vx schema | tr '\n' ' ')"
check "--quiet leaves stderr empty" "$("$norma" train tiny.toml --epochs 1 --quiet --out quiet 2>&1 >/dev/null)" ""
"$norma" train whole/config.toml --out again --json --quiet >again.json
check "config.toml repeats the run to the same bits" "$(key again.json parameters_hash)" "$(key whole.json parameters_hash)"
cmp -s whole/config.toml again/config.toml && ok "... and is written the same" || bad "... and is written the same" "$(diff whole/config.toml again/config.toml)"
"$norma" train tiny.toml --epochs 12 --threads 3 --no-reuse --check-each --out threads --json --quiet >threads.json
check "threads, --no-reuse, --check-each: the same bits" "$(key threads.json parameters_hash)" "$(key whole.json parameters_hash)"
expect "unknown --precision" 2 '--precision: must be one of fp32, tf32, bf16, got "fp16"' train tiny.toml --precision fp16
"$norma" train tiny.toml --epochs 12 --precision bf16 --out rounded --json --quiet >rounded.json
check "--precision bf16 learns, to other bits" "$? $(grep -c '^precision = "bf16"$' rounded/config.toml) $(key rounded.json test_accuracy | cut -c1-3)" "0 1 $(key whole.json test_accuracy | cut -c1-3)"
[ "$(key rounded.json parameters_hash)" != "$(key whole.json parameters_hash)" ] && ok "... than fp32's" || bad "... than fp32's" "the same hash"
expect "... is of the run, so --resume does not change it" 2 'train.precision is "bf16" in this run' train --resume --out rounded --precision fp32
check "... is verified" "$("$norma" verify tiny.toml --device cpu --precision bf16 2>/dev/null | grep -c '^passed: ')" 1
check "... is in the plan" "$("$norma" plan tiny.toml --precision bf16 2>/dev/null | grep -cE '^ *[0-9]+ +(conv2d|linear)_.* bf16')" "$("$norma" plan tiny.toml 2>/dev/null | grep -cE '^ *[0-9]+ +(conv2d|linear)_')"
"$norma" eval whole --json --quiet >eval.json
"$norma" data show digits --rows 1 --columns 1 --out cell.png >/dev/null
# The sample is a part of the picture: a picture of a whole other size is still one of the net's classes.
check "predict" "$("$norma" predict whole cell.png --top 2 --json --quiet | grep -o '"probability"' | wc -l)" 2
expect "predict says what it did" 0 "cell.png: 128x" predict whole cell.png
"$norma" train tiny.toml --epochs 2 --set train.log_loss=true --quiet --out logarithmic >/dev/null
check "train.log_loss" "$(grep -c 'vertical axis logarithmic' logarithmic/curves.svg)" 1
mkdir named && cp whole/model.safetensors named && sed 's/^name = "digits"/name = "fashion-mnist"/; /^seed/d' whole/config.toml >named/config.toml
check "predict names the classes that the model knows" "$("$norma" predict named cell.png --top 10 --quiet | grep -c ' 0 .* 9 \| 9 .* 0 ')" 1
expect "predict without an image" 2 "image is required" predict whole
expect "predict with no such file" 3 "absent.png: cannot be read: No such file" predict whole cell.png absent.png
head -c 200 cell.png >short.png
expect "predict with a PNG cut short" 3 "short.png: is cut short" predict whole short.png
echo text >text.png
expect "predict with what is no picture" 3 "text.png: is not a PNG picture" predict whole text.png
expect "predict with a folder" 3 "whole: is a folder" predict whole whole
expect "predict --invert with a wrong word" 2 "--invert must be one of auto, always, never" predict whole cell.png --invert no
check "eval repeats the run's accuracy" "$(key eval.json accuracy)" "$(key whole.json test_accuracy)"
expect "inspect" 0 "" inspect whole
check "... shows the running statistics" "$(grep -c 'running_var' stdout)" 4
foreign='{"w.q":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},"w.s":{"dtype":"F3_NEW","shape":[9],"data_offsets":[2,3]}}'
{ printf "\\x$(printf %x ${#foreign})\\0\\0\\0\\0\\0\\0\\0%s\\x38\\xc0x" "$foreign"; } >foreign.safetensors
expect "inspect of a file of other programs" 0 "" inspect foreign.safetensors
check "... lists every tensor, with figures where it knows the type" "$(sed -n '3,$p' stdout | tr -s ' ')" $'w.q (2) F8_E4M3 2.236 -0.5 1.5 -2 1\nw.s (9) F3_NEW - - - - -'
check "... says what it cannot show" "$(sed -n 1p stdout)" "norma does not load tensors of F3_NEW, F8_E4M3, so norms are not shown"
check "... --json" "$("$norma" inspect foreign.safetensors --json | grep -c '^{"schema":1,.*"dtype":"F8_E4M3","norm":2.236.*"dtype":"F3_NEW","norm":null,')" 1
expect "... a layer of it" 2 'has no layer "v"' inspect foreign.safetensors --layer v
expect "... which is not loaded" 3 "dtype 'F8_E4M3' is not supported" eval foreign.safetensors --recipe tiny.toml
expect "bn-recalibrate" 0 "" bn-recalibrate whole --out exact --json
check "... and eval takes what it wrote" "$("$norma" eval exact --json 2>/dev/null | key /dev/stdin loss)" "$(sed 's/.*"after":{"loss":\([^,]*\).*/\1/' stdout)"
expect "bn-recalibrate does not replace its input" 2 "--force replaces it" bn-recalibrate whole --out whole
expect "bn-recalibrate of more samples than there are" 2 "200 samples, not 201" bn-recalibrate whole --out more --samples 201
expect "bn-fold" 0 "" bn-fold whole --out folded --json
check "... folds every batch norm and changes no output by more than rounding" "$(sed 's/.*"folded":\(.*\),"kept":\(.*\),"before".*relative_difference":\(.*\)}/\1 \2 \3/' stdout | awk '{ print $1, $2, $3 < 1e-5 }')" \
  '[{"norm":"bn1","into":"conv1"},{"norm":"bn2","into":"fc1"}] [] 1'
check "... and eval takes what it wrote" "$("$norma" eval folded --json 2>/dev/null | key /dev/stdin loss)" "$(sed 's/.*"after":{"loss":\([^,]*\).*/\1/' stdout)"
expect "bn-fold of a net without batch norms" 2 "the net has no batch norm" bn-fold folded --out unfolded
expect "bn-fold into the model's own folder" 2 "exists: --force" bn-fold whole --out whole
expect "plan" 0 "" plan tiny.toml --mode eval
check "... names the calls" "$(grep -c 'conv2d_forward' stdout)" 1
if grep -q '"built": true' doctor.json; then
  expect "plan for a GPU that need not be here" 0 "" plan tiny.toml --device cuda --card h100
  check "... names it, and predicts" "$(grep -cE '^tiny, training, .*: kernels on NVIDIA H100|^predicted us a step ' stdout)" 2
  check "... lists kernels with their grids" "$(grep -cE '^    [a-z_]+.* [0-9]+x[0-9]+c? +[0-9]+ ' stdout)" "$(sed -n 's/^[0-9]* calls, \([0-9]*\) kernels.*/\1/p' stdout)"
else
  expect "plan for a GPU, by a build without its kernels" 4 "no CUDA" plan tiny.toml --device cuda
fi
expect "plan --card without a GPU's plan" 2 "add --device cuda" plan tiny.toml --device cpu --card h200
{ cat tiny.toml && printf '[[train.groups]]\npattern = "conv1.*"\nrate = 0\n'; } >frozen.toml
expect "plan with groups" 0 "" plan frozen.toml
check "... leaves out the backward of a frozen layer" "$(grep -c 'conv2d_backward' stdout)" 0
check "... says what they save" "$(grep -cE '^groups: [0-9]+ calls, .*B, .*FLOP; without them [0-9]+ calls, .*B, .*FLOP$' stdout)" 1
check "... in JSON too" "$("$norma" plan frozen.toml --json --quiet | grep -cE '"without_groups":\{"calls":[0-9]+,"bytes":[0-9.]+,"flops":[0-9.]+\}')" 1
check "... and nothing of them in evaluation" "$("$norma" plan frozen.toml --mode eval --quiet | grep -c '^groups')" 0
for command in "train frozen.toml --out none" "plan frozen.toml"; do
  expect "${command%% *}: a group that fits nothing" 2 '--set train.groups.0.pattern: group "conv2.*" fits no parameter; did you mean' $command --set 'train.groups.0.pattern=conv2.*'
done
sed 's/"conv1/"conv9/' frozen.toml >conv9.toml
expect "... in the file: line and column" 2 'conv9.toml:18:11: train.groups.0.pattern: group "conv9.*" fits no parameter' plan conv9.toml
check "plan --json" "$("$norma" plan tiny.toml --json --quiet | head -c 28)" '{"schema":1,"recipe":"tiny",'
mkdir here && (cd here && "$norma" train ../tiny.toml --epochs 1 --quiet >summary)
check "the default run directory" "$(ls here/runs | grep -cE '^tiny-[0-9]{8}-[0-9]{6}$')" 1
check "the summary names it and its pictures" "$(grep -cE '^(run directory|pictures) +runs/tiny-' here/summary)" 2

# ---- what is not overwritten, and what cannot be written
expect "a run that is there is refused" 2 "already holds a run" train tiny.toml --out whole
before=$(sha256sum <whole/training.safetensors)
touch file
expect "an --out that cannot be made" 1 "file" train tiny.toml --out file/run
if [ "$(id -u)" -ne 0 ]; then
  mkdir -m 555 locked
  expect "an --out without permission" 1 "locked" train tiny.toml --out locked/run
else
  skip "an --out without permission" "root may write everywhere"
fi
(trap '' XFSZ; ulimit -f 4; exec "$norma" train --resume --out whole --epochs 13 >/dev/null 2>stderr)
check "a disk that is full while saving" "$? $(grep -c 'norma: error: ' stderr)" "1 1"
check "... leaves the checkpoint" "$(sha256sum <whole/training.safetensors)" "$before"
expect "... from which the run goes on" 0 "resumed after 12 epochs" train --resume --out whole --epochs 13
expect "--force replaces a run" 0 "" train tiny.toml --epochs 1 --out whole --force
check "... and only one epoch is left" "$(wc -l <whole/metrics.jsonl)" 1

# ---- divergence
expect "a learning rate that diverges" 5 "try --lr" train tiny.toml --optimizer sgd --lr 1e30 --out diverged
check "... names layer and step" "$(grep -cE 'step [0-9]+ .*\[?[a-z0-9]+' stderr)" 1
expect "... the last good state can be read" 0 "" inspect diverged
expect "... what it computes is not finite, and no result" 5 "wrote inf" eval diverged

# ---- checkpoints
expect "a checkpoint of another architecture" 3 "conv1.weight" eval again --set model.layers.0.out=5
head -c 900 again/model.safetensors >cut.safetensors
expect "a checkpoint cut short" 3 "cut.safetensors" inspect cut.safetensors
expect "weights without their recipe" 2 "--recipe" eval cut.safetensors
expect "a checkpoint that is not there" 3 "nothing/model.safetensors: no such file" eval nothing/model.safetensors

# ---- signals and resuming
# Waits for the first epoch of a run in $1, then sends signal $2 to process $3.
interrupt() {
  local waited=0
  until [ -s "$1/metrics.jsonl" ] || [ $waited -ge 3000 ]; do sleep 0.01; waited=$((waited + 1)); done
  kill "-$2" "$3"
}
epochs=240 # about a second: enough for this script to come in between
"$norma" train tiny.toml --epochs $epochs --out uninterrupted --json --quiet >uninterrupted.json 2>stderr || bad "$epochs epochs" "$(cat stderr)"
reference=$(key uninterrupted.json parameters_hash)
for signal in INT:130 TERM:143 KILL:137; do
  name=${signal%:*} code=${signal#*:}
  # A background job of a script ignores SIGINT; norma keeps what was set to be ignored.
  env --default-signal=INT "$norma" train tiny.toml --epochs $epochs --out "$name" --quiet >/dev/null 2>"$name.err" &
  pid=$!
  interrupt "$name" "$name" $pid
  wait $pid 2>/dev/null
  rc=$?
  check "SIG$name: exit code" $rc $code
  check "SIG$name: before the end" "$([ "$(wc -l <"$name/metrics.jsonl")" -lt $epochs ] && echo yes)" yes
  "$norma" train --resume --out "$name" --json --quiet >"$name.json" 2>"$name.err" || bad "SIG$name: resume" "$(cat "$name.err")"
  check "SIG$name: --resume ends with the bits of an uninterrupted run" "$(key "$name.json" parameters_hash)" "$reference"
  check "SIG$name: metrics.csv has the same" "$(sed '1d; s/,.*//' "$name/metrics.csv" | tr '\n' ' ')" "$(seq -s ' ' $epochs) "
  check "SIG$name: each epoch has one line" "$(sed 's/.*"epoch":\([0-9]*\).*/\1/' "$name/metrics.jsonl" | tr '\n' ' ')" "$(seq -s ' ' $epochs) "
done
expect "--resume of a finished run" 0 "resumed after $epochs epochs" train tiny.toml --resume --out INT
expect "--resume with another learning rate" 2 '--resume with --lr: optimizer.lr is 0.001 in this run (INT/config.toml)' train --resume --out INT --lr 0.5
expect "--resume with another model" 2 'model.activation' train --resume --out INT --activation tanh
expect "--resume with fewer epochs than done" 2 "has done $epochs already" train --resume --out INT --epochs 5
expect "--resume with another recipe" 2 'holds a run of recipe "tiny"' train mnist-lenet-bn --resume --out INT
expect "--resume of what is no run" 3 "cannot resume" train --resume --out here
expect "--resume with more epochs and other threads" 0 "resumed after $epochs epochs" train --resume --out INT --epochs $((epochs + 1)) --threads 1
check "... takes them into config.toml" "$(grep -c "^epochs = $((epochs + 1))\$" INT/config.toml)" 1

# ---- standard output that fails
{ sleep 0.3; "$norma" plan tiny.toml --quiet 2>pipe.err; echo $? >pipe.rc; } | true
check "a closed pipe ends plan quietly" "$(cat pipe.rc pipe.err)" 141
{ sleep 0.3; "$norma" train tiny.toml --epochs 2 --json --out piped 2>pipe.err; echo $? >pipe.rc; } | true
check "a closed pipe does not stop a run" "$(cat pipe.rc) $(grep -c 'the run continues without it' pipe.err) $(wc -l <piped/metrics.jsonl)" "0 1 2"
"$norma" plan tiny.toml --quiet >/dev/full 2>stderr
check "a full disk behind stdout" "$? $(grep -c 'cannot write to standard output' stderr)" "1 1"

# ---- a terminal
if command -v script >/dev/null; then
  terminal() { script -qec "stty cols $1; $2" /dev/null </dev/null >typescript 2>&1; }
  for columns in 80 50; do
    terminal $columns "'$norma' train tiny.toml --epochs 3 --set data.train_samples=2000 --out tty$columns --json >/dev/null"
    check "a bar on a terminal of $columns columns" "$(grep -c '\[=*>' typescript | awk '{ print ($1 > 0) }')" 1
    check "... no wider than it" "$(tr '\r' '\n' <typescript | grep -a '\[[=>]' | awk -v c=$columns 'length($0) >= c' | wc -l)" 0
  done
  terminal 80 "'$norma' train tiny.toml --epochs 1 --progress never --out tty_never"
  check "--progress never: no bar" "$(grep -c '\[=*>' typescript)" 0
  terminal 80 "TERM=dumb '$norma' train tiny.toml --epochs 1 --out tty_dumb"
  check "TERM=dumb: no bar" "$(grep -c '\[=*>' typescript)" 0
  terminal 80 "'$norma' trian"
  check "errors in red on a terminal" "$(grep -c $'\033\[31m.*error' typescript)" 1
  terminal 80 "NO_COLOR=1 '$norma' trian"
  check "NO_COLOR" "$(grep -c $'\033' typescript)" 0
else
  skip "a terminal" "the program script is not installed"
fi

finish
