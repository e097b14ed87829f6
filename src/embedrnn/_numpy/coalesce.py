"""Which updates go to which row."""

from math import prod

import numpy as np
import numpy.typing as npt

from embedrnn._numpy.bag import bag_sum
from embedrnn._numpy.rows import Indices, first_out_of_range
from embedrnn._numpy.storage import Array
from embedrnn._storage import Storage

Positions = npt.NDArray[np.int64]


def group_rows(
    indices: Indices, n_rows: int, rows: Positions, positions: Positions, offsets: Positions
) -> tuple[int, int]:
    """Fill in the distinct rows, the positions of each and where they begin.

    Returns the first bad position or -1, and the number of rows; writes nothing in the first case.
    """
    bad, named = _named(indices, n_rows)
    if bad >= 0:
        return bad, 0
    distinct, counts = np.unique(named, return_counts=True)
    rows[: distinct.size] = distinct
    positions[...] = np.argsort(named, kind="stable")
    offsets[: distinct.size + 1] = np.concatenate(([0], counts.cumsum()))
    return -1, distinct.size


def number_rows(
    indices: Indices, n_rows: int, rows: Positions, numbers: Positions
) -> tuple[int, int]:
    """Fill in the distinct rows, and which of them each index names; return as `group_rows`."""
    bad, named = _named(indices, n_rows)
    if bad >= 0:
        return bad, 0
    distinct, inverse = np.unique(named, return_inverse=True)
    rows[: distinct.size], numbers[...] = distinct, inverse
    return -1, distinct.size


def _named(indices: Indices, n_rows: int) -> tuple[int, Positions]:
    """Return the first bad position or -1, and the rows that the indices name if there is none."""
    named = indices.reshape(-1).astype(np.int64)
    named[named < 0] += n_rows
    return first_out_of_range(indices, n_rows), named


def coalesce(
    indices: Indices, updates: Array, storage: Storage, n_rows: int
) -> tuple[int, Positions, Array]:
    """Return the first bad position or -1, the distinct rows, and the sum of the updates of each.

    Of the last two nothing is of use in the first case.
    """
    rows, positions = np.empty((2, indices.size), np.int64)
    offsets = np.empty(indices.size + 1, np.int64)
    bad, count = group_rows(indices, n_rows, rows, positions, offsets)
    row = updates.shape[indices.ndim :]
    sums = np.empty((count, *row), updates.dtype)
    if bad < 0:
        matrix, out = updates.reshape(indices.size, prod(row)), sums.reshape(count, prod(row))
        bag_sum(matrix, storage, positions, offsets[: count + 1], None, False, out)
    return bad, rows[:count], sums
