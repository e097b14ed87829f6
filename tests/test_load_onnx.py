"""ONNX models as layers: what is read of them, what is refused, and what broken files lead to."""

import os
from contextlib import suppress
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from embedrnn import convert
from embedrnn.convert.onnx.folding import _FOLDED
from onnx_models import (
    FLOAT,
    GATES,
    INT32,
    INT64,
    Arrays,
    branch,
    helper,
    model,
    node,
    node_cases,
    recurrent,
    run,
    runner,
    tensors,
    weights,
)  # fmt: skip

onnx: Any = pytest.importorskip("onnx")

TOLERANCE = 5e-6  # as in test_onnx_runtime.py

each_op = pytest.mark.parametrize("op", GATES)
each_direction = pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])


def assert_computes(layer: Any, the_model: Any, x: np.ndarray | None = None) -> None:
    """Compare a layer with ONNX Runtime's Y, whose axes are (T, D, B, H)."""
    x = np.random.default_rng(1).uniform(-1, 1, (6, 3, 5)).astype("f4") if x is None else x
    (expected, *_) = run(the_model, X=x)
    output, _ = layer(x.swapaxes(0, 1))
    actual = output.reshape(3, 6, -1, 7).transpose(1, 2, 0, 3)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)


# --- attributes --------------------------------------------------------------------------------


@each_op
@each_direction
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_a_layer_of_a_model_computes_the_same(op: str, direction: str, bias: bool) -> None:
    arrays = weights(op, directions=1 + (direction == "bidirectional"))
    if not bias:
        del arrays["B"]
    the_model = recurrent(op, arrays, direction=direction)
    layer = convert.from_onnx(the_model)
    assert type(layer) is getattr(er, op)
    assert (layer.input_size, layer.hidden_size, layer.bias) == (5, 7, bias)
    assert_computes(layer, the_model)


