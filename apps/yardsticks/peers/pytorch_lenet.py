#!/usr/bin/env python3
"""The two LeNet-BN recipes trained by PyTorch: on the CPU a yardstick of compare.sh, with --device cuda one of tests/gpu.sh.

Data, order and sums stay on the device; the host waits for it once an epoch. Ways of running a step, the fastest last:
    (nothing)                                           eager
    --cuda-graph                                        the whole step as one CUDA graph, replayed
    --compile reduce-overhead|max-autotune              torch.compile, forward and backward each a CUDA graph that it makes itself
    --compile max-autotune-no-cudagraphs --cuda-graph   torch.compile's kernels and the optimizer's in one CUDA graph
Evaluation runs the same way, with --cuda-graph all of it as one graph. On a GPU, and with --compile, everything is compiled, tuned and
captured before the first epoch ("warm_up_seconds" of the last line) and the weights are put back.

    python pytorch_lenet.py --recipe mnist-lenet-bn --data-dir ../shared/data --threads 2 --epochs 3
    python pytorch_lenet.py --recipe mnist-lenet-bn --data-dir ../shared/data --device cuda --fused-optimizer --cuda-graph
"""
import copy
import functools
import time
from collections import OrderedDict

import lenet
import torch
from torch import nn

OWN_GRAPHS = ("reduce-overhead", "max-autotune")  # modes of torch.compile that make CUDA graphs


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


class Loss(nn.Module):
    """Mean loss of a batch; adds to the sums of the epoch. All but the net are buffers, so that a compiler may take their places as fixed."""

    def __init__(self, net, images, labels):
        super().__init__()
        self.net, self.criterion = net, nn.CrossEntropyLoss()
        self.register_buffer("images", images, persistent=False)
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("loss_sum", torch.zeros((), dtype=torch.float64, device=labels.device), persistent=False)
        self.register_buffer("correct", torch.zeros((), dtype=torch.int64, device=labels.device), persistent=False)

    def batch(self, index):
        """(images, labels) at an index or in a slice: the arguments of forward."""
        return self.images[index], self.labels[index]

    def forward(self, x, t):
        y = self.net(x)
        loss = self.criterion(y, t)
        self.loss_sum.add_(loss.detach() * len(t))
        self.correct.add_((y.detach().argmax(1) == t).sum())
        return loss

    def clear(self):
        self.loss_sum.zero_()
        self.correct.zero_()

    def means(self):
        """(loss, accuracy) over all samples; waits for the device."""
        return self.loss_sum.item() / len(self.labels), self.correct.item() / len(self.labels)


class NextLoss(nn.Module):
    """Loss of the next batch of an epoch: where that is lies on the device, so that a captured step is the same for every batch."""

    def __init__(self, loss, order, start, batch):
        super().__init__()
        self.loss = loss
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("first", torch.arange(start, start + batch, device=order.device), persistent=False)
        self.register_buffer("rows", self.first.clone(), persistent=False)

    def forward(self):
        loss = self.loss(*self.loss.batch(self.order[self.rows]))
        self.rows.add_(len(self.rows))
        return loss

    def rewind(self):
        self.rows.copy_(self.first)


