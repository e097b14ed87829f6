"""Layers and weights from and to other libraries; the layout here is PyTorch's.

From and to ONNX and Keras, and from Core ML, cuDNN, Flax and TensorFlow 1. The shapes tell the cell
where they can: a recurrent weight stacks one, three or four gates (RNN, GRU, LSTM). Of weights that
come from elsewhere `RNN.from_state_dict`, `GRU.from_state_dict` and `LSTM.from_state_dict` make a
layer.
"""

from embedrnn.convert.coreml import from_coreml_weights
from embedrnn.convert.cudnn import from_cudnn_weights
from embedrnn.convert.flax import from_flax_weights
from embedrnn.convert.keras import from_keras, from_keras_weights, to_keras_weights
from embedrnn.convert.onnx import (
    OnnxNode,
    OnnxWeights,
    from_onnx,
    from_onnx_weights,
    load_onnx,
    load_onnx_initializers,
    to_onnx_weights,
)
from embedrnn.convert.tf1 import from_tf1_weights

__all__ = [
    "OnnxNode",
    "OnnxWeights",
    "from_coreml_weights",
    "from_cudnn_weights",
    "from_flax_weights",
    "from_keras",
    "from_keras_weights",
    "from_onnx",
    "from_onnx_weights",
    "from_tf1_weights",
    "load_onnx",
    "load_onnx_initializers",
    "to_keras_weights",
    "to_onnx_weights",
]
