#!/usr/bin/env python3
"""What PyTorch computes, for tests/train/golden_test.cpp: modules, losses, optimizers, schedules, and 50 steps of both LeNet-BN recipes.

    python tests/golden/dump.py             writes modules.safetensors, training.safetensors and lenet.safetensors beside this file

Inputs, parameters and upstream gradients are not stored: both sides draw them from draw(name, count), so the files hold results only.
Everything is float32 numbers computed on in float64; the results are rounded to float32 once, at the end. The last lines printed
say how far PyTorch's own float32 run is from that.
draw() is in drawing.py, and the 50 steps are in lenet.py.
"""
import argparse
import pathlib
from collections import OrderedDict

import torch
from drawing import draw, drawn, named
from lenet import lenet_cases, report, search_seeds
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent


# ------------------------------------------------------------------------------------------------------------------- modules

class Residual(nn.Module):
    def __init__(self, body, projection=None):
        super().__init__()
        self.body, self.projection = body, projection

    def forward(self, x):
        return self.body(x) + (x if self.projection is None else self.projection(x))


def module_cases():
    """name -> (module, input shape, training). A single module's parameters are conv.*, fc.*, bn.*, as norma names them."""
    cases = OrderedDict()

    def conv(name, shape, *args, **kwargs):
        cases["conv_" + name] = (named(conv=nn.Conv2d(shape[1], *args, **kwargs)), shape, True)

    conv("3x3", (2, 3, 6, 5), 4, 3)
    conv("1x1", (3, 3, 4, 3), 5, 1)
    conv("2x3", (2, 2, 5, 6), 3, (2, 3))
    conv("whole_input", (3, 2, 4, 3), 3, (4, 3))
    conv("stride2", (2, 3, 7, 6), 4, 3, stride=2)
    conv("stride2x1", (2, 2, 6, 5), 3, 2, stride=(2, 1))
    conv("stride_over_kernel", (2, 2, 7, 8), 3, 2, stride=3)
    conv("padding2", (2, 2, 4, 3), 3, 3, padding=2)
    conv("padding0x2", (2, 2, 5, 4), 3, 3, padding=(0, 2))
    conv("padding_over_kernel", (2, 2, 3, 2), 2, 1, padding=1)
    conv("dilation2", (2, 2, 7, 6), 3, 3, dilation=2)
    conv("dilation1x2", (2, 2, 4, 6), 3, (2, 3), dilation=(1, 2), padding=(0, 1))
    conv("groups2", (2, 4, 5, 4), 6, 3, groups=2)
    conv("depthwise", (2, 3, 5, 4), 6, 3, groups=3, padding=1)
    conv("no_bias", (2, 3, 5, 4), 4, 3, bias=False)
    conv("everything", (3, 4, 7, 6), 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, bias=False)
    conv("batch17", (17, 2, 5, 4), 3, (3, 2), padding=1)
    conv("batch33", (33, 1, 4, 4), 2, 3)

    def transposed(name, shape, *args, **kwargs):
        cases["conv_transpose_" + name] = (named(convt=nn.ConvTranspose2d(shape[1], *args, **kwargs)), shape, True)

    transposed("2x2_stride2", (2, 3, 4, 3), 4, 2, stride=2)
    transposed("3x3", (2, 3, 4, 3), 4, 3)
    transposed("1x1", (3, 3, 4, 3), 5, 1)
    transposed("2x3_stride1x2", (2, 2, 4, 3), 3, (2, 3), stride=(1, 2))
    transposed("padding1_output_padding1", (2, 2, 4, 3), 3, 3, stride=2, padding=1, output_padding=1)
    transposed("output_padding0x1", (2, 2, 4, 3), 3, 3, stride=(2, 3), output_padding=(0, 1))
    transposed("output_padding_under_dilation", (2, 2, 4, 3), 3, 2, dilation=3, output_padding=2)
    transposed("stride_over_kernel", (2, 2, 3, 4), 3, 2, stride=3)
    transposed("dilation2", (2, 2, 4, 3), 3, 3, dilation=2, padding=1)
    transposed("groups2", (2, 4, 4, 3), 6, 3, groups=2)
    transposed("depthwise", (2, 3, 4, 3), 6, 3, groups=3, padding=1)
    transposed("no_bias", (2, 3, 4, 3), 4, 3, bias=False)
    transposed("everything", (3, 4, 4, 3), 6, (3, 2), stride=(2, 3), padding=(1, 2), output_padding=(1, 0), dilation=(1, 2), groups=2)
    transposed("batch17", (17, 2, 4, 3), 3, (3, 2), stride=2, padding=1)
    transposed("batch33", (33, 1, 3, 3), 2, 4, stride=2, padding=1)

    def linear(name, shape, *args, **kwargs):
        cases["linear_" + name] = (named(fc=nn.Linear(shape[1], *args, **kwargs)), shape, True)

    linear("plain", (3, 7), 5)
    linear("no_bias", (3, 7), 5, bias=False)
    linear("one_output", (4, 6), 1)
    linear("batch17", (17, 9), 11)
    linear("batch40", (40, 5), 3)

    def norm(name, shape, training=True, **kwargs):
        kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
        cases["bn_" + name] = (named(bn=kind(shape[1], **kwargs)), shape, training)

    norm("2d", (3, 4, 3, 2))
    norm("1d", (5, 6))
    norm("two_values", (2, 3))
    norm("momentum", (3, 4, 3, 2), momentum=0.3)
    norm("cumulative", (3, 4, 3, 2), momentum=None)
    norm("eps", (3, 4, 3, 2), eps=0.1)
    norm("no_affine", (3, 4, 3, 2), affine=False)
    norm("no_tracking", (3, 4, 3, 2), track_running_stats=False)
    norm("plain_1d", (5, 6), affine=False, track_running_stats=False)
    norm("batch17", (17, 3, 2, 3))
    norm("batch17_1d", (17, 5))
    norm("batch40_1d", (40, 4))
    norm("eval", (3, 4, 3, 2), training=False)
    norm("eval_1d", (5, 6), training=False)
    norm("eval_no_affine", (3, 4, 3, 2), training=False, affine=False)
    norm("eval_no_tracking", (3, 4, 3, 2), training=False, track_running_stats=False)

    def layer_norm(name, shape, **kwargs):
        cases["ln_" + name] = (named(ln=nn.LayerNorm(shape[1:], **kwargs)), shape, True)

    layer_norm("2d", (3, 4, 3, 2))
    layer_norm("1d", (5, 6))
    layer_norm("batch17", (17, 3, 5, 4))
    layer_norm("eps", (5, 6), eps=0.1)
    layer_norm("no_bias", (3, 4, 3, 2), bias=False)
    layer_norm("no_affine", (3, 4, 3, 2), elementwise_affine=False)
    cases["ln_eval"] = (named(ln=nn.LayerNorm(6)), (5, 6), False)

    def instance_norm(name, shape, training=True, **kwargs):
        cases["in_" + name] = (named(**{"in": nn.InstanceNorm2d(shape[1], **kwargs)}), shape, training)

    instance_norm("plain", (3, 4, 3, 2))
    instance_norm("affine", (3, 4, 3, 2), affine=True)
    instance_norm("batch17", (17, 3, 5, 4), affine=True)
    instance_norm("two_elements", (3, 4, 1, 2), eps=0.1)
    instance_norm("tracking", (19, 4, 3, 2), affine=True, momentum=0.3, track_running_stats=True)
    instance_norm("eval", (3, 4, 3, 2), training=False)
    instance_norm("eval_tracking", (3, 4, 3, 2), training=False, affine=True, track_running_stats=True)

    def group_norm(name, shape, groups, **kwargs):
        cases["gn_" + name] = (named(gn=nn.GroupNorm(groups, shape[1], **kwargs)), shape, True)

    group_norm("2d", (3, 4, 3, 2), 2)
    group_norm("1d", (5, 6), 2)
    group_norm("one_group", (3, 4, 3, 2), 1)
    group_norm("channels", (3, 4, 3, 2), 4)
    group_norm("batch17", (17, 6, 5, 4), 3)
    group_norm("eps", (5, 6), 3, eps=0.1)
    group_norm("no_affine", (3, 4, 3, 2), 2, affine=False)
    cases["gn_eval"] = (named(gn=nn.GroupNorm(2, 4)), (3, 4, 3, 2), False)

    def pool(name, module, shape=(2, 3, 6, 5)):
        cases["pool_" + name] = (module, shape, True)

    pool("max2", nn.MaxPool2d(2))
    pool("max3x2_stride1x2", nn.MaxPool2d((3, 2), stride=(1, 2)))
    pool("max3_padding1", nn.MaxPool2d(3, stride=2, padding=1))
    pool("max3x2_padding1x0", nn.MaxPool2d((3, 2), stride=1, padding=(1, 0)))
    pool("max2_dilation2", nn.MaxPool2d(2, stride=1, dilation=2))
    pool("max2_dilation1x3_padding1", nn.MaxPool2d(2, stride=2, dilation=(1, 3), padding=1))
    pool("max2_ceil", nn.MaxPool2d(2, ceil_mode=True), (2, 3, 7, 5))
    pool("max3_ceil_padding1", nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), (2, 2, 6, 6))
    pool("max2_stride3_ceil", nn.MaxPool2d(2, stride=3, ceil_mode=True), (2, 2, 7, 8))
    pool("max2_batch17", nn.MaxPool2d(2), (17, 2, 4, 4))
    pool("avg2", nn.AvgPool2d(2))
    pool("avg3x2_stride1x2", nn.AvgPool2d((3, 2), stride=(1, 2)))
    pool("avg3_padding1", nn.AvgPool2d(3, stride=2, padding=1))
    pool("avg3_padding1_inside", nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False))
    pool("avg3x2_padding1x0", nn.AvgPool2d((3, 2), stride=1, padding=(1, 0)))
    pool("avg2_ceil", nn.AvgPool2d(2, ceil_mode=True), (2, 3, 7, 5))
    pool("avg3_ceil_padding1", nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True), (2, 2, 6, 6))
    pool("avg3_ceil_padding1_inside", nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False), (2, 2, 6, 6))
    pool("avg2_stride3_ceil", nn.AvgPool2d(2, stride=3, ceil_mode=True), (2, 2, 7, 8))
    pool("avg2_batch17", nn.AvgPool2d(2), (17, 2, 4, 4))
    pool("global", nn.AdaptiveAvgPool2d(1))
    pool("global_batch17", nn.AdaptiveAvgPool2d(1), (17, 2, 3, 4))

    for name, act in (("gelu", nn.GELU()), ("gelu_tanh", nn.GELU(approximate="tanh")), ("silu", nn.SiLU()), ("leaky_relu", nn.LeakyReLU(0.2)),
                      ("elu", nn.ELU(1.5))):
        cases[name] = (act, (17, 2, 4, 3), True)
        cases["bn_" + name] = (named(bn1=nn.BatchNorm2d(4), act=act), (3, 4, 3, 2), True)

    for act in (nn.ReLU, nn.Sigmoid, nn.Tanh):
        name = act.__name__.lower()
        cases[name + "_4d"] = (act(), (3, 2, 4, 3), True)
        cases[name + "_2d"] = (act(), (17, 3), True)
        cases["bn_" + name] = (named(bn1=nn.BatchNorm2d(4), act=act()), (3, 4, 3, 2), True)
        cases["bn_eval_" + name] = (named(bn1=nn.BatchNorm2d(4), act=act()), (3, 4, 3, 2), False)
    cases["flatten"] = (nn.Flatten(), (3, 2, 4, 3), True)

    cases["residual"] = (named(block=Residual(named(fc1=nn.Linear(6, 4), act=nn.Tanh(), fc2=nn.Linear(4, 6)))), (5, 6), True)
    cases["residual_projection"] = (
        named(block=Residual(named(conv1=nn.Conv2d(3, 4, 3, padding=1), bn1=nn.BatchNorm2d(4)), nn.Conv2d(3, 4, 1, bias=False)), act=nn.ReLU()),
        (3, 3, 4, 3), True)
    net = lambda: named(conv1=nn.Conv2d(2, 4, 3, padding=1), bn1=nn.BatchNorm2d(4), act1=nn.ReLU(), pool1=nn.MaxPool2d(2), flatten=nn.Flatten(),
                        fc1=nn.Linear(24, 5), bn2=nn.BatchNorm1d(5), act2=nn.Sigmoid(), fc2=nn.Linear(5, 3))
    cases["net"] = (net(), (6, 2, 4, 6), True)
    cases["net_batch19"] = (net(), (19, 2, 4, 6), True)
    cases["net_eval"] = (net(), (6, 2, 4, 6), False)
    return cases


