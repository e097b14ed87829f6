"""Rules of encoders, and of the files that frozen ones are kept in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._check.array_like import Array
from embedrnn._check.arrays import (
    FLOATS,
    INT8,
    as_behaved,
    is_half,
    native,
    storage_of,
    sum_dtype,
)
from embedrnn._check.files import About, about
from embedrnn._check.options import dtype_of
from embedrnn._storage import Storage

DType = np.dtype[Any]


def require_encodable(table: tuple[int, DType], layer: tuple[int, DType]) -> None:
    """Check that a recurrent layer reads what a table has: how many features, and their dtype."""
    (width, stored), (inputs, dtype) = table, layer
    if width != inputs:
        raise ValueError(
            f"recurrent must read the {width} features of embedding, got input_size={inputs}"
        )
    sums = FLOATS[0] if stored == INT8 else sum_dtype(stored)
    if sums != dtype:
        raise TypeError(f"recurrent must be {sums}, as rows of {stored} are read, got {dtype}")


def storage_of_table(weight: Any) -> Storage:
    """Return how a layer's table stores its numbers."""
    if not isinstance(weight, np.ndarray):
        return "int8"
    storage = storage_of(weight.dtype)
    assert storage is not None
    return storage


def frozen_dtype(dtype: npt.DTypeLike | None, layer: DType) -> DType:
    """Check what input products are stored in: the dtype of the layer, or halves for float32."""
    expected = "float32, float16 or bfloat16" if layer == FLOATS[0] else "float64"
    found = layer if dtype is None else native(dtype_of("dtype", dtype, expected))
    if found != layer and not (layer == FLOATS[0] and is_half(found)):
        raise TypeError(f"dtype must be {expected} where the layer is {layer}, got {found}")
    return found


def require_no_cotangent(value: Any) -> None:
    """Check that nothing is given as the gradient of outputs that there are none of."""
    if value is not None:
        raise ValueError("grad_output must be None where output is False")


def frozen_about(path: Any, text: bytes, version: int, layers: Sequence[str]) -> About:
    """Check what a file says about the encoder in it."""

    def is_whole(found: About) -> bool:
        padding, strict = found["padding_idx"], found["strict"]
        whole = found["layer"] in layers and "options" in found and type(strict) is bool
        return whole and (padding is None or type(padding) is int)

    return about(path, text, version, ("a frozen encoder", "frozen encoder"), is_whole)


def frozen_products(
    path: Any, products: Sequence[Array | None], width: int, layer: DType, padding_idx: int | None
) -> list[Array]:
    """Check the input products in a file, one array for each direction, and the id of padding.

    They stay mapped if they are aligned, as those are that `save` wrote.
    """
    found = [part for part in products if part is not None]
    shapes = {part.shape for part in found}
    if len(found) < len(products) or len(shapes) != 1 or found[0].shape[1:] != (width,):
        raise ValueError(f"{path} must hold products of {width} numbers for each direction")
    for part in found:
        frozen_dtype(part.dtype, layer)
        if not (part.dtype.isnative and part.flags.c_contiguous):
            raise ValueError(f"{path} must hold products row after row, in native byte order")
    if padding_idx is not None and not 0 <= padding_idx < len(found[0]):
        raise ValueError(
            f"{path} must have a padding_idx in [0, {len(found[0])}), got {padding_idx}"
        )
    return [as_behaved(part) for part in found]
