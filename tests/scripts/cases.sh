#!/usr/bin/env bash
# Inputs that once went wrong, kept outside the checkout. Each folder has a run.sh, which exits 0 if norma behaves right. misuse.cpp has
# numbered misuses of the library; each must end in a norma::Error or be right.
#   tests/scripts/cases.sh <build folder> <folder of the cases>
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -eu
build=$(realpath "$1") cases=$(realpath "$2") source=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d "${TMPDIR:-/tmp}/norma-cases.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

NORMA=$build/norma NORMA_SRC=$source DATA=$(dirname "$cases")/data bash "$cases/bugs/all.sh" || failed=1

if [ -f "$cases/library/misuse.cpp" ]; then
  cmake --install "$build" --prefix "$work/prefix" >/dev/null
  mkdir "$work/misuse"
  cat >"$work/misuse/CMakeLists.txt" <<PROJECT
cmake_minimum_required(VERSION 3.25)
project(misuse LANGUAGES CXX)
find_package(norma REQUIRED)
add_executable(misuse $cases/library/misuse.cpp)
target_link_libraries(misuse PRIVATE norma::norma)
PROJECT
  cmake -S "$work/misuse" -B "$work/misuse/build" -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
  cmake --build "$work/misuse/build" >/dev/null
  cd "$work"
  i=0 wrong=0
  while :; do
    code=0
    said=$(timeout 60 misuse/build/misuse $i 2>&1) || code=$?
    [ $code -ne 99 ] || break # no more of them
    if [ $code -ne 0 ] || ! grep -qE -- '-> (Error [0-9]+: .|no error|St11logic_error: my own)' <<<"$said"; then
      wrong=$((wrong + 1))
      echo "FAILED  misuse $i, exit code $code: $(tail -n 1 <<<"$said" | cut -c1-200)"
    fi
    i=$((i + 1))
  done
  echo "misuse: $i ways, $wrong failed"
  [ "$i" -gt 0 ] && [ "$wrong" = 0 ] || failed=1
fi
[ $failed = 0 ]
