#!/bin/sh
# The steps of gpu.sh that measure. It sources this file and has the helpers.
# shellcheck disable=SC2154 # variables that gpu.sh sets

# norma plan's prediction for each Call, and its measured time.
step_plan() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  "$bundle/norma" plan mnist-lenet-bn --device cuda --measure >"$work/plan.txt" || return 1
  cat "$work/plan.txt"
  figure "a step: $(sed -n 's/^  together  *\([0-9.]*\) .*/\1/p' "$work/plan.txt") us predicted, one kernel after the other; $(sed -n \
    's/^measured: //p' "$work/plan.txt")"
}

# ---- norma's own speed. Each step runs once, with --json, into $results/<step>.json.

# Runs one measurement with these arguments.
measured() { # <name> <arguments of norma bench>
  name=$1
  shift
  "$bundle/norma" bench "$@" --device cuda --json >"$results/$name.json" || return 1
  cat "$results/$name.json"
}
# The median of a sample: of_summary <file> <key> <factor> <format>, of the first of that name.
of_summary() { sed -n 's/.*"'"$2"'":{"median":\([0-9.eE+-]*\).*/\1/p' "$1" | awk -v by="$3" -v as="$4" 'NR == 1 { printf as, $1 * by }'; }

step_bench_latency() {
  measured bench_latency latency || return 1
  figure "$(sed 's/},{/}\n{/g' "$results/bench_latency.json" |
    sed -n 's/.*"what":"\([^"]*\)","blocks":\([0-9]*\),"seconds":{"median":\([0-9.eE+-]*\).*/\1|\2|\3/p' |
    awk -F '|' '{ printf "%s%s (%s) %.2f", (NR > 1 ? ", " : ""), $1, $2, $3 * 1e6 } END { print " us" }')"
}

# The default way, and others: the measurement tells which is best.
step_bench_step() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  measured bench_step step mnist-lenet-bn || return 1
  text="$(of_summary "$results/bench_step.json" step_seconds 1e6 '%.1f us/step'), of 256 samples"
  while read -r name flags; do
    # shellcheck disable=SC2086 # flags
    measured "bench_step_$name" step mnist-lenet-bn --rounds 3 $flags || return 1
    text="$text; $flags $(of_summary "$results/bench_step_$name.json" step_seconds 1e6 '%.1f')"
  done <<END
chain --capture chain
single --graph-calls 1
own --no-reuse
off --capture off
plain --no-fuse
END
  figure "$text"
}

# Recipes with work for tensor cores, and LeNet, which has none.
step_bench_precision() {
  text=
  for precision in fp32 tf32 bf16; do
    measured bench_wide_$precision step "$bundle/wide.toml" --precision $precision --steps 8 --rounds 3 || return 1
    measured bench_wide_calls_$precision calls "$bundle/wide.toml" --precision $precision --steps 3 || return 1
    text="${text:+$text; }$precision $(of_summary "$results/bench_wide_$precision.json" step_seconds 1e3 '%.2f ms/step')"
    ! "$bundle/norma" data path mnist >/dev/null || {
      measured bench_step_$precision step mnist-lenet-bn --precision $precision --rounds 3 &&
        text="$text, LeNet $(of_summary "$results/bench_step_$precision.json" step_seconds 1e6 '%.1f us')"
    } || return 1
  done
  figure "wide.toml $text"
}

step_bench_calls() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  measured bench_calls calls mnist-lenet-bn --steps 50 || return 1
  figure "$(of_summary "$results/bench_calls.json" replayed_step_seconds 1e6 '%.1f us/step') replayed, calls one by one $(sed -n \
    's/.*"calls_seconds":\([0-9.eE+-]*\).*/\1/p' "$results/bench_calls.json" | awk '{ printf "%.1f us", $1 * 1e6 }')"
}

step_bench_epoch() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  measured bench_epoch epoch mnist-lenet-bn --epochs 10 --runs 3 || return 1
  figure "$(of_summary "$results/bench_epoch.json" training_seconds 1e3 '%.2f ms of training an epoch'), $(of_summary \
    "$results/bench_epoch.json" evaluation_seconds 1e3 '%.2f ms of evaluation'); 10 epochs from start to exit $(of_summary \
    "$results/bench_epoch.json" process_seconds 1 '%.2f s')"
}

