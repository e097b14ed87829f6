"""The table of recurrent cells, under the names that both backends know them by."""

from typing import NamedTuple


class Cell(NamedTuple):
    """A recurrent cell.

    `gates` has a letter for each, in the order that they have in the weights, and PyTorch's names:
    n and g are candidates. `states` are what a row has before and after a step, the hidden state,
    which is the output too, first; `initial` are their names before the first step. The last
    `inner` gates keep their recurrent bias within the step, beside the recurrent product.
    """

    name: str
    gates: str
    states: tuple[str, ...]
    initial: tuple[str, ...]
    inner: int


def _cell(name: str, gates: str, *states: str, inner: int = 0) -> Cell:
    return Cell(name, gates, states, tuple(f"{state}_0" for state in states), inner)


CELLS = {
    cell.name: cell
    for cell in (
        _cell("rnn_tanh", "n", "h"),
        _cell("rnn_relu", "n", "h"),
        _cell("gru", "rzn", "h", inner=1),
        _cell("gru_reset_before", "rzn", "h"),
        _cell("lstm", "ifgo", "h", "c"),
    )
}


def rnn_cell(nonlinearity: str) -> Cell:
    """Return the Elman cell of a nonlinearity, tanh or relu."""
    return CELLS[f"rnn_{nonlinearity}"]


def gru_cell(reset_after: bool) -> Cell:
    """Return the GRU whose reset gate meets the state after or before the product."""
    return CELLS["gru" if reset_after else "gru_reset_before"]


LSTM_CELL = CELLS["lstm"]
