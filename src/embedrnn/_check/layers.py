"""Rules of the layers: their sizes, their parameters, and what they are called with."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._cells import WEIGHTS, Cell
from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import FLOATS, native
from embedrnn._check.options import choice, dtype_of, flag, shown

DType = np.dtype[Any]

# What a layer makes of the outputs of two directions.
MERGE_MODES = ("concat", "sum", "mean", "mul")


def float_dtype(dtype: npt.DTypeLike | None) -> DType:
    """Check the dtype of a layer: float32 if none is given."""
    expected = "float32 or float64"
    found = FLOATS[0] if dtype is None else dtype_of("dtype", dtype, expected)
    if found not in FLOATS:
        raise TypeError(f"dtype must be {expected}, got {found}")
    return found


def dtype_like(found: DType) -> DType | None:
    """Return the dtype of a layer of parameters of this one, None if there is no such layer."""
    return native(found) if native(found) in FLOATS else None


def repeats_padding(padding_fill: Any) -> bool:
    """Check what padded outputs are filled with: return whether they repeat the one before."""
    choice("padding_fill", padding_fill, ("zero", "repeat"))
    return bool(padding_fill == "repeat")


def directions(bidirectional: Any, reverse: Any, merge: Any) -> dict[str, Any]:
    """Check in which directions a layer walks, and what becomes of the outputs of two."""
    both, backwards = flag("bidirectional", bidirectional), flag("reverse", reverse)
    choice("merge", merge, MERGE_MODES)
    if both and backwards:
        raise ValueError(
            "reverse must be False where bidirectional is True: one of two directions is reversed"
        )
    if not both and merge != "concat":
        raise ValueError(f"merge must be 'concat' where bidirectional is False, got {shown(merge)}")
    return {"bidirectional": both, "reverse": backwards, "merge": merge}


def require_stream(bidirectional: bool, reverse: bool) -> None:
    """Check that a layer walks in the direction in which a stream comes."""
    if bidirectional:
        raise ValueError("step needs a layer of one direction: the other starts at the end")
    if reverse:
        raise ValueError("step needs a layer that is not reverse: that one starts at the end")


@lru_cache(maxsize=256)  # which takes less time than to write five names
def parameter_names(
    layer: int, suffix: str, parameters: tuple[str, ...] = WEIGHTS
) -> tuple[str, ...]:
    """Return the names of a cell's parameters in one layer and direction of a stack."""
    return tuple(f"{name}_l{layer}{suffix}" for name in parameters)


def require_mapping(name: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a mapping of names, got {type(given).__name__}")


# A step takes microseconds: good arguments have a short way through the next three.


def layer_input(name: str, value: npt.ArrayLike, axes: str, width: int, dtype: DType) -> Array:
    """Check an input of so many features, whose other sizes may be any.

    A batch of single steps, BI, may also be the step of one sequence alone, (width,).
    """
    array = value if type(value) is np.ndarray else as_array(name, value)
    shape = array.shape
    if (len(shape) == len(axes) and shape[-1] == width) or (axes == "BI" and shape == (width,)):
        good = array.dtype == dtype and array.flags.aligned
        return array if good else _converted(name, array, dtype)
    raise ValueError(f"{name} must have shape ({', '.join(axes[:-1])}, {width}), got {shape}")


def operand(name: str, value: npt.ArrayLike, shape: tuple[int, ...], dtype: DType) -> Array:
    """Check an array to read."""
    array = value if type(value) is np.ndarray else as_array(name, value)
    if array.shape == shape:
        good = array.dtype == dtype and array.flags.aligned
        return array if good else _converted(name, array, dtype)
    raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def layer_state(
    cell: Cell, value: Any, shape: tuple[int, ...], dtype: DType
) -> tuple[Array | None, ...]:
    """Check the state of a layer: an array, or a tuple of them where its cell has several."""
    names = cell.initial
    if value is None:
        return (None,) * len(names)
    if len(names) == 1:
        return (operand("state", value, shape, dtype),)
    if not isinstance(value, (tuple, list)) or len(value) != len(names):
        got = f"{len(value)} of them" if isinstance(value, (tuple, list)) else type(value).__name__
        raise TypeError(f"state must be a tuple ({', '.join(names)}), got {got}")
    parts = []
    for name, part in zip(names, value):  # noqa: B905 (the keyword costs a check)
        parts.append(operand(name, part, shape, dtype))
    return tuple(parts)


def _converted(name: str, array: Array, dtype: DType) -> Array:
    if native(array.dtype) != dtype:
        raise TypeError(f"{name} must be {dtype} as the layer is, got {array.dtype}")
    return array.astype(dtype)
