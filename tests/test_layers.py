"""The recurrent layers: the functions stacked, PyTorch's numbers and names, and what they hold."""

import copy
import pickle
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import CORE, GATES, ISAS, LAYERS, LAYOUTS, RnnCase, assert_same_bits, padding

STACKS = [(1, False), (1, True), (3, False), (2, True)]

each_cell = pytest.mark.parametrize("cell", LAYERS)
each_stack = pytest.mark.parametrize(("num_layers", "bidirectional"), STACKS)
with_and_without_bias = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])

# A batch of five rows, the second and the last of them empty.
BATCH = RnnCase("batch", 5, 6, 5, 7, "ascending")


def make(cell: str, *sizes: int, **options: Any) -> Any:
    return getattr(er, cell)(*(sizes or (5, 7)), **({"rng": 0} | options))


def batch_of(layer: Any, seed: int = 1) -> dict[str, Any]:
    """Arguments of a call: NaN behind each row's length, and a state."""
    rng = np.random.default_rng(seed)
    lengths = np.array([6, 0, 3, 5, 0])
    x = rng.uniform(-1, 1, (5, 6, layer.input_size)).astype(layer.dtype)
    x[padding(lengths, 5, 6)] = np.nan
    shape = (layer.num_layers * (1 + layer.bidirectional), 5, layer.hidden_size)
    states = [rng.uniform(-1, 1, shape).astype(layer.dtype) for _ in range(2)]
    state = tuple(states) if isinstance(layer, er.LSTM) else states[0]
    return {"x": x, "lengths": lengths, "state": state}


def flat(result: tuple[Any, Any]) -> list[np.ndarray]:
    """Return the output and the states as one list."""
    output, state = result
    return [output, *(state if isinstance(state, tuple) else (state,))]


def assert_all_same(actual: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    for got, wanted in zip(flat(actual), flat(expected), strict=True):
        assert_same_bits(got, wanted)


def stacked(layer: Any, x: np.ndarray, lengths: Any, state: Any) -> tuple[Any, Any]:
    """Run the functions one upon another, as the layer says that it does."""
    forward = getattr(er, f"{type(layer).__name__.lower()}_forward")
    options = {
        name: getattr(layer, name)
        for name in ("nonlinearity", "reset_after")
        if hasattr(layer, name)
    }
    cell = layer._stack.cell
    states = state if isinstance(state, tuple) else (state,)
    finals: list[list[np.ndarray]] = [[] for _ in states]
    for k in range(layer.num_layers):
        outputs = []
        for reverse in range(1 + layer.bidirectional):
            weights = {
                name: layer.state_dict().get(f"{name}_l{k}{'_reverse' * reverse}")
                for name in cell.parameters
            }
            position = len(finals[0])
            start = {n: s[position] for n, s in zip(("h_0", "c_0"), states, strict=False)}
            result = forward(
                x, **weights, lengths=lengths, reverse=bool(reverse), **start, **options
            )
            output, *final = flat(result)
            outputs.append(output)
            for part, value in zip(finals, final, strict=True):
                part.append(value)
        x = np.concatenate(outputs, axis=-1)
    together = [np.stack(part) for part in finals]
    return x, tuple(together) if len(together) == 2 else together[0]


# --- what a call gives -------------------------------------------------------------------------


@each_cell
@each_stack
@with_and_without_bias
def test_a_layer_is_its_functions_stacked(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool, bias: bool
) -> None:
    layer = make(cell, 5, 7, num_layers, bidirectional=bidirectional, bias=bias, dtype=dtype)
    arguments = batch_of(layer)
    expected = stacked(layer, **arguments)
    for _ in range(2):  # packing, and packed
        result = layer(**arguments)
        assert result[0].shape == (5, 6, 7 * (1 + bidirectional))
        # NumPy's products may round with the strides of what they take.
        for got, wanted in zip(flat(result), flat(expected), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=4 * np.finfo(dtype).eps)
            if backend != "numpy":
                assert_same_bits(got, wanted)


@pytest.mark.parametrize(
    ("cell", "option"),
    [
        ("RNN", {"nonlinearity": "relu"}),
        ("RNN", {"leak": 0.25}),
        ("RNN", {"nonlinearity": "relu", "leak": 0.25, "bias": False}),
        ("GRU", {"reset_after": False}),
        ("LSTM", {"peepholes": True}),
        ("LSTM", {"peepholes": True, "num_layers": 2, "bidirectional": True}),
    ],
    ids=["relu", "leaky", "leaky_relu", "reset_before", "peepholes", "peepholes_stacked"],
)
def test_variants(backend: str, cell: str, option: dict[str, Any]) -> None:
    layer = make(cell, **option)
    sizes = ("num_layers", "bidirectional", "bias")
    plain = make(cell, **{name: option[name] for name in sizes if name in option})
    arguments = batch_of(layer)
    expected = stacked(layer, **arguments)
    for got, wanted in zip(flat(layer(**arguments)), flat(expected), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    assert not np.array_equal(layer(**arguments)[0], plain(**arguments)[0])


def test_leaks_begin_as_they_are_told(backend: str) -> None:
    layer, whole = er.RNN(5, 7, 2, bidirectional=True, leak=0.25), er.RNN(5, 7, leak=1, rng=0)
    assert {name for name in layer.state_dict() if name.startswith("leak")} == {
        "leak_l0", "leak_l0_reverse", "leak_l1", "leak_l1_reverse"}  # fmt: skip
    for name in ("leak_l0", "leak_l1_reverse"):
        assert_same_bits(getattr(layer, name), np.full(7, 0.25, np.float32))
    x, plain = np.ones((2, 3, 5), np.float32), er.RNN(5, 7)
    plain.load_state_dict({n: a for n, a in whole.state_dict().items() if n != "leak_l0"})
    assert_all_same(whole(x), plain(x))
    whole.update({"leak_l0": np.linspace(0, 1, 7, dtype=np.float32)})
    assert_same_bits(whole(x)[0][..., 0], np.zeros((2, 3), np.float32))


def test_leaks_may_have_learned_to_be_anything() -> None:
    """They are parameters as others, where the option is in (0, 1]."""
    layer = er.RNN(5, 7, leak=0.5, rng=0)
    leaks = np.array([-1, 0, 1, 2, np.nan, np.inf, 0.5], np.float32)
    layer.update({"leak_l0": leaks})
    twin = er.RNN.from_state_dict(layer.state_dict())
    assert_same_bits(twin.leak_l0, leaks)
    x, parameters = np.ones((2, 3, 5), np.float32), layer.state_dict()
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "leak")
    weights = {name: parameters[f"{name}_l0"] for name in names}
    assert_same_bits(er.rnn_forward(x, **weights)[0], twin(x)[0])


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.array, Fraction])
def test_a_number_may_be_of_numpy(kind: Any) -> None:
    layer = er.RNN(np.int8(5), np.array(7), np.array(2)[()], leak=kind(0.5), dropout=kind(0.25))
    assert repr(layer) == "RNN(5, 7, num_layers=2, dropout=0.25, leak=0.5)"
    assert {type(value) for value in (layer.leak, layer.dropout)} == {float}
    assert {type(value) for value in (layer.input_size, layer.hidden_size)} == {int}
    assert not er.RNN(5, 7, bias=np.array(0)).bias


