#!/usr/bin/env bash
# Calls that fail. A training, a resume, a comparison and the tools make calls on files. Each of these calls is refused, interrupted, cut
# short, or is the last one before the process is killed. Allocations fail, too (faults/interposer.cpp). Each time these must hold:
#   - exit code 0 only with every file whole and of the undisturbed run's bits; else 1 or 3, and a message that names the file
#   - no crash; an interruption or a short write changes nothing
#   - whatever happened, the same command again (--resume, if there is something to resume) ends with the undisturbed bits and no
#     temporary file
#   tests/scripts/faults.sh [build directory]        every kind at some of the calls, a few seconds
#   tests/scripts/faults.sh <build directory> deep   every kind at every call; the first allocation of every third call stack of the quick
#                                                    commands, of every twelfth of the others: one to two hours
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
interposer=$(realpath -m "${1:-build}/tests/faults.so") cache=$(realpath -m "${1:-build}/CMakeCache.txt")
deep=${2:-}
[ -z "$deep" ] || [ "$deep" = deep ] || { echo "$0: '$deep' is not 'deep'" >&2; exit 2; }
[ -n "${TMPDIR:-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm # its fsync takes no time
. "$(dirname "$0")/checks.sh"
[ -e "$interposer" ] || { echo "skipped: no $interposer in this build"; exit 77; }

cat >faulty.toml <<'RECIPE'
[data]
name = "digits"
train_samples = 96
test_samples = 32
resize = 12
[model]
layers = [
  { type = "conv2d", out = 4, kernel = 3 }, { type = "norm" }, { type = "activation" }, { type = "max_pool2d", kernel = 2 },
  { type = "flatten" }, { type = "dropout", p = 0.1 }, { type = "linear", out = 10 },
]
[optimizer]
kind = "adam"
[train]
epochs = 2
batch_size = 32
[device]
kind = "cpu"
RECIPE

# ---- what is disturbed: of each job, what is there before, the command, the same after a failure, and what must come out
threads=1
quiet() { "$norma" "$@" --threads $threads --quiet; }
disturbed() { LD_PRELOAD=$interposer "$norma" "$@" --threads $threads --quiet; }
lines() { sed -n 's/.*\("run":"[^"]*"\).*\("parameters_hash":"[^"]*"\).*/\1 \2/p; s/.*\("epoch":[0-9]*\).*\("parameters_hash":"[^"]*"\).*/\1 \2/p' "$@"; }
ends() { for file in "$@"; do tail -c 9 "$file"; done; }
a_run() { cat "$1/model.safetensors" "$1/training.safetensors" "$1/config.toml"; lines "$1/metrics.jsonl"; }

prepare_train() { :; }
run_train() { "$1" train faulty.toml --out at/run; }
again_train() { if [ -e at/run/config.toml ]; then "$1" train --resume --out at/run; else run_train "$1"; fi; }
result_train() { a_run at/run; ends at/run/report.html at/run/curves.svg; tail -c 3 at/run/environment.json; }

prepare_resume() { cp -r begun at/run; }
run_resume() { "$1" train --resume --out at/run --epochs 2; }
again_resume() { run_resume "$1"; }
result_resume() { result_train; }

prepare_compare() { :; }
run_compare() { "$1" compare faulty.toml --vary optimizer.lr=0.001,0.01 --seeds 1 --epochs 1 --jobs 1 --out at/lab; }
again_compare() { if [ -e at/lab/comparison.toml ]; then "$norma" compare --resume --out at/lab --quiet; else run_compare "$1"; fi; }
result_compare() {
  lines at/lab/results.jsonl | sort # its order is that in which runs end
  for run in at/lab/runs/*; do a_run "$run"; done
  ends at/lab/report.html at/lab/comparison.svg
}

prepare_bn_fold() { cp -r trained at/run; }
run_bn_fold() { "$1" bn-fold at/run --out at/folded; }
again_bn_fold() { "$norma" bn-fold at/run --out at/folded --force --threads 1 --quiet; }
result_bn_fold() { cat at/folded/model.safetensors at/folded/config.toml; }

prepare_bn_recalibrate() { cp -r trained at/run; }
run_bn_recalibrate() { "$1" bn-recalibrate at/run --out at/exact; }
again_bn_recalibrate() { "$norma" bn-recalibrate at/run --out at/exact --force --threads 1 --quiet; }
result_bn_recalibrate() { cat at/exact/model.safetensors at/exact/config.toml; }

prepare_eval() { cp -r trained at/run; }
run_eval() { "$1" eval at/run >printed; }
again_eval() { run_eval "$1"; }
result_eval() { sed 's/ in [0-9.]* s$//' printed; }

show() { if [ "$1" = disturbed ]; then LD_PRELOAD=$interposer "$norma" "${@:2}"; else "$norma" "${@:2}"; fi; }
prepare_data_show() { :; }
run_data_show() { show "$1" data show digits --out at/digits.png; }
again_data_show() { run_data_show "$1"; }
result_data_show() { cat at/digits.png; }

prepare_inspect() { cp -r trained at/run; }
run_inspect() { show "$1" inspect at/run >printed; }
again_inspect() { run_inspect "$1"; }
result_inspect() { cat printed; }

signature() { "result_$1" 2>/dev/null | cksum; }
temporaries() { find at -name '.norma-*.tmp' -o -name '*.norma-part'; }
resumed() { [ "$1" = train ] || [ "$1" = resume ] || [ "$1" = compare ]; } # <job>: what is done again is to remove temporaries

fresh() { # <job>
  rm -rf at printed
  mkdir at
  "prepare_$1"
}

# One disturbed run. Counts what it came to in `refused`, `unharmed`, `killed`; a fault of norma's is printed and counted in `faults`.
try() { # <job> <kind> <number of the call, or of the allocation> <what it is, for a message>
  local job=$1 kind=$2 at=$3 what=$4 rc=0 problem=
  fresh "$job"
  "run_$job" disturbed >/dev/null 2>stderr || rc=$?
  if [ $rc = 137 ] && [[ $kind = kill-* ]]; then
    killed=$((killed + 1))
  elif [ $rc = 0 ]; then
    unharmed=$((unharmed + 1))
    [ "$(signature "$job")" = "$expected" ] || problem="exit code 0 with other results than the undisturbed run"
    [ -z "$(temporaries)" ] || problem="exit code 0 with $(temporaries) left"
  elif [ $rc != 1 ] && [ $rc != 3 ] && [[ $kind != alloc* ]]; then problem="exit code $rc"
  elif [ $rc -ge 126 ]; then problem="exit code $rc"
  elif [[ $kind = alloc* ]]; then
    refused=$((refused + 1))
    # toml++ reports its own lack of memory as an invalid number.
    grep -qiE 'out of memory|cannot allocate memory|while parsing floating-point' stderr || problem="a message without 'out of memory'"
  else
    refused=$((refused + 1))
    names "$kind" "$what" || problem="a message that does not name $what"
    [ "$kind" != eintr ] && [ "$kind" != short ] || problem="refused"
  fi
  if [ $rc != 0 ] && [ -z "$problem" ]; then
    unset NORMA_FAULT_CALL NORMA_FAULT_ALLOCATION
    "again_$job" quiet >/dev/null 2>again || problem="afterwards refused: $(cat again)"
    [ -n "$problem" ] || [ "$(signature "$job")" = "$expected" ] || problem="afterwards other results than the undisturbed run"
    [ -n "$problem" ] || ! resumed "$job" || [ -z "$(temporaries)" ] || problem="afterwards $(temporaries) left"
  fi
  [ -n "$problem" ] || return 0
  faults=$((faults + 1))
  [ $faults -gt 5 ] || printf '        %s, %s at %s (%s): %s\n          exit code %s, stderr: %s\n' "$job" "$kind" "$at" "$what" "$problem" $rc \
    "$(head -n 3 stderr)"
}

# stderr names the file that the call was about. Any file of the run will do for a temporary file or a folder, and if all calls after it
# fail, too.
names() { # <kind> <call and file>
  local file=${2#* }
  file=${file##*/}
  [ "$1" != eio-on ] || file=at
  case $file in
    .norma-* | at | run | lab | runs | folded | exact | *=* | *.norma-part) grep -q 'at/' stderr ;;
    *) grep -qF -- "$file" stderr ;;
  esac
}

