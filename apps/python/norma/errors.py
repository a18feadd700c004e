"""What norma raises. The kinds and their numbers are those of the command line's exit codes."""

from typing import ClassVar


class Error(Exception):
    """Every error that norma raises on purpose. Its message names the culprit, and the remedy where there is one."""

    kind: ClassVar[str] = "failure"
    exit_code: ClassVar[int] = 1


class FailureError(Error, RuntimeError):
    """Input or output failed, or memory ran out."""


class UsageError(Error, ValueError):
    """A wrong option, shape or call."""

    kind = "usage"
    exit_code = 2


class DataError(Error, ValueError):
    """A data set or model is missing, damaged or does not fit."""

    kind = "data"
    exit_code = 3


class DeviceError(Error, RuntimeError):
    """The device cannot be used."""

    kind = "device"
    exit_code = 4


class DivergedError(Error, ArithmeticError):
    """A loss, gradient, weight or result is not finite. After a step the parameters are those before it."""

    kind = "diverged"
    exit_code = 5


class VerificationError(Error, AssertionError):
    """Results of two backends differ."""

    kind = "verification"
    exit_code = 6
