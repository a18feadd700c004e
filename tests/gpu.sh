#!/bin/sh
# Every test and measurement of norma that needs a GPU, from a bundle (cmake --build build --target bundle), in at most 10 minutes.
#   sh gpu.sh <bundle folder> [--data-dir DIR] [--out DIR] [--seconds N] [--only LIST]
# First correctness, these steps side by side; then speed, each step alone; last the table of norma's figures and those of PyTorch, JAX,
# cuDNN and CUB. DIR holds mnist/ and fashion-mnist/ (default: where norma looks for data sets). --out (default: .) gets gpu.log (all
# output), gpu.json (the closing tables and all measurements) and cudnn.json. --seconds: for all steps together, default 570; the last
# half is kept for speed. --only: steps, such as kernels,repeats. Needs no compiler and no packages. A step is skipped if the machine lacks
# its tool or data (compute-sanitizer, cuDNN, PyTorch, JAX, data). A step that fails or takes too long does not stop the others.
# Exits with 0 if all steps that ran passed, 1 otherwise, 77 without a GPU that norma can use, 2 on wrong usage.
set -u
checks='nvidia_smi doctor kernels large cudnn verify memcheck racecheck initcheck synccheck repeats accuracy precision peers'
speeds='plan bench_latency bench_step bench_precision bench_calls bench_epoch bench_bn epoch torch_bn cudnn_bn torch_graph torch_eager jax
  torch_compile ratios'

usage() {
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 2

# ---- for all steps. A step may print anything; "figure: ..." is its entry of the table. It returns 0, 1, or 77 if it was skipped.

figure() { printf 'figure: %s\n' "$*"; }
skip() {
  figure "$*"
  exit 77
}
of_json() { sed -n 's/.*"'"$2"'": *"\{0,1\}\([^",}]*\).*/\1/p' "$1" | tail -n 1; } # of_json <file> <key>: the last one's value

# train <name of the run> <flags>: a run on the GPU, its JSON in $work/<name>.json
train() {
  name=$1
  shift
  "$bundle/norma" train "$@" --device cuda --json --quiet --out "$work/$name" >"$work/$name.json"
}

# The steps.
# shellcheck disable=SC1091
. "$here/gpu_checks.sh"
# shellcheck disable=SC1091
. "$here/gpu_speed.sh"

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
    step_limit=$limit timeout -k 5 "$limit" sh "$here/gpu.sh" --step "$1" >"$work/$1.output" 2>&1 &
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