@pytest.mark.parametrize(
    ("cell", "option"), [("RNN", {"leak": 0.5}), ("LSTM", {"peepholes": True})]
)
def test_diagonals_are_pickled_and_stepped(backend: str, cell: str, option: Any) -> None:
    layer = make(cell, **option)
    name = layer._stack.cell.parameters[-1] + "_l0"
    again, x = pickle.loads(pickle.dumps(layer)), np.ones((2, 3, 5), np.float32)
    assert_all_same(layer(x), again(x))
    (output, _), backward = again.vjp(x)
    grads = backward(np.ones_like(output)).parameters
    assert grads[name].shape == getattr(layer, name).shape
    assert grads[name].any()
    er.optim.SGD(again, lr=0.5).step(grads)
    expected = getattr(layer, name) - np.float32(0.5) * grads[name]
    np.testing.assert_allclose(getattr(again, name), expected, rtol=1e-6)


@each_cell
def test_absent_lengths_and_state(backend: str, cell: str) -> None:
    layer = make(cell, num_layers=2)
    x = np.ones((5, 6, 5), np.float32)
    zeros = np.zeros((2, 5, 7), np.float32)
    state = (zeros, zeros) if cell == "LSTM" else zeros
    assert_all_same(layer(x), layer(x, [6] * 5, state))


