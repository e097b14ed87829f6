"""Weights of recurrent layers, from and to the layouts of ONNX and Keras; ours is PyTorch's.

And from those of Core ML, cuDNN, Flax and TensorFlow 1. The shapes tell the cell where they can: a
recurrent weight stacks one, three or four gates (RNN, GRU, LSTM). Of what comes from elsewhere
`RNN.from_state_dict`, `GRU.from_state_dict` and `LSTM.from_state_dict` make a layer.
"""

from embedrnn.convert.coreml import from_coreml_weights
from embedrnn.convert.cudnn import from_cudnn_weights
from embedrnn.convert.flax import from_flax_weights
from embedrnn.convert.keras import from_keras, to_keras
from embedrnn.convert.onnx import from_onnx, to_onnx
from embedrnn.convert.tf1 import from_tf1_weights

__all__ = [
    "from_coreml_weights",
    "from_cudnn_weights",
    "from_flax_weights",
    "from_keras",
    "from_onnx",
    "from_tf1_weights",
    "to_keras",
    "to_onnx",
]