VARIANTS: dict[str, tuple[str, dict[str, Any], str, Any]] = {
    "relu": ("RNN", {"activations": ["Relu"]}, "nonlinearity", "relu"),
    "relu_two_ways": ("RNN", {"activations": ["Relu", "Relu"], "direction": "bidirectional"},
                      "nonlinearity", "relu"),
    "tanh": ("RNN", {"activations": ["Tanh"]}, "nonlinearity", "tanh"),
    "reset_after": ("GRU", {"linear_before_reset": 1}, "reset_after", True),
    "reset_before": ("GRU", {"linear_before_reset": 0}, "reset_after", False),
    "gru_default": ("GRU", {"activations": ["Sigmoid", "Tanh"]}, "reset_after", False),
    "lstm_default": ("LSTM", {"activations": ["Sigmoid", "Tanh", "Tanh"] * 2, "input_forget": 0,
                              "direction": "bidirectional"}, "bidirectional", True),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_attributes_are_options_of_the_layer(name: str) -> None:
    op, attributes, option, value = VARIANTS[name]
    the_model = recurrent(op, **attributes)
    layer = convert.from_onnx(the_model)
    assert getattr(layer, option) == value
    assert_computes(layer, the_model)


def test_the_default_of_onnx_has_activations_of_two_directions() -> None:
    default = onnx.defs.get_schema("RNN").attributes["activations"].default_value.strings
    layer = convert.from_onnx(recurrent("RNN", activations=list(default)))
    assert layer.nonlinearity == "tanh"


def test_what_an_exporter_wrote_of_a_gru_may_be_overridden() -> None:
    right, wrong = (recurrent("GRU", linear_before_reset=k) for k in (1, 0))
    layer = convert.from_onnx(wrong, reset_after=True)
    assert layer.reset_after
    assert_computes(layer, right)


@pytest.mark.parametrize("directions", [1, 2])
def test_peepholes(directions: int) -> None:
    arrays = weights("LSTM", directions=directions)
    arrays["P"] = np.random.default_rng(3).uniform(-1, 1, (directions, 21)).astype("f4")
    attributes = {"direction": "bidirectional"} if directions == 2 else {}
    the_model = recurrent("LSTM", arrays, **attributes)
    layer = convert.from_onnx(the_model)
    assert layer.peepholes
    assert_computes(layer, the_model)


def test_a_node_that_reads_batches_first() -> None:
    first, last = recurrent("LSTM", layout=1), recurrent("LSTM")
    assert_computes(convert.from_onnx(first), last)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "affine": ("RNN", {"activations": ["Affine"], "activation_alpha": [1.0]},
               "activations = ['Affine']"),
    "alpha": ("RNN", {"activation_alpha": [0.5]}, "activation_alpha = [0.5]"),
    "beta": ("LSTM", {"activation_beta": [0.5, 1.0, 2.0]}, "activation_beta = [0.5, 1.0, 2.0]"),
    "two_nonlinearities": ("RNN", {"activations": ["Tanh", "Relu"], "direction": "bidirectional"},
                           "activations = ['Tanh', 'Relu']"),
    "one_of_two": ("RNN", {"activations": ["Relu"], "direction": "bidirectional"},
                   "activations = ['Relu']"),
    "hard_sigmoid": ("GRU", {"activations": ["HardSigmoid", "Tanh"]},
                     "activations = ['HardSigmoid', 'Tanh']"),
    "another_order": ("LSTM", {"activations": ["Tanh", "Sigmoid", "Tanh"]},
                      "activations = ['Tanh', 'Sigmoid', 'Tanh']"),
    "of_one_direction": ("LSTM", {"activations": ["Sigmoid", "Tanh", "Tanh"],
                                  "direction": "bidirectional"},
                         "activations = ['Sigmoid', 'Tanh', 'Tanh']"),
    "clip": ("LSTM", {"clip": 3.0}, "clip = 3.0"),
    "input_forget": ("LSTM", {"input_forget": 1}, "input_forget = 1"),
    "direction": ("GRU", {"direction": "sideways"}, "direction = 'sideways'"),
    "layout": ("GRU", {"layout": 2}, "layout = 2"),
    "linear_before_reset": ("GRU", {"linear_before_reset": 3}, "linear_before_reset = 3"),
    "another_cell's": ("RNN", {"linear_before_reset": 1}, "linear_before_reset = 1"),
    "unknown": ("GRU", {"leak": 0.5}, "leak = 0.5"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_attributes_are_refused_by_name(name: str) -> None:
    op, attributes, words = REFUSED[name]
    the_model = recurrent(op, **attributes)
    with pytest.raises(ValueError, match="which no layer here does") as caught:
        convert.from_onnx(the_model)
    assert str(caught.value).startswith(f"{op} 'cell' has {words}")


def changed(op: str, **changes: Any) -> Any:
    return recurrent(op, weights(op) | changes)


WRONG: dict[str, tuple[Any, str]] = {
    "hidden_size": (lambda: model([node("GRU", ["X", "W", "R"], hidden=8)], weights("GRU")),
                    "GRU 'cell' has hidden_size = 8, and an R of 7"),
    "directions": (lambda: recurrent("LSTM", weights("LSTM", directions=2)),
                   "LSTM 'cell' must have W and R of shapes (1, 4*H, I) and (1, 4*H, H) as its "
                   "direction is forward, got (2, 28, 5) and (2, 28, 7)"),
    "gates": (lambda: recurrent("LSTM", weights("GRU")),
              "LSTM 'cell' must have W and R of shapes (1, 4*H, I) and (1, 4*H, H) as its "
              "direction is forward, got (1, 21, 5) and (1, 21, 7)"),
    "W": (lambda: changed("GRU", W=np.zeros((1, 20, 5), "f4")), "W must have shape (1, 21, 5)"),
    "B": (lambda: changed("GRU", B=np.zeros((1, 21), "f4")), "B must have shape (1, 42)"),
    "integers": (lambda: changed("GRU", W=np.zeros((1, 21, 5), "i4")),
                 "GRU 'cell' must have W of floating-point numbers, got int32"),
    "computed": (lambda: model([node("GRU", ["X", "W", "R"])], {"R": weights("GRU")["R"]},
                               {"X": FLOAT, "W": FLOAT}),
                 "GRU 'cell' computes W, which must be constant in the file"),
    "absent": (lambda: model([node("GRU", ["X", "R"])], {"R": weights("GRU")["R"]}),
               "GRU 'cell' has no W, which must be constant in the file"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_weights_that_do_not_fit_are_refused(name: str) -> None:
    make, words = WRONG[name]
    with pytest.raises(ValueError, match=r"W|B|R") as caught:
        convert.from_onnx(make())
    assert str(caught.value).startswith(words)


def test_operators_of_others_are_refused_by_name() -> None:
    theirs = node("LSTM", ["X", "W", "R"])
    theirs.domain = "com.example"
    words = "LSTM 'cell' is the operator LSTM of com.example, none of ONNX's RNN, GRU, LSTM, Gather"
    with pytest.raises(ValueError, match=words):
        convert.from_onnx(model([theirs], weights("LSTM")))
    quantized = helper.make_node("DynamicQuantizeLSTM", ["X", "W", "R"], ["Y"], name="int8",
                                 domain="com.microsoft", hidden_size=7)  # fmt: skip
    (entry,) = convert.load_onnx(model([quantized], weights("LSTM")))
    assert (entry.op, entry.domain) == ("DynamicQuantizeLSTM", "com.microsoft")
    with pytest.raises(ValueError, match="'int8' is the operator DynamicQuantizeLSTM of com"):
        convert.from_onnx(entry)


@pytest.mark.parametrize("op", ["RNN", "LSTM", "Gather"])
def test_only_a_gru_has_a_reset_gate(op: str) -> None:
    the_model = table_model() if op == "Gather" else recurrent(op)
    with pytest.raises(ValueError, match=rf"reset_after must be None for an? {op}, got True"):
        convert.from_onnx(the_model, reset_after=True)


# --- states and lengths ------------------------------------------------------------------------


def given_states(op: str, **constants: np.ndarray) -> Any:
    arrays = weights(op) | constants
    layout = constants.pop("layout", None)
    return model([node(op, ["X", *arrays], **({} if layout is None else {"layout": 1}))], arrays)


@each_op
def test_constant_states_are_told(op: str) -> None:
    h = np.random.default_rng(2).uniform(-1, 1, (1, 3, 7)).astype("f4")
    names = ["initial_h", "initial_c"][: 2 if op == "LSTM" else 1]
    the_model = given_states(op, **{name: h + k for k, name in enumerate(names)})
    words = f"{op} 'cell' has constant initial_h, which a layer is called with"
    with pytest.raises(ValueError, match=words):
        convert.from_onnx(the_model)
    (entry,) = convert.load_onnx(the_model)
    layer = convert.from_onnx(entry)
    x = np.random.default_rng(1).uniform(-1, 1, (6, 3, 5)).astype("f4")
    output, _ = layer(x.swapaxes(0, 1), state=entry.state)
    (expected, *_) = run(the_model, X=x)
    np.testing.assert_allclose(output.swapaxes(0, 1), expected[:, 0], rtol=0, atol=TOLERANCE)


def test_one_constant_state_of_an_lstm_and_batches_first() -> None:
    c = np.arange(21, dtype="f4").reshape(3, 1, 7)
    arrays = weights("LSTM") | {"initial_c": c}
    (entry,) = convert.load_onnx(model([node("LSTM", ["X", *arrays], layout=1)], arrays))
    h_0, c_0 = entry.state
    np.testing.assert_array_equal(h_0, np.zeros((1, 3, 7)))
    np.testing.assert_array_equal(c_0, c.swapaxes(0, 1))


def test_zeros_and_computed_states_need_nothing() -> None:
    zeros = np.zeros((1, 3, 7), "f4")
    the_model = given_states("LSTM", initial_h=zeros, initial_c=zeros)
    (entry,) = convert.load_onnx(the_model)
    assert entry.state is None
    assert_computes(convert.from_onnx(the_model), the_model)
    fed = model([node("LSTM", ["X", "W", "R", "B", "initial_h"])], weights("LSTM"),
                {"X": FLOAT, "initial_h": FLOAT})  # fmt: skip
    (entry,) = convert.load_onnx(fed)
    assert entry.inputs["initial_h"] is None
    assert "initial_c" not in entry.inputs
    assert entry.state is None
    convert.from_onnx(fed)


def test_constant_lengths_are_told() -> None:
    lengths = np.array([6, 2, 4], "i4")
    the_model = given_states("GRU", sequence_lens=lengths)
    with pytest.raises(ValueError, match="GRU 'cell' has constant sequence_lens"):
        convert.from_onnx(the_model)
    (entry,) = convert.load_onnx(the_model)
    np.testing.assert_array_equal(entry.inputs["sequence_lens"], lengths)


# --- tables ------------------------------------------------------------------------------------


def table_model(dtype: Any = np.float32, **attributes: Any) -> Any:
    table = np.arange(12).reshape(4, 3).astype(dtype)
    rows = helper.make_node("Gather", ["table", "X"], ["Y"], name="rows", **attributes)
    return model([rows], {"table": table}, {"X": INT32})


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_gather_is_an_embedding(dtype: str) -> None:
    layer = convert.from_onnx(table_model(dtype, axis=0))
    assert type(layer) is er.Embedding
    assert layer.dtype == dtype
    np.testing.assert_array_equal(layer([3, -1, 0]), np.array([[9, 10, 11]] * 2 + [[0, 1, 2]]))


def test_a_gather_along_another_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="Gather 'rows' has axis = 1, which no layer here does"):
        convert.from_onnx(table_model(axis=1))


def test_a_gather_from_what_is_no_table_is_none() -> None:
    sizes = helper.make_node("Gather", ["sizes", "X"], ["Y"])
    from_table = helper.make_node("Gather", ["table", "one"], ["Z"])
    constants = {"sizes": np.arange(3), "table": np.ones((4, 3), "f4"), "one": np.array(1)}
    assert convert.load_onnx(model([sizes, from_table], constants, {"X": INT32})) == []


def test_a_table_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "table.onnx"
    path.write_bytes(table_model().SerializeToString())
    (entry,) = convert.load_onnx(path)
    layer = convert.from_onnx(entry)
    table = entry.inputs["data"]
    assert table is not None
    assert not table.flags.writeable
    if table.flags.aligned:  # which is chance
        assert np.shares_memory(layer.weight, table)


# --- where nodes and weights stand -------------------------------------------------------------


def entries(the_model: Any) -> dict[str, convert.OnnxNode]:
    return {entry.name: entry for entry in convert.load_onnx(the_model)}


def assert_weights(entry: convert.OnnxNode, arrays: Arrays) -> None:
    for name, array in arrays.items():
        found = entry.inputs[name]
        assert found is not None, name
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


def test_everything_of_a_node_is_told() -> None:
    arrays = weights("LSTM", directions=2)
    the_model = recurrent("LSTM", arrays, direction="bidirectional", clip=2.0)
    (entry,) = convert.load_onnx(the_model)
    assert entry[:3] == ("LSTM", "cell", "")
    assert entry.attributes == {"hidden_size": 7, "direction": "bidirectional", "clip": 2.0}
    assert list(entry.inputs) == ["X", "W", "R", "B"]
    assert entry.inputs["X"] is None
    assert_weights(entry, arrays)


def test_several_nodes_are_listed() -> None:
    first, second = weights("GRU"), weights("GRU", inputs=7, seed=1)
    arrays = first | {f"{name}2": array for name, array in second.items()}
    squeezed = helper.make_node("Squeeze", ["Y", "axis"], ["X2"])
    above = helper.make_node("GRU", ["X2", "W2", "R2", "B2"], ["top"], hidden_size=7)
    the_model = model([node("GRU", ["X", *first]), squeezed, above],
                      arrays | {"axis": np.array([1])}, outputs=("top",))  # fmt: skip
    words = "name must be that of a node, got None: the model has GRU 'cell', GRU 'top'"
    with pytest.raises(ValueError, match=words):
        convert.from_onnx(the_model)
    with pytest.raises(ValueError, match="name must be that of a node, got 'what': the model has"):
        convert.from_onnx(the_model, "what")
    layer = convert.from_onnx(the_model, "top")  # which has no name but that of its output
    assert layer.input_size == 7
    np.testing.assert_array_equal(layer.weight_ih_l0[7:14], second["W"][0, :7])


def test_a_name_that_two_nodes_have() -> None:
    gru = node("GRU", ["X", "W", "R"])
    with pytest.raises(ValueError, match="got 'cell', that of 2: give one of those that load_onnx"):
        convert.from_onnx(model([gru, gru], weights("GRU")), "cell")


def test_nodes_in_the_branches_of_another() -> None:
    one, other = weights("GRU"), weights("GRU", seed=1)
    both = helper.make_node("If", ["which"], ["Y"], then_branch=branch("one", one),
                            else_branch=branch("other", {"R": other["R"]}))  # fmt: skip
    outside = {name: other[name] for name in "WB"} | {"R": np.zeros_like(one["R"])}
    found = entries(model([both], outside, {"X": FLOAT, "which": onnx.TensorProto.BOOL}))
    assert set(found) == {"one", "other"}
    assert_weights(found["one"], one)
    assert_weights(found["other"], other)  # of which R is inside, and hides another


@pytest.mark.parametrize("kind", ["Loop", "Scan"])
def test_nodes_in_the_body_of_a_loop(kind: str) -> None:
    arrays = weights("GRU")
    value = helper.make_tensor_value_info
    if kind == "Loop":
        kinds = {"i": onnx.TensorProto.INT64, "on": onnx.TensorProto.BOOL, "h": FLOAT}
        cell = helper.make_node("GRU", ["X", "W", "R", "B", "", "h"], ["Y", "Y_h"], name="cell",
                                hidden_size=7)  # fmt: skip
        again = helper.make_node("Identity", ["on"], ["on_"])
        inputs = [value(name, k, None) for name, k in kinds.items()]
        outputs = [value("on_", onnx.TensorProto.BOOL, None), value("Y_h", FLOAT, None)]
        body = helper.make_graph([cell, again], "body", inputs, outputs)
        outer = helper.make_node("Loop", ["n", "", "h_0"], ["h_n"], body=body)
    else:
        cell = helper.make_node("GRU", ["x", "W", "R", "B"], ["Y", "Y_h"], name="cell",
                                hidden_size=7)  # fmt: skip
        body = helper.make_graph([cell], "body", [value("x", FLOAT, None)],
                                 [value("Y", FLOAT, None)])  # fmt: skip
        outer = helper.make_node("Scan", ["X"], ["Z"], body=body, num_scan_inputs=1)
    # What is computed in the body hides the constant of the same name.
    constants = arrays | {"h": np.ones((1, 3, 7), "f4"), "x": np.ones((1, 3, 5), "f4")}
    (entry,) = convert.load_onnx(model([outer], constants))
    assert_weights(entry, arrays)
    assert entry.inputs.get("initial_h") is None
    assert entry.inputs["X"] is None


def function(name: str, nodes: list[Any], inputs: list[str], attributes: Any = ()) -> Any:
    opsets = [helper.make_opsetid("", 14), helper.make_opsetid("here", 1)]
    return helper.make_function("here", name, inputs, ["Y"], nodes, opsets, attributes)


def test_functions_are_read_once_for_each_call() -> None:
    first, second = weights("GRU"), weights("GRU", seed=1)
    cell = helper.make_node("GRU", ["x", "w", "r", "b"], ["Y"], name="cell")
    for name in ("hidden_size", "linear_before_reset"):
        reference = onnx.AttributeProto(name=name, ref_attr_name=name, type=onnx.AttributeProto.INT)
        cell.attribute.append(reference)
    inner = function("Inner", [cell], ["x", "w", "r", "b"], ["hidden_size", "linear_before_reset"])
    call = helper.make_node("Inner", ["x", "W_", "r", "b"], ["Y"], "deep", domain="here")
    reference = onnx.AttributeProto(name="hidden_size", ref_attr_name="size",
                                    type=onnx.AttributeProto.INT)  # fmt: skip
    call.attribute.append(reference)
    call.attribute.append(helper.make_attribute("linear_before_reset", 1))
    same = helper.make_node("Identity", ["w"], ["W_"])
    outer = function("Outer", [same, call], ["x", "w", "r", "b"], ["size"])
    calls = [
        helper.make_node("Outer", ["X", f"W{k}", f"R{k}", f"B{k}"], [f"Y{k}"], f"call{k}",
                         domain="here", size=7)
        for k in (1, 2)
    ]  # fmt: skip
    constants = {f"{name}1": array for name, array in first.items()}
    constants |= {f"{name}2": array for name, array in second.items()}
    the_model = model(calls, constants, outputs=("Y1", "Y2"), functions=[inner, outer])
    found = entries(the_model)
    assert list(found) == ["call1/deep/cell", "call2/deep/cell"]
    for entry, arrays in zip(found.values(), (first, second), strict=True):
        assert_weights(entry, arrays)
        assert entry.attributes == {"hidden_size": 7, "linear_before_reset": 1}
    layer = convert.from_onnx(the_model, "call2/deep/cell")
    assert_computes(layer, recurrent("GRU", second, linear_before_reset=1))


def test_a_function_without_an_argument_and_with_a_default() -> None:
    arrays = weights("GRU")
    cell = helper.make_node("GRU", ["x", "w", "r", "b"], ["Y"], name="cell")
    cell.attribute.append(onnx.AttributeProto(name="hidden_size", ref_attr_name="size",
                                              type=onnx.AttributeProto.INT))  # fmt: skip
    cell.attribute.append(onnx.AttributeProto(name="clip", ref_attr_name="most",
                                              type=onnx.AttributeProto.FLOAT))  # fmt: skip
    body = function("F", [cell], ["x", "w", "r", "b"], ["most"])
    body.attribute_proto.append(helper.make_attribute("size", 7))
    # Where no axes are given, all are meant that are of length 1.
    body.node.insert(0, helper.make_node("Squeeze", ["w", "axes"], ["flat"]))
    body.node[1].input[1] = "flat"
    body.input.append("axes")
    call = helper.make_node("F", ["X", "W", "R"], ["Y"], "call", domain="here")
    (entry,) = convert.load_onnx(model([call], arrays, functions=[body]))
    assert entry.attributes == {"hidden_size": 7}
    assert "B" not in entry.inputs
    assert_weights(entry, {"W": arrays["W"][0], "R": arrays["R"]})


def test_graphs_that_are_given_to_a_function() -> None:
    one, other = weights("GRU"), weights("GRU", seed=1)
    whether = helper.make_node("If", ["c"], ["Y"], "if")
    for name in ("then_branch", "else_branch"):
        whether.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=name,
                                                     type=onnx.AttributeProto.GRAPH))  # fmt: skip
    inner = function("Inner", [whether], ["c"], ["then_branch", "else_branch"])
    call = helper.make_node("Inner", ["which"], ["Y"], "deep", domain="here",
                            else_branch=branch("other", {"R": other["R"]}))  # fmt: skip
    call.attribute.append(onnx.AttributeProto(name="then_branch", ref_attr_name="first",
                                              type=onnx.AttributeProto.GRAPH))  # fmt: skip
    # Names of the function hide those around the graph that it is given.
    taken = helper.make_node("Identity", ["V"], ["W"])
    outer = function("Outer", [taken, call], ["which", "X", "V", "B"], ["first"])
    calls = helper.make_node("Outer", ["which", "X", "V_", "B_"], ["Y"], "call", domain="here",
                             first=branch("one", {"R": one["R"]}))  # fmt: skip
    hidden = {"W": one["W"], "B": one["B"], "V": one["W"]}
    constants = hidden | {"V_": other["W"], "B_": other["B"]}
    kinds = {"X": FLOAT, "which": onnx.TensorProto.BOOL}
    the_model = model([calls], constants, kinds, functions=[inner, outer])
    found = entries(the_model)
    assert list(found) == ["call/deep/one", "call/deep/other"]
    assert_weights(found["call/deep/one"], other | {"R": one["R"]})
    assert_weights(found["call/deep/other"], other)
    # So onnx has it when it puts the bodies of functions in the place of their calls.
    inlined = pytest.importorskip("onnx.inliner").inline_local_functions(the_model)
    for entry, expected in zip(found.values(), convert.load_onnx(inlined), strict=True):
        assert_weights(entry, {name: expected.inputs[name] for name in "WRB"})


def constant(name: str, value: Any, **attributes: Any) -> Any:
    if not attributes:
        attributes = {"value": onnx.numpy_helper.from_array(np.asarray(value))}
    return helper.make_node("Constant", [], [name], **attributes)


def folded(nodes: list[Any], constants: Arrays, opset: int = 14) -> np.ndarray | None:
    """Return what a GRU has as its W where these nodes make it."""
    the_model = model([*nodes, node("GRU", ["X", "W", "R"])], constants, opset=opset)
    (entry,) = convert.load_onnx(the_model)
    return entry.inputs["W"]


W = weights("GRU")["W"]
I64 = np.int64
FOLDED: dict[str, tuple[list[tuple[Any, ...]], Arrays]] = {
    "Identity": ([("Identity", ["w"], {})], {"w": W}),
    "Unsqueeze": ([("Unsqueeze", ["w", "a"], {})], {"w": W[0], "a": np.array([0])}),
    "Unsqueeze of before": ([("Unsqueeze", ["w"], {"axes": [0]})], {"w": W[0]}),
    "Squeeze": ([("Squeeze", ["w", "a"], {})], {"w": W[None], "a": np.array([-4])}),
    "Squeeze of before": ([("Squeeze", ["w"], {"axes": [0]})], {"w": W[None]}),
    "Squeeze all": ([("Squeeze", ["w"], {}), ("Unsqueeze", ["0", "a"], {})],
                    {"w": W[:, None], "a": np.array([0])}),
    "Squeeze none": ([("Squeeze", ["w", "a"], {})], {"w": W, "a": np.empty(0, I64)}),
    "Transpose": ([("Transpose", ["w"], {"perm": [1, 2, 0]})], {"w": W.transpose(2, 0, 1).copy()}),
    "Transpose all": ([("Transpose", ["w"], {})], {"w": W.T.copy()}),
    "Concat": ([("Concat", ["a", "b"], {"axis": -2})], {"a": W[:, :7], "b": W[:, 7:]}),
    "Reshape": ([("Reshape", ["w", "s"], {})],
                {"w": W.reshape(1, 5, 21), "s": np.array([0, -1, 5])}),
    "Reshape of before": ([("Reshape", ["w"], {"shape": [1, 21, 5]})], {"w": W.ravel()}),
    "Cast": ([("Cast", ["w"], {"to": 1})], {"w": W.astype("f8")}),
    "Slice": ([("Slice", ["w", "s", "e", "a"], {})],
              {"w": np.concatenate([W, W], 2), "s": np.array([5]), "e": np.array([2**63 - 1]),
               "a": np.array([2])}),
    "Slice back": ([("Slice", ["w", "s", "e", "a", "t"], {})],
                   {"w": W[:, ::-1].copy(), "s": np.array([-1]), "e": np.array([-(2**63) + 1]),
                    "a": np.array([1]), "t": np.array([-1])}),
    "Slice of before": ([("Slice", ["w"], {"starts": [0, 0], "ends": [1, 21]})],
                        {"w": np.concatenate([W, W], 1)}),
    "Gather": ([("Gather", ["w", "i"], {"axis": 1})],
               {"w": W[:, ::-1].copy(), "i": np.arange(20, -1, -1)}),
    "Expand": ([("Expand", ["w", "s"], {})], {"w": W, "s": np.array([1, 21, 5])}),
    "int8": ([("DequantizeLinear", ["w", "s", "z"], {})],
             {"w": (W * 100).round().astype("i1"), "s": np.array(0.01, "f4"),
              "z": np.array(0, "i1")}),
    "uint8": ([("DequantizeLinear", ["w", "s", "z"], {"axis": 1})],
              {"w": (W * 100 + 128).round().astype("u1"), "s": np.full(21, 0.01, "f4"),
               "z": np.full(21, 128, "u1")}),
    "many": ([("Slice", ["w", "0_", "7_", "0_"], {}), ("Slice", ["w", "7_", "21_", "0_"], {}),
              ("Concat", ["0", "1"], {"axis": 0}), ("Unsqueeze", ["2", "0_"], {})],
             {"w": W[0], "0_": np.array([0]), "7_": np.array([7]), "21_": np.array([21])}),
}  # fmt: skip


def nodes_of(steps: list[tuple[Any, ...]]) -> list[Any]:
    """Return nodes whose outputs are called by their numbers."""
    return [
        helper.make_node(op, given, [str(k)], **how) for k, (op, given, how) in enumerate(steps)
    ]


@pytest.mark.parametrize("name", FOLDED)
def test_weights_behind_other_nodes(name: str) -> None:
    steps, constants = FOLDED[name]
    nodes = nodes_of(steps)
    nodes[-1].output[0] = "W"
    found = folded(nodes, constants | {"R": weights("GRU")["R"]}, 11 if "before" in name else 14)
    assert found is not None
    if "int8" in name:
        np.testing.assert_allclose(found, W, rtol=0, atol=0.006)
        np.testing.assert_array_equal(found, (found * 100).round().astype("f4") * np.float32(0.01))
    else:
        np.testing.assert_array_equal(found, W)
    assert found.dtype == np.float32


@pytest.mark.parametrize("op", _FOLDED)
def test_nodes_are_folded_as_the_tests_of_onnx_have_them(op: str) -> None:
    cases = [case for case in node_cases() if [n.op_type for n in case.model.graph.node] == [op]]
    folds = 0
    for case in cases:
        inputs, outputs = case.data_sets[0]
        if any(isinstance(value, list) for value in inputs):  # a sequence of tensors
            continue
        the_model = onnx.ModelProto.FromString(case.model.SerializeToString())
        graph = the_model.graph
        for given_, array in zip(graph.input, inputs, strict=True):
            constant_ = onnx.TensorProto()
            constant_.CopyFrom(
                array if hasattr(array, "dims") else onnx.numpy_helper.from_array(array)
            )
            constant_.name = given_.name
            graph.initializer.append(constant_)
        graph.node.extend(
            helper.make_node("GRU", ["X", output.name], [f"gru{k}"])
            for k, output in enumerate(graph.output)
        )
        found = [e.inputs["W"] for e in convert.load_onnx(the_model) if e.op == "GRU"]
        for got, wanted in zip(found, tensors(outputs), strict=True):
            if got is not None:  # of a dtype that NumPy has
                assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), case.name
                np.testing.assert_array_equal(got, wanted, err_msg=case.name)
                folds += 1
    assert folds


