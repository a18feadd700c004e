#!/usr/bin/env python3
"""The two LeNet-BN recipes trained by PyTorch on the CPU: the yardstick of apps/bench/compare.sh.

Prints one JSON object per epoch, with the keys of `norma train --json`, then one with "final": true.
The data set is one float tensor in memory, already transformed, so nothing but the training itself is timed:
no DataLoader, no per-sample transform. Loss and accuracy of an epoch are summed without leaving torch.

    python pytorch_lenet.py --recipe mnist-lenet-bn --data-dir ../shared/data --threads 2 --epochs 3
"""
import argparse
import gzip
import json
import pathlib
import struct
import sys
import time

import torch
from torch import nn

RECIPES = {
    "mnist-lenet-bn": dict(
        data="mnist", activation=nn.ReLU, mean=0.5, std=0.5, epochs=10, batch=256,
        optimizer=lambda parameters, options: torch.optim.SGD(parameters, lr=0.02, **options)),
    "fashion-lenet-bn-sigmoid": dict(
        data="fashion-mnist", activation=nn.Sigmoid, mean=0.0, std=1.0, epochs=5, batch=256,
        optimizer=lambda parameters, options: torch.optim.Adam(parameters, lr=0.001, **options)),
}


def lenet_bn(activation):
    """The net of both recipes, its parameters named as norma names them."""
    from collections import OrderedDict
    return nn.Sequential(OrderedDict([
        ("conv1", nn.Conv2d(1, 6, 5)), ("bn1", nn.BatchNorm2d(6)), ("act1", activation()), ("pool1", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(6, 16, 5)), ("bn2", nn.BatchNorm2d(16)), ("act2", activation()), ("pool2", nn.MaxPool2d(2)),
        ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(256, 120)), ("bn3", nn.BatchNorm1d(120)), ("act3", activation()),
        ("fc2", nn.Linear(120, 84)), ("bn4", nn.BatchNorm1d(84)), ("act4", activation()),
        ("fc3", nn.Linear(84, 10)),
    ]))


def read_idx(folder, stem):
    """The uint8 tensor of an IDX file, gzip or raw."""
    for file, opener in ((folder / stem, open), (folder / f"{stem}.gz", gzip.open)):
        if not file.exists():
            continue
        with opener(file, "rb") as f:
            data = f.read()
        zero, kind, rank = struct.unpack(">HBB", data[:4])
        if zero != 0 or kind != 8:
            sys.exit(f"{file}: not an IDX file of bytes")
        shape = struct.unpack(f">{rank}I", data[4:4 + 4 * rank])
        return torch.frombuffer(bytearray(data[4 + 4 * rank:]), dtype=torch.uint8).reshape(shape)
    sys.exit(f"{folder}: neither {stem} nor {stem}.gz is there")


def load_split(folder, split, mean, std):
    images = read_idx(folder, f"{split}-images-idx3-ubyte").float().div_(255).sub_(mean).div_(std).unsqueeze(1)
    return images, read_idx(folder, f"{split}-labels-idx1-ubyte").long()


def find_data(data_dir, name):
    for folder in (data_dir / name, data_dir):
        if any(folder.glob("train-images-idx3-ubyte*")):
            return folder
    sys.exit(f"{name} is in neither {data_dir / name} nor {data_dir}")


def train_epoch(net, criterion, optimizer, images, labels, order, batch):
    net.train()
    loss_sum, correct = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64)
    for start in range(0, len(labels), batch):
        if order is None:
            x, t = images[start:start + batch], labels[start:start + batch]
        else:
            index = order[start:start + batch]
            x, t = images[index], labels[index]
        optimizer.zero_grad(set_to_none=True)
        y = net(x)
        loss = criterion(y, t)
        loss.backward()
        optimizer.step()
        loss_sum += loss.detach() * len(t)
        correct += (y.detach().argmax(1) == t).sum()
    return loss_sum.item() / len(labels), correct.item() / len(labels)


@torch.inference_mode()
def evaluate(net, criterion, images, labels, batch):
    net.eval()
    loss_sum, correct = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64)
    for start in range(0, len(labels), batch):
        t = labels[start:start + batch]
        y = net(images[start:start + batch])
        loss_sum += criterion(y, t) * len(t)
        correct += (y.argmax(1) == t).sum()
    return loss_sum.item() / len(labels), correct.item() / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, default="mnist-lenet-bn")
    parser.add_argument("--data-dir", type=pathlib.Path, required=True, help="folder with mnist/ or fashion-mnist/, or the IDX files themselves")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    parser.add_argument("--epochs", type=int, default=0, help="0: the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=pathlib.Path, help="safetensors to start from, as norma saves them")
    parser.add_argument("--order", type=pathlib.Path, help="safetensors whose tensor 'order' is (epochs, samples): the order of the samples")
    parser.add_argument("--no-shuffle", action="store_true", help="samples in stored order, every epoch")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--fused-optimizer", action="store_true", help="torch's one-kernel optimizer")
    parser.add_argument("--compile", action="store_true", help="torch.compile (the first epoch then includes compiling)")
    args = parser.parse_args()

    recipe = RECIPES[args.recipe]
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format

    folder = find_data(args.data_dir, recipe["data"])
    train_x, train_t = load_split(folder, "train", recipe["mean"], recipe["std"])
    test_x, test_t = load_split(folder, "t10k", recipe["mean"], recipe["std"])
    train_x, test_x = train_x.contiguous(memory_format=layout), test_x.contiguous(memory_format=layout)

    net = lenet_bn(recipe["activation"])
    if args.weights:
        from safetensors.torch import load_file
        net.load_state_dict(load_file(args.weights), strict=True)
    net = net.to(memory_format=layout)
    run = torch.compile(net) if args.compile else net
    criterion = nn.CrossEntropyLoss()
    optimizer = recipe["optimizer"](net.parameters(), dict(fused=True) if args.fused_optimizer else {})

    device = f"torch {torch.__version__} cpu ({torch.get_num_threads()} threads" + "".join(
        f", {name}" for name, on in (("channels_last", args.channels_last), ("fused optimizer", args.fused_optimizer),
                                     ("compile", args.compile)) if on) + ")"
    epochs = args.epochs or recipe["epochs"]
    orders = None
    if args.order:
        from safetensors.torch import load_file
        orders = load_file(args.order)["order"].long()
        if orders.shape[0] < epochs or orders.shape[1] != len(train_t):
            sys.exit(f"{args.order}: order is {tuple(orders.shape)}, {epochs} epochs of {len(train_t)} samples need more")
    metrics = {}
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        order = orders[epoch - 1] if orders is not None else None if args.no_shuffle else torch.randperm(len(train_t))
        train_loss, train_accuracy = train_epoch(run, criterion, optimizer, train_x, train_t, order, recipe["batch"])
        train_seconds = time.perf_counter() - start
        test_loss, test_accuracy = evaluate(run, criterion, test_x, test_t, recipe["batch"])
        metrics = dict(epoch=epoch, train_loss=train_loss, train_accuracy=train_accuracy, test_loss=test_loss,
                       test_accuracy=test_accuracy, seconds=time.perf_counter() - start, train_seconds=train_seconds,
                       samples_per_second=len(train_t) / train_seconds, device=device)
        print(json.dumps(metrics), flush=True)
    print(json.dumps(dict(final=True, recipe=args.recipe, epochs=epochs, test_loss=metrics["test_loss"],
                          test_accuracy=metrics["test_accuracy"], device=device)), flush=True)


if __name__ == "__main__":
    main()
