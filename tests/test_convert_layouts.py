"""Weights in the layouts of TensorFlow 1, Core ML, Flax and cuDNN, by the equations of each.

The cells here follow the documents of the libraries, one gate at a time, and know nothing of ours.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import assert_same_bits
from embedrnn import convert

INPUTS, H, T = 5, 3, 4
GATES = {"rnn": "n", "gru": "rzn", "lstm": "ifgo"}
LAYERS = {"rnn": er.RNN, "gru": er.GRU, "lstm": er.LSTM}

each_cell = pytest.mark.parametrize("cell", GATES)

Arrays = dict[str, np.ndarray]


def uniform(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape)


def x_of(width: int = INPUTS) -> np.ndarray:
    return uniform(2, T, width, seed=9)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def walked(step: Callable[..., Any], x: np.ndarray, *states: np.ndarray) -> np.ndarray:
    """Return the outputs of step(x, *states), the first of the states that it returns."""
    states = states or (np.zeros((2, H)), np.zeros((2, H)))
    outputs = []
    for t in range(x.shape[1]):
        states = step(x[:, t], *states)
        outputs.append(states[0])
    return np.stack(outputs, axis=1)


def run(cell: str, parameters: Mapping[str, np.ndarray], x: np.ndarray, **options: Any) -> Any:
    """Return the output of our layer, of the sizes that the parameters have."""
    return LAYERS[cell].from_state_dict(parameters, **options)(x)[0]


def cosines(*shape: int, start: int) -> np.ndarray:
    """Return numbers that any library makes alike."""
    return np.cos(np.arange(start, start + np.prod(shape), dtype=np.float32)).reshape(shape)


def close(actual: np.ndarray, expected: np.ndarray, atol: float = 1e-14) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


# --- TensorFlow 1 ------------------------------------------------------------------------------


def tf1_of(cell: str) -> Arrays:
    if cell == "gru":
        return {
            "gates/kernel": uniform(INPUTS + H, 2 * H), "gates/bias": uniform(2 * H),
            "candidate/kernel": uniform(INPUTS + H, H), "candidate/bias": uniform(H),
        }  # fmt: skip
    count = len(GATES[cell])
    return {"kernel": uniform(INPUTS + H, count * H), "bias": uniform(count * H)}


def tf1_step(cell: str, v: Arrays, forget_bias: float) -> Callable[..., Any]:
    def rnn(x: Any, h: Any, c: Any) -> Any:
        return np.tanh(np.hstack([x, h]) @ v["kernel"] + v["bias"]), c

    def gru(x: Any, h: Any, c: Any) -> Any:
        gates = sigmoid(np.hstack([x, h]) @ v["gates/kernel"] + v["gates/bias"])
        r, u = np.split(gates, 2, axis=1)
        n = np.tanh(np.hstack([x, r * h]) @ v["candidate/kernel"] + v["candidate/bias"])
        return u * h + (1 - u) * n, c

    def lstm(x: Any, h: Any, c: Any) -> Any:
        i, j, f, o = np.split(np.hstack([x, h]) @ v["kernel"] + v["bias"], 4, axis=1)
        zero = np.zeros(H)
        c_new = sigmoid(f + forget_bias + v.get("w_f_diag", zero) * c) * c
        c_new += sigmoid(i + v.get("w_i_diag", zero) * c) * np.tanh(j)
        return sigmoid(o + v.get("w_o_diag", zero) * c_new) * np.tanh(c_new), c_new

    return {"rnn": rnn, "gru": gru, "lstm": lstm}[cell]


TF1_OPTIONS: dict[str, dict[str, Any]] = {"gru": {"reset_after": False}}


@each_cell
@pytest.mark.parametrize("forget_bias", [1.0, 0.0, -0.25])
def test_tf1_equations(cell: str, forget_bias: float) -> None:
    variables, x = tf1_of(cell), x_of()
    expected = walked(tf1_step(cell, variables, forget_bias), x)
    parameters = convert.from_tf1_weights(variables, cell, forget_bias=forget_bias)
    close(run(cell, parameters, x, **TF1_OPTIONS.get(cell, {})), expected)
    if forget_bias == 1:
        assert all((convert.from_tf1_weights(variables, cell)[name] == parameters[name]).all()
                   for name in parameters)  # fmt: skip


@each_cell
def test_tf1_checkpoints(cell: str) -> None:
    """Names have a scope and perhaps an output's number, and optimisers keep something beside."""
    variables, scope = tf1_of(cell), "rnn/multi_rnn_cell/cell_0/lstm_cell/"
    expected = convert.from_tf1_weights(variables, cell)
    for end in ("", ":0"):
        saved = {f"{scope}{name}{end}": array for name, array in variables.items()}
        saved |= {f"{scope}{name}/Adam{end}": np.zeros(1) for name in variables}
        saved |= {"global_step": np.array(3), "dense/kernel": np.zeros((3, 2))}
        parameters = convert.from_tf1_weights(saved, cell, scope)
        assert list(parameters) == list(expected)
        for name, array in parameters.items():
            assert_same_bits(array, expected[name])
            assert array.flags.c_contiguous