def load_drawn(module, case):
    """Parameters in [-1,1), running_mean likewise, running_var in [0.5,1.5), three batches tracked."""
    with torch.no_grad():
        for name, tensor in list(module.named_parameters()) + list(module.named_buffers()):
            if name.endswith("num_batches_tracked"):
                tensor.fill_(3)
            elif name.endswith("running_var"):
                tensor.copy_(drawn(f"{case}/{name}", tensor.shape, 0.5, 1.5))
            else:
                tensor.copy_(drawn(f"{case}/{name}", tensor.shape))


def dump_modules():
    out = {}
    for case, (module, shape, training) in module_cases().items():
        module = module.double().train(training)
        load_drawn(module, case)
        x = drawn(f"{case}/x", shape).double().requires_grad_(True)
        y = module(x)
        y.backward(drawn(f"{case}/dy", y.shape).double())
        out[f"{case}/y"], out[f"{case}/dx"] = y.detach(), x.grad
        for name, p in module.named_parameters():
            out[f"{case}/{name}.grad"] = p.grad
        for name, b in module.named_buffers():
            out[f"{case}/{name}"] = b
    return out


# ------------------------------------------------------------------------------------------- losses, optimizers, schedules

def small_problem(case, n=12, features=5, classes=4):
    """A linear layer and a batch for it: (fc, x, labels)."""
    fc = nn.Linear(features, classes).double()
    with torch.no_grad():
        fc.weight.copy_(drawn(f"{case}/fc1.weight", fc.weight.shape))
        fc.bias.copy_(drawn(f"{case}/fc1.bias", fc.bias.shape))
    labels = draw(f"{case}/labels", n, 0, classes).long()
    return fc, drawn(f"{case}/x", (n, features)).double(), labels


