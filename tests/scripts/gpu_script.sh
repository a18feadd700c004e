#!/usr/bin/env bash
# gpu.sh on a machine without a GPU: shell scripts stand in for norma, its tests and compute-sanitizer. A line a check.
#   tests/scripts/gpu_script.sh [build directory]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here=$(realpath "$(dirname "$0")")
NORMA=/bin/sh # for checks.sh; the one in the bundle is used here
. "$here/checks.sh"
for tool in timeout seq paste awk; do command -v $tool >/dev/null || { echo "skipped: no $tool here"; exit 77; }; done

mkdir bundle bin
cp "$here"/../gpu*.sh bundle || exit 2
export FAKE_TESTS="$work/tests" FAKE_LOG="$work/ran" PATH="$work/bin:$PATH"
program() { cat >"$1" && chmod +x "$1"; }

program bundle/norma <<'SH'
#!/bin/sh
case "$*" in
  'doctor --json') echo '{"usable": true, "cudnn": null}' ;;
  doctor) echo 'gpu 0  a fake one' ;;
  'bench bn --device cuda --json') cat "$FAKE_TESTS.bn" ;;
  *) exit 1 ;;
esac
SH

# A program of GoogleTest with the tests in $FAKE_TESTS: a name and its end, each a line. $FAKE_TESTS.start may end it before.
program bundle/norma_cuda_tests <<'SH'
#!/bin/sh
list=no filter='*' n=0 passed=0 status=0
for flag; do
  case $flag in
    --gtest_list_tests) list=yes ;;
    --gtest_filter=*) filter=${flag#*=} ;;
    --gtest_flagfile=*) filter=$(sed -n 's/^--gtest_filter=//p' "${flag#*=}") ;;
  esac
done
is_one_of() ( # <name> <patterns>
  set -f
  IFS=:
  for pattern in $2; do case $1 in $pattern) exit 0 ;; esac; done
  exit 1
)
chosen() { # <name>
  case $filter in *-*) ! is_one_of "$1" "${filter#*-}" || return 1 ;; esac
  is_one_of "$1" "${filter%%-*}" || [ -z "${filter%%-*}" ]
}
if [ $list = no ]; then
  echo "process $$" >>"$FAKE_LOG"
  case $(cat "$FAKE_TESTS.start" 2>/dev/null) in
    crash) kill -SEGV $$ ;;
    no_gpu) echo 'skipped the tests on a GPU: the fake is broken' && exit 77 ;;
    no_gpu_once) ! mv "$FAKE_TESTS.start" "$FAKE_TESTS.began" 2>/dev/null || exit 77 ;;
  esac
fi
tell() { [ -z "${NORMA_TEST_PROGRESS-}" ] || echo "$1 $name" >>"$NORMA_TEST_PROGRESS"; }
while read -r name end <&3; do
  chosen "$name" || continue
  [ $list = no ] || { printf '%s.\n  %s  # GetParam() = a b\n' "${name%%.*}" "${name#*.}"; continue; }
  n=$((n + 1))
  [ $(((n - 1) % ${GTEST_TOTAL_SHARDS:-1})) = "${GTEST_SHARD_INDEX:-0}" ] || continue
  echo "ran $name" >>"$FAKE_LOG"
  tell began
  case $end in
    lost)
      echo "the GPU's context is lost in $name: cudaErrorMisalignedAddress: misaligned address; this process ends"
      exit 3 ;;
    gone) echo no_gpu >"$FAKE_TESTS.start" && exit 3 ;;
    crash) kill -SEGV $$ ;;
    failed) echo "[  FAILED  ] $name (1 ms)" && status=1 ;;
    passed) passed=$((passed + 1)) ;;
  esac
  tell "$end"
done 3<"$FAKE_TESTS"
[ $list = yes ] || printf '[==========] tests ran.\n[  PASSED  ] %s tests.\n' $passed
exit $status
SH

