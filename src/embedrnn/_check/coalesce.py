"""Rules of coalesce."""

import operator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._check.arrays import FLOATS, Array, as_rows, behaved, is_half, stored
from embedrnn._check.embedding import Indices, integer_indices


class Coalesce(NamedTuple):
    """Checked arguments: one update (a row) an index; `n_rows` bounds the indices."""

    indices: Indices
    updates: Array
    n_rows: int


def coalesce(
    indices: npt.ArrayLike, updates: npt.ArrayLike, num_embeddings: int | None
) -> Coalesce:
    """Check the arguments of a coalesce."""
    if isinstance(indices, tuple):
        raise TypeError("indices must be one array of row numbers, got a tuple; use a list")
    rows = integer_indices(indices)
    values = np.asarray(updates)
    if values.dtype.hasobject:
        raise TypeError(f"updates must be numbers, got {values.dtype}")
    if values.shape[: rows.ndim] != rows.shape:
        raise ValueError(
            f"updates must have shape indices.shape + (...) = {rows.shape} + (...), "
            f"got {values.shape}"
        )
    if not behaved(values):
        values = values.astype(values.dtype.newbyteorder("="))
    return Coalesce(rows, values, _n_rows(rows, num_embeddings))


def summed_by_kernels(updates: Array) -> Array | None:
    """Return the updates as the matrix that the backends sum, or None if they do not."""
    if updates.dtype not in FLOATS and not is_half(updates.dtype):
        return None
    return stored(as_rows(updates))


def _n_rows(rows: Indices, num_embeddings: int | None) -> int:
    """Return the rows of the table; if it is unknown, as many as the indices need."""
    if num_embeddings is not None:
        n_rows = operator.index(num_embeddings)
        if n_rows < 0:
            raise ValueError(f"num_embeddings must not be negative, got {n_rows}")
        return n_rows
    if rows.size == 0:
        return 0
    if int(rows.min()) < 0:
        position = int((rows < 0).ravel().argmax())
        raise IndexError(
            f"index {int(rows.ravel()[position])} at position {position} counts from the end of a "
            "table of unknown size: give num_embeddings"
        )
    return int(rows.max()) + 1
