"""Rows of a table."""

from dataclasses import replace
from functools import partial
from itertools import chain

from embedrnn.bench.cells.cell import Cell, Goal, Operation
from embedrnn.bench.workloads import (
    DrawIds,
    bags,
    column_rows,
    equal_ids,
    fortran_rows,
    rows,
    sorted_ids,
    uniform_ids,
    zipf_ids,
)

NO_SLOWER = {1: Goal(1, 1), 2: Goal(1, 1)}

# A gathered row is read and written; a scattered one is read, and its target is read and written.
GATHER = Operation(
    "gather",
    "copy_bytes",
    lambda work: 2 * work.row_bytes,
    tolerance=0,
    goals={1: Goal(1.4, 0.95), 2: Goal(1.4, 0.95)},
)
GATHER_OUT = replace(GATHER, name="gather_out")
GATHER_FORTRAN = replace(GATHER, name="gather_fortran", goals=NO_SLOWER, contest="gather")
SCATTER_ADD = Operation(
    "scatter_add",
    "copy_bytes",
    lambda work: 3 * work.row_bytes,
    tolerance=1e-6,
    goals={1: Goal(1.6, 0.95), 2: Goal(1.3, 0.95)},
)
SCATTER_COLUMN = replace(SCATTER_ADD, name="scatter_column", goals=NO_SLOWER)


# The gradient of an embedding: updates are read, and a row for each distinct index is written.
COALESCE = Operation(
    "coalesce",
    "copy_bytes",
    lambda work: work.row_bytes + work.distinct_bytes,
    tolerance=1e-5,
    goals={1: Goal(2, 0.95), 2: Goal(2, 0.95)},
)
BAG_SUM = Operation(
    "bag_sum",
    "copy_bytes",
    lambda work: work.row_bytes + work.out_bytes,
    tolerance=1e-5,
    goals={1: Goal(1.3, 0.95), 2: Goal(1.3, 0.95)},
)
BAG_MEAN = replace(BAG_SUM, name="bag_mean")
BAG_WEIGHTED = replace(BAG_SUM, name="bag_weighted")
BAG_LAST_OFFSET = replace(BAG_SUM, name="bag_last_offset")
# A sum in float32, rounded once; PyTorch's is too.
BAG_FLOAT16 = replace(BAG_SUM, name="bag_float16", tolerance=2e-3)
# Against float32, whose bytes are the work counted: over 100 % of a copy is what int8 is for.
GATHER_INT8 = Operation(
    "gather_int8",
    "copy_bytes",
    lambda work: 2 * work.row_bytes,
    tolerance=0.01,
    goals={1: Goal(1.5, 0.95), 2: Goal(1.5, 0.95)},
)
BAG_INT8 = replace(BAG_SUM, name="bag_int8", tolerance=0.01, goals=GATHER_INT8.goals)

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


# Rows and width of the table, bags, indices of one on average, how they are drawn.
_BAG_SHAPES: list[tuple[int, int, int, int, DrawIds]] = [
    (256, 64, 1, 20, uniform_ids),
    (256, 32, 512, 8, zipf_ids),
    (10_000, 1, 2_048, 20, uniform_ids),
    (10_000, 96, 256, 50, zipf_ids),
    (10_000, 300, 512, 20, uniform_ids),
    (30_000, 128, 64, 128, zipf_ids),
    (30_000, 128, 2_048, 10, uniform_ids),
    (30_000, 3, 4_096, 10, uniform_ids),
    (30_000, 768, 128, 20, uniform_ids),
    (1_000_000, 64, 4_096, 20, zipf_ids),
    (1_000_000, 64, 512, 20, uniform_ids),
    (1_000_000, 16, 4_096, 20, uniform_ids),
    (1_000_000, 128, 1_024, 1, uniform_ids),
    (4_000_000, 64, 1_024, 20, uniform_ids),
    (4_000_000, 128, 256, 20, zipf_ids),
]

_LARGE_ELEMENTS = 1 << 24

# Tables beyond the cache as float32, and int8.
_LARGE: list[tuple[int, int, int, DrawIds]] = [
    (1_000_000, 64, 16_384, uniform_ids),
    (1_000_000, 128, 8_192, uniform_ids),
    (1_000_000, 300, 4_096, uniform_ids),
    (4_000_000, 32, 65_536, uniform_ids),
    (4_000_000, 64, 16_384, uniform_ids),
]


def _kind(ids: DrawIds) -> str:
    return ids.__name__.removesuffix("_ids")


def _row_cells(n_rows: int, width: int, n: int, ids: DrawIds, *operations: Operation) -> list[Cell]:
    shape = f"{n_rows:,} x {width}, {n:,} {_kind(ids)}"
    make = partial(rows, n_rows, width, (n,), ids)
    large = max(n_rows, n) * width >= _LARGE_ELEMENTS
    return [Cell("rows", operation, shape, make, large) for operation in operations]


def _bag_cells(
    n_rows: int,
    width: int,
    n_bags: int,
    length: int,
    ids: DrawIds,
    *operations: Operation,
    dtype: str = "f4",
) -> list[Cell]:
    shape = f"{n_rows:,} x {width}, {n_bags:,} bags of {length} {_kind(ids)}"
    make = partial(bags, n_rows, width, n_bags, length, ids, dtype)
    large = n_rows * width >= _LARGE_ELEMENTS
    return [Cell("rows", operation, shape, make, large) for operation in operations]


def _fortran_cell(n_rows: int, width: int, n: int) -> Cell:
    shape = f"{n_rows:,} x {width} in Fortran order, {n:,} uniform"
    return Cell("rows", GATHER_FORTRAN, shape, partial(fortran_rows, n_rows, width, (n,)))


def _column_cell(n_rows: int, width: int, n: int) -> Cell:
    shape = f"one column of {n_rows:,} x {width} float64, {n:,} uniform"
    return Cell("rows", SCATTER_COLUMN, shape, partial(column_rows, n_rows, width, n))


def _shape_cells(shape: tuple[int, int, int, DrawIds]) -> list[Cell]:
    """Return the cells of a shape; PyTorch's dense gradient makes an array of the table's size."""
    operations = [GATHER, GATHER_OUT, SCATTER_ADD]
    return _row_cells(*shape, *operations, *[COALESCE] * (shape[0] * shape[1] <= 64_000_000))


ROW_CELLS = [
    *chain.from_iterable(_shape_cells(shape) for shape in _SHAPES),
    _fortran_cell(30_000, 128, 8_192),
    *(_column_cell(10_000, 8, n) for n in (64, 1_024)),
    *chain.from_iterable(
        _bag_cells(*shape, BAG_SUM, BAG_MEAN, BAG_WEIGHTED, BAG_LAST_OFFSET)
        for shape in _BAG_SHAPES
    ),
    *chain.from_iterable(_bag_cells(*shape, BAG_FLOAT16, dtype="f2") for shape in _BAG_SHAPES),
    *chain.from_iterable(_row_cells(*shape, GATHER_INT8) for shape in _LARGE),
    *chain.from_iterable(_bag_cells(v, d, n // 20, 20, ids, BAG_INT8) for v, d, n, ids in _LARGE),
]
