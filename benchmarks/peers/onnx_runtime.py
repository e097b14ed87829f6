"""ONNX Runtime, on a model of one node, with inputs and outputs bound once."""

from functools import partial
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from peers import Contestant, contestant
from workloads import Array, Sequences

# Our gates in ONNX's order, and what else the operator must be told.
_GATES = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}
_ATTRIBUTES: dict[str, dict[str, int]] = {"GRU": {"linear_before_reset": 1}}


def recurrent(operator: str, batch: Sequences, threads: int) -> Contestant:
    """Run one operator with `sequence_lens`."""
    session = ort.InferenceSession(
        _model(operator, batch).SerializeToString(), _options(threads), ["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    x = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(batch.x.swapaxes(0, 1)))
    lengths = ort.OrtValue.ortvalue_from_numpy(batch.lengths.astype(np.int32))
    steps, n_rows, hidden = batch.x.shape[1], batch.x.shape[0], batch.hidden
    output = ort.OrtValue.ortvalue_from_numpy(np.empty((steps, 1, n_rows, hidden), np.float32))
    binding.bind_ortvalue_input("X", x)
    binding.bind_ortvalue_input("sequence_lens", lengths)
    binding.bind_ortvalue_output("Y", output)
    valid = batch.valid

    def answer(_: object) -> Array:
        got: Array = output.numpy()[:, 0].swapaxes(0, 1)[valid]
        return got

    return Contestant(lambda: session.run_with_iobinding(binding), answer)


for _operator in _GATES:
    for _kind in ("forward", "step"):
        contestant(f"{_operator.lower()}_{_kind}", "ONNX Runtime")(partial(recurrent, _operator))


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Its workers spin when they have nothing to do, which would slow down the next contestant.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _model(operator: str, batch: Sequences) -> Any:
    """Build a graph of one node; the weights are constants, so that they are packed once."""

    def reordered(array: Array) -> Array:
        gates = np.split(array, len(_GATES[operator]))
        return np.concatenate([gates[k] for k in _GATES[operator]])

    bias = np.concatenate([reordered(batch.bias_ih), reordered(batch.bias_hh)])
    weights = {"W": reordered(batch.weight_ih), "R": reordered(batch.weight_hh), "B": bias}
    node = helper.make_node(
        operator,
        ["X", "W", "R", "B", "sequence_lens"],
        ["Y"],
        hidden_size=batch.hidden,
        **_ATTRIBUTES.get(operator, {}),
    )
    graph = helper.make_graph(
        [node],
        "rnn",
        [
            helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, None, None]),
            helper.make_tensor_value_info("sequence_lens", TensorProto.INT32, [None]),
        ],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, None, None, None])],
        [numpy_helper.from_array(value[None], name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
