#!/bin/sh
# Configures and builds a preset of CMakePresets.json, with ninja if it is installed.
#   sh cmake/build.sh release|tests|asan|tsan [TARGET...]
# $NORMA_CUDA (AUTO, ON, OFF) replaces the preset's own.
set -eu
cd "$(dirname -- "$0")/.."
preset=${1:?usage: sh cmake/build.sh release|tests|asan|tsan [TARGET...]}
shift

if command -v ninja >/dev/null; then
  CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja} # of a new build folder; an old one keeps its own
  export CMAKE_GENERATOR
fi
CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc 2>/dev/null || echo 2)}
export CMAKE_BUILD_PARALLEL_LEVEL

start=$(date +%s)
cmake --preset "$preset" ${NORMA_CUDA:+"-DNORMA_CUDA=$NORMA_CUDA"} >&2
cmake --build --preset "$preset" ${1:+--target "$@"} >&2
echo "build: preset $preset in $(($(date +%s) - start)) s" >&2
