"""Rows of a table."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from cells.cell import Cell, Goal, Operation
from workloads import DrawIds, Rows, equal_ids, rows, sorted_ids, uniform_ids, zipf_ids

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


# Rows and width of the table, indices, how they are drawn. Together they cover tables within L2 and
# far beyond L3, rows of one element and of 3 KB, one index and 131,072.
_SHAPES: list[tuple[int, int, int, DrawIds]] = [
    (256, 64, 1, uniform_ids),
    (256, 32, 4_096, zipf_ids),
    (256, 768, 1_024, sorted_ids),
    (256, 128, 131_072, uniform_ids),
    (10_000, 1, 131_072, uniform_ids),
    (10_000, 96, 128, uniform_ids),
    (10_000, 300, 8_192, zipf_ids),
    (10_000, 16, 16_384, sorted_ids),
    (10_000, 64, 8_192, equal_ids),
    (30_000, 128, 8_192, uniform_ids),
    (30_000, 128, 8_192, zipf_ids),
    (30_000, 3, 32_768, uniform_ids),
    (30_000, 768, 2_048, uniform_ids),
    (30_000, 32, 512, zipf_ids),
    (30_000, 300, 16, uniform_ids),
    (1_000_000, 64, 16_384, uniform_ids),
    (1_000_000, 64, 16_384, zipf_ids),
    (1_000_000, 128, 1_024, uniform_ids),
    (1_000_000, 16, 131_072, uniform_ids),
    (1_000_000, 1, 65_536, zipf_ids),
    (1_000_000, 96, 32_768, sorted_ids),
    (1_000_000, 300, 1, uniform_ids),
    (4_000_000, 64, 8_192, uniform_ids),
    (4_000_000, 32, 131_072, uniform_ids),
    (4_000_000, 128, 2_048, zipf_ids),
    (4_000_000, 3, 16_384, uniform_ids),
]


def _shape(n_rows: int, width: int, n: int, ids: DrawIds) -> str:
    return f"{n_rows:,} x {width}, {n:,} {ids.__name__.removesuffix('_ids')}"


def _cells(operation: Operation, shapes: Iterable[tuple[int, int, int, DrawIds]]) -> list[Cell]:
    return [Cell("rows", operation, _shape(*shape), partial(_rows, *shape)) for shape in shapes]


def _rows(n_rows: int, width: int, n: int, ids: DrawIds) -> Rows:
    return rows(n_rows, width, (n,), ids)


ROW_CELLS = [
    *_cells(GATHER, _SHAPES),
    *_cells(GATHER_OUT, _SHAPES),
    *_cells(SCATTER_ADD, _SHAPES),
]
