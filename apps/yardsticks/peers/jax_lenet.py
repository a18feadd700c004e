#!/usr/bin/env python3
"""The two LeNet-BN recipes trained by JAX: on the CPU a yardstick of compare.sh, with --device cuda one of tests/gpu.sh.

Everything is compiled ahead, before the clock starts. Two ways of running: a jitted step with donated parameters, called for every batch,
and (--scan) one jitted program for an epoch, a lax.scan over its whole batches and the last one; two layouts, NCHW and (--nhwc) NHWC.
What else may make it faster: --one-pass-variance, E[x^2] - E[x]^2 as flax has it; --reshape-pool, maxima along axes of 2, whose gradient
needs no select-and-scatter; --unroll, steps per turn of the loop; and on a GPU --loop-graph, the loop itself in a CUDA graph.
JAX has no call that sets the number of threads on the CPU: XLA takes as many as the process may use cores, so --threads pins the process
to that many cores before JAX is loaded (and says no to more than there are).

    python jax_lenet.py --recipe mnist-lenet-bn --data-dir ../shared/data --threads 2 --epochs 3 --scan
"""
import functools
import os
import sys
import time

import lenet
import numpy

EPS, MOMENTUM = 1e-5, 0.1
BETA1, BETA2, ADAM_EPS = 0.9, 0.999, 1e-8
# Commands that XLA may put into CUDA graphs: its default, and WHILE.
GRAPHS = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,WHILE"


def pin(threads):
    cores = sorted(os.sched_getaffinity(0))
    if threads > len(cores):
        sys.exit(f"--threads {threads}: this process may use {len(cores)} cores")
    if threads:
        os.sched_setaffinity(0, cores[:threads])
        if threads == 1:
            os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    return threads or len(cores)


def initial_weights(args):
    """PyTorch's names; without --weights, PyTorch's default initialisation."""
    if args.weights:
        from safetensors.numpy import load_file
        return {k: v for k, v in load_file(args.weights).items() if not k.endswith("num_batches_tracked")}
    draw = numpy.random.default_rng(args.seed)
    weights = {}
    for name, shape in (("conv1", (6, 1, 5, 5)), ("conv2", (16, 6, 5, 5)), ("fc1", (120, 256)), ("fc2", (84, 120)), ("fc3", (10, 84))):
        bound = 1 / numpy.sqrt(numpy.prod(shape[1:]))
        weights[f"{name}.weight"] = draw.uniform(-bound, bound, shape).astype(numpy.float32)
        weights[f"{name}.bias"] = draw.uniform(-bound, bound, shape[:1]).astype(numpy.float32)
    for name, channels in (("bn1", 6), ("bn2", 16), ("bn3", 120), ("bn4", 84)):
        for part, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            weights[f"{name}.{part}"] = numpy.full(channels, value, numpy.float32)
    return weights


def to_nhwc(weights):
    """Filters as (kh, kw, in, out); fc1's inputs in the order (h, w, c) of a flattened NHWC tensor."""
    for name in ("conv1.weight", "conv2.weight"):
        weights[name] = numpy.ascontiguousarray(weights[name].transpose(2, 3, 1, 0))
    weights["fc1.weight"] = numpy.ascontiguousarray(weights["fc1.weight"].reshape(120, 16, 4, 4).transpose(0, 2, 3, 1).reshape(120, 256))
    return weights