program bin/compute-sanitizer <<'SH'
#!/bin/sh
echo '========= COMPUTE-SANITIZER'
while [ $# -gt 0 ]; do case $1 in */norma_cuda_tests) break ;; esac; shift; done
how=$(cat "$FAKE_TESTS.sanitizer")
case $how in refuses*) echo '========= Error: Device not supported. Please refer to the documentation' ;; esac
case $how in
  refuses) echo 'skipped the tests on a GPU: cudaErrorUnknown: unknown error' && exit 77 ;;
  refuses_and_aborts) kill -ABRT $$ ;;
  refuses_and_goes_on) "$@" ;;
  finds)
    "$@"
    echo '========= Program hit cudaErrorNotSupported (error 801) due to "operation not supported" on CUDA API call to cudaFree.'
    echo '========= ERROR SUMMARY: 2 errors'
    exit 86 ;;
  *)
    "$@"
    status=$?
    echo '========= ERROR SUMMARY: 0 errors'
    exit $status ;;
esac
SH

run() { # <steps> [<the program's start>]: the exit code is that of gpu.sh
  rm -rf out
  : >"$FAKE_LOG"
  echo "${2-}" >"$FAKE_TESTS.start"
  (cd / && sh "$work/bundle/gpu.sh" "$work/bundle" --only "$1" --out "$work/out" --seconds 60) >log 2>&1
}
result() { sed -n "s/^$1  *\([A-Za-z]*\)  *[0-9]*  \(.*\)/\1: \2/p" log; } # <step>: its row of the table
tests() { for i in $(seq "$1"); do echo "$2$i $3"; done; } # <how many> <name> <end>
processes() { grep -c '^process' "$FAKE_LOG"; }
layers=Cases/CudaKernels.GiveTheSameBitsEveryTime

# ---- every test passes
{ tests 20 Suite.passes passed; tests 3 Large.Beyond31Bits passed; tests 2 $layers/conv_lenet_ passed; } >"$FAKE_TESTS"
echo works >"$FAKE_TESTS.sanitizer"
run kernels,large,memcheck
check "all pass: exit code" $? 0
check "... kernels" "$(result kernels)" "passed: 22 passed, 0 failed, 0 skipped"
check "... large" "$(result large)" "passed: 3 passed, 0 failed, 0 skipped"
check "... memcheck" "$(result memcheck)" "passed: 0 errors; LeNet's and ragged shapes: 2 passed, 0 failed, 0 skipped"
check "... a process each" "$(processes)" 6

# ---- tests that fail, that lose the context, that crash
{
  tests 9 Suite.first passed
  echo "Suite.loses lost"
  tests 6 Suite.second passed
  echo "Suite.crashes crash"
  echo "Suite.fails failed"
  tests 6 Suite.third passed
  echo "Suite.skips skipped"
} >"$FAKE_TESTS"
run kernels
check "some end their process: exit code" $? 1
check "... are counted and named" "$(result kernels)" \
  "FAILED: 21 passed, 3 failed, 1 skipped; ended their process: Suite.crashes, Suite.loses"
check "... every test runs once" "$(grep '^ran' "$FAKE_LOG" | sort -u | wc -l) of $(grep -c '^ran' "$FAKE_LOG")" "25 of 25"
check "... says how" "$(grep -c 'Suite.loses ended its process: exit code 3$\|Suite.crashes ended its process: signal 11$' out/gpu.log)" 2
check "... says why" "$(grep -c 'context is lost in Suite.loses: cudaErrorMisalignedAddress' out/gpu.log)" 1
check "... in gpu.json" "$(grep -c '"step": "kernels", "result": "FAILED"' out/gpu.json)" 1

# ---- every test ends its process
tests 40 Suite.loses lost >"$FAKE_TESTS"
run kernels
check "all end their process: exit code" $? 1
check "... five more processes each" "$(processes)" 24
check "... the rest is counted" "$(result kernels | sed 's/: Suite.*and/: ... and/')" \
  "FAILED: 0 passed, 24 failed, 0 skipped, 16 not run; ended their process: ... and 20 more"

