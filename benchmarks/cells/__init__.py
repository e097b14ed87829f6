"""Which operation, on which workload, and what is aimed at. A new cell is a row in a file here."""

from cells.cell import Cell, Goal, Operation
from cells.recurrent import RECURRENT_CELLS
from cells.rows import ROW_CELLS

__all__ = ["CELLS", "Cell", "Goal", "Operation", "cells_of"]

CELLS = [*ROW_CELLS, *RECURRENT_CELLS]


def cells_of(operation: str) -> list[Cell]:
    """Return the cells of one operation, but for large ones."""
    return [cell for cell in CELLS if cell.operation.name == operation and not cell.large]
