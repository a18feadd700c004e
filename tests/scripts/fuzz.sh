#!/bin/sh
# The fuzzers of tests/fuzz (clang++'s libFuzzer, AddressSanitizer, UndefinedBehaviorSanitizer), begun with files that norma writes.
#   sh tests/scripts/fuzz.sh [SECONDS [FUZZER...]]     60 seconds, shared by all of them; at most one per core runs at once
# Prints how often each ran. Stops at the first finding of each: its input stays in build-asan/fuzz/findings, and the command that runs it
# again is printed. Inputs that reach new code are kept in build-asan/fuzz/<fuzzer>: the next run begins with them, too.
# CSV has no fuzzer: norma does not read it.
set -eu
cd "$(dirname -- "$0")/../.."
seconds=${1:-60}
case $seconds in
  '' | *[!0-9]* | 0) sed -n '3s/^# */usage: /p' "$0" >&2; exit 2 ;;
esac
[ $# = 0 ] || shift
command -v clang++ >/dev/null || { echo "skipped: no clang++ here"; exit 77; }
sh cmake/build.sh asan norma_fuzz
fuzz=$PWD/build-asan/tests/fuzz/norma_fuzz
all=$("$fuzz" --list | cut -f1)
# shellcheck disable=SC2086 # a list of words
[ $# -gt 0 ] || set -- $all
for name in "$@"; do
  echo "$all" | grep -qx -- "$name" || { echo "tests/scripts/fuzz.sh: no fuzzer is called '$name'; there are: $(echo "$all" | tr '\n' ' ')" >&2; exit 2; }
done

cores=$(nproc 2>/dev/null || echo 2)
each=$((seconds / $#))
[ $each -gt 0 ] || each=1
kept=$PWD/build-asan/fuzz
mkdir -p "$kept/findings"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/norma-fuzz.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export TMPDIR="$scratch"

# A file is at most so large, and what is allocated at once for it: nothing may grow with what a header says.
options='-max_len=16384 -malloc_limit_mb=80 -rss_limit_mb=1024 -timeout=20 -print_final_stats=1'
failed=no
finish() { # the fuzzers that run, each "name process"
  for running in $1; do
    name=${running%:*} status=0
    wait "${running#*:}" || status=$?
    log=$scratch/$name.log
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ $status = 0 ] && [ -n "$runs" ]; then
      echo "$name: $runs executions in $each s, no finding"
      continue
    fi
    failed=yes
    echo "$name: FOUND (exit code $status)"
    grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse|RELOAD)' "$log" | tail -60
    input=$(sed -n 's/.*Test unit written to *//p' "$log" | tail -1)
    [ -z "$input" ] || echo "again: $fuzz $name $input"
  done
}
running='' count=0
for name in "$@"; do
  mkdir -p "$kept/$name" "$scratch/$name"
  "$fuzz" "$name" --seeds "$scratch/$name"
  # shellcheck disable=SC2086 # a list of options
  "$fuzz" "$name" $options -max_total_time=$each -artifact_prefix="$kept/findings/$name-" "$kept/$name" "$scratch/$name" \
    >"$scratch/$name.log" 2>&1 &
  running="$running $name:$!" count=$((count + 1))
  [ $count -lt "$cores" ] || { finish "$running"; running='' count=0; }
done
finish "$running"
[ $failed = no ]
