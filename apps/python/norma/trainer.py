"""Training, evaluation and checkpoints of one net on one device."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Optional, Union

from . import _core
from ._core import EpochMetrics, Evaluation, Progress, StepResult
from ._types import Array, Floats, Path, Shape
from .datasets import Dataset
from .nn import Net, module_of
from .optim import SGD, CrossEntropyLoss, CustomLoss, Loss, Optimizer, ParameterGroup, Schedule, Transform, options_of

DType = Literal["uint8", "float32"]
Mode = Literal["train", "eval"]


def sections(*, batch_size: int = 256, optimizer: Optimizer = SGD(), loss: Loss = CrossEntropyLoss(), schedule: Optional[Schedule] = None,
             transform: Optional[Transform] = None, dtype: Optional[DType] = None, groups: Sequence[ParameterGroup] = (),
             clip_norm: Optional[float] = None, clip_value: Optional[float] = None, device: str = "cpu", threads: int = 0,
             isa: str = "auto", precision: Literal["fp32", "tf32", "bf16"] = "fp32", seed: int = 0, shuffle: bool = True,
             drop_last: bool = False, total_steps: int = 0, steps_per_epoch: int = 0, fuse: bool = True, reuse: bool = True,
             check_each: bool = False) -> dict[str, dict[str, Any]]:
    """The options of a Trainer as sections of a recipe."""
    own = (loss.function, loss.against == "labels") if isinstance(loss, CustomLoss) else None
    return {
        "train": {"batch_size": batch_size, "precision": precision, "seed": seed, "shuffle": shuffle, "drop_last": drop_last,
                  "clip_norm": clip_norm, "clip_value": clip_value, "groups": [options_of(g, "groups") for g in groups]},
        "device": {"kind": device, "threads": threads, "isa": isa, "fuse": fuse, "reuse": reuse, "check_each": check_each},
        "optimizer": options_of(optimizer, "optimizer"),
        "schedule": options_of(schedule, "schedule"),
        "loss": {} if isinstance(loss, CustomLoss) else options_of(loss, "loss"),
        "data": options_of(transform, "transform"),
        "library": {"dtype": dtype, "loss": own, "total_steps": total_steps, "steps_per_epoch": steps_per_epoch},
    }


def arrays_of(x: Union[Array, Dataset], y: Optional[Array]) -> tuple[Array, Optional[Array], list[str]]:
    """Samples, labels or targets, and the classes' names."""
    if isinstance(x, Dataset):
        return x.x, x.y if y is None else y, x.classes
    return x, y, []


