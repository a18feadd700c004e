#!/bin/sh
# Trains LeNet with batch norm on Fashion-MNIST, from nothing: installs what is missing, builds build/norma, finds the data, trains.
#   sh apps/quickstart.sh [flags of norma train]
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
recipe=fashion-lenet-bn-sigmoid
run=runs/quickstart
[ "$PWD" = "$root" ] || run=$root/$run # as the caller would name it
cd "$root"

say() { echo "quickstart: $*" >&2; }

# CUDA kernels take minutes to compile, and run on a GPU only: for the one that is here, or none.
gpus=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | grep -xE '[0-9]+\.[0-9]+' | tr -d . | sort -u | paste -sd ';') || gpus=
if [ -z "${NORMA_CUDA-}" ] && [ -z "$gpus" ]; then
  export NORMA_CUDA=OFF
elif [ -z "${CUDAARCHS-}" ] && [ -n "$gpus" ]; then
  export CUDAARCHS="$gpus"
fi

sh cmake/setup.sh
sh cmake/build.sh release

# Data: the Debian package or an earlier download; else a download; else digits that norma draws itself.
if ! build/norma data path fashion-mnist >/dev/null 2>&1 && ! build/norma data fetch fashion-mnist; then
  say "*** Fashion-MNIST is not installed and could not be downloaded."
  say "*** Training on norma's own 'digits' instead: the accuracy below says nothing about Fashion-MNIST."
  set -- --data digits "$@"
fi

exec build/norma train $recipe --out "$run" --force "$@" # its last lines name the run directory and the pictures in it