def test_a_slice_is_cut_as_onnx_runtime_cuts_it() -> None:
    bounds = [-(2**63), *range(-6, 7), 2**63 - 2]  # one more, and it goes to the end backwards too
    kinds = {"x": FLOAT, **dict.fromkeys(["starts", "ends", "axes", "steps"], INT64)}
    cut = runner(model([helper.make_node("Slice", list(kinds), ["Y"])], {}, kinds))
    for size, *others in product(range(4), bounds, bounds, [0], [-5, -2, -1, 1, 2, 5]):
        given_ = [np.arange(size, dtype="f4"), *(np.array([other]) for other in others)]
        (expected,) = cut(**dict(zip(kinds, given_, strict=True)))
        (found,) = _FOLDED["Slice"]({}, 1, *given_) or ()
        assert found.tolist() == expected.tolist(), (size, *others)


@pytest.mark.parametrize("sizes", ["equal", "input", "attribute"])
def test_weights_behind_a_split(sizes: str) -> None:
    both = np.concatenate([W, W + 1], 1)
    given = ["both"] + ["sizes"] * (sizes == "input")
    how = {"split": [21, 21]} if sizes == "attribute" else {}
    halves = helper.make_node("Split", given, ["other", "W"], axis=1, **how)
    constants = {"both": both, "sizes": np.array([21, 21]), "R": weights("GRU")["R"]}
    found = folded([halves], constants, 11 if sizes == "attribute" else 14)
    np.testing.assert_array_equal(found, W + 1)


