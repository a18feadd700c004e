#!/usr/bin/env bash
# ONNX models against ONNX Runtime: every layer with its options, random nets and every shipped recipe. Each is written folded, not folded
# and with the transform, and runs in batches of several sizes. onnx_outputs.py says what may differ. A line a check.
#   tests/scripts/onnx.sh [build directory]
# Takes $NORMA_PYTHON, or python3, if it has onnx and onnxruntime; else it installs them with pip into the build directory, once.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
build=$(realpath "${1:-build}")
here=$(cd "$(dirname "$0")" && pwd)
models=$build/tests/norma_onnx_models
skipped() { echo "skipped the outputs of ONNX models: $1"; exit 77; }
[ -x "$models" ] || skipped "this build has no ONNX: it needs libonnx-dev and libprotobuf-dev"

has_onnx() { [ -n "$1" ] && "$1" -c 'import numpy, onnx.reference, onnxruntime' 2>/dev/null; }
venv=$build/venv-onnx
for python in "${NORMA_PYTHON-}" python3 "$venv/bin/python"; do ! has_onnx "$python" || break; done
if ! has_onnx "$python"; then
  python3 -m venv "$venv" 2>/dev/null && timeout 300 "$venv/bin/pip" install --quiet --disable-pip-version-check onnx onnxruntime numpy \
    >"$build/venv-onnx.log" 2>&1
  has_onnx "$python" || skipped "no python with onnx and onnxruntime, and pip could not install them: \$NORMA_PYTHON names one"
fi
. "$here/checks.sh"

mkdir cases
"$models" cases cases >out 2>err
check "models of every layer and recipe are written" "$? $(cat err)" "0 "
echo "        $(cat out)"

# ---- all of them
"$python" "$here/onnx_outputs.py" cases >out 2>err
check "outputs, shapes and names" "$? $(cat err)" "0 "
sed 's/^/        /' out
finish
