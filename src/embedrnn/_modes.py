"""What `gather` does with an index that is out of range."""

from typing import Any

import numpy as np
import numpy.typing as npt

MODES = ("raise", "wrap", "clip", "strict")

_Indices = npt.NDArray[np.integer[Any]]


def first_outside(indices: _Indices, n_rows: int, mode: str) -> int:
    """Return the flat position of the first index that a mode refuses, or -1."""
    if mode in {"wrap", "clip"} and n_rows > 0:
        return -1
    outside = (indices < (0 if mode == "strict" else -n_rows)) | (indices >= n_rows)
    return int(outside.argmax()) if outside.any() else -1


def in_range(indices: _Indices, n_rows: int, mode: str) -> _Indices:
    """Return indices that are in range, as `numpy.take` understands its modes.

    Those of a mode that raises have been looked at, and stay as they are.
    """
    if mode in {"raise", "strict"} or n_rows == 0:
        return indices
    wide = indices.astype(np.uint64 if indices.dtype.kind == "u" else np.int64)
    if mode == "wrap":
        return wide % wide.dtype.type(n_rows)
    return np.clip(wide, 0, n_rows - 1)
