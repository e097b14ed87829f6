"""Which operation, on which workload, and what is aimed at. A new cell is a row in a file here."""

from embedrnn.bench.cells.encoder import ENCODER_CELLS
from embedrnn.bench.cells.recurrent import RECURRENT_CELLS
from embedrnn.bench.cells.rows import ROW_CELLS
from embedrnn.bench.cells.training import TRAINING_CELLS

CELLS = [*ROW_CELLS, *RECURRENT_CELLS, *TRAINING_CELLS, *ENCODER_CELLS]
