"""Weights of recurrent layers, from and to the layouts of ONNX and Keras; ours is PyTorch's.

The shapes tell the cell: a recurrent weight stacks one, three or four gates (RNN, GRU, LSTM).
"""

from embedrnn.convert.keras import from_keras, to_keras
from embedrnn.convert.onnx import from_onnx, to_onnx

__all__ = ["from_keras", "from_onnx", "to_keras", "to_onnx"]
