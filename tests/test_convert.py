"""Weights from and to other layouts: by hand, by their equations, and in their runtimes."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import RnnCase, assert_same_bits, values
from embedrnn import convert

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
SUFFIXES = ("", "_reverse")

each_cell = pytest.mark.parametrize("cell", GATES)
each_variant = pytest.mark.parametrize("cell", [*GATES, "gru_reset_before"])
with_and_without_bias = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
both_ways = pytest.mark.parametrize("directions", [1, 2])


def parameters_of(
    cell: str, inputs: int = 5, hidden: int = 7, *, bias: bool = True, directions: int = 1,
    layer: int = 0, dtype: Any = np.float32,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return parameters of one layer, named as in PyTorch."""
    rows = GATES[cell.removesuffix("_reset_before")] * hidden
    shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden)}
    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
    names = [
        (f"{name}_l{layer}{suffix}", s)
        for suffix in SUFFIXES[:directions]
        for name, s in shapes.items()
    ]
    rng = np.random.default_rng(3)
    return {name: rng.uniform(-1, 1, shape).astype(dtype) for name, shape in names}


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(actual) == list(expected)
    for name, array in actual.items():
        assert_same_bits(array, expected[name])
        assert array.flags.c_contiguous
        assert not np.shares_memory(array, expected[name])


def run(cell: str, parameters: dict[str, np.ndarray], arguments: dict[str, Any]) -> np.ndarray:
    """Return the output of our layer of one direction or two."""
    size = sum(not name.endswith("_reverse") for name in parameters)
    weights, outputs = list(parameters.values()), []
    for k in range(0, len(weights), size):
        given_, reverse = weights[k : k + size], k > 0
        if cell == "lstm":
            output, _ = er.lstm_forward(arguments["x"], *given_, reverse=reverse)
        elif cell == "rnn":
            output, _ = er.rnn_forward(arguments["x"], *given_, reverse=reverse)
        else:
            after = cell == "gru"
            output, _ = er.gru_forward(arguments["x"], *given_, reverse=reverse, reset_after=after)
        outputs.append(output)
    return np.concatenate(outputs, axis=-1)


# --- round trips -------------------------------------------------------------------------------


@each_cell
@with_and_without_bias
@both_ways
def test_there_and_back_by_onnx(dtype: Any, cell: str, bias: bool, directions: int) -> None:
    parameters = parameters_of(cell, bias=bias, directions=directions, dtype=dtype)
    W, R, B, _ = convert.to_onnx_weights(parameters)
    rows = GATES[cell] * 7
    assert (W.shape, R.shape) == ((directions, rows, 5), (directions, rows, 7))
    assert (None if B is None else B.shape) == ((directions, 2 * rows) if bias else None)
    assert_same(convert.from_onnx_weights(W, R, B), parameters)


@both_ways
def test_peepholes_there_and_back_by_onnx(directions: int) -> None:
    # Two units a gate: i = 0, 1; f = 10, 11; o = 20, 21.
    ifo, iof = np.array([0, 1, 10, 11, 20, 21]), [0, 1, 20, 21, 10, 11]
    names = [f"weight_ch_l1{suffix}" for suffix in SUFFIXES[:directions]]
    peepholes = {name: ifo + 100 * k for k, name in enumerate(names)}
    parameters = parameters_of("lstm", hidden=2, directions=directions, layer=1) | peepholes
    W, R, B, P = convert.to_onnx_weights(parameters, layer=1)
    assert P is not None
    assert P.tolist() == [[k * 100 + n for n in iof] for k in range(directions)]
    assert_same(convert.from_onnx_weights(W, R, B, P, layer=1), parameters)


@each_variant
@with_and_without_bias
@both_ways
def test_there_and_back_by_keras(dtype: Any, cell: str, bias: bool, directions: int) -> None:
    parameters = parameters_of(cell, bias=bias, directions=directions, dtype=dtype)
    if cell != "gru":  # Keras holds one bias: give it what it can hold
        parameters |= {k: np.zeros_like(v) for k, v in parameters.items() if "bias_hh" in k}
    weights = convert.to_keras_weights(parameters, reset_after=cell == "gru")
    rows = GATES[cell.removesuffix("_reset_before")] * 7
    biases = [(2, rows) if cell == "gru" else (rows,)] if bias else []
    assert [w.shape for w in weights] == [(5, rows), (7, rows), *biases] * directions
    assert all(w.flags.c_contiguous for w in weights)
    assert_same(convert.from_keras_weights(weights, reset_after=cell == "gru"), parameters)


