"""A recurrent layer in one direction, and back, which the functions of all cells run."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current
from embedrnn._cells import Cell
from embedrnn._sequences import Weights

Array = npt.NDArray[Any]
_Grads = TypeVar("_Grads")


def forward(
    cell: Cell,
    x: npt.ArrayLike,
    weights: tuple[npt.ArrayLike | None, ...],
    initial: tuple[npt.ArrayLike | None, ...],
    *,
    lengths: npt.ArrayLike | None,
    offsets: npt.ArrayLike | None,
    resets: npt.ArrayLike | None,
    reverse: bool,
    out: Array | None,
) -> tuple[Array, tuple[Array, ...]]:
    """Return the output and the last states of a cell with these weights.

    `weights` are weight_ih, weight_hh, bias_ih, bias_hh and the diagonals of the cell.
    `initial` has one of each state.
    """
    backwards = _check.flag("reverse", reverse)
    call = _check.recurrence(cell, x, weights, initial, lengths, offsets, resets, out)
    packed = current().pack(cell.name, *call.weights)
    packed.forward(
        call.x, call.rows, call.resets, call.initial, backwards, call.buffer, call.last, 0
    )
    return _check.deliver(call), tuple(map(itemgetter(0), call.last))


def vjp(
    cell: Cell,
    grads: Callable[..., _Grads],
    x: npt.ArrayLike,
    weights: tuple[npt.ArrayLike | None, ...],
    initial: tuple[npt.ArrayLike | None, ...],
    *,
    lengths: npt.ArrayLike | None,
    offsets: npt.ArrayLike | None,
    resets: npt.ArrayLike | None,
    reverse: bool,
) -> tuple[Array, tuple[Array, ...], Callable[..., _Grads]]:
    """Do as `forward`, and return the vector-Jacobian product behind that.

    `grads` makes a result of the gradients of x, of each weight and of each initial state.
    """
    backwards = _check.flag("reverse", reverse)
    call = _check.recurrence(cell, x, weights, initial, lengths, offsets, resets, None)
    packed, rows = current().pack(cell.name, *call.weights), call.rows
    tape = packed.new_tape(rows.pairs(call.x.shape))
    packed.forward(
        call.x, rows, call.resets, call.initial, backwards, call.buffer, call.last, 0, tape
    )
    # What backward reads is in the tape and in the packed cell: of the arrays, it needs the shapes.
    again, weights_read, dtype = call.resets, call.weights, call.x.dtype
    x_shape, outer, inner = call.x.shape, call.out.shape, call.last[0].shape
    given = [part is not None for part in call.initial]

    def backward(grad_output: npt.ArrayLike | None = None, grad_state: Any = None) -> _Grads:
        of_output = _check.cotangent("grad_output", grad_output, outer, dtype)
        of_last = _check.state_cotangents(cell, grad_state, inner[1:], dtype)
        of_x = np.zeros(x_shape, dtype)
        of_weights = zeros_like(weights_read)
        of_initial = tuple(np.empty(inner, dtype) for _ in given)
        packed.backward(
            rows, again, backwards, tape, of_output,
            tuple(None if part is None else part[None] for part in of_last), of_x, of_initial,
            of_weights, 0,
        )  # fmt: skip
        states = [part[0] if known else None for part, known in zip(of_initial, given, strict=True)]
        of_gates, of_diagonals = of_weights[:4], of_weights[4 : len(cell.parameters)]
        return grads(of_x, *of_gates, *states, *of_diagonals)

    return call.out, tuple(map(itemgetter(0), call.last)), backward


def zeros_like(weights: Weights) -> Weights:
    """Return zeros to add the gradients of the weights of a cell to."""
    weight_ih, weight_hh, *others = weights
    bias_ih, bias_hh, diagonal = (
        None if part is None else np.zeros(part.shape, part.dtype) for part in others
    )
    return (
        np.zeros(weight_ih.shape, weight_ih.dtype),
        np.zeros(weight_hh.shape, weight_hh.dtype),
        bias_ih,
        bias_hh,
        diagonal,
    )