class Trainer:
    """One net on one device. One thread at a time may use it; other threads run while it works.

    Samples are C-contiguous arrays, (N, *input), of uint8 or float32 as `dtype` says: by default uint8 for (C, H, W) and float32 for
    (F,). They are read where they lie. Labels are (N) integers; targets are float32 of the output's shape.
    """

    def __init__(self, net: Net, *, input: Shape, batch_size: int = 256, optimizer: Optimizer = SGD(), loss: Loss = CrossEntropyLoss(),
                 schedule: Optional[Schedule] = None, transform: Optional[Transform] = None, dtype: Optional[DType] = None,
                 groups: Sequence[ParameterGroup] = (), clip_norm: Optional[float] = None, clip_value: Optional[float] = None,
                 device: str = "cpu", threads: int = 0, isa: str = "auto", precision: Literal["fp32", "tf32", "bf16"] = "fp32",
                 seed: int = 0, shuffle: bool = True, drop_last: bool = False, total_steps: int = 0, steps_per_epoch: int = 0,
                 fuse: bool = True, reuse: bool = True, check_each: bool = False) -> None:
        """Compiles the net and draws its parameters from the seed.

        device: "cpu", "cuda", "cuda:1" or "auto". threads: of the CPU, 0 for every core. Neither threads nor isa changes a bit.
        total_steps, steps_per_epoch: what a schedule is laid out for where step and update are used.
        """
        options = sections(batch_size=batch_size, optimizer=optimizer, loss=loss, schedule=schedule, transform=transform, dtype=dtype,
                           groups=groups, clip_norm=clip_norm, clip_value=clip_value, device=device, threads=threads, isa=isa,
                           precision=precision, seed=seed, shuffle=shuffle, drop_last=drop_last, total_steps=total_steps,
                           steps_per_epoch=steps_per_epoch, fuse=fuse, reuse=reuse, check_each=check_each)
        self._core = _core.make_trainer(module_of(net), input, options)

    @classmethod
    def _of(cls, core: _core.Trainer) -> "Trainer":
        made = cls.__new__(cls)
        made._core = core
        return made

    def fit(self, x: Union[Array, Dataset], y: Optional[Array] = None, *, epochs: int = 1,
            test: Union[tuple[Array, Array], Dataset, None] = None, classes: Sequence[str] = (),
            on_step: Optional[Callable[[Progress], Optional[bool]]] = None,
            on_epoch: Optional[Callable[[EpochMetrics], object]] = None) -> bool:
        """Trains until `epochs` epochs are done in total, and evaluates the test set after each.

        on_step is called after every step, on_epoch after every epoch; on_step may return False to stop there, and fit then returns
        False. What a callback raises ends fit and arrives here, and so does Ctrl-C; the state is that after the last step.
        """
        samples, wanted, named = arrays_of(x, y)
        tested: Optional[tuple[Array, Optional[Array]]] = None
        if test is not None:
            if not isinstance(test, Dataset) and (not isinstance(test, tuple) or len(test) != 2):
                raise TypeError(f"test must be a Dataset or (x, y), got {type(test).__name__}")
            tested = (test.x, test.y) if isinstance(test, Dataset) else test
        return self._core.fit(samples, wanted, tested, epochs, list(classes) or named, on_step, on_epoch)

    def step(self, x: Array, y: Optional[Array] = None, *, rate: Optional[float] = None) -> StepResult:
        """Trains one step on these samples. Batches in fit's order give the bits of fit. rate: the learning rate of this step."""
        return self._core.step(x, y, rate)

    def forward(self, x: Array) -> Floats:
        """The net's output in training mode, for a loss outside of the net."""
        return self._core.forward(x)

    def backward(self, gradient: Array, *, accumulate: bool = False) -> None:
        """Takes the gradient of the loss by forward's output. accumulate: adds to the gradients of the last backward."""
        self._core.backward(gradient, accumulate)

    def update(self, *, rate: Optional[float] = None) -> float:
        """Moves the parameters by the gradients; returns the learning rate."""
        return self._core.update(rate)

    def set_gradient(self, name: str, values: Array) -> None:
        """Writes a parameter's gradient, for the next update."""
        self._core.set_gradient(name, values)

    def set_rate(self, rate: Optional[float]) -> None:
        """Sets the learning rate of all steps from now on, within fit, too. None: the schedule's again."""
        self._core.set_rate(rate)

    def reset_optimizer(self) -> None:
        """Makes the optimizer a new one, without momentum and moments."""
        self._core.reset_optimizer()

    def evaluate(self, x: Union[Array, Dataset], y: Optional[Array] = None) -> Evaluation:
        samples, wanted, _ = arrays_of(x, y)
        return self._core.evaluate(samples, wanted)

    def predict(self, x: Array) -> Floats:
        """The net's output in evaluation mode, a row a sample. No softmax is applied."""
        return self._core.predict(x)

    def observe(self, names: Sequence[str], x: Array, y: Array, *, mode: Mode = "train") -> dict[str, Floats]:
        """Values from inside by name, for these samples as one batch; nothing of the Trainer changes.

        "conv1" is a layer's output, "conv1.grad" the gradient by it, "conv1.weight.grad" that by a parameter, "bn1.mean" and "bn1.var"
        the batch's statistics.
        """
        return self._core.observe(list(names), x, y, mode)[2]  # type: ignore[no-any-return]

    def recalibrate(self, x: Union[Array, Dataset], y: Optional[Array] = None) -> list[tuple[str, float, float]]:
        """Sets every batch norm's running statistics to those of these samples.

        Returns for each its path, the largest move of a mean in standard deviations, and that of a variance as a ratio.
        """
        samples, wanted, _ = arrays_of(x, y)
        return self._core.recalibrate(samples, wanted)

    def read(self, name: str) -> Floats:
        """A parameter or buffer ("conv1.weight"), or after a step a gradient ("conv1.weight.grad"). A copy."""
        return self._core.read(name)

    def state_dict(self) -> dict[str, Any]:
        """Parameters and running statistics as arrays, by PyTorch's names and shapes."""
        return self._core.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Array]) -> list[str]:
        """Arrays, or tensors of PyTorch. All must be there. Returns what was adapted in reading, a sentence each."""
        return self._core.load_state_dict(dict(state_dict))

    def save(self, file: Path) -> None:
        """Writes parameters and running statistics as safetensors, with the net: Predictor.load needs the file alone."""
        self._core.save(file)

    def load(self, file: Path) -> list[str]:
        """Reads what save wrote, or another program's safetensors. Returns what was adapted in reading."""
        return self._core.load(file)

    def save_training(self, file: Path) -> None:
        """Writes the optimizer's state and the counters. With load and load_training a run goes on, to the same bits."""
        self._core.save_training(file)

    def load_training(self, file: Path) -> None:
        self._core.load_training(file)

    def plan(self, mode: Mode = "train", batch_size: int = 0) -> str:
        """The net as it was compiled: a table of kernel Calls with shapes, bytes and flops."""
        return self._core.plan(mode, batch_size)

    @property
    def history(self) -> list[EpochMetrics]:
        """Results of each epoch that was trained here."""
        return self._core.history()

    @property
    def parameters_hash(self) -> str:
        """Of all bits of parameters and running statistics: two runs were the same where it is."""
        return self._core.parameters_hash()

    @property
    def parameter_count(self) -> int:
        return self._core.parameter_count()

    @property
    def device(self) -> str:
        return self._core.device()

    @property
    def epochs_done(self) -> int:
        return self._core.epochs_done()

    @property
    def steps_done(self) -> int:
        return self._core.steps_done()

    @property
    def graph(self) -> str:
        """The net as text: a line for each layer with its path and shape."""
        return self._core.graph()

    @property
    def input(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self._core.input()

    @property
    def dtype(self) -> str:
        """The type of samples: "uint8" or "float32"."""
        return self._core.dtype()

    def __repr__(self) -> str:
        return f"Trainer({self.parameter_count} parameters, input {self.dtype} {self.input}, {self.device}, {self.epochs_done} epochs done)"


def plan(net: Net, *, input: Shape, mode: Mode = "train", **options: Any) -> str:
    """The Plan that a Trainer with these options would run. A GPU in `device` need not be there."""
    return _core.print_plan(module_of(net), input, sections(**options), mode)
