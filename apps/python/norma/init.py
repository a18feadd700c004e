"""Initial values of parameters, for the options `weight_init` and `bias_init` of layers.

They are drawn from the Trainer's seed, the same bits on every machine.
"""

from typing import Any

Init = dict[str, Any]


def constant(value: float) -> Init:
    return {"kind": "constant", "value": value}


def uniform(low: float = 0, high: float = 1) -> Init:
    return {"kind": "uniform", "low": low, "high": high}


def normal(mean: float = 0, std: float = 1) -> Init:
    return {"kind": "normal", "mean": mean, "std": std}


def xavier_uniform(gain: float = 1) -> Init:
    """Glorot and Bengio 2010."""
    return {"kind": "xavier_uniform", "gain": gain}


def xavier_normal(gain: float = 1) -> Init:
    return {"kind": "xavier_normal", "gain": gain}


def he_uniform(gain: float = 2**0.5) -> Init:
    """He et al. 2015."""
    return {"kind": "he_uniform", "gain": gain}


def he_normal(gain: float = 2**0.5) -> Init:
    return {"kind": "he_normal", "gain": gain}
