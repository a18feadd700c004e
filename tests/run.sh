#!/bin/sh
# Every test of norma, from a clean checkout: installs what is missing, builds, runs.
#   sh tests/run.sh                 all jobs
#   sh tests/run.sh unit asan ...   some of them:
#     unit      g++, in the folder and with the objects of apps/quickstart.sh; the unit tests, the command line, its pages in a browser,
#               the symbols of each instruction-set level, the README's example; with a CUDA compiler also the CUDA kernels, none of which
#               may spill registers, for the oldest architecture and for Hopper ($CUDAARCHS: others); with nvdisasm their machine code
#     cases     the inputs in ../shared/cases that once went wrong, if that folder exists
#     example   norma installed into an empty folder, apps/examples built against it as a project of its own, and run
#     asan      clang++; the unit tests, and the CUDA kernels on an emulated GPU, under AddressSanitizer and UndefinedBehaviorSanitizer;
#               every public header compiled on its own
#     fuzz      the readers of files, fed with any bytes for a minute (tests/scripts/fuzz.sh), in the build of the job asan
#     accuracy  four recipes with seeds 0 and 1, against the accuracy they must reach
#   sh tests/run.sh deep            jobs of half an hour to many hours, which are not among all jobs:
#     alone     every source file compiled on its own: the other jobs compile a folder's files together (cmake/Rooms.cmake)
#     shared    libnorma.so: its symbols, the package and the examples with it (tests/scripts/shared.sh)
#     seeds     as accuracy, over seeds 0 to 4
#     long_fuzz as fuzz, for $NORMA_FUZZ_SECONDS (default 3600)
#     faults    every kind of failing call at every call on files, and failing allocations (tests/scripts/faults.sh), which unit does at some
#     tsan      training, evaluation and comparisons with several threads under ThreadSanitizer (tests/scripts/tsan.sh)
#     mutants   $NORMA_MUTANTS (default 200) small faults planted in the kernels and the library one at a time, of which the unit tests
#               must see 95 % (tests/scripts/mutants.sh)
# Prints each job's time and closes with the counts: every test of GoogleTest and of CTest, and each other job as one. A skipped test says
# why.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
all_jobs='unit cases example asan fuzz accuracy'
deep_jobs='alone shared seeds long_fuzz faults tsan mutants'
jobs=
[ $# -gt 0 ] || jobs=$all_jobs
for job in "$@"; do
  case " $all_jobs $deep_jobs " in
    *" $job "*) jobs="$jobs $job" ;;
    *)
      if [ "$job" != deep ]; then
        echo "tests/run.sh: no job is called '$job'; there are: $all_jobs; and deep: $deep_jobs" >&2
        exit 2
      fi
      jobs="$jobs $deep_jobs" ;;
  esac
done

# MNIST, for the tests that need it: $NORMA_DATA_DIR, or a folder beside the checkout.
if [ -z "${NORMA_DATA_DIR-}" ] && [ -d ../shared/data ]; then
  NORMA_DATA_DIR=$(cd ../shared/data && pwd)
  export NORMA_DATA_DIR
fi
export CUDAARCHS="${CUDAARCHS-75;90}"
cores=$(nproc 2>/dev/null || echo 2)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/norma-tests.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
passed=0 failed=0 skipped=0

# Runs the tests of a preset, adds their counts to the totals, and prints why tests were skipped. CTest prints which failed.
run_ctest() { # <preset> <its build folder>
  report=$scratch/$1.xml
  rm -f "$2"/tests/*.xml
  { ctest --preset "$1" --parallel "$cores" --output-junit "$report" || touch "$report.failed"; } |
    grep -vE '^ *Start +[0-9]+:|Test +#[0-9]+:.* Passed ' || true
  [ -s "$report" ] || return 1
  counted=yes
  # A process of GoogleTest, whose name ends in its number, is not counted itself: the tests in its own report are. It is one failed test
  # if it left none. CTest's own summary would call a thousand tests six.
  google=$scratch/google.xml scripts=$scratch/scripts.xml
  cat "$2"/tests/*.xml >"$google" 2>/dev/null || true
  grep '<testcase ' "$report" | grep -vE '<testcase name="[^"]*\.[0-9]+"' >"$scripts" || true
  lost=$(($(count '<testcase ' "$report") - $(count '<testcase ' "$scripts") - $(count '^</testsuites>' "$google")))
  bad=$(($(sed -n 's/^<testsuites .* failures="\([0-9]*\)".*/\1 +/p' "$google") $(count ' status="fail"' "$scripts") + lost))
  left_out=$(($(count '<skipped ' "$google") + $(grep -cvE ' status="(run|fail)"' "$scripts" || true)))
  ran=$(($(count '<testcase ' "$google") + $(count '<testcase ' "$scripts") + lost - bad - left_out))
  # A script that is skipped prints the reason: "skipped: ...".
  { sed -n 's/.*<skipped message="[^&]*&#x0A;\([^"]*\)".*/\1/p' "$google"; sed -nE 's/^(.*<system-out>)?skipped:? //p' "$report"; } |
    sort | uniq -c | sed 's/^ *\([0-9]*\) /skipped \1 times: /'
  passed=$((passed + ran)) failed=$((failed + bad)) skipped=$((skipped + left_out))
  [ ! -e "$report.failed" ] && [ "$ran" -gt 0 ]
}