# ---- a process that does not get to its tests
tests 8 Suite.passes passed >"$FAKE_TESTS"
run kernels crash
check "a crash before the first test: exit code" $? 1
check "... is told" "$(result kernels)" "FAILED: 0 passed, 0 failed, 0 skipped, 8 not run; signal 11 outside a test"
check "... is not tried again" "$(processes)" 4
run kernels no_gpu
check "no GPU: exit code" $? 0
check "... is skipped" "$(result kernels)" "skipped: skipped the tests on a GPU: the fake is broken"
run kernels no_gpu_once
check "no GPU for one of four processes" "$? $(result kernels)" "1 FAILED: 6 passed, 0 failed, 0 skipped, 2 not run"
{ echo "Large.Beyond31BitsEnds gone"; tests 2 Large.Beyond31Bits passed; } >"$FAKE_TESTS"
run large
check "a GPU that is gone after a test: exit code" $? 1
check "... is no skip" "$(result large)" "FAILED: 0 passed, 1 failed, 0 skipped, 2 not run; ended their process: Large.Beyond31BitsEnds"
tests 3 Suite.passes passed >"$FAKE_TESTS"
run large
check "a filter without a test" "$? $(result large)" "1 FAILED: no test matches *Beyond31Bits*"

# ---- sanitizers
tests 2 $layers/conv_lenet_ passed >"$FAKE_TESTS"
for how in refuses refuses_and_aborts refuses_and_goes_on; do
  echo $how >"$FAKE_TESTS.sanitizer"
  run memcheck,racecheck,initcheck,synccheck
  check "a sanitizer $how: exit code" $? 0
  for step in memcheck racecheck initcheck synccheck; do
    check "... $step" "$(result $step)" "skipped: compute-sanitizer says: Device not supported"
  done
done
echo finds >"$FAKE_TESTS.sanitizer"
run memcheck
check "a sanitizer finds: exit code" $? 1
check "... what" "$(result memcheck)" "FAILED: 2 errors; LeNet's and ragged shapes: 2 passed, 0 failed, 0 skipped"
{ echo "$layers/fill_17 lost"; tests 2 $layers/conv_lenet_ passed; } >"$FAKE_TESTS"
echo works >"$FAKE_TESTS.sanitizer"
run memcheck
check "a context is lost under a sanitizer" "$? $(result memcheck)" \
  "1 FAILED: 0 errors;0 errors; LeNet's and ragged shapes: 2 passed, 1 failed, 0 skipped; ended their process: $layers/fill_17"

# ---- batch norm beside CUB
bn_json() { # <what follows the nets>
  echo '{"passes":[],"nets":[{"net":"lenet","layout":"lanes","pass":"forward","share_of_copy":{"geometric_mean":0.91}},'\
'{"net":"lenet","layout":"nchw","pass":"forward","share_of_copy":{"geometric_mean":0.5}}]'"$1}" >"$FAKE_TESTS.bn"
}
lanes='{"net":"lenet","layout":"lanes","ratio":{"geometric_mean":1.25,"worst":1},"share_of_read":{"geometric_mean":0.7}}'
nchw='{"net":"lenet","layout":"nchw","ratio":{"geometric_mean":3,"worst":2},"share_of_read":{"geometric_mean":0.6}}'
bn_json ',"cub":"CUB 3.0.1","statistics":[{"net":"lenet","name":"bn1"}],"statistics_nets":['"$lanes,$nchw]"
run bench_bn
check "bench_bn: exit code" $? 0
check "... its figure" "$(result bench_bn)" \
  "passed: %copy lenet lanes forward 91, lenet nchw forward 50; CUB 3.0.1 over norma, statistics alone: lenet lanes 1.25, lenet nchw 3.00"
bn_json ',"cub":null,"statistics":[{"net":"lenet","name":"bn1"}],"statistics_nets":[]'
run bench_bn
check "bench_bn without CUB" "$? $(result bench_bn)" "0 passed: %copy lenet lanes forward 91, lenet nchw forward 50; no CUB in this bundle"

# ---- usage
sh bundle/gpu.sh 2>err
check "no bundle: exit code" "$? $(grep -c 'gpu.sh <bundle folder>' err)" "2 1"
finish
