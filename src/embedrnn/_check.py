"""Every rule about arguments, and its message, once for both backends.

A check returns the arrays that a backend takes: aligned, in native byte order, and laid out as the
compiled kernels need them; fresh outputs are allocated here. Good arguments pass without a copy.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from embedrnn._numpy.embedding import first_out_of_range

__all__ = [
    "choice",
    "deliver",
    "first_out_of_range",
    "gather",
    "index_error",
    "recurrence",
    "scatter_add",
]

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.integer[Any]]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_MODES = ("raise", "wrap", "clip")


class Gather(NamedTuple):
    """A checked gather; `buffer` is `out` unless its strides ask for a copy behind the call."""

    weight: Array
    indices: Indices
    out: Array
    buffer: Array


class ScatterAdd(NamedTuple):
    """A checked scatter_add; `native` says whether the backends serve these dtypes."""

    target: Array
    indices: Indices
    updates: Array
    native: bool


class Recurrence(NamedTuple):
    """The checked arguments that every recurrent cell has; `buffer` as in `Gather`."""

    x: Array
    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None
    bias_hh: Array | None
    lengths: npt.NDArray[np.int64] | None
    h_0: Array | None
    c_0: Array | None
    out: Array
    buffer: Array
    h_n: Array


def gather(weight: Array, indices: npt.ArrayLike, out: Array | None, mode: str) -> Gather:
    """Check the arguments of a gather."""
    rows = _indices(indices)
    choice("mode", mode, _MODES)
    if weight.ndim == 0:
        raise ValueError("weight must have at least one axis, got a scalar")
    if weight.ndim > 2 and not weight.flags.c_contiguous:
        weight = np.ascontiguousarray(weight)
    shape = rows.shape + weight.shape[1:]
    if out is None:
        fresh = np.empty(shape, weight.dtype)
        return Gather(weight, rows, fresh, fresh)
    _output("out", out, shape, weight.dtype)
    weight, rows = _apart(weight, out), _apart(rows, out)
    plain = out.flags.c_contiguous or (rows.ndim == 1 and out.ndim <= 2)
    return Gather(weight, rows, out, out if plain else np.empty(shape, weight.dtype))


def scatter_add(target: Array, indices: npt.ArrayLike, updates: npt.ArrayLike) -> ScatterAdd:
    """Check the arguments of a scatter_add."""
    if isinstance(indices, tuple):
        raise TypeError("indices must be one array of row numbers, got a tuple; use a list")
    rows = _indices(indices)
    values = np.asarray(updates)
    _output("target", target, None, None)
    if values.dtype.kind == "c" and target.dtype.kind != "c":
        raise TypeError(f"updates must be real as target is, got {values.dtype}")
    if target.ndim == 0:
        raise ValueError("target must have at least one axis, got a scalar")
    shape = rows.shape + target.shape[1:]
    native = _has_kernel(target, values)
    if native:  # what np.add.at forms each sum in
        values = _native(values, np.result_type(target.dtype, values.dtype))
    try:
        spread = np.broadcast_to(_apart(values, target), shape)
    except ValueError:
        raise ValueError(
            f"updates must broadcast to indices.shape + target.shape[1:] = {shape}, "
            f"got {values.shape}"
        ) from None
    # One update a row, in index order. np.add.at (NumPy 2.4) reads past the end of updates that it
    # broadcasts itself over N-d indices into a 1-d target; it is never given any.
    flat = spread.reshape(rows.size, *target.shape[1:])
    rows = _apart(rows, target)
    if native and target.ndim > 2:
        cols = math.prod(target.shape[1:])
        target, flat = target.reshape(target.shape[0], cols), flat.reshape(rows.size, cols)
    return ScatterAdd(target, rows, flat, native)


def recurrence(
    x: npt.ArrayLike,
    weight_ih: npt.ArrayLike,
    weight_hh: npt.ArrayLike,
    bias_ih: npt.ArrayLike | None,
    bias_hh: npt.ArrayLike | None,
    lengths: npt.ArrayLike | None,
    h_0: npt.ArrayLike | None,
    out: Array | None,
    *,
    gates: int = 1,
    c_0: npt.ArrayLike | None = None,
) -> Recurrence:
    """Check the arguments of a recurrent cell with so many gates."""
    sequence = np.asarray(x)
    if sequence.ndim != 3:
        raise ValueError(f"x must have shape (B, T, I), got {sequence.shape}")
    dtype = sequence.dtype.newbyteorder("=")
    if dtype not in _FLOATS:
        raise TypeError(f"x must be float32 or float64, got {sequence.dtype}")
    batch, time, width = sequence.shape
    options = {"bias_ih": bias_ih, "bias_hh": bias_hh, "h_0": h_0, "c_0": c_0}
    given = {"weight_ih": np.asarray(weight_ih), "weight_hh": np.asarray(weight_hh)}
    given |= {name: np.asarray(value) for name, value in options.items() if value is not None}
    for name, array in given.items():
        if array.dtype.newbyteorder("=") != dtype:
            raise TypeError(f"{name} must be {dtype} as x is, got {array.dtype}")
    hidden = given["weight_hh"].shape[0] // gates if given["weight_hh"].ndim else 0

    def operand(name: str, *shape: int) -> Array:
        _shape(name, given[name], shape)
        return _apart(_native(given[name], dtype), out)

    def optional(name: str, *shape: int) -> Array | None:
        return operand(name, *shape) if name in given else None

    recurrent = operand("weight_hh", gates * hidden, hidden)
    if out is not None:
        _output("out", out, (batch, time, hidden), dtype)
    fresh = out is None or not _behaved(out)
    output = np.empty((batch, time, hidden), dtype) if fresh else cast("Array", out)
    return Recurrence(
        _apart(_native(sequence, dtype), out),
        operand("weight_ih", gates * hidden, width),
        recurrent,
        optional("bias_ih", gates * hidden),
        optional("bias_hh", gates * hidden),
        None if lengths is None else _apart(_lengths(lengths, batch, time), out),
        optional("h_0", batch, hidden),
        optional("c_0", batch, hidden),
        output if out is None else out,
        output,
        np.empty((batch, hidden), dtype),
    )


def deliver(call: Gather | Recurrence) -> Array:
    """Return `out` with the result, which it gets from the buffer if that is another array."""
    if call.buffer is not call.out:
        call.out[...] = call.buffer
    return call.out


def choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Check that a named option is one of those there are."""
    if value not in allowed:
        listed = " or ".join(repr(option) for option in allowed)
        raise ValueError(f"{name} must be {listed}, got {value!r}")