# Beside batch norm its statistics alone, and CUB's where the bundle has it.
step_bench_bn() {
  measured bench_bn bn || return 1
  cub=$(sed 's/.*"statistics_nets":\[//; s/},{"net"/}\n{"net"/g' "$results/bench_bn.json" |
    sed -n 's/.*"net":"\([^"]*\)","layout":"\([^"]*\)","ratio":{"geometric_mean":\([0-9.eE+-]*\).*/\1 \2 \3/p' |
    awk '{ printf "%s%s %s %.2f", (NR > 1 ? ", " : ""), $1, $2, $3 }')
  library=$(sed -n 's/.*"cub":"\([^"]*\)".*/\1/p' "$results/bench_bn.json")
  text=$(sed 's/.*"nets":\[//; s/\],"cub":.*//; s/},{"net"/}\n{"net"/g' "$results/bench_bn.json" |
    sed -n 's/.*"net":"\([^"]*\)","layout":"\([^"]*\)","pass":"\([^"]*\)".*"geometric_mean":\([0-9.eE+-]*\).*/\1 \2 \3 \4/p' |
    awk '{ printf "%s%s %s %s %.0f", (NR > 1 ? ", " : ""), $1, $2, $3, 100 * $4 }')
  figure "%copy $text; ${cub:+$library over norma, statistics alone: }${cub:-no CUB in this bundle}"
}

# ---- norma's epoch and its peers'. Measurements go to $results/<step>.json, one object a line, for the step ratios.

# median_epoch <file of --json lines>: milliseconds of training an epoch, the median of those after the first.
median_epoch() {
  sed -n '1d; /"final"/d; s/.*"train_seconds": *\([0-9.eE+-]*\).*/\1/p' "$1" | sort -g |
    awk '{ s[NR] = $1 } END { if (NR) printf "%.3f\n", s[int((NR + 1) / 2)] * 1e3; exit !NR }'
}

step_epoch() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  began=$(date +%s.%N)
  train epoch mnist-lenet-bn --epochs 10 || return 1
  ended=$(date +%s.%N)
  cp "$work/epoch.json" "$results/epoch.json"
  echo "$began $ended" | awk '{ printf "{\"wall_seconds\": %.3f}\n", $2 - $1 }' >>"$results/epoch.json"
  cat "$results/epoch.json"
  figure "$(median_epoch "$work/epoch.json") ms of training an epoch; $(of_json "$results/epoch.json" wall_seconds) s from start to exit"
}

# The peers at hand. Each is loaded once, so that no measurement includes loading it from the disk.
step_peers() {
  command -v python3 >/dev/null || skip "no python3 here"
  python3 - <<'PYTHON' | tee "$work/peers"
import importlib
for name in ("torch", "triton", "jax", "safetensors"):
    try:
        print(name, importlib.import_module(name).__version__)
    except Exception as e:
        print("no", name, f"({type(e).__name__})")
PYTHON
  figure "$(paste -s -d ',' - <"$work/peers" | sed 's/,/, /g')"
}

# norma's loss of the first epoch, and the initial weights and the order of samples that led to it: for all peers.
start_of_run() {
  [ ! -s "$work/start/loss" ] || return 0
  "$bundle/norma" bench export "$work/start" mnist-lenet-bn --epochs "$peer_epochs" --device cpu --quiet || return 1
  [ -s "$work/epoch.json" ] || train epoch mnist-lenet-bn --epochs 1 || return 1
  sed -n '1s/.*"train_loss": *\([0-9.eE+-]*\).*/\1/p' "$work/epoch.json" >"$work/start/loss"
}

python_has() { # <module>...
  command -v python3 >/dev/null && python3 -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))' "$@"
}