@given(
    cell=st.sampled_from(list(GATES)),
    inputs=st.integers(0, 6),
    hidden=st.integers(1, 6),
    directions=st.integers(1, 2),
    bias=st.booleans(),
    layer=st.integers(0, 11),
)
def test_any_size_comes_back(
    cell: str, inputs: int, hidden: int, directions: int, bias: bool, layer: int
) -> None:
    parameters = parameters_of(cell, inputs, hidden, directions=directions, bias=bias, layer=layer)
    converted = convert.to_onnx_weights(parameters, layer=layer)
    assert_same(convert.from_onnx_weights(*converted, layer=layer), parameters)
    if bias and cell != "gru":
        return  # a sum does not come back
    weights = convert.to_keras_weights(parameters, layer=layer)
    both = directions == 2
    assert_same(convert.from_keras_weights(weights, layer=layer, bidirectional=both), parameters)


def test_one_layer_of_a_stack_is_taken() -> None:
    first, second = parameters_of("lstm"), parameters_of("lstm", inputs=14, layer=1, directions=2)
    W, R, B, _ = convert.to_onnx_weights(first | second, layer=1)
    assert_same(convert.from_onnx_weights(W, R, B, layer=1), second)
    kernel, *_ = convert.to_keras_weights(first | second)
    np.testing.assert_array_equal(kernel, first["weight_ih_l0"].T)


def test_any_array_like_of_any_dtype() -> None:
    W = np.arange(8, dtype=np.float16).reshape(1, 4, 2)
    converted = convert.from_onnx_weights(W.tolist(), np.zeros((1, 4, 1), np.float16).tolist())
    np.testing.assert_array_equal(converted["weight_ih_l0"], W[0, [0, 2, 3, 1]])
    assert convert.from_onnx_weights(W, W[..., :1])["weight_ih_l0"].dtype == np.float16


