"""Rules of bags of rows."""

import operator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._check.arrays import (
    FLOATS,
    Array,
    as_native,
    as_rows,
    choice,
    is_half,
    require_shape,
    stored,
    sum_dtype,
)
from embedrnn._check.embedding import Indices, integer_indices

Offsets = npt.NDArray[np.int64]

_MODES = ("sum", "mean", "max")


class Bag(NamedTuple):
    """Checked bags: those of `indices` between two offsets, what is padding left out.

    `kept` has the positions of what is left among the caller's indices, None if that is all of
    them; `given` are the caller's.
    """

    weight: Array  # as the backends take it
    indices: Indices
    offsets: Offsets
    per_sample_weights: Array | None
    out: Array
    kept: npt.NDArray[np.intp] | None
    given: Indices

    @property
    def counts(self) -> Offsets:
        """Return the number of items of each bag."""
        return np.diff(self.offsets)

    @property
    def bag_of(self) -> Offsets:
        """Return the bag that each item belongs to."""
        return np.repeat(np.arange(self.offsets.size - 1), self.counts)

    def position(self, bad: int) -> int:
        """Return where among the caller's indices an item was."""
        return bad if self.kept is None else int(self.kept[bad])


def bag(
    weight: Array,
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    indices: npt.ArrayLike,
    offsets: npt.ArrayLike | None,
    lengths: npt.ArrayLike | None,
    mode: str,
    per_sample_weights: npt.ArrayLike | None,
    padding_idx: int | None,
    include_last_offset: bool,
) -> Bag:
    """Check the arguments of an embedding_bag; shape and dtype are those of the table's numbers."""
    choice("mode", mode, _MODES)
    given = integer_indices(indices)
    bounds = _bounds(given, offsets, lengths, include_last_offset)
    weights = _per_sample_weights(per_sample_weights, given, dtype, mode)
    out = np.empty((bounds.size - 1, shape[1]), dtype)
    flat, kept = given.ravel(), None
    if padding_idx is not None:
        padding = row_number("padding_idx", padding_idx, shape[0])
        keep = (flat != padding) & (flat != padding - shape[0])
        kept = np.flatnonzero(keep)
        bounds = np.concatenate(([0], keep.cumsum()))[bounds]
        flat = flat[kept]
        weights = None if weights is None else weights[kept]
    return Bag(stored(weight), flat, bounds, weights, out, kept, given)


def bag_table(weight: npt.ArrayLike) -> Array:
    """Check a table of numbers that bags are made of, and return its rows in one piece each."""
    table = np.asarray(weight)
    if table.ndim != 2:
        raise ValueError(f"weight must have shape (V, D), got {table.shape}")
    if table.dtype.newbyteorder("=") not in FLOATS and not is_half(table.dtype):
        raise TypeError(f"weight must be float32, float64, float16 or bfloat16, got {table.dtype}")
    return as_rows(table)


def bag_gradient(grad_output: npt.ArrayLike, call: Bag) -> Array:
    """Check the gradient of what came out, and return it in what it is summed in."""
    gradient = np.asarray(grad_output)
    require_shape("grad_output", gradient, call.out.shape)
    dtype = call.out.dtype
    if gradient.dtype.newbyteorder("=") not in (dtype, sum_dtype(dtype)):
        raise TypeError(f"grad_output must be {dtype} as the output is, got {gradient.dtype}")
    return as_rows(as_native(gradient, sum_dtype(dtype)))


def row_number(name: str, index: int, n_rows: int) -> int:
    """Return the row that one index means."""
    row = operator.index(index)
    if not -n_rows <= row < n_rows:
        raise ValueError(f"{name} must be in [{-n_rows}, {n_rows}), got {row}")
    return row % n_rows


def _bounds(
    indices: Indices,
    offsets: npt.ArrayLike | None,
    lengths: npt.ArrayLike | None,
    include_last_offset: bool,
) -> Offsets:
    """Return where each bag begins among the indices, and where the last one ends."""
    if indices.ndim == 2:
        if offsets is not None or lengths is not None:
            name = "offsets" if offsets is not None else "lengths"
            raise ValueError(f"{name} must be None where each row of 2-d indices is a bag")
        bags, length = indices.shape
        return np.arange(0, (bags + 1) * length, length) if length else np.zeros(bags + 1, np.int64)
    if indices.ndim != 1:
        raise ValueError(f"indices must have one or two axes, got shape {indices.shape}")
    if (offsets is None) == (lengths is None):
        given = "neither" if offsets is None else "both"
        raise ValueError(f"1-d indices need offsets or lengths, got {given}")
    if lengths is not None:
        return _from_lengths(_whole("lengths", lengths), indices.size)
    return _from_offsets(_whole("offsets", offsets), indices.size, include_last_offset)


def _whole(name: str, numbers: Any) -> Offsets:
    """Return a copy of our own: another thread may write to the caller's once it is checked."""
    array = np.array(numbers)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {array.shape}")
    if array.dtype.kind not in "iu":
        if array.size or isinstance(numbers, np.ndarray):
            raise TypeError(f"{name} must be integers, got {array.dtype}")
        array = array.astype(np.int64)
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must fit int64, got {array.max()}")
    return array.astype(np.int64, copy=False)


def _from_lengths(lengths: Offsets, n: int) -> Offsets:
    if (lengths < 0).any():
        first = int((lengths < 0).argmax())
        raise ValueError(f"lengths[{first}] must not be negative, got {lengths[first]}")
    if (lengths > n).any() or lengths.sum() != n:
        total = sum(lengths.tolist())  # which may not fit int64
        raise ValueError(f"lengths must sum to the number of indices, {n}, got {total}")
    return np.concatenate(([0], lengths.cumsum()))


def _from_offsets(offsets: Offsets, n: int, include_last_offset: bool) -> Offsets:
    if include_last_offset and offsets.size == 0:
        raise ValueError("offsets must hold the last offset at least, got none")
    if offsets.size == 0 and n:
        raise ValueError(f"offsets must start at 0 where there are {n} indices, got none")
    if offsets.size and offsets[0] != 0:
        raise ValueError(f"offsets[0] must be 0, got {offsets[0]}")
    falling = offsets[1:] < offsets[:-1]
    if falling.any():
        at = int(falling.argmax()) + 1
        raise ValueError(
            f"offsets must not fall, got offsets[{at}] = {offsets[at]} after {offsets[at - 1]}"
        )
    if include_last_offset:
        if offsets[-1] != n:
            raise ValueError(
                f"the last offset must be the number of indices, {n}, got {offsets[-1]}"
            )
        return offsets
    if offsets.size and offsets[-1] > n:
        first = int((offsets > n).argmax())
        raise ValueError(f"offsets[{first}] must be at most {n}, got {offsets[first]}")
    return np.append(offsets, n)


def _per_sample_weights(
    per_sample_weights: npt.ArrayLike | None, indices: Indices, dtype: np.dtype[Any], mode: str
) -> Array | None:
    if per_sample_weights is None:
        return None
    if mode != "sum":
        raise ValueError(f"per_sample_weights need mode 'sum', got {mode!r}")
    weights = np.asarray(per_sample_weights)
    require_shape("per_sample_weights", weights, indices.shape)
    if weights.dtype.newbyteorder("=") not in (dtype, sum_dtype(dtype)):
        raise TypeError(f"per_sample_weights must be {dtype} as weight is, got {weights.dtype}")
    return np.ascontiguousarray(as_native(weights, sum_dtype(dtype))).ravel()
