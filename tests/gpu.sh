#!/bin/sh
# Every test and measurement of norma that needs a GPU, from a bundle (cmake --build build --target bundle), in at most 10 minutes.
#   sh gpu.sh <bundle folder> [--data-dir DIR] [--out DIR] [--seconds N] [--only LIST]
# First correctness, these steps side by side; then speed, each step alone; last the table of norma's figures and those of PyTorch, JAX and
# cuDNN. DIR holds mnist/ and fashion-mnist/ (default: where norma looks for data sets). --out (default: .) gets gpu.log (all output),
# gpu.json (the closing tables and all measurements) and cudnn.json. --seconds: for all steps together, default 570; the last half is kept
# for speed. --only: steps, such as kernels,repeats. Needs no compiler and no packages. A step is skipped if the machine lacks its
# tool or data (compute-sanitizer, cuDNN, PyTorch, JAX, data). A step that fails or takes too long does not stop the others.
# Exits with 0 if all steps that ran passed, 1 otherwise, 77 without a GPU that norma can use, 2 on wrong usage.
set -u
checks='nvidia_smi doctor kernels large cudnn verify memcheck racecheck initcheck synccheck repeats accuracy precision peers'
speeds='plan bench_latency bench_step bench_precision bench_calls bench_epoch bench_bn epoch torch_bn cudnn_bn torch_graph torch_eager jax torch_compile ratios'

