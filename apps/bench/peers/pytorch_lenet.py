#!/usr/bin/env python3
"""The two LeNet-BN recipes trained by PyTorch: on the CPU a yardstick of apps/bench/compare.sh, with --device cuda one of tests/gpu.sh.

    python pytorch_lenet.py --recipe mnist-lenet-bn --data-dir ../shared/data --threads 2 --epochs 3
    python pytorch_lenet.py --recipe mnist-lenet-bn --data-dir ../shared/data --device cuda --cuda-graph
"""
import copy
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


class Step:
    """One optimizer step on the samples of an index, and the epoch's sums of it, all on the device."""

    def __init__(self, net, criterion, optimizer, images, labels):
        self.net, self.criterion, self.optimizer, self.images, self.labels = net, criterion, optimizer, images, labels
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=labels.device)
        self.correct = torch.zeros((), dtype=torch.int64, device=labels.device)

    def __call__(self, index):
        x, t = self.images[index], self.labels[index]
        self.optimizer.zero_grad(set_to_none=True)
        y = self.net(x)
        loss = self.criterion(y, t)
        loss.backward()
        self.optimizer.step()
        self.loss_sum += loss.detach() * len(t)
        self.correct += (y.detach().argmax(1) == t).sum()


def captured(step, batch):
    """The step of a whole batch as one CUDA graph; nothing has been trained afterwards."""
    weights = copy.deepcopy(step.net.state_dict())
    index = torch.arange(batch, device=step.labels.device)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(index)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(index)
    with torch.no_grad():  # in place: the graph holds their addresses
        for name, value in step.net.state_dict().items():
            value.copy_(weights[name])
        for state in step.optimizer.state.values():
            for value in state.values():
                if torch.is_tensor(value):
                    value.zero_()

    def replay(order):
        index.copy_(order)
        graph.replay()

    return replay


def train_epoch(step, whole_step, order, batch, report):
    """Mean loss and accuracy, summed without leaving torch. whole_step runs the batches that are whole."""
    step.net.train()
    step.loss_sum.zero_()
    step.correct.zero_()
    n = len(step.labels)
    for start in range(0, n, batch):
        index = order[start:start + batch]
        (whole_step if len(index) == batch else step)(index)
        if report.first_step is None:
            if step.labels.is_cuda:
                torch.cuda.synchronize()
            report.step_done()
    return step.loss_sum.item() / n, step.correct.item() / n


@torch.inference_mode()
def evaluate(net, criterion, images, labels, batch):
    net.eval()
    loss_sum = torch.zeros((), dtype=torch.float64, device=labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=labels.device)
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
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--cuda-graph", action="store_true", help="whole batches as one CUDA graph")
    args = parser.parse_args()
    if args.cuda_graph and args.device != "cuda":
        parser.error("--cuda-graph needs --device cuda")
    recipe = lenet.RECIPES[args.recipe]
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = False  # float32, as everybody else here
    torch.manual_seed(args.seed)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format

    def split(name):
        images, labels = lenet.load_split(args.data_dir, recipe, name)
        return torch.from_numpy(images).contiguous(memory_format=layout).to(args.device), torch.from_numpy(labels).to(args.device)

    train_x, train_t = split("train")
    test_x, test_t = split("t10k")
    net = lenet_bn(nn.ReLU if recipe["activation"] == "relu" else nn.Sigmoid)
    if args.weights:
        from safetensors.torch import load_file
        net.load_state_dict(load_file(args.weights), strict=True)
    net = net.to(args.device, memory_format=layout)
    run = torch.compile(net) if args.compile else net
    criterion = nn.CrossEntropyLoss()
    kind = torch.optim.SGD if recipe["optimizer"] == "sgd" else torch.optim.Adam
    extra = dict(fused=True) if args.fused_optimizer else dict(capturable=True) if args.cuda_graph and kind is torch.optim.Adam else {}
    optimizer = kind(net.parameters(), lr=recipe["lr"], **extra)

    where = f"{torch.get_num_threads()} threads" if args.device == "cpu" else torch.cuda.get_device_name()
    device = f"torch {torch.__version__} {args.device} ({where}" + "".join(
        f", {name}" for name, on in (("channels_last", args.channels_last), ("fused optimizer", args.fused_optimizer),
                                     ("compile", args.compile), ("graph", args.cuda_graph)) if on) + ")"
    report = lenet.Report(args.recipe, device)
    epochs = args.epochs or recipe["epochs"]
    orders = torch.from_numpy(lenet.load_orders(args, epochs, len(train_t))).to(args.device)
    step = Step(run, criterion, optimizer, train_x, train_t)
    run.train()
    whole_step = captured(step, recipe["batch"]) if args.cuda_graph else step
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        train = train_epoch(step, whole_step, orders[epoch - 1], recipe["batch"], report)
        train_seconds = time.perf_counter() - start
        test = evaluate(run, criterion, test_x, test_t, recipe["batch"])
        report.epoch(epoch, len(train_t), train, test, train_seconds, time.perf_counter() - start)
    report.final()


if __name__ == "__main__":
    main()
