"""How far each contestant's float32 answer is from that of the specification in float64.

    python benchmarks/errors.py

It writes results/errors.json: for each cell the greatest difference of an element over the greatest
magnitude of the answer, by contestant. Errors depend on no clock, so one run is enough.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

import embedrnn as er
from cells import CELLS
from clone import describe
from embedrnn.bench.cells.cell import Cell
from embedrnn.bench.peers import OURS
from embedrnn.bench.results import in_lines
from embedrnn.bench.workloads import Array

RESULTS = Path(__file__).parent / "results"

# What sums long enough to tell, forward and back.
SHAPES = [
    ("forward", "B 32, T 128, I 128, H 128, lengths T/8 to T"),
    ("forward", "B 32, T 32, I 512, H 512, lengths T/8 to T"),
    ("training", "B 32, T 128, I 128, H 128, lengths T/8 to T"),
]
CHOSEN = {f"{kind}_{what} {shape}" for what, shape in SHAPES for kind in ("rnn", "gru", "lstm")}


def main() -> int:
    """Measure, print and store."""
    found = []
    for cell in (cell for cell in CELLS if str(cell) in CHOSEN):
        errors = errors_of(cell)
        found.append({"operation": cell.operation.name, "shape": cell.shape, "errors": errors})
        print(cell, *(f"  {name:<24} {error:.1e}" for name, error in errors.items()), sep="\n")
    (RESULTS / "errors.json").write_text(in_lines({"environment": describe(), "cells": found}))
    return 0


def errors_of(cell: Cell) -> dict[str, float]:
    """Return the error of each contestant in one cell."""
    work = cell.make()
    truth = answer(cell, in_float64(work))
    scale = float(np.abs(truth).max())
    answers = {
        name: entrant.answer(entrant.run()) for name, entrant in cell.enter(work, threads=1).items()
    }
    return {name: float(np.abs(got - truth).max()) / scale for name, got in answers.items()}


def answer(cell: Cell, work: Any) -> Array:
    """Return what the NumPy backend gives."""
    with er.use_backend("numpy"):
        entrant = cell.contestants()[OURS].factory(work, 1)
        return entrant.answer(entrant.run())


def in_float64(work: Any) -> Any:
    """Return the same workload with every float32 array widened."""
    values = {field.name: getattr(work, field.name) for field in fields(work)}
    wide = {
        name: value.astype(np.float64)
        for name, value in values.items()
        if isinstance(value, np.ndarray) and value.dtype == np.float32
    }
    return replace(work, **wide)


if __name__ == "__main__":
    raise SystemExit(main())
