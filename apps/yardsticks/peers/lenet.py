"""What the peers of norma's two LeNet-BN recipes share: the recipes, the data, the command line, the report. Needs numpy alone.

The data set is one float32 array in memory, already transformed, so nothing but the training itself is timed: no loader, no per-sample
transform. Initial weights and the order of samples come from files that `norma bench export` writes, so that all train the same run.
"""
import argparse
import gzip
import json
import os
import pathlib
import struct
import sys
import time

import numpy

RECIPES = {
    "mnist-lenet-bn": dict(data="mnist", activation="relu", mean=0.5, std=0.5, epochs=10, batch=256, optimizer="sgd", lr=0.02),
    "fashion-lenet-bn-sigmoid": dict(
        data="fashion-mnist", activation="sigmoid", mean=0.0, std=1.0, epochs=5, batch=256, optimizer="adam", lr=0.001),
}


def arguments(description):
    """A parser with the flags that every peer has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, default="mnist-lenet-bn")
    parser.add_argument("--data-dir", type=pathlib.Path, required=True, help="folder with mnist/ or fashion-mnist/, or the IDX files themselves")
    parser.add_argument("--threads", type=int, default=0, help="0: the library's default")
    parser.add_argument("--epochs", type=int, default=0, help="0: the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=pathlib.Path, help="safetensors to start from, as norma saves them")
    parser.add_argument("--order", type=pathlib.Path, help="safetensors whose tensor 'order' is (epochs, samples): the order of the samples")
    parser.add_argument("--no-shuffle", action="store_true", help="samples in stored order, every epoch")
    return parser


def read_idx(folder, stem):
    """The uint8 array of an IDX file, gzip or raw."""
    for file, opener in ((folder / stem, open), (folder / f"{stem}.gz", gzip.open)):
        if not file.exists():
            continue
        with opener(file, "rb") as f:
            data = f.read()
        zero, kind, rank = struct.unpack(">HBB", data[:4])
        if zero != 0 or kind != 8:
            sys.exit(f"{file}: not an IDX file of bytes")
        shape = struct.unpack(f">{rank}I", data[4:4 + 4 * rank])
        return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * rank).reshape(shape)
    sys.exit(f"{folder}: neither {stem} nor {stem}.gz is there")


def load_split(data_dir, recipe, split):
    """(N,1,28,28) float32 images, transformed as the recipe says, and (N) int64 labels; split: "train" or "t10k"."""
    for folder in (data_dir / recipe["data"], data_dir):
        if any(folder.glob("train-images-idx3-ubyte*")):
            break
    else:
        sys.exit(f"{recipe['data']} is in neither {data_dir / recipe['data']} nor {data_dir}")
    images = read_idx(folder, f"{split}-images-idx3-ubyte").astype(numpy.float32)
    images = (images / numpy.float32(255) - numpy.float32(recipe["mean"])) / numpy.float32(recipe["std"])
    return images[:, None], read_idx(folder, f"{split}-labels-idx1-ubyte").astype(numpy.int64)


def load_orders(args, epochs, samples):
    """(epochs, samples) int64: the index of the k-th sample of each epoch."""
    if args.order:
        from safetensors.numpy import load_file
        order = load_file(args.order)["order"].astype(numpy.int64)
        if order.shape[0] < epochs or order.shape[1] != samples:
            sys.exit(f"{args.order}: order is {order.shape}, {epochs} epochs of {samples} samples need more")
        return order[:epochs]
    if args.no_shuffle:
        return numpy.tile(numpy.arange(samples), (epochs, 1))
    draw = numpy.random.default_rng(args.seed)
    return numpy.stack([draw.permutation(samples) for _ in range(epochs)])


def seconds_since_process_start():
    """From /proc, as norma does it; the kernel tells the start in hundredths of a second."""
    with open("/proc/self/stat", "rb") as f:
        start = int(f.read().rsplit(b")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start


class Report:
    """Prints one JSON object per epoch, with the keys of `norma train --json`, then one with "final": true."""

    def __init__(self, recipe, device):
        self.recipe, self.device, self.first_step, self.metrics = recipe, device, None, {}
        self.warm_up_seconds = 0.0  # of what was compiled, tuned and captured before the first epoch

    def step_done(self):
        """To be called when the first optimizer step has been computed."""
        if self.first_step is None:
            self.first_step = seconds_since_process_start()

    def epoch(self, epoch, samples, train, test, train_seconds, seconds):
        """train, test: (loss, accuracy); seconds include the evaluation."""
        self.metrics = dict(epoch=epoch, train_loss=train[0], train_accuracy=train[1], test_loss=test[0], test_accuracy=test[1],
                            seconds=seconds, train_seconds=train_seconds, samples_per_second=samples / train_seconds, device=self.device)
        print(json.dumps(self.metrics), flush=True)

    def final(self):
        print(json.dumps(dict(final=True, recipe=self.recipe, first_step_seconds=self.first_step, warm_up_seconds=self.warm_up_seconds,
                              **self.metrics)), flush=True)
