"""The same numbers as the recurrent operators of ONNX Runtime, with sequence_lens."""

from typing import Any

import numpy as np
import pytest

from cases import GATES, ORACLE_CASES, RnnCase, cell_arguments, run_cell

onnx: Any = pytest.importorskip("onnx")
ort: Any = pytest.importorskip("onnxruntime")

# The worst error seen was 9e-7; its activations are polynomials of their own.
TOLERANCE = 5e-6

# The cells that ONNX has.
OPERATORS = {
    "rnn_tanh": "RNN", "rnn_relu": "RNN", "gru": "GRU", "gru_reset_before": "GRU", "lstm": "LSTM",
    "lstm_peephole": "LSTM",
}  # fmt: skip
# Our gates in ONNX's order.
ORDERS = {1: [0], 3: [1, 0, 2], 4: [0, 3, 1, 2]}


def reordered(array: np.ndarray, gates: int) -> np.ndarray:
    parts = np.split(array, gates)
    return np.concatenate([parts[k] for k in ORDERS[gates]])


def model(cell: str, arguments: dict[str, Any], reverse: bool) -> Any:
    """Build a graph of one node, whose inputs are all those of the operator."""
    gates, hidden = GATES[cell], arguments["weight_hh"].shape[1]
    attributes: dict[str, Any] = {"direction": "reverse" if reverse else "forward"}
    if cell.startswith("rnn"):
        attributes["activations"] = [cell.removeprefix("rnn_").capitalize()]
    if gates == 3:
        attributes["linear_before_reset"] = int(cell == "gru")
    inputs = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    inputs += ["initial_c"] if gates == 4 else []
    inputs += ["P"] if "weight_ch" in arguments else []
    outputs = ["Y", "Y_h", "Y_c"][: 2 + (gates == 4)]
    node = onnx.helper.make_node(OPERATORS[cell], inputs, outputs, hidden_size=hidden, **attributes)
    kinds = {"sequence_lens": onnx.TensorProto.INT32}
    values = [
        [onnx.helper.make_tensor_value_info(n, kinds.get(n, onnx.TensorProto.FLOAT), None)]
        for n in inputs + outputs
    ]
    flat = [value for (value,) in values]
    graph = onnx.helper.make_graph([node], cell, flat[: len(inputs)], flat[len(inputs) :])
    opset = onnx.helper.make_opsetid("", 14)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)


def run_operator(cell: str, arguments: dict[str, Any], reverse: bool) -> list[np.ndarray]:
    gates, x = GATES[cell], np.nan_to_num(arguments["x"])
    batch, steps, _ = x.shape
    hidden = arguments["weight_hh"].shape[1]
    none, start = np.zeros(gates * hidden, "f4"), np.zeros((batch, hidden), "f4")
    bias = [reordered(arguments.get(name, none), gates) for name in ("bias_ih", "bias_hh")]
    lengths = arguments["lengths"]
    lengths = np.full(batch, steps) if lengths is None else lengths
    feed = {
        "X": np.ascontiguousarray(x.swapaxes(0, 1)),
        "W": reordered(arguments["weight_ih"], gates)[None],
        "R": reordered(arguments["weight_hh"], gates)[None],
        "B": np.concatenate(bias)[None],
        "sequence_lens": lengths.astype(np.int32),
        "initial_h": arguments.get("h_0", start)[None],
    }
    if gates == 4:
        feed["initial_c"] = arguments.get("c_0", start)[None]
    if "weight_ch" in arguments:  # ours is of i, f and o; ONNX has o before f
        i, f, o = np.split(arguments["weight_ch"], 3)
        feed["P"] = np.concatenate((i, o, f))[None]
    session = ort.InferenceSession(
        model(cell, arguments, reverse).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    output, *states = session.run(None, feed)
    return [output[:, 0].swapaxes(0, 1), *(state[0] for state in states)]


@pytest.mark.parametrize("case", ORACLE_CASES, ids=str)
@pytest.mark.parametrize("cell", OPERATORS)
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_recurrent_cells(backend: str, case: RnnCase, cell: str, reverse: bool) -> None:
    arguments = cell_arguments(case, np.float32, cell)
    if arguments["lengths"] is not None:
        arguments["lengths"] = np.maximum(arguments["lengths"], 1)
        arguments["x"] = np.nan_to_num(arguments["x"])
    actual = run_cell(cell, arguments, reverse=reverse)
    for got, wanted in zip(actual, run_operator(cell, arguments, reverse), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE)
