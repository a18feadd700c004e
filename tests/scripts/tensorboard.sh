#!/usr/bin/env bash
# TensorBoard itself reads what norma train --tensorboard writes: each scalar of each epoch once, after an interrupted and a resumed run too.
#   tests/scripts/tensorboard.sh [build directory]
# Takes $NORMA_PYTHON, or python3, if it has tensorboard; else it installs that with pip into the build directory, once.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
build=$(realpath "${1:-build}")
. "$(dirname "$0")/checks.sh"
python=$(python_with "$build" tensorboard.backend.event_processing.event_accumulator 'tensorboard setuptools<81')
[ -n "$python" ] || { echo "skipped: no python with tensorboard, and pip could not install it: \$NORMA_PYTHON names one"; exit 77; }

cat >scalars.py <<'PYTHON'
# Every scalar of a run directory: tag, step, value; then whether the wall times rise.
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
times = []
for tag in sorted(events.Tags()["scalars"]):
    for e in events.Scalars(tag):
        print(tag, e.step, f"{e.value:.6g}")
    times.append([e.wall_time for e in events.Scalars(tag)])
print("wall times", all(t == sorted(t) and min(t) > 1.6e9 for t in times))
print("file version", events.file_version)
PYTHON
scalars() { "$python" scalars.py "$1" 2>python.err || cat python.err; }
column() { # <run> <key>: a key of metrics.jsonl, by epoch, as TensorBoard shows floats
  "$python" -c 'import json, struct, sys
for line in open(sys.argv[1] + "/metrics.jsonl"):
    j = json.loads(line)
    print(j["epoch"], "%.6g" % struct.unpack("f", struct.pack("f", j[sys.argv[2]]))[0])' "$1" "$2"
}

expect "train --tensorboard" 0 "" train tiny.toml --tensorboard --out run --quiet
scalars run >run.txt
check "the file's version" "$(tail -n 1 run.txt)" "file version 2.0"
check "wall times" "$(grep 'wall times' run.txt)" "wall times True"
for pair in loss/train:train_loss loss/test:test_loss accuracy/train:train_accuracy accuracy/test:test_accuracy learning_rate:learning_rate samples_per_second:samples_per_second; do
  check "${pair%:*} is metrics.jsonl's ${pair#*:}" "$(sed -n "s|^${pair%:*} ||p" run.txt)" "$(column run "${pair#*:}")"
done
check "figures of norms and activations by layer" "$(awk '/^health/ { print $1 }' run.txt | sort -u | tr '\n' ' ')" \
  "$(for layer in bn1 bn2; do for what in beta gamma mean_drift variance_ratio; do printf 'health/%s/%s ' $layer $what; done; done; for layer in relu1 relu2; do for what in dead saturated; do printf 'health/%s/%s ' $layer $what; done; done)"
"$norma" train tiny.toml --out plain --json --quiet >plain.json
"$norma" eval run --json --quiet >eval.json
check "the bits of the run are those without" "$(tail -n 1 run/metrics.jsonl | grep -c "$(key plain.json parameters_hash)") $(ls plain | grep -c tfevents)" "1 0"
expect "--resume keeps the flag" 0 "" train --resume --out run --epochs 5 --quiet
check "... and goes on, each epoch once" "$(scalars run | sed -n 's|^loss/train \([0-9]*\) .*|\1|p' | tr '\n' ' ')" "1 2 3 4 5 "
env --default-signal=INT "$norma" train tiny.toml --tensorboard --epochs 240 --out killed --quiet >/dev/null 2>&1 &
pid=$!
for _ in $(seq 1000); do [ ! -s killed/events.out.tfevents.norma ] || break; sleep 0.01; done
kill -KILL $pid
wait $pid 2>/dev/null
printf 'cut' | head -c 2 >>killed/events.out.tfevents.norma
expect "after a kill in a record" 0 "" train --resume --out killed --epochs 240 --quiet
check "... each epoch once" "$(scalars killed | sed -n 's|^loss/test \([0-9]*\) .*|\1|p' | tr '\n' ' ')" "$(seq -s ' ' 240) "
expect "--no-tensorboard on --resume" 0 "" train --resume --out run --epochs 6 --no-tensorboard --quiet
check "... leaves the file as it is" "$(scalars run | grep -c '^loss/train ')" 5
expect "--force begins it anew" 0 "" train tiny.toml --tensorboard --epochs 1 --out run --force --quiet
check "... with one epoch" "$(scalars run | grep -c '^loss/train ')" 1
finish