@each_cell
@pytest.mark.parametrize(("rows", "time"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_do(backend: str, cell: str, rows: int, time: int) -> None:
    layer = make(cell, num_layers=2, bidirectional=True)
    state = np.full((4, rows, 7), 3, np.float32)
    given = (state, state) if cell == "LSTM" else state
    output, *states = flat(layer(np.zeros((rows, time, 5), np.float32), None, given))
    assert output.shape == (rows, time, 14)
    for final in states:
        assert_same_bits(final, state)


@each_cell
def test_no_features(backend: str, cell: str) -> None:
    layer = make(cell, 0, 3)
    output, _ = layer(np.zeros((2, 4, 0), np.float32))
    assert np.isfinite(output).all()
    assert output.any()  # the biases


@each_cell
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_every_argument(backend: str, cell: str, layout: str) -> None:
    layer = make(cell)
    arguments = batch_of(layer)
    arguments["lengths"] = np.full(5, 3)
    arguments["x"] = np.nan_to_num(arguments["x"])

    def moved(value: Any) -> Any:
        return tuple(map(moved, value)) if isinstance(value, tuple) else LAYOUTS[layout](value)

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(plain, value))
        return np.ascontiguousarray(value, value.dtype.newbyteorder("="))

    other = {name: moved(value) for name, value in arguments.items()}
    expected = layer(**{name: plain(value) for name, value in other.items()})
    for got, wanted in zip(flat(layer(**other)), flat(expected), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)


# --- one step at a time ------------------------------------------------------------------------


@each_cell
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_steps_are_the_call(
    backend: str, dtype: Any, cell: str, num_layers: int, rows: int
) -> None:
    layer = make(cell, 5, 19, num_layers, dtype=dtype)
    x = np.random.default_rng(2).uniform(-1, 1, (rows, 8, 5)).astype(dtype)
    expected, final = layer(x)
    state, out = None, np.full((rows, 19), 7, dtype)
    for t in range(8):
        output, state = layer.step(x[:, t], state, out=out if t % 2 else None)
        assert (output is out) == bool(t % 2)
        np.testing.assert_allclose(output, expected[:, t], rtol=0, atol=4 * np.finfo(dtype).eps)
        if backend != "numpy":
            assert_same_bits(output, expected[:, t])
    if backend != "numpy":
        assert_all_same((output, state), (output, final))


@given(data=st.data(), cell=st.sampled_from(list(LAYERS)), num_layers=st.integers(1, 3))
def test_a_stream_may_be_cut_anywhere(native: str, data: Any, cell: str, num_layers: int) -> None:
    layer = make(cell, 3, 5, num_layers)
    x = np.random.default_rng(3).uniform(-1, 1, (2, 12, 3)).astype(np.float32)
    expected = layer(x)
    state, t, pieces = None, 0, []
    while t < 12:
        n = data.draw(st.integers(1, 12 - t))
        if data.draw(st.booleans()):
            output, state = layer(x[:, t : t + n], None, state)
        else:
            n = 1
            output, state = layer.step(x[:, t], state)
            output = output[:, None]
        pieces.append(output)
        t += n
    assert_all_same((np.concatenate(pieces, axis=1), state), expected)


@each_cell
def test_a_step_leaves_its_state_alone_and_shares_nothing(backend: str, cell: str) -> None:
    layer = make(cell)
    state = batch_of(layer)["state"]
    before = copy.deepcopy(state)
    output, new = layer.step(np.ones((5, 5), np.float32), state)
    assert_all_same((output, state), (output, before))
    kept = copy.deepcopy(new)
    output[...] = np.nan
    assert_all_same((output, new), (output, kept))


@each_cell
@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_output_of_a_step_may_be_its_input(backend: str, cell: str, num_layers: int) -> None:
    layer = make(cell, 7, 7, num_layers)
    x = np.random.default_rng(4).uniform(-1, 1, (5, 7)).astype(np.float32)
    state = batch_of(layer)["state"]
    last = state[-1] if cell == "LSTM" else state
    expected = layer.step(x, state)
    assert_all_same(layer.step(x, copy.deepcopy(state), out=x), expected)
    for k in range(num_layers):
        again = copy.deepcopy(state)
        last = (again[0] if cell == "LSTM" else again)[k]
        x = np.random.default_rng(4).uniform(-1, 1, (5, 7)).astype(np.float32)
        assert_all_same(layer.step(x, again, out=last), expected)


def test_steps_of_no_row(backend: str) -> None:
    output, (h_n, c_n) = er.LSTM(5, 7).step(np.zeros((0, 5), np.float32))
    assert (output.shape, h_n.shape, c_n.shape) == ((0, 7), (1, 0, 7), (1, 0, 7))


# --- one sequence without a batch axis ---------------------------------------------------------


def row_of(state: Any, row: int) -> Any:
    """Return the state of one row of a batch, without the batch axis."""
    return tuple(s[:, row] for s in state) if isinstance(state, tuple) else state[:, row]


@each_cell
@each_stack
def test_one_sequence_is_a_row_of_a_batch(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool
) -> None:
    layer = make(cell, 5, 7, num_layers, bidirectional=bidirectional, dtype=dtype)
    arguments = batch_of(layer)
    x, state = np.nan_to_num(arguments["x"])[2:3], arguments["state"]
    slices = tuple(s[:, 2:3] for s in state) if cell == "LSTM" else state[:, 2:3]
    for one, batch in ((None, None), (row_of(state, 2), slices)):
        expected, final = layer(x, None, batch)
        wanted = expected[0], row_of(final, 0)
        for sequence in (x[0], x[0].astype(x.dtype.newbyteorder(">")), np.asfortranarray(x[0])):
            output, last = layer(sequence, None, one)
            assert output.shape == (6, 7 * (1 + bidirectional))
            assert type(last) is type(final)
            if backend != "numpy":
                assert_all_same((output, last), wanted)
            for got, near in zip(flat((output, last)), flat(wanted), strict=True):
                np.testing.assert_allclose(got, near, rtol=0, atol=4 * np.finfo(dtype).eps)


@each_cell
def test_one_sequence_as_a_list(backend: str, cell: str) -> None:
    layer = make(cell, dtype="f8")
    x = np.random.default_rng(2).uniform(-1, 1, (6, 5))
    assert_all_same(layer(x.tolist()), layer(x))
    assert_all_same(layer(list(x)), layer(x))
    assert_all_same(layer.step(x[0].tolist()), layer.step(x[0]))


@each_cell
def test_one_sequence_of_no_step(backend: str, cell: str) -> None:
    layer = make(cell, num_layers=2)
    state = np.full((2, 7), 3, np.float32)
    output, *states = flat(layer(zeros(0, 5), None, (state, state) if cell == "LSTM" else state))
    assert output.shape == (0, 7)
    for final in states:
        assert_same_bits(final, state)


@each_cell
@pytest.mark.parametrize("num_layers", [1, 3])
def test_steps_of_one_sequence(backend: str, dtype: Any, cell: str, num_layers: int) -> None:
    layer = make(cell, 5, 19, num_layers, dtype=dtype)
    x = np.random.default_rng(2).uniform(-1, 1, (8, 5)).astype(dtype)
    state: Any = None
    batch: Any = None
    out = np.full(19, 7, dtype)
    for t in range(8):
        output, state = layer.step(x[t], state, out=out if t % 2 else None)
        expected, batch = layer.step(x[t : t + 1], batch)
        assert (output is out) == bool(t % 2)
        assert output.shape == (19,)
        assert_all_same((output, state), (expected[0], row_of(batch, 0)))
    assert all(s.shape == (num_layers, 19) for s in flat((output, state))[1:])


def test_the_output_of_a_step_of_one_sequence_may_be_its_input(backend: str) -> None:
    layer, x = make("LSTM", 7, 7), np.random.default_rng(4).uniform(-1, 1, 7).astype(np.float32)
    expected = layer.step(x)
    assert_all_same(layer.step(x, out=x), expected)


@each_cell
def test_pytorch_gives_the_same_for_one_sequence(backend: str, cell: str) -> None:
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, cell)(5, 7, 2, batch_first=True, bidirectional=True)
    layer = make(cell, 5, 7, 2, bidirectional=True)
    layer.load_state_dict(module.state_dict())
    x = np.random.default_rng(1).uniform(-1, 1, (6, 5)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x))
    for got, wanted in zip(flat(layer(x)), flat(expected), strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=1e-6)