def programs(recipe, args):
    """(train_step, evaluate_batch) of the net: pure functions."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    nhwc = args.nhwc
    activation = jax.nn.relu if recipe["activation"] == "relu" else jax.nn.sigmoid
    layout = ("NHWC", "HWIO", "NHWC") if nhwc else ("NCHW", "OIHW", "NCHW")
    channel = 3 if nhwc else 1

    def along_channels(v, x):
        return v if x.ndim == 2 or nhwc else v[:, None, None]

    def conv(p, name, x):
        return lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), "VALID", dimension_numbers=layout) + along_channels(
            p[f"{name}.bias"], x)

    def linear(p, name, x):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(p, stats, updated, name, x, training):
        if training:
            axes = tuple(a for a in range(x.ndim) if a != (1 if x.ndim == 2 else channel))
            count = x.size // p[f"{name}.weight"].size
            mean = x.mean(axes)
            var = jnp.maximum(0, (x * x).mean(axes) - mean * mean) if args.one_pass_variance else x.var(axes)
            updated[f"{name}.running_mean"] = (1 - MOMENTUM) * stats[f"{name}.running_mean"] + MOMENTUM * mean
            updated[f"{name}.running_var"] = (1 - MOMENTUM) * stats[f"{name}.running_var"] + MOMENTUM * var * (count / (count - 1))
        else:
            mean, var = stats[f"{name}.running_mean"], stats[f"{name}.running_var"]
        scale = p[f"{name}.weight"] * lax.rsqrt(var + EPS)
        return (x - along_channels(mean, x)) * along_channels(scale, x) + along_channels(p[f"{name}.bias"], x)

    def pool(x):
        if args.reshape_pool:
            n, a, b, c = x.shape
            return x.reshape(n, a // 2, 2, b // 2, 2, c).max((2, 4)) if nhwc else x.reshape(n, a, b // 2, 2, c // 2, 2).max((3, 5))
        window = (1, 2, 2, 1) if nhwc else (1, 1, 2, 2)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")

    def net(p, stats, x, training):
        updated = {}
        bn = functools.partial(norm, p, stats, updated, training=training)
        x = pool(activation(bn("bn1", conv(p, "conv1", x))))
        x = pool(activation(bn("bn2", conv(p, "conv2", x))))
        x = x.reshape(x.shape[0], -1)
        x = activation(bn("bn3", linear(p, "fc1", x)))
        x = activation(bn("bn4", linear(p, "fc2", x)))
        return linear(p, "fc3", x), updated

    def loss_of(p, stats, x, t, training):
        y, updated = net(p, stats, x, training)
        loss = -jnp.take_along_axis(jax.nn.log_softmax(y), t[:, None], 1).mean()
        return loss, (updated, (y.argmax(1) == t).sum())

    def update(p, g, state):
        if recipe["optimizer"] == "sgd":
            return {k: p[k] - recipe["lr"] * g[k] for k in p}, state
        step = state["step"] + 1
        c1, c2 = 1 - BETA1**step, 1 - BETA2**step
        m = {k: BETA1 * state["m"][k] + (1 - BETA1) * g[k] for k in p}
        v = {k: BETA2 * state["v"][k] + (1 - BETA2) * g[k] * g[k] for k in p}
        return {k: p[k] - recipe["lr"] / c1 * m[k] / (jnp.sqrt(v[k] / c2) + ADAM_EPS) for k in p}, dict(step=step, m=m, v=v)

    def train_step(carry, images, labels, index):
        p, stats, state, loss_sum, correct = carry
        x, t = (a.at[index].get(mode="promise_in_bounds") for a in (images, labels))
        (loss, (updated, right)), g = jax.value_and_grad(loss_of, has_aux=True)(p, stats, x, t, True)
        p, state = update(p, g, state)
        return p, updated, state, loss_sum + loss * len(index), correct + right

    def evaluate_batch(p, stats, x, t):
        loss, (_, right) = loss_of(p, stats, x, t, False)
        return loss * len(t), right

    return train_step, evaluate_batch


def main():
    parser = lenet.arguments(__doc__)
    parser.add_argument("--nhwc", action="store_true")
    parser.add_argument("--scan", action="store_true", help="one program for an epoch")
    parser.add_argument("--unroll", type=int, default=1, help="steps in one turn of the scan's loop")
    parser.add_argument("--one-pass-variance", action="store_true")
    parser.add_argument("--reshape-pool", action="store_true")
    parser.add_argument("--loop-graph", action="store_true", help="the scan's loop in a CUDA graph")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args()
    if args.loop_graph and not (args.device == "cuda" and args.scan):
        parser.error("--loop-graph needs --device cuda and --scan")
    threads = pin(args.threads)
    import jax
    import jax.numpy as jnp
    from jax import lax
    jax.config.update("jax_platforms", args.device)
    jax.config.update("jax_default_matmul_precision", "float32")  # on a GPU the default is less

    recipe = lenet.RECIPES[args.recipe]
    batch = recipe["batch"]

    def split(name):
        images, labels = lenet.load_split(args.data_dir, recipe, name)
        return jnp.asarray(images.transpose(0, 2, 3, 1) if args.nhwc else images), jnp.asarray(labels.astype(numpy.int32))

    train_x, train_t = split("train")
    test_x, test_t = split("t10k")
    n, n_test = len(train_t), len(test_t)
    weights = initial_weights(args)
    if args.nhwc:
        weights = to_nhwc(weights)
    weights = {k: jnp.asarray(v) for k, v in weights.items()}
    stats = {k: v for k, v in weights.items() if ".running_" in k}
    p = {k: v for k, v in weights.items() if k not in stats}
    state = {}
    if recipe["optimizer"] == "adam":
        state = dict(step=jnp.zeros((), jnp.float32), m={k: jnp.zeros_like(v) for k, v in p.items()}, v={k: jnp.zeros_like(v) for k, v in p.items()})

    epochs = args.epochs or recipe["epochs"]
    orders = [jnp.asarray(order.astype(numpy.int32)) for order in lenet.load_orders(args, epochs, n)]
    whole, test_whole = n // batch, n_test // batch
    train_step, evaluate_batch = programs(recipe, args)

    def cleared(p, stats, state):
        return p, stats, state, jnp.zeros(()), jnp.zeros((), jnp.int32)

    def train_epoch(p, stats, state, images, labels, order):
        carry, rows = cleared(p, stats, state), order[:whole * batch].reshape(whole, batch)
        carry, _ = lax.scan(lambda c, index: (train_step(c, images, labels, index), None), carry, rows, unroll=args.unroll)
        return train_step(carry, images, labels, order[whole * batch:]) if n % batch else carry

    def evaluate(p, stats, images, labels):
        def one(sums, b):
            loss, right = evaluate_batch(p, stats, lax.dynamic_slice_in_dim(images, b * batch, batch), lax.dynamic_slice_in_dim(labels, b * batch, batch))
            return (sums[0] + loss, sums[1] + right), None

        sums = lax.scan(one, (jnp.zeros(()), jnp.zeros((), jnp.int32)), jnp.arange(test_whole))[0]
        if test_whole * batch < n_test:
            loss, right = evaluate_batch(p, stats, images[test_whole * batch:], labels[test_whole * batch:])
            sums = sums[0] + loss, sums[1] + right
        return sums

    options = {"xla_gpu_enable_command_buffer": GRAPHS} if args.loop_graph else None

    def compiled(f, *example, donate=()):
        return jax.jit(f, donate_argnums=donate).lower(*example).compile(compiler_options=options)

    start = time.perf_counter()
    carry = cleared(p, stats, state)
    # Steps of their own also where --scan runs on the CPU: there the first epoch tells when its first step was done.
    steps = not args.scan or args.device == "cpu"
    step = compiled(train_step, carry, train_x, train_t, orders[0][:batch], donate=0) if steps else None
    tail = compiled(train_step, carry, train_x, train_t, orders[0][whole * batch:], donate=0) if steps and n % batch else None
    scan = compiled(train_epoch, *carry[:3], train_x, train_t, orders[0], donate=(0, 1, 2)) if args.scan else None
    evaluation = compiled(evaluate, p, stats, test_x, test_t)

    where = f"{threads} threads" if args.device == "cpu" else jax.devices()[0].device_kind
    device = f"jax {jax.__version__} {args.device} ({where}, {'nhwc' if args.nhwc else 'nchw'}, {'scan' if args.scan else 'step'}" + "".join(
        f", {name}" for name, on in ((f"unroll {args.unroll}", args.unroll > 1), ("one-pass variance", args.one_pass_variance),
                                     ("reshape pool", args.reshape_pool), ("loop in a graph", args.loop_graph)) if on) + ")"
    report = lenet.Report(args.recipe, device)
    report.warm_up_seconds = time.perf_counter() - start
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        order = orders[epoch - 1]
        if scan and (epoch > 1 or not steps):
            carry = scan(*carry[:3], train_x, train_t, order)
        else:
            carry = cleared(*carry[:3])
            for b in range(whole):
                carry = step(carry, train_x, train_t, order[b * batch:(b + 1) * batch])
                if report.first_step is None:
                    jax.block_until_ready(carry)
                    report.step_done()
            if tail:
                carry = tail(carry, train_x, train_t, order[whole * batch:])
        jax.block_until_ready(carry)
        train_seconds = time.perf_counter() - start
        test_loss, test_right = evaluation(carry[0], carry[1], test_x, test_t)
        test = float(test_loss) / n_test, int(test_right) / n_test
        report.epoch(epoch, n, (float(carry[3]) / n, int(carry[4]) / n), test, train_seconds, time.perf_counter() - start)
    report.final()


if __name__ == "__main__":
    main()
