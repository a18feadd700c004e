#!/usr/bin/env python3
"""Inference of few samples on one thread: norma's Predictor and PyTorch, in turn, round by round.

Prints for each net and number of samples the medians in microseconds a call, and norma's advantage over PyTorch's best variant: eager, a
frozen trace, or that after optimize_for_inference. Weights are initial ones, batch norms are folded by both.

    <venv>/bin/python apps/yardsticks/predict.py build/norma
"""
import json
import pathlib
import statistics
import subprocess
import sys
import time
import warnings

import torch
from torch import nn

HERE = pathlib.Path(__file__).parent
SECONDS, ROUNDS, SAMPLES = 0.3, 5, (1, 4, 16)


def lenet():
    def block(features):
        return [nn.BatchNorm1d(features), nn.ReLU()]

    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 120), *block(120), nn.Linear(120, 84), *block(84), nn.Linear(84, 10))


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.projection = nn.Identity() if stride == 1 else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return torch.relu(self.body(x) + self.projection(x))


def resnet20():
    channels = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *(Residual(*c) for c in channels),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def variants(net, x):
    traced = torch.jit.freeze(torch.jit.trace(net, x))
    return {"eager": net, "frozen": traced, "optimized": torch.jit.optimize_for_inference(torch.jit.trace(net, x))}


def times(call):
    """Seconds of calls for SECONDS, after some that do not count: a trace is compiled in its first calls."""
    for _ in range(5):
        call()
    all_, begin = [], time.perf_counter()
    last = begin
    while last - begin < SECONDS:
        call()
        now = time.perf_counter()
        all_.append(now - last)
        last = now
    return all_


def main(norma):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)  # traces are deprecated, and the fastest
    print(f"PyTorch {torch.__version__}, one thread; us a call, medians of {ROUNDS} rounds in turn")
    print(f"{'net':<10}{'samples':>8}{'norma':>10}{'eager':>10}{'frozen':>10}{'optimized':>11}{'ratio to the best':>19}")
    with torch.inference_mode():
        for name, recipe, make, size in (("LeNet-BN", "mnist-lenet-bn", lenet, 28),
                                         ("ResNet-20", str(HERE / "resnet20.toml"), resnet20, 32)):
            net = make().eval()
            for n in SAMPLES:
                x = torch.rand(n, 1, size, size)
                found = {"norma": [], **{k: [] for k in ("eager", "frozen", "optimized")}}
                theirs = variants(net, x)
                for _ in range(ROUNDS):
                    out = subprocess.run([norma, "bench", "predict", recipe, "--samples", str(n), "--rounds", "1", "--seconds", str(SECONDS),
                                          "--json", "--quiet"], check=True, capture_output=True, text=True).stdout
                    found["norma"].append(json.loads(out)["calls"][0]["seconds"]["median"])
                    for variant, run in theirs.items():
                        found[variant].append(statistics.median(times(lambda: run(x))))
                us = {k: 1e6 * statistics.median(v) for k, v in found.items()}
                best = min(v for k, v in us.items() if k != "norma")
                print(f"{name:<10}{n:>8}{us['norma']:>10.1f}{us['eager']:>10.1f}{us['frozen']:>10.1f}{us['optimized']:>11.1f}"
                      f"{best / us['norma']:>19.1f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: predict.py <norma>")
    main(sys.argv[1])