# --- PyTorch -----------------------------------------------------------------------------------


@each_cell
@each_stack
@with_and_without_bias
def test_pytorch_gives_the_same(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool, bias: bool
) -> None:
    torch = pytest.importorskip("torch")
    if not hasattr(torch.nn, cell):
        pytest.skip("PyTorch has no such layer")
    options = {"num_layers": num_layers, "bidirectional": bidirectional, "bias": bias}
    module = getattr(torch.nn, cell)(
        5, 7, batch_first=True, dtype=getattr(torch, np.dtype(dtype).name), **options
    )
    layer = make(cell, 5, 7, dtype=dtype, **options)
    layer.load_state_dict(module.state_dict())
    assert list(layer.state_dict()) == list(module.state_dict())
    arguments = batch_of(layer)
    lengths = arguments["lengths"] = np.array([6, 1, 3, 5, 2])  # PyTorch refuses 0
    x = arguments["x"] = np.nan_to_num(arguments["x"])
    state = arguments["state"]
    packing = torch.nn.utils.rnn
    with torch.no_grad():
        packed = packing.pack_padded_sequence(
            torch.from_numpy(x), torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
        )
        given_ = tuple(map(torch.from_numpy, state)) if cell == "LSTM" else torch.from_numpy(state)
        output, final = module(packed, given_)
        output, _ = packing.pad_packed_sequence(output, batch_first=True)
    for got, wanted in zip(flat(layer(**arguments)), flat((output, final)), strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=16 * np.finfo(dtype).eps)


@each_cell
def test_parameters_have_the_names_and_shapes_of_pytorch(cell: str) -> None:
    rows = GATES[LAYERS[cell]] * 7
    layer = make(cell, 5, 7, 2, bidirectional=True)
    assert {name: array.shape for name, array in layer.state_dict().items()} == {
        f"{name}_l{k}{suffix}": shape
        for k in range(2)
        for suffix in ("", "_reverse")
        for name, shape in {
            "weight_ih": (rows, 14 if k else 5),
            "weight_hh": (rows, 7),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }.items()
    }
    assert list(make(cell, bias=False).state_dict()) == ["weight_ih_l0", "weight_hh_l0"]


# --- PyTorch's words ---------------------------------------------------------------------------


@each_cell
def test_words_for_what_is_so_anyway(cell: str) -> None:
    words = {"batch_first": True, "dropout": 0.0, "proj_size": 0, "device": "cpu", "dtype": None}
    layer = make(cell, 5, 7, 2, **words)
    assert repr(layer) == repr(make(cell, 5, 7, 2)) == f"{cell}(5, 7, num_layers=2)"
    assert layer.dtype == np.float32
    for device in (None, "cpu:0"):
        assert repr(make(cell, 5, 7, device=device)) == f"{cell}(5, 7)"


@each_cell
def test_options_by_position_come_in_the_order_of_pytorch(cell: str) -> None:
    nonlinearity = ("relu",) if cell == "RNN" else ()
    layer = make(cell, 5, 7, 2, *nonlinearity, False, True, 0, True)
    named = {"nonlinearity": "relu"} if cell == "RNN" else {}
    expected = make(cell, 5, 7, num_layers=2, bias=False, bidirectional=True, **named)
    assert repr(layer) == repr(expected)
    with pytest.raises(ValueError, match=r"^batch_first must be True, got False"):
        make(cell, 5, 7, 2, *nonlinearity, False, False)


