"""Data sets as arrays. MNIST and Fashion-MNIST are read from disk and checked; others are made by code, the same bits everywhere."""

from typing import Any, NamedTuple, Optional, Union

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._types import Floats, Path


class Dataset(NamedTuple):
    """One split: x (N, ...) of uint8 or float32, y (N) of int32."""

    x: Union[NDArray[np.uint8], Floats]
    y: NDArray[np.int32]
    classes: list[str]
    """Their names."""
    name: str

    def __repr__(self) -> str:
        return f"Dataset({self.name}: x {self.x.dtype} {self.x.shape}, y {self.y.dtype} {self.y.shape}, {len(self.classes)} classes)"


class DatasetPair(NamedTuple):
    train: Dataset
    test: Dataset
    source: str
    """Where it comes from: a folder, or "built in"."""


def pair(made: tuple[Any, ...]) -> DatasetPair:
    """Of what the core gives."""
    return DatasetPair(Dataset(*made[0]), Dataset(*made[1]), made[2])


def mnist(folder: Optional[Path] = None) -> DatasetPair:
    """Searched in folder, $NORMA_DATA_DIR, ~/.cache/norma/datasets and /usr/share/datasets. DataError where there is none."""
    return pair(_core.load_dataset("mnist", folder))


def fashion_mnist(folder: Optional[Path] = None) -> DatasetPair:
    """Searched as mnist."""
    return pair(_core.load_dataset("fashion-mnist", folder))


def digits(train: int = 10000, test: int = 2000, seed: int = 0) -> DatasetPair:
    """Digits 0-9 drawn in 28x28 from a stroke font, with random shift, rotation, scale, slant, thickness and noise."""
    return pair(_core.make_digits(train, test, seed))


def circles(samples: int = 2000, noise: float = 0.05, factor: float = 0.5, test_fraction: float = 0.2, seed: int = 0) -> DatasetPair:
    """scikit-learn's make_circles, then its train_test_split, with random_state=seed."""
    return pair(_core.make_circles(samples, noise, factor, test_fraction, seed))


def idx(images: Path, labels: Path, classes: int = 0) -> Dataset:
    """Any pair of IDX files, gzip or raw. classes 0: one more than the largest label."""
    return Dataset(*_core.load_idx(images, labels, classes))
