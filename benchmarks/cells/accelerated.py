"""Models of PyTorch that are told to run here: the layers of packages that many people install.

All contestants are the same module with the same input, which PyTorch has packed where lengths
vary. Padded, it computes the padding too, and only layers of one direction have the answers of the
valid steps then. The last cell is what a call costs beside that of our own layer on arrays.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

from embedrnn.bench.cells.cell import Cell, Goal, Operation
from embedrnn.bench.cells.recurrent import full
from embedrnn.bench.workloads import Array, lengths_of_sentences
from stacks import stack


class User(NamedTuple):
    """A package, its layers, and the batches that it gives them."""

    name: str
    cell: str
    num_layers: int
    directions: int
    width: int
    hidden: int
    batch: int
    steps: int
    lengths: Callable[[int, int], Array] = full

    @property
    def contest(self) -> str:
        """Return which routes of PyTorch have the right answers."""
        if self.lengths is full:
            return "full"
        return "varying" if self.directions == 1 else "packed"

    @property
    def shape(self) -> str:
        """Return what the report says."""
        stacked = f" x{self.num_layers}" if self.num_layers > 1 else ""
        both = " both ways" if self.directions > 1 else ""
        varies = "" if self.lengths is full else ", lengths vary"
        return (
            f"{self.name}: {self.cell.upper()} {self.width} -> {self.hidden}{stacked}{both}, "
            f"B {self.batch}, T {self.steps}{varies}"
        )


USERS = [
    User("pyannote", "lstm", 4, 2, 60, 128, 8, 589),
    User("easyocr", "lstm", 1, 2, 512, 256, 1, 100),
    User("stanza", "lstm", 2, 2, 200, 200, 64, 64, lengths_of_sentences),
    User("flair", "lstm", 1, 2, 300, 256, 32, 64, lengths_of_sentences),
    User("DeLFT", "lstm", 1, 2, 350, 100, 20, 64, lengths_of_sentences),
    User("darts", "gru", 1, 1, 3, 25, 32, 24),
    User("gluonts", "lstm", 2, 1, 20, 40, 64, 100),
    User("DKT", "lstm", 1, 1, 200, 200, 64, 100, lengths_of_sentences),
    User("GRU4Rec", "gru", 1, 1, 100, 100, 128, 20, lengths_of_sentences),
    User("medaka", "gru", 2, 2, 10, 128, 8, 500),
    User("SMILES", "lstm", 3, 1, 128, 512, 128, 1),
]
_ONE_STEP = User("one step", "lstm", 1, 1, 8, 8, 1, 1)


def _operation(name: str, passes: int, contest: str, goal: Goal | None) -> Operation:
    def flops(work: Any) -> float:
        return float(passes * work.flops)

    return Operation(
        f"accelerated_{name}",
        "fma_flops",
        flops,
        tolerance=1e-5 if passes == 1 else 1e-4,
        goals={} if goal is None else {1: goal, 2: goal},
        contest=f"accelerated_{name}_{contest}",
    )


def _cell(user: User, operation: Operation) -> Cell:
    lengths = user.lengths(user.batch, user.steps)
    make = partial(
        stack, user.cell, user.num_layers, user.directions, user.width, user.hidden, user.steps,
        lengths,
    )  # fmt: skip
    return Cell("accelerated", operation, user.shape, make)


def _cells() -> Iterator[Cell]:
    for user in USERS:
        yield _cell(user, _operation("forward", 1, user.contest, Goal(2.1, 1)))
    for user in USERS:
        yield _cell(user, _operation("training", 3, user.contest, Goal(2.5, 1)))
    yield _cell(_ONE_STEP, _operation("call", 1, "full", None))


ACCELERATED_CELLS = list(_cells()) if find_spec("torch") else []