@each_variant
@with_and_without_bias
def test_two_layers_of_keras(cell: str, bias: bool) -> None:
    after = cell == "gru"
    first = parameters_of(cell, bias=bias)
    second = parameters_of(cell, inputs=7, bias=bias, layer=1)
    weights = [
        array
        for layer, parameters in enumerate((first, second))
        for array in convert.to_keras_weights(parameters, layer=layer, reset_after=after)
    ]
    converted = convert.from_keras_weights(weights, layer=2, reset_after=after)
    each = [
        convert.from_keras_weights(half, layer=layer, reset_after=after)
        for half, layer in ((weights[: len(weights) // 2], 2), (weights[len(weights) // 2 :], 3))
    ]
    assert_same(converted, each[0] | each[1])


@each_cell
def test_two_layers_or_two_directions(cell: str) -> None:
    first = parameters_of(cell, inputs=7, bias=False, directions=2)
    weights = convert.to_keras_weights(first)
    with pytest.raises(ValueError, match=r"give bidirectional=True or bidirectional=False$"):
        convert.from_keras_weights(weights)
    assert_same(convert.from_keras_weights(weights, bidirectional=True), first)
    stacked = convert.from_keras_weights(weights, bidirectional=False)
    assert_same(stacked, {
        name.replace("_l0_reverse", "_l1"): array for name, array in first.items()
    })  # fmt: skip


def test_shapes_that_fit_one_reading_are_read_so() -> None:
    directions = convert.to_keras_weights(parameters_of("lstm", bias=False, directions=2))
    with pytest.raises(ValueError, match=r"^weights\[2\] must have shape \(7, 28\), got \(5, 28"):
        convert.from_keras_weights(directions, bidirectional=False)


# --- values worked by hand ---------------------------------------------------------------------


def test_lstm_gates_by_hand() -> None:
    # Two units a gate: i = 0, 1; f = 10, 11; g = 20, 21; o = 30, 31.
    ifgo = np.array([0, 1, 10, 11, 20, 21, 30, 31])
    parameters = {
        "weight_ih_l0": ifgo[:, None],
        "weight_hh_l0": np.stack([ifgo, ifgo + 100], axis=1),
        "bias_ih_l0": ifgo,
        "bias_hh_l0": ifgo * 1000,
    }
    iofc = np.array([0, 1, 30, 31, 10, 11, 20, 21])
    W, R, B, _ = convert.to_onnx_weights(parameters)
    assert W[0, :, 0].tolist() == iofc.tolist()
    assert R[0].T.tolist() == [iofc.tolist(), (iofc + 100).tolist()]
    assert B is not None
    assert B[0].tolist() == [*iofc, *iofc * 1000]
    kernel, recurrent, bias = convert.to_keras_weights(parameters)
    assert kernel.tolist() == [ifgo.tolist()]
    assert recurrent.tolist() == [ifgo.tolist(), (ifgo + 100).tolist()]
    assert bias.tolist() == (ifgo * 1001).tolist()


def test_gru_gates_by_hand() -> None:
    # One unit a gate: r = 1, z = 2, n = 3.
    rzn, zrn = np.array([1, 2, 3]), [2, 1, 3]
    parameters = {
        "weight_ih_l0": rzn[:, None],
        "weight_hh_l0": rzn[:, None] * 10,
        "bias_ih_l0": rzn * 100,
        "bias_hh_l0": rzn * 1000,
    }
    W, R, B, _ = convert.to_onnx_weights(parameters)
    assert B is not None
    assert (W[0, :, 0].tolist(), R[0, :, 0].tolist()) == (zrn, [20, 10, 30])
    assert B[0].tolist() == [200, 100, 300, 2000, 1000, 3000]
    kernel, recurrent, bias = convert.to_keras_weights(parameters)
    assert (kernel.tolist(), recurrent.tolist()) == ([zrn], [[20, 10, 30]])
    assert bias.tolist() == [[200, 100, 300], [2000, 1000, 3000]]
    *_, bias = convert.to_keras_weights(parameters, reset_after=False)
    assert bias.tolist() == [2200, 1100, 3300]


# --- the equations of Keras --------------------------------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def keras_step(cell: str, x: Any, h: Any, c: Any, weights: list[np.ndarray]) -> tuple[Any, Any]:
    """One step as Keras documents its cells: gates z, r, h and i, f, c, o; kernels transposed."""
    kernel, recurrent, *rest = weights
    bias = rest[0] if rest else np.zeros(kernel.shape[1])
    if cell == "rnn":
        return np.tanh(x @ kernel + h @ recurrent + bias), c
    if cell == "lstm":
        i, f, c_bar, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(c_bar)
        return sigmoid(o) * np.tanh(c), c
    input_bias, recurrent_bias = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
    x_z, x_r, x_h = np.split(x @ kernel + input_bias, 3, axis=-1)
    h_z, h_r, h_h = np.split(h @ recurrent + recurrent_bias, 3, axis=-1)
    z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
    if cell == "gru_reset_before":
        h_h = (r * h) @ np.split(recurrent, 3, axis=-1)[2]
        return z * h + (1 - z) * np.tanh(x_h + h_h), c
    return z * h + (1 - z) * np.tanh(x_h + r * h_h), c


@each_variant
@with_and_without_bias
def test_keras_equations(cell: str, bias: bool) -> None:
    rows = GATES[cell.removesuffix("_reset_before")] * 7
    rng = np.random.default_rng(4)
    shapes = [(5, rows), (7, rows), (2, rows) if cell == "gru" else (rows,)]
    weights = [rng.uniform(-1, 1, shape) for shape in shapes[: 3 if bias else 2]]
    arguments = {"x": rng.uniform(-1, 1, (3, 4, 5))}
    h = c = np.zeros((3, 7))
    expected = []
    for t in range(4):
        h, c = keras_step(cell, arguments["x"][:, t], h, c, weights)
        expected.append(h)
    ours = convert.from_keras_weights(weights, reset_after=cell == "gru")
    output = run(cell, ours, arguments)
    np.testing.assert_allclose(output, np.stack(expected, axis=1), rtol=0, atol=1e-14)
    # What goes back means the same, though a parameter may have another value.
    again = convert.from_keras_weights(
        convert.to_keras_weights(ours, reset_after=cell == "gru"), reset_after=cell == "gru"
    )
    assert_same_bits(run(cell, again, arguments), output)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru_reset_before"])
def test_the_sum_of_two_biases_means_the_same(cell: str) -> None:
    parameters = parameters_of(cell, dtype=np.float64)
    merged = convert.from_keras_weights(
        convert.to_keras_weights(parameters, reset_after=False), reset_after=False
    )
    assert not merged["bias_hh_l0"].any()
    arguments = {"x": values((3, 4, 5), np.float64)}
    np.testing.assert_allclose(
        run(cell, merged, arguments), run(cell, parameters, arguments), rtol=0, atol=1e-14
    )


# --- a file of ONNX ----------------------------------------------------------------------------


def field(number: int, value: int | str | bytes) -> bytes:
    """Write a field of a protocol buffer: a number, or what its length is told of."""

    def varint(n: int) -> bytes:
        return bytes([n]) if n < 128 else bytes([n % 128 + 128]) + varint(n // 128)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def onnx_file(op: str, arrays: dict[str, np.ndarray], **attributes: int | str) -> bytes:
    """Write a model of one node, as onnx.proto numbers its fields."""
    given_ = b"".join(field(1, name) for name in ("X", *arrays)) + field(2, "Y") + field(4, op)
    for name, value in attributes.items():
        kind, number = (2, 3) if isinstance(value, int) else (3, 4)
        given_ += field(5, field(1, name) + field(20, kind) + field(number, value))
    tensors = b"".join(
        field(5, b"".join(field(1, n) for n in a.shape) + field(2, 1) + field(8, name)
              + field(9, a.astype("<f4").tobytes()))
        for name, a in arrays.items()
    )  # fmt: skip
    return field(7, field(1, given_) + tensors)


@each_cell
@both_ways
def test_a_layer_out_of_a_file(tmp_path: Any, cell: str, directions: int) -> None:
    parameters = parameters_of(cell, directions=directions)
    W, R, B, _ = convert.to_onnx_weights(parameters)
    assert B is not None
    attributes = {"direction": "bidirectional"} if directions == 2 else {}
    data = onnx_file(cell.upper(), {"W": W, "R": R, "B": B}, hidden_size=7, **attributes)
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (path, str(path), data):
        layer = convert.from_onnx(source)
        assert type(layer) is getattr(er, cell.upper())
        assert_same(layer.state_dict(), parameters)
    assert convert.load_onnx(path)[0].attributes == {"hidden_size": 7} | attributes
    assert list(convert.load_onnx_initializers(path)) == ["W", "R", "B"]
    for end in range(len(data)):
        with pytest.raises(ValueError, match="source cannot be read: "):
            convert.load_onnx(data[:end])


def test_a_reverse_layer_out_of_a_file() -> None:
    W, R, *_ = convert.to_onnx_weights(parameters_of("gru"))
    data = onnx_file("GRU", {"W": W, "R": R}, direction="reverse", linear_before_reset=1)
    assert repr(convert.from_onnx(data)) == "GRU(5, 7, bias=False, reverse=True)"


def test_what_no_layer_does_is_refused_by_name() -> None:
    W, R, *_ = convert.to_onnx_weights(parameters_of("lstm"))
    data = onnx_file("LSTM", {"W": W, "R": R}, input_forget=1)
    with pytest.raises(ValueError, match="LSTM 'Y' has input_forget = 1, which no layer here does"):
        convert.from_onnx(data)


# --- the runtimes ------------------------------------------------------------------------------


@each_variant
@both_ways
def test_onnx_runtime_computes_the_same(cell: str, directions: int) -> None:
    parameters = parameters_of(cell, directions=directions)
    x = RnnCase("onnx", 3, 6, 5, 7, "no_lengths").arguments(np.float32)["x"]
    expected = onnx_output(cell, convert.to_onnx_weights(parameters), x)
    actual = run(cell, parameters, {"x": x})
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6)


def onnx_output(cell: str, weights: tuple[Any, ...], x: np.ndarray) -> np.ndarray:
    """Run one node of ONNX Runtime, and put the directions side by side on the last axis."""
    ort = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    hidden, directions = weights[1].shape[2], len(weights[0])
    attributes = {"linear_before_reset": 1} if cell == "gru" else {}
    node = helper.make_node(
        cell.removesuffix("_reset_before").upper(), ["X", "W", "R", "B"], ["Y"],
        hidden_size=hidden, direction="bidirectional" if directions == 2 else "forward",
        **attributes,
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("X", tensor, [None, None, None])],
        [helper.make_tensor_value_info("Y", tensor, [None, None, None, None])],
        [onnx.numpy_helper.from_array(w, n) for w, n in zip(weights[:3], "WRB", strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"X": np.ascontiguousarray(x.swapaxes(0, 1))})
    return np.concatenate(list(y.transpose(1, 2, 0, 3)), axis=-1)


@each_cell
@both_ways
@with_and_without_bias
def test_pytorch_parameters_pass_through(cell: str, directions: int, bias: bool) -> None:
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, cell.upper())(
        5, 7, num_layers=2, bidirectional=directions == 2, bias=bias
    )
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    for layer in range(2):
        mine = {k: v for k, v in state.items() if f"_l{layer}" in k}
        converted = convert.to_onnx_weights(state, layer=layer)
        assert_same(convert.from_onnx_weights(*converted, layer=layer), mine)


# --- refusals ----------------------------------------------------------------------------------


def zeros(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [np.zeros(shape, np.float32) for shape in shapes]


def lstm(**changes: Any) -> dict[str, Any]:
    parameters = parameters_of("lstm") | changes
    return {name: value for name, value in parameters.items() if value is not None}


two_ways = parameters_of("gru", directions=2)
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "onnx_w_axes": (lambda: convert.from_onnx_weights(*zeros((28, 5), (1, 28, 7))),
                    "W must have shape (D, G*H, I) with D 1 or 2, got (28, 5)"),
    "onnx_directions": (lambda: convert.from_onnx_weights(*zeros((3, 28, 5), (3, 28, 7))),
                        "W must have shape (D, G*H, I) with D 1 or 2, got (3, 28, 5)"),
    "onnx_r_axes": (lambda: convert.from_onnx_weights(*zeros((1, 28, 5), (28, 7))),
                    "R must have shape (D, G*H, H), got (28, 7)"),
    "onnx_gates": (lambda: convert.from_onnx_weights(*zeros((1, 14, 5), (1, 14, 7))),
                   "R must have shape (G*H, H) with G 1, 3 or 4, got (1, 14, 7)"),
    "onnx_no_units": (lambda: convert.from_onnx_weights(*zeros((1, 0, 5), (1, 0, 0))),
                      "R must have shape (G*H, H) with G 1, 3 or 4, got (1, 0, 0)"),
    "onnx_r_directions": (lambda: convert.from_onnx_weights(*zeros((1, 28, 5), (2, 28, 7))),
                          "R must have shape (1, 28, 7), got (2, 28, 7)"),
    "onnx_w_rows": (lambda: convert.from_onnx_weights(*zeros((1, 21, 5), (1, 28, 7))),
                    "W must have shape (1, 28, 5), got (1, 21, 5)"),
    "onnx_b": (lambda: convert.from_onnx_weights(*zeros((1, 28, 5), (1, 28, 7), (1, 28))),
               "B must have shape (1, 56), got (1, 28)"),
    "onnx_p": (lambda: convert.from_onnx_weights(*zeros((1, 28, 5), (1, 28, 7), (1, 56), (1, 14))),
               "P must have shape (1, 21), got (1, 14)"),
    "onnx_p_of_a_gru": (
        lambda: convert.from_onnx_weights(*zeros((1, 21, 5), (1, 21, 7), (1, 42), (1, 21))),
        "P must be None where R is not that of an LSTM, got shape (1, 21)"),
    "peepholes": (lambda: convert.to_onnx_weights(lstm(weight_ch_l0=np.zeros(28))),
                  "weight_ch_l0 must have shape (21,), got (28,)"),
    "peepholes_of_a_gru": (
        lambda: convert.to_onnx_weights(two_ways | {"weight_ch_l0": np.zeros(21)}),
        "parameters has weight_ch_l0, which only an LSTM has"),
    "peepholes_of_one_direction": (
        lambda: convert.to_onnx_weights(
            parameters_of("lstm", directions=2) | {"weight_ch_l0_reverse": np.zeros(21)}),
        "parameters must have weight_ch_l0 and weight_ch_l0_reverse, got weight_ch_l0_reverse"),
    "peepholes_in_keras": (lambda: convert.to_keras_weights(lstm(weight_ch_l0=np.zeros(21))),
                           "parameters has weight_ch_l0, which other layouts cannot hold"),
    "keras_number": (lambda: convert.from_keras_weights(zeros((5, 28))),
                     "weights must be 2 or 3 arrays (kernel, recurrent_kernel, bias), or twice as "
                     "many of two directions or two layers, got 1"),
    "keras_kernel": (lambda: convert.from_keras_weights(zeros((28, 5), (7, 28))),
                     "weights[0] must have shape (28, 28), got (28, 5)"),
    "keras_kernel_scalar": (lambda: convert.from_keras_weights(zeros((), (7, 28))),
                            "weights[0] must have shape (0, 28), got ()"),
    "keras_recurrent": (lambda: convert.from_keras_weights(zeros((5, 28), (28, 7))),
                        "weights[1] must have shape (H, G*H) with G 1, 3 or 4, got (28, 7)"),
    "keras_second_direction": (
        lambda: convert.from_keras_weights(zeros((5, 28), (7, 28), (5, 28), (7, 21))),
        "weights[3] must have shape (7, 28), got (7, 21)"),
    "keras_reset_before": (lambda: convert.from_keras_weights(zeros((5, 21), (7, 21), (21,))),
                           "weights[2] must have shape (2, 21) as reset_after is True, got (21,)"),
    "keras_reset_after": (
        lambda: convert.from_keras_weights(zeros((5, 21), (7, 21), (2, 21)), reset_after=False),
        "weights[2] must have shape (21,) as reset_after is False, got (2, 21)"),
    "missing": (lambda: convert.to_onnx_weights(lstm(weight_ih_l0=None, bias_hh_l0=None)),
                "parameters must have weight_ih_l0, bias_hh_l0"),
    "missing_layer": (lambda: convert.to_keras_weights(lstm(), layer=1),
                      "parameters must have weight_ih_l1, weight_hh_l1"),
    "missing_direction": (
        lambda: convert.to_keras_weights(
            {k: v for k, v in two_ways.items() if k != "bias_hh_l0_reverse"}),
        "parameters must have bias_hh_l0_reverse"),
    "projections": (lambda: convert.to_onnx_weights(lstm(weight_hr_l0=np.zeros((3, 7)))),
                    "parameters has weight_hr_l0, which other layouts cannot hold"),
    "weight_ih": (lambda: convert.to_onnx_weights(lstm(weight_ih_l0=np.zeros((21, 5)))),
                  "weight_ih_l0 must have shape (28, 5), got (21, 5)"),
    "weight_hh": (lambda: convert.to_keras_weights(lstm(weight_hh_l0=np.zeros((7, 28)))),
                  "weight_hh_l0 must have shape (G*H, H) with G 1, 3 or 4, got (7, 28)"),
    "bias": (lambda: convert.to_keras_weights(lstm(bias_ih_l0=np.zeros(7))),
             "bias_ih_l0 must have shape (28,), got (7,)"),
    "second_direction": (
        lambda: convert.to_keras_weights(two_ways | {"weight_ih_l0_reverse": np.zeros((21, 6))}),
        "weight_ih_l0_reverse must have shape (21, 5), got (21, 6)"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