def captured(run, rewind=lambda: None):
    """What `run` does as one CUDA graph; `rewind` is called before each run of it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # lazy initialisation, tuning and compilation must not be captured
            rewind()
            run()
    torch.cuda.current_stream().wait_stream(stream)
    rewind()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


class Training:
    """Epochs by one of the ways of running a step. After prepare() nothing has been trained."""

    def __init__(self, net, optimizer, train, test, args, batch):
        self.net, self.optimizer, self.args, self.batch = net, optimizer, args, batch
        self.train, self.test = Loss(net, *train), Loss(net, *test)
        self.samples = len(train[1])
        self.order = torch.arange(self.samples, device=train[1].device)
        whole = self.samples // batch * batch
        self.parts = [NextLoss(self.train, self.order, start, size) for start, size in ((0, batch), (whole, self.samples - whole)) if size]
        self.steps = None  # of each part; eager: none
        self.evaluation = lambda: self.evaluate(self.test)

    def optimize(self, loss_of, *batch):
        self.optimizer.zero_grad(set_to_none=True)
        loss_of(*batch).backward()
        self.optimizer.step()

    def compiled(self, module):
        # Static shapes: of the two sizes of a batch neither shall be compiled for any size.
        return torch.compile(module, mode=self.args.compile, dynamic=False) if self.args.compile else module

    def prepare(self):
        weights = copy.deepcopy(self.net.state_dict())
        self.net.train()
        if self.args.compile or self.args.cuda_graph:
            self.steps = [functools.partial(self.optimize, self.compiled(part)) for part in self.parts]
            if self.args.cuda_graph:
                self.steps = [captured(step, part.rewind) for step, part in zip(self.steps, self.parts)]
            for step, part in zip(self.steps, self.parts):
                for _ in range(4):  # torch.compile's graphs are recorded in the second run and replayed from the third
                    part.rewind()
                    step()
            test = self.compiled(self.test)
            self.evaluation = lambda: self.evaluate(test)
        else:
            for size in (self.batch, self.samples % self.batch):
                if size:
                    self.optimize(self.train, *self.train.batch(self.order[:size]))
        self.net.eval()
        if self.args.cuda_graph:
            self.evaluation = captured(self.evaluation)
        for _ in range(3):
            self.evaluation()
        with torch.no_grad():  # in place: graphs hold their addresses
            for name, value in self.net.state_dict().items():
                value.copy_(weights[name])
            for state in self.optimizer.state.values():
                for value in state.values():
                    if torch.is_tensor(value):
                        value.zero_()
        if self.order.is_cuda:
            torch.cuda.synchronize()

    def epoch(self, order, report):
        """(loss, accuracy) of an epoch in this order of the samples."""
        self.train.clear()
        if self.steps is None:
            for start in range(0, self.samples, self.batch):
                self.optimize(self.train, *self.train.batch(order[start:start + self.batch]))
                self.step_done(report)
        else:
            self.order.copy_(order)
            for part in self.parts:
                part.rewind()
            for _ in range(self.samples // self.batch):
                self.steps[0]()
                self.step_done(report)
            if self.samples % self.batch:
                self.steps[-1]()
        return self.train.means()

    def step_done(self, report):
        if report.first_step is None:
            if self.order.is_cuda:
                torch.cuda.synchronize()
            report.step_done()

    @torch.no_grad()
    def evaluate(self, loss_of):
        self.test.clear()
        for start in range(0, len(self.test.labels), self.args.evaluation_batch):
            loss_of(*self.test.batch(slice(start, start + self.args.evaluation_batch)))

    def test_means(self):
        self.evaluation()
        return self.test.means()


def main():
    parser = lenet.arguments(__doc__)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--fused-optimizer", action="store_true", help="torch's one-kernel optimizer")
    parser.add_argument("--compile", choices=("default", *OWN_GRAPHS, "max-autotune-no-cudagraphs"), help="torch.compile in this mode")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--cuda-graph", action="store_true", help="the whole step as one CUDA graph, and the evaluation as another")
    parser.add_argument("--evaluation-batch", type=int, default=0, help="default: the recipe's batch on the CPU, 2000 on a GPU")
    args = parser.parse_args()
    if args.cuda_graph and args.device != "cuda":
        parser.error("--cuda-graph needs --device cuda")
    if args.cuda_graph and args.compile in OWN_GRAPHS:
        parser.error(f"--compile {args.compile} makes graphs of its own: leave --cuda-graph out, or take max-autotune-no-cudagraphs")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.exit(4, f"{parser.prog}: torch {torch.__version__} can use no GPU here\n")
    recipe = lenet.RECIPES[args.recipe]
    args.evaluation_batch = args.evaluation_batch or (2000 if args.device == "cuda" else recipe["batch"])
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = False  # float32, as everybody else here
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(args.seed)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format

    def split(name):
        images, labels = lenet.load_split(args.data_dir, recipe, name)
        return torch.from_numpy(images).to(args.device).contiguous(memory_format=layout), torch.from_numpy(labels).to(args.device)

    train, test = split("train"), split("t10k")
    net = lenet_bn(nn.ReLU if recipe["activation"] == "relu" else nn.Sigmoid)
    if args.weights:
        from safetensors.torch import load_file
        net.load_state_dict(load_file(args.weights), strict=True)
    net = net.to(args.device, memory_format=layout)
    kind = torch.optim.SGD if recipe["optimizer"] == "sgd" else torch.optim.Adam
    extra = dict(capturable=True) if args.cuda_graph and kind is torch.optim.Adam else {}
    optimizer = kind(net.parameters(), lr=recipe["lr"], fused=args.fused_optimizer or None, **extra)

    where = f"{torch.get_num_threads()} threads" if args.device == "cpu" else torch.cuda.get_device_name()
    device = f"torch {torch.__version__} {args.device} ({where}" + "".join(
        f", {name}" for name, on in (("channels_last", args.channels_last), ("fused optimizer", args.fused_optimizer),
                                     (f"compile {args.compile}", args.compile), ("graph", args.cuda_graph)) if on) + ")"
    report = lenet.Report(args.recipe, device)
    epochs = args.epochs or recipe["epochs"]
    orders = torch.from_numpy(lenet.load_orders(args, epochs, len(train[1]))).to(args.device)
    training = Training(net, optimizer, train, test, args, recipe["batch"])
    if args.device == "cuda" or args.compile:
        start = time.perf_counter()
        training.prepare()
        report.warm_up_seconds = time.perf_counter() - start
    for epoch in range(1, epochs + 1):
        net.train()
        start = time.perf_counter()
        trained = training.epoch(orders[epoch - 1], report)
        train_seconds = time.perf_counter() - start
        net.eval()
        tested = training.test_means()
        report.epoch(epoch, training.samples, trained, tested, train_seconds, time.perf_counter() - start)
    report.final()


if __name__ == "__main__":
    main()
