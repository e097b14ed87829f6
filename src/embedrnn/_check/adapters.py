"""Rules about what comes from other libraries and goes to them."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from embedrnn._check.array_like import Array
from embedrnn._check.arrays import is_half, is_number, native
from embedrnn._check.coalesce import require_rising, row_grad
from embedrnn._check.options import instance, size
from embedrnn._check.rows import Indices


def differentiated(name: str, value: Any) -> None:
    """Check an argument that has a gradient, which then has its shape and dtype."""
    instance(name, value, "an ndarray where it is differentiated", np.ndarray)
    if not is_number(value.dtype) or value.dtype.kind in "biu":
        raise TypeError(
            f"{name} must be of floating-point numbers where it is differentiated, got "
            f"{value.dtype}"
        )
    if not value.ndim:  # as a leak of all units may be, whose gradient is that of each
        raise ValueError(f"{name} must have an axis where it is differentiated, got shape ()")


def table_rows(grad: Any, num_embeddings: int) -> tuple[Indices, Array, int]:
    """Check a RowGrad that others are to read, in native byte order and each row in one piece."""
    rows, values = row_grad(grad.indices, grad.values)
    n_rows = size("num_embeddings", num_embeddings, least=0)
    require_rising("indices", rows, "a table", n_rows)
    wide, dtype = rows.astype(np.int64, copy=False), native(values.dtype)
    return wide, np.require(values, dtype, ["C_CONTIGUOUS", "ALIGNED"]), n_rows


def matrix_rows(grad: Any, num_embeddings: int) -> tuple[Indices, Array, int]:
    """Check a RowGrad of a matrix, whose rows SciPy is to hold as blocks."""
    rows, values, n_rows = table_rows(grad, num_embeddings)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"values must have shape (U, D) with columns, got {values.shape}")
    if is_half(values.dtype):
        raise TypeError(
            f"values must have a dtype that SciPy has, got {values.dtype}: give "
            "grad.astype('float32')"
        )
    return rows, values, n_rows


def sparse_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Check the shape of a sparse array whose rows are to be blocks."""
    if len(shape) != 2 or not shape[1]:
        raise ValueError(f"{name} must have shape (V, D) with columns, got {shape}")
    return shape


def sparse_tensor(name: str, layout: Any, expected: Any, axes: int) -> None:
    """Check the layout of a tensor, and how many of its axes are sparse."""
    if layout != expected:
        raise TypeError(f"{name} must have the layout {expected}, got {layout}")
    if axes != 1:
        raise ValueError(f"{name} must have one sparse axis, that of rows, got {axes}")


def keras_backend(name: str) -> str:
    """Check which backend Keras runs on."""
    if name not in {"numpy", "torch"}:
        raise RuntimeError(
            f"Keras must run on its backend 'numpy' or 'torch', got {name!r}: set the environment "
            "variable KERAS_BACKEND before it is imported"
        )
    return name


def keras_version(version: str, first: tuple[int, int], last: tuple[int, int]) -> None:
    """Check the version of Keras, whose layers change how they are called: warn of a later one."""
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    known = f"3.{first[1]} to 3.{last[1]}"
    if found < first:
        raise RuntimeError(f"Keras must be one of {known}, got {version}")
    if found > last:
        warnings.warn(
            f"this is known to work with Keras {known}, got {version}: compare what models return "
            "with and without it",
            RuntimeWarning,
            stacklevel=3,
        )


def keras_method(name: str, parameters: Sequence[str], expected: Sequence[str]) -> None:
    """Check how Keras calls a method of its own that is set here."""
    if list(parameters) != list(expected):
        raise RuntimeError(
            f"{name} of Keras must have the parameters {', '.join(expected)}, got "
            f"{', '.join(parameters)}"
        )


def three_axes(name: str, tensor: Any, kind: type) -> None:
    """Check what is to be padded sequences."""
    instance(name, tensor, "a torch.Tensor", kind)
    if tensor.ndim != 3:
        raise ValueError(f"{name} must have shape (B, T, I), got {tuple(tensor.shape)}")


def parts_of(name: str, value: Any, count: int, kind: type) -> tuple[Any, ...]:
    """Check a state of so many tensors, which is a tuple where they are several, or None."""
    if value is None:
        return ()
    if count == 1:
        value = (value,)
    elif not isinstance(value, (tuple, list)) or len(value) != count:
        raise TypeError(f"{name} must be a tuple of {count} tensors, got {type(value).__name__}")
    for part in value:
        instance(name, part, "a torch.Tensor" if count == 1 else "a tuple of tensors", kind)
    return tuple(value)


def only_value(name: str, value: Any, allowed: Any) -> None:
    """Check an option for what is so anyway."""
    if value != allowed:
        raise ValueError(f"{name} must be {allowed}: no other value has a meaning here")
