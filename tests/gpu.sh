#!/bin/sh
# Everything of norma that needs a GPU, from a bundle (cmake --build build --target bundle), in at most 10 minutes.
#   sh gpu.sh <bundle folder> [--data-dir DIR] [--out DIR] [--seconds N] [--only LIST]
# DIR holds mnist/ and fashion-mnist/ (default: where norma looks for data sets); --out (default: .) gets gpu.log, everything that was
# printed, gpu.json, the closing table with what norma bench measured, and cudnn.json. --seconds: for all steps together, default 570, of
# which speed keeps the last 170. --only: steps, such as kernels,repeats. Needs no compiler and no packages; what a step needs and the
# machine lacks (compute-sanitizer, cuDNN, PyTorch, JAX, data) skips the step. A step that fails or takes too long does not stop the others.
# Exits with 0 if all steps that ran passed, 1 otherwise, 77 without a GPU that norma can use, 2 on wrong usage.
set -u
correctness='nvidia_smi doctor kernels large cudnn verify plan memcheck racecheck initcheck synccheck repeats accuracy'
speed='bench_latency bench_step bench_calls bench_epoch bench_bn'
peers='torch torch_graph jax'
steps="$correctness $speed $peers"

usage() {
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# ---- the steps. A step prints what it likes, "figure: ..." as the table shall show it, and returns 0, 1, or 77 to say it was skipped.

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
  "$bundle/norma" doctor --json >"$work/doctor.json"
  figure "$("$bundle/norma" doctor | sed -n 's/^gpu 0  *//p') (cuDNN $(of_json "$work/doctor.json" cudnn))"
  grep -q '"usable": true' "$work/doctor.json"
}

# Runs a program of GoogleTest in so many processes at a time; its counts are the figure.
google_tests() { # <processes> <program> <flags>
  shards=$1 pids='' status=0
  shift
  for i in $(seq 0 $((shards - 1))); do
    GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$i "$@" --gtest_brief=1 >"$work/tests.$i" 2>&1 &
    pids="$pids $!"
  done
  for pid in $pids; do wait "$pid" || status=$?; done
  for i in $(seq 0 $((shards - 1))); do cat "$work/tests.$i"; done | tee "$work/tests.txt"
  if [ $status = 77 ]; then skip "$(tail -n 1 "$work/tests.txt")"; fi
  count() { sed -n "s/^\\[  $1 *\\] \\([0-9]*\\) test.*/\\1/p" "$work/tests.txt" | awk '{ all += $1 } END { print all + 0 }'; }
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

# Every Call of both recipes on the CPU, the GPU and, where it is found, by cuDNN, against double: one table each.
step_verify() {
  status=0 figures=
  for recipe in mnist-lenet-bn fashion-lenet-bn-sigmoid; do
    echo "norma verify $recipe --device cuda"
    "$bundle/norma" verify "$recipe" --device cuda >"$work/verify.txt" 2>&1 || status=1
    cat "$work/verify.txt"
    figures="${figures:+$figures; }$recipe $(sed -n 's/^passed: /passed, /p; s/^FAILED *\([^:]*: [^:]*\):.*/FAILED \1/p' "$work/verify.txt" | head -n 1)"
  done
  figure "$figures"
  return $status
}

# What the model of norma plan predicts for each Call, and what it takes.
step_plan() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  "$bundle/norma" plan mnist-lenet-bn --device cuda --measure >"$work/plan.txt" || return 1
  cat "$work/plan.txt"
  figure "a step: $(sed -n 's/^  together  *\([0-9.]*\) .*/\1/p' "$work/plan.txt") us predicted, one kernel after the other; $(sed -n 's/^measured: //p' "$work/plan.txt")"
}

# The sanitizers slow kernels down by up to a hundred times. Of the table's cases: those of LeNet's layers, those of 15 and 17 samples,
# which end in a partial group, and one of each Call that these leave out. Values lie in allocations of their own.
sanitized='*lenet* *_mnist* *_n15* *_n17* fill_17 batch_norm_rstd_c17 batch_norm_running_update_first check_finite_nan_last
  mean_squared_error_n37_mean advance_training resize_28_to_32'
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
  found=$(sed -n 's/^========= ERROR SUMMARY: //p; s/^========= RACECHECK SUMMARY: //p' "$work/tests.txt" | tail -n 1)
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

