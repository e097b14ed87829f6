"""Recurrent nodes of ONNX in the evaluator of its package, which has no other way to be fast."""

from dataclasses import replace
from functools import partial
from importlib.util import find_spec

from embedrnn.bench.cells.cell import Cell, Goal, Operation
from embedrnn.bench.cells.recurrent import GATES, full
from embedrnn.bench.workloads import sequences

GRU = Operation(
    "onnx_gru",
    "fma_flops",
    lambda work: work.flops,
    tolerance=1e-5,
    goals={1: Goal(3, 3)},
)
BILSTM = replace(GRU, name="onnx_bilstm", work=lambda work: 2 * work.flops)


def _cell(operation: Operation, kind: str, batch: int, steps: int, width: int, hidden: int) -> Cell:
    return Cell(
        "onnx",
        operation,
        f"B {batch}, T {steps:,}, I {width}, H {hidden}",
        partial(sequences, full(batch, steps), steps, width, hidden, GATES[kind]),
    )


# Ten seconds of sound as a denoiser reads it, and sentences as a tagger does; without the package
# there is nothing to run them in.
ONNX_CELLS = [
    _cell(GRU, "gru", 1, 1_000, 400, 400),
    _cell(GRU, "gru", 1, 1_000, 600, 600),
    _cell(BILSTM, "lstm", 1, 100, 200, 50),
    _cell(BILSTM, "lstm", 16, 20, 256, 256),
] * (find_spec("onnx") is not None)  # fmt: skip
