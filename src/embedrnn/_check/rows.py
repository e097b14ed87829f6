"""Rules of the operations on rows of a table."""

from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import (
    FLOATS,
    apart,
    as_native,
    behaved,
    few_rows,
    has_plain_rows,
    has_rows,
    is_half,
    is_number,
    native,
    require_output,
    require_shape,
    storage_of,
)
from embedrnn._check.options import choice, flag, shown
from embedrnn._check.ragged import Offsets
from embedrnn._modes import MODES, first_outside
from embedrnn._storage import Storage

Indices = npt.NDArray[np.integer[Any]]


class _Int8Rows(Protocol):
    """A table of int8 rows."""

    @property
    def rows(self) -> Array: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...


Table: TypeAlias = Array | _Int8Rows


class Gather(NamedTuple):
    """A checked gather; `buffer` is `out` unless its strides ask for a copy behind the call.

    `storage` is None where elements are copied as they are. `mode` is one that the backends know:
    indices that are good in "strict" are so in "raise".
    """

    weight: Array
    storage: Storage | None
    indices: Indices
    mode: str
    out: Array
    buffer: Array


class ScatterAdd(NamedTuple):
    """The checked arguments of a scatter_add, but for the target, which passes as it is.

    `sums` is what the backends form sums in, None if they do not. `half` is the storage of a target
    of halves: the sum of all updates of one of its rows is rounded once. `where` says what to add
    to: the target itself, a copy of the rows that are named, or a target that overlaps itself.
    """

    indices: Indices
    updates: Array
    sums: np.dtype[Any] | None
    half: Storage | None
    where: Literal["target", "copy", "overlapping"]


def gather(weight: Table, indices: npt.ArrayLike, out: Array | None, mode: str) -> Gather:
    """Check the arguments of a gather."""
    rows = integer_indices(indices)
    choice("mode", mode, MODES)
    stored, storage, width, dtype = _table(weight, rows.size)
    if mode == "strict":
        require_no_negative(rows, "weight", len(stored))
        mode = "raise"
    shape = rows.shape + width
    if out is None:
        fresh = np.empty(shape, dtype)
        return Gather(stored, storage, rows, mode, fresh, fresh)
    _require_rows(out, shape, storage, dtype)
    if np.may_share_memory(stored, out) or np.may_share_memory(rows, out):
        plain = False
    elif storage is None:
        plain = out.flags.c_contiguous or (rows.ndim == 1 and out.ndim <= 2)
    else:
        plain = out.flags.c_contiguous and out.flags.aligned
    return Gather(stored, storage, rows, mode, out, out if plain else np.empty(shape, out.dtype))


def _table(
    weight: Table, count: int
) -> tuple[Array, Storage | None, tuple[int, ...], np.dtype[Any]]:
    """Return what a table stores, its storage, and the shape and dtype of its rows as they come.

    NumPy gathers the rows that the kernels cannot read; the table is copied if they are not few.
    """
    if not isinstance(weight, np.ndarray):
        return weight.rows, "int8", weight.shape[1:], weight.dtype
    if weight.ndim == 0:
        raise ValueError("weight must have at least one axis, got a scalar")
    if not has_rows(weight) and not few_rows(count, weight):
        weight = np.ascontiguousarray(weight)
    return weight, None, weight.shape[1:], weight.dtype


def _require_rows(
    out: Array, shape: tuple[int, ...], storage: Storage | None, dtype: np.dtype[Any]
) -> None:
    """Check where rows are to go; those of int8 may be rounded to halves there."""
    if storage is None:
        return require_output("out", out, shape, dtype)
    require_output("out", out, None, None)
    if out.dtype != dtype and not (is_half(out.dtype) and out.dtype.isnative):
        raise TypeError(f"out must be {dtype}, float16 or bfloat16, got {out.dtype}")
    return require_shape("out", out, shape)


def scatter_add(
    target: Array, indices: npt.ArrayLike, updates: npt.ArrayLike, strict: bool
) -> ScatterAdd:
    """Check the arguments of a scatter_add."""
    refuse_negative = flag("strict", strict)
    rows, values = rows_and_updates(indices, updates)
    require_output("target", target, None, None)
    if values.dtype.kind == "c" and target.dtype.kind != "c":
        raise TypeError(f"updates must be real as target is, got {values.dtype}")
    if target.ndim == 0:
        raise ValueError("target must have at least one axis, got a scalar")
    if refuse_negative:
        require_no_negative(rows, "target", len(target))
    shape = rows.shape + target.shape[1:]
    overlaps = _overlaps_itself(target)
    sums = None if overlaps else _sums(target, values)
    if sums is None:
        _require_addable(target, values)
    else:
        values = as_native(values, sums)
    values = apart(values, target)
    try:
        spread = values if values.shape == shape else np.broadcast_to(values, shape)
    except ValueError:
        raise ValueError(
            f"updates must broadcast to indices.shape + target.shape[1:] = {shape}, "
            f"got {values.shape}"
        ) from None
    # One update a row, in index order. np.add.at (NumPy 2.4) reads past the end of updates that it
    # broadcasts itself over N-d indices into a 1-d target; it is never given any.
    flat = spread.reshape(rows.size, *target.shape[1:])
    rows = apart(rows, target)
    if sums is not None and flat.ndim > 2:
        flat = np.ascontiguousarray(flat)
    half = storage_of(native(target.dtype)) if is_half(target.dtype) else None
    return ScatterAdd(rows, flat, sums, half, _where(target, sums, overlaps))


