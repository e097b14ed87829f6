"""Rows of a table."""

from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._modes import first_outside, in_range
from embedrnn._numpy.storage import Array, widen
from embedrnn._quiet import quiet
from embedrnn._storage import Storage

Indices = npt.NDArray[np.integer[Any]]


@quiet
def gather(
    weight: Array, storage: Storage | None, indices: Indices, mode: str, out: Array, old_out: bool
) -> int:
    """Set ``out = weight[indices]``; return -1, or the first bad position and write nothing.

    A storage of None is any dtype. Whether `out` is an old array matters to compiled code only.
    """
    n_rows = weight.shape[0]
    if mode == "raise" or n_rows == 0:
        bad = first_out_of_range(indices, n_rows)
        if bad >= 0:
            return bad
    rows = weight[in_range(indices, n_rows, mode).reshape(-1)]
    out[...] = (rows if storage is None else widen(rows, storage)).reshape(out.shape)
    return -1


@quiet
def scatter_add(target: Array, indices: Indices, updates: Array) -> int:
    """Add updates[i] to target[indices[i]], i rising; return as `gather` does."""
    bad = first_out_of_range(indices, target.shape[0])
    if bad < 0:
        rows = indices.reshape(-1).astype(np.intp, copy=False)
        np.add.at(target, rows, updates.reshape(rows.size, *target.shape[1:]))
    return bad


def first_out_of_range(indices: Indices, n_rows: int) -> int:
    """Return the flat position of the first index outside [-n_rows, n_rows), or -1."""
    return first_outside(indices, n_rows, "raise")