usage() {
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# ---- the steps. A step may print anything; "figure: ..." is its entry of the table. It returns 0, 1, or 77 if it was skipped.

figure() { printf 'figure: %s\n' "$*"; }
skip() {
  figure "$*"
  exit 77
}
of_json() { sed -n 's/.*"'"$2"'": *"\{0,1\}\([^",}]*\).*/\1/p' "$1" | tail -n 1; } # of_json <file> <key>: the last one's value

step_nvidia_smi() {
  command -v nvidia-smi >/dev/null || skip "no nvidia-smi here"
  nvidia-smi
  nvidia-smi -q -d CLOCK,POWER,ECC,COMPUTE 2>&1 | head -n 80
  figure "$(nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader | head -n 1)"
}

step_doctor() {
  "$bundle/norma" doctor
  figure "$("$bundle/norma" doctor | sed -n 's/^gpu 0  *//p') (cuDNN $(of_json "$work/doctor.json" cudnn))"
  grep -q '"usable": true' "$work/doctor.json"
}

# Runs a program of GoogleTest in this number of parallel processes; its counts are the figure.
google_tests() { # <processes> <program> <flags>
  shards=$1 pids='' status=0
  shift
  for i in $(seq 0 $((shards - 1))); do
    GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$i "$@" --gtest_brief=1 >"$work/$step.tests.$i" 2>&1 &
    pids="$pids $!"
  done
  for pid in $pids; do wait "$pid" || status=$?; done
  for i in $(seq 0 $((shards - 1))); do cat "$work/$step.tests.$i"; done | tee "$work/$step.tests"
  if [ $status = 77 ]; then skip "$(tail -n 1 "$work/$step.tests")"; fi
  count() { sed -n "s/^\\[  $1 *\\] \\([0-9]*\\) test.*/\\1/p" "$work/$step.tests" | awk '{ all += $1 } END { print all + 0 }'; }
  figure "$(count PASSED) passed, $(count FAILED) failed, $(count SKIPPED) skipped"
  [ $status != 0 ] || [ "$(count PASSED)" != 0 ] || exit 77
  return $status
}

# Most of their time is the reference's, on the CPU.
step_kernels() { RC_PARAMS=seed=20261122 google_tests 4 "$bundle/norma_cuda_tests" --gtest_filter='-*Beyond31Bits*'; }
step_large() { google_tests 1 "$bundle/norma_cuda_tests" --gtest_filter='*Beyond31Bits*'; }

step_cudnn() {
  [ -x "$bundle/norma_cudnn_tests" ] || skip "not in this bundle"
  grep -q '"cudnn": "' "$work/doctor.json" || skip "no libcudnn.so.9 here"
  NORMA_CUDNN_JSON=$out/cudnn.json google_tests 1 "$bundle/norma_cudnn_tests"
}

# Compares every Call of both recipes, and of one in each precision, with double: on the CPU, the GPU and, if found, by cuDNN. One table
# each.
step_verify() {
  status=0 figures=
  for recipe in mnist-lenet-bn fashion-lenet-bn-sigmoid 'mnist-lenet-bn --precision tf32' 'mnist-lenet-bn --precision bf16'; do
    echo "norma verify $recipe --device cuda"
    # shellcheck disable=SC2086 # a recipe and a flag
    "$bundle/norma" verify $recipe --device cuda >"$work/verify.txt" 2>&1 || status=1
    cat "$work/verify.txt"
    figures="${figures:+$figures; }$recipe $(sed -n 's/^passed: /passed, /p; s/^FAILED *\([^:]*: [^:]*\):.*/FAILED \1/p' "$work/verify.txt" | head -n 1)"
  done
  figure "$figures"
  return $status
}

# The sanitizers slow kernels down by up to a hundred times. So they run only some of the table's cases. These are LeNet's layers, 15 and 17
# samples, which end in a partial group, and one of each Call that these leave out. Values lie in allocations of their own.
sanitized='*lenet* *_mnist* *_n15* *_n17* fill_17 batch_norm_rstd_c17 batch_norm_running_update_first check_finite_nan_last
  mean_squared_error_n37_mean advance_training *_advance_momentum_layers2 *_adam_advance resize_28_to_32'
sanitize() {
  tool=$1
  shift
  for sanitizer in "$(command -v compute-sanitizer)" /usr/local/cuda*/bin/compute-sanitizer /opt/nvidia/*/*/compute-sanitizer; do
    [ ! -x "$sanitizer" ] || break
  done
  [ -x "$sanitizer" ] || skip "no compute-sanitizer here"
  set -f
  filter=
  for each in $sanitized; do filter=$filter:Cases/CudaKernels.GiveTheSameBitsEveryTime/$each; done
  set +f
  filter=${filter#:}
  echo "compute-sanitizer --tool $tool, --gtest_filter=$filter"
  google_tests 1 "$sanitizer" --tool "$tool" --error-exitcode 86 --print-limit 20 "$@" "$bundle/norma_cuda_tests" --gtest_filter="$filter"
  status=$?
  found=$(sed -n 's/^========= ERROR SUMMARY: //p; s/^========= RACECHECK SUMMARY: //p' "$work/$step.tests" | tail -n 1)
  figure "${found:-no summary}; $(count PASSED) tests of LeNet's and ragged shapes passed"
  return $status
}
step_memcheck() { sanitize memcheck --leak-check full; }
step_racecheck() { sanitize racecheck; }
step_initcheck() { sanitize initcheck; }
step_synccheck() { sanitize synccheck; }

# train <name of the run> <flags>: a run on the GPU, its JSON in $work/<name>.json
train() {
  name=$1
  shift
  "$bundle/norma" train "$@" --device cuda --json --quiet --out "$work/$name" >"$work/$name.json"
}

step_repeats() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  for i in 1 2 3 4 5 6 7 8 9 10; do
    train "repeat$i" mnist-lenet-bn --epochs 1 || return 1
    of_json "$work/repeat$i.json" parameters_hash
  done | tee "$work/hashes"
  different=$(sort -u "$work/hashes" | wc -l)
  figure "$(wc -l <"$work/hashes" | tr -d ' ') runs, $different hash$([ "$different" = 1 ] || echo es): $(head -n 1 "$work/hashes")"
  [ "$different" = 1 ] && [ "$(wc -l <"$work/hashes")" -eq 10 ]
}

# accuracy <its file> <flags>: the means over five seeds, in $means
accuracy() {
  file=$1 status=0
  shift
  sh "$bundle/accuracy.sh" "$bundle" --device cuda "$@" >"$file" 2>&1 || status=$?
  cat "$file"
  means=$(sed -n 's/^\([^:]*\): mean \([0-9.]*\) .* must reach \([0-9.]*\): .*/\1 \2 (>= \3)/p; s/^skipped: \([^:]*\):.*/\1 skipped/p' "$file" |
    paste -s -d ';' - | sed 's/;/; /g')
  return $status
}
step_accuracy() {
  result=0
  accuracy "$work/accuracy.txt" || result=1
  figure "$means"
  return $result
}
step_precision() {
  result=0 text=
  for precision in tf32 bf16; do
    accuracy "$work/accuracy.$precision.txt" --precision $precision || result=1
    text="${text:+$text; }$precision: $means"
  done
  figure "$text"
  return $result
}

# norma plan's prediction for each Call, and its measured time.
step_plan() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  "$bundle/norma" plan mnist-lenet-bn --device cuda --measure >"$work/plan.txt" || return 1
  cat "$work/plan.txt"
  figure "a step: $(sed -n 's/^  together  *\([0-9.]*\) .*/\1/p' "$work/plan.txt") us predicted, one kernel after the other; $(sed -n 's/^measured: //p' "$work/plan.txt")"
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
    ! "$bundle/norma" data path mnist >/dev/null || { measured bench_step_$precision step mnist-lenet-bn --precision $precision --rounds 3 &&
      text="$text, LeNet $(of_summary "$results/bench_step_$precision.json" step_seconds 1e6 '%.1f us')"; } || return 1
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

step_bench_bn() {
  measured bench_bn bn || return 1
  figure "%copy $(sed 's/.*"nets":\[//; s/},{"net"/}\n{"net"/g' "$results/bench_bn.json" |
    sed -n 's/.*"net":"\([^"]*\)","layout":"\([^"]*\)","pass":"\([^"]*\)".*"geometric_mean":\([0-9.eE+-]*\).*/\1 \2 \3 \4/p' |
    awk '{ printf "%s%s %s %s %.0f", (NR > 1 ? ", " : ""), $1, $2, $3, 100 * $4 }')"
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
    if ! python3 "$bundle/peers/$script" --data-dir "$data" --device cuda --epochs "$peer_epochs" --weights "$work/start/weights.safetensors" \
      --order "$work/start/order.safetensors" $variant >"$work/$step.run"; then
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
  peer torch pytorch_lenet.py '--fused-optimizer --compile max-autotune-no-cudagraphs --cuda-graph' '--fused-optimizer --compile reduce-overhead' \
    '--fused-optimizer --compile max-autotune'
}
step_jax() {
  peer jax jax_lenet.py '--scan --one-pass-variance --reshape-pool' '--scan --one-pass-variance --reshape-pool --loop-graph' \
    '--scan --one-pass-variance --reshape-pool --nhwc' '--scan --one-pass-variance'
}

