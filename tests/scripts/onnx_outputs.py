#!/usr/bin/env python3
"""Runs ONNX models by ONNX Runtime and compares them with norma's own outputs. tests/scripts/onnx.sh says with which.

  onnx_outputs.py FOLDER

FOLDER/<net>.<variant>.onnx takes the "x" of FOLDER/<net>[.stored].safetensors, in batches of several sizes and all at once. Its output
may differ from the "y" there by 1e-5 of the net's largest output, or by 1e-5 where that is below 1. Every model must satisfy
onnx.checker with full checks. Small models are also run by ONNX's reference implementation. A line a fault, then the worst and a count.
"""
import json
import pathlib
import sys
import warnings

import numpy
import onnx
import onnx.reference
import onnxruntime

BOUND = 1e-5
# Faults of the reference implementation, not of the models.
REFERENCE_LACKS = set()
SMALL = 2000  # bytes of samples that the reference implementation, slow Python, is given


def safetensors(file):
    raw = file.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    types = {"F32": numpy.float32, "U8": numpy.uint8, "I64": numpy.int64}
    return {
        name: numpy.frombuffer(raw[8 + size :][slice(*t["data_offsets"])], types[t["dtype"]]).reshape(t["shape"])
        for name, t in header.items()
        if name != "__metadata__"
    }


def difference(got, expected):
    if got.shape != expected.shape:
        return float("inf")
    if got.size == 0:
        return 0.0
    largest = numpy.abs(got.astype(numpy.float64) - expected).max() / max(1.0, numpy.abs(expected).max())
    return float(largest) if numpy.isfinite(largest) else float("inf")


def batches(count):
    """All at once, one by one at first, then sizes around norma's pack of 16."""
    yield 0, count
    begin = 0
    for size in (1, 1, 3, 16):
        if begin + size <= count:
            yield begin, begin + size
            begin += size


def shape_of(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def check(file, answers):
    """Returns the largest difference of ONNX Runtime and of the reference implementation (None where that is not asked)."""
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    names = [n.name for n in model.graph.node]
    assert len(set(names)) == len(names), "two nodes have one name"
    assert [i.name for i in model.graph.input] == ["x"] and [o.name for o in model.graph.output] == ["y"]
    x, y = answers["x"], answers["y"]
    assert shape_of(model.graph.input[0]) == ["N", *x.shape[1:]], "the input's shape"
    assert shape_of(model.graph.output[0]) == ["N", *y.shape[1:]], "the output's shape"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: a tensor that nothing reads is no fault
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    worst = max(difference(session.run(["y"], {"x": x[a:b]})[0], y[a:b]) for a, b in batches(len(x)))
    operators = {n.op_type for n in model.graph.node}
    if x.nbytes > SMALL or operators & REFERENCE_LACKS:
        return worst, None
    reference = onnx.reference.ReferenceEvaluator(model)
    return worst, difference(reference.run(["y"], {"x": x})[0], y)


def main():
    folder = pathlib.Path(sys.argv[1])
    warnings.simplefilter("ignore")
    worst, referenced, failed, count = (0.0, ""), 0, 0, 0
    loaded = {}
    for file in sorted(folder.glob("*.onnx")):
        net, variant, _ = file.name.rsplit(".", 2)
        answers = net + (".stored" if variant.endswith("stored") else "") + ".safetensors"
        if answers not in loaded:
            loaded = {answers: safetensors(folder / answers)}
        count += 1
        try:
            by_runtime, by_reference = check(file, loaded[answers])
        except Exception as e:  # whatever a library throws is a fault of the model
            print(f"FAILED  {file.stem}: {type(e).__name__}: {str(e).strip()[:300]}")
            failed += 1
            continue
        worst = max(worst, (by_runtime, file.stem))
        for who, by in (("ONNX Runtime", by_runtime), ("the reference implementation", by_reference)):
            if by is not None and not by <= BOUND:
                print(f"FAILED  {file.stem}: {who} differs by {by:.2g}")
                failed += 1
        referenced += by_reference is not None
    print(f"{count} models by ONNX Runtime {onnxruntime.__version__}, {referenced} also by the reference implementation of ONNX {onnx.__version__}")
    print(f"the worst differs by {worst[0]:.2g}: {worst[1]}")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