def index_error(indices: Indices, position: int, table: str, n_rows: int) -> IndexError:
    """Return the error for the index at a flat position."""
    where = tuple(int(i) for i in np.unravel_index(position, indices.shape))
    at = f" at position {where[0] if len(where) == 1 else where}" if where else ""
    value = int(indices.ravel()[position])
    rows = f"{n_rows} row" if n_rows == 1 else f"{n_rows} rows"
    valid = f"expected {-n_rows} <= index < {n_rows}" if n_rows else "no index is valid"
    return IndexError(f"index {value}{at} is out of range for {table} with {rows}: {valid}")


def _indices(indices: npt.ArrayLike) -> Indices:
    """Return integer indices, C-contiguous and in native order."""
    array = np.asarray(indices)
    if array.dtype.kind not in "iu":
        if array.size or isinstance(indices, np.ndarray):
            raise TypeError(f"indices must be integers, got {array.dtype}")
        array = array.astype(np.intp)  # an empty list has no dtype of its own
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def _lengths(lengths: npt.ArrayLike, batch: int, time: int) -> npt.NDArray[np.int64]:
    # A copy of our own: another thread may write to the caller's once it is checked.
    array = np.array(lengths)
    _shape("lengths", array, (batch,))
    if array.dtype.kind not in "iu" and batch:
        raise TypeError(f"lengths must be integers, got {array.dtype}")
    outside = (array < 0) | (array > time)
    if outside.any():
        first = int(outside.argmax())
        raise ValueError(f"lengths[{first}] must be between 0 and {time}, got {array[first]}")
    return array.astype(np.int64, copy=False)


def _shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def _output(name: str, array: Any, shape: tuple[int, ...] | None, dtype: Any) -> None:
    """Check an array to write to; a shape or dtype of None may be any."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an ndarray, got {type(array).__name__}")
    if dtype is not None and array.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, got {array.dtype}")
    if shape is not None:
        _shape(name, array, shape)
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only")


def _behaved(array: Array) -> bool:
    return array.flags.aligned and array.dtype.isnative


def _native(array: Array, dtype: Any) -> Array:
    """Return the array in this dtype, aligned and in native byte order; itself if it is so."""
    if array.dtype == dtype and _behaved(array):
        return array
    return array.astype(dtype)


def _apart(array: Array, written: Array | None) -> Array:
    """Return the array, or a copy if what is written may overlap it."""
    if written is None or not np.may_share_memory(array, written):
        return array
    return array.copy()


def _overlaps_itself(array: Array) -> bool:
    """Whether elements may share memory, as in a view of sliding windows."""
    reach = array.itemsize
    for stride, n in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if n > 1 and stride < reach:
            return True
        reach += stride * (n - 1)
    return False


def _has_kernel(target: Array, updates: Array) -> bool:
    """Whether the kernels add to this target, seen as a matrix without a copy."""
    return (
        target.dtype in _FLOATS
        and _behaved(target)
        and (target.flags.c_contiguous or (target.ndim <= 2 and not _overlaps_itself(target)))
        and updates.dtype.kind in "biuf"
        and np.result_type(target.dtype, updates.dtype) in _FLOATS
    )