def test_the_advice_on_projections(backend: str) -> None:
    """A projected LSTM by its equations, and by what the error about proj_size says to do."""
    layer = er.LSTM(5, 7, bias=False, dtype="f8", rng=0)
    rng = np.random.default_rng(1)
    weight_hr, weight_hh = rng.uniform(-1, 1, (3, 7)), rng.uniform(-1, 1, (28, 3))
    x, h, c = rng.uniform(-1, 1, (6, 5)), np.zeros(3), np.zeros(7)
    outputs = []
    for x_t in x:
        i, f, g, o = np.split(layer.weight_ih_l0 @ x_t + weight_hh @ h, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = weight_hr @ (o * np.tanh(c))
        outputs.append(h)
    layer.update({"weight_hh_l0": weight_hh @ weight_hr})
    output, _ = layer(x[None])
    np.testing.assert_allclose(output[0] @ weight_hr.T, outputs, rtol=0, atol=1e-14)


# --- parameters --------------------------------------------------------------------------------


@each_cell
def test_initial_parameters(dtype: Any, cell: str) -> None:
    layer = make(cell, 50, 64, 2, bidirectional=True, dtype=dtype)
    values = np.concatenate([array.ravel() for array in layer.state_dict().values()])
    assert values.dtype == dtype
    assert np.abs(values).max() <= 1 / 8
    # A uniform distribution over [-1/8, 1/8]: its moments, within five standard errors.
    n = values.size
    assert abs(values.mean()) < 5 * (1 / 8) / np.sqrt(3 * n)
    assert abs(values.astype("f8").var() * 3 * 64 - 1) < 5 * np.sqrt(0.8 / n)
    assert len(np.unique(values)) > 0.9 * n


@each_cell
def test_rng(cell: str) -> None:
    def parameters(rng: Any) -> bytes:
        return b"".join(a.tobytes() for a in make(cell, rng=rng).state_dict().values())

    assert parameters(1) == parameters(1) == parameters(np.random.default_rng(1))
    assert parameters(1) == parameters(np.random.SeedSequence(1))
    assert len({parameters(rng) for rng in (1, 2, None, None)}) == 4
    generator = np.random.default_rng(1)
    assert parameters(generator) != parameters(generator)  # it is drawn from, not copied


@each_cell
def test_parameters_are_read_only(cell: str) -> None:
    layer = make(cell)
    layer.update({"bias_ih_l0": np.zeros(GATES[LAYERS[cell]] * 7, np.float32)})
    for again in (layer, copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))):
        for array in (again.weight_hh_l0, again.bias_ih_l0, again.state_dict()["weight_ih_l0"]):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
            with pytest.raises(ValueError, match="cannot set WRITEABLE"):
                array.flags.writeable = True
        for name in ("weight_ih_l0", "hidden_size", "dtype"):
            with pytest.raises(AttributeError, match=f"^{name} is read-only: parameters are "):
                setattr(again, name, 1)
    with pytest.raises(AttributeError, match=f"^'{cell}' object has no attribute 'weight_ih_l1'$"):
        _ = layer.weight_ih_l1
    layer.note = "as any object of Python"
    assert copy.copy(layer).note == layer.note
    assert {"weight_hh_l0", "note", "hidden_size", "step"} <= set(dir(layer))


@each_cell
@pytest.mark.parametrize("name", ["weight_ih_l1", "weight_hh_l0_reverse", "bias_hh_l1_reverse"])
def test_new_parameters_are_used(backend: str, cell: str, name: str) -> None:
    options: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
    layer, other = make(cell, **options), make(cell, **options)
    arguments = batch_of(layer)
    before = layer(**arguments)
    mine = layer.state_dict()[name].copy()
    layer.update({name: (2 * mine).astype(">f4")})
    other.load_state_dict(other.state_dict() | {name: 2 * mine})
    assert not np.array_equal(layer(**arguments)[0], before[0])
    assert_all_same(layer(**arguments), other(**arguments))
    layer.update({})
    assert_all_same(layer(**arguments), other(**arguments))
    layer.update({name: mine})
    mine[...] = 0  # a copy was taken
    assert_all_same(layer(**arguments), before)


