"""Rules of the operations on rows of a table."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._check.arrays import (
    FLOATS,
    Array,
    apart,
    as_matrix,
    as_native,
    behaved,
    choice,
    is_half,
    require_output,
)
from embedrnn._numpy.embedding import in_range

Indices = npt.NDArray[np.integer[Any]]

_MODES = ("raise", "wrap", "clip")


class Gather(NamedTuple):
    """A checked gather; `buffer` is `out` unless its strides ask for a copy behind the call."""

    weight: Array
    indices: Indices
    out: Array
    buffer: Array


class ScatterAdd(NamedTuple):
    """A checked scatter_add; `sums` is what the backends form sums in, None if they do not.

    Where the target is narrower than that, the sum of all updates of a row is rounded once.
    """

    target: Array
    indices: Indices
    updates: Array
    sums: np.dtype[Any] | None


def gather(weight: Array, indices: npt.ArrayLike, out: Array | None, mode: str) -> Gather:
    """Check the arguments of a gather."""
    rows = integer_indices(indices)
    choice("mode", mode, _MODES)
    if weight.ndim == 0:
        raise ValueError("weight must have at least one axis, got a scalar")
    if weight.ndim > 2 and not weight.flags.c_contiguous:
        weight = np.ascontiguousarray(weight)
    shape = rows.shape + weight.shape[1:]
    if out is None:
        fresh = np.empty(shape, weight.dtype)
        return Gather(weight, rows, fresh, fresh)
    require_output("out", out, shape, weight.dtype)
    weight, rows = apart(weight, out), apart(rows, out)
    plain = out.flags.c_contiguous or (rows.ndim == 1 and out.ndim <= 2)
    return Gather(weight, rows, out, out if plain else np.empty(shape, weight.dtype))


def gather_quantized(
    rows: Array, shape: tuple[int, int], indices: npt.ArrayLike, out: Array | None, mode: str
) -> Gather:
    """Check the arguments of a gather from int8 rows, of a table of this shape."""
    numbers = integer_indices(indices)
    choice("mode", mode, _MODES)
    if mode != "raise" and shape[0]:
        numbers = np.asarray(in_range(numbers, shape[0], mode))
    full = (*numbers.shape, shape[1])
    if out is None:
        fresh = np.empty(full, np.float32)
        return Gather(rows, numbers, fresh, fresh)
    require_output("out", out, full, np.dtype(np.float32))
    plain = out.flags.c_contiguous and not np.may_share_memory(out, rows)
    buffer = out if plain else np.empty(full, np.float32)
    return Gather(rows, apart(numbers, out), out, buffer)


def scatter_add(target: Array, indices: npt.ArrayLike, updates: npt.ArrayLike) -> ScatterAdd:
    """Check the arguments of a scatter_add."""
    if isinstance(indices, tuple):
        raise TypeError("indices must be one array of row numbers, got a tuple; use a list")
    rows = integer_indices(indices)
    values = np.asarray(updates)
    require_output("target", target, None, None)
    if values.dtype.kind == "c" and target.dtype.kind != "c":
        raise TypeError(f"updates must be real as target is, got {values.dtype}")
    if target.ndim == 0:
        raise ValueError("target must have at least one axis, got a scalar")
    shape = rows.shape + target.shape[1:]
    sums = _sums(target, values)
    if sums is not None:
        values = as_native(values, sums)
    try:
        spread = np.broadcast_to(apart(values, target), shape)
    except ValueError:
        raise ValueError(
            f"updates must broadcast to indices.shape + target.shape[1:] = {shape}, "
            f"got {values.shape}"
        ) from None
    # One update a row, in index order. np.add.at (NumPy 2.4) reads past the end of updates that it
    # broadcasts itself over N-d indices into a 1-d target; it is never given any.
    flat = spread.reshape(rows.size, *target.shape[1:])
    rows = apart(rows, target)
    if sums is not None and target.ndim > 2:
        flat = as_matrix(flat)
        target = as_matrix(target) if target.flags.c_contiguous else target
    return ScatterAdd(target, rows, flat, sums)


def index_error(indices: Indices, position: int, table: str, n_rows: int) -> IndexError:
    """Return the error for the index at a flat position."""
    where = tuple(int(i) for i in np.unravel_index(position, indices.shape))
    at = f" at position {where[0] if len(where) == 1 else where}" if where else ""
    value = int(indices.ravel()[position])
    rows = f"{n_rows} row" if n_rows == 1 else f"{n_rows} rows"
    valid = f"expected {-n_rows} <= index < {n_rows}" if n_rows else "no index is valid"
    return IndexError(f"index {value}{at} is out of range for {table} with {rows}: {valid}")


def integer_indices(indices: npt.ArrayLike) -> Indices:
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


def _overlaps_itself(array: Array) -> bool:
    """Whether elements may share memory, as in a view of sliding windows."""
    reach = array.itemsize
    for stride, n in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if n > 1 and stride < reach:
            return True
        reach += stride * (n - 1)
    return False


def _sums(target: Array, updates: Array) -> np.dtype[Any] | None:
    """Return what the backends form each sum in, or None where that is left to np.add.at.

    For float32, float64 and integers that is what np.add.at does. Integer sums wrap, so it does not
    show in what width they are formed.
    """
    real = updates.dtype.kind in "biuf" or is_half(updates.dtype)
    if not real or (_overlaps_itself(target) and not target.flags.c_contiguous):
        return None
    if is_half(target.dtype):
        return np.dtype(np.float32)
    if not behaved(target) or not (target.ndim <= 2 or target.flags.c_contiguous):
        return None
    common = np.result_type(target.dtype, updates.dtype)
    if target.dtype.kind in "iu" and common.kind in "iu":
        return target.dtype
    return common if target.dtype in FLOATS and common in FLOATS else None
