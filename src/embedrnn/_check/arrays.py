"""Rules about one array: its shape, dtype and memory."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class _Call(Protocol):
    """Checked arguments; `buffer` is `out` unless that asks for a copy behind the call."""

    @property
    def out(self) -> Array: ...
    @property
    def buffer(self) -> Array: ...


def deliver(call: _Call) -> Array:
    """Return `out` with the result, which it gets from the buffer if that is another array."""
    if call.buffer is not call.out:
        call.out[...] = call.buffer
    return call.out


def choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Check that a named option is one of those there are."""
    if value not in allowed:
        listed = " or ".join(repr(option) for option in allowed)
        raise ValueError(f"{name} must be {listed}, got {value!r}")


def require_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def require_output(name: str, array: Any, shape: tuple[int, ...] | None, dtype: Any) -> None:
    """Check an array to write to; a shape or dtype of None may be any."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an ndarray, got {type(array).__name__}")
    if dtype is not None and array.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, got {array.dtype}")
    if shape is not None:
        require_shape(name, array, shape)
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only")


def behaved(array: Array) -> bool:
    return array.flags.aligned and array.dtype.isnative


def as_native(array: Array, dtype: Any) -> Array:
    """Return the array in this dtype, aligned and in native byte order; itself if it is so."""
    if array.dtype == dtype and behaved(array):
        return array
    return array.astype(dtype)


def apart(array: Array, written: Array | None) -> Array:
    """Return the array, or a copy if what is written may overlap it."""
    if written is None or not np.may_share_memory(array, written):
        return array
    return array.copy()
