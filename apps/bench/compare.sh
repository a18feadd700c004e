#!/bin/sh
# Seconds per epoch of norma and of PyTorch on the CPU, the two recipes, in turn on the same cores.
#   sh apps/bench/compare.sh [--build DIR] [--threads N] [--epochs N] [--rounds N] [--recipe NAME]
# Every round runs norma, then each PyTorch variant; medians are over all epochs of all rounds (training and evaluation). The ratio is
# the fastest variant's median over norma's: above 1, norma is faster. Exits 1 where it is below 1.
# PYTHON names an interpreter with torch; data is searched as norma does, and $NORMA_DATA_DIR defaults to shared/data beside the checkout.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
build=$root/build threads=$(nproc) epochs=3 rounds=3 recipes='mnist-lenet-bn fashion-lenet-bn-sigmoid'
usage() {
  sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case $1 in
    --build) build=$2 ;;
    --threads) threads=$2 ;;
    --epochs) epochs=$2 ;;
    --rounds) rounds=$2 ;;
    --recipe) recipes=$2 ;;
    *) usage ;;
  esac
  shift 2
done
norma=$build/norma
[ -x "$norma" ] || { echo "compare.sh: no program at $norma; build it first" >&2; exit 1; }
python=${PYTHON:-python3}
"$python" -c 'import torch' 2>/dev/null || { echo "compare.sh: $python has no torch; set PYTHON to an interpreter that has" >&2; exit 1; }
if [ -z "${NORMA_DATA_DIR-}" ] && [ -d "$root/../shared/data" ]; then
  NORMA_DATA_DIR=$(cd "$root/../shared/data" && pwd)
  export NORMA_DATA_DIR
fi
scratch=$(mktemp -d "${TMPDIR:-/tmp}/norma-compare.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

peer() { # <file> <recipe> [flags]
  file=$1 recipe=$2
  shift 2
  "$python" "$root/apps/bench/peers/pytorch_lenet.py" --recipe "$recipe" --data-dir "$data" --threads "$threads" --epochs "$epochs" "$@" >>"$file"
}

echo "machine: $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg); $(date -u +%Y-%m-%d)"
echo "command: compare.sh --threads $threads --epochs $epochs --rounds $rounds"
for recipe in $recipes; do
  case $recipe in
    mnist-*) data=$("$norma" data path mnist) ;;
    *) data=$("$norma" data path fashion-mnist) ;;
  esac
  for round in $(seq "$rounds"); do
    echo "$recipe: round $round of $rounds" >&2
    "$norma" train "$recipe" --epochs "$epochs" --threads "$threads" --device cpu --json --quiet --force --out "$scratch/run" >>"$scratch/$recipe.norma"
    peer "$scratch/$recipe.pytorch" "$recipe"
    peer "$scratch/$recipe.pytorch-fused-optimizer" "$recipe" --fused-optimizer
    peer "$scratch/$recipe.pytorch-channels-last" "$recipe" --fused-optimizer --channels-last
  done
done

"$python" - "$scratch" "$recipes" <<'PYTHON'
import glob, json, os, statistics, sys

folder, recipes = sys.argv[1], sys.argv[2].split()
slower = False
for recipe in recipes:
    medians = {}
    for file in sorted(glob.glob(f"{folder}/{recipe}.*")):
        name = os.path.basename(file)[len(recipe) + 1:]
        epochs = [json.loads(line) for line in open(file)]
        final = [e for e in epochs if e.get("final")][-1]
        seconds = [e["seconds"] for e in epochs if not e.get("final")]
        medians[name] = statistics.median(seconds)
        print(f"{recipe:26} {name:24} {medians[name]:8.3f} s/epoch  (median of {len(seconds)}, {min(seconds):.3f} to {max(seconds):.3f})"
              f"  test accuracy {final['test_accuracy']:.4f}")
    ours = medians.pop("norma")
    best = min(medians, key=medians.get)
    print(f"{recipe:26} ratio {medians[best] / ours:.2f}  ({best} / norma)")
    slower = slower or medians[best] < ours
sys.exit(slower)
PYTHON
