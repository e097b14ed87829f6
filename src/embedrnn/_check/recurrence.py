"""Rules of the recurrent cells."""

import numbers
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from embedrnn._cells import Cell
from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import (
    FLOATS,
    apart,
    as_native,
    behaved,
    native,
    require_output,
    require_shape,
)
from embedrnn._check.options import share
from embedrnn._check.ragged import resets_of, rows_of
from embedrnn._check.sequences import sequences
from embedrnn._sequences import Rows, Weights

DType = np.dtype[Any]


class Recurrence(NamedTuple):
    """The checked arguments of a recurrent cell; `buffer` as in `Gather`.

    States are (1, B, H): of a stack of one.
    """

    x: Array
    weights: Weights
    rows: Rows
    resets: Array | None
    initial: tuple[Array | None, ...]
    out: Array
    buffer: Array
    last: tuple[Array, ...]


def recurrence(
    cell: Cell,
    x: npt.ArrayLike,
    weights: tuple[npt.ArrayLike | None, ...],
    initial: tuple[npt.ArrayLike | None, ...],
    lengths: npt.ArrayLike | None,
    offsets: npt.ArrayLike | None,
    resets: npt.ArrayLike | None,
    out: Array | None,
) -> Recurrence:
    """Check the arguments of a recurrent cell."""
    if type(x) is not np.ndarray or x.ndim == 1:
        x, offsets = sequences(x, lengths, offsets)
    _require_axes(x, offsets)
    dtype = native(x.dtype)
    if dtype not in FLOATS:
        raise TypeError(f"x must be float32 or float64, got {x.dtype}")
    given = weights[1]
    weight_hh = given if type(given) is np.ndarray else as_array("weight_hh", given)
    gates = len(cell.gates)
    hidden = weight_hh.shape[0] // gates if weight_hh.ndim else 0
    rows, outer = gates * hidden, (*x.shape[:-1], hidden)
    require_shape("weight_hh", weight_hh, (rows, hidden))  # which the other sizes come from
    laid_out = rows_of(x.shape, lengths, offsets)
    again = resets_of(resets, x.shape[:-1])
    batch = laid_out.batch
    if out is not None:
        require_output("out", out, outer, dtype)
    checked = (
        _operand("weight_ih", weights[0], (rows, x.shape[-1]), dtype, out),
        _operand("weight_hh", weight_hh, (rows, hidden), dtype, out),
        _optional("bias_ih", weights[2], (rows,), dtype, out),
        _optional("bias_hh", weights[3], (rows,), dtype, out),
        _diagonal(cell, weights[4], hidden, dtype, out),
    )
    fresh = out is None or not behaved(out)
    output = np.empty(outer, dtype) if fresh else cast("Array", out)
    before, last = [], []
    for name, value in zip(cell.initial, initial, strict=True):
        state = _optional(name, value, (batch, hidden), dtype, out)
        before.append(None if state is None else state[None])
        last.append(np.empty((1, batch, hidden), dtype))
    return Recurrence(
        apart(as_native(x, dtype), out),
        checked,
        laid_out,
        again,
        tuple(before),
        output if out is None else out,
        output,
        tuple(last),
    )


def _operand(
    name: str, value: npt.ArrayLike | None, shape: tuple[int, ...], dtype: DType, out: Array | None
) -> Array:
    array = value if type(value) is np.ndarray else as_array(name, value)
    if out is None and array.dtype is dtype and array.shape == shape and array.flags.aligned:
        return array  # good arguments have a short way: a call may take microseconds
    if array.dtype is not dtype and native(array.dtype) != dtype:
        raise TypeError(f"{name} must be {dtype} as x is, got {array.dtype}")
    require_shape(name, array, shape)
    return apart(as_native(array, dtype), out)


def _optional(
    name: str, value: npt.ArrayLike | None, shape: tuple[int, ...], dtype: DType, out: Array | None
) -> Array | None:
    return None if value is None else _operand(name, value, shape, dtype, out)


def _diagonal(
    cell: Cell, value: npt.ArrayLike | None, hidden: int, dtype: DType, out: Array | None
) -> Array | None:
    """Check the diagonals of a cell, if it has any; a number stands for that of every unit.

    Of these cells it is the leak: as a number a setting in (0, 1], as an array a parameter, whose
    values are looked at as little as those of any other.
    """
    if value is None:
        return None
    name = cell.parameters[-1]
    if cell.diagonals == 1 and _is_scalar(value):
        return np.full(hidden, share(name, value), dtype)
    return _operand(name, value, (cell.diagonals * hidden,), dtype, out)


def _is_scalar(value: Any) -> bool:
    """Whether this has no axes: a number, or what is checked as one."""
    shape = getattr(value, "shape", None)
    return isinstance(value, numbers.Number) if shape is None else shape == ()


def _require_axes(x: Array, offsets: npt.ArrayLike | None) -> None:
    if offsets is not None and x.ndim != 2:
        raise ValueError(f"x must have shape (N, I) where there are offsets, got {x.shape}")
    if offsets is None and x.ndim != 3:
        raise ValueError(f"x must have shape (B, T, I), got {x.shape}")
