"""Layers and weights from and to ONNX.

A file is read through its fields (`protobuf`), its tensors, its graphs, and the nodes that only
move constants about, which are folded; `file` finds the layers in it.
"""

from embedrnn.convert.onnx.file import OnnxNode, load_onnx, load_onnx_initializers
from embedrnn.convert.onnx.layer import from_onnx
from embedrnn.convert.onnx.weights import OnnxWeights, from_onnx_weights, to_onnx_weights

__all__ = [
    "OnnxNode",
    "OnnxWeights",
    "from_onnx",
    "from_onnx_weights",
    "load_onnx",
    "load_onnx_initializers",
    "to_onnx_weights",
]
