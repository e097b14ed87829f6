"""rnn_forward against the NumPy loop, and padding against valid steps."""

from collections.abc import Callable
from operator import attrgetter

import pytest

from cells import Cell, cells_of
from peers import OURS


@pytest.mark.parametrize("name", [OURS, "NumPy loop"])
@pytest.mark.parametrize("cell", cells_of("rnn_forward"), ids=attrgetter("shape"))
def bench_rnn_forward(race: Callable[[Cell, str], None], cell: Cell, name: str) -> None:
    race(cell, name)


@pytest.mark.parametrize("name", [OURS, "all steps valid"])
@pytest.mark.parametrize("cell", cells_of("rnn_padding"), ids=attrgetter("shape"))
def bench_rnn_padding(race: Callable[[Cell, str], None], cell: Cell, name: str) -> None:
    race(cell, name)
