"""Rules of what a vector-Jacobian product of a recurrence is called with."""

from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._cells import Cell
from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import as_native, native, require_shape

DType = np.dtype[Any]


def cotangent(
    name: str, value: npt.ArrayLike | None, shape: tuple[int, ...], dtype: DType
) -> Array | None:
    """Check the gradient of what came out; None stands for zeros."""
    if value is None:
        return None
    array = as_array(name, value)
    require_shape(name, array, shape)
    if native(array.dtype) != dtype:
        raise TypeError(f"{name} must be {dtype} as the output is, got {array.dtype}")
    return as_native(array, dtype)


def state_cotangents(
    cell: Cell, value: Any, shape: tuple[int, ...], dtype: DType
) -> tuple[Array | None, ...]:
    """Check the gradient of the last state: a tuple where the cell has several, of which any may
    be None.
    """
    states = cell.states
    if value is None:
        return (None,) * len(states)
    if len(states) == 1:
        return (cotangent("grad_state", value, shape, dtype),)
    if not isinstance(value, (tuple, list)) or len(value) != len(states):
        got = f"{len(value)} of them" if isinstance(value, (tuple, list)) else type(value).__name__
        expected = ", ".join(f"{state}_n" for state in states)
        raise TypeError(f"grad_state must be a tuple, for ({expected}), got {got}")
    return tuple(
        cotangent(f"grad_state[{place}]", part, shape, dtype) for place, part in enumerate(value)
    )
