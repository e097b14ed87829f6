"""The few minutes' choice: one or two cells of each thing that embedrnn is for.

Rows in a cache and beyond it, sequences of one length and of many, one row and a batch. None needs
more than 1 GB.
"""

from embedrnn.bench.cells import CELLS
from embedrnn.bench.cells.cell import Cell

# Operation: a shape for each of its cells here.
_SHAPES = {
    "gather": ["30,000 x 128, 8,192 zipf", "1,000,000 x 64, 16,384 uniform"],
    "scatter_add": ["256 x 64, 1 uniform", "30,000 x 128, 8,192 zipf"],
    "coalesce": ["30,000 x 128, 8,192 zipf"],
    "bag_sum": ["30,000 x 128, 2,048 bags of 10 uniform"],
    "rnn_forward": ["B 32, T 128, I 128, H 128, lengths T/8 to T"],
    "gru_forward": ["B 64, T 64, I 256, H 256, lengths of sentences"],
    "gru_few_rows": ["B 1, T 256, I 128, H 128"],
    "gru_training": ["B 32, T 128, I 128, H 128, lengths T/8 to T"],
    "lstm_forward": [
        "B 32, T 128, I 128, H 128",
        "B 64, T 64, I 256, H 256, lengths of sentences",
    ],
    "lstm_few_rows": ["B 1, T 64, I 512, H 512"],
    "lstm_step": ["B 1, T 1, I 128, H 128"],
    "lstm_training": ["B 32, T 128, I 128, H 128, lengths T/8 to T"],
    "lstm_training_full": ["B 32, T 128, I 128, H 128"],
    "encoder_forward": ["LSTM, 256 sentences in words, D = H = 128"],
    "encoder_training": ["LSTM, 32 sentences in words, D = H = 128"],
}

_BY_NAME = {str(cell): cell for cell in CELLS}

CHOICE: list[Cell] = [
    _BY_NAME[f"{operation} {shape}"] for operation, shapes in _SHAPES.items() for shape in shapes
]