step_accuracy() {
  sh "$bundle/accuracy.sh" "$bundle" --device cuda >"$work/accuracy.txt" 2>&1
  status=$?
  cat "$work/accuracy.txt"
  figure "$(sed -n 's/^\([^:]*\): mean \([0-9.]*\) .* must reach \([0-9.]*\): .*/\1 \2 (>= \3)/p; s/^skipped: \([^:]*\):.*/\1 skipped/p' \
    "$work/accuracy.txt" | paste -s -d ';' - | sed 's/;/; /g')"
  return $status
}

# ---- norma's own speed. Each step runs once, with --json, into $work/<step>.json: the log has it, and so has gpu.json, under "figures".

# What is measured with these arguments, in one run.
measured() { # <name> <arguments of norma bench>
  name=$1
  shift
  "$bundle/norma" bench "$@" --device cuda --json >"$work/$name.json" || return 1
  cat "$work/$name.json"
}
# The median of a sample: of_summary <file> <key> <factor> <format>, of the first of that name.
of_summary() { sed -n 's/.*"'"$2"'":{"median":\([0-9.eE+-]*\).*/\1/p' "$1" | awk -v by="$3" -v as="$4" 'NR == 1 { printf as, $1 * by }'; }

step_bench_latency() {
  measured bench_latency latency || return 1
  figure "$(sed 's/},{/}\n{/g' "$work/bench_latency.json" |
    sed -n 's/.*"what":"\([^"]*\)","blocks":\([0-9]*\),"seconds":{"median":\([0-9.eE+-]*\).*/\1|\2|\3/p' |
    awk -F '|' '{ printf "%s%s (%s) %.2f", (NR > 1 ? ", " : ""), $1, $2, $3 * 1e6 } END { print " us" }')"
}

step_bench_step() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  measured bench_step step mnist-lenet-bn || return 1
  figure "$(of_summary "$work/bench_step.json" step_seconds 1e6 '%.1f us/step'), of 256 samples"
}

step_bench_calls() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  measured bench_calls calls mnist-lenet-bn --steps 50 || return 1
  figure "$(of_summary "$work/bench_calls.json" replayed_step_seconds 1e6 '%.1f us/step') replayed, calls one by one $(sed -n \
    's/.*"calls_seconds":\([0-9.eE+-]*\).*/\1/p' "$work/bench_calls.json" | awk '{ printf "%.1f us", $1 * 1e6 }')"
}

step_bench_epoch() {
  "$bundle/norma" data path mnist || skip "no MNIST here"
  measured bench_epoch epoch mnist-lenet-bn --epochs 10 --runs 3 || return 1
  figure "$(of_summary "$work/bench_epoch.json" training_seconds 1e3 '%.2f ms of training an epoch'), $(of_summary \
    "$work/bench_epoch.json" evaluation_seconds 1e3 '%.2f ms of evaluation'); 10 epochs from start to exit $(of_summary \
    "$work/bench_epoch.json" process_seconds 1 '%.2f s')"
}

step_bench_bn() {
  measured bench_bn bn || return 1
  figure "%copy $(sed 's/.*"nets":\[//; s/},{"net"/}\n{"net"/g' "$work/bench_bn.json" |
    sed -n 's/.*"net":"\([^"]*\)","layout":"\([^"]*\)","pass":"\([^"]*\)".*"geometric_mean":\([0-9.eE+-]*\).*/\1 \2 \3 \4/p' |
    awk '{ printf "%s%s %s %s %.0f", (NR > 1 ? ", " : ""), $1, $2, $3, 100 * $4 }')"
}

# The fastest of several epochs of mnist-lenet-bn, in a file of --json lines.
fastest_epoch() {
  sed -n '/"final"/d; s/.*"train_seconds": *\([0-9.eE+-]*\).*/\1/p' "$1" |
    awk 'NR == 1 || $1 + 0 < least { least = $1 + 0 } END { if (NR) printf "%.4f s of training an epoch, the fastest of %d", least, NR; exit !NR }'
}

