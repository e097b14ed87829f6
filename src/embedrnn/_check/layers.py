"""Rules of the layers: their sizes, their parameters, and what they are called with."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._check.arrays import FLOATS, Array

DType = np.dtype[Any]

_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def size(name: str, value: Any, least: int = 1) -> int:
    """Check a number of units, rows or layers."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{name} must be {least} or more, got {number}")
    return number


def float_dtype(dtype: npt.DTypeLike) -> DType:
    """Check the dtype of a layer."""
    found = np.dtype(dtype)
    if found not in FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {found}")
    return found


def parameter_names(layer: int, suffix: str) -> list[str]:
    """Return the names of the parameters of one layer and direction of a recurrent stack."""
    return [f"{name}_l{layer}{suffix}" for name in _PARAMETERS]


def new_parameters(
    owner: str, held: Mapping[str, Array], given: Mapping[str, npt.ArrayLike], *, whole: bool
) -> dict[str, Array]:
    """Return copies of the given parameters, or raise one error that names all that is wrong.

    They must have names, shapes and dtypes of those held; `whole` asks for every one of them.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"parameters must be a mapping of names, got {type(given).__name__}")
    arrays = {name: np.asarray(array) for name, array in given.items()}
    missing = [name for name in held if whole and name not in arrays]
    unexpected = [str(name) for name in arrays if name not in held]
    wrong = [f"missing {', '.join(missing)}"] if missing else []
    wrong += [f"unexpected {', '.join(unexpected)}"] if unexpected else []
    shared = [(name, held[name], arrays[name]) for name in held if name in arrays]
    wrong += [
        f"{name} must have shape {old.shape}, got {new.shape}"
        for name, old, new in shared
        if old.shape != new.shape
    ]
    dtypes = [
        f"{name} must be {old.dtype}, got {new.dtype}"
        for name, old, new in shared
        if old.dtype != new.dtype.newbyteorder("=")
    ]
    if wrong or dtypes:
        error = ValueError if wrong else TypeError
        raise error(f"parameters do not fit {owner}: {'; '.join(wrong + dtypes)}")
    return {name: np.array(new, old.dtype, order="C") for name, old, new in shared}


# A step takes microseconds: good arguments have a short way through the next three.


def layer_input(name: str, value: npt.ArrayLike, axes: str, width: int, dtype: DType) -> Array:
    """Check an input of so many features, whose other sizes may be any."""
    array = np.asarray(value)
    shape = array.shape
    if len(shape) == len(axes) and shape[-1] == width:
        good = array.dtype == dtype and array.flags.aligned
        return array if good else _converted(name, array, dtype)
    raise ValueError(f"{name} must have shape ({', '.join(axes[:-1])}, {width}), got {shape}")


def operand(name: str, value: npt.ArrayLike, shape: tuple[int, ...], dtype: DType) -> Array:
    """Check an array to read."""
    array = np.asarray(value)
    if array.shape == shape:
        good = array.dtype == dtype and array.flags.aligned
        return array if good else _converted(name, array, dtype)
    raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def lstm_state(value: Any, shape: tuple[int, ...], dtype: DType) -> tuple[Array, Array]:
    """Check the state of an LSTM."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        got = f"{len(value)} of them" if isinstance(value, (tuple, list)) else type(value).__name__
        raise TypeError(f"state must be a tuple (h_0, c_0), got {got}")
    h_0, c_0 = value
    return operand("h_0", h_0, shape, dtype), operand("c_0", c_0, shape, dtype)


def _converted(name: str, array: Array, dtype: DType) -> Array:
    if array.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{name} must be {dtype} as the layer is, got {array.dtype}")
    return array.astype(dtype)