count() { # <pattern> <file>
  grep -c -- "$1" "$2" || true
}

job_unit() {
  sh cmake/build.sh tests && check_kernel_resources && run_ctest tests build
}

check_kernel_resources() {
  if ! grep -q '^norma_cuda_is_in:INTERNAL=ON' build/CMakeCache.txt; then
    echo "skipped: no CUDA compiler here, so the CUDA kernels run in the asan job only, emulated"
    skipped=$((skipped + 1))
    return 0
  fi
  sh tests/scripts/kernel_resources.sh build && run_script check_machine_code
}

check_machine_code() {
  command -v python3 >/dev/null || { echo "skipped the machine code of CUDA kernels: no python3 here"; return 77; }
  python3 tests/scripts/machine_code.py build --bounds
}

job_cases() {
  if [ ! -d ../shared/cases/bugs ]; then
    echo "skipped: no ../shared/cases here, inputs that are kept outside this checkout"
    skipped=$((skipped + 1)) counted=yes
    return 0
  fi
  sh cmake/build.sh tests && sh tests/scripts/cases.sh build ../shared/cases
}

job_example() {
  sh cmake/build.sh tests &&
    cmake --install build --prefix "$scratch/prefix" >/dev/null &&
    cmake -S apps/examples -B "$scratch/examples" -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_BUILD_TYPE=Release \
      -DCMAKE_CXX_FLAGS='-Wall -Wextra -Wpedantic -Wshadow -Werror' &&
    cmake --build "$scratch/examples" &&
    (cd "$scratch" && for example in module_alone own_step fine_tune guest serve train_lenet; do "examples/$example" || exit; done &&
      prefix/bin/norma inspect lenet.safetensors && prefix/bin/norma export lenet.safetensors lenet.c --check &&
      cc -std=c99 -O3 -Wall -Wextra -Werror -I. "$root/apps/examples/lenet_in_c.c" -lm -o in_c && ./in_c &&
      { [ ! -e examples/to_onnx ] || examples/to_onnx lenet.safetensors lenet.onnx; })
}

job_shared() { bash tests/scripts/shared.sh; }

# A script that ends with 77 was skipped and said why.
run_script() { # <command>...
  status=0
  "$@" || status=$?
  [ $status = 77 ] || return $status
  skipped=$((skipped + 1)) counted=yes
}
job_fuzz() { run_script sh tests/scripts/fuzz.sh 60; }
job_long_fuzz() { run_script sh tests/scripts/fuzz.sh "${NORMA_FUZZ_SECONDS:-3600}"; }
job_faults() { sh cmake/build.sh tests && run_script sh tests/scripts/faults.sh build deep; }
job_tsan() { run_script sh tests/scripts/tsan.sh; }
job_mutants() { run_script sh tests/scripts/mutants.sh --count "${NORMA_MUTANTS:-200}"; }

job_alone() {
  cmake --preset tests -B "$scratch/alone" -DCMAKE_UNITY_BUILD=OFF -DNORMA_CUDA=OFF -DNORMA_QUICK_KERNELS=ON -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DNORMA_WERROR=ON && cmake --build "$scratch/alone" --parallel "$cores"
}

job_asan() {
  if ! command -v clang++ >/dev/null; then
    echo "skipped: no clang++ here"
    skipped=$((skipped + 1)) counted=yes
    return 0
  fi
  sh cmake/build.sh asan && cmake --build --preset asan --target all_verify_interface_header_sets &&
    ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 run_ctest asan build-asan
}

job_accuracy() { sh cmake/build.sh tests && NORMA_SEEDS='0 1' sh tests/scripts/accuracy.sh build; }
job_seeds() { sh cmake/build.sh tests && sh tests/scripts/accuracy.sh build; }

sh cmake/setup.sh tests
summary=
for job in $jobs; do
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
