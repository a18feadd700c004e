"""norma, PyTorch and JAX on the two LeNet-BN recipes, in turn on the same cores. Called by compare.sh, which says how.

Before any time is taken every program trains one epoch from norma's initial weights in norma's order of samples: where its mean training
loss is not norma's within TOLERANCE, the comparison fails. Then every round runs each program once; every figure is a median.
"""
import argparse
import datetime
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

PEERS = pathlib.Path(__file__).parent / "peers"
# Relative tolerance of the first epoch's mean training loss. Rounding alone, amplified by 235 steps of training, was seen to change it by
# 1.2e-3 (PyTorch's two layouts among themselves). Other seeds change it by 7 to 11 percent.
TOLERANCE = 2e-3
VARIANTS = {  # name: library, program, flags
    "pytorch": ("torch", "pytorch_lenet.py", []),
    "pytorch-fused-optimizer": ("torch", "pytorch_lenet.py", ["--fused-optimizer"]),
    "pytorch-channels-last": ("torch", "pytorch_lenet.py", ["--fused-optimizer", "--channels-last"]),
    "jax-nchw": ("jax", "jax_lenet.py", []),
    "jax-nchw-scan": ("jax", "jax_lenet.py", ["--scan"]),
    "jax-nhwc": ("jax", "jax_lenet.py", ["--nhwc"]),
    "jax-nhwc-scan": ("jax", "jax_lenet.py", ["--nhwc", "--scan"]),
}


def say(message):
    print(message, file=sys.stderr, flush=True)


def run(command, threads):
    """(JSON lines, wall seconds, peak bytes) of a program on the first `threads` cores of this process."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    with tempfile.TemporaryFile("w+") as out:
        start = time.perf_counter()
        child = subprocess.Popen([str(c) for c in command], stdout=out, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, cores))
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if child.returncode:
            sys.exit(f"compare: exit code {child.returncode} of: {' '.join(map(str, command))}")
        out.seek(0)
        return [json.loads(line) for line in out if line.startswith("{")], wall, usage.ru_maxrss * 1024


class Program:
    """One program on one recipe with one number of threads, and what its runs gave."""

    def __init__(self, name, command, threads):
        self.name, self.command, self.threads = name, command, threads
        self.train, self.evaluation, self.first_step, self.wall, self.peak = [], [], [], [], []
        self.accuracy = None

    def check(self):
        """The first epoch's mean training loss."""
        return run(self.command(1), self.threads)[0][0]["train_loss"]

    def measure(self, epochs):
        lines, wall, peak = run(self.command(epochs), self.threads)
        final = lines.pop()
        # An epoch after the first where there is one: the first warms caches and allocators up, for all alike.
        for epoch in lines[1:] or lines:
            self.train.append(epoch["train_seconds"])
            self.evaluation.append(epoch["seconds"] - epoch["train_seconds"])
        self.first_step.append(final["first_step_seconds"])
        self.wall.append(wall)
        self.peak.append(peak)
        self.accuracy = final["test_accuracy"]

    def result(self):
        median = statistics.median
        return dict(name=self.name, train_seconds=median(self.train), train_seconds_least=min(self.train), train_seconds_most=max(self.train),
                    epochs=len(self.train), evaluation_seconds=median(self.evaluation), first_step_seconds=median(self.first_step),
                    wall_seconds=median(self.wall), peak_bytes=median(self.peak), test_accuracy=self.accuracy)


def programs(args, recipe, threads, scratch, data):
    def ours(epochs):
        return [args.norma, "train", recipe, "--epochs", epochs, "--threads", threads, "--device", "cpu", "--json", "--quiet", "--force",
                "--out", scratch / "run"]

    def peer(file, flags):
        return lambda epochs: [sys.executable, PEERS / file, "--recipe", recipe, "--data-dir", data, "--threads", threads, "--epochs", epochs,
                               "--weights", scratch / recipe / "weights.safetensors", "--order", scratch / recipe / "order.safetensors", *flags]

    return [Program("norma", ours, threads)] + [Program(name, peer(file, flags), threads)
                                                for name, (library, file, flags) in VARIANTS.items() if name in args.variants]


