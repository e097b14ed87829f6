"""Rows of a table."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cells.cell import Cell, Goal, Operation
from workloads import rows, zipf_ids

# A gathered row is read and written; a scattered one is read, and its target is read and written.
GATHER = Operation(
    "gather",
    "copy_bytes",
    lambda work: 2 * work.row_bytes,
    tolerance=0,
    goals={1: Goal(1.4, 0.95), 2: Goal(1.4, 0.95)},
)
GATHER_OUT = replace(GATHER, name="gather_out")
SCATTER_ADD = Operation(
    "scatter_add",
    "copy_bytes",
    lambda work: 3 * work.row_bytes,
    tolerance=1e-6,
    goals={1: Goal(1.6, 0.95), 2: Goal(1.3, 0.95)},
)


def _cells(shape: str, make: Callable[[], Any]) -> list[Cell]:
    return [Cell("rows", operation, shape, make) for operation in (GATHER, GATHER_OUT, SCATTER_ADD)]


ROW_CELLS = [
    *_cells("(64, 128) ids, 30,000 x 128", lambda: rows(30_000, 128, (64, 128))),
    *_cells("(64, 128) Zipf ids, 30,000 x 128", lambda: rows(30_000, 128, (64, 128), zipf_ids)),
    *_cells("(16384,) ids, 1,000,000 x 64", lambda: rows(1_000_000, 64, (16384,))),
]
