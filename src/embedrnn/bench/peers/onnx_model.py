"""A recurrent layer as ONNX has it, for those who run such models."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from embedrnn.bench.sentences import Sentences
from embedrnn.bench.workloads import Array, Padded

# Our gates in ONNX's order, and what else the operator must be told.
_GATES = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}
_ATTRIBUTES: dict[str, dict[str, int]] = {"GRU": {"linear_before_reset": 1}}

OPERATORS = list(_GATES)


def recurrent_model(operator: str, batch: Padded, directions: int = 1) -> bytes:
    """Build a graph of one node, from X (T, B, I) and sequence_lens to Y (T, directions, B, H).

    Both directions have the same weights.
    """
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, None, batch.width])
    node = _node(operator, batch, "bidirectional" if directions == 2 else "forward")
    weights = _weights(operator, batch)
    return _model(x, [node], {name: array.repeat(directions, 0) for name, array in weights.items()})


def encoder_model(batch: Sentences) -> bytes:
    """Build a graph of two nodes, from ids (T, B) and sequence_lens to Y (T, 1, B, H)."""
    operator = batch.cell.upper()
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [None, None])
    rows = helper.make_node("Gather", ["table", "ids"], ["X"])
    constants = {"table": batch.table} | _weights(operator, batch)
    return _model(ids, [rows, _node(operator, batch)], constants)


def _node(operator: str, batch: Padded, direction: str = "forward") -> Any:
    inputs = ["X", "W", "R", "B", "sequence_lens"]
    return helper.make_node(
        operator, inputs, ["Y"], hidden_size=batch.hidden, direction=direction,
        **_ATTRIBUTES.get(operator, {}),
    )  # fmt: skip


def _weights(operator: str, batch: Padded) -> dict[str, Array]:
    def reordered(array: Array) -> Array:
        gates = np.split(array, len(_GATES[operator]))
        return np.concatenate([gates[k] for k in _GATES[operator]])

    bias = np.concatenate([reordered(batch.bias_ih), reordered(batch.bias_hh)])
    weights = {"W": reordered(batch.weight_ih), "R": reordered(batch.weight_hh), "B": bias}
    return {name: value[None] for name, value in weights.items()}


def _model(first: Any, nodes: list[Any], constants: dict[str, Array]) -> bytes:
    """Return the serialised graph; the weights are constants, so that they are packed once."""
    lengths = helper.make_tensor_value_info("sequence_lens", TensorProto.INT32, [None])
    output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, None, None, None])
    arrays = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "rnn", [first, lengths], [output], arrays)
    opset = helper.make_opsetid("", 14)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised
