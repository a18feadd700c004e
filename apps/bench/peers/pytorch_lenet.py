#!/usr/bin/env python3
"""The two LeNet-BN recipes trained by PyTorch on the CPU: a yardstick of apps/bench/compare.sh.

    python pytorch_lenet.py --recipe mnist-lenet-bn --data-dir ../shared/data --threads 2 --epochs 3
"""
import time
from collections import OrderedDict

import lenet
import torch
from torch import nn


def lenet_bn(activation):
    """The net of both recipes, its parameters named as norma names them."""
    return nn.Sequential(OrderedDict([
        ("conv1", nn.Conv2d(1, 6, 5)), ("bn1", nn.BatchNorm2d(6)), ("act1", activation()), ("pool1", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(6, 16, 5)), ("bn2", nn.BatchNorm2d(16)), ("act2", activation()), ("pool2", nn.MaxPool2d(2)),
        ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(256, 120)), ("bn3", nn.BatchNorm1d(120)), ("act3", activation()),
        ("fc2", nn.Linear(120, 84)), ("bn4", nn.BatchNorm1d(84)), ("act4", activation()),
        ("fc3", nn.Linear(84, 10)),
    ]))


def train_epoch(net, criterion, optimizer, images, labels, order, batch, report):
    """Mean loss and accuracy, summed without leaving torch."""
    net.train()
    loss_sum, correct = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64)
    for start in range(0, len(labels), batch):
        index = order[start:start + batch]
        x, t = images[index], labels[index]
        optimizer.zero_grad(set_to_none=True)
        y = net(x)
        loss = criterion(y, t)
        loss.backward()
        optimizer.step()
        if start == 0:
            report.step_done()
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
    parser = lenet.arguments(__doc__)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--fused-optimizer", action="store_true", help="torch's one-kernel optimizer")
    parser.add_argument("--compile", action="store_true", help="torch.compile (the first epoch then includes compiling)")
    args = parser.parse_args()
    recipe = lenet.RECIPES[args.recipe]
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format

    def split(name):
        images, labels = lenet.load_split(args.data_dir, recipe, name)
        return torch.from_numpy(images).contiguous(memory_format=layout), torch.from_numpy(labels)

    train_x, train_t = split("train")
    test_x, test_t = split("t10k")
    net = lenet_bn(nn.ReLU if recipe["activation"] == "relu" else nn.Sigmoid)
    if args.weights:
        from safetensors.torch import load_file
        net.load_state_dict(load_file(args.weights), strict=True)
    net = net.to(memory_format=layout)
    run = torch.compile(net) if args.compile else net
    criterion = nn.CrossEntropyLoss()
    kind = torch.optim.SGD if recipe["optimizer"] == "sgd" else torch.optim.Adam
    optimizer = kind(net.parameters(), lr=recipe["lr"], **(dict(fused=True) if args.fused_optimizer else {}))

    device = f"torch {torch.__version__} cpu ({torch.get_num_threads()} threads" + "".join(
        f", {name}" for name, on in (("channels_last", args.channels_last), ("fused optimizer", args.fused_optimizer),
                                     ("compile", args.compile)) if on) + ")"
    report = lenet.Report(args.recipe, device)
    epochs = args.epochs or recipe["epochs"]
    orders = torch.from_numpy(lenet.load_orders(args, epochs, len(train_t)))
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        train = train_epoch(run, criterion, optimizer, train_x, train_t, orders[epoch - 1], recipe["batch"], report)
        train_seconds = time.perf_counter() - start
        test = evaluate(run, criterion, test_x, test_t, recipe["batch"])
        report.epoch(epoch, len(train_t), train, test, train_seconds, time.perf_counter() - start)
    report.final()


if __name__ == "__main__":
    main()