# peer <module> <script> <flags of a variant>...: each variant trains the same run, the most promising first, as long as there is time. A
# variant is no yardstick if its first epoch's training loss is not norma's within 0.2 %; that fails the step. A variant that does not run
# is reported. It fails the step only if no variant runs.
peer_epochs=6
peer() {
  module=$1 script=$2 status=0 ran=0 begun=$(date +%s) longest=0 limit=${step_limit:-600}
  shift 2
  python_has "$module" safetensors || skip "no python3 with $module and safetensors here"
  data=$("$bundle/norma" data path mnist) || skip "no MNIST here"
  start_of_run || return 1
  for variant; do
    started=$(date +%s)
    if [ $((started - begun + longest + 5)) -gt "$limit" ]; then
      echo "no time left: $script $variant"
      continue
    fi
    echo "$script $variant"
    # shellcheck disable=SC2086 # flags
    if ! python3 "$bundle/peers/$script" --data-dir "$data" --device cuda --epochs "$peer_epochs" \
      --weights "$work/start/weights.safetensors" --order "$work/start/order.safetensors" $variant >"$work/$step.run"; then
      echo "did not run: $script $variant"
      continue
    fi
    took=$(($(date +%s) - started))
    [ $took -le $longest ] || longest=$took
    cat "$work/$step.run"
    loss=$(sed -n '1s/.*"train_loss": *\([0-9.eE+-]*\).*/\1/p' "$work/$step.run")
    if ! echo "$loss $(cat "$work/start/loss")" | awk '{ exit !($1 > 0 && $2 > 0 && $1 / $2 - 1 <= 2e-3 && 1 - $1 / $2 <= 2e-3) }'; then
      echo "error: not the same training: $script $variant"
      figure "training loss of the first epoch $loss, norma's $(cat "$work/start/loss")"
      status=1
      continue
    fi
    ran=$((ran + 1))
    cat "$work/$step.run" >>"$results/$step.json"
    median_epoch "$work/$step.run" >>"$work/$step.medians"
    figure "$(sort -g "$work/$step.medians" | head -n 1) ms of training an epoch, the fastest of $ran of $# variants"
  done
  [ $ran != 0 ] || return 1
  return $status
}
step_torch_eager() { peer torch pytorch_lenet.py '--fused-optimizer' '--fused-optimizer --channels-last'; }
step_torch_graph() { peer torch pytorch_lenet.py '--fused-optimizer --cuda-graph' '--fused-optimizer --cuda-graph --channels-last'; }
step_torch_compile() {
  peer torch pytorch_lenet.py '--fused-optimizer --compile max-autotune-no-cudagraphs --cuda-graph' \
    '--fused-optimizer --compile reduce-overhead' '--fused-optimizer --compile max-autotune'
}
step_jax() {
  peer jax jax_lenet.py '--scan --one-pass-variance --reshape-pool' '--scan --one-pass-variance --reshape-pool --loop-graph' \
    '--scan --one-pass-variance --reshape-pool --nhwc' '--scan --one-pass-variance'
}

# batch_norm_figure <file>: how many rows have times
batch_norm_figure() {
  timed=$(grep -o '"seconds":' "$1" | wc -l)
  figure "$((timed)) of $(($(grep -o '"pass":' "$1" | wc -l))) passes, shapes and layouts timed"
}
step_torch_bn() {
  python_has torch || skip "no python3 with torch here"
  python3 "$bundle/peers/pytorch_batch_norm.py" --device cuda >"$results/torch_bn.json" || return 1
  batch_norm_figure "$results/torch_bn.json"
}
step_cudnn_bn() {
  [ -x "$bundle/norma_cudnn_tests" ] || skip "not in this bundle"
  grep -q '"cudnn": "' "$work/doctor.json" || skip "no libcudnn.so.9 here"
  status=0
  "$bundle/norma_cudnn_tests" --batch-norm-speed "$bundle/peers/batch_norm_shapes.txt" >"$results/cudnn_bn.json" || status=1
  batch_norm_figure "$results/cudnn_bn.json"
  return $status
}

step_ratios() {
  python_has json || skip "no python3 here"
  python3 "$bundle/peers/ratios.py" "$results" >"$work/ratios" || return 1
  cat "$work/ratios"
  figure "the table below"
}
