"""Rules of what tables of int8 rows are made from."""

from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import FLOATS, INT8, as_native, native, require_shape
from embedrnn._storage import INT8_HEADER


def int8_arrays(
    codes: npt.ArrayLike, scale: npt.ArrayLike, offset: npt.ArrayLike
) -> tuple[Array, Array, Array]:
    """Check the codes of a table, and the scale and the offset of each of its rows."""
    table = _matrix("codes", codes, "(V, D)", 0, INT8)
    return table, _of_rows("scale", scale, len(table)), _of_rows("offset", offset, len(table))


def fused_rows(rows: npt.ArrayLike) -> Array:
    """Check rows in the layout of FBGEMM."""
    return _matrix("rows", rows, "(V, D + 8)", INT8_HEADER, np.dtype(np.uint8))


def _matrix(name: str, value: npt.ArrayLike, shape: str, least: int, dtype: np.dtype[Any]) -> Array:
    array = as_array(name, value)
    if array.ndim != 2 or array.shape[1] < least:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, got {array.dtype}")
    return array


def _of_rows(name: str, value: npt.ArrayLike, n_rows: int) -> Array:
    array = as_array(name, value)
    require_shape(name, array, (n_rows,))
    if native(array.dtype) != FLOATS[0]:
        raise TypeError(f"{name} must be float32, got {array.dtype}")
    return np.ascontiguousarray(as_native(array, FLOATS[0]))