REFUSED: dict[str, tuple[type[Exception], dict[str, Any], str]] = {
    "missing": (ValueError, {"weight_ih_l0": None, "bias_hh_l0": None},
                "missing weight_ih_l0, bias_hh_l0"),
    "unexpected": (ValueError, {"weight_io_l0": (3, 7), "weight_ih_l1": (28, 7)},
                   "unexpected weight_io_l0, weight_ih_l1"),
    "shape": (ValueError, {"weight_hh_l0": (7, 28), "bias_ih_l0": (28, 1)},
              "weight_hh_l0 must have shape (28, 7), got (7, 28); "
              "bias_ih_l0 must have shape (28,), got (28, 1)"),
    "dtype": (TypeError, {"weight_hh_l0": "f8", "bias_ih_l0": "f2"},
              "weight_hh_l0 must be float32, got float64; bias_ih_l0 must be float32, got float16"),
    "all": (ValueError, {"weight_ih_l0": None, "x": (1,), "weight_hh_l0": (1,), "bias_ih_l0": "f8"},
            "missing weight_ih_l0; unexpected x; weight_hh_l0 must have shape (28, 7), got (1,); "
            "bias_ih_l0 must be float32, got float64"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("method", ["load_state_dict", "update"])
def test_refused_parameters(method: str, case: str) -> None:
    error, changes, message = REFUSED[case]
    layer, other = er.LSTM(5, 7), er.LSTM(5, 7)
    state = other.state_dict()
    for name, change in changes.items():
        if change is None:
            del state[name]
        elif isinstance(change, str):
            state[name] = state[name].astype(change)
        else:
            state[name] = np.zeros(change, np.float32)
    if method == "update":  # which lets names be missing
        message = re.sub("^missing [^;]*(; )?", "", message)
    before = layer.state_dict()
    if message:
        with pytest.raises(error, match=f"^{re.escape('parameters do not fit LSTM(5, 7): ')}"
                                        f"{re.escape(message)}$"):  # fmt: skip
            getattr(layer, method)(state)
        assert all(array is before[name] for name, array in layer.state_dict().items())
    else:
        layer.update(state)
        assert_same_bits(layer.weight_hh_l0, other.weight_hh_l0)


def test_parameters_are_given_by_name() -> None:
    for given_ in ([], [("bias_ih_l0", np.zeros(28))], None):
        with pytest.raises(TypeError, match=r"^state_dict must be a mapping of names, got"):
            er.LSTM(5, 7).load_state_dict(given_)  # type: ignore[arg-type]


# --- copies ------------------------------------------------------------------------------------

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
}


@each_cell
@pytest.mark.parametrize("how", COPIES)
def test_copies(backend: str, cell: str, how: str) -> None:
    layer = make(cell, num_layers=2, bidirectional=True, bias=False)
    arguments = batch_of(layer)
    expected = layer(**arguments)
    other = COPIES[how](layer)
    assert repr(other) == repr(layer)
    assert_all_same(other(**arguments), expected)
    other.update({"weight_ih_l0": np.zeros_like(layer.weight_ih_l0)})
    assert not np.array_equal(other(**arguments)[0], expected[0])
    assert_all_same(layer(**arguments), expected)


def test_what_is_packed_is_not_pickled(backend: str) -> None:
    layer = er.LSTM(64, 64)
    before = len(pickle.dumps(layer))
    layer(np.zeros((1, 1, 64), np.float32))
    assert len(pickle.dumps(layer)) == before
    assert before < 1.1 * sum(array.nbytes for array in layer.state_dict().values())


# --- pickles that are not what they were -------------------------------------------------------


def pickled(layer: Any, change: Callable[[list[Any]], Any]) -> bytes:
    """Return a pickle of the layer with the arguments of its constructor changed."""

    class Changed:
        def __reduce__(self) -> tuple[Any, ...]:
            make, arguments = layer.__reduce__()
            changed = list(copy.deepcopy(arguments))
            change(changed)
            return make, tuple(changed)

    return pickle.dumps(Changed())


# What is changed among (class, format, options, parameters, other attributes), and the error.
SPOILT: dict[str, tuple[Callable[[list[Any]], Any], str]] = {
    "format": (lambda a: a.__setitem__(1, 1), "a GRU of pickle format 1 cannot be loaded"),
    "shorter_weight": (lambda a: a[3].update(weight_hh_l0=a[3]["weight_hh_l0"][:3]),
                       "weight_hh_l0 must have shape (21, 7), got (3, 7)"),
    "wider_input": (lambda a: a[2].update(input_size=6),
                    "weight_ih_l0 must have shape (21, 6), got (21, 5)"),
    "more_layers": (lambda a: a[2].update(num_layers=2), "missing weight_ih_l1"),
    "less_units": (lambda a: a[2].update(hidden_size=-7), "hidden_size must be 1 or more, got -7"),
    "no_weight": (lambda a: a[3].pop("bias_hh_l0"), "missing bias_hh_l0"),
    "more_weights": (lambda a: a[3].update(peephole=a[3]["bias_hh_l0"]), "unexpected peephole"),
    "dtype": (lambda a: a[2].update(dtype=np.dtype("f8")), "must be float64, got float32"),
    "object": (lambda a: a[3].update(bias_hh_l0=None), "bias_hh_l0 must be array_like"),
    "option": (lambda a: a[2].update(peepholes=True), "peepholes"),
    "no_option": (lambda a: a[2].pop("bias"), "bias"),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILT)
def test_a_pickle_that_does_not_fit_itself_is_refused(how: str) -> None:
    change, message = SPOILT[how]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        pickle.loads(pickled(er.GRU(5, 7), change))


def test_a_pickle_from_before_pickles_had_a_format_is_refused() -> None:
    layer = er.GRU.__new__(er.GRU)
    with pytest.raises(ValueError, match=r"^this GRU was pickled before pickles had a format: "):
        layer.__setstate__({"_options": (), "hidden_size": 7})


@pytest.mark.parametrize(
    ("name", "shape"),
    [("weight_ih", (20, 5)), ("weight_hh", (20, 7)), ("weight_hh", (21, 6)), ("bias_ih", (20,)),
     ("bias_hh", (22,)), ("bias_ih", (21, 1))],
)  # fmt: skip
def test_the_core_refuses_weights_that_do_not_fit(core: Any, name: str, shape: Any) -> None:
    layer = er.GRU(5, 7)
    weights = {
        n: getattr(layer, f"{n}_l0") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    with pytest.raises(ValueError, match=" must have "):
        core.pack("gru", **weights | {name: np.zeros(shape, np.float32)})


# --- backends, instruction sets, threads -------------------------------------------------------


@each_cell
@pytest.mark.skipif(CORE is None, reason="the compiled core is not built")
def test_one_layer_in_both_backends(cell: str) -> None:
    layer = make(cell, num_layers=2, bidirectional=True)
    arguments = batch_of(layer)
    results: dict[str, list[Any]] = {"numpy": [], "native": []}
    for _ in range(2):
        for name, found in results.items():
            with er.use_backend(name):
                found.append(layer(**arguments))
    for name, found in results.items():
        with er.use_backend(name):
            alone = copy.deepcopy(layer)(**arguments)
        for result in found:
            assert_all_same(result, alone)
    for got, wanted in zip(*(flat(found[0]) for found in results.values()), strict=True):
        assert not np.array_equal(got, wanted)  # or this test could not tell them apart
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)


@each_cell
def test_one_layer_while_the_instruction_set_changes(core: Any, cell: str) -> None:
    layer = make(cell, 5, 37, 2)
    arguments = batch_of(layer)
    expected = layer(**arguments)
    for isa in (*ISAS[::-1], *ISAS):
        core.set_isa(isa)
        assert_all_same(layer(**arguments), expected)


@each_cell
def test_threads_share_a_layer(backend: str, cell: str) -> None:
    layer = make(cell, 16, 32, 2)
    x = np.random.default_rng(5).uniform(-1, 1, (3, 9, 16)).astype(np.float32)
    expected = copy.deepcopy(layer)(x)
    start = threading.Barrier(8)
    name = er.config()["backend"]

    def work(k: int) -> None:
        with er.use_backend(name):  # which is chosen for each thread
            start.wait()
            for _ in range(20):
                if k % 2:
                    assert_all_same(layer(x), expected)
                else:
                    state = None
                    for t in range(9):
                        output, state = layer.step(x[:, t], state)
                    np.testing.assert_allclose(output, expected[0][:, -1], rtol=0, atol=1e-6)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, k) for k in range(8)]:
            done.result()