def test_constants_of_every_kind() -> None:
    ones = helper.make_node("ConstantOfShape", ["shape"], ["ones"],
                            value=onnx.numpy_helper.from_array(np.array([1], "f4")))  # fmt: skip
    shape = constant("shape", None, value_ints=[1, 21, 5])
    found = folded([shape, ones, helper.make_node("Identity", ["ones"], ["W"])], {})
    np.testing.assert_array_equal(found, np.ones((1, 21, 5), "f4"))
    (entry,) = convert.load_onnx(model(
        [constant("W", W), constant("R", weights("GRU")["R"]), node("GRU", ["X", "W", "R"])], {}
    ))  # fmt: skip
    assert_weights(entry, {"W": W, "R": weights("GRU")["R"]})
    axis = constant("axis", None, value_int=0)
    again = helper.make_node("Unsqueeze", ["w", "axis"], ["W"])
    np.testing.assert_array_equal(folded([axis, again], {"w": W[0]}), W)
    floats = constant("w", None, value_floats=[1.0] * 105)
    shaped = helper.make_node("Reshape", ["w", "s"], ["W"])
    np.testing.assert_array_equal(folded([floats, shaped], {"s": np.array([1, 21, 5])}), ones_of(W))


def ones_of(array: np.ndarray) -> np.ndarray:
    return np.ones_like(array)


