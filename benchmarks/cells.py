"""The cells: which operation, on which workload, and what is aimed at. A new cell is a row here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from peers import OURS, Contestant, contestants
from workloads import Array, lengths_between, rows, sequences, zipf_ids


@dataclass(frozen=True)
class Operation:
    """How the work of one call is counted, what limits it, and how closely answers must agree."""

    limit: str  # a field of limits.Limits
    work: Callable[[Any], int]  # bytes moved or floating-point operations, padding left out
    tolerance: float  # relative to the largest magnitude of the answer; 0: bit for bit

    def check(self, got: Array, want: Array) -> None:
        """Raise AssertionError unless the answers agree."""
        scale = float(np.abs(want).max(initial=0))
        np.testing.assert_allclose(got, want, rtol=0, atol=self.tolerance * scale)


# A gathered row is read and written; a scattered one is read, and its target is read and written.
_GATHER = Operation("copy_bytes", lambda work: 2 * work.row_bytes, tolerance=0)
_SCATTER = Operation("copy_bytes", lambda work: 3 * work.row_bytes, tolerance=1e-6)
_RECURRENT = Operation("sgemm_flops", lambda work: work.flops, tolerance=1e-5)

OPERATIONS = {
    "gather": _GATHER,
    "gather_out": _GATHER,
    "scatter_add": _SCATTER,
    "rnn_forward": _RECURRENT,
    "rnn_padding": _RECURRENT,
    "gru_forward": _RECURRENT,
    "lstm_forward": _RECURRENT,
}


@dataclass(frozen=True, eq=False)
class Cell:
    """One line of the report."""

    group: str
    operation: str
    shape: str
    make: Callable[[], Any]
    targets: Mapping[str, float] = field(default_factory=dict)  # see goal()

    def __str__(self) -> str:
        return f"{self.operation} {self.shape}"

    def goal(self, peer: str, threads: int) -> float | None:
        """Return how many times as long as ours the peer should take at least; for one thread."""
        return self.targets.get(peer) if threads == 1 else None

    def enter(self, work: Any, threads: int) -> dict[str, Contestant]:
        """Set up everyone who can do this, ours first."""
        factories = contestants(self.operation)
        return {name: factory(work, threads) for name, factory in factories.items()}

    def check(self, entrants: Mapping[str, Contestant]) -> None:
        """Run each once and compare its answer with ours: a wrong answer has no speed."""
        answers = {name: entrant.answer(entrant.run()) for name, entrant in entrants.items()}
        for answer in answers.values():
            OPERATIONS[self.operation].check(answer, answers[OURS])


def _row_cells(shape: str, make: Callable[[], Any], **targets: dict[str, float]) -> list[Cell]:
    operations = ("gather", "gather_out", "scatter_add")
    return [Cell("rows", name, shape, make, targets.get(name, {})) for name in operations]


CELLS = [
    *_row_cells(
        "(64, 128) ids, 30,000 x 128",
        lambda: rows(30_000, 128, (64, 128)),
        gather={"np.take": 1.3},
        gather_out={"np.take": 1.3},
        scatter_add={"np.add.at": 20},
    ),
    *_row_cells("(64, 128) Zipf ids, 30,000 x 128", lambda: rows(30_000, 128, (64, 128), zipf_ids)),
    *_row_cells("(16384,) ids, 1,000,000 x 64", lambda: rows(1_000_000, 64, (16384,))),
    Cell(
        "recurrent",
        "rnn_forward",
        "B 32, T 128, I 128, H 128, lengths 16 to 128",
        lambda: sequences(lengths_between(16, 128, 32), 128, 128, 128),
        {"NumPy loop": 2.5},
    ),
    Cell(
        "recurrent",
        "rnn_forward",
        "B 32, T 128, I 128, H 128, all steps valid",
        lambda: sequences(lengths_between(128, 128, 32), 128, 128, 128),
    ),
    Cell(
        "recurrent",
        "rnn_padding",
        "B 32, T 128, I 128, H 128, half of the steps valid",
        lambda: sequences(lengths_between(16, 112, 32), 128, 128, 128),
        {"all steps valid": 1 / 0.6},
    ),
    *(
        Cell(
            "recurrent",
            operation,
            "B 32, T 128, I 128, H 128, lengths 16 to 128",
            partial(sequences, lengths_between(16, 128, 32), 128, 128, 128, gates),
        )
        for operation, gates in (("gru_forward", 3), ("lstm_forward", 4))
    ),
]


def cells_of(operation: str) -> list[Cell]:
    """Return the cells of one operation."""
    return [cell for cell in CELLS if cell.operation == operation]
