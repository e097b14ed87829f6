"""Rules about one array: its shape, dtype and memory."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
FLOAT16 = np.dtype(np.float16)


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
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def apart(array: Array, written: Array | None) -> Array:
    """Return the array, or a copy if what is written may overlap it."""
    if written is None or not np.may_share_memory(array, written):
        return array
    return array.copy()


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether this is the bfloat16 of ml_dtypes, which NumPy itself does not know."""
    return dtype.name == "bfloat16"


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of this dtype are summed in float32."""
    return dtype.newbyteorder("=") == FLOAT16 or is_bfloat16(dtype)


def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return what numbers of a floating-point dtype are summed in."""
    return np.dtype(np.float32) if is_half(dtype) else dtype.newbyteorder("=")


def stored(array: Array) -> Array:
    """Return the array as the backends take it: bfloat16 as its bits, in uint16."""
    return array.view(np.uint16) if is_bfloat16(array.dtype) else array


def as_matrix(array: Array) -> Array:
    """Return an array of one axis or more as (rows, cols)."""
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def as_rows(array: Array) -> Array:
    """Return a matrix aligned, in native byte order and with each row in one piece."""
    if not behaved(array):
        array = array.astype(array.dtype.newbyteorder("="))
    return array if in_one_piece(array) else np.ascontiguousarray(array)


def in_one_piece(matrix: Array) -> bool:
    """Whether the columns of each row lie side by side."""
    return matrix.shape[1] < 2 or matrix.strides[1] == matrix.itemsize


def is_plain_matrix(array: Array) -> bool:
    """Whether the kernels can write to the rows of an array as they are."""
    plain = array.flags.c_contiguous or (array.ndim == 2 and in_one_piece(array))
    return plain and behaved(array)
