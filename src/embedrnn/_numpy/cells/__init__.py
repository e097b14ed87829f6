"""What a step of each cell is: one file a cell, under the names of the table of cells."""

from collections.abc import Callable

from embedrnn._numpy.cells.gru import Gru, GruResetBefore
from embedrnn._numpy.cells.lstm import Lstm, LstmPeephole
from embedrnn._numpy.cells.rnn import RnnRelu, RnnReluLeaky, RnnTanh, RnnTanhLeaky
from embedrnn._numpy.cells.step import Affine, AffineGrads, Array, State, Step

STEPS: dict[str, Callable[[Affine, Affine, Array], Step]] = {
    "rnn_tanh": RnnTanh,
    "rnn_relu": RnnRelu,
    "rnn_tanh_leaky": RnnTanhLeaky,
    "rnn_relu_leaky": RnnReluLeaky,
    "gru": Gru,
    "gru_reset_before": GruResetBefore,
    "lstm": Lstm,
    "lstm_peephole": LstmPeephole,
}

__all__ = ["STEPS", "Affine", "AffineGrads", "State", "Step"]
