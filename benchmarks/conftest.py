"""What the pytest-benchmark files share: one thread, checked answers, config() beside each time."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import embedrnn as er
from cells import Cell
from peers import OURS, contestants
from threads import pinned


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with pinned(1):
        yield


@pytest.fixture
def race(benchmark: BenchmarkFixture) -> Callable[[Cell, str], None]:
    """Return a function that checks one contestant of a cell against ours, then times it."""

    def run(cell: Cell, name: str) -> None:
        work = workload(cell)
        contest = contestants(cell.operation.contest or cell.operation.name)
        entrants = {who: contest[who](work, 1) for who in (OURS, name)}
        cell.check(entrants)
        benchmark.group = str(cell)
        benchmark.extra_info.update(er.config())
        benchmark(entrants[name].run)

    return run


@lru_cache(maxsize=1)
def workload(cell: Cell) -> Any:
    """Draw a cell's inputs once for all its contestants, which follow one another."""
    return cell.make()