def loss_cases():
    """name -> loss; the loss printed by norma is the mean over the samples that count, whatever the reduction."""
    cases = OrderedDict()
    for reduction in ("mean", "sum"):
        cases[f"cross_entropy_{reduction}"] = nn.CrossEntropyLoss(reduction=reduction)
        cases[f"cross_entropy_{reduction}_smoothing"] = nn.CrossEntropyLoss(reduction=reduction, label_smoothing=0.1)
        cases[f"cross_entropy_{reduction}_ignore"] = nn.CrossEntropyLoss(reduction=reduction, ignore_index=2)
        cases[f"cross_entropy_{reduction}_smoothing_ignore"] = nn.CrossEntropyLoss(reduction=reduction, label_smoothing=0.2, ignore_index=1)
        cases[f"mean_squared_{reduction}"] = nn.MSELoss(reduction=reduction)
    return cases


def optimizer_cases():
    sgd, adam, adamw, rmsprop = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop
    return OrderedDict(
        sgd=(sgd, dict(lr=0.1)),
        sgd_weight_decay=(sgd, dict(lr=0.1, weight_decay=0.05)),
        sgd_momentum=(sgd, dict(lr=0.1, momentum=0.9)),
        sgd_dampening=(sgd, dict(lr=0.1, momentum=0.8, dampening=0.3)),
        sgd_nesterov=(sgd, dict(lr=0.1, momentum=0.9, nesterov=True)),
        sgd_all=(sgd, dict(lr=0.05, momentum=0.7, dampening=0.2, weight_decay=0.1)),
        sgd_nesterov_weight_decay=(sgd, dict(lr=0.05, momentum=0.7, weight_decay=0.1, nesterov=True)),
        adam=(adam, dict(lr=0.01)),
        adam_betas=(adam, dict(lr=0.02, betas=(0.7, 0.95), eps=1e-4)),
        adam_weight_decay=(adam, dict(lr=0.01, weight_decay=0.1)),
        adamw=(adamw, dict(lr=0.01)),
        adamw_weight_decay=(adamw, dict(lr=0.02, weight_decay=0.3)),
        rmsprop=(rmsprop, dict(lr=0.01)),
        rmsprop_momentum=(rmsprop, dict(lr=0.01, momentum=0.9)),
        rmsprop_centered=(rmsprop, dict(lr=0.01, alpha=0.9, eps=1e-4, centered=True)),
        rmsprop_all=(rmsprop, dict(lr=0.02, alpha=0.8, weight_decay=0.1, momentum=0.5, centered=True)),
    )


