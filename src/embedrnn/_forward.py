"""A recurrent layer in one direction, which the functions of all cells run."""

from operator import itemgetter
from typing import Any

import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current
from embedrnn._cells import Cell

Array = npt.NDArray[Any]


def forward(
    cell: Cell,
    x: npt.ArrayLike,
    weights: tuple[npt.ArrayLike | None, ...],
    initial: tuple[npt.ArrayLike | None, ...],
    *,
    lengths: npt.ArrayLike | None,
    offsets: npt.ArrayLike | None,
    reverse: bool,
    out: Array | None,
) -> tuple[Array, tuple[Array, ...]]:
    """Return the output and the last states of a cell with these weights.

    `weights` are weight_ih, weight_hh, bias_ih and bias_hh, `initial` has one of each state.
    """
    backwards = _check.flag("reverse", reverse)
    call = _check.recurrence(cell, x, weights, initial, lengths, offsets, out)
    packed = current().pack(cell.name, *call.weights)
    rows = call.rows
    packed.forward(
        call.x, rows.lengths, rows.row_starts, rows.step_starts, call.initial, backwards,
        call.buffer, call.last, 0,
    )  # fmt: skip
    return _check.deliver(call), tuple(map(itemgetter(0), call.last))
