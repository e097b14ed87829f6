"""Training: forward and backward of the recurrent cells, and a step of an optimiser.

The recurrent cells are those of the forward pass; every answer is the gradients of x, the weights
and the biases.
"""

from functools import partial

from embedrnn.bench.cells.cell import Cell, Goal, Operation
from embedrnn.bench.cells.recurrent import FEW_ROWS, GATES, MANY_ROWS, full, recurrent_cell
from embedrnn.bench.workloads import Rows, Sequences, rows, zipf_ids

VARYING = {"rnn": Goal(3.5, 2), "gru": Goal(3.5, 2), "lstm": Goal(3.2, 2)}
FULL = {"rnn": Goal(3.5, 2), "gru": Goal(3.5, 2), "lstm": Goal(1.25, 1)}


def flops(work: Sequences) -> float:
    """Return those of three passes: forward, back to the inputs, and back to the weights."""
    return 3 * work.flops


def _operation(cell: str, name: str, goal: Goal | None) -> Operation:
    return Operation(
        f"{cell}_{name}",
        "fma_flops",
        flops,
        tolerance=2e-5,
        goals={} if goal is None else {1: goal},
        contest=f"{cell}_training",
    )


def _cells(cell: str) -> list[Cell]:
    varying = _operation(cell, "training", VARYING[cell])
    whole = _operation(cell, "training_full", FULL[cell])
    few = _operation(cell, "training_few_rows", None)
    many = [(whole if shape[-1] is full else varying, shape) for shape in MANY_ROWS]
    cells = [*many, *((few, shape) for shape in FEW_ROWS)]
    return [recurrent_cell("training", operation, GATES[cell], shape) for operation, shape in cells]


def bytes_of_adam(work: Rows) -> float:
    """Return those of each distinct row and its two moments, read and written, and of the updates.

    The updates are read once to be summed, and their sums are written and read.
    """
    return work.row_bytes + (6 + 2) * work.distinct_bytes


# Where a gradient is next to nothing it shows that SparseAdam adds eps before the correction.
_ADAM = Operation(
    "adam_step", "copy_bytes", bytes_of_adam, tolerance=1e-4, goals={1: Goal(4, 4), 2: Goal(4, 4)}
)

TRAINING_CELLS = [
    *(cell for kind in GATES for cell in _cells(kind)),
    Cell(
        "training",
        _ADAM,
        "1,000,000 x 64, 16,384 Zipf ids",
        partial(rows, 1_000_000, 64, (16_384,), zipf_ids),
        large=True,
    ),
]
