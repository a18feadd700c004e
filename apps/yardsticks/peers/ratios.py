#!/usr/bin/env python3
"""The figures of norma on a GPU beside those of its peers, from what the steps of tests/gpu.sh left behind. Called by it.

    python ratios.py <folder>

The folder holds <step>.json files of one JSON object a line: epoch (norma train --json), bench_epoch (norma bench epoch --json; where it is
there it counts), torch_eager, torch_graph, torch_compile, jax (the peers'), bench_bn (norma bench bn --json), torch_bn, cudnn_bn. What is
missing is "not measured". Times are medians: of the epochs after the first; of a batch norm's calls. A ratio is the peer's time over
norma's: above 1, norma is the faster. Of several variants, paths and layouts of a peer the fastest counts, of forward and backward each its
own.
"""
import collections
import json
import math
import pathlib
import statistics
import sys

PEERS = (("torch_eager", "PyTorch eager", 8, 25), ("torch_graph", "PyTorch whole-step graph", 2.5, 8), ("torch_compile", "torch.compile", 1.5, 4),
         ("jax", "JAX jit + scan", 3, 8))
MISSING = "not measured"


def objects(folder, step):
    file = folder / f"{step}.json"
    return [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")] if file.exists() else []


def epoch_seconds(lines):
    """{variant: median seconds of training an epoch}, of runs that write one after the other."""
    runs = collections.defaultdict(list)
    for line in lines:
        if "train_seconds" in line and not line.get("final"):
            runs[line["device"]].append(line["train_seconds"])
    return {device: statistics.median(seconds[1:] or seconds) for device, seconds in runs.items()}


class BatchNorms:
    """Seconds of batch norms, by (N,C,H,W), layout and pass, the fastest path's; also the copies' bandwidth of the same run."""

    def __init__(self, results):
        self.seconds, self.copy = {}, None
        for result in results:
            self.copy = result.get("copy_bytes_per_second", self.copy)
            for row in result.get("shapes") or result["passes"]:
                if "copy_bytes_per_second" in row:  # norma's, of copies of the same tensors; the largest come last
                    self.copy = row["copy_bytes_per_second"]["median"]
                if "seconds" in row:
                    shape = tuple(row["shape"]) + (1,) * (4 - len(row["shape"]))
                    key = shape, "any" if shape[2:] == (1, 1) else row["layout"].lower(), row["pass"]
                    self.seconds[key] = min(self.seconds.get(key, math.inf), row["seconds"]["median"])

    def both(self, shape, layouts):
        """Forward and backward together, each in the fastest of these layouts; None where one was not measured."""
        passes = [[self.seconds[k] for k in ((shape, each, p) for each in (*layouts, "any")) if k in self.seconds] for p in ("forward", "backward")]
        return sum(map(min, passes)) if all(passes) else None

    def shapes(self):
        return list(dict.fromkeys(shape for shape, _, _ in self.seconds))


def fastest(*times):
    return min((t for t in times if t is not None), default=None)


def time_text(seconds):
    if seconds is None:
        return MISSING
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.2f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.2f} us"


class Table:
    def __init__(self):
        self.rows = [("figure", "norma", "peer", "ratio", "must", "aim")]

    def add(self, figure, norma="", peer="", ratio="", must="", aim=""):
        self.rows.append(tuple(map(str, (figure, norma, peer, ratio, must, aim))))

    def compare(self, figure, norma, peer, must="", aim=""):
        ratio = f"{peer / norma:.2f}" if norma and peer else ""
        self.add(figure, time_text(norma), time_text(peer), ratio, must, aim)

    def print(self):
        widths = [max(len(row[i]) for row in self.rows) for i in range(len(self.rows[0]))]
        for row in self.rows:
            print("  ".join(text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths))).rstrip())


