"""Inference alone: a trained net that many threads may ask at once."""

from collections.abc import Mapping
from typing import Literal, Optional, cast

from . import _core
from ._types import Array, Floats, Path, Shape
from .nn import Net, module_of
from .optim import Transform, options_of


class Predictor:
    """A net in evaluation mode on the CPU. It never changes. Any number of threads may call it at once, and none waits for another."""

    def __init__(self, net: Net, state_dict: Mapping[str, Array], *, input: Shape, dtype: Optional[Literal["uint8", "float32"]] = None,
                 transform: Optional[Transform] = None, fold: bool = True, isa: str = "auto") -> None:
        """fold: batch norms become part of the layers before them; faster, rounded otherwise. The rest as Trainer."""
        self._core = _core.make_predictor(module_of(net), dict(state_dict), input, options_of(transform, "transform"),
                                          {"dtype": dtype, "fold": fold, "isa": isa})

    @classmethod
    def load(cls, file: Path, *, fold: bool = True, isa: str = "auto") -> "Predictor":
        """From what Trainer.save wrote, or a run directory of `norma train`."""
        made = cls.__new__(cls)
        made._core = _core.load_predictor(file, {"fold": fold, "isa": isa})
        return made

    def predict(self, x: Array, out: Optional[Floats] = None) -> Floats:
        """The net's output, a row a sample, for samples as Trainer takes them. out: an array to write it into."""
        return cast(Floats, self._core.predict(x, out))

    __call__ = predict

    @property
    def input(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self._core.input

    @property
    def output(self) -> tuple[int, ...]:
        """The shape of one sample's output."""
        return self._core.output

    @property
    def dtype(self) -> str:
        """The type of samples: "uint8" or "float32"."""
        return self._core.dtype

    @property
    def classes(self) -> list[str]:
        """Names of the classes that the file gave."""
        return self._core.classes

    @property
    def notes(self) -> list[str]:
        """What was adapted in reading, a sentence each."""
        return self._core.notes

    def __repr__(self) -> str:
        return f"Predictor(input {self.dtype} {self.input}, output {self.output})"
