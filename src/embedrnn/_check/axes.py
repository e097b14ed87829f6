"""Rules of a gather along any axis."""

from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._check.array_like import Array
from embedrnn._check.arrays import apart, require_output
from embedrnn._check.options import choice, shown, whole
from embedrnn._check.rows import Indices, Table, index_error, integer_indices
from embedrnn._modes import MODES, first_outside, in_range


def along(weight: Table, axis: Any) -> tuple[Table, int]:
    """Return a table and its axis that is meant, counted from the first; None is one of all."""
    if not isinstance(weight, np.ndarray):
        if axis is None or _counted(axis, len(weight.shape)) != 0:
            raise ValueError(f"axis must be 0 where weight is QuantizedRows, got {shown(axis)}")
        return weight, 0
    if axis is None:
        return weight.reshape(-1), 0
    return weight, _counted(axis, max(weight.ndim, 1))  # a scalar is refused by the name of weight


def _counted(axis: Any, ndim: int) -> int:
    number = whole("axis", axis)
    if not -ndim <= number < ndim:
        raise np.exceptions.AxisError(
            f"axis must be in [{-ndim}, {ndim}), got {shown(number)}: weight has {ndim} "
            f"{'axis' if ndim == 1 else 'axes'}"
        )
    return number % ndim


def take(
    weight: Array, indices: npt.ArrayLike, axis: int, out: Array | None, mode: str
) -> tuple[Indices, Array]:
    """Check a gather along an axis of an array.

    Return the indices as `numpy.take` reads them, in [-size, size) of that axis and apart from what
    is written, and the array to fill.
    """
    ids = integer_indices(indices)
    choice("mode", mode, MODES)
    shape = weight.shape[:axis] + ids.shape + weight.shape[axis + 1 :]
    if out is None:
        out = np.empty(shape, weight.dtype)
    else:
        require_output("out", out, shape, weight.dtype)
    size = weight.shape[axis]
    bad = first_outside(ids, size, mode)
    if bad >= 0:
        raise index_error(
            ids, bad, f"axis {axis} of weight", size, strict=mode == "strict", unit="element"
        )
    return apart(in_range(ids, size, mode).astype(np.intp, copy=False), out), out
