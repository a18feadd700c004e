"""All dumps begin with these: numbers drawn by name, and nets whose parts have names."""
import math
from collections import OrderedDict

import numpy as np
import torch
from torch import nn


def draw(name, count, low=-1.0, high=1.0):
    """count float32 numbers in [low, high): a linear congruential generator (Numerical Recipes' constants) seeded by FNV-1a of the name."""
    state = 2166136261
    for byte in name.encode():
        state = ((state ^ byte) * 16777619) & 0xFFFFFFFF
    out = np.empty(count, dtype=np.float64)
    for i in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = low + (high - low) * ((state >> 8) * 2.0 ** -24)
    return torch.from_numpy(out.astype(np.float32))


def drawn(name, shape, low=-1.0, high=1.0):
    return draw(name, math.prod(shape), low, high).reshape(shape)


def named(**children):
    return nn.Sequential(OrderedDict(children))
