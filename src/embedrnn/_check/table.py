"""Rules of the layers over the rows of a table."""

from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._check.array_like import Array
from embedrnn._check.arrays import FLOATS, INT8, as_rows, is_half, native
from embedrnn._check.bag import row_number
from embedrnn._check.layers import DType, operand
from embedrnn._check.options import dtype_of, flag, positive, require_addressable, size


def table_options(
    num_embeddings: int,
    embedding_dim: int,
    *,
    padding_idx: int | None,
    max_norm: float | None,
    norm_type: float,
    scale_grad_by_freq: bool,
    dtype: npt.DTypeLike | None,
    strict: bool = False,
) -> dict[str, Any]:
    """Check what a table is constructed with, and return it by name."""
    rows = size("num_embeddings", num_embeddings, least=0)
    cols = size("embedding_dim", embedding_dim, least=0)
    require_addressable("num_embeddings and embedding_dim", rows, cols)
    padding = None if padding_idx is None else row_number("padding_idx", padding_idx, rows)
    options = {
        "num_embeddings": rows,
        "embedding_dim": cols,
        "padding_idx": padding,
        "max_norm": None if max_norm is None else positive("max_norm", max_norm),
        "norm_type": positive("norm_type", norm_type),
        "scale_grad_by_freq": flag("scale_grad_by_freq", scale_grad_by_freq),
        "dtype": _table_dtype(dtype),
        "strict": flag("strict", strict),
    }
    if options["dtype"] == INT8:
        _require_inference(options)
    return options


def _require_inference(options: dict[str, Any]) -> None:
    """Check that nothing is asked of int8 rows that writes to them or is about their gradient."""
    if options["max_norm"] is not None:
        raise ValueError("max_norm must be None for int8 rows: quantize() a layer that has it")
    if options["scale_grad_by_freq"]:
        raise ValueError("scale_grad_by_freq must be False for int8 rows, which have no gradient")


def given_table(weight: npt.ArrayLike, shape: tuple[int, ...], dtype: DType) -> Array:
    """Check a table that a layer is constructed with, and return its rows in one piece each."""
    table = operand("_weight", weight, shape, dtype)
    return np.ascontiguousarray(table) if dtype == np.uint8 else as_rows(table)


def _table_dtype(dtype: npt.DTypeLike | None) -> DType:
    expected = "float32, float64, float16, bfloat16 or int8"
    found = FLOATS[0] if dtype is None else native(dtype_of("dtype", dtype, expected))
    if found not in (*FLOATS, INT8) and not is_half(found):
        raise TypeError(f"dtype must be {expected}, got {found}")
    return found
