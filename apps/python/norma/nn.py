"""Modules: what a net is made of.

A module says what a layer is; it holds no data. Options and defaults are PyTorch's. Channels and sizes are inferred, as in PyTorch's
Lazy modules: `Conv2d(6, 5)` has 6 output channels. Options after the sizes have names only, so that `Conv2d(1, 6, 5)` is an error.

A net is a Module, or a function of a Builder and a Value that calls modules and returns a Value.
"""

from collections.abc import Callable, Mapping
from textwrap import indent
from typing import Any, Literal, Optional, Union

from . import _core
from ._core import Builder, Value
from ._types import Size2
from .init import Init

Function = Callable[[Builder, Value], Value]


class Module:
    """A layer or a net. Called with a Builder and a Value within a net of one's own."""

    def __init__(self, module: _core.Module, shown: str) -> None:
        self._module = module
        self._shown = shown

    def __call__(self, builder: Builder, x: Value) -> Value:
        return self._module(builder, x)

    @property
    def kind(self) -> str:
        """The stem of the name that a Sequential gives it: "conv", "bn", "fc"."""
        return self._module.kind

    def graph(self, *shape: int) -> str:
        """The net for inputs of this shape, batch included, as text: a line for each layer with its path and shape."""
        return _core.print_graph(self._module, list(shape))

    def __repr__(self) -> str:
        return self._shown


Net = Union[Module, Function]


def module_of(net: Net) -> _core.Module:
    """The core's module of a Module or a function."""
    if isinstance(net, Module):
        return net._module
    if isinstance(net, type) or not callable(net):
        called = f": call it, {net.__name__}(...)" if isinstance(net, type) else ""
        raise TypeError(f"a net is a Module or a function (builder, x), got {net!r}{called}")
    return _core.function(net, "function")


class _Layer(Module):
    """A layer of recipes: type is its name there; renamed: its options' names there, where they are others."""

    def __init__(self, type: str, options: Mapping[str, Any], **renamed: str) -> None:
        own = {k: v for k, v in options.items() if k not in ("self", "__class__")}
        shown = ", ".join(f"{k}={v!r}" for k, v in own.items() if v is not None)
        names = {there: here for here, there in renamed.items()}
        name = self.__class__.__name__
        super().__init__(_core.layer(type, {renamed.get(k, k): v for k, v in own.items()}, name, names), f"{name}({shown})")


class Conv2d(_Layer):
    """(N,C,H,W) -> (N,out_channels,H',W'). Parameters: weight (out_channels, C/groups, *kernel_size), bias (out_channels)."""

    def __init__(self, out_channels: int, kernel_size: Size2, *, stride: Size2 = 1, padding: Size2 = 0, dilation: Size2 = 1,
                 groups: int = 1, bias: bool = True, weight_init: Optional[Init] = None, bias_init: Optional[Init] = None) -> None:
        super().__init__("conv2d", locals(), out_channels="out", kernel_size="kernel")


class ConvTranspose2d(_Layer):
    """The adjoint of a convolution, as a layer. Parameters: weight (C, out_channels/groups, *kernel_size), bias (out_channels)."""

    def __init__(self, out_channels: int, kernel_size: Size2, *, stride: Size2 = 1, padding: Size2 = 0, output_padding: Size2 = 0,
                 groups: int = 1, bias: bool = True, dilation: Size2 = 1, weight_init: Optional[Init] = None,
                 bias_init: Optional[Init] = None) -> None:
        super().__init__("conv_transpose2d", locals(), out_channels="out", kernel_size="kernel")


class Linear(_Layer):
    """(N,F) -> (N,out_features). Parameters: weight (out_features, F), bias (out_features)."""

    def __init__(self, out_features: int, *, bias: bool = True, weight_init: Optional[Init] = None,
                 bias_init: Optional[Init] = None) -> None:
        super().__init__("linear", locals(), out_features="out")


class BatchNorm(_Layer):
    """PyTorch's BatchNorm1d on (N,C) and BatchNorm2d on (N,C,H,W). momentum None: a cumulative average."""

    def __init__(self, *, eps: float = 1e-5, momentum: Optional[float] = 0.1, affine: bool = True, track_running_stats: bool = True,
                 weight_init: Optional[Init] = None, bias_init: Optional[Init] = None, initial_running_var: float = 1) -> None:
        super().__init__("batch_norm", {**locals(), "momentum": "none" if momentum is None else momentum})