def test_tf1_peepholes() -> None:
    variables = tf1_of("lstm")
    for k, gate in enumerate("fio"):
        variables[f"w_{gate}_diag"] = uniform(H, seed=k)
    parameters = convert.from_tf1_weights(variables, "lstm")
    assert list(parameters)[-1] == "weight_ch_l0"
    close(run("lstm", parameters, x_of()), walked(tf1_step("lstm", variables, 1.0), x_of()))
    reverse = convert.from_tf1_weights(variables, "lstm", layer=2, reverse=True)
    assert_same_bits(reverse["weight_ch_l2_reverse"], parameters["weight_ch_l0"])


def test_tf1_two_directions_and_layers() -> None:
    cells = [tf1_of("lstm"), {name: -array for name, array in tf1_of("lstm").items()}]
    parameters = convert.from_tf1_weights(cells[0], "lstm")
    parameters |= convert.from_tf1_weights(cells[1], "lstm", reverse=True)
    x = x_of()
    forward, back = (tf1_step("lstm", cell, 1.0) for cell in cells)
    expected = [walked(forward, x), walked(back, x[:, ::-1])[:, ::-1]]
    close(run("lstm", parameters, x), np.concatenate(expected, axis=2))
    above = {"kernel": uniform(3 * H, 4 * H), "bias": uniform(4 * H)}
    stack = convert.from_tf1_weights(cells[0], "lstm")
    lower = walked(tf1_step("lstm", cells[0], 1.0), x)
    upper = {"kernel": uniform(2 * H, 4 * H), "bias": above["bias"]}
    stack |= convert.from_tf1_weights(upper, "lstm", layer=1)
    close(run("lstm", stack, x), walked(tf1_step("lstm", upper, 1.0), lower))


def test_tf1_gates_by_hand() -> None:
    # One unit: i = 1, j = 2, f = 3, o = 4.
    variables = {"kernel": [[1, 2, 3, 4], [10, 20, 30, 40]], "bias": [5, 6, 7, 8]}
    parameters = convert.from_tf1_weights(variables, "lstm", forget_bias=0.5)
    assert parameters["weight_ih_l0"].tolist() == [[1], [3], [2], [4]]
    assert parameters["weight_hh_l0"].tolist() == [[10], [30], [20], [40]]
    assert parameters["bias_ih_l0"].tolist() == [5, 7.5, 6, 8]
    assert not parameters["bias_hh_l0"].any()


@pytest.mark.parametrize("dtype_name", ["float16", "float32", "float64"])
def test_the_dtype_stays(dtype_name: str) -> None:
    variables = {name: array.astype(dtype_name) for name, array in tf1_of("lstm").items()}
    for array in convert.from_tf1_weights(variables, "lstm").values():
        assert array.dtype == dtype_name


