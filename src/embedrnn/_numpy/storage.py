"""Numbers as a table stores them, and the type they are summed in."""

from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._storage import INT8_HEADER, Storage

Array = npt.NDArray[Any]


def widen(rows: Array, storage: Storage) -> Array:
    """Return stored rows in what they are summed in."""
    if storage == "int8":
        header = np.ascontiguousarray(rows[:, :INT8_HEADER]).view(np.float32).astype(np.float64)
        codes = rows[:, INT8_HEADER:].view(np.int8)
        # In float64, where the product is exact: rounded once, as by a fused multiply-add.
        return (header[:, :1] * codes + header[:, 1:]).astype(np.float32)
    return rows.astype(np.float64 if storage == "float64" else np.float32, copy=False)