@each_cell
def test_no_update_is_lost(cell: str) -> None:
    layer, n = make(cell), 7 * GATES[LAYERS[cell]]
    before = sys.getswitchinterval()

    def count(name: str) -> None:
        for k in range(1, 1000):
            layer.update({name: np.full(n, k, np.float32)})
            assert layer.state_dict()[name][0] == k  # nobody else writes it

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(count, name) for name in ("bias_ih_l0", "bias_hh_l0")]:
                done.result()
    finally:
        sys.setswitchinterval(before)


@each_cell
def test_a_call_never_mixes_old_and_new_parameters(native: str, cell: str) -> None:
    layer = make(cell, 16, 32, 3)
    x = np.random.default_rng(6).uniform(-1, 1, (2, 5, 16)).astype(np.float32)
    choices = [make(cell, 16, 32, 3, rng=seed).state_dict() for seed in range(2)]
    answers = set()
    for state in choices:
        layer.load_state_dict(state)
        answers.add(layer(x)[0].tobytes())
    stop = threading.Event()

    def replace() -> None:
        k = 0
        while not stop.is_set():
            layer.load_state_dict(choices[k % 2])
            k += 1

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = {layer(x)[0].tobytes() for _ in range(300)}
    finally:
        stop.set()
        writer.join()
    assert seen <= answers


# --- representation and refusals ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (er.RNN(5, 7), "RNN(5, 7)"),
        (er.RNN(5, 7, 2, nonlinearity="relu"), "RNN(5, 7, num_layers=2, nonlinearity='relu')"),
        (er.RNN(5, 7, leak=0.5), "RNN(5, 7, leak=0.5)"),
        (er.LSTM(5, 7, peepholes=True), "LSTM(5, 7, peepholes=True)"),
        (er.GRU(5, 7, bias=False, reset_after=False), "GRU(5, 7, bias=False, reset_after=False)"),
        (er.LSTM(5, 7, 3, bidirectional=True, dtype="f8"),
         "LSTM(5, 7, num_layers=3, bidirectional=True, dtype=float64)"),
    ],
)  # fmt: skip
def test_repr(layer: Any, text: str) -> None:
    assert repr(layer) == text


BAD_OPTIONS: dict[str, tuple[type[Exception], tuple[Any, ...], dict[str, Any], str]] = {
    "hidden_size": (ValueError, (5, 0), {}, "hidden_size must be 1 or more, got 0"),
    "input_size": (ValueError, (-1, 7), {}, "input_size must be 0 or more, got -1"),
    "num_layers": (ValueError, (5, 7, 0), {}, "num_layers must be 1 or more, got 0"),
    "not_integer": (TypeError, (5, 7.0), {}, "hidden_size must be an integer, got float"),
    "dtype": (TypeError, (5, 7), {"dtype": "f2"}, "dtype must be float32 or float64, got float16"),
    "complex": (TypeError, (5, 7), {"dtype": complex},
                "dtype must be float32 or float64, got complex128"),
}  # fmt: skip


@each_cell
@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_refused_options(cell: str, case: str) -> None:
    error, sizes, options, message = BAD_OPTIONS[case]
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make(cell, *sizes, **options)


def test_refused_nonlinearity() -> None:
    with pytest.raises(ValueError, match=r"^nonlinearity must be 'tanh' or 'relu', got 'elu'$"):
        er.RNN(5, 7, nonlinearity="elu")  # type: ignore[arg-type]


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


