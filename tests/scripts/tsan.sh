#!/bin/sh
# Norma with several threads under ThreadSanitizer (clang++): no report may come. First it must see races that are planted, and say nothing
# of sound programs.
#   sh tests/scripts/tsan.sh
set -eu
cd "$(dirname -- "$0")/../.."
command -v clang++ >/dev/null || { echo "skipped: no clang++ here"; exit 77; }
sh cmake/build.sh tsan
build=$PWD/build-tsan
scratch=$(mktemp -d "${TMPDIR:-/tmp}/norma-tsan.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Accesses of other libraries among themselves are not instrumented.
export TSAN_OPTIONS='ignore_noninstrumented_modules=1 exitcode=66'
failed=0 count=0

run() { # <command>...
  status=0
  "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
  reports=$(grep -c 'WARNING: ThreadSanitizer' "$scratch/err" || true)
}
report() { # <what> <whether it is as it should be: yes or no>
  count=$((count + 1))
  if [ "$2" = yes ]; then
    echo "$1: exit code $status, $reports reports"
  else
    failed=$((failed + 1))
    echo "FAILED: $1: exit code $status, $reports reports"
    tail -80 "$scratch/err"
  fi
}
planted() { # <program's word> <reported or silent> <what it is>
  run "$build/tests/tsan/tsan_planted_race" "$1"
  as_it_should=no
  if [ "$2" = reported ]; then
    if [ $status = 66 ] && [ "$reports" -gt 0 ]; then as_it_should=yes; fi
  elif [ $status = 0 ] && [ "$reports" = 0 ]; then as_it_should=yes
  fi
  report "$3" $as_it_should
}
clean() { # <what> <command>...
  what=$1 as_it_should=no
  shift
  run "$@"
  if [ $status = 0 ] && [ "$reports" = 0 ]; then as_it_should=yes; fi
  report "$what" $as_it_should
}

planted race reported "a planted race of threads"
planted pool-race reported "a planted race of norma's threads"
planted threads silent "threads with a lock"
planted pool silent "norma's threads, which wait for each other"

cat >"$scratch/tiny.toml" <<'RECIPE'
description = "small, with every kind of normalisation"
[data]
name = "digits"
train_samples = 60
test_samples = 24
[model]
layers = [
  {type = "conv2d", out = 4, kernel = 3}, {type = "norm"}, {type = "activation"}, {type = "max_pool2d", kernel = 2},
  {type = "conv2d", out = 4, kernel = 3, stride = 2}, {type = "group_norm", groups = 2}, {type = "tanh"},
  {type = "flatten"}, {type = "dropout", p = 0.25}, {type = "linear", out = 16}, {type = "norm"}, {type = "activation"},
  {type = "linear", out = 10}]
[train]
epochs = 2
batch_size = 16
RECIPE
norma=$build/norma
for optimizer in sgd adamw; do
  for norm in batch layer; do
    clean "training with $optimizer, norm = $norm" \
      "$norma" train "$scratch/tiny.toml" --threads 4 --optimizer $optimizer --norm $norm --quiet --out "$scratch/$optimizer-$norm"
  done
done
clean "going on with it" "$norma" train --resume --out "$scratch/sgd-batch" --epochs 3 --threads 4 --quiet
clean "evaluation" "$norma" eval "$scratch/sgd-batch" --threads 4
clean "recalibration" "$norma" bn-recalibrate "$scratch/sgd-batch" --threads 4 --out "$scratch/recalibrated.safetensors"
clean "bf16 and a schedule" \
  "$norma" train "$scratch/tiny.toml" --threads 4 --precision bf16 --schedule one_cycle --quiet --out "$scratch/bf16"
clean "a comparison, two runs at once" "$norma" compare "$scratch/tiny.toml" --vary optimizer.lr=0.01,0.05 --seeds 2 --jobs 2 --epochs 1 \
  --quiet --out "$scratch/comparison"
clean "four Trainers in four threads, and a Predictor asked by four" "$build/tests/tsan/tsan_trainers"
echo "$count runs, $failed failed"
[ $failed = 0 ]
