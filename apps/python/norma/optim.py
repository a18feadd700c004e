"""Optimizers, schedules, losses, transforms and groups of parameters: plain descriptions, PyTorch's options and defaults."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Optional, Union

from . import _core
from ._types import Array, Floats, Size2
from .errors import UsageError

Reduction = Literal["mean", "sum"]
Options = dict[str, Any]


@dataclass(frozen=True)
class _Options:
    """Options of a section of recipes, checked when they are made."""

    _section: ClassVar[str]
    _kind: ClassVar[Optional[str]] = None

    def __post_init__(self) -> None:
        _core.check_section(self._section, self.options(), type(self).__name__, {})

    def options(self) -> Options:
        """As the recipe's section has them; what is None is left out."""
        kind = {} if self._kind is None else {"kind": self._kind}
        return {**kind, **{k: v for k, v in asdict(self).items() if v is not None}}


@dataclass(frozen=True)
class SGD(_Options):
    lr: float = 1e-3
    momentum: float = 0
    dampening: float = 0
    weight_decay: float = 0
    nesterov: bool = False
    _section = "optimizer"
    _kind = "sgd"


@dataclass(frozen=True)
class Adam(_Options):
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0
    _section = "optimizer"
    _kind = "adam"

    def options(self) -> Options:
        own = super().options()
        own["beta1"], own["beta2"] = own.pop("betas")
        return own


@dataclass(frozen=True)
class AdamW(Adam):
    """Loshchilov and Hutter 2019."""

    weight_decay: float = 0.01
    _kind = "adamw"


@dataclass(frozen=True)
class RMSprop(_Options):
    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0
    momentum: float = 0
    centered: bool = False
    _section = "optimizer"
    _kind = "rmsprop"


Optimizer = Union[SGD, Adam, AdamW, RMSprop]


@dataclass(frozen=True)
class Schedule(_Options):
    """The learning rate of each step, as a factor of the optimizer's. Options belong to a kind: those of another are refused.

    step: step_epochs, gamma. cosine: final_factor. one_cycle: pct_start, div_factor, final_div_factor.
    Any kind: warmup_epochs, warmup_start.
    """

    kind: Literal["constant", "step", "cosine", "one_cycle"] = "constant"
    step_epochs: Optional[int] = None
    gamma: Optional[float] = None
    final_factor: Optional[float] = None
    pct_start: Optional[float] = None
    div_factor: Optional[float] = None
    final_div_factor: Optional[float] = None
    warmup_epochs: float = 0
    warmup_start: float = 0
    _section = "schedule"


@dataclass(frozen=True)
class CrossEntropyLoss(_Options):
    """Against integer labels."""

    reduction: Reduction = "mean"
    label_smoothing: float = 0
    ignore_index: int = -100
    _section = "loss"
    _kind = "cross_entropy"


@dataclass(frozen=True)
class MSELoss(_Options):
    """Against float32 targets of the output's shape; against labels as one-hot rows."""

    reduction: Reduction = "mean"
    _section = "loss"
    _kind = "mse"


class CustomLoss:
    """A loss of one's own: a function of outputs and what is wanted that returns the loss of the batch and its gradient by the outputs.

    Both arguments are arrays with a row a sample, made for the call: targets are float32, labels (N) of int32.
    An evaluation takes the loss alone. The loss of an epoch or a set is the mean over its batches, weighted by their samples.
    """

    def __init__(self, function: Callable[[Floats, Any], tuple[float, Array]], *, against: Literal["targets", "labels"] = "targets") -> None:
        if not callable(function):
            raise TypeError(f"a loss is a function of outputs and what is wanted, got {function!r}")
        if against not in ("targets", "labels"):
            raise UsageError(f"CustomLoss: against: must be 'targets' or 'labels', got {against!r}")
        self.function = function
        self.against = against


Loss = Union[CrossEntropyLoss, MSELoss, CustomLoss]


@dataclass(frozen=True)
class Transform(_Options):
    """From stored samples to the net's input: bytes to [0, 1], then (x - mean) / std by channel, then a bilinear resize."""

    mean: Union[float, Sequence[float], None] = None
    std: Union[float, Sequence[float], None] = None
    to_unit: bool = True
    resize: Optional[Size2] = None
    _section = "data"


@dataclass(frozen=True)
class ParameterGroup(_Options):
    """Parameters that are trained otherwise. `*` in the pattern stands for any text: "conv1.*". rate 0 freezes."""

    pattern: str
    rate: Optional[float] = None
    weight_decay: Optional[float] = None
    frozen_statistics: Optional[bool] = None
    _section = "group"


def options_of(value: Union[_Options, Mapping[str, Any], None], what: str) -> Options:
    """The options of one of these classes; another value is a TypeError that names what it stands for."""
    if value is None:
        return {}
    if not isinstance(value, _Options):
        raise TypeError(f"{what} must be an object of norma, such as norma.SGD(lr=0.1) or norma.MSELoss(), got {value!r}")
    return value.options()
