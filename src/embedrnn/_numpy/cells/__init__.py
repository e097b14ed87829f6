"""What a step of each cell is: one file a cell, under the names of the table of cells."""

from collections.abc import Callable

from embedrnn._numpy.cells.gru import gru, gru_reset_before
from embedrnn._numpy.cells.lstm import lstm
from embedrnn._numpy.cells.rnn import rnn_relu, rnn_tanh
from embedrnn._numpy.cells.step import Advance, Affine

STEPS: dict[str, Callable[[Affine, Affine], Advance]] = {
    "rnn_tanh": rnn_tanh,
    "rnn_relu": rnn_relu,
    "gru": gru,
    "gru_reset_before": gru_reset_before,
    "lstm": lstm,
}

__all__ = ["STEPS", "Advance", "Affine"]
