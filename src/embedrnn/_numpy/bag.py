"""Bags of rows."""

import numpy as np
import numpy.typing as npt

from embedrnn._numpy.embedding import Array, Indices, first_out_of_range
from embedrnn._numpy.recurrence import quiet
from embedrnn._numpy.storage import narrow, widen

Offsets = npt.NDArray[np.int64]


@quiet
def bag_sum(
    weight: Array,
    indices: Indices,
    offsets: Offsets | None,
    per_sample_weights: Array | None,
    mean: bool,
    out: Array,
) -> int:
    """Set out[b] to the sum of the rows of bag b; return -1, or the first bad position.

    Without offsets each item is a bag.
    """
    bad = first_out_of_range(indices, weight.shape[0])
    if bad >= 0:
        return bad
    rows = widen(weight[indices])
    if per_sample_weights is not None:
        rows = per_sample_weights[:, None] * rows
    sums = np.zeros(out.shape, rows.dtype)
    np.add.at(sums, _bag_of(indices, offsets), rows)
    if mean and offsets is not None:
        sums /= np.maximum(np.diff(offsets), 1)[:, None].astype(sums.dtype)
    out[...] = narrow(sums, out.dtype)
    return -1


@quiet
def bag_max(
    weight: Array,
    indices: Indices,
    offsets: Offsets | None,
    out: Array,
    winners: npt.NDArray[np.int64] | None,
) -> int:
    """Set out[b] to the greatest of bag b in each column, and winners to the item it came from."""
    bad = first_out_of_range(indices, weight.shape[0])
    if bad >= 0:
        return bad
    bounds = np.arange(indices.size + 1) if offsets is None else offsets
    out[...] = 0
    if winners is not None:
        winners[...] = -1
    for b in np.flatnonzero(np.diff(bounds)):
        rows = widen(weight[indices[bounds[b] : bounds[b + 1]]])
        best = rows.argmax(axis=0)  # the first of equal ones, and the first NaN
        out[b] = narrow(np.take_along_axis(rows, best[None], axis=0)[0], out.dtype)
        if winners is not None:
            winners[b] = bounds[b] + best
    return -1


@quiet
def bag_dot(
    weight: Array, indices: Indices, offsets: Offsets | None, gradient: Array, out: Array
) -> int:
    """Set out[i] to the product of item i with the gradient of its bag."""
    bad = first_out_of_range(indices, weight.shape[0])
    if bad < 0:
        rows = widen(weight[indices])
        out[...] = (rows * gradient[_bag_of(indices, offsets)]).sum(axis=1)
    return bad


@quiet
def bag_add(
    updates: Array, indices: Indices, offsets: Offsets, rows: Indices, target: Array
) -> None:
    """Add the sum of each bag to target[rows[b]], in float32 and rounded once."""
    sums = widen(target[rows])
    np.add.at(sums, _bag_of(indices, offsets), updates[indices])
    target[rows] = narrow(sums, target.dtype)


def _bag_of(indices: Indices, offsets: Offsets | None) -> Indices:
    """Return the bag that each item belongs to."""
    if offsets is None:
        return np.arange(indices.size)
    return np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