job_done() { # <name>
  if [ $faults = 0 ]; then ok "$1: $refused refused, $unharmed unharmed, $killed killed"; else bad "$1: $faults faults"; fi
}

# Every `step`-th call from the `first`.
disturb_calls() { # <job> <step>
  local job=$1 step=$2 first=0 kind k call
  fresh "$job"
  NORMA_FAULT_CALLS=$work/calls "run_$job" disturbed >/dev/null 2>stderr || { bad "$job undisturbed" "$(cat stderr)"; return; }
  expected=$(signature "$job")
  cut -d' ' -f2- calls >what
  mapfile -t calls <what
  for kind in enospc eio eio-on eintr short kill-before kill-after; do
    refused=0 unharmed=0 killed=0 faults=0 first=$((first % step + 1))
    for ((k = first; k <= ${#calls[@]}; k += step)); do
      call=${calls[k - 1]}
      [ $kind != short ] || [[ $call = read* || $call = pread* || $call = write* || $call = pwrite* ]] || continue
      export NORMA_FAULT_KIND=$kind NORMA_FAULT_CALL=$k
      try "$job" $kind "$k" "$call"
      unset NORMA_FAULT_KIND NORMA_FAULT_CALL
    done
    job_done "$job, $kind at every ${step}th of ${#calls[@]} calls"
  done
}

# The first allocation of every `step`-th call stack.
disturb_allocations() { # <job> <step>
  local job=$1 step=$2 kind first=0 i
  fresh "$job"
  NORMA_FAULT_ALLOCATIONS=$work/allocations "run_$job" disturbed >/dev/null 2>stderr || { bad "$job undisturbed" "$(cat stderr)"; return; }
  expected=$(signature "$job")
  mapfile -t at <allocations
  for kind in once on; do
    refused=0 unharmed=0 killed=0 faults=0 first=$((first + step / 3))
    for ((i = first; i < ${#at[@]}; i += step)); do
      export NORMA_FAULT_KIND=$kind NORMA_FAULT_ALLOCATION=${at[i]}
      try "$job" "alloc-$kind" "${at[i]}" "allocation ${at[i]}"
      unset NORMA_FAULT_KIND NORMA_FAULT_ALLOCATION
    done
    job_done "$job, out of memory ($kind) at every ${step}th of ${#at[@]} call stacks"
  done
}

export NORMA_FAULT_FOLDER=$work/at
if grep -q '^norma_cuda_is_in:INTERNAL=ON' "$cache" 2>/dev/null; then
  echo "allocations fail from main on: before it they are the CUDA runtime's, which crashes without memory"
  export NORMA_FAULT_FROM=main
fi
quiet train faulty.toml --epochs 1 --out begun >/dev/null
quiet train faulty.toml --out trained >/dev/null
check "an interrupted training ends with an uninterrupted one's bits" \
  "$(fresh resume; run_resume quiet >/dev/null; signature resume)" "$(fresh train; run_train quiet >/dev/null; signature train)"
fresh data_show
NORMA_FAULT_CALLS=$work/calls run_data_show disturbed >/dev/null
check "a saved file is on the disk before it has its name, and then its name is" "$(cut -d' ' -f2 calls | tr '\n' ' ')" \
  "open write fsync close rename open fsync close "
if [ -n "$deep" ]; then
  for job in train resume compare bn_fold bn_recalibrate eval data_show inspect; do disturb_calls $job 1; done
  for job in bn_fold bn_recalibrate eval inspect; do disturb_allocations $job 3; done
  disturb_allocations data_show 8
  for job in train resume compare; do disturb_allocations $job 12; done
  threads=2
  disturb_allocations train 12
else
  disturb_calls train 19
  disturb_calls resume 23
  disturb_calls compare 37
  disturb_calls data_show 1 # every one of those that save a file
  for job in bn_fold eval inspect; do disturb_calls $job 11; done
  disturb_allocations train 450
  disturb_allocations resume 800
  disturb_allocations compare 1400
  disturb_allocations eval 600
  threads=2
  disturb_allocations train 1400
fi
finish
