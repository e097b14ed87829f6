"""Rules of the layers over the rows of a table."""

from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._check.arrays import FLOATS, is_half
from embedrnn._check.bag import row_number
from embedrnn._check.layers import DType, size


def table_options(
    num_embeddings: int,
    embedding_dim: int,
    *,
    padding_idx: int | None,
    max_norm: float | None,
    norm_type: float,
    scale_grad_by_freq: bool,
    dtype: npt.DTypeLike,
) -> dict[str, Any]:
    """Check what a table is constructed with, and return it by name."""
    rows = size("num_embeddings", num_embeddings, least=0)
    padding = None if padding_idx is None else row_number("padding_idx", padding_idx, rows)
    return {
        "num_embeddings": rows,
        "embedding_dim": size("embedding_dim", embedding_dim, least=0),
        "padding_idx": padding,
        "max_norm": None if max_norm is None else _positive("max_norm", max_norm),
        "norm_type": _positive("norm_type", norm_type),
        "scale_grad_by_freq": bool(scale_grad_by_freq),
        "dtype": _table_dtype(dtype),
    }


def _table_dtype(dtype: npt.DTypeLike) -> DType:
    found = np.dtype(dtype).newbyteorder("=")
    if found not in FLOATS and not is_half(found):
        raise TypeError(f"dtype must be float32, float64, float16 or bfloat16, got {found}")
    return found


def _positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not number > 0:
        raise ValueError(f"{name} must be positive, got {number}")
    return number
