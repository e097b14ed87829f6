"""The cells of compare.py in pytest-benchmark: a group for each cell, a line for each contestant.

Cells that take long to set up and check are left to compare.py.
"""

from collections.abc import Mapping
from functools import lru_cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import embedrnn as er
from cells import CELLS
from embedrnn.bench.cells.cell import Cell
from embedrnn.bench.peers import Contestant
from embedrnn.bench.threads import pinned


def quick_cells() -> list[Cell]:
    """Return the cells that are not large, and the first of an operation that has no other."""
    quick = [cell for cell in CELLS if not cell.large]
    covered = {cell.operation.name for cell in quick}
    first = {cell.operation.name: cell for cell in reversed(CELLS)}
    return quick + [cell for name, cell in first.items() if name not in covered]


RACES = [(cell, name) for cell in quick_cells() for name in cell.contestants()]


# What a peer warns of does not make its answer wrong.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("cell", "name"), RACES, ids=str)
def bench_cell(benchmark: BenchmarkFixture, cell: Cell, name: str) -> None:
    benchmark.group = str(cell)
    benchmark.extra_info.update(er.config())
    with pinned(1):
        benchmark(checked(cell)[name].run)


@lru_cache(maxsize=1)
def checked(cell: Cell) -> Mapping[str, Contestant]:
    """Set up the contestants of a cell and compare their answers, once for all of its lines."""
    return cell.enter(cell.make(), 1)
