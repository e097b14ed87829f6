"""Rules of bags of rows."""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._backend import current
from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import (
    ANY_FLOAT,
    as_native,
    as_rows,
    is_float,
    is_number,
    native,
    require_output,
    require_shape,
    storage_of,
    sum_dtype,
)
from embedrnn._check.options import choice, flag, shown, whole
from embedrnn._check.ragged import (
    Offsets,
    absent_where,
    equal_rows,
    from_lengths,
    whole_numbers,
    with_last,
    without_last,
)
from embedrnn._check.rows import Indices, Table, require_no_negative
from embedrnn._check.sequences import Bags
from embedrnn._storage import Storage

BAG_MODES = ("sum", "mean", "sqrtn", "max")


class Bag(NamedTuple):
    """Checked bags: those of `indices` between two offsets, what is padding left out.

    `weight` may have rows that the kernels do not read as they are, and has one column where the
    caller's table is a vector: `tail` is the shape of a row of that. A `storage` of None is of
    integers. `given` are the caller's indices, and `kept` has the positions among them of what is
    left, None if that is all of them. `starts` says where their bags begin if they came as
    sequences.
    """

    weight: Array
    storage: Storage | None
    tail: tuple[int, ...]
    indices: Indices
    offsets: Offsets
    out: Array
    given: Indices
    starts: Offsets | None = None
    per_sample_weights: Array | None = None
    kept: npt.NDArray[np.intp] | None = None

    @property
    def counts(self) -> Offsets:
        """Return the number of items of each bag."""
        return np.diff(self.offsets)

    @property
    def bag_of(self) -> Offsets:
        """Return the bag that each item belongs to."""
        return np.repeat(np.arange(self.offsets.size - 1), self.counts)

    def rows(self, array: Array) -> Array:
        """Return an array of rows in the shape that those of the caller's table have."""
        return array.reshape(len(array), *self.tail)

    def position(self, bad: int) -> int:
        """Return where among the caller's indices an item was."""
        return bad if self.kept is None else int(self.kept[bad])


def bag(
    weight: Table,
    bags: Bags,
    offsets: npt.ArrayLike | None,
    mode: str,
    padding_idx: int | None,
    include_last_offset: bool,
    strict: bool,
) -> Bag:
    """Check the arguments of an embedding_bag, whose bags have been read."""
    choice("mode", mode, BAG_MODES)
    stored, storage, shape, dtype = _table(weight, mode)
    given, last = bags.indices, flag("include_last_offset", include_last_offset)
    bounds = _bounds(given, offsets, bags.lengths, last)
    weights = _per_sample_weights(bags.weights, given, dtype, mode)
    if flag("strict", strict):
        require_no_negative(given, "weight", shape[0], bags.starts)
    out = np.empty((bounds.size - 1, math.prod(shape[1:])), dtype)
    flat, kept = given.reshape(-1), None
    if padding_idx is not None:
        flat, bounds, weights, kept = without_padding(flat, bounds, weights, padding_idx, shape[0])
    return Bag(stored, storage, shape[1:], flat, bounds, out, given, bags.starts, weights, kept)


def without_padding(
    indices: Indices, offsets: Offsets, weights: Array | None, padding_idx: int, n_rows: int
) -> tuple[Indices, Offsets, Array | None, Offsets]:
    """Return bags and weights without the padding, and the positions of the items that are left."""
    row = row_number("padding_idx", padding_idx, n_rows)
    kept, bounds = current().without_row(indices, offsets, row, n_rows)
    return (
        indices.reshape(-1)[kept],
        bounds,
        None if weights is None else weights.reshape(-1)[kept],
        kept,
    )


def _table(
    weight: Table, mode: str
) -> tuple[Array, Storage | None, tuple[int, ...], np.dtype[Any]]:
    """Return the matrix a table stores, its storage, and the shape and dtype of its numbers."""
    if not isinstance(weight, np.ndarray):
        return weight.rows, "int8", weight.shape, weight.dtype
    if weight.ndim not in (1, 2):
        raise ValueError(f"weight must have shape (V, D) or (V,), got {weight.shape}")
    dtype = native(weight.dtype)
    storage = storage_of(dtype)
    if storage is None and not (dtype.kind in "iu" and mode == "sum"):
        integers = "" if dtype.kind not in "iu" else f" for mode {shown(mode)}"
        raise TypeError(f"weight must be {ANY_FLOAT}{integers}, got {weight.dtype}")
    return weight if weight.ndim == 2 else weight[:, None], storage, weight.shape, dtype