@pytest.mark.parametrize("op", ["Tanh", "Add"])
def test_weights_that_are_computed_are_not_known(op: str) -> None:
    given = ["w"] * (1 + (op == "Add"))
    assert folded([helper.make_node(op, given, ["W"])], {"w": W}) is None


def test_weights_of_a_dtype_that_numpy_lacks_are_not_known() -> None:
    cast = helper.make_node("Cast", ["w"], ["W"], to=onnx.TensorProto.FLOAT8E4M3FN)
    assert folded([cast], {"w": W}) is None
    the_model = recurrent("GRU")
    the_model.graph.initializer[0].data_type = onnx.TensorProto.FLOAT8E4M3FN
    (entry,) = convert.load_onnx(the_model)
    assert entry.inputs["W"] is None
    assert "W" not in convert.load_onnx_initializers(the_model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_models_as_pytorch_exports_them(cell: str, tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch")

    class Tagger(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(20, 5)
            self.cell = getattr(torch.nn, cell)(5, 7, num_layers=2, bidirectional=True)

        def forward(self, ids: Any) -> Any:
            return self.cell(self.embedding(ids))[0]

    module, ids = Tagger().eval(), torch.randint(0, 20, (6, 3))
    path = tmp_path / "tagger.onnx"
    torch.onnx.export(module, (ids,), str(path), dynamo=False)
    embedding, *layers = (convert.from_onnx(entry) for entry in convert.load_onnx(path))
    assert [layer.input_size for layer in layers] == [5, 14]
    x = embedding(ids.numpy().T)
    for layer in layers:
        x, _ = layer(x)
    expected = module(ids).detach().numpy().swapaxes(0, 1)
    np.testing.assert_allclose(x, expected, rtol=0, atol=TOLERANCE)


# --- tensors -----------------------------------------------------------------------------------


DTYPES = ["float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32",
          "int64", "uint64", "bool", "complex64", "complex128"]  # fmt: skip


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_initializers_of_every_dtype(dtype: str, raw: bool) -> None:
    array = (np.random.default_rng(0).uniform(-100, 100, (3, 4)) + 0.5).astype("f4").astype("i4")
    array = (array if np.dtype(dtype).kind in "fic" else abs(array)).astype(dtype)
    tensor = onnx.numpy_helper.from_array(array, "a")
    if not raw:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = helper.make_tensor("a", kind, array.shape, array.ravel().tolist())
        assert not tensor.raw_data
    the_model = model([], {})
    the_model.graph.initializer.append(tensor)
    found = convert.load_onnx_initializers(the_model)["a"]
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert not found.flags.writeable


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_bfloat16_is_widened(raw: bool) -> None:
    narrow = W.astype(ml_dtypes.bfloat16)
    bits = narrow.view(np.uint16)
    tensor = onnx.TensorProto(name="W", dims=W.shape, data_type=onnx.TensorProto.BFLOAT16)
    if raw:
        tensor.raw_data = bits.tobytes()
    else:
        tensor.int32_data.extend(bits.ravel().tolist())
    the_model = recurrent("GRU", {"R": weights("GRU")["R"]})
    the_model.graph.initializer.append(tensor)
    the_model.graph.node[0].input[1] = "W"
    layer = convert.from_onnx(the_model)
    assert layer.dtype == np.float32
    (entry,) = convert.load_onnx(the_model)
    np.testing.assert_array_equal(entry.inputs["W"], narrow.astype("f4"))


@pytest.mark.parametrize(("dtype", "wide"), [("f2", "f4"), ("f8", "f8")])
def test_layers_of_other_dtypes(dtype: str, wide: str) -> None:
    arrays = {name: array.astype(dtype) for name, array in weights("LSTM").items()}
    layer = convert.from_onnx(recurrent("LSTM", arrays))
    assert layer.dtype == wide
    np.testing.assert_array_equal(layer.weight_hh_l0[:7], arrays["R"][0, :7].astype(wide))


@pytest.mark.parametrize("name", ["R", "B", "P", "initial_h", "initial_c"])
def test_numbers_that_are_too_great_for_the_dtype_of_the_layer(name: str) -> None:
    arrays: Arrays = weights("LSTM") | {"P": np.zeros((1, 21), "f4")}
    arrays |= {"initial_h": np.ones((1, 3, 7)), "initial_c": np.ones((1, 3, 7), "f4")}
    arrays[name] = arrays[name].astype("f8")
    entry = convert.OnnxNode("LSTM", "cell", "", {}, {"X": None, **arrays})
    arrays[name].flat[1] = np.inf
    assert convert.from_onnx(entry).dtype == np.float32
    assert [part.dtype for part in entry.state] == [np.float32] * 2
    arrays[name].flat[2] = -1e39
    words = f"^{name} of LSTM 'cell' holds numbers that are too great for float32$"
    with pytest.raises(ValueError, match=words):
        entry.state if name.startswith("initial") else convert.from_onnx(entry)


def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save_model(recurrent("LSTM"), str(path), save_as_external_data=True, location="weights",
                    size_threshold=0)  # fmt: skip
    return path


def test_weights_in_a_file_beside_the_model(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (entry,) = convert.load_onnx(str(path))
    assert_weights(entry, weights("LSTM"))
    assert_computes(convert.from_onnx(path), recurrent("LSTM"))
    found = convert.load_onnx_initializers(path)
    assert sorted(found) == ["B", "R", "W"]


def test_weights_in_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with pytest.raises(ValueError, match="source cannot be read: W is in a file of its own"):
        convert.load_onnx(path.read_bytes())
    os.truncate(tmp_path / "weights", 100)
    with pytest.raises(ValueError, match=r"model\.onnx cannot be read: weights ends before W does"):
        convert.load_onnx(path)
    (tmp_path / "weights").unlink()
    with pytest.raises(ValueError, match="W is in 'weights', which cannot be read: No such file"):
        convert.load_onnx(path)


@pytest.mark.parametrize("location", ["/etc/hosts", "../weights", "a/../../weights", "C:\\w", ""])
def test_weights_elsewhere_are_not_read(tmp_path: Path, location: str) -> None:
    path = saved(tmp_path)
    the_model = onnx.load(str(path), load_external_data=False)
    the_model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(the_model.SerializeToString())
    with pytest.raises(ValueError, match="is in a file outside the model's folder"):
        convert.load_onnx(path)


def test_weights_are_views_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(recurrent("GRU").SerializeToString())
    base: Any = convert.load_onnx(path)[0].inputs["W"]
    while not isinstance(base, np.memmap):
        base = base.obj if isinstance(base, memoryview) else base.base


def test_neither_onnx_nor_protobuf_is_imported(tmp_path: Path, run_python: Any) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(recurrent("GRU").SerializeToString())
    code = f"""
        import sys
        from embedrnn import convert
        libraries = {{"onnx", "google", "ml_dtypes"}}
        print(convert.from_onnx({str(path)!r}), libraries & set(sys.modules))
    """
    printed = run_python(code).stdout
    assert printed == "GRU(5, 7, reset_after=False) set()\n"


# --- broken files ------------------------------------------------------------------------------


def broken_models() -> dict[str, tuple[Any, str]]:
    short = recurrent("GRU")
    short.graph.initializer[0].raw_data = b"\0" * 7
    shape = recurrent("GRU")
    shape.graph.initializer[0].dims[0] = -1
    fewer = recurrent("GRU")
    fewer.graph.initializer[0].dims[0] = 2
    long = model([], {"W": np.zeros((0, 3))})
    long.graph.initializer[0].dims[1] = 2**62
    circle = [helper.make_node("Identity", [a], [b]) for a, b in (("a", "W"), ("W", "a"))]
    circle.append(node("GRU", ["X", "W"]))
    axes = [helper.make_node("Unsqueeze", ["w"], ["W"], axes=[9]), node("GRU", ["X", "W"])]
    attribute = [helper.make_node("Concat", ["w", "w"], ["W"], "join"), node("GRU", ["X", "W"])]
    huge = [helper.make_node("ConstantOfShape", ["s"], ["W"]), node("GRU", ["X", "W"])]
    again = function("F", [helper.make_node("F", ["x"], ["Y"], domain="here")], ["x"])
    calls = [helper.make_node("F", ["X"], ["Y"], domain="here")]
    twice = [
        function(f"F{k}", [helper.make_node(f"F{k + 1}", ["x"], [y], domain="here")
                           for y in ("Y", "Z")], ["x"])
        for k in range(30)
    ]  # fmt: skip
    start = [helper.make_node("F0", ["X"], ["Y"], domain="here")]
    return {
        "empty": (onnx.ModelProto(), "there is no graph in it"),
        "short": (short, "W ends within a number"),
        "shape": (shape, "W has 105 numbers, and the shape (-1, 21, 5)"),
        "fewer": (fewer, "W has 105 numbers, and the shape (2, 21, 5)"),
        "circle": (model(circle, {}), "a is computed from itself"),
        "axes": (model(axes, {"w": W}), "W (Unsqueeze) does not fit its inputs: axis 9"),
        "attribute": (model(attribute, {"w": W}), "join (Concat) does not fit its inputs: 'axis'"),
        "huge": (model(huge, {"s": np.array([2**40])}), "W makes more of its constants than such"),
        "recursion": (model(calls, {}, functions=[again]), "its graphs are nested more than 40"),
        "many calls": (
            model(start, {}, functions=twice),
            "it calls functions of more than 100,000",
        ),
    }


BROKEN = broken_models()


@pytest.mark.parametrize("name", BROKEN)
def test_broken_models_are_refused(name: str) -> None:
    the_model, words = BROKEN[name]
    with pytest.raises(ValueError, match="source cannot be read") as caught:
        convert.load_onnx(the_model)
    assert str(caught.value).startswith(f"source cannot be read: {words}")


def test_a_deep_chain_of_nodes() -> None:
    names = ["w", *map(str, range(5000)), "W"]
    chain = [helper.make_node("Identity", [a], [b]) for a, b in pairwise(names)]
    np.testing.assert_array_equal(folded(chain, {"w": W}), W)


def test_an_axis_longer_than_memory_is_refused() -> None:
    the_model = model([], {"W": np.zeros((0, 3))})
    the_model.graph.initializer[0].dims[1] = 2**62
    with pytest.raises(ValueError, match="W has the shape"):
        convert.load_onnx_initializers(the_model)


def real_models() -> list[bytes]:
    """Return models that have every kind of thing in them that is read."""
    steps, constants = FOLDED["many"]
    nodes = nodes_of(steps)
    nodes.append(node("GRU", ["X", "W", "R"]))
    nodes[-1].input[1] = "3"
    typed = recurrent("RNN")
    typed.graph.initializer[0].CopyFrom(
        helper.make_tensor("W", FLOAT, (1, 7, 5), np.arange(35.0).tolist())
    )
    narrow = {name: array.astype("f2") for name, array in weights("LSTM", 2, 3).items()}
    one = weights("GRU", 1, 2)
    both = helper.make_node("If", ["which"], ["Y"], then_branch=branch("one", one),
                            else_branch=branch("other", one))  # fmt: skip
    body = function("F", [node("GRU", ["X", "W", "R"])], ["X", "W", "R"])
    call = helper.make_node("F", ["X", "W", "R"], ["Y"], "call", domain="here")
    models = [
        model(nodes, {**constants, "R": weights("GRU")["R"]}), typed, table_model(),
        recurrent("LSTM", narrow, direction="forward"), model([both], one),
        model([call], one, functions=[body]),
    ]  # fmt: skip
    return [each.SerializeToString() for each in models]


REAL = real_models()


def is_read_or_refused(data: bytes) -> None:
    """Read all of a model; whatever is wrong in it is a ValueError that says so."""
    found, words = [], "source cannot be read: "
    try:
        found = convert.load_onnx(data)
        convert.load_onnx_initializers(data)
    except ValueError as error:
        words = str(error)
    assert words.startswith("source cannot be read: ")
    for entry in found:
        with suppress(ValueError):
            convert.from_onnx(entry)
            _ = entry.state


def test_real_models_are_read() -> None:
    assert all(convert.load_onnx(data) for data in REAL)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    is_read_or_refused(data)


@given(st.sampled_from(REAL), st.data())
def test_part_of_a_file_is_read_or_refused(real: bytes, draw: Any) -> None:
    is_read_or_refused(real[: draw.draw(st.integers(0, len(real) - 1))])


@given(st.sampled_from(REAL), st.data())
def test_a_file_with_wrong_bits_is_read_or_refused(real: bytes, draw: Any) -> None:
    data = bytearray(real)
    # Most of a file is weights, whose bits may be anything: what is about them is at its ends.
    places = st.integers(0, len(real) - 1) | st.integers(0, 200) | st.integers(-300, -1)
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(places) % len(real)] ^= 1 << draw.draw(st.integers(0, 7))
    is_read_or_refused(bytes(data))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40))
def test_integers_of_any_size_are_read(values: list[int]) -> None:
    tensor = onnx.TensorProto(name="a", dims=[len(values)], data_type=onnx.TensorProto.UINT64)
    tensor.uint64_data.extend(values)
    signed = onnx.TensorProto(name="b", dims=[len(values)], data_type=onnx.TensorProto.INT64)
    signed.int64_data.extend(value - 2**63 for value in values)
    the_model = model([], {})
    the_model.graph.initializer.extend([tensor, signed])
    found = convert.load_onnx_initializers(the_model)
    assert found["a"].tolist() == values
    assert found["b"].tolist() == [value - 2**63 for value in values]


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        convert.load_onnx(tmp_path / "none.onnx")
    empty = tmp_path / "empty.onnx"
    empty.touch()
    with pytest.raises(ValueError, match=r"empty\.onnx cannot be read: there is no graph in it"):
        convert.load_onnx(empty)