# ---- the peers
# peer <module> <script> <flags>
peer() {
  module=$1 script=$2
  shift 2
  command -v python3 >/dev/null || skip "no python3 here"
  python3 -c "import $module, safetensors" 2>/dev/null || skip "python3 has no $module"
  data=$("$bundle/norma" data path mnist) || skip "no MNIST here"
  python3 "$bundle/peers/$script" --data-dir "$data" --device cuda --epochs 5 "$@" >"$work/peer.json" || return 1
  cat "$work/peer.json"
  figure "$(fastest_epoch "$work/peer.json")"
}
step_torch() { peer torch pytorch_lenet.py; }
step_torch_graph() { peer torch pytorch_lenet.py --cuda-graph; }
step_jax() { peer jax jax_lenet.py --scan; }

if [ "${1-}" = --step ]; then # in a process of its own, so that `timeout` can end it; what it needs is in the environment
  "step_$2"
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
work=$(mktemp -d "${TMPDIR:-/tmp}/norma-gpu.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export bundle out work
cd "$work" || exit 1

# cuDNN may be there as one of python's packages, or beside the toolkit.
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
    kernels) echo 150 ;;
    cudnn) echo 100 ;;
    verify) echo 90 ;;
    accuracy) echo 120 ;;
    bench_bn) echo 90 ;;
    *) echo 60 ;;
  esac
}

begun=$(date +%s) all_passed=yes
: >"$out/gpu.log"
: >"$work/table"
: >"$work/rows"
: >"$work/figures"
for step in $steps; do
  case ,${only:-$step}, in *,$step,*) ;; *) continue ;; esac
  started=$(date +%s)
  left=$((seconds - started + begun)) limit=$(limit_of "$step")
  case ",$only, $correctness " in ",, "*" $step "*) left=$((left - (seconds < 510 ? seconds / 3 : 170))) ;; esac
  [ "$limit" -le "$left" ] || limit=$left
  echo "==== $step" | tee -a "$out/gpu.log"
  if [ "$limit" -lt 5 ]; then
    result=skipped text="no time left of the $seconds s"
  else
    status=0
    timeout -k 5 "$limit" sh "$bundle/gpu.sh" --step "$step" >"$work/output" 2>&1 || status=$?
    [ $status != 124 ] || for cut in "$work"/tests.[0-9]; do [ ! -e "$cut" ] || tail -n 20 "$cut"; done >>"$work/output"
    rm -f "$work"/tests.[0-9]
    cat "$work/output" >>"$out/gpu.log"
    case $step in bench_*) [ $status != 0 ] || printf '%s"%s": %s' "$([ -s "$work/figures" ] && echo ', ')" "$step" \
      "$(cat "$work/$step.json")" >>"$work/figures" ;; esac
    text=$(sed -n 's/^figure: //p' "$work/output" | tail -n 1)
    case $status in
      0) result=passed ;;
      77) result=skipped ;;
      124 | 137) result=FAILED text="not done in $limit s${text:+; $text}" ;;
      *) result=FAILED text=${text:-exit code $status} ;;
    esac
    if [ $result = FAILED ]; then
      all_passed=no
      { grep -E 'FAILED|Failure|error|Error|=========' "$work/output" | head -n 15; tail -n 15 "$work/output"; } | cut -c 1-200 | sed 's/^/    /'
    fi
  fi
  took=$(($(date +%s) - started))
  printf '%-12s %-8s %4s  %s\n' "$step" "$result" "$took" "$text" | tee -a "$out/gpu.log" >>"$work/table"
  plain=$(printf '%s' "$text" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')
  printf '%s{"step": "%s", "result": "%s", "seconds": %s, "figure": "%s"}' "$([ -s "$work/rows" ] && echo ', ')" "$step" "$result" "$took" \
    "$plain" >>"$work/rows"
done

printf '{"date": "%s", "passed": %s, "seconds": %s, "steps": [%s], "figures": {%s}}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
  "$([ $all_passed = yes ] && echo true || echo false)" "$(($(date +%s) - begun))" "$(cat "$work/rows")" "$(cat "$work/figures")" >"$out/gpu.json"
echo
printf '%-12s %-8s %4s  %s\n' step result s figure
cat "$work/table"
[ $all_passed = yes ]
