#!/usr/bin/env python3
"""Batch norm alone by PyTorch: its own kernels and cuDNN's as it calls them, NCHW and channels last, forward in training and backward.

Prints one JSON object: for each shape, layout, path and pass the median seconds of a call, the largest error of the first call against
double (of y, or of dx, over the largest magnitude), and the bandwidth of a copy in the same run. On a GPU the calls of a measurement are
one CUDA graph, timed by events over its replays; on the CPU, where this is only tried out, each call is timed.
Calls go round several sets of tensors, inputs and results, which together are more than twice the size of the GPU's L2: what a call
reads has left the cache since it was last touched.

    python pytorch_batch_norm.py --device cuda
    python pytorch_batch_norm.py --only lenet
"""
import argparse
import collections
import json
import math
import pathlib
import statistics
import sys
import time

import torch

EPS, MOMENTUM = 1e-5, 0.1
aten = torch.ops.aten


def shapes_of(file, only):
    """[(name, (N,C,H,W))]"""
    rows = [line.split() for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]
    found = [(name, tuple(map(int, shape))) for name, *shape in rows if not only or any(name.startswith(o) for o in only.split(","))]
    return found or sys.exit(f"{file}: no shape's name begins with {only}")


class Channels:
    """(C) gamma, beta and running statistics."""

    def __init__(self, c, device):
        self.gamma, self.beta = torch.rand(c, device=device) + 0.5, torch.randn(c, device=device)
        self.mean, self.var = torch.zeros(c, device=device), torch.ones(c, device=device)


class Native:
    """PyTorch's own kernels."""
    name = "native"

    def forward(self, x, c):
        """(y, and what backward needs)"""
        y, mean, rstd = aten.native_batch_norm(x, c.gamma, c.beta, c.mean, c.var, True, MOMENTUM, EPS)
        return y, (mean, rstd)

    def backward(self, x, dy, saved, c):
        """(dx, dgamma, dbeta)"""
        return aten.native_batch_norm_backward(dy, x, c.gamma, c.mean, c.var, *saved, True, EPS, [True, True, True])


class Cudnn:
    """cuDNN's, as PyTorch calls them where torch.backends.cudnn.enabled."""
    name = "cudnn"

    def forward(self, x, c):
        y, mean, rstd, reserve = aten.cudnn_batch_norm(x, c.gamma, c.beta, c.mean, c.var, True, MOMENTUM, EPS)
        return y, (mean, rstd, reserve)

    def backward(self, x, dy, saved, c):
        mean, rstd, reserve = saved
        return aten.cudnn_batch_norm_backward(x, dy, c.gamma, c.mean, c.var, mean, rstd, EPS, reserve)


def tensor(shape, layout, device):
    x = torch.randn(shape, device=device)
    return x.contiguous(memory_format=torch.channels_last) if layout == "nhwc" else x


def exact(x, dy, c):
    """(y, dx) in double."""
    x = x.double().requires_grad_()
    y = torch.nn.functional.batch_norm(x, None, None, c.gamma.double(), c.beta.double(), True, MOMENTUM, EPS)
    y.backward(dy.double())
    return y.detach(), x.grad


def error(a, expected):
    return float((a.double() - expected).abs().max() / expected.abs().max())


