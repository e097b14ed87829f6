"""What a step of each cell is: one file a cell, under the names of the table of cells."""

from collections.abc import Callable

from embedrnn._numpy.cells.gru import Gru, GruResetBefore
from embedrnn._numpy.cells.lstm import Lstm
from embedrnn._numpy.cells.rnn import RnnRelu, RnnTanh
from embedrnn._numpy.cells.step import Affine, AffineGrads, State, Step

STEPS: dict[str, Callable[[Affine, Affine], Step]] = {
    "rnn_tanh": RnnTanh,
    "rnn_relu": RnnRelu,
    "gru": Gru,
    "gru_reset_before": GruResetBefore,
    "lstm": Lstm,
}

__all__ = ["STEPS", "Affine", "AffineGrads", "State", "Step"]
