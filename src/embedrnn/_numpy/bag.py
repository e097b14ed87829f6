"""Bags of rows."""

import numpy as np
import numpy.typing as npt

from embedrnn._numpy.rows import Indices, first_out_of_range
from embedrnn._numpy.storage import Array, widen
from embedrnn._quiet import quiet
from embedrnn._storage import Storage

Offsets = npt.NDArray[np.int64]


@quiet
def bag_sum(
    weight: Array,
    storage: Storage,
    indices: Indices,
    offsets: Offsets,
    per_sample_weights: Array | None,
    mean: bool,
    out: Array,
) -> int:
    """Set out[b] to the sum of the rows of bag b; return -1, or the first bad position."""
    bad = first_out_of_range(indices, weight.shape[0])
    if bad >= 0:
        return bad
    rows = widen(weight[indices.reshape(-1)], storage)
    if per_sample_weights is not None:
        rows = per_sample_weights.reshape(-1, 1) * rows
    sums = np.zeros(out.shape, rows.dtype)
    np.add.at(sums, _bag_of(offsets), rows)
    if mean:
        sums /= np.maximum(np.diff(offsets), 1)[:, None].astype(sums.dtype)
    out[...] = sums
    return -1


@quiet
def bag_max(
    weight: Array,
    storage: Storage,
    indices: Indices,
    offsets: Offsets,
    out: Array,
    winners: npt.NDArray[np.int64] | None,
) -> int:
    """Set out[b] to the greatest of bag b in each column, and winners to the item it came from."""
    bad = first_out_of_range(indices, weight.shape[0])
    if bad >= 0:
        return bad
    items = indices.reshape(-1)
    out[...] = 0
    if winners is not None:
        winners[...] = -1
    for b in np.flatnonzero(np.diff(offsets)):
        rows = widen(weight[items[offsets[b] : offsets[b + 1]]], storage)
        best = rows.argmax(axis=0)  # the first of equal ones, and the first NaN
        out[b] = np.take_along_axis(rows, best[None], axis=0)[0]
        if winners is not None:
            winners[b] = offsets[b] + best
    return -1


@quiet
def bag_dot(
    weight: Array,
    storage: Storage,
    indices: Indices,
    offsets: Offsets,
    gradient: Array,
    out: Array,
) -> int:
    """Set out[i] to the product of item i with the gradient of its bag."""
    bad = first_out_of_range(indices, weight.shape[0])
    if bad < 0:
        rows = widen(weight[indices.reshape(-1)], storage)
        out[...] = (rows * gradient[_bag_of(offsets)]).sum(axis=1)
    return bad


@quiet
def bag_add(
    updates: Array,
    indices: Indices,
    offsets: Offsets,
    rows: Indices,
    target: Array,
    storage: Storage,
) -> None:
    """Add the sum of each bag to target[rows[b]], in float32 and rounded once."""
    sums = widen(target[rows], storage)
    np.add.at(sums, _bag_of(offsets), updates[indices])
    target[rows] = sums


def without_row(
    indices: Indices, offsets: Offsets, row: int, n_rows: int
) -> tuple[Offsets, Offsets]:
    """Return the positions of items that do not name a row, and the offsets of bags of those."""
    keep = ((indices != row) & (indices != row - n_rows)).reshape(-1)
    return np.flatnonzero(keep), np.concatenate(([0], keep.cumsum()))[offsets]


def first_bad_offset(offsets: Offsets, items: int) -> int:
    """Return the first offset that is not 0 where it is the first, falls, or is over `items`."""
    bad = np.concatenate((offsets[:1] != 0, (offsets[1:] < offsets[:-1]) | (offsets[1:] > items)))
    return int(bad.argmax()) if bad.any() else -1


def _bag_of(offsets: Offsets) -> Indices:
    """Return the bag that each item belongs to."""
    return np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