def add_epochs(table, folder):
    """Returns {name of a peer: its fastest variant}."""
    ours, variants = min(epoch_seconds(objects(folder, "epoch")).values(), default=None), {}
    walls = [line["wall_seconds"] for line in objects(folder, "epoch") if "wall_seconds" in line]
    for line in objects(folder, "bench_epoch"):
        ours = line["training_seconds"]["median"]
        walls += [line["process_seconds"]["median"]] if line["process_seconds"] and line["epochs"] == 10 else []
    table.add("mnist-lenet-bn, an epoch", time_text(ours), must="15 ms", aim="6 ms")
    for step, name, must, aim in PEERS:
        times = epoch_seconds(objects(folder, step))
        table.compare(f"  {name}", ours, min(times.values(), default=None), must, aim)
        if times:
            variants[name] = min(times, key=times.get)
    table.add("10 epochs, start to exit", time_text(walls[-1] if walls else None), must="1.0 s", aim="0.5 s")
    return variants


def add_batch_norms(table, folder):
    ours, cudnn, torch = (BatchNorms(objects(folder, step)) for step in ("bench_bn", "cudnn_bn", "torch_bn"))
    shapes = list(dict.fromkeys(shape for each in (cudnn, torch, ours) for shape in each.shapes()))
    lenet = [s for s in shapes if s[0] == 256 and math.prod(s) < 1 << 20]
    large = [s for s in shapes if math.prod(s) * 4 > 150e6]
    resnet = [s for s in shapes if s not in lenet and s not in large]

    def name(s):
        return "BN " + "x".join(map(str, s))

    for s in lenet:
        table.compare(f"{name(s)}, cuDNN", ours.both(s, ("nchw", "nhwc", "lanes")), cudnn.both(s, ("nchw", "nhwc")), 2, 8)
    for layout in ("nchw", "nhwc"):
        ratios = []
        for s in resnet:
            a, b = ours.both(s, (layout,)), fastest(cudnn.both(s, (layout,)), torch.both(s, (layout,)))
            table.compare(f"{name(s)} {layout}", a, b)
            if a and b:
                ratios.append(b / a)
        mean, worst = (f"{math.exp(statistics.fmean(map(math.log, ratios))):.2f}", f"{min(ratios):.2f}") if ratios else (MISSING, MISSING)
        table.add(f"  geometric mean of {len(ratios)}, {layout}", ratio=mean, must="1.0", aim="1.3")
        table.add(f"  worst, {layout}", ratio=worst, must="0.95", aim="1.0")
    for line in objects(folder, "bench_bn"):
        for net in line.get("statistics_nets", []):
            table.add(f"BN statistics alone, {net['net']} {net['layout']}, CUB", ratio=f"{net['ratio']['geometric_mean']:.2f}")
    copy = ours.copy or torch.copy

    def share(seconds, s):
        # x read twice and y written; x and dy read twice and dx written.
        return f"{8 * 4 * math.prod(s) / seconds / copy:.0%}" if seconds and copy else MISSING

    for s in large:
        for layout in ("nchw", "nhwc"):
            a, b = ours.both(s, (layout,)), fastest(cudnn.both(s, (layout,)), torch.both(s, (layout,)))
            table.add(f"{name(s)} {layout}, of copy", share(a, s), share(b, s), f"{b / a:.2f}" if a and b else "", "85%", "95%")
    table.add("copy, read and written", f"{ours.copy / 1e12:.2f} TB/s" if ours.copy else MISSING,
              f"{torch.copy / 1e12:.2f} TB/s" if torch.copy else MISSING)


def main():
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    folder, table = pathlib.Path(sys.argv[1]), Table()
    variants = add_epochs(table, folder)
    add_batch_norms(table, folder)
    table.print()
    print("An epoch: training alone, median after the first. BN: forward and backward, the faster of cuDNN and PyTorch where no peer is named.\n"
          "Of copy: of the bandwidth of a copy, the tensor passing 3 times forward and 5 times backward.")
    for name, device in variants.items():
        print(f"{name}: {device}")


if __name__ == "__main__":
    main()
