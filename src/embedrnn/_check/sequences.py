"""Sequences of unequal length, however they come: a list of them, or an Arrow list array.

An array is what it was: padded, or ragged with offsets or lengths.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._check.array_like import Array, as_array, own_copy, readable
from embedrnn._check.arrow import from_arrow
from embedrnn._check.ragged import Offsets, Ragged, absent_where, equal_rows
from embedrnn._check.rows import Indices, integer_indices

_A_LIST = "a list of sequences"


class Bags(NamedTuple):
    """Indices and their weights as arrays, and the lengths: those that came, or the bags'.

    `starts` says where each bag begins among the indices if they came as sequences, where an index
    has a place in its bag; None if they came as an array, where it has one in that.
    """

    indices: Indices
    lengths: npt.ArrayLike | None = None
    weights: npt.ArrayLike | None = None
    starts: Offsets | None = None

    def copied(self) -> "Bags":
        """Return the same with indices and weights that nobody else writes to."""
        weights = self.weights
        if weights is not None:
            weights = own_copy("per_sample_weights", weights)
        return self._replace(indices=self.indices.copy(), weights=weights)


def sequences(
    x: Any,
    lengths: npt.ArrayLike | None,
    offsets: npt.ArrayLike | None,
    mask: npt.ArrayLike | None = None,
) -> tuple[Array, npt.ArrayLike | None]:
    """Return what a recurrence reads as one array, and its offsets, which it may have itself.

    A list that holds an array of two axes is a list of sequences, also where their lengths happen
    to be equal: the shape of the output must not depend on the data. Nested lists of numbers are
    what NumPy makes of them.
    """
    if hasattr(x, "batch_sizes"):
        raise TypeError("x must be an array or sequences, got packed ones: give a layer Packed(*x)")
    listed = isinstance(x, (list, tuple))
    x = readable("x", x)
    found: Array | Ragged | None = None if listed else _from_arrow("x", x)
    if listed and any(map(_is_matrix, x)):
        found = _joined("x", x, axes=2)
    if found is None:
        found = as_array("x", x, instead="give a list of arrays, or one array and offsets")
        if _holds_sequences(found):
            found = _joined("x", list(found), axes=2)
    if not isinstance(found, Ragged):
        return found, offsets
    absent_where(f"x is {found.source}", lengths, offsets, mask)
    return found.values, found.offsets


def bags(
    indices: Any,
    offsets: npt.ArrayLike | None = None,
    lengths: npt.ArrayLike | None = None,
    per_sample_weights: Any = None,
) -> Bags:
    """Return the indices of bags as one array, and how many each has if they say so themselves.

    So may their weights. What NumPy reads as an array of two axes has a bag in each row: bags are
    the same, whether their lengths happen to be equal or not.
    """
    if type(indices) is np.ndarray and per_sample_weights is None and indices.dtype.kind != "O":
        return Bags(integer_indices(indices), lengths)  # a short way for what is plain
    rows = numbers("indices", indices)
    weights = (
        None if per_sample_weights is None else numbers("per_sample_weights", per_sample_weights)
    )
    if not isinstance(rows, Ragged) and not isinstance(weights, Ragged):
        # That an empty list has no dtype of its own is for integer_indices to say.
        return Bags(integer_indices(rows if rows.size else indices), lengths, weights)
    rows = _as_ragged("indices", rows, "per_sample_weights")
    absent_where(f"indices is {rows.source}", lengths, offsets)
    starts, counts = rows.offsets[:-1], np.diff(rows.offsets)
    flat = integer_indices(rows.values, starts)
    if weights is None:
        return Bags(flat, counts, None, starts)
    weights = _as_ragged("per_sample_weights", weights, "indices")
    if not np.array_equal(weights.offsets, rows.offsets):
        raise ValueError("per_sample_weights must have the lengths that the bags of indices have")
    return Bags(flat, counts, weights.values, starts)


def joined(name: str, value: Any) -> Ragged:
    """Return sequences of any axes, one behind the other; of an array, its rows are sequences."""
    found = _from_arrow(name, value)
    if isinstance(found, Ragged):
        return found
    try:
        rows = list(value if found is None else found)
    except TypeError:
        raise TypeError(f"{name} must be a list of them, got {type(value).__name__}") from None
    return _joined(name, rows)


def numbers(name: str, value: Any, *, apart: bool = False) -> Array | Ragged:
    """Return an array as it is, and sequences of numbers one behind the other.

    A list of sequences that are equally long is an array, unless it is to be taken `apart`.
    """
    value = readable(name, value)
    if apart and isinstance(value, (list, tuple)) and any(map(_is_sequence, value)):
        return _joined(name, value, axes=1)
    if type(value) is np.ndarray:
        return _joined(name, list(value), axes=1) if _holds_sequences(value) else value
    listed = isinstance(value, (list, tuple))
    found = None if listed else _from_arrow(name, value)
    if found is not None:
        return found
    try:
        array = as_array(name, value)
    except ValueError:
        if listed:
            return _joined(name, value, axes=1)
        raise
    return _joined(name, list(array), axes=1) if _holds_sequences(array) else array


def _from_arrow(name: str, value: Any) -> Array | Ragged | None:
    """Return the sequences of an Arrow list array, or the numbers of another one."""
    found = from_arrow(name, value)
    if found is None or found.offsets is None:
        return None if found is None else found.values
    return Ragged(found.values, found.offsets, "an Arrow list array")


def _as_ragged(name: str, rows: Array | Ragged, other: str) -> Ragged:
    if isinstance(rows, Ragged):
        return rows
    if rows.ndim != 2:
        raise ValueError(f"{name} must be sequences as {other} are, got shape {rows.shape}")
    return Ragged(rows.ravel(), equal_rows(*rows.shape), "an array of two axes")


def _is_matrix(row: Any) -> bool:
    return getattr(row, "ndim", None) == 2


def _is_sequence(row: Any) -> bool:
    return isinstance(row, (list, tuple)) or getattr(row, "ndim", 0) > 0


def _holds_sequences(array: Array) -> bool:
    """Whether this is an array of objects that are sequences, as a column of a data frame is."""
    return (
        array.ndim == 1 and array.dtype.hasobject and any(hasattr(row, "__len__") for row in array)
    )


def _joined(name: str, rows: Sequence[Any], axes: int | None = None) -> Ragged:
    """Return sequences, each of that many axes or of those of the first, one behind the other."""
    plain = None if axes == 2 else _joined_lists(rows)
    if plain is not None:
        return plain
    arrays = [
        row if type(row) is np.ndarray else as_array(f"{name}[{b}]", row)
        for b, row in enumerate(rows)
    ]
    filled = [array for array in arrays if array.shape != (0,)]  # [] has no dtype, and no width
    if axes is None:
        axes = max(1, filled[0].ndim) if filled else 1
    tail = filled[0].shape[1:] if filled and filled[0].ndim == axes else None
    for b, array in enumerate(arrays):
        if array.shape != (0,) and (array.ndim != axes or array.shape[1:] != tail):
            expected = "(L,)" if axes == 1 else f"(T, {', '.join(map(str, tail or 'I'))})"
            raise ValueError(f"{name}[{b}] must have shape {expected}, got {array.shape}")
    try:
        values = np.concatenate(filled) if filled else np.empty((0,) * axes, np.int64)
    except TypeError as error:
        raise TypeError(f"{name} must have dtypes that go together: {error}") from None
    return Ragged(values, _offsets([len(array) for array in arrays]), _A_LIST)


def _joined_lists(rows: Sequence[Any]) -> Ragged | None:
    """Return lists that hold nothing but Python's own integers, or its floats; None of others.

    A short way: of each list by itself, NumPy would make an array of this dtype.
    """
    if set(map(type, rows)) != {list}:
        return None
    flat = list(chain.from_iterable(rows))
    if set(map(type, flat)) not in ({int}, {float}):
        return None
    values = np.array(flat)
    if values.dtype not in (np.int64, np.float64):  # as great integers are not
        return None
    return Ragged(values, _offsets(list(map(len, rows))), _A_LIST)


def _offsets(lengths: Sequence[int]) -> Offsets:
    return np.cumsum([0, *lengths], dtype=np.int64)
