#!/usr/bin/env python3
"""How many digits of the batch variance PyTorch and JAX keep when the mean is large: worst relative error of 16 channels against double.

    python variance.py

norma's own figures: norma_tests --gtest_filter='*VarianceKeepsItsDigits*' (CPU), norma_cuda_tests --gtest_filter='*Variance*' (GPU).
"""
import numpy
import torch


def samples(ratio):
    """(64,16,28,28) float32 of standard deviation 1 about `ratio`, and the variance of each channel of just these floats, in double."""
    x = (numpy.random.default_rng(0).standard_normal((64, 16, 28, 28)) + ratio).astype(numpy.float32)
    return x, x.astype(numpy.float64).var(axis=(0, 2, 3))


def worst(variance, exact):
    return float(numpy.max(numpy.abs(numpy.asarray(variance, numpy.float64) - exact) / exact))


def torch_variance(x, layout):
    """Of BatchNorm2d in training, from its running_var: with momentum 1 the batch's unbiased variance."""
    norm = torch.nn.BatchNorm2d(x.shape[1], momentum=1.0)
    norm(torch.from_numpy(x).contiguous(memory_format=layout))
    count = x.size // x.shape[1]
    return norm.running_var.double().numpy() * (count - 1) / count


def main():
    ratios = (0, 1e2, 1e4, 1e5)
    rows = {f"torch {torch.__version__} BatchNorm2d, NCHW": lambda x: torch_variance(x, torch.contiguous_format),
            f"torch {torch.__version__} BatchNorm2d, channels_last": lambda x: torch_variance(x, torch.channels_last)}
    try:
        import jax
        from jax import numpy as jnp
        axes = (0, 2, 3)
        two_passes = jax.jit(lambda x: jnp.var(x, axis=axes))
        one_pass = jax.jit(lambda x: jnp.maximum(0, jnp.mean(x * x, axis=axes) - jnp.mean(x, axis=axes) ** 2))
        rows[f"jax {jax.__version__} jnp.var"] = two_passes
        rows[f"jax {jax.__version__} E[x^2] - E[x]^2 (flax's BatchNorm)"] = one_pass
    except ImportError:
        print("no jax here")
    print(f"{'|mean|/std':48}" + "".join(f"{r:>10g}" for r in ratios))
    data = [samples(r) for r in ratios]
    for name, variance in rows.items():
        print(f"{name:48}" + "".join(f"{worst(variance(x), exact):>10.1e}" for x, exact in data))


if __name__ == "__main__":
    main()
