"""Bags and coalesced gradients against NumPy and SciPy."""

from collections.abc import Callable

import pytest

from cells import Cell, cells_of
from peers import OURS, contestants


def races(operation: str) -> list[tuple[Cell, str]]:
    """Return each cell with each contestant here but the frameworks."""
    names = (OURS, "np.add.reduceat", "sort, np.add.reduceat", "CSR product")
    entered = [name for name in names if name in contestants(operation)]
    return [(cell, name) for cell in cells_of(operation) for name in entered]


@pytest.mark.parametrize(("cell", "name"), races("bag_sum"), ids=str)
def bench_bag_sum(race: Callable[[Cell, str], None], cell: Cell, name: str) -> None:
    race(cell, name)


@pytest.mark.parametrize(("cell", "name"), races("coalesce"), ids=str)
def bench_coalesce(race: Callable[[Cell, str], None], cell: Cell, name: str) -> None:
    race(cell, name)