def float_table(weight: npt.ArrayLike, name: str = "weight") -> Array:
    """Check a matrix of floating-point numbers, of any strides and byte order."""
    table = as_array(name, weight)
    if table.ndim != 2:
        raise ValueError(f"{name} must have shape (V, D), got {table.shape}")
    if not is_float(table.dtype):
        raise TypeError(f"{name} must be {ANY_FLOAT}, got {table.dtype}")
    return table


def require_gradient(call: Bag) -> None:
    """Refuse a table that has no gradient."""
    if call.storage is None:
        raise TypeError(f"weight must be {ANY_FLOAT}, got {call.weight.dtype}")


def bag_gradient(grad_output: npt.ArrayLike, call: Bag) -> Array:
    """Check the gradient of what came out, and return it in what it is summed in."""
    dtype = call.out.dtype
    gradient = row_gradient(grad_output, (len(call.out), *call.tail), dtype)
    return as_rows(as_native(gradient, sum_dtype(dtype)).reshape(call.out.shape))


def row_gradient(grad_output: npt.ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Check the gradient of what came out; that of halves may be in what they are summed in."""
    gradient = as_array("grad_output", grad_output)
    require_shape("grad_output", gradient, shape)
    if native(gradient.dtype) not in (dtype, sum_dtype(dtype)):
        raise TypeError(f"grad_output must be {dtype} as the output is, got {gradient.dtype}")
    return gradient


def bag_into(into: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Check an array to add the gradient of a table of this shape and dtype to."""
    require_output("into", into, shape, None)
    if not (is_number(into.dtype) and np.can_cast(dtype, into.dtype, "same_kind")):
        raise TypeError(f"into must be {dtype} as weight is, got {into.dtype}")


def row_number(name: str, index: int, n_rows: int) -> int:
    """Return the row that one index means."""
    row = whole(name, index)
    if not -n_rows <= row < n_rows:
        raise ValueError(f"{name} must be in [{-n_rows}, {n_rows}), got {shown(row)}")
    return row % n_rows


def _bounds(
    indices: Indices,
    offsets: npt.ArrayLike | None,
    lengths: npt.ArrayLike | None,
    include_last_offset: bool,
) -> Offsets:
    """Return where each bag begins among the indices, and where the last one ends."""
    if indices.ndim == 2:
        absent_where("each row of 2-d indices is a bag", lengths, offsets)
        return equal_rows(*indices.shape)
    if indices.ndim != 1:
        raise ValueError(f"indices must have one or two axes, got shape {indices.shape}")
    if (offsets is None) == (lengths is None):
        given = "neither" if offsets is None else "both"
        raise ValueError(f"1-d indices need offsets or lengths, got {given}")
    if lengths is not None:
        return from_lengths(whole_numbers("lengths", lengths), indices.size, "indices")
    ends_where = with_last if include_last_offset else without_last
    return ends_where(whole_numbers("offsets", offsets), indices.size, "indices")


def _per_sample_weights(
    per_sample_weights: npt.ArrayLike | None, indices: Indices, dtype: np.dtype[Any], mode: str
) -> Array | None:
    if per_sample_weights is None:
        return None
    if mode == "max":
        raise ValueError("per_sample_weights need mode 'sum', 'mean' or 'sqrtn', got 'max'")
    weights = as_array("per_sample_weights", per_sample_weights)
    require_shape("per_sample_weights", weights, indices.shape)
    summed = sum_dtype(dtype)
    if native(weights.dtype) not in (dtype, summed):
        raise TypeError(f"per_sample_weights must be {dtype} as weight is, got {weights.dtype}")
    return np.ascontiguousarray(as_native(weights, summed)).ravel()