def dump_training():
    out = {}
    for case, criterion in loss_cases().items():
        fc, x, labels = small_problem(case)
        target = labels
        counted = torch.ones(len(labels), dtype=torch.bool)
        if isinstance(criterion, nn.MSELoss):
            target = nn.functional.one_hot(labels, 4).double()
        else:
            counted = labels != criterion.ignore_index
        loss = criterion(fc(x), target)
        loss.backward()
        count = counted.sum() if criterion.reduction == "sum" else 1
        out[f"{case}/loss"] = (loss.detach() / count).reshape(1)
        out[f"{case}/fc1.weight.grad"], out[f"{case}/fc1.bias.grad"] = fc.weight.grad, fc.bias.grad
    for case, (kind, options) in optimizer_cases().items():
        fc, x, labels = small_problem("adam")  # one problem for all: no gradient so near 0 that Adam makes steps of rounding errors
        optimizer = kind(fc.parameters(), **options)
        for step in range(1, 11):
            optimizer.zero_grad()
            nn.functional.cross_entropy(fc(x), labels).backward()
            optimizer.step()
            if step in (1, 2, 10):
                out[f"{case}/{step}/fc1.weight"], out[f"{case}/{step}/fc1.bias"] = fc.weight.detach().clone(), fc.bias.detach().clone()
    return out | dump_schedules()


