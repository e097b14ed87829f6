"""gather and scatter_add against NumPy."""

from collections.abc import Callable
from operator import attrgetter

import pytest

from cells import Cell, cells_of
from peers import OURS


@pytest.mark.parametrize("name", [OURS, "np.take", "table[ids]"])
@pytest.mark.parametrize("cell", cells_of("gather"), ids=attrgetter("shape"))
def bench_gather(race: Callable[[Cell, str], None], cell: Cell, name: str) -> None:
    race(cell, name)


@pytest.mark.parametrize("name", [OURS, "np.take", "np.take clip"])
@pytest.mark.parametrize("cell", cells_of("gather_out"), ids=attrgetter("shape"))
def bench_gather_out(race: Callable[[Cell, str], None], cell: Cell, name: str) -> None:
    race(cell, name)


@pytest.mark.parametrize("name", [OURS, "np.add.at"])
@pytest.mark.parametrize("cell", cells_of("scatter_add"), ids=attrgetter("shape"))
def bench_scatter_add(race: Callable[[Cell, str], None], cell: Cell, name: str) -> None:
    race(cell, name)
