#!/usr/bin/env bash
# ONNX models against ONNX Runtime: every layer with its options, random nets, every shipped recipe, and what `norma export` writes of a
# trained LeNet. Each is written folded, not folded and with the transform, and runs in batches of several sizes. onnx_outputs.py says what
# may differ. A line a check.
#   tests/scripts/onnx.sh [build directory]
# Takes $NORMA_PYTHON, or python3, if it has onnx and onnxruntime; else it installs them with pip into the build directory, once.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
build=$(realpath "${1:-build}")
here=$(cd "$(dirname "$0")" && pwd)
models=$build/tests/norma_onnx_models
skipped() { echo "skipped the outputs of ONNX models: $1"; exit 77; }

. "$here/checks.sh"

# ---- the command: what it says, and what it refuses
"$norma" train tiny.toml --device cpu --threads 1 --quiet --out tiny >/dev/null || { bad "a run to export"; finish; exit; }
mkdir lone && cp "$norma" lone/norma
lone/norma export tiny net.onnx >stdout 2>stderr
check "a program without the module" "$? $(grep -c 'lone/norma_onnx.so is missing; .*apt-get install libonnx-dev libprotobuf-dev' stderr) $(ls net.onnx 2>/dev/null | wc -l)" "1 1 0"
[ -x "$models" ] || { finish && skipped "this build has no ONNX: it needs libonnx-dev and libprotobuf-dev"; exit; }
check "the program is linked against neither ONNX nor protobuf" "$(ldd "$norma" | grep -c 'onnx\|protobuf')" 0
mkdir -p prefix/bin prefix/lib/norma && cp "$norma" prefix/bin/ && cp "$build/norma_onnx.so" prefix/lib/norma/
prefix/bin/norma export tiny installed.onnx >stdout 2>stderr
check "an installed program finds its module" "$? $(cat stderr)" "0 "
check "... what is said" "$(sed -E 's/ +/ /; s/, [0-9.]+ kB$//' stdout)" "file installed.onnx, ONNX model
opset 17
nodes 10
parameters 962
input x (N, 1, 12, 12) f32
output y (N, 10) f32"
expect "a file that is there" 2 "installed.onnx exists: --force replaces it" export tiny installed.onnx
expect "... and --force" 0 "" export tiny installed.onnx --force --with-transform --fold --json
check "... in JSON" "$(key stdout format) $(grep -c '"input":{"name":"x","type":"u8","shape":\["N",1,28,28\]},"output":{"name":"y","type":"f32","shape":\["N",10\]},"notes":\[\]' stdout)" "onnx 1"
echo changed >>installed.onnx
expect "a file that was changed" 2 "is not a file of norma's, or was changed" export tiny installed.onnx --force
for flag in --check "--name a" "--weights int8"; do expect "$flag" 2 "${flag%% *}" export tiny net.onnx $flag; done
mkdir nothing
expect "a folder without a model" 3 "nothing/model.safetensors: no such file" export nothing net.onnx
mkdir bare && sed 's/norma\.net/norma.nex/' tiny/model.safetensors >bare/model.safetensors
expect "a model that does not say its net" 2 "name the recipe with --recipe" export bare net.onnx
sed 's/"norm" }, { type = "activation" }, { type = "max/"batch_norm", track_running_stats = false }, { type = "max/' tiny.toml >untracked.toml
"$norma" train untracked.toml --device cpu --threads 1 --epochs 1 --quiet --out untracked >/dev/null
expect "a batch norm without running statistics" 2 "[bn1] has no running statistics" export untracked net.onnx
expect "a folder that cannot be made" 1 "/proc/none" export tiny /proc/none/net.onnx
check "... nothing of all this was written" "$(ls net.onnx 2>/dev/null | wc -l)" 0

# ---- ONNX Runtime
python=$(python_with "$build" 'numpy, onnx.reference, onnxruntime' 'onnx onnxruntime numpy')
[ -n "$python" ] || { finish && skipped "no python with onnx and onnxruntime, and pip could not install them: \$NORMA_PYTHON names one"; exit; }
# ---- of the library
mkdir cases
"$models" cases cases >out 2>err
check "models of every layer and recipe are written" "$? $(cat err)" "0 "
echo "        $(cat out)"

# ---- of the program: a trained LeNet with batch norms, 1,000 samples as stored
"$norma" train mnist-lenet-bn --data digits --set data.train_samples=2000 --set data.test_samples=100 --epochs 1 --quiet --out run >out 2>err
check "a LeNet is trained" "$? $(cat err)" "0 "
for variant in plain folded stored folded_stored; do
  flags=
  case $variant in *folded*) flags=--fold ;; esac
  case $variant in *stored*) flags="$flags --with-transform" ;; esac
  expect "norma export run $variant.onnx $flags" 0 "" export run "cases/lenet.$variant.onnx" $flags --json
done
"$models" answers cases lenet.stored run 1000 && "$python" - <<'PYTHON'
# The transform in numpy, from what the model's metadata say of it: samples for the models without it.
import json, sys
import numpy, onnx
raw = open("cases/lenet.stored.safetensors", "rb").read()
size = int.from_bytes(raw[:8], "little")
header = json.loads(raw[8 : 8 + size])
part = lambda name: raw[8 + size :][slice(*header[name]["data_offsets"])]
model = onnx.load("cases/lenet.plain.onnx")
metadata = {p.key: p.value for p in model.metadata_props}
said = json.loads(metadata["norma.input"])
assert said["type"] == "u8" and said["to_unit"] and json.loads(metadata["norma.classes"]) == [str(i) for i in range(10)]
x = (numpy.frombuffer(part("x"), numpy.uint8).astype(numpy.float64) / 255 - said["mean"][0]) / said["std"][0]
x, y = x.astype(numpy.float32).tobytes(), part("y")
new = {"x": {"dtype": "F32", "shape": header["x"]["shape"], "data_offsets": [0, len(x)]},
       "y": {"dtype": "F32", "shape": header["y"]["shape"], "data_offsets": [len(x), len(x) + len(y)]}}
text = json.dumps(new).encode()
open("cases/lenet.safetensors", "wb").write(len(text).to_bytes(8, "little") + text + x + y)
# The tensors are those of model.safetensors, under their names.
raw = open("run/model.safetensors", "rb").read()
size = int.from_bytes(raw[:8], "little")
stored = {n: raw[8 + size :][slice(*t["data_offsets"])] for n, t in json.loads(raw[8 : 8 + size]).items()
          if n != "__metadata__" and t["dtype"] == "F32"}
assert stored == {t.name: t.raw_data for t in model.graph.initializer}, "initialisers"
PYTHON
check "metadata and initialisers are the model file's" "$?" 0

# ---- all of them
"$python" "$here/onnx_outputs.py" cases >out 2>err
check "outputs, shapes and names" "$? $(cat err)" "0 "
sed 's/^/        /' out
finish
