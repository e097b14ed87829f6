"""Numbers as a table stores them, and the type they are summed in."""

import numpy as np

from embedrnn._numpy.embedding import Array

INT8_HEADER = 8  # bytes before the codes of a row: scale and offset, both float32


def widen(rows: Array) -> Array:
    """Return stored rows in what they are summed in: uint16 is bfloat16, uint8 an int8 table."""
    if rows.dtype == np.uint16:
        return (rows.astype(np.uint32) << 16).view(np.float32)
    if rows.dtype == np.uint8:
        header = np.ascontiguousarray(rows[:, :INT8_HEADER]).view(np.float32).astype(np.float64)
        codes = rows[:, INT8_HEADER:].view(np.int8)
        # In float64, where the product is exact: rounded once, as by a fused multiply-add.
        return (header[:, :1] * codes + header[:, 1:]).astype(np.float32)
    return rows.astype(np.float32) if rows.dtype == np.float16 else rows


def narrow(sums: Array, dtype: np.dtype[np.generic]) -> Array:
    """Return sums as they are stored, rounded to the nearest, ties to even."""
    if dtype != np.uint16:
        return sums.astype(dtype)
    bits = np.ascontiguousarray(sums).view(np.uint32)
    rounded = (bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(sums), bits >> 16 | 0x40, rounded).astype(np.uint16)
