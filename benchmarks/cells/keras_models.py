"""Models of Keras: an embedding that masks its padding, and recurrent layers on each other.

Keras runs on one backend in a process, the one that KERAS_BACKEND names.
"""

from functools import partial

from embedrnn.bench.cells.cell import Cell, Goal, Operation
from embedrnn.bench.cells.recurrent import GATES
from peers import contestants
from stacks import StackedModel, stacked_model

# Rows, steps, layers, H: text that is classified, one sentence, longer rows of a wider layer.
Shape = tuple[int, int, int, int]
SHAPES: list[Shape] = [(32, 80, 2, 128), (1, 40, 2, 64), (64, 200, 1, 256)]


def flops(work: StackedModel) -> float:
    """Return the floating-point operations of all products on valid steps."""
    return work.flops


def _cell(kind: str, shape: Shape) -> Cell:
    batch, steps, n_layers, hidden = shape
    operation = Operation(f"keras_{kind}", "fma_flops", flops, 1e-5, {1: Goal(11, 1)})
    return Cell(
        "keras",
        operation,
        f"B {batch}, T {steps}, {n_layers} x {hidden}, lengths T/8 to T",
        partial(stacked_model, kind, GATES[kind], batch, steps, n_layers, hidden),
    )


# None where Keras is not.
KERAS_CELLS = [
    _cell(kind, shape) for kind in ("gru", "lstm") if contestants("keras_lstm") for shape in SHAPES
]
