"""The contestants of cells that only the project's own measurements have, and of all others.

They are entered as those of embedrnn.bench.peers are.
"""

from embedrnn.bench.peers import OURS, contestants, load

__all__ = ["contestants"]

# Module: its library, and what else it imports.
MODULES = {
    "shipped_code": [OURS],
    "accelerated": ["torch"],
    "onnx_evaluator": ["onnx"],
    "keras_code": ["keras"],
}

load()
load(MODULES, __name__)