def rows_and_updates(
    indices: npt.ArrayLike, updates: npt.ArrayLike, name: str = "updates"
) -> tuple[Indices, Array]:
    """Return updates and the rows that they go to, whose shapes may not fit yet."""
    return row_numbers(indices), as_array(name, updates)


def require_no_negative(
    indices: Indices, table: str, n_rows: int, starts: Offsets | None = None
) -> None:
    """Refuse every index outside [0, n_rows), as what is strict does."""
    bad = first_outside(indices, n_rows, "strict")
    if bad >= 0:
        raise index_error(indices, bad, table, n_rows, strict=True, starts=starts)


def index_error(
    indices: Indices,
    position: int,
    table: str,
    n_rows: int,
    *,
    strict: bool = False,
    unit: str = "row",
    starts: Offsets | None = None,
) -> IndexError:
    """Return the error for the index at a flat position; a strict one may not be negative.

    Sequences begin at `starts`, if the indices came as those.
    """
    value, at = int(indices.ravel()[position]), at_position(indices, position, starts)
    rows = f"{n_rows} {unit}" if n_rows == 1 else f"{n_rows} {unit}s"
    least = 0 if strict else -n_rows
    valid = f"expected {least} <= index < {n_rows}" if n_rows else "no index is valid"
    return IndexError(f"index {value}{at} is out of range for {table} with {rows}: {valid}")


def at_position(indices: Array, position: int, starts: Offsets | None = None) -> str:
    """Return where the index at a flat position is, as a message says it."""
    if starts is None:
        where = tuple(int(i) for i in np.unravel_index(position, indices.shape))
    else:  # in the last sequence that begins there or before: others that begin there are empty
        number = int(starts.searchsorted(position, side="right")) - 1
        where = (number, position - int(starts[number]))
    return f" at position {where[0] if len(where) == 1 else where}" if where else ""


def row_numbers(indices: npt.ArrayLike) -> Indices:
    """Return the row numbers of updates; a tuple of arrays would mean several axes to NumPy."""
    if isinstance(indices, tuple):
        raise TypeError("indices must be one array of row numbers, got a tuple; use a list")
    return integer_indices(indices)


def integer_indices(
    indices: npt.ArrayLike, starts: Offsets | None = None, *, name: str = "indices"
) -> Indices:
    """Return integer indices, C-contiguous and in native order; sequences begin at `starts`."""
    array = indices if type(indices) is np.ndarray else as_array(name, indices)
    if array.dtype.kind not in "iu":
        if array.size or isinstance(indices, np.ndarray):
            raise _not_integers(name, array, starts)
        array = array.astype(np.intp)  # an empty list has no dtype of its own
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    return np.array(array, native(array.dtype), order="C")


def _not_integers(name: str, array: Array, starts: Offsets | None) -> Exception:
    """Return the error for indices of another dtype; integers of over 64 bits are objects."""
    if array.dtype.hasobject:
        for position, item in enumerate(array.flat):
            if isinstance(item, int) and not -(2**63) <= item < 2**64:
                at = at_position(array, position, starts)
                return IndexError(
                    f"index {shown(item)}{at} is out of range: {name} must fit 64 bits"
                )
    return TypeError(f"{name} must be integers, got {array.dtype}")


def _require_addable(target: Array, updates: Array) -> None:
    """Check that NumPy adds these updates to the target, which it says by no argument's name."""
    if not _addable(target.dtype, updates.dtype):
        raise TypeError(
            f"updates must be of a dtype to add to a target of {target.dtype}, got {updates.dtype}"
        )


def _addable(target: np.dtype[Any], updates: np.dtype[Any]) -> bool:
    try:
        sums = np.add.resolve_dtypes((target, updates, None))[2]
    except TypeError:
        return False
    # Of numbers np.add.at casts the sums to the target whatever is lost.
    return (is_number(target) and is_number(sums)) or np.can_cast(sums, target, "same_kind")


def _overlaps_itself(array: Array) -> bool:
    """Whether elements may share memory, as in a view of sliding windows."""
    if array.flags.c_contiguous:
        return False
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
    if not (real and is_number(target.dtype)):
        return None
    if is_half(target.dtype):
        return np.dtype(np.float32)
    dtype = native(target.dtype)
    common = np.result_type(dtype, updates.dtype)
    if dtype.kind in "iu" and common.kind in "iu":
        return dtype
    return common if dtype in FLOATS and common in FLOATS else None


def _where(
    target: Array, sums: np.dtype[Any] | None, overlaps: bool
) -> Literal["target", "copy", "overlapping"]:
    """Return what to add to, so that the target stays as it was if that fails."""
    if overlaps:
        return "overlapping"
    if sums is None or not behaved(target):
        return "copy"
    in_place = has_plain_rows if is_half(target.dtype) else has_rows
    return "target" if in_place(target) else "copy"
