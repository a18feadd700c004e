#!/bin/sh
# norma against PyTorch and JAX on the CPU: the two recipes, equal initial weights and order of samples, alternately on the same cores.
#   sh apps/yardsticks/compare.sh [--build DIR] [--threads LIST] [--epochs N] [--rounds N] [--recipe LIST] [--variants LIST] [--json FILE]
# First each program trains one epoch. The comparison fails if a training loss is not norma's within 0.2 %. Then every round runs norma and
# each variant of the others. Medians: seconds of training an epoch, of an evaluation, from the process's start to the end of its first
# step; peak memory. Every process is pinned to as many cores as it has threads (1,2 measures both). A ratio is the fastest variant's figure
# over norma's: above 1, norma is the faster. Exits with 1 if a variant trains faster than norma. PYTHON names an interpreter with torch,
# jax (either may be missing) and safetensors. Data is searched as norma does; $NORMA_DATA_DIR defaults to ../shared/data of the
# checkout. Give --epochs 2 or more to measure epochs of a warm program.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
usage() {
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
}
build=$root/build
options=$#
while [ "$options" -gt 0 ]; do # every option goes to compare.py, but --build
  [ "$options" -ge 2 ] || usage
  case $1 in
    --build) build=$2 ;;
    --threads | --epochs | --rounds | --recipe | --variants | --json) set -- "$@" "$1" "$2" ;;
    *) usage ;;
  esac
  shift 2
  options=$((options - 2))
done
norma=$build/norma
[ -x "$norma" ] || { echo "compare.sh: no program at $norma; build it first" >&2; exit 1; }
if [ -z "${NORMA_DATA_DIR-}" ] && [ -d "$root/../shared/data" ]; then
  NORMA_DATA_DIR=$(cd "$root/../shared/data" && pwd)
  export NORMA_DATA_DIR
fi
exec "${PYTHON:-python3}" "$root/apps/yardsticks/compare.py" --norma "$norma" "$@"
