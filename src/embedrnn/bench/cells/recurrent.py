"""The recurrent cells over padded sequences.

Not every product of sizes, but each size that matters in some cell: widths that are multiples of a
vector and not, batches from one row to many, weights in the first cache, the second, the third;
lengths all full, even between 1/8 and 1, and spread as those of real sentences.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from embedrnn.bench.cells.cell import Cell, Goal, Operation
from embedrnn.bench.peak import cache_bytes
from embedrnn.bench.workloads import (
    Array,
    Sequences,
    lengths_between,
    lengths_of_sentences,
    sequences,
)

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
MANY = {"rnn": Goal(2.5, 1.5), "gru": Goal(2.2, 1.5), "lstm": Goal(1.8, 1.2)}
FEW = Goal(1.3, 1.0)
# Half of the steps valid: at most 0.55 of the time.
PADDING = Goal(1 / 0.55, 1 / 0.55)


def full(batch: int, steps: int) -> Array:
    """Return lengths that leave no padding."""
    return lengths_between(steps, steps, batch)


def even(batch: int, steps: int) -> Array:
    """Return lengths from an eighth of the steps to all of them."""
    return lengths_between(steps // 8, steps, batch)


def half(batch: int, steps: int) -> Array:
    """Return lengths that leave half of the steps to padding."""
    return lengths_between(steps // 8, steps - steps // 8, batch)


_KINDS: dict[Callable[[int, int], Array], str] = {
    full: "",
    half: ", half of the steps valid",
    even: ", lengths T/8 to T",
    lengths_of_sentences: ", lengths of sentences",
}

# B, T, I, H, lengths
Shape = tuple[int, int, int, int, Callable[[int, int], Array]]
MANY_ROWS: list[Shape] = [
    (8, 64, 128, 128, full),
    (8, 128, 128, 256, lengths_of_sentences),
    (20, 50, 100, 100, lengths_of_sentences),
    (20, 50, 200, 200, even),
    (32, 64, 48, 48, lengths_of_sentences),
    (32, 128, 128, 128, even),
    (32, 128, 128, 128, full),
    (32, 32, 300, 650, lengths_of_sentences),
    (32, 32, 512, 512, even),
    (64, 64, 256, 256, lengths_of_sentences),
    (256, 16, 300, 128, even),
    (8, 16, 1024, 1024, full),
    (32, 16, 1024, 1024, even),
]
FEW_ROWS: list[Shape] = [
    (1, 128, 48, 48, full),
    (1, 256, 128, 128, full),
    (1, 64, 256, 256, full),
    (1, 64, 512, 512, full),
    (1, 32, 1024, 1024, full),
    (2, 128, 128, 128, full),
    (2, 64, 300, 650, even),
    (2, 32, 512, 512, full),
]


def _operation(cell: str, name: str, goal: Goal | None, **options: Any) -> Operation:
    goals: Mapping[int, Goal] = {} if goal is None else {1: goal, 2: goal}
    return Operation(
        f"{cell}_{name}",
        options.pop("limit", "fma_flops"),
        options.pop("work", lambda work: work.flops),
        tolerance=1e-5,
        goals=goals,
        **options,
    )


def reads(work: Sequences) -> float:
    """Return the bytes of recurrent weights that one sequence after another step must read."""
    return float(work.weight_hh.nbytes * work.lengths.max())


def all_reads(work: Sequences) -> float:
    """Return the bytes of weights that one step reads, which at one row takes longest."""
    return float(work.weight_ih.nbytes + work.weight_hh.nbytes)


def reads_from(work: Sequences) -> str:
    """Name the cache that holds the recurrent weights."""
    in_second = work.weight_hh.nbytes <= cache_bytes(2)
    return "l2_bytes" if in_second else "l3_bytes"


def recurrent_cell(group: str, operation: Operation, gates: int, shape: Shape) -> Cell:
    """Return the cell of one shape."""
    batch, steps, width, hidden, lengths = shape
    return Cell(
        group,
        operation,
        f"B {batch}, T {steps}, I {width}, H {hidden}{_KINDS[lengths]}",
        partial(sequences, lengths(batch, steps), steps, width, hidden, gates),
    )


def _cells(cell: str) -> list[Cell]:
    gates, forward = GATES[cell], f"{cell}_forward"
    cell_of = partial(recurrent_cell, "recurrent")
    many = _operation(cell, "forward", MANY[cell])
    few = _operation(cell, "few_rows", FEW, limit=reads_from, work=reads, contest=forward)
    padding = _operation(cell, "padding", PADDING)
    step = _operation(cell, "step", FEW)
    one_row = _operation(cell, "step", FEW, limit="l2_bytes", work=all_reads)
    return [
        *(cell_of(many, gates, shape) for shape in MANY_ROWS),
        *(cell_of(few, gates, shape) for shape in FEW_ROWS),
        cell_of(padding, gates, (32, 128, 128, 128, half)),
        cell_of(one_row, gates, (1, 1, 128, 128, full)),
        cell_of(step, gates, (32, 1, 128, 128, full)),
    ]


RECURRENT_CELLS = [cell for kind in GATES for cell in _cells(kind)]
