"""Rules of the recurrent cells."""

from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from embedrnn._check.arrays import (
    FLOATS,
    Array,
    apart,
    as_native,
    behaved,
    require_output,
    require_shape,
)


class Recurrence(NamedTuple):
    """The checked arguments that every recurrent cell has; `buffer` as in `Gather`."""

    x: Array
    weight_ih: Array
    weight_hh: Array
    bias_ih: Array | None
    bias_hh: Array | None
    lengths: npt.NDArray[np.int64] | None
    h_0: Array | None
    c_0: Array | None
    out: Array
    buffer: Array
    h_n: Array


def recurrence(
    x: npt.ArrayLike,
    weight_ih: npt.ArrayLike,
    weight_hh: npt.ArrayLike,
    bias_ih: npt.ArrayLike | None,
    bias_hh: npt.ArrayLike | None,
    lengths: npt.ArrayLike | None,
    h_0: npt.ArrayLike | None,
    out: Array | None,
    *,
    gates: int = 1,
    c_0: npt.ArrayLike | None = None,
) -> Recurrence:
    """Check the arguments of a recurrent cell with so many gates."""
    sequence = np.asarray(x)
    if sequence.ndim != 3:
        raise ValueError(f"x must have shape (B, T, I), got {sequence.shape}")
    dtype = sequence.dtype if sequence.dtype.isnative else sequence.dtype.newbyteorder("=")
    if dtype not in FLOATS:
        raise TypeError(f"x must be float32 or float64, got {sequence.dtype}")
    batch, time, width = sequence.shape
    options = {"bias_ih": bias_ih, "bias_hh": bias_hh, "h_0": h_0, "c_0": c_0}
    given = {"weight_ih": np.asarray(weight_ih), "weight_hh": np.asarray(weight_hh)}
    given |= {name: np.asarray(value) for name, value in options.items() if value is not None}
    for name, array in given.items():
        if array.dtype is not dtype and array.dtype.newbyteorder("=") != dtype:
            raise TypeError(f"{name} must be {dtype} as x is, got {array.dtype}")
    hidden = given["weight_hh"].shape[0] // gates if given["weight_hh"].ndim else 0

    def operand(name: str, *shape: int) -> Array:
        require_shape(name, given[name], shape)
        return apart(as_native(given[name], dtype), out)

    def optional(name: str, *shape: int) -> Array | None:
        return operand(name, *shape) if name in given else None

    recurrent = operand("weight_hh", gates * hidden, hidden)
    if out is not None:
        require_output("out", out, (batch, time, hidden), dtype)
    fresh = out is None or not behaved(out)
    output = np.empty((batch, time, hidden), dtype) if fresh else cast("Array", out)
    return Recurrence(
        apart(as_native(sequence, dtype), out),
        operand("weight_ih", gates * hidden, width),
        recurrent,
        optional("bias_ih", gates * hidden),
        optional("bias_hh", gates * hidden),
        None if lengths is None else apart(lengths_of(lengths, batch, time), out),
        optional("h_0", batch, hidden),
        optional("c_0", batch, hidden),
        output if out is None else out,
        output,
        np.empty((batch, hidden), dtype),
    )


def lengths_of(lengths: npt.ArrayLike, batch: int, time: int) -> npt.NDArray[np.int64]:
    # A copy of our own: another thread may write to the caller's once it is checked.
    array = np.array(lengths)
    require_shape("lengths", array, (batch,))
    if array.dtype.kind not in "iu" and batch:
        raise TypeError(f"lengths must be integers, got {array.dtype}")
    outside = (array < 0) | (array > time)
    if outside.any():
        first = int(outside.argmax())
        raise ValueError(f"lengths[{first}] must be between 0 and {time}, got {array[first]}")
    return array.astype(np.int64, copy=False)