PER_EPOCH, EPOCHS = 7, 6


def dump_schedules():
    """Learning rate over the optimizer's lr at every step of 6 epochs of 7 steps."""
    total = PER_EPOCH * EPOCHS
    s = torch.optim.lr_scheduler

    def per_step(make, every=1):
        lr = 0.25
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
        schedule = make(optimizer)
        factors = []
        for step in range(total):
            factors.append(optimizer.param_groups[0]["lr"] / lr)
            optimizer.step()
            if (step + 1) % every == 0 and step + 1 < total:
                schedule.step()
        return torch.tensor(factors, dtype=torch.float64)

    warm = 10
    return {
        "schedule/step": per_step(lambda o: s.StepLR(o, step_size=2, gamma=0.3), every=PER_EPOCH),
        "schedule/cosine": per_step(lambda o: s.CosineAnnealingLR(o, T_max=total)),
        "schedule/cosine_final": per_step(lambda o: s.CosineAnnealingLR(o, T_max=total, eta_min=0.25 * 0.1)),
        "schedule/one_cycle": per_step(lambda o: s.OneCycleLR(o, max_lr=0.25, total_steps=total)),
        "schedule/one_cycle_options": per_step(
            lambda o: s.OneCycleLR(o, max_lr=0.25, total_steps=total, pct_start=0.4, div_factor=10, final_div_factor=100)),
        "schedule/warmup": per_step(lambda o: s.LinearLR(o, start_factor=0.1, total_iters=2 * PER_EPOCH)),
        "schedule/warmup_cosine": per_step(
            lambda o: s.SequentialLR(o, [s.LinearLR(o, start_factor=0.25, total_iters=warm), s.CosineAnnealingLR(o, T_max=total - warm)], [warm])),
    }


# ---------------------------------------------------------------------------------------------------------------- whole model

def kept(tensor):
    """A tensor of more than 4096 elements is stored at every 13th, with its largest magnitude in front."""
    flat = tensor.flatten()
    return tensor if flat.numel() <= 4096 else torch.cat([flat.abs().max().reshape(1), flat[::13]])


def dump_lenet():
    out = {}
    for name, case in lenet_cases().items():
        truth = case.run(torch.float64)
        margin = case.margin
        report(name, margin, truth, case.run(torch.float32))
        out.update({f"{name}/{key}": kept(t) for key, t in truth.items()})
    return out


def save(file, tensors):
    """Float tensors as f32, but losses and schedules keep their digits as f64 split in two f32."""
    stored = {}
    for name, t in tensors.items():
        if t.dtype == torch.int64:
            stored[name] = t.clone()
        elif name.endswith("/losses") or name.startswith("schedule/"):
            high = t.double().float()
            stored[name], stored[name + ".low"] = high, (t.double() - high.double()).float()
        else:
            stored[name] = t.detach().float().contiguous().clone()
    save_file(stored, HERE / file, metadata={"made_by": "tests/golden/dump.py", "torch": torch.__version__})
    print(f"{file}: {len(stored)} tensors, {(HERE / file).stat().st_size} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, help="write nothing: search this many seeds for the whole-model data (minutes)")
    args = parser.parse_args()
    if args.seeds:
        search_seeds(args.seeds)
        raise SystemExit
    save("modules.safetensors", dump_modules())
    save("training.safetensors", dump_training())
    save("lenet.safetensors", dump_lenet())
