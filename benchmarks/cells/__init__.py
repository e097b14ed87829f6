"""All cells: those of embedrnn.bench, and of packages whose models embedrnn runs."""

from cells.accelerated import ACCELERATED_CELLS
from cells.gallery import GALLERY_CELLS
from cells.keras_models import KERAS_CELLS
from cells.onnx import ONNX_CELLS
from embedrnn.bench import cells

CELLS = [*cells.CELLS, *KERAS_CELLS, *ONNX_CELLS, *ACCELERATED_CELLS, *GALLERY_CELLS]
