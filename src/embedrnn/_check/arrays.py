"""Rules about one array: its shape, dtype and memory."""

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from embedrnn._check.array_like import Array, as_array, require_unmasked
from embedrnn._check.options import dtype_of
from embedrnn._quiet import quiet
from embedrnn._storage import Storage

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
FLOAT16 = np.dtype(np.float16)
INT8 = np.dtype(np.int8)
ANY_FLOAT = "float32, float64, float16 or bfloat16"


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


def require_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def require_output(name: str, array: Any, shape: tuple[int, ...] | None, dtype: Any) -> None:
    """Check an array to write to; a shape or dtype of None may be any."""
    if type(array) is not np.ndarray:
        require_unmasked(name, array)
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


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a dtype in native byte order; that of strings of any length knows no other."""
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def as_native(array: Array, dtype: Any) -> Array:
    """Return the array in this dtype, aligned and in native byte order; itself if it is so."""
    return array if array.dtype == dtype and behaved(array) else cast_to(array, dtype)


@quiet
def cast_to(array: Array, dtype: Any) -> Array:
    """Return a copy in another dtype, in which what is too great is infinite."""
    return array.astype(dtype)


@quiet
def in_range(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """Return an array in a dtype, whose range must hold it."""
    if native(array.dtype) == dtype or np.can_cast(array.dtype, dtype):
        return as_native(array, dtype)
    new = cast_to(array, dtype)
    if (np.isfinite(array) & ~np.isfinite(new)).any():
        raise ValueError(f"{name} holds numbers that are too great for {dtype}")
    return new


def apart(array: Array, written: Array | None) -> Array:
    """Return the array, or a copy if what is written may overlap it."""
    if written is None or not np.may_share_memory(array, written):
        return array
    return array.copy()


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether things of this dtype are numbers or booleans: NumPy's, or such as ml_dtypes adds."""
    return dtype.kind in "biufc" or dtype.isbuiltin == 2


def require_numbers(name: str, array: Array) -> None:
    if not is_number(array.dtype):
        raise TypeError(f"{name} must be numbers, got {array.dtype}")


def numbers_of(name: str, value: Any) -> Array:
    """Check what is an array of numbers, and return it."""
    array = as_array(name, value)
    require_numbers(name, array)
    return array


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether this is the bfloat16 of ml_dtypes, which NumPy itself does not know."""
    return dtype.itemsize == 2 and dtype.name == "bfloat16"  # a name takes NumPy 3 us


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of this dtype are summed in float32."""
    return native(dtype) == FLOAT16 or is_bfloat16(dtype)


def storage_of(dtype: np.dtype[Any]) -> Storage | None:
    """Return the storage of numbers in this dtype, None if they are not summed by the backends."""
    if dtype == FLOATS[0]:
        return "float32"
    if dtype == FLOATS[1]:
        return "float64"
    if dtype == FLOAT16:
        return "float16"
    return "bfloat16" if is_bfloat16(dtype) else None


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of a dtype are summed as floating-point ones, halves included."""
    return storage_of(native(dtype)) is not None


def any_float(name: str, dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Check a dtype that floating-point numbers are to have, and return the native one."""
    found = dtype_of(name, dtype, ANY_FLOAT)
    if not is_float(found):
        raise TypeError(f"{name} must be {ANY_FLOAT}, got {found}")
    return native(found)


def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return what numbers of a floating-point dtype are summed in."""
    return np.dtype(np.float32) if is_half(dtype) else native(dtype)


def as_matrix(array: Array) -> Array:
    """Return an array of one axis or more as (rows, cols)."""
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def as_rows(array: Array) -> Array:
    """Return a matrix aligned, in native byte order and with each row in one piece."""
    array = as_behaved(array)
    return array if in_one_piece(array) else np.ascontiguousarray(array)


def as_behaved(array: Array) -> Array:
    """Return an array aligned and in native byte order; itself if it is so."""
    return as_native(array, native(array.dtype))


def few_rows(count: int, table: Array) -> bool:
    """Whether so few of a table's rows are named that to gather them costs less than to copy it.

    Measured, of 2,000 and 100,000 rows of 64 float32, byte-swapped or strided: equal at half of it.
    """
    return 2 * count < len(table)


def has_rows(array: Array) -> bool:
    """Whether the kernels can read an array as rows, of any byte order and alignment."""
    return (array.ndim <= 2 or array.flags.c_contiguous) and not array.dtype.hasobject


def in_one_piece(matrix: Array) -> bool:
    """Whether the columns of each row lie side by side."""
    return matrix.shape[1] < 2 or matrix.strides[1] == matrix.itemsize


def has_plain_rows(array: Array) -> bool:
    """Whether the kernels can calculate with the rows of an array as they are."""
    plain = array.flags.c_contiguous or (array.ndim == 2 and in_one_piece(array))
    return plain and behaved(array)