class Clock:
    """Times calls that go round `sets` sets of arguments."""

    def __init__(self, device, replays):
        self.device, self.replays = device, replays
        # A cache's worth on the CPU is not worth knowing: it is no yardstick here.
        self.cache = torch.cuda.get_device_properties(0).L2_cache_size if device == "cuda" else 0

    def sets(self, bytes_of_a_set):
        return max(2, math.ceil(2 * self.cache / bytes_of_a_set) + 1)

    def seconds(self, call, sets):
        """{"median", "least", "most"} of one call; call(i) returns its results, which live on until its set's turn comes again."""
        calls = sets * math.ceil(8 / sets)
        alive = collections.deque(maxlen=sets)

        def round_trip():
            for i in range(calls):
                alive.append(call(i % sets))

        if self.device == "cpu":
            seconds = []
            for i in range(self.replays + 1):
                start = time.perf_counter()
                alive.append(call(i % sets))
                seconds.append(time.perf_counter() - start)
            return self.summary(seconds[1:])
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            call(0)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            round_trip()
        events = [torch.cuda.Event(enable_timing=True) for _ in range(self.replays + 1)]
        graph.replay()
        graph.replay()
        for event in events:
            event.record()
            graph.replay()  # the last one's end is not timed
        torch.cuda.synchronize()
        return self.summary([a.elapsed_time(b) / 1e3 / calls for a, b in zip(events, events[1:])])

    @staticmethod
    def summary(seconds):
        return dict(median=statistics.median(seconds), least=min(seconds), most=max(seconds))


def measure(clock, path, name, shape, layout):
    """A row for each pass."""
    device, bytes_of_x, c = clock.device, 4 * math.prod(shape), Channels(shape[1], clock.device)
    rows = [dict(name=name, shape=shape, layout=layout, path=path.name, **{"pass": p}) for p in ("forward", "backward")]
    try:
        shape = shape[:2] if shape[2:] == (1, 1) else shape  # as PyTorch's users have it
        sets = clock.sets(2 * bytes_of_x)
        xs = [tensor(shape, layout, device) for _ in range(sets)]
        dys = [tensor(shape, layout, device) for _ in range(clock.sets(3 * bytes_of_x))]
        saved = [path.forward(x, c)[1] for x in xs[:len(dys)]]
        y, dx = exact(xs[0], dys[0], c)
        rows[0]["error"] = error(path.forward(xs[0], c)[0], y)
        rows[1]["error"] = error(path.backward(xs[0], dys[0], saved[0], c)[0], dx)
        del y, dx
        rows[0]["seconds"] = clock.seconds(lambda i: path.forward(xs[i], c), sets)
        rows[1]["seconds"] = clock.seconds(lambda i: path.backward(xs[i], dys[i], saved[i], c), len(dys))
    except (RuntimeError, NotImplementedError) as e:
        for row in rows:
            if "seconds" not in row:
                row["unsupported"] = str(e).splitlines()[0]
    return rows


def copy_bandwidth(clock):
    """Bytes read and written per second, of copies of 1 GB on a GPU."""
    floats = (1 << 28) if clock.device == "cuda" else (1 << 22)
    xs, ys = ([torch.randn(floats, device=clock.device) for _ in range(2)] for _ in range(2))
    return 8 * floats / clock.seconds(lambda i: ys[i].copy_(xs[i]), 2)["median"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shapes", type=pathlib.Path, default=pathlib.Path(__file__).parent / "batch_norm_shapes.txt")
    parser.add_argument("--only", default="", help="shapes whose names begin so, such as lenet,large")
    parser.add_argument("--replays", type=int, default=15, help="of which the median is taken")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.exit(4, f"{parser.prog}: torch {torch.__version__} can use no GPU here\n")
    torch.manual_seed(0)
    clock = Clock(args.device, args.replays)
    shapes, rows = shapes_of(args.shapes, args.only), []
    bandwidth = copy_bandwidth(clock)
    for name, shape in shapes:
        for layout in ("nchw", "nhwc") if shape[2:] != (1, 1) else ("nchw",):  # of one pixel they are the same memory
            for path in (Native(), Cudnn()) if args.device == "cuda" else (Native(),):
                rows += measure(clock, path, name, shape, layout)
                if args.device == "cuda":
                    torch.cuda.empty_cache()
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"{torch.get_num_threads()} threads"
    version = torch.backends.cudnn.version() if args.device == "cuda" else None
    print(json.dumps(dict(device=f"torch {torch.__version__} {args.device} ({where})", cudnn=version, copy_bytes_per_second=bandwidth, shapes=rows)))


if __name__ == "__main__":
    main()