BatchNorm1d = BatchNorm
BatchNorm2d = BatchNorm


class LayerNorm(_Layer):
    """Each sample by itself, over all its elements: PyTorch's normalized_shape is a sample's shape."""

    def __init__(self, *, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True, weight_init: Optional[Init] = None,
                 bias_init: Optional[Init] = None) -> None:
        super().__init__("layer_norm", locals())


class InstanceNorm2d(_Layer):
    """Each channel of each sample by itself, on (N,C,H,W)."""

    def __init__(self, *, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False, track_running_stats: bool = False,
                 weight_init: Optional[Init] = None, bias_init: Optional[Init] = None, initial_running_var: float = 1) -> None:
        super().__init__("instance_norm", locals())


class GroupNorm(_Layer):
    """The channels of each sample in num_groups equal groups, each by itself, on (N,C) or (N,C,H,W)."""

    def __init__(self, num_groups: int, *, eps: float = 1e-5, affine: bool = True, weight_init: Optional[Init] = None,
                 bias_init: Optional[Init] = None) -> None:
        super().__init__("group_norm", locals(), num_groups="groups")


class MaxPool2d(_Layer):
    """stride None: the kernel's size."""

    def __init__(self, kernel_size: Size2, stride: Optional[Size2] = None, *, padding: Size2 = 0, dilation: Size2 = 1,
                 ceil_mode: bool = False) -> None:
        super().__init__("max_pool2d", locals(), kernel_size="kernel")


class AvgPool2d(_Layer):
    """stride None: the kernel's size."""

    def __init__(self, kernel_size: Size2, stride: Optional[Size2] = None, *, padding: Size2 = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None:
        super().__init__("avg_pool2d", locals(), kernel_size="kernel")


class GlobalAvgPool2d(_Layer):
    """(N,C,H,W) -> (N,C,1,1): the mean of every channel; PyTorch's AdaptiveAvgPool2d(1)."""

    def __init__(self) -> None:
        super().__init__("global_avg_pool2d", {})


class ReLU(_Layer):
    def __init__(self) -> None:
        super().__init__("relu", {})


class Sigmoid(_Layer):
    def __init__(self) -> None:
        super().__init__("sigmoid", {})


class Tanh(_Layer):
    def __init__(self) -> None:
        super().__init__("tanh", {})


class GELU(_Layer):
    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__("gelu", locals())


class SiLU(_Layer):
    def __init__(self) -> None:
        super().__init__("silu", {})


class LeakyReLU(_Layer):
    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__("leaky_relu", locals())


class ELU(_Layer):
    def __init__(self, alpha: float = 1) -> None:
        super().__init__("elu", locals())


class Dropout(_Layer):
    """Training: each element is 0 with probability p, else divided by 1-p. Evaluation: the identity."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__("dropout", locals())


class Flatten(_Layer):
    """(N,C,H,W) -> (N, C*H*W)."""

    def __init__(self) -> None:
        super().__init__("flatten", {})


class Sequential(Module):
    """Modules one after another.

    Each is named by its kind and number, conv1, bn1, fc1, or as a dict says: Sequential({"head": Linear(10)}).
    The names are part of the parameters': "conv1.weight".
    """

    def __init__(self, *modules: Union[Net, Mapping[str, Net]]) -> None:
        children: list[tuple[str, _core.Module]] = []
        shown: list[str] = []
        for m in modules:
            for name, child in m.items() if isinstance(m, Mapping) else [("", m)]:
                children.append((name, module_of(child)))
                shown.append(f"{name}: {child!r}" if name else repr(child))
        lines = "".join(f"{s},\n" for s in shown)
        super().__init__(_core.sequential(children), "Sequential(\n" + indent(lines, "  ") + ")")


class Residual(Module):
    """x + body(x), the shapes equal; with a projection, projection(x) + body(x)."""

    def __init__(self, body: Net, projection: Optional[Net] = None) -> None:
        super().__init__(_core.residual(module_of(body), None if projection is None else module_of(projection)),
                         f"Residual({body!r}" + ("" if projection is None else f", {projection!r}") + ")")
