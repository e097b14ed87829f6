"""The recurrent cells over padded sequences."""

from functools import partial

from cells.cell import Cell, Goal, Operation
from workloads import lengths_between, sequences


def _operation(name: str, goal: Goal) -> Operation:
    return Operation(name, "sgemm_flops", lambda work: work.flops, tolerance=1e-5, goals={1: goal})


RNN = _operation("rnn_forward", Goal(2.5, 1.5))
GRU = _operation("gru_forward", Goal(2.2, 1.5))
LSTM = _operation("lstm_forward", Goal(1.8, 1.2))
PADDING = _operation("rnn_padding", Goal(1 / 0.6, 1 / 0.6))

_SIZES = "B 32, T 128, I 128, H 128"

RECURRENT_CELLS = [
    *(
        Cell(
            "recurrent",
            operation,
            f"{_SIZES}, lengths 16 to 128",
            partial(sequences, lengths_between(16, 128, 32), 128, 128, 128, gates),
        )
        for operation, gates in ((RNN, 1), (GRU, 3), (LSTM, 4))
    ),
    Cell(
        "recurrent",
        RNN,
        f"{_SIZES}, all steps valid",
        lambda: sequences(lengths_between(128, 128, 32), 128, 128, 128),
    ),
    Cell(
        "recurrent",
        PADDING,
        f"{_SIZES}, half of the steps valid",
        lambda: sequences(lengths_between(16, 112, 32), 128, 128, 128),
    ),
]