# batch_norm_figure <file>: how many rows have times
batch_norm_figure() {
  figure "$(grep -o '"seconds":' "$1" | wc -l | tr -d ' ') of $(grep -o '"pass":' "$1" | wc -l | tr -d ' ') passes, shapes and layouts timed"
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

if [ "${1-}" = --step ]; then # in a process of its own, so that `timeout` can end it; what it needs is in the environment
  step=$2
  "step_$step"
  exit $?
fi

# ---- all of them
case ${1--} in -*) usage ;; esac
bundle=$1 out=. seconds=570 only=
shift
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case $1 in
    --data-dir) NORMA_DATA_DIR=$(CDPATH='' cd -- "$2" && pwd) || exit 2 && export NORMA_DATA_DIR ;;
    --out) out=$2 ;;
    --seconds) seconds=$2 ;;
    --only) only=$2 ;;
    *) usage ;;
  esac
  shift 2
done
bundle=$(CDPATH='' cd -- "$bundle" && pwd) || exit 2
[ -x "$bundle/norma" ] || { echo "gpu.sh: no norma in $bundle" >&2; exit 2; }
mkdir -p "$out" && out=$(CDPATH='' cd -- "$out" && pwd) || exit 2
end_steps() { for file in "$work"/*.pid; do [ ! -e "$file" ] || kill "$(cat "$file")"; done; }
work=$(mktemp -d "${TMPDIR:-/tmp}/norma-gpu.XXXXXX") || exit 1
trap 'end_steps; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
results=$work/results
mkdir "$results"
export bundle out work results
cd "$work" || exit 1

# cuDNN may be one of python's packages, or a part of the toolkit.
libraries=$(python3 -c 'import glob, sysconfig; print(":".join(glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/lib")))' 2>/dev/null)
LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${libraries:+$libraries:}/usr/local/cuda/lib64
export LD_LIBRARY_PATH

"$bundle/norma" doctor --json >"$work/doctor.json" || exit 1
if ! grep -q '"usable": true' "$work/doctor.json"; then
  echo "gpu.sh: no GPU that norma can use: $(sed -n 's/.*"reason": "\(.*\)".*/\1/p' "$work/doctor.json" | tail -n 1)"
  exit 77
fi

limit_of() {
  case $1 in
    nvidia_smi | doctor | ratios) echo 20 ;;
    bench_step) echo 70 ;;
    plan | bench_latency | bench_precision | bench_calls | bench_epoch | epoch) echo 40 ;;
    bench_bn) echo 90 ;;
    torch_compile | jax) echo 150 ;;
    torch_*) echo 75 ;;
    *) echo 240 ;;
  esac
}

