#!/usr/bin/env bash
# Weights that travel between PyTorch and norma, both ways: names, types, outputs and hashes. Skips without a Python that has torch 2.
#   NORMA_PYTHON=python3 bash tests/scripts/pytorch.sh [build]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
here=$(cd "$(dirname -- "$0")" && pwd)
python=${NORMA_PYTHON:-python3}
version=$("$python" -c 'import torch; print(torch.__version__)' 2>/dev/null) || version=
case $version in
  '') echo "skipped: $python has no torch; NORMA_PYTHON names a Python that has"; exit 77 ;;
  [01].*) echo "skipped: $python has torch $version, torch 2 is needed"; exit 77 ;;
esac
logits=$(realpath "${1:-build}/tests/pytorch_logits")
[ -x "$logits" ] || { echo "skipped: no program $logits"; exit 77; }
. "$here/checks.sh"
lenet() { "$python" "$here/../pytorch/lenet.py" "$@"; }

echo "torch $version"
lenet save . || { echo "lenet.py save failed" >&2; exit 1; }
"$norma" train mnist-lenet-bn --data digits --set data.train_samples=512 --set data.test_samples=200 --epochs 1 --out run --quiet >stdout 2>stderr ||
  bad "a run of norma" "$(cat stderr)"

same() { # same <name> <file> <file>
  if said=$(lenet compare "$2" "$3" 1e-5 2>&1); then ok "$1: $said"; else bad "$1" "$said"; fi
}
for name in named sequential half bfloat16 double module orig_mod checkpoint uncounted features; do
  if "$logits" run/model.safetensors "$name.pt" images.bin "$name.logits" 2>stderr; then same "$name.pt in norma" "$name.logits" "$name.expected"
  else bad "$name.pt in norma" "$(cat stderr)"; fi
done
expect "convert" 0 '' convert sequential.pt sequential.safetensors
"$logits" run/model.safetensors sequential.safetensors images.bin converted.logits 2>stderr
same "sequential.pt converted" converted.logits sequential.expected
expect "train --init" 0 'by order' train mnist-lenet-bn --data digits --set data.train_samples=64 --set data.test_samples=20 --epochs 1 --batch-size 32 \
  --init sequential.pt --out begun

lenet back run/model.safetensors images.bin back.pt back.expected || bad "norma's model in PyTorch"
"$logits" run/model.safetensors run/model.safetensors images.bin own.logits 2>stderr
same "norma's model in PyTorch" back.expected own.logits
expect "there and back" 0 '' convert back.pt back.safetensors
hash_of() { "$norma" eval "$1" --recipe run/config.toml --json --quiet 2>/dev/null >stdout && key stdout parameters_hash; }
check "there and back: the parameters' hash" "$(hash_of back.pt)" "$(hash_of run/model.safetensors)"
check "there and back: the converted file's" "$(hash_of back.safetensors)" "$(hash_of run/model.safetensors)"

expect "code in a file" 3 'holds posix.system, code that unpickling would execute' convert evil.pt evil.safetensors
[ ! -e made ] && [ ! -e evil.safetensors ] && ok "code in a file is not run" || bad "code in a file is not run"
finish
