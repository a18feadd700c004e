#!/bin/sh
# Every test of norma, from a clean checkout: installs what is missing, builds, runs.
#   sh tests/run.sh                 all jobs
#   sh tests/run.sh unit asan ...   some of them:
#     unit      g++, warnings as errors; the unit tests, the command line, the symbols of each instruction-set level, the README's example;
#               with a CUDA compiler also the CUDA kernels for every architecture, none of which may spill registers
#     example   norma installed into an empty folder, apps/examples built against it as a project of its own, and run
#     clang     clang++, warnings as errors; every public header compiled on its own
#     asan      the unit tests, and the CUDA kernels on an emulated GPU, under AddressSanitizer and UndefinedBehaviorSanitizer
#     accuracy  both recipes over seeds 0 to 4, against the accuracy they must reach
# Prints each job's time and closes with the counts: every test that CTest runs, and each other job as one. A skipped test says why.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
all_jobs='unit example clang asan accuracy'
for job in "$@"; do
  case " $all_jobs " in
    *" $job "*) ;;
    *) echo "tests/run.sh: no job is called '$job'; there are: $all_jobs" >&2; exit 2 ;;
  esac
done
# shellcheck disable=SC2086 # a list of words
[ $# -gt 0 ] || set -- $all_jobs

# MNIST, for the tests that need it: $NORMA_DATA_DIR, or a folder beside the checkout.
if [ -z "${NORMA_DATA_DIR-}" ] && [ -d ../shared/data ]; then
  NORMA_DATA_DIR=$(cd ../shared/data && pwd)
  export NORMA_DATA_DIR
fi
# Tests run side by side, with more threads than cores: waiting threads must sleep.
export OMP_WAIT_POLICY=passive
cores=$(nproc 2>/dev/null || echo 2)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/norma-tests.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
passed=0 failed=0 skipped=0

# Runs the tests of a preset, adds their counts to the totals, and prints why tests were skipped.
run_ctest() { # <preset> [arguments of ctest]
  report=$scratch/$1.xml
  { ctest --preset "$@" --parallel "$cores" --output-junit "$report" || touch "$report.failed"; } |
    grep -vE '^ *Start +[0-9]+:|Test +#[0-9]+:.* Passed ' || true
  [ -s "$report" ] || return 1
  counted=yes
  in_report() { sed -n "s/^[[:space:]]*$1=\"\([0-9]*\)\".*$/\1/p" "$report" | head -n 1; }
  tests=$(in_report tests) bad=$(in_report failures) left_out=$(($(in_report skipped) + $(in_report disabled)))
  passed=$((passed + tests - bad - left_out)) failed=$((failed + bad)) skipped=$((skipped + left_out))
  # GoogleTest prints the reason below "<file>:<line>: Skipped"; the scripts print "skipped: <reason>".
  awk '/: Skipped$/ { getline; print "skipped: " $0 } /^skipped /' "$report" | sort | uniq -c
  [ ! -e "$report.failed" ] && [ "$tests" -gt 0 ]
}

job_unit() {
  { sh cmake/build.sh tests 2>&1 || touch "$scratch/build.failed"; } | tee "$scratch/build.log" | grep -v '^ptxas \|bytes stack frame' || true
  [ ! -e "$scratch/build.failed" ] && check_kernel_resources && run_ctest tests
}

check_kernel_resources() {
  if ! grep -q '^norma_cuda_is_in:INTERNAL=ON' build/CMakeCache.txt; then
    echo "skipped: no CUDA compiler here, so the CUDA kernels run in the asan job only, emulated"
    skipped=$((skipped + 1))
    return 0
  fi
  status=0
  sh tests/kernel_resources.sh "$scratch/build.log" || status=$?
  [ $status = 0 ] || [ $status = 77 ]
}

job_example() {
  sh cmake/build.sh tests &&
    cmake --install build --prefix "$scratch/prefix" >/dev/null &&
    cmake -S apps/examples -B "$scratch/examples" -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_BUILD_TYPE=Release \
      -DCMAKE_CXX_FLAGS='-Wall -Wextra -Wpedantic -Wshadow -Werror' &&
    cmake --build "$scratch/examples" &&
    (cd "$scratch" && examples/module_alone && examples/train_lenet && prefix/bin/norma inspect lenet.safetensors)
}

job_clang() {
  if ! command -v clang++ >/dev/null; then
    echo "skipped: no clang++ here"
    skipped=$((skipped + 1)) counted=yes
    return 0
  fi
  sh cmake/build.sh clang && cmake --build --preset clang --target all_verify_interface_header_sets
}

job_asan() {
  sh cmake/build.sh asan &&
    ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 run_ctest asan
}

job_accuracy() {
  sh cmake/build.sh tests && sh tests/accuracy.sh build
}

sh cmake/setup.sh tests
summary=
for job in "$@"; do
  echo "==== $job"
  start=$(date +%s) counted=no result=passed failed_before=$failed
  "job_$job" || result=FAILED
  if [ $result = FAILED ] && [ "$failed" = "$failed_before" ]; then
    failed=$((failed + 1)) # the job itself: its build, or CTest
  elif [ $result = passed ] && [ $counted = no ]; then
    passed=$((passed + 1))
  fi
  line="$job: $result in $(($(date +%s) - start)) s"
  echo "==== $line"
  summary="$summary$line
"
done

echo
printf '%s' "$summary"
echo "$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
[ $failed = 0 ]
