"""The gradients of the recurrent layers: of stacks, in every form of input, and with dropout."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import LAYERS, assert_agree, assert_gradients, assert_same_bits, flat, padding
from embedrnn import _numpy

STACKS = [(1, False), (1, True), (3, False), (2, True)]

each_cell = pytest.mark.parametrize("cell", LAYERS)
each_stack = pytest.mark.parametrize(("num_layers", "bidirectional"), STACKS)

LENGTHS = np.array([6, 0, 3, 5, 2])


def make(cell: str, *sizes: int, **options: Any) -> Any:
    return getattr(er, cell)(*(sizes or (5, 7)), **({"rng": 0} | options))


def uniform(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def state_like(layer: Any, parts: list[np.ndarray]) -> Any:
    return tuple(parts) if isinstance(layer, er.LSTM) else parts[0]


def batch_of(layer: Any) -> dict[str, Any]:
    """Arguments of a call: NaN behind each row's length, and a state."""
    x = uniform((5, 6, layer.input_size), layer.dtype, seed=1)
    x[padding(LENGTHS, 5, 6)] = np.nan
    shape = (layer.num_layers * (1 + layer.bidirectional), 5, layer.hidden_size)
    state = state_like(layer, [uniform(shape, layer.dtype, seed) for seed in (2, 3)])
    return {"x": x, "lengths": LENGTHS, "state": state}


