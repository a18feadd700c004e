#!/bin/sh
# One build folder after every configuration that a user may give it, in any order. Presets, CUDA in and out, architectures from the option
# and from the environment, a compiler that goes and comes back. Nothing is compiled. A line a check.
#   sh tests/scripts/configure.sh
set -eu
source=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/norma-configure.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$source"
unset CUDAARCHS NORMA_CUDA
passed=0 failed=0

# configure <name> <text of the output; "" for none about CUDA> <arguments of cmake>
configure() {
  name=$1 text=$2
  shift 2
  if ! cmake -G "${generator:=$(command -v ninja >/dev/null && echo Ninja || echo 'Unix Makefiles')}" -S . -B "$work/b" "$@" >"$work/out" 2>&1; then
    echo "FAILED  $name: $(grep -A 6 'CMake Error' "$work/out")"
    failed=$((failed + 1))
  elif [ -n "$text" ] && ! grep -qE "$text" "$work/out" || [ -z "$text" ] && grep -q 'norma: CUDA' "$work/out"; then
    echo "FAILED  $name: wanted '$text', got '$(grep 'norma:' "$work/out")'"
    failed=$((failed + 1))
  else
    echo "ok      $name"
    passed=$((passed + 1))
  fi
}
# cached <name> <variable> <value>
cached() {
  value=$(sed -n "s/^$2:[A-Z]*=//p" "$work/b/CMakeCache.txt")
  if [ "$value" = "$3" ]; then
    echo "ok      $1"
    passed=$((passed + 1))
  else
    echo "FAILED  $1: $2 is '$value', not '$3'"
    failed=$((failed + 1))
  fi
}

configure 'release without CUDA' '' --preset release -DNORMA_CUDA=OFF
configure 'the tests after it' '' --preset tests -DNORMA_CUDA=OFF
cached '... are built' NORMA_BUILD_TESTS ON
configure 'release after the tests' '' --preset release -DNORMA_CUDA=OFF
cached '... builds none' NORMA_BUILD_TESTS OFF

# A compiler of our own, which can be taken away.
real=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
if [ ! -x "$real" ]; then
  echo "skipped: no nvcc here, so nothing of CUDA is configured"
else
  configure 'CUDA after none' 'architectures all-major$' --preset release
  CUDAARCHS='75;90' configure 'then $CUDAARCHS' 'architectures 75;90$' --preset tests
  configure '... which is kept' 'architectures 75;90$'
  CUDAARCHS=80 configure 'another $CUDAARCHS' 'architectures 80$'
  configure 'the option before the environment' 'architectures 90$' -DCMAKE_CUDA_ARCHITECTURES=90
  CUDAARCHS=75 configure '... also when that comes later' 'architectures 90$'
  configure 'the option taken back' 'architectures 75$' -UCMAKE_CUDA_ARCHITECTURES
  configure 'CUDA out' '' -DNORMA_CUDA=OFF
  configure '... and in again' 'architectures 75$' -DNORMA_CUDA=ON
  rm -rf "$work/b"
  printf '#!/bin/sh\nexec %s "$@"\n' "$real" >"$work/compiler"
  chmod +x "$work/compiler"
  CUDACXX=$work/compiler CUDAARCHS=80 configure 'a new folder, $CUDAARCHS first' 'architectures 80$' --preset tests
  cached '... of the compiler named' CMAKE_CUDA_COMPILER "$work/compiler"
  CUDAARCHS=75 configure '... then another' 'architectures 75$'
  rm "$work/compiler"
  configure 'a compiler that is gone: the next one' 'architectures 75$'
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
