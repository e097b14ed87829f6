"""ONNX Runtime, on a model of one node, with inputs and outputs bound once."""

from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from peers import Contestant, contestant
from workloads import Array, Sequences


@contestant("rnn_forward", "ONNX Runtime")
def rnn(batch: Sequences, threads: int) -> Contestant:
    session = ort.InferenceSession(
        _model(batch).SerializeToString(), _options(threads), ["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    x = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(batch.x.swapaxes(0, 1)))
    lengths = ort.OrtValue.ortvalue_from_numpy(batch.lengths.astype(np.int32))
    steps, n_rows, hidden = batch.x.shape[1], batch.x.shape[0], len(batch.weight_ih)
    output = ort.OrtValue.ortvalue_from_numpy(np.empty((steps, 1, n_rows, hidden), np.float32))
    binding.bind_ortvalue_input("X", x)
    binding.bind_ortvalue_input("sequence_lens", lengths)
    binding.bind_ortvalue_output("Y", output)
    valid = batch.valid

    def answer(_: object) -> Array:
        got: Array = output.numpy()[:, 0].swapaxes(0, 1)[valid]
        return got

    return Contestant(lambda: session.run_with_iobinding(binding), answer)


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Its workers spin when they have nothing to do, which would slow down the next contestant.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _model(batch: Sequences) -> Any:
    """Build a graph of one RNN node; the weights are constants, so that they are packed once."""
    bias = np.concatenate([batch.bias_ih, batch.bias_hh])
    weights = {"W": batch.weight_ih, "R": batch.weight_hh, "B": bias}
    node = helper.make_node(
        "RNN", ["X", "W", "R", "B", "sequence_lens"], ["Y"], hidden_size=len(batch.weight_ih)
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
