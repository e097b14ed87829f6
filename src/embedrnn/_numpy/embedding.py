"""Rows of a table."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.integer[Any]]


def gather(weight: Array, indices: Indices, out: Array, mode: str) -> int:
    """Set ``out = weight[indices]``; return -1, or the first bad position and write nothing."""
    n_rows = weight.shape[0]
    if mode == "raise" or n_rows == 0:
        bad = first_out_of_range(indices, n_rows)
        if bad >= 0:
            return bad
    out[...] = weight[in_range(indices, n_rows, mode)]
    return -1


def scatter_add(target: Array, indices: Indices, updates: Array) -> int:
    """Add updates[i] to target[indices[i]], i rising; return as `gather` does."""
    bad = first_out_of_range(indices, target.shape[0])
    if bad < 0:
        np.add.at(target, indices.ravel().astype(np.intp), updates)
    return bad


def first_out_of_range(indices: Indices, n_rows: int) -> int:
    """Return the flat position of the first index outside [-n_rows, n_rows), or -1."""
    bad = ((indices < -n_rows) | (indices >= n_rows)).ravel()
    return int(bad.argmax()) if bad.any() else -1


def in_range(indices: Indices, n_rows: int, mode: str) -> Indices:
    """Return indices that are in range, as `numpy.take` understands its modes."""
    if mode == "raise" or n_rows == 0:
        return indices
    wide = indices.astype(np.uint64 if indices.dtype.kind == "u" else np.int64)
    if mode == "wrap":
        return wide % wide.dtype.type(n_rows)
    return np.clip(wide, 0, n_rows - 1)
