"""Which operation, on which workload, and what is aimed at. A new cell is a row in a file here."""

from cells.accelerated import ACCELERATED_CELLS
from cells.cell import Cell, Goal, Operation
from cells.encoder import ENCODER_CELLS
from cells.gallery import GALLERY_CELLS
from cells.keras_models import KERAS_CELLS
from cells.onnx import ONNX_CELLS
from cells.recurrent import RECURRENT_CELLS
from cells.rows import ROW_CELLS
from cells.training import TRAINING_CELLS

__all__ = ["CELLS", "Cell", "Goal", "Operation"]

CELLS = [
    *ROW_CELLS,
    *RECURRENT_CELLS,
    *TRAINING_CELLS,
    *ENCODER_CELLS,
    *KERAS_CELLS,
    *ONNX_CELLS,
    *ACCELERATED_CELLS,
    *GALLERY_CELLS,
]