X, STATE = zeros(3, 4, 5), zeros(2, 3, 7)
BAD_CALLS: dict[str, tuple[str, type[Exception], tuple[Any, ...], str]] = {
    "x_axes": ("GRU", ValueError, (X[0], [4]), "x must have shape (B, T, 5), got (4, 5)"),
    "x_one_axis": ("GRU", ValueError, (X[0, 0],), "x must have shape (B, T, 5), got (5,)"),
    "one_sequence": ("GRU", ValueError, (zeros(4, 7),), "x must have shape (T, 5), got (4, 7)"),
    "one_sequence_dtype": ("GRU", TypeError, (X[0].astype("f8"),),
                           "x must be float32 as the layer is, got float64"),
    "one_sequence_state": ("RNN", ValueError, (X[0], None, STATE[:, :1]),
                           "state must have shape (2, 7), got (2, 1, 7)"),
    "one_sequence_c_0": ("LSTM", ValueError, (X[0], None, (STATE[:, 0], STATE[:, :1])),
                         "c_0 must have shape (2, 7), got (2, 1, 7)"),
    "one_sequence_array": ("LSTM", TypeError, (X[0], None, STATE[:, 0]),
                           "state must be a tuple (h_0, c_0), got ndarray"),
    "x_features": ("GRU", ValueError, (zeros(3, 4, 7),),
                   "x must have shape (B, T, 5), got (3, 4, 7)"),
    "x_dtype": ("GRU", TypeError, (X.astype("f8"),),
                "x must be float32 as the layer is, got float64"),
    "x_integers": ("GRU", TypeError, (X.astype(int),),
                   "x must be float32 as the layer is, got int64"),
    "lengths": ("GRU", ValueError, (X, [4, 5, 0]), "lengths[1] must be between 0 and 4, got 5"),
    "lengths_shape": ("GRU", ValueError, (X, [4]), "lengths must have shape (3,), got (1,)"),
    "state_axes": ("GRU", ValueError, (X, None, STATE[0]),
                   "state must have shape (2, 3, 7), got (3, 7)"),
    "state_dtype": ("RNN", TypeError, (X, None, STATE.astype("f8")),
                    "state must be float32 as the layer is, got float64"),
    "state_tuple": ("RNN", ValueError, (X, None, (STATE, STATE)),
                    "state must have shape (2, 3, 7), got (2, 2, 3, 7)"),
    "state_array": ("LSTM", TypeError, (X, None, STATE),
                    "state must be a tuple (h_0, c_0), got ndarray"),
    "state_of_one": ("LSTM", TypeError, (X, None, (STATE,)),
                     "state must be a tuple (h_0, c_0), got 1 of them"),
    "state_h_0": ("LSTM", ValueError, (X, None, (STATE[:1], STATE)),
                  "h_0 must have shape (2, 3, 7), got (1, 3, 7)"),
    "state_c_0": ("LSTM", TypeError, (X, None, (STATE, STATE.astype("f8"))),
                  "c_0 must be float32 as the layer is, got float64"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CALLS)
def test_refused_calls(backend: str, case: str) -> None:
    cell, error, arguments, message = BAD_CALLS[case]
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make(cell, num_layers=2)(*arguments)


BAD_STEPS: dict[str, tuple[type[Exception], tuple[Any, ...], str]] = {
    "x_axes": (ValueError, (X,), "x_t must have shape (B, 5), got (3, 4, 5)"),
    "x_features": (ValueError, (zeros(3, 7),), "x_t must have shape (B, 5), got (3, 7)"),
    "x_dtype": (TypeError, (X[:, 0].astype("f8"),),
                "x_t must be float32 as the layer is, got float64"),
    "no_axis": (ValueError, (X[0, 0, 0],), "x_t must have shape (B, 5), got ()"),
    "one_features": (ValueError, (zeros(7),), "x_t must have shape (B, 5), got (7,)"),
    "one_dtype": (TypeError, (X[0, 0].astype("f8"),),
                  "x_t must be float32 as the layer is, got float64"),
    "one_state": (ValueError, (X[0, 0], (STATE[:, 0], STATE[:, :1])),
                  "c_0 must have shape (2, 7), got (2, 1, 7)"),
    "one_out": (ValueError, (X[0, 0], None, zeros(1, 7)), "out must have shape (7,), got (1, 7)"),
    "state": (ValueError, (X[:, 0], (STATE, STATE[:, :2])),
              "c_0 must have shape (2, 3, 7), got (2, 2, 7)"),
    "out_shape": (ValueError, (X[:, 0], None, zeros(3, 5)),
                  "out must have shape (3, 7), got (3, 5)"),
    "out_dtype": (TypeError, (X[:, 0], None, zeros(3, 7, dtype="f8")),
                  "out must be float32, got float64"),
    "out_list": (TypeError, (X[:, 0], None, [[0] * 7] * 3), "out must be an ndarray, got list"),
    "out_read_only": (ValueError, (X[:, 0], None, np.broadcast_to(zeros(7), (3, 7))),
                      "out is read-only"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_STEPS)
def test_refused_steps(backend: str, case: str) -> None:
    error, arguments, message = BAD_STEPS[case]
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        er.LSTM(5, 7, 2).step(*arguments)


@each_cell
def test_two_directions_cannot_step(cell: str) -> None:
    with pytest.raises(ValueError, match=r"^step needs a layer of one direction: the other"):
        make(cell, bidirectional=True).step(X[:, 0])
