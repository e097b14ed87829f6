"""Rules of sequences that are padded, and of what is read back from a padded array."""

from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._check.array_like import Array, as_array
from embedrnn._check.options import choice, shown
from embedrnn._check.ragged import Offsets, Ragged, lengths_of
from embedrnn._check.sequences import joined

_SIDES = ("right", "left")


def pad(sequences: Any, value: Any, side: str) -> tuple[Ragged, Array]:
    """Return sequences one behind the other, and what to put between them in their dtype."""
    choice("side", side, _SIDES)
    rows = joined("sequences", sequences)
    return rows, _filling(value, rows.values.dtype)


def unpad(padded: npt.ArrayLike, lengths: npt.ArrayLike, side: str) -> tuple[Array, Offsets]:
    """Check padded rows, and how many steps of each are valid."""
    choice("side", side, _SIDES)
    array = as_array("padded", padded)
    if array.ndim < 2:
        raise ValueError(f"padded must have shape (B, T, ...), got {array.shape}")
    return array, lengths_of(lengths, *array.shape[:2])


def _filling(value: Any, dtype: np.dtype[Any]) -> Array:
    """Return one number in a dtype, which may round it only where all numbers are rounded."""
    refused = ValueError(f"value must fit {dtype}, got {shown(value)}")
    try:
        given = as_array("value", value)
        if given.ndim or (given.dtype.kind == "c" and dtype.kind != "c"):
            raise refused
        with np.errstate(all="ignore"):
            filling = np.full((), value, dtype)
    except (OverflowError, TypeError, ValueError):
        raise refused from None
    if dtype.kind in "biuSU" and filling.item() != value:
        raise refused
    return filling
