"""The table of recurrent cells, under the names that both backends know them by."""

from typing import NamedTuple


class Cell(NamedTuple):
    """A recurrent cell.

    `gates` has a letter for each, in the order that they have in the weights, and PyTorch's names:
    n and g are candidates. `states` are what a row has before and after a step, the hidden state,
    which is the output too, first; `initial` are their names before the first step. The last
    `inner` gates keep their recurrent bias within the step, beside the recurrent product.
    `parameters` are named in the order that backends take them in; behind the weights and biases of
    the gates there may be `diagonals` for each unit, which meet states unit by unit.
    """

    name: str
    gates: str
    states: tuple[str, ...]
    initial: tuple[str, ...]
    inner: int
    parameters: tuple[str, ...]
    diagonals: int


# Those of the gates, which every cell has.
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _cell(name: str, gates: str, *states: str, inner: int = 0, **diagonals: int) -> Cell:
    initial = tuple(f"{state}_0" for state in states)
    return Cell(
        name, gates, states, initial, inner, (*WEIGHTS, *diagonals), sum(diagonals.values())
    )


CELLS = {
    cell.name: cell
    for cell in (
        _cell("rnn_tanh", "n", "h"),
        _cell("rnn_relu", "n", "h"),
        _cell("rnn_tanh_leaky", "n", "h", leak=1),
        _cell("rnn_relu_leaky", "n", "h", leak=1),
        _cell("gru", "rzn", "h", inner=1),
        _cell("gru_reset_before", "rzn", "h"),
        _cell("lstm", "ifgo", "h", "c"),
        _cell("lstm_peephole", "ifgo", "h", "c", weight_ch=3),
    )
}


def rnn_cell(nonlinearity: str, leaky: bool) -> Cell:
    """Return the Elman cell of a nonlinearity, tanh or relu, whose units may be leaky."""
    return CELLS[f"rnn_{nonlinearity}_leaky" if leaky else f"rnn_{nonlinearity}"]


def gru_cell(reset_after: bool) -> Cell:
    """Return the GRU whose reset gate meets the state after or before the product."""
    return CELLS["gru" if reset_after else "gru_reset_before"]


def lstm_cell(peepholes: bool) -> Cell:
    """Return the LSTM whose gates see the cell state, or not."""
    return CELLS["lstm_peephole" if peepholes else "lstm"]
