"""Types that several modules name."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol, Union

import numpy as np
from numpy.typing import NDArray


class SupportsDLPack(Protocol):
    """An array of numpy, a tensor of torch on the CPU, or whatever else has DLPack."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...


Array = Union[SupportsDLPack, memoryview, bytes, bytearray]
"""What is read without a copy: C-contiguous, on the CPU."""

Floats = NDArray[np.float32]
Size2 = Union[int, Sequence[int]]
"""One number, or (height, width)."""

Shape = Union[int, Sequence[int]]
Path = Union[str, "PathLike[str]"]
