"""The recipes of the program `norma`: a net, its data and its training, from a TOML file or by a shipped name."""

from collections.abc import Callable, Mapping
from os import fspath
from typing import Any, Optional

from . import _core
from ._core import EpochMetrics
from ._types import Path
from .datasets import DatasetPair, pair
from .nn import Module
from .trainer import Trainer


class Recipe:
    """All that one training run needs."""

    def __init__(self, core: _core.Recipe) -> None:
        self._core = core

    @property
    def name(self) -> str:
        return self._core.name

    @property
    def description(self) -> str:
        return self._core.description

    @property
    def epochs(self) -> int:
        return self._core.epochs

    @property
    def net(self) -> Module:
        return Module(self._core.net(), f"<the net of recipe {self.name}>")

    def data(self) -> DatasetPair:
        """Loads or makes its data set."""
        return pair(self._core.data())

    def trainer(self) -> Trainer:
        """A new Trainer of its net with its options."""
        return Trainer._of(_core.make_recipe_trainer(self._core))

    def train(self, on_epoch: Optional[Callable[[EpochMetrics], object]] = None) -> Trainer:
        """Trains as `norma train` does, to the same bits, without a run directory."""
        data, trainer = self.data(), self.trainer()
        trainer.fit(data.train, epochs=self.epochs, test=data.test, on_epoch=on_epoch)
        return trainer

    def toml(self) -> str:
        """The whole recipe with every default written out."""
        return self._core.toml()

    def __repr__(self) -> str:
        return f"Recipe({self.name}: {self.description})"


def recipe(name: Path, overrides: Optional[Mapping[str, Any]] = None) -> Recipe:
    """A shipped recipe by its name, or a file by its path; overrides as `norma train --set`: {"optimizer.lr": 0.1}."""
    return Recipe(_core.recipe(fspath(name), dict(overrides or {})))


def names() -> list[str]:
    """The shipped recipes."""
    return _core.recipe_names()
