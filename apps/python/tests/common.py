"""What the tests share."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

import norma
from norma import nn

PROGRAM = os.environ.get("NORMA_PROGRAM", "")
SOURCE = Path(os.environ.get("NORMA_SOURCE_DIR", Path(__file__).parents[3]))


def lenet() -> nn.Sequential:
    """As the recipe mnist-lenet-bn."""
    return nn.Sequential(
        nn.Conv2d(6, 5), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 5), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(120), nn.BatchNorm1d(), nn.ReLU(),
        nn.Linear(84), nn.BatchNorm1d(), nn.ReLU(),
        nn.Linear(10),
    )  # fmt: skip


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(16), nn.BatchNorm1d(), nn.ReLU(), nn.Linear(2))


def trainer_of(net: nn.Module, **options: Any) -> norma.Trainer:
    """Of one thread: tests run side by side, and the bits are those of any number."""
    return norma.Trainer(net, **{"threads": 1, **options})


def program(*words: str) -> str:
    return subprocess.run([PROGRAM, *words], check=True, capture_output=True, text=True).stdout


class Test(unittest.TestCase):
    """A test with data sets and a folder of its own."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.digits = norma.datasets.digits(train=512, test=200, seed=3)
        cls.circles = norma.datasets.circles(samples=400, seed=1)

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="norma-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