seconds_left() { echo $((seconds - $(date +%s) + begun)); }
wanted() { case ,${only:-$1}, in *,$1,*) ;; *) return 1 ;; esac }

# run <step> <seconds that must be left when it ends>: its output, exit status and time to $work/<step>.output, .status, .took
run() {
  limit=$(limit_of "$1") left=$(($(seconds_left) - $2)) status=0 started=$(date +%s)
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -lt 5 ]; then
    echo "figure: no time left of the $seconds s" >"$work/$1.output"
    status=77
  else
    step_limit=$limit timeout -k 5 "$limit" sh "$bundle/gpu.sh" --step "$1" >"$work/$1.output" 2>&1 &
    echo $! >"$work/$1.pid"
    wait $! || status=$?
    rm "$work/$1.pid"
    [ $status != 124 ] || for cut in "$work/$1".tests.[0-9]; do [ ! -e "$cut" ] || tail -n 20 "$cut"; done >>"$work/$1.output"
  fi
  echo "$limit" >"$work/$1.limit"
  echo $(($(date +%s) - started)) >"$work/$1.took"
  echo "$status" >"$work/$1.status"
}

# Writes the result of a step that ran to the log, the table and the rows of gpu.json.
tell() {
  step=$1
  { echo "==== $step" && cat "$work/$step.output"; } >>"$out/gpu.log"
  echo "==== $step"
  text=$(sed -n 's/^figure: //p' "$work/$step.output" | tail -n 1) took=$(cat "$work/$step.took") status=$(cat "$work/$step.status")
  case $status in
    0) result=passed ;;
    77) result=skipped ;;
    124 | 137) result=FAILED text="not done in $(cat "$work/$step.limit") s${text:+; $text}" ;;
    *) result=FAILED text=${text:-exit code $status} ;;
  esac
  if [ $result = FAILED ]; then
    all_passed=no
    { grep -E 'FAILED|Failure|error|Error|=========' "$work/$step.output" | head -n 15; tail -n 15 "$work/$step.output"; } | cut -c 1-200 |
      sed 's/^/    /'
  fi
  printf '%-13s %-8s %4s  %s\n' "$step" "$result" "$took" "$text" | tee -a "$out/gpu.log" >>"$work/table"
  plain=$(printf '%s' "$text" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')
  printf '%s{"step": "%s", "result": "%s", "seconds": %s, "figure": "%s"}' "$([ -s "$work/rows" ] && echo ', ')" "$step" "$result" "$took" \
    "$plain" >>"$work/rows"
}

begun=$(date +%s) all_passed=yes
: >"$out/gpu.log"
: >"$work/table"
: >"$work/rows"
kept=0
for step in $speeds; do ! wanted "$step" || kept=$((seconds / 2)); done
pids=
for step in $checks; do
  if wanted "$step"; then
    run "$step" $kept &
    pids="$pids $!"
  fi
done
for pid in $pids; do wait "$pid"; done
for step in $checks; do ! wanted "$step" || tell "$step"; done
for step in $speeds; do
  if wanted "$step"; then
    run "$step" "$([ "$step" = ratios ] && echo -20 || echo 0)" # the table of what there is is always made
    tell "$step"
  fi
done

# All measurements, as the steps left them.
measured=
for file in "$results"/*.json; do
  [ ! -s "$file" ] || measured="$measured${measured:+, }\"$(basename "$file" .json)\": [$(grep '^{' "$file" | paste -s -d ',' -)]"
done
printf '{"date": "%s", "passed": %s, "seconds": %s, "steps": [%s], "measured": {%s}}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
  "$([ $all_passed = yes ] && echo true || echo false)" "$(($(date +%s) - begun))" "$(cat "$work/rows")" "$measured" >"$out/gpu.json"
{
  echo
  printf '%-13s %-8s %4s  %s\n' step result s figure
  cat "$work/table"
  [ ! -s "$work/ratios" ] || { echo && cat "$work/ratios"; }
} | tee -a "$out/gpu.log"
[ $all_passed = yes ]