def cotangents(result: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return gradients of what a layer gave."""
    of_output, *parts = (
        uniform(part.shape, part.dtype, seed) for seed, part in enumerate(flat(result), start=4)
    )
    return of_output, tuple(parts) if len(parts) > 1 else parts[0]


def all_of(grads: Any) -> dict[str, np.ndarray]:
    """Return the gradients by name."""
    states = grads.state if isinstance(grads.state, tuple) else (grads.state,)
    named = {f"state {place}": part for place, part in enumerate(states)}
    x = grads.x.data if isinstance(grads.x, er.Packed) else grads.x
    return {"x": x} | named | grads.parameters


def assert_all_agree(backend: str, actual: Any, expected: Any) -> None:
    one, other = all_of(actual), all_of(expected)
    assert one.keys() == other.keys()
    for name, grad in one.items():
        assert_agree(backend, grad, other[name])


# --- what a vjp gives ----------------------------------------------------------------------------


@each_cell
@each_stack
def test_the_results_are_those_of_a_call(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool
) -> None:
    options = {"num_layers": num_layers, "bidirectional": bidirectional, "dtype": dtype}
    layer = make(cell, **options, dropout=0.0)
    arguments = batch_of(layer)
    result, backward = layer.vjp(**arguments)
    for actual, expected in zip(flat(result), flat(layer(**arguments)), strict=True):
        assert_same_bits(actual, expected)
    grads = backward(*cotangents(result))
    assert isinstance(grads, er.RecurrentGrads)
    shapes = {name: array.shape for name, array in layer.state_dict().items()}
    assert {name: array.shape for name, array in grads.parameters.items()} == shapes
    assert list(grads.parameters) == list(shapes)
    assert grads.x.shape == arguments["x"].shape
    for grad, state in zip(
        flat((grads.x, grads.state))[1:], flat((0, arguments["state"]))[1:], strict=True
    ):
        assert grad.shape == state.shape
    assert {grad.dtype for grad in all_of(grads).values()} == {np.dtype(dtype)}
    assert not grads.x[padding(LENGTHS, 5, 6)].tobytes().strip(b"\0")


def changed(layer: Any, arguments: dict[str, Any], name: str, change: np.ndarray) -> Any:
    """Return a layer and arguments of a call with something added to one of them."""
    if name in layer.state_dict():
        other = make(type(layer).__name__, layer.input_size, layer.hidden_size, layer.num_layers,
                     dropout=layer.dropout, bidirectional=layer.bidirectional, dtype="f8",
                     bias=layer.bias)  # fmt: skip
        other.load_state_dict(layer.state_dict() | {name: layer.state_dict()[name] + change})
        return other, arguments
    if name == "x":
        return layer, arguments | {"x": arguments["x"] + change}
    place = int(name.removeprefix("state "))
    parts = flat((0, arguments["state"]))[1:]
    parts[place] = parts[place] + change
    return layer, arguments | {"state": state_like(layer, parts)}


@each_cell
@each_stack
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_by_differences(
    backend: str, cell: str, num_layers: int, bidirectional: bool, dropout: float
) -> None:
    options = {"num_layers": num_layers, "bidirectional": bidirectional}
    layer = make(cell, 2, 3, dtype="f8", dropout=dropout, **options)
    arguments = batch_of(layer) | {"rng": 9}
    if not bidirectional:
        arguments["resets"] = np.random.default_rng(3).random((5, 6)) < 0.2
    result, backward = layer.vjp(**arguments)
    weights = cotangents(result)

    def loss(name: str, change: np.ndarray) -> float:
        other, call = changed(layer, arguments, name, change)
        parts = zip(flat(other.vjp(**call)[0]), flat(weights), strict=True)
        return float(sum((part * weight).sum() for part, weight in parts))

    assert_gradients(all_of(backward(*weights)), loss)


@each_cell
def test_a_layer_without_biases(backend: str, dtype: Any, cell: str) -> None:
    layer, biased = make(cell, bias=False, dtype=dtype), make(cell, dtype=dtype)
    zeros = {n: np.zeros_like(a) for n, a in biased.state_dict().items() if n.startswith("bias")}
    biased.update(layer.state_dict() | zeros)
    arguments = batch_of(layer)
    result, backward = layer.vjp(**arguments)
    grads = backward(*cotangents(result))
    _, other = biased.vjp(**arguments)
    expected = other(*cotangents(result))
    assert set(grads.parameters) == {"weight_ih_l0", "weight_hh_l0"}
    for name, grad in grads.parameters.items():
        assert_same_bits(grad, expected.parameters[name])
    assert_same_bits(grads.x, expected.x)


@pytest.mark.parametrize(
    ("cell", "option"),
    [
        ("RNN", {"nonlinearity": "relu"}),
        ("RNN", {"leak": 0.25}),
        ("GRU", {"reset_after": False}),
        ("LSTM", {"peepholes": True}),
    ],
    ids=["relu", "leaky", "reset_before", "peepholes"],
)
def test_variants_are_their_functions(backend: str, cell: str, option: dict[str, Any]) -> None:
    layer = make(cell, **option)
    arguments = batch_of(layer)
    result, backward = layer.vjp(**arguments)
    of_output, of_state = cotangents(result)
    grads = backward(of_output, of_state)
    call = {"x": arguments["x"], "lengths": LENGTHS, "h_0": arguments["state"][0]}
    call |= {name: on for name, on in option.items() if name not in {"leak", "peepholes"}}
    if cell == "LSTM":
        call["h_0"], call["c_0"] = (part[0] for part in arguments["state"])
    call |= {name.removesuffix("_l0"): array for name, array in layer.state_dict().items()}
    _, other = getattr(er, f"{cell.lower()}_vjp")(**call)
    parts = tuple(part[0] for part in flat((0, of_state))[1:])
    expected = other(of_output, parts if len(parts) > 1 else parts[0])
    for name, grad in grads.parameters.items():
        assert_agree(backend, grad, getattr(expected, name.removesuffix("_l0")))
    assert_agree(backend, grads.x, expected.x)
    assert_agree(backend, flat((0, grads.state))[1][0], expected.h_0)


@each_cell
@each_stack
def test_nothing_comes_back_of_nothing(
    backend: str, cell: str, num_layers: int, bidirectional: bool
) -> None:
    layer = make(cell, num_layers=num_layers, bidirectional=bidirectional)
    result, backward = layer.vjp(**batch_of(layer))
    assert not any(grad.any() for grad in all_of(backward()).values())
    of_output, of_state = cotangents(result)
    zeros = [np.zeros_like(part) for part in flat((of_output, of_state))]
    assert_all_agree(
        backend, backward(of_output), backward(of_output, state_like(layer, zeros[1:]))
    )
    assert_all_agree(backend, backward(None, of_state), backward(zeros[0], of_state))


@each_cell
@pytest.mark.parametrize(("rows", "time"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_do(backend: str, cell: str, rows: int, time: int) -> None:
    layer = make(cell, num_layers=2, bidirectional=True, dropout=0.5)
    result, backward = layer.vjp(np.zeros((rows, time, 5), np.float32), rng=1)
    of_output, of_state = cotangents(result)
    grads = backward(of_output, of_state)
    assert grads.x.shape == (rows, time, 5)
    assert not any(grad.any() for grad in grads.parameters.values())
    for grad, part in zip(flat((0, grads.state))[1:], flat((0, of_state))[1:], strict=True):
        assert_same_bits(grad, part)


# --- forms of input ------------------------------------------------------------------------------


def packed_from(padded: np.ndarray, order: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the valid steps of rows, longest first, as PyTorch packs them."""
    return np.concatenate([padded[order][lengths[order] > t, t] for t in range(int(lengths.max()))])


@each_cell
@each_stack
def test_every_form_has_the_gradients_of_padded(
    backend: str, cell: str, num_layers: int, bidirectional: bool
) -> None:
    layer = make(cell, num_layers=num_layers, bidirectional=bidirectional)
    arguments = batch_of(layer)
    lengths = arguments["lengths"] = np.array([6, 1, 3, 5, 2])
    behind = padding(lengths, 5, 6)
    arguments["x"][~behind] = uniform((17, 5), "f4")
    resets = None if bidirectional else np.random.default_rng(3).random((5, 6)) < 0.3

    def take(form: Callable[[np.ndarray], Any]) -> Any:
        return None if resets is None else form(resets)

    result, backward = layer.vjp(**arguments, resets=resets)
    of_output, of_state = cotangents(result)
    padded = backward(of_output, of_state)
    assert_same_bits(layer(**arguments, resets=resets)[0], result[0])

    ragged = {"x": arguments["x"][~behind], "state": arguments["state"]}
    ragged["resets"] = take(lambda array: array[~behind])
    offsets = np.concatenate(([0], lengths.cumsum()))
    expected = padded._replace(x=padded.x[~behind])
    for call in (ragged | {"offsets": offsets},
                 ragged | {"x": np.split(ragged["x"], offsets[1:-1])}):  # fmt: skip
        (output, _), backward = layer.vjp(**call)
        assert_agree(backend, output, result[0][~behind])
        assert_all_agree(backend, backward(of_output[~behind], of_state), expected)

    order = np.argsort(-lengths, kind="stable")
    sizes = [int((lengths > t).sum()) for t in range(6)]
    x = er.Packed(packed_from(arguments["x"], order, lengths), np.array(sizes), order,
                  np.argsort(order))  # fmt: skip
    again = take(lambda array: packed_from(array, order, lengths))
    (output, state), backward = layer.vjp(x, state=arguments["state"], resets=again)
    for actual, wanted in zip(flat((output.data, state))[1:], flat(result)[1:], strict=True):
        assert_agree(backend, actual, wanted)
    data = packed_from(of_output, order, lengths)
    expected = padded._replace(x=packed_from(padded.x, order, lengths))
    for of_packed in (data, output._replace(data=data)):
        grads = backward(of_packed, of_state)
        assert isinstance(grads.x, er.Packed)
        assert grads.x.batch_sizes is x.batch_sizes
        assert_all_agree(backend, grads, expected)


@each_cell
@each_stack
def test_one_sequence_is_a_row_of_a_batch(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool
) -> None:
    layer = make(cell, num_layers=num_layers, bidirectional=bidirectional, dtype=dtype)
    batch = batch_of(layer)
    x, states = batch["x"][:1], [part[:, :1] for part in flat((0, batch["state"]))[1:]]
    resets = None if bidirectional else np.arange(6) % 3 == 1
    result, backward = layer.vjp(
        x, None, state_like(layer, states), resets=None if resets is None else resets[None]
    )
    of_output, of_state = cotangents(result)
    expected = backward(of_output, of_state)
    alone = state_like(layer, [part[:, 0] for part in states])
    (output, last), backward = layer.vjp(x[0], None, alone, resets=resets)
    assert_agree(backend, output, result[0][0])
    for actual, wanted in zip(flat((output, last))[1:], flat(result)[1:], strict=True):
        assert_agree(backend, actual, wanted[:, 0])
    parts = [part[:, 0] for part in flat((0, of_state))[1:]]
    grads = backward(of_output[0], state_like(layer, parts))
    wanted_states = [part[:, 0] for part in flat((0, expected.state))[1:]]
    one_of = expected._replace(x=expected.x[0], state=state_like(layer, wanted_states))
    assert_all_agree(backend, grads, one_of)
    called, _ = layer(x[0], None, alone, resets=resets)
    assert_same_bits(called, output)


@each_cell
@pytest.mark.parametrize("num_layers", [1, 3])
def test_resets_of_a_stack_are_those_of_every_layer(
    backend: str, dtype: Any, cell: str, num_layers: int
) -> None:
    layer = make(cell, num_layers=num_layers, dtype=dtype)
    x, state = uniform((2, 7, 5), dtype), batch_of(layer)["state"]
    first = state_like(layer, [part[:, :2] for part in flat((0, state))[1:]])
    resets = np.zeros((2, 7), bool)
    resets[:, 4] = True
    output, last = layer(x, None, first, resets=resets)
    before, _ = layer(x[:, :4], None, first)
    behind, end = layer(x[:, 4:], None, first)
    assert_agree(backend, output, np.concatenate((before, behind), axis=1))
    for actual, expected in zip(flat((output, last))[1:], flat((output, end))[1:], strict=True):
        assert_agree(backend, actual, expected)


# --- what is kept --------------------------------------------------------------------------------


@each_cell
def test_backward_may_be_called_again_whatever_has_become_of_the_rest(
    backend: str, dtype: Any, cell: str
) -> None:
    layer = make(cell, num_layers=2, bidirectional=True, dropout=0.5, dtype=dtype)
    arguments = batch_of(layer)
    result, backward = layer.vjp(**arguments, rng=1)
    given = cotangents(result)
    expected = all_of(backward(*given))
    arguments["lengths"] = arguments["lengths"].copy()
    for array in (arguments["x"], *flat((0, arguments["state"]))[1:], *flat(result)):
        array[...] = 1
    zeros = {name: np.zeros_like(array) for name, array in layer.state_dict().items()}
    layer.load_state_dict(zeros)
    again = all_of(backward(*given))
    for name, grad in again.items():
        assert_same_bits(grad, expected[name])
        grad[...] = 7
    for name, grad in all_of(backward(*given)).items():
        assert_same_bits(grad, expected[name])


def test_a_tape_has_room_for_what_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing else tells the compiled core how much memory a walk over these rows fills.
    tapes: list[tuple[int, list[Any]]] = []

    def new_tape(cell: Any, pairs: int, has_input: bool = True) -> list[Any]:
        tapes.append((pairs, []))
        return tapes[-1][1]

    monkeypatch.setattr(_numpy.PackedCell, "new_tape", new_tape)
    layer, x = make("LSTM", num_layers=2, bidirectional=True), uniform((5, 6, 5), "f4")
    weights = [layer.weight_ih_l0, layer.weight_hh_l0]
    with er.use_backend("numpy"):
        for call in ({"x": x}, {"x": x, "lengths": LENGTHS}, {"x": x[:, :0]}, {"x": x[:0]},
                     {"x": x[0], "offsets": [0, 2, 2, 6]}, {"x": [x[0], x[1, :2]]}):  # fmt: skip
            layer.vjp(**call)
            er.lstm_vjp(call.pop("x"), *weights, **call)
        layer.vjp(x[0])
        layer.vjp(er.Packed(x[0], np.array([3, 2, 1])))
    assert len(tapes) == 6 * 5 + 2 * 4
    assert [pairs for pairs, tape in tapes if pairs != sum(len(step.x) for step in tape)] == []


# --- dropout -------------------------------------------------------------------------------------


@each_cell
@each_stack
def test_a_call_drops_nothing(
    backend: str, cell: str, num_layers: int, bidirectional: bool
) -> None:
    options = {"num_layers": num_layers, "bidirectional": bidirectional}
    layer, plain = make(cell, dropout=0.5, **options), make(cell, **options)
    arguments = batch_of(layer)
    expected = plain(**arguments)
    for actual, wanted in zip(flat(layer(**arguments)), flat(expected), strict=True):
        assert_same_bits(actual, wanted)
    dropped = layer.vjp(**arguments, rng=1)[0][0]
    assert np.array_equal(dropped, expected[0]) == (num_layers == 1)
    assert not dropped[padding(LENGTHS, 5, 6)].any()


@each_cell
def test_what_is_dropped_is_the_generators(backend: str, cell: str) -> None:
    layer = make(cell, num_layers=2, dropout=0.5)
    arguments = batch_of(layer)

    def dropped(rng: Any) -> bytes:
        (output, _), _ = layer.vjp(**arguments, rng=rng)
        return bytes(output.tobytes())

    assert dropped(1) == dropped(1) == dropped(np.random.default_rng(1))
    assert len({dropped(rng) for rng in (1, 2, None, None)}) == 4
    generator = np.random.default_rng(1)
    assert dropped(generator) != dropped(generator)  # it is drawn from, not copied


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_how_much_is_dropped_and_how_the_rest_is_scaled(
    backend: str, dtype: Any, dropout: float
) -> None:
    # The first layer gives 1 everywhere, the second what it reads.
    layer = er.RNN(1, 500, 2, nonlinearity="relu", bias=False, dropout=dropout, dtype=dtype)
    given = {"weight_ih_l0": np.ones((500, 1)), "weight_ih_l1": np.eye(500)}
    given |= {f"weight_hh_l{k}": np.zeros((500, 500)) for k in range(2)}
    layer.load_state_dict({name: array.astype(dtype) for name, array in given.items()})
    (output, _), backward = layer.vjp(np.ones((2, 10, 1), dtype), rng=3)
    assert np.unique(output).tolist() == [0, dtype(1 / (1 - dropout))]
    kept = (output > 0).mean()
    assert abs(kept - (1 - dropout)) < 5 * np.sqrt(dropout * (1 - dropout) / output.size)
    of_x = backward(np.ones_like(output)).x[..., 0]
    np.testing.assert_allclose(of_x, output.sum(axis=-1), rtol=1e-5)


def test_dropout_is_an_option_like_others(backend: str) -> None:
    layer = er.GRU(5, 7, 2, True, True, 0.25)
    assert repr(layer) == "GRU(5, 7, num_layers=2, dropout=0.25)"
    assert layer.dropout == 0.25
    with pytest.raises(AttributeError, match=r"^dropout is read-only"):
        layer.dropout = 0.5


# --- PyTorch -------------------------------------------------------------------------------------


@each_cell
@each_stack
@pytest.mark.parametrize("whole", [True, False], ids=["padded", "packed"])
def test_pytorch_gives_the_same(
    backend: str,
    dtype: Any,
    cell: str,
    num_layers: int,
    bidirectional: bool,
    whole: bool,
) -> None:
    torch = pytest.importorskip("torch")
    options = {"num_layers": num_layers, "bidirectional": bidirectional}
    module = getattr(torch.nn, cell)(
        5, 7, batch_first=True, dtype=getattr(torch, np.dtype(dtype).name), **options
    )
    layer = make(cell, dtype=dtype, **options)
    module.load_state_dict({n: torch.from_numpy(a.copy()) for n, a in layer.state_dict().items()})
    arguments = batch_of(layer)
    lengths = arguments["lengths"] = None if whole else np.array([6, 1, 3, 5, 2])
    arguments["x"] = uniform((5, 6, 5), dtype)
    result, backward = layer.vjp(**arguments)
    of_output, of_state = cotangents(result)
    grads = all_of(backward(of_output, of_state))

    x = torch.from_numpy(arguments["x"]).requires_grad_()
    parts = [torch.from_numpy(p).requires_grad_() for p in flat((0, arguments["state"]))[1:]]
    packing = torch.nn.utils.rnn
    given = x if whole else packing.pack_padded_sequence(
        x, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
    )  # fmt: skip
    output, last = module(given, tuple(parts) if len(parts) > 1 else parts[0])
    if not whole:
        output, _ = packing.pad_packed_sequence(output, batch_first=True)
    weights = flat((of_output, of_state))
    products = zip(flat((output, last)), weights, strict=True)
    sum((part * torch.from_numpy(weight)).sum() for part, weight in products).backward()
    expected = {"x": x.grad} | {f"state {k}": part.grad for k, part in enumerate(parts)}
    expected |= {name: parameter.grad for name, parameter in module.named_parameters()}
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        wanted = expected[name].numpy()
        atol = 64 * np.finfo(dtype).eps * max(1, np.abs(wanted).max())
        np.testing.assert_allclose(grad, wanted, rtol=0, atol=atol, err_msg=name)
