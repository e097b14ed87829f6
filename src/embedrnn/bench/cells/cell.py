"""What a cell is, and how one is entered and checked."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embedrnn.bench.peers import OURS, Contestant, Entry, Failed, contestants, raise_it
from embedrnn.bench.workloads import Array

# The noise of a shared machine is the less, the longer a call.
_SAMPLES_OF_LONG = 3


@dataclass(frozen=True)
class Goal:
    """Aims for the ratio of the best peer's time to ours, over the cells of an operation."""

    mean: float  # geometric, over the cells
    worst: float  # in any cell


@dataclass(frozen=True)
class Operation:
    """How the work of one call is counted, what limits it, and how closely answers must agree."""

    name: str
    limit: str | Callable[[Any], str]  # a field of limits.Limits, or which one a workload has
    work: Callable[[Any], float]  # bytes moved or floating-point operations, padding left out
    tolerance: float  # relative to the largest magnitude of the answer; 0: bit for bit
    goals: Mapping[int, Goal] = field(default_factory=dict)  # by number of threads
    contest: str = ""  # what the contestants are entered under; the name if empty

    def check(self, got: Array, want: Array) -> None:
        """Raise AssertionError unless the answers agree."""
        scale = float(np.abs(want).max(initial=0))
        np.testing.assert_allclose(got, want, rtol=0, atol=self.tolerance * scale)


@dataclass(frozen=True, eq=False)
class Cell:
    """One line of the report."""

    group: str
    operation: Operation
    shape: str
    make: Callable[[], Any]
    large: bool = False  # takes seconds to make and to check
    long: bool = False  # one call takes seconds

    def __str__(self) -> str:
        return f"{self.operation.name} {self.shape}"

    def samples(self, wanted: int) -> int:
        """Return how many samples are taken where so many are wanted."""
        return min(wanted, _SAMPLES_OF_LONG) if self.long else wanted

    def contestants(self) -> dict[str, Entry]:
        """Return everyone here who can do this, ours first."""
        return contestants(self.operation.contest or self.operation.name)

    def enter(
        self,
        work: Any,
        threads: int,
        chosen: Collection[str] | None = None,
        failed: Failed = raise_it,
    ) -> dict[str, Contestant]:
        """Set up ours and those that are chosen, by their own names or those of their libraries.

        Each runs once, and its answer is compared with ours: a wrong answer has no speed.
        """
        others = self.contestants().copy()
        ours = others.pop(OURS).factory(work, threads)
        want = ours.answer(ours.run())
        entrants = {OURS: ours}
        for name, entry in others.items():
            if chosen is None or name in chosen or entry.library in chosen:
                try:
                    entrants[name] = self._checked(entry.factory(work, threads), want)
                except Exception as error:  # whatever a library has to say
                    failed(name, error)
        return entrants

    def _checked(self, entrant: Contestant, want: Array) -> Contestant:
        self.operation.check(entrant.answer(entrant.run()), want)
        return entrant