# What the cells of tf.compat.v1.nn.rnn_cell give in TensorFlow 2.21 and tf_keras 2.21, two units
# each, for variables of cosines in the order of their names, and forget_bias 0.5 with peepholes.
TF1_GIVES = {
    "rnn": [[0.19302818, 0.16357948], [0.81736791, -0.24386390], [0.95771366, 0.69575191]],
    "gru": [[0.11996958, 0.11489066], [0.73784757, -0.06849540], [0.89242166, 0.48269388]],
    "lstm": [[-0.04147465, -0.07693862], [-0.54594278, -0.31965774], [0.20473121, -0.66081762]],
    "peepholes": [
        [-0.04235230, -0.08175060],
        [-0.57836640, -0.36341512],
        [0.25069541, -0.67358011],
    ],
}


@pytest.mark.parametrize("name", TF1_GIVES)
def test_what_tf1_gives(name: str) -> None:
    cell = "lstm" if name == "peepholes" else name
    shapes = {key: [4, array.shape[1] // 3 * 2] if array.ndim == 2 else [len(array) // 3 * 2]
              for key, array in tf1_of(cell).items()}  # fmt: skip
    shapes |= {f"w_{gate}_diag": [2] for gate in "ifo"} if name != cell else {}
    variables = {key: cosines(*shapes[key], start=10 * k) for k, key in enumerate(sorted(shapes))}
    x = cosines(1, 3, 2, start=1)
    options = {} if name == cell else {"forget_bias": 0.5}
    parameters = convert.from_tf1_weights(variables, cell, **options)
    output = run(cell, parameters, x, **TF1_OPTIONS.get(cell, {}))
    close(output, np.array([TF1_GIVES[name]]), atol=1e-6)


# --- Core ML -----------------------------------------------------------------------------------


def coreml_of(cell: str) -> dict[str, list[np.ndarray]]:
    count = len(GATES[cell])
    return {
        "W_h": [uniform(H, H, seed=k) for k in range(count)],
        "W_x": [uniform(H, INPUTS, seed=k) for k in range(count)],
        "b": [uniform(H, seed=k) for k in range(count)],
    }


def coreml_step(cell: str, w: dict[str, list[np.ndarray]], added: float = 0) -> Callable[..., Any]:
    """One step by the equations of NeuralNetwork.proto, in the order of coremltools' lists."""
    peep = w.get("peep") or [np.zeros(H)] * 3
    b = w.get("b") or [np.zeros(H)] * 4

    def affine(k: int, x: Any, y: Any) -> Any:
        return x @ w["W_x"][k].T + y @ w["W_h"][k].T + b[k]

    def rnn(x: Any, y: Any, c: Any) -> Any:
        return np.tanh(affine(0, x, y)), c

    def gru(x: Any, y: Any, c: Any) -> Any:
        z, r = sigmoid(affine(0, x, y)), sigmoid(affine(1, x, y))
        return (1 - z) * np.tanh(affine(2, x, y * r)) + z * y, c

    def lstm(x: Any, y: Any, c: Any) -> Any:
        i = sigmoid(affine(0, x, y) + peep[0] * c)
        f = sigmoid(affine(1, x, y) + added + peep[1] * c)
        c_new = c * f + i * np.tanh(affine(3, x, y))
        return np.tanh(c_new) * sigmoid(affine(2, x, y) + peep[2] * c_new), c_new

    return {"rnn": rnn, "gru": gru, "lstm": lstm}[cell]


@each_cell
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("flat", [True, False])
def test_coreml_equations(cell: str, bias: bool, flat: bool) -> None:
    weights, x = coreml_of(cell), x_of()
    if not bias:
        del weights["b"]
    given: dict[str, Any] = weights
    if flat:
        given = {name: [array.ravel().tolist() for array in each] for name, each in weights.items()}
    parameters = convert.from_coreml_weights(**given)
    assert len(parameters) == (4 if bias else 2)
    expected = walked(coreml_step(cell, weights), x)
    close(run(cell, parameters, x, **TF1_OPTIONS.get(cell, {})), expected)


@pytest.mark.parametrize("bias", [True, False])
def test_coreml_forget_bias_and_peepholes(bias: bool) -> None:
    weights = coreml_of("lstm")
    if not bias:
        del weights["b"]
    parameters = convert.from_coreml_weights(**weights, forget_bias=True)
    close(run("lstm", parameters, x_of()), walked(coreml_step("lstm", weights, 1.0), x_of()))
    weights["peep"] = [uniform(H, seed=k) for k in range(3, 6)]
    parameters = convert.from_coreml_weights(**weights, forget_bias=True)
    expected = walked(coreml_step("lstm", weights, 1.0), x_of())
    close(run("lstm", parameters, x_of()), expected)


# --- Flax --------------------------------------------------------------------------------------


def flax_of(cell: str, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Return what flax.linen has of a cell, biases where it has them."""
    letters = {"rnn": [""], "gru": list("rzn"), "lstm": list("ifgo")}[cell]
    params: dict[str, dict[str, np.ndarray]] = {}
    for k, gate in enumerate(letters):
        params[f"i{gate}"] = {"kernel": uniform(INPUTS, H, seed=seed + k)}
        params[f"h{gate}"] = {"kernel": uniform(H, H, seed=seed + k)}
        params[f"h{gate}" if cell == "lstm" else f"i{gate}"]["bias"] = uniform(H, seed=seed + k)
    if cell == "gru":
        params["hn"]["bias"] = uniform(H, seed=7)
    return params


def fused(params: dict[str, dict[str, np.ndarray]], cell: str) -> dict[str, dict[str, np.ndarray]]:
    """Return what flax.nnx has of a cell whose gates are joined."""
    joined: dict[str, dict[str, np.ndarray]] = {}
    for side in "ih":
        parts = [params[name] for name in params if name[0] == side]
        joined[f"dense_{side}"] = {"kernel": np.hstack([part["kernel"] for part in parts])}
        if all("bias" in part for part in parts):
            joined[f"dense_{side}"]["bias"] = np.hstack([part["bias"] for part in parts])
    return joined


def flax_step(cell: str, p: dict[str, dict[str, np.ndarray]]) -> Callable[..., Any]:
    def dense(name: str, x: Any) -> Any:
        return x @ p[name]["kernel"] + p[name].get("bias", 0)

    def rnn(x: Any, h: Any, c: Any) -> Any:
        return np.tanh(dense("i", x) + dense("h", h)), c

    def gru(x: Any, h: Any, c: Any) -> Any:
        r, z = (sigmoid(dense(f"i{gate}", x) + dense(f"h{gate}", h)) for gate in "rz")
        return (1 - z) * np.tanh(dense("in", x) + r * dense("hn", h)) + z * h, c

    def lstm(x: Any, h: Any, c: Any) -> Any:
        i, f, g, o = (dense(f"i{gate}", x) + dense(f"h{gate}", h) for gate in "ifgo")
        c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c_new), c_new

    return {"rnn": rnn, "gru": gru, "lstm": lstm}[cell]


@each_cell
@pytest.mark.parametrize("bias", [True, False])
def test_flax_equations(cell: str, bias: bool) -> None:
    params, x = flax_of(cell), x_of()
    if not bias:
        params = {name: {"kernel": part["kernel"]} for name, part in params.items()}
    parameters = convert.from_flax_weights(params)
    assert len(parameters) == (4 if bias else 2)
    close(run(cell, parameters, x), walked(flax_step(cell, params), x))


@each_cell
def test_flax_cells_with_joined_gates(cell: str) -> None:
    params = flax_of(cell)
    if cell == "gru":  # whose bias beside the recurrent product nnx has not
        del params["hn"]["bias"]
    expected = convert.from_flax_weights(params)
    parameters = convert.from_flax_weights(fused(params, cell))
    assert list(parameters) == list(expected)
    for name, array in parameters.items():
        assert_same_bits(array, expected[name])


def test_flax_attributes_of_nnx() -> None:
    params = flax_of("lstm")
    expected = convert.from_flax_weights(params)
    params["if_"] = params.pop("if")
    for name, array in convert.from_flax_weights(params, layer=1, reverse=True).items():
        assert_same_bits(array, expected[name.replace("_l1_reverse", "_l0")])


def flax_by_cosines(cell: str) -> dict[str, dict[str, np.ndarray]]:
    """Return parameters of 2 inputs and 2 units that are the same everywhere."""
    params = flax_of(cell)
    return {
        name: {
            key: cosines(*((2, 2) if key == "kernel" else (2,)), start=10 * k + len(key))
            for key in sorted(params[name])
        }
        for k, name in enumerate(sorted(params))
    }


# What flax.linen 0.12.8 gives for them.
FLAX_GIVES = {
    "rnn": [[-0.57534558, -0.86673558], [0.22306705, -0.65131783], [0.66851377, 0.70299113]],
    "gru": [[-0.57073164, -0.13285857], [-0.93474859, -0.56276613], [-0.81938070, -0.47400206]],
    "lstm": [[0.10226824, 0.00995804], [-0.09817632, -0.22451904], [0.03174450, -0.10430572]],
}


@each_cell
def test_what_flax_gives(cell: str) -> None:
    parameters = convert.from_flax_weights(flax_by_cosines(cell))
    x = cosines(1, 3, 2, start=1)
    close(run(cell, parameters, x), np.array([FLAX_GIVES[cell]]), atol=1e-6)


# --- cuDNN -------------------------------------------------------------------------------------


def cudnn_of(state: Mapping[str, np.ndarray], cell: str, layers: int, directions: int) -> Any:
    """Return one flat array, each matrix and vector of a gate behind the other."""
    count, parts = len(GATES[cell]), []
    for kinds in (("weight_ih", "weight_hh"), ("bias_ih", "bias_hh")):
        for layer in range(layers):
            for suffix in ("", "_reverse")[:directions]:
                for kind in kinds:
                    array = state.get(f"{kind}_l{layer}{suffix}")
                    if array is not None:
                        parts += [gate.ravel() for gate in np.split(array, count)]
    return np.concatenate(parts)


@each_cell
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
def test_cudnn_slices(cell: str, layers: int, bidirectional: bool, bias: bool) -> None:
    layer = LAYERS[cell](INPUTS, H, layers, bidirectional=bidirectional, bias=bias)
    state = layer.state_dict()
    flat = cudnn_of(state, cell, layers, 1 + bidirectional)
    options = {"bidirectional": bidirectional, "bias": bias}
    parameters = convert.from_cudnn_weights(flat[:, None], cell, INPUTS, H, layers, **options)
    assert list(parameters) == list(state)
    for name, array in parameters.items():
        assert_same_bits(array, state[name])
        assert not np.shares_memory(array, flat)


def cudnn_step(cell: str, flat: np.ndarray) -> Callable[..., Any]:
    """One step by cuDNN's equations, of one layer: W_k for the input, R_k for the state."""
    count, rest = len(GATES[cell]), flat

    def taken(*shape: int) -> np.ndarray:
        nonlocal rest
        part, rest = np.split(rest, [int(np.prod(shape))])
        return part.reshape(shape)

    W, R = ([taken(H, width) for _ in range(count)] for width in (INPUTS, H))
    b_W, b_R = ([taken(H) for _ in range(count)] for _ in range(2))

    def affine(k: int, x: Any, h: Any) -> Any:
        return x @ W[k].T + b_W[k] + h @ R[k].T + b_R[k]

    def rnn(x: Any, h: Any, c: Any) -> Any:
        return np.tanh(affine(0, x, h)), c

    def gru(x: Any, h: Any, c: Any) -> Any:
        r, i = sigmoid(affine(0, x, h)), sigmoid(affine(1, x, h))
        new = np.tanh(x @ W[2].T + b_W[2] + r * (h @ R[2].T + b_R[2]))
        return (1 - i) * new + i * h, c

    def lstm(x: Any, h: Any, c: Any) -> Any:
        i, f, new, o = (affine(k, x, h) for k in range(4))
        c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(new)
        return sigmoid(o) * np.tanh(c_new), c_new

    return {"rnn": rnn, "gru": gru, "lstm": lstm}[cell]


@each_cell
def test_cudnn_equations(cell: str) -> None:
    count = len(GATES[cell])
    flat = uniform(count * H * (INPUTS + H + 2))
    parameters = convert.from_cudnn_weights(flat, cell, INPUTS, H)
    close(run(cell, parameters, x_of()), walked(cudnn_step(cell, flat), x_of()))


def test_cudnn_buffer_of_pytorch() -> None:
    """What torch.nn.LSTM would lay out for cuDNN, as a list of its own flat weights."""
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(INPUTS, H, 2, bidirectional=True)
    weights = [value.detach().numpy().ravel() for value in module._flat_weights]
    matrices = [weights[k] for k in range(len(weights)) if k % 4 < 2]
    biases = [weights[k] for k in range(len(weights)) if k % 4 >= 2]
    flat = np.concatenate([*matrices, *biases])
    parameters = convert.from_cudnn_weights(flat, "lstm", INPUTS, H, 2, bidirectional=True)
    for name, value in module.state_dict().items():
        assert_same_bits(parameters[name], value.numpy())


# --- refusals ----------------------------------------------------------------------------------


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def tf1(cell: str = "lstm", **changes: Any) -> Callable[[], Any]:
    variables = {**tf1_of(cell), **{k.replace("__", "/"): v for k, v in changes.items()}}
    given = {name: value for name, value in variables.items() if value is not None}
    return lambda: convert.from_tf1_weights(given, cell)  # type: ignore[arg-type]


def coreml(cell: str = "lstm", **changes: Any) -> Callable[[], Any]:
    return lambda: convert.from_coreml_weights(**(coreml_of(cell) | changes))


def flax(cell: str = "lstm", **changes: Any) -> Callable[[], Any]:
    return lambda: convert.from_flax_weights(flax_of(cell) | changes)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "tf1_missing": (tf1(bias=None), "variables must have bias"),
    "tf1_prefix": (lambda: convert.from_tf1_weights({"a/kernel": 0, "a/bias": 0}, "lstm"),
                   "variables must have kernel, bias; there are such names with the prefix 'a/'"),
    "tf1_peephole": (tf1(w_i_diag=zeros(H)), "variables must have w_f_diag, w_o_diag"),
    "tf1_peephole_of_rnn": (tf1("rnn", w_i_diag=zeros(H)),
                            "variables has w_i_diag beside those of the cell: its prefix tells "
                            "them apart, and projections and layer normalisation have no place "
                            "here"),
    "tf1_peephole_shape": (tf1(w_i_diag=zeros(H), w_f_diag=zeros(H + 1), w_o_diag=zeros(H)),
                           "w_f_diag must have shape (3,), got (4,)"),
    "tf1_projection": (tf1(projection__kernel=zeros(H, 2)),
                       "variables has projection/kernel beside those of the cell: its prefix tells "
                       "them apart, and projections and layer normalisation have no place here"),
    "tf1_kernel": (tf1(kernel=zeros(8, 13)), "kernel must have shape (I + H, 4*H), got (8, 13)"),
    "tf1_kernel_rows": (tf1(kernel=zeros(2, 12)),
                        "kernel must have shape (I + H, 4*H), got (2, 12)"),
    "tf1_no_units": (tf1(kernel=zeros(2, 0)), "kernel must have shape (I + H, 4*H), got (2, 0)"),
    "tf1_bias": (tf1(bias=zeros(11)), "bias must have shape (12,), got (11,)"),
    "tf1_gates": (tf1("gru", gates__kernel=zeros(8, 3)),
                  "gates/kernel must have shape (8, 6), got (8, 3)"),
    "tf1_candidate": (tf1("gru", candidate__kernel=zeros(8)),
                      "candidate/kernel must have shape (I + H, 1*H), got (8,)"),
    "tf1_candidate_bias": (tf1("gru", candidate__bias=zeros(2)),
                           "candidate/bias must have shape (3,), got (2,)"),
    "coreml_count": (coreml(W_h=[zeros(H, H)] * 2),
                     "W_h must be a list of 1, 3 or 4 matrices, got 2"),
    "coreml_no_gates": (coreml(W_h=[]), "W_h must be a list of 1, 3 or 4 matrices, got 0"),
    "coreml_no_units": (coreml(W_h=[zeros(0, 0)] * 4),
                        "W_h[0] must have shape (H, H) with H 1 or more, got (0, 0)"),
    "coreml_other_count": (coreml(W_x=[zeros(H, INPUTS)] * 3),
                           "W_x must be a list of 4 arrays, got 3"),
    "coreml_no_inputs": (coreml(W_x=[]), "W_x must be a list of 4 arrays, got 0"),
    "coreml_exchanged": (lambda: convert.from_coreml_weights(
        coreml_of("lstm")["W_x"], coreml_of("lstm")["W_h"]),
        "W_h[0] must have shape (3, 3), or as many numbers, got (3, 5)"),
    "coreml_inputs": (coreml(W_x=[zeros(H, INPUTS)] * 3 + [zeros(H, INPUTS + 1)]),
                      "W_x[3] must have shape (3, 5), or as many numbers, got (3, 6)"),
    "coreml_bias": (coreml(b=[zeros(H)] * 3 + [zeros(1)]),
                    "b[3] must have shape (3,), or as many numbers, got (1,)"),
    "coreml_peep": (coreml(peep=[zeros(H)] * 4), "peep must be a list of 3 arrays, got 4"),
    "coreml_peep_of_gru": (coreml("gru", peep=[zeros(H)] * 3),
                           "peep is for the four gates of an LSTM, got 3"),
    "coreml_forget_bias_of_gru": (coreml("gru", forget_bias=True),
                                  "forget_bias is for the four gates of an LSTM, got 3"),
    "flax_nothing": (lambda: convert.from_flax_weights({}),
                     "params must be i, h or dense_i, dense_h or ir, iz, in, hr, hz, hn or "
                     "ii, if, ig, io, hi, hf, hg, ho, got nothing"),
    "flax_minimal_gated_unit": (
        lambda: convert.from_flax_weights({key: {} for key in ("if", "hf", "in", "hn")}),
        "params must be i, h or dense_i, dense_h or ir, iz, in, hr, hz, hn or "
        "ii, if, ig, io, hi, hf, hg, ho, got if, hf, in, hn"),
    "flax_part": (flax(ii={"scale": zeros(3)}),
                  "params['ii'] must hold kernel and perhaps bias, got scale"),
    "flax_axes": (flax(ii={"kernel": zeros(3)}),
                  "params['ii']['kernel'] must have 2 axes, got shape (3,)"),
    "flax_kernel": (flax(ig={"kernel": zeros(INPUTS + 1, H)}),
                    "params['ig']['kernel'] must have shape (5, 3), got (6, 3)"),
    "flax_bias": (flax(hg={"kernel": zeros(H, H), "bias": zeros(2)}),
                  "params['hg']['bias'] must have shape (3,), got (2,)"),
    "flax_joined": (lambda: convert.from_flax_weights(
        {"dense_i": {"kernel": zeros(INPUTS, 6)}, "dense_h": {"kernel": zeros(3, 6)}}),
        "params must have kernels of (I, 1 or 3 or 4 * H) numbers for the input and of "
        "(H, 1 or 3 or 4 * H) for the state, got (5, 6) and (3, 6)"),
    "flax_other_cells": (lambda: convert.from_flax_weights(
        {"i": {"kernel": zeros(INPUTS, 3)}, "h": {"kernel": zeros(3, 4)}}),
        "params must have kernels of (I, 1 * H) numbers for the input and of (H, 1 * H) for the "
        "state, got (5, 3) and (3, 4)"),
    "cudnn_numbers": (lambda: convert.from_cudnn_weights(zeros(119), "lstm", INPUTS, H),
                      "params must be 120 numbers for input_size=5, hidden_size=3 and "
                      "num_layers=1, got 119"),
    "cudnn_layers": (lambda: convert.from_cudnn_weights(zeros(1), "lstm", 1, 1, 2**40),
                     "params must be 17592186044416 numbers for input_size=1, hidden_size=1 and "
                     "num_layers=1099511627776, got 1"),
    "cell": (lambda: convert.from_cudnn_weights(zeros(1), "LSTM", 1, 1),  # type: ignore[arg-type]
             "cell must be 'rnn' or 'gru' or 'lstm', got 'LSTM'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
