"""Rules of a stream of sequences: any iterable, each of whose items is one sequence of indices."""

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from embedrnn._check.array_like import as_array
from embedrnn._check.options import flag, shown
from embedrnn._check.rows import Indices


def stream(name: str, value: Iterable[Any]) -> Iterator[Any]:
    """Return an iterator over what is iterable."""
    try:
        return iter(value)
    except TypeError:
        raise TypeError(
            f"{name} must be an iterable of sequences, got {type(value).__name__}"
        ) from None


def streamed(name: str, number: int, value: Any) -> Indices:
    """Return a sequence of a stream, the one of this number, as an array of our own.

    A stream may write each of its sequences to the same memory.
    """
    if type(value) is np.ndarray and value.ndim == 1 and value.dtype.kind in "iu":
        return value.copy()  # a short way for what is plain: there may be millions
    name = f"{name}[{number}]"
    array = as_array(name, value)
    if array.shape == (0,) and not isinstance(value, np.ndarray):
        return np.empty(0, np.intp)  # an empty list has no dtype of its own
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be a sequence of integers, got {_what(value, array)}")
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (T,), got {array.shape}")
    return array.copy()


def _what(value: Any, array: Any) -> str:
    return shown(value) if array.ndim == 0 else str(array.dtype)


def bar_of(progress: Any) -> Any:
    """Return the class of a progress bar, None if there is to be none."""
    if not flag("progress", progress):
        return None
    try:
        return importlib.import_module("tqdm").tqdm
    except ImportError:
        raise ImportError("progress=True needs tqdm: pip install tqdm") from None
