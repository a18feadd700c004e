#!/usr/bin/env bash
# The norma program as a process: signals in every phase, streams that are closed or full, small stacks, offered commands. A line a check.
#   tests/scripts/process.sh [build directory]      or NORMA=<program> tests/scripts/process.sh
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
. "$(dirname "$0")/checks.sh"

# within <name> <exit code> <signal> <process>: it ends within two seconds of the signal (one, and what a busy machine takes)
within() {
  local begin=$(date +%s%N) rc
  kill "-$3" "$4"
  wait "$4" 2>/dev/null
  rc=$?
  check "$1: exit code" $rc "$2"
  check "$1: at once" "$((($(date +%s%N) - begin) / 1000000000 < 2))" 1
}
until_is() { for _ in $(seq 300); do eval "$1" && return; sleep 0.02; done; }

# ---- signals before there is anything to save
exec 3< <(exec sleep 60 2>/dev/null) # who reads it waits
"$norma" train /dev/fd/3 --out never 2>err &
pid=$!
until_is 'grep -q "SigCgt.*4[0-9a-f][0-9a-f][0-9a-f]$" /proc/$pid/status' # the handler of SIGTERM is there
within "SIGTERM while the recipe is read" 143 TERM $pid
check "... says what is lost" "$(grep -c 'stopped; nothing was trained yet' err)" 1
check "... and leaves nothing" "$(ls -d never 2>/dev/null)" ""
for command in "compare /dev/fd/3 --vary train.seed=1" "plan /dev/fd/3" "verify /dev/fd/3" "eval tiny.toml --recipe /dev/fd/3"; do
  "$norma" $command 2>err &
  pid=$!
  sleep 0.1
  within "SIGTERM: norma ${command%% *}" 143 TERM $pid
done
exec 3<&-
expect "a million layers are refused before they are made" 2 "1001010 layers with all repetitions" train tiny.toml \
  --set 'model.layers.0={type="sequential",repeat=1000,layers=[{type="sequential",repeat=1000,layers=[{type="relu"}]}]}'

cat >deep.toml <<'TOML'
[data]
name = "digits"
train_samples = 300
test_samples = 100
[model]
layers = [{ type = "flatten" }, { type = "sequential", repeat = 5000, layers = [{ type = "linear", out = 4 }, { type = "batch_norm" }, { type = "relu" }] }, { type = "linear", out = 10 }]
[train]
epochs = 1
batch_size = 128
TOML
"$norma" train deep.toml --threads 1 --out deep 2>err &
pid=$!
for _ in $(seq 2000); do grep -q '^norma: run: ' err && break; sleep 0.02; done
within "SIGTERM while fifteen thousand layers are planned" 143 TERM $pid
check "... says what is lost" "$(grep -c 'stopped; nothing was trained yet' err)" 1

# ---- signals in an evaluation of many seconds, and in the report
"$norma" train tiny.toml --epochs 1 --set data.test_samples=60000 --set data.train_samples=64 --set data.resize=28 --set train.health=false \
  --set model.layers.0.out=64 --set model.layers.0.kernel=7 --threads 1 --out evaluating --quiet 2>err >out &
pid=$!
until_is '[ -s evaluating/config.toml ]'
sleep 1
within "SIGTERM in an epoch's evaluation" 143 TERM $pid
check "... is saved" "$([ -s evaluating/training.safetensors ] && [ -s evaluating/report.html ] && echo yes)" yes

# ---- closed or full streams: the run continues to equal bits, and the exit code says that its output is lost
"$norma" train tiny.toml --out plain --json --quiet >plain.json
for streams in '>&-:1' '>&- 2>&-:1' '<&- >&- 2>&-:1' '2>&-:0' '<&-:0' '>/dev/full:1'; do
  rm -rf run
  eval "\"$norma\" train tiny.toml --out run --json --quiet ${streams%:*}" 2>err
  check "train ${streams%:*}: exit code" $? "${streams##*:}"
  check "... trains to its end" "$(tail -n 1 run/metrics.jsonl | grep -c "$(key plain.json parameters_hash)") $(ls run/report.html)" "1 run/report.html"
done
"$norma" compare tiny.toml --vary train.batch_size=16,32 --seeds 1 --epochs 1 --json --quiet --out compared >/dev/full 2>err
check "compare >/dev/full" "$? $(wc -l <compared/results.jsonl) $(ls compared/report.html)" "1 2 compared/report.html"
expect "... finished" 0 "" compare --resume --out compared --quiet

# ---- a file that may not grow is named, and no signal ends the program
(ulimit -f 8; exec "$norma" train tiny.toml --quiet --out limited) >out 2>err
check "ulimit -f: exit code" $? 1
check "... names the file" "$(grep -c 'limited/.*File too large' err)" 1

# ---- a stack of 256 KB
(ulimit -s 256; exec "$norma" train mnist-lenet-bn --data digits --set data.train_samples=300 --set data.test_samples=50 --epochs 1 --threads 2 \
  --out small_stack --quiet) >out 2>err
check "ulimit -s 256" "$?" 0

# ---- what is offered works when it is pasted
mkdir "my 'runs' \$x"
env --default-signal=INT "$norma" train tiny.toml --epochs 100000 --out "my 'runs' \$x/a
b" >/dev/null 2>err &
pid=$!
until_is '[ -s "my '"'runs'"' \$x/a
b/metrics.jsonl" ]'
within "SIGINT while training" 130 INT $pid
norma() { "$norma" "$@"; }
eval "$(grep -o 'norma train --resume.*' err) --epochs 1" >/dev/null 2>err
check "a pasted command finds its run" "$(grep -c 'resumed after' err)" 1

# ---- flags
expect "help for a command that is none" 2 'unknown command "bogus"' bogus --help
expect "... within another" 2 'unknown command "bogus"' data bogus --help
expect "help" 0 "" train --help
expect "a flag takes no value" 2 "json was given a disallowed flag override" train tiny.toml --json=3
expect "... nor a negation" 2 "no-shuffle was given" train tiny.toml --no-shuffle=0
expect "compare --list with a recipe" 2 "--list" compare --list tiny.toml
expect "a negative number of channels" 2 "Value -1 not in range" inspect plain --channels -1
expect "eval has no batch size" 2 'unknown flag "--batch-size"' eval plain --batch-size 3
expect "... by --set either" 2 "affects training only" eval plain --set train.batch_size=3
finish