def compare(args, recipe, threads, scratch):
    set_name = "mnist" if recipe.startswith("mnist-") else "fashion-mnist"
    data = subprocess.run([args.norma, "data", "path", set_name], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([args.norma, "bench", "export", scratch / recipe, recipe, "--epochs", str(args.epochs), "--device", "cpu", "--quiet"],
                   check=True, stdout=subprocess.DEVNULL)
    all_programs = programs(args, recipe, threads, scratch, data)
    losses = {}
    for p in all_programs:
        losses[p.name] = p.check()
        say(f"{recipe}: first epoch's training loss {losses[p.name]:.6f} ({p.name})")
        if not abs(losses[p.name] / losses["norma"] - 1) <= TOLERANCE:
            sys.exit(f"compare: {p.name} has loss {losses[p.name]} after the first epoch of {recipe}, norma {losses['norma']}: not the same "
                     f"training within {TOLERANCE:g}, so that times would say nothing")
    for r in range(args.rounds):
        for p in all_programs:
            say(f"{recipe}: round {r + 1} of {args.rounds}, {threads} thread{'s' if threads > 1 else ''}, {p.name}")
            p.measure(args.epochs)
    results = [dict(p.result(), first_loss=losses[p.name]) for p in all_programs]
    return dict(recipe=recipe, threads=threads, programs=results)


def ratios(results):
    """[(library, best variant, its result)]: of each library the variant with the shortest epoch."""
    best = {}
    for r in results[1:]:
        library = VARIANTS[r["name"]][0]
        if library not in best or r["train_seconds"] < best[library]["train_seconds"]:
            best[library] = r
    return best


def print_table(c):
    print(f"\n{c['recipe']}, {c['threads']} thread{'s' if c['threads'] > 1 else ''}")
    print(f"{'':24}{'s/epoch':>9}{'least':>8}{'most':>8}{'eval ms':>9}{'start s':>9}{'peak MB':>9}{'1st loss':>10}")
    for r in c["programs"]:
        print(f"{r['name']:24}{r['train_seconds']:9.3f}{r['train_seconds_least']:8.3f}{r['train_seconds_most']:8.3f}"
              f"{1e3 * r['evaluation_seconds']:9.1f}{r['first_step_seconds']:9.2f}{r['peak_bytes'] / 1e6:9.0f}{r['first_loss']:10.5f}")
    ours = c["programs"][0]
    for library, r in ratios(c["programs"]).items():
        print(f"ratio {library}/norma: epoch {r['train_seconds'] / ours['train_seconds']:.2f}, evaluation "
              f"{r['evaluation_seconds'] / ours['evaluation_seconds']:.2f}, start {r['first_step_seconds'] / ours['first_step_seconds']:.1f}"
              f"  ({r['name']})")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the scratch folder goes, and the child
    parser = argparse.ArgumentParser()
    parser.add_argument("--norma", required=True)
    parser.add_argument("--threads", default=str(len(os.sched_getaffinity(0))))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", default="mnist-lenet-bn,fashion-lenet-bn-sigmoid")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--json", default="")
    args = parser.parse_args()
    args.variants = args.variants.split(",")
    for name in args.variants:
        if name not in VARIANTS:
            sys.exit(f"compare: no variant is called {name}; there are {', '.join(VARIANTS)}")
    for library in sorted({VARIANTS[name][0] for name in args.variants}):
        if subprocess.run([sys.executable, "-c", f"import {library}, safetensors"], capture_output=True).returncode:
            say(f"compare: {sys.executable} has no {library} (or no safetensors): left out; set PYTHON to an interpreter that has")
            args.variants = [name for name in args.variants if VARIANTS[name][0] != library]
    if not args.variants:
        sys.exit("compare: nothing to compare with")
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown processor")
    print(f"machine: {model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}")
    print(f"command: compare.sh --threads {args.threads} --epochs {args.epochs} --rounds {args.rounds} --recipe {args.recipe}")
    print("s/epoch: training alone, median over the epochs after each run's first; start: from the process's start to the end of its first step")
    comparisons = []
    with tempfile.TemporaryDirectory(prefix="norma-compare-") as folder:
        for recipe in args.recipe.split(","):
            for threads in args.threads.split(","):
                comparisons.append(compare(args, recipe, int(threads), pathlib.Path(folder)))
                print_table(comparisons[-1])
                sys.stdout.flush()
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(comparisons, indent=1) + "\n")
    sys.exit(any(r["train_seconds"] < c["programs"][0]["train_seconds"] for c in comparisons for r in c["programs"][1:]))


if __name__ == "__main__":
    main()
