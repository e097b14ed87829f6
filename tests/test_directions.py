"""The directions of recurrent layers: those that are reverse, and two whose outputs are merged."""

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import (
    LAYERS,
    allocates_less_than,
    assert_agree,
    assert_gradients,
    assert_same_bits,
    flat,
    padding,
)
from embedrnn import _npz
from embedrnn._check.layers import MERGE_MODES
from embedrnn.layers import recurrent
from embedrnn.layers.merging import MERGES
from embedrnn.layers.tape import Tape
from encoders import KINDS, POOLS, assert_near, drawn, force, of_parts, state_of
from encoders import make as make_encoder

WAYS: dict[str, dict[str, Any]] = {
    "reverse": {"reverse": True},
    **{merge: {"bidirectional": True, "merge": merge} for merge in ("sum", "mean", "mul")},
}
# What is made of the outputs of each direction.
MERGED: dict[str, Callable[..., np.ndarray]] = {
    "reverse": lambda one: one,
    "sum": lambda one, other: one + other,
    "mean": lambda one, other: (one + other) / 2,
    "mul": lambda one, other: one * other,
}

each_cell = pytest.mark.parametrize("cell", LAYERS)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_way = pytest.mark.parametrize("way", WAYS)
each_depth = pytest.mark.parametrize("num_layers", [1, 3])

LENGTHS = np.array([6, 0, 3, 5, 2])
HOLES = np.random.default_rng(6).random((5, 6)) < 0.6


def make(cell: str, way: str, num_layers: int = 1, *sizes: int, **options: Any) -> Any:
    return getattr(er, cell)(*(sizes or (5, 7)), num_layers, **({"rng": 0} | options | WAYS[way]))


def with_options(layer: Any, **options: Any) -> Any:
    """Return a layer of the same weights with other options."""
    given = layer._given_options() | options
    sizes = [given.pop(name) for name in ("input_size", "hidden_size")]
    other = type(layer)(*sizes, **given)
    other.load_state_dict(layer.state_dict())
    return other


def uniform(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def parts_of(state: Any) -> list[np.ndarray]:
    return flat((0, state))[1:]


def state_like(layer: Any, parts: list[np.ndarray]) -> Any:
    return tuple(parts) if isinstance(layer, er.LSTM) else parts[0]


def batch_of(layer: Any, lengths: np.ndarray = LENGTHS) -> dict[str, Any]:
    """Arguments of a call: NaN behind each row's length, and a state."""
    x = uniform((5, 6, layer.input_size), layer.dtype, seed=1)
    x[padding(lengths, 5, 6)] = np.nan
    shape = (layer.num_layers * (1 + layer.bidirectional), 5, layer.hidden_size)
    state = state_like(layer, [uniform(shape, layer.dtype, seed) for seed in (2, 3)])
    return {"x": x, "lengths": lengths, "state": state}


def cotangents(layer: Any, result: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return gradients of what a layer gave."""
    of_output, *parts = (
        uniform(part.shape, part.dtype, seed) for seed, part in enumerate(flat(result), start=4)
    )
    return of_output, state_like(layer, parts)


def all_of(grads: Any) -> dict[str, np.ndarray]:
    """Return the gradients of a layer by name."""
    states = {f"state {place}": part for place, part in enumerate(parts_of(grads.state))}
    x = grads.x.data if isinstance(grads.x, er.Packed) else grads.x
    return {"x": x} | states | grads.parameters


def assert_all_agree(backend: str, actual: Any, expected: Any) -> None:
    one, other = all_of(actual), all_of(expected)
    assert one.keys() == other.keys()
    for name, grad in one.items():
        assert_agree(backend, grad, other[name])


def composed(
    layer: Any, way: str, x: np.ndarray, lengths: Any, state: Any, resets: Any = None
) -> list[np.ndarray]:
    """Return what the functions give one upon another, each direction by itself, and merged."""
    forward = getattr(er, f"{type(layer).__name__.lower()}_forward")
    given, finals = parts_of(state), [[] for _ in parts_of(state)]
    for k in range(layer.num_layers):
        outputs = []
        for suffix in ("", "_reverse")[: 1 + layer.bidirectional]:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [layer.state_dict()[f"{name}_l{k}{suffix}"] for name in names]
            place = len(finals[0])
            start = {n: part[place] for n, part in zip(("h_0", "c_0"), given, strict=False)}
            output, *last = flat(forward(
                x, *weights, lengths=lengths, resets=resets,
                reverse=layer.reverse or suffix == "_reverse", **start,
            ))  # fmt: skip
            outputs.append(output)
            for final, part in zip(finals, last, strict=True):
                final.append(part)
        x = MERGED[way](*outputs)
    return [x, *(np.stack(final) for final in finals)]


# --- what a call gives ---------------------------------------------------------------------------


@each_cell
@each_way
@each_depth
def test_a_layer_is_its_functions(
    backend: str, dtype: Any, cell: str, way: str, num_layers: int
) -> None:
    layer = make(cell, way, num_layers, dtype=dtype)
    arguments = batch_of(layer)
    result = layer(**arguments)
    assert result[0].shape == (5, 6, 7)
    for actual, expected in zip(flat(result), composed(layer, way, **arguments), strict=True):
        assert_agree(backend, actual, expected)
    assert not result[0][padding(LENGTHS, 5, 6)].tobytes().strip(b"\0")


@each_cell
@each_depth
def test_a_reverse_layer_is_one_over_flipped_rows(
    backend: str, dtype: Any, cell: str, num_layers: int
) -> None:
    layer = make(cell, "reverse", num_layers, dtype=dtype)
    forwards, x = with_options(layer, reverse=False), uniform((5, 6, 5), dtype)
    state, resets = batch_of(layer)["state"], np.random.default_rng(3).random((5, 6)) < 0.3
    for again in (None, resets):
        flipped = None if again is None else again[:, ::-1]
        result, backward = layer.vjp(x, None, state, resets=again)
        expected, other = forwards.vjp(x[:, ::-1], None, state, resets=flipped)
        assert_agree(backend, result[0], expected[0][:, ::-1])
        for actual, wanted in zip(flat(result)[1:], flat(expected)[1:], strict=True):
            assert_agree(backend, actual, wanted)
        of_output, of_state = cotangents(layer, result)
        grads, wanted = backward(of_output, of_state), other(of_output[:, ::-1], of_state)
        assert_all_agree(backend, grads, wanted._replace(x=wanted.x[:, ::-1]))


@each_cell
def test_resets_of_a_reverse_layer_are_those_of_its_functions(backend: str, cell: str) -> None:
    layer = make(cell, "reverse", 3)
    arguments = batch_of(layer) | {"resets": np.random.default_rng(3).random((5, 6)) < 0.4}
    expected = composed(layer, "reverse", **arguments)
    for actual, wanted in zip(flat(layer(**arguments)), expected, strict=True):
        assert_agree(backend, actual, wanted)


def test_by_hand(backend: str) -> None:
    x = np.array([[1, 2, 4, 8]], "f4")[..., None]
    mask = [[False, True, True, False]]
    expected = {  # of running sums from both ends: 2, 6 and 6, 4
        "reverse": ([6, 4], [6]), "sum": ([8, 10], [6, 6]), "mean": ([4, 5], [6, 6]),
        "mul": ([12, 24], [6, 6]),
    }  # fmt: skip
    for way, (steps, last) in expected.items():
        layer = er.RNN(1, 1, nonlinearity="relu", bias=False, **WAYS[way])
        layer.load_state_dict({name: np.ones((1, 1), "f4") for name in layer.state_dict()})
        output, state = layer(x, mask=mask)
        assert output.ravel().tolist() == [0, *steps, 0]
        assert state.ravel().tolist() == last
        output, _ = layer(x, mask=mask, padding_fill="repeat")
        assert output.ravel().tolist() == [0, *steps, steps[-1]]


@each_cell
@each_way
@pytest.mark.parametrize(("rows", "time"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_do(backend: str, cell: str, way: str, rows: int, time: int) -> None:
    layer = make(cell, way, 2, dropout=0.5)
    result, backward = layer.vjp(np.zeros((rows, time, 5), np.float32), rng=1)
    assert result[0].shape == (rows, time, 7)
    of_output, of_state = cotangents(layer, result)
    grads = backward(of_output, of_state)
    assert not any(grad.any() for grad in grads.parameters.values())
    for grad, part in zip(parts_of(grads.state), parts_of(of_state), strict=True):
        assert_same_bits(grad, part)


@each_cell
@each_way
def test_a_row_has_its_bits_in_any_batch(native: str, cell: str, way: str) -> None:
    layer = make(cell, way, 2, 9, 37)
    x, lengths = uniform((40, 12, 9), "f4"), np.random.default_rng(1).integers(0, 13, 40)
    output, *states = flat(layer(x, lengths))
    for row, length in enumerate(lengths):
        alone, *last = flat(layer(x[row, :length]))
        assert_same_bits(alone, output[row, :length])
        for actual, expected in zip(last, states, strict=True):
            assert_same_bits(actual, np.ascontiguousarray(expected[:, row]))


@each_way
def test_numbers_past_infinity_pass_in_silence(backend: str, way: str) -> None:
    layer = make("RNN", way, 2, 1, 2, nonlinearity="relu")
    layer.update({name: np.full_like(a, 3e38) for name, a in layer.state_dict().items()})
    with np.errstate(all="raise"):
        (output, _), backward = layer.vjp(np.ones((1, 3, 1), "f4"))
        backward(np.full_like(output, np.inf))
    assert not np.isfinite(output).any()


# --- forms of input ------------------------------------------------------------------------------


@each_cell
@each_way
@each_depth
def test_every_form_gives_what_padded_rows_do(
    backend: str, cell: str, way: str, num_layers: int
) -> None:
    layer, lengths = make(cell, way, num_layers), np.array([6, 1, 3, 5, 2])
    arguments = batch_of(layer, lengths)
    x, state, valid = arguments["x"], arguments["state"], ~padding(lengths, 5, 6)
    result, backward = layer.vjp(**arguments)
    for actual, expected in zip(flat(layer(**arguments)), flat(result), strict=True):
        assert_same_bits(actual, expected)
    of_output, of_state = cotangents(layer, result)
    padded = backward(of_output, of_state)

    def check(call: dict[str, Any], take: Callable[[np.ndarray], np.ndarray]) -> None:
        (output, last), back = layer.vjp(**call, state=state)
        array = output.data if isinstance(output, er.Packed) else output
        for actual, expected in zip([array, *parts_of(last)], flat(result), strict=True):
            assert_agree(backend, actual, take(expected) if actual is array else expected)
        assert_all_agree(
            backend, back(take(of_output), of_state), padded._replace(x=take(padded.x))
        )

    offsets = np.concatenate(([0], lengths.cumsum()))
    check({"x": x, "mask": valid}, lambda array: array)
    check({"x": x[valid], "offsets": offsets}, lambda array: array[valid])
    check({"x": np.split(x[valid], offsets[1:-1])}, lambda array: array[valid])

    order = np.argsort(-lengths, kind="stable")

    def pack(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array[order][lengths[order] > t, t] for t in range(6)])

    sizes = np.array([int((lengths > t).sum()) for t in range(6)])
    check({"x": er.Packed(pack(x), sizes, order, np.argsort(order))}, pack)


def repeated(output: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return outputs with those of masked steps what the valid one before was."""
    found = np.zeros_like(output)
    for b, t in np.ndindex(mask.shape):
        found[b, t] = output[b, t] if mask[b, t] else found[b, t - 1] if t else 0
    return found


@each_cell
@each_way
@each_depth
def test_merged_outputs_repeat_as_those_of_each_direction(
    backend: str, dtype: Any, cell: str, way: str, num_layers: int
) -> None:
    layer, x = make(cell, way, num_layers, dtype=dtype), uniform((5, 6, 5), dtype)
    result, backward = layer.vjp(x, mask=HOLES)
    filled, back = layer.vjp(x, mask=HOLES, padding_fill="repeat")
    assert_same_bits(filled[0], repeated(result[0], HOLES))
    assert_same_bits(layer(x, mask=HOLES, padding_fill="repeat")[0], filled[0])
    if num_layers == 1 and way != "reverse":
        apart = with_options(layer, merge="concat")(x, mask=HOLES, padding_fill="repeat")[0]
        assert_agree(backend, filled[0], MERGED[way](apart[..., :7], apart[..., 7:]))
    of_output, of_state = cotangents(layer, filled)
    gathered = np.zeros_like(of_output)
    for b, t in np.ndindex(HOLES.shape):
        before = np.flatnonzero(HOLES[b, : t + 1])
        if before.size:
            gathered[b, before[-1]] += of_output[b, t]
    assert_all_agree(backend, back(of_output, of_state), backward(gathered, of_state))


# --- the way back --------------------------------------------------------------------------------


def changed(layer: Any, arguments: dict[str, Any], name: str, change: np.ndarray) -> Any:
    """Return a layer and arguments of a call with something added to one of them."""
    if name in layer.state_dict():
        other = with_options(layer)
        other.update({name: layer.state_dict()[name] + change})
        return other, arguments
    if name == "x":
        return layer, arguments | {"x": arguments["x"] + change}
    parts = parts_of(arguments["state"])
    place = int(name.removeprefix("state "))
    parts[place] = parts[place] + change
    return layer, arguments | {"state": state_like(layer, parts)}


@each_cell
@each_way
@each_depth
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_by_differences(
    backend: str, cell: str, way: str, num_layers: int, dropout: float
) -> None:
    layer = make(cell, way, num_layers, 2, 3, dtype="f8", dropout=dropout)
    arguments = batch_of(layer) | {"rng": 9}
    if way == "reverse":
        arguments["resets"] = np.random.default_rng(3).random((5, 6)) < 0.2
    result, backward = layer.vjp(**arguments)
    weights = cotangents(layer, result)

    def loss(name: str, change: np.ndarray) -> float:
        other, call = changed(layer, arguments, name, change)
        parts = zip(flat(other.vjp(**call)[0]), flat(weights), strict=True)
        return float(sum((part * weight).sum() for part, weight in parts))

    assert_gradients(all_of(backward(*weights)), loss)


@each_cell
@each_way
def test_backward_may_be_called_again_whatever_has_become_of_the_rest(
    backend: str, dtype: Any, cell: str, way: str
) -> None:
    layer = make(cell, way, 2, dropout=0.5, dtype=dtype)
    arguments = batch_of(layer)
    result, backward = layer.vjp(**arguments, rng=1, padding_fill="repeat")
    given = cotangents(layer, result)
    kept = copy.deepcopy(given)
    expected = all_of(backward(*given))
    for array in (arguments["x"], *parts_of(arguments["state"]), *flat(result)):
        array[...] = 1
    layer.load_state_dict({name: np.zeros_like(a) for name, a in layer.state_dict().items()})
    for _ in range(2):
        for name, grad in all_of(backward(*given)).items():
            assert_same_bits(grad, expected[name])
            grad[...] = 7
    for actual, before in zip(flat(given), flat(kept), strict=True):
        assert_same_bits(actual, before)


@each_way
def test_nothing_comes_back_of_nothing(backend: str, way: str) -> None:
    layer = make("GRU", way, 2)
    result, backward = layer.vjp(**batch_of(layer))
    assert not any(grad.any() for grad in all_of(backward()).values())
    of_output, of_state = cotangents(layer, result)
    zeros = np.zeros_like(of_output)
    assert_all_agree(backend, backward(None, of_state), backward(zeros, of_state))


def test_both_outputs_are_kept_only_where_they_are_read_again(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tapes: list[Tape] = []

    def new_tape(*args: Any) -> Tape:
        tapes.append(Tape(*args))
        return tapes[-1]

    monkeypatch.setattr(recurrent, "Tape", new_tape)
    x = np.zeros((100, 50, 1), "f4")
    each = 100 * 50 * 40 * 4  # bytes of the outputs of a direction
    for way in ("sum", "mean", "mul"):
        layer = make("RNN", way, 1, 1, 40)
        layer(x[:1])
        if backend != "numpy":  # whose steps hold more than their outputs
            with allocates_less_than(int(2.2 * each)):
                output, _ = layer(x)
            assert output.flags.owndata
        layer.vjp(x)
        assert [len(both) for both in tapes[-1].joined.values()] == [2] * (way == "mul")


# --- options -------------------------------------------------------------------------------------


def test_the_table_of_merges_has_their_names() -> None:
    assert ("concat", *MERGES) == MERGE_MODES


@each_cell
@each_way
def test_parameters_and_representation(cell: str, way: str) -> None:
    layer = make(cell, way, 2)
    twin = getattr(er, cell)(5, 7, 2, bidirectional=layer.bidirectional)
    assert list(layer.state_dict()) == list(twin.state_dict())
    for name, array in twin.state_dict().items():
        shape = (len(array), 7) if name.startswith("weight_ih_l1") else array.shape
        assert layer.state_dict()[name].shape == shape
    said = "reverse=True" if way == "reverse" else f"bidirectional=True, merge={way!r}"
    assert repr(layer) == f"{cell}(5, 7, num_layers=2, {said})"
    assert (layer.reverse, layer.merge) == (way == "reverse", WAYS[way].get("merge", "concat"))
    with pytest.raises(AttributeError, match=r"^merge is read-only"):
        layer.merge = "sum"


@each_cell
@each_way
def test_copies(backend: str, cell: str, way: str) -> None:
    layer = make(cell, way, 2)
    arguments = batch_of(layer)
    for other in (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(other) == repr(layer)
        for actual, expected in zip(
            flat(other(**arguments)), flat(layer(**arguments)), strict=True
        ):
            assert_same_bits(actual, expected)


@each_cell
def test_a_pickle_that_says_nothing_of_reverse_and_merge_is_loaded(cell: str) -> None:
    layer = getattr(er, cell)(5, 7, 2, bidirectional=True)
    make_again, (kind, version, options, *rest) = layer.__reduce__()
    before = {n: value for n, value in options.items() if n not in ("reverse", "merge")}
    other = make_again(kind, version, before, *rest)
    assert repr(other) == repr(layer)
    assert other._given_options() == options


STEP = "step needs a layer that is not reverse: that one starts at the end"


@each_cell
def test_a_reverse_layer_cannot_step(backend: str, cell: str) -> None:
    layer = make(cell, "reverse")
    encoder = er.Encoder(er.Embedding(11, 5), layer)
    for step in (lambda: layer.step(np.zeros((1, 5), "f4")), lambda: encoder.step([1]),
                 lambda: encoder.freeze().step([1])):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{re.escape(STEP)}$"):
            step()


# --- encoders ------------------------------------------------------------------------------------


def encoder_of(kind: str, way: str, num_layers: int = 1, **options: Any) -> Any:
    layer = {name: value for name, value in WAYS[way].items() if name != "bidirectional"}
    return make_encoder(kind, num_layers, way != "reverse", layer=layer, **options)


def pooled(way: str, output: np.ndarray, h_n: np.ndarray, pool: str) -> np.ndarray:
    """Return one vector of each row of padded outputs."""
    if pool == "last":
        return MERGED[way](*h_n[-1 if way == "reverse" else -2 :])
    lengths = drawn().lengths
    found = np.zeros(output.shape[::2], output.dtype)
    for b, n in enumerate(lengths):
        if n:
            row = output[b, :n]
            found[b] = row.max(axis=0) if pool == "max" else row.astype("f8").mean(axis=0)
    return found


def assert_called(backend: str, way: str, encoder: Any, expected: list[np.ndarray]) -> None:
    """Check a call, pooled or not, over padded and over ragged ids, against all outputs."""
    batch = drawn()
    state = state_of(encoder, 5) if isinstance(encoder, er.Encoder) else None
    for ids, call in ((batch.garbage, {"lengths": batch.lengths}), (batch.rows, {})):
        wanted = expected[0] if call else expected[0][batch.valid]
        found = flat(encoder(ids, **call, state=state))
        for actual, array in zip(found, [wanted, *expected[1:]], strict=True):
            assert_agree(backend, actual, array)
        for pool in POOLS:
            vectors, *states = flat(encoder(ids, **call, state=state, pool=pool))
            assert_near(vectors, pooled(way, expected[0], states[0], pool))
        nothing, *states = flat(encoder(ids, **call, state=state, output=False))
        assert nothing is None
        for actual, array in zip(states, expected[1:], strict=True):
            assert_agree(backend, actual, array)


@each_kind
@each_way
@pytest.mark.parametrize("path", ["steps", "distinct"])
def test_an_encoder_has_the_bits_of_its_parts(
    backend: str, dtype: Any, kind: str, way: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = drawn()
    for num_layers in (1, 2):
        encoder = encoder_of(kind, way, num_layers, dtype=dtype)
        with monkeypatch.context() as patch:
            force(patch, encoder, path)
            state = state_of(encoder, 5)
            expected = of_parts(encoder, batch.ids, batch.lengths, state)
            assert_called(backend, way, encoder, expected)
        frozen = flat(encoder(batch.ids, batch.lengths))
        assert_called(backend, way, encoder.freeze(), frozen)


@each_kind
@each_way
@pytest.mark.parametrize("pool", [None, *POOLS])
def test_gradients_of_an_encoder(backend: str, dtype: Any, kind: str, way: str, pool: Any) -> None:
    encoder, batch = encoder_of(kind, way, 2, dtype=dtype), drawn()
    state, layer = state_of(encoder, 5), encoder.recurrent
    result, backward = encoder.vjp(batch.garbage, batch.lengths, state, pool=pool)
    for actual, expected in zip(
        flat(result), flat(encoder(batch.garbage, batch.lengths, state, pool=pool)), strict=True
    ):
        assert_same_bits(actual, expected)
    rng = np.random.default_rng(5)
    of_output, *of_parts_ = (rng.uniform(-1, 1, p.shape).astype(dtype) for p in flat(result))
    of_state = state_like(layer, of_parts_)
    before = np.array(flat(result)[1])
    for part in flat(result):
        part[...] = 3  # which is the caller's
    grads = backward(of_output, of_state)

    x, back_to_table = encoder.embedding.vjp(batch.flat)
    padded = np.zeros((*batch.ids.shape, x.shape[1]), dtype)
    padded[batch.valid] = x
    (steps, _), back = layer.vjp(padded, batch.lengths, state)
    of_steps = of_output
    if pool == "last":
        of_steps, of_h = None, [part.copy() for part in parts_of(of_state)]
        last = list(before[-1 if way == "reverse" else -2 :])
        shares = {"reverse": [of_output], "sum": [of_output] * 2, "mean": [of_output / 2] * 2,
                  "mul": [of_output * part for part in reversed(last)]}[way]  # fmt: skip
        of_h[0][-len(last) :] += np.array(shares)
        of_state = state_like(layer, of_h)
    elif pool is not None:
        of_steps = np.zeros_like(steps)
        for b, n in enumerate(batch.lengths):
            if n and pool == "mean":
                of_steps[b, :n] = of_output[b] / n
            elif n:
                of_steps[b, steps[b, :n].argmax(axis=0), np.arange(steps.shape[2])] = of_output[b]
    expected = back(of_steps, of_state)
    table = back_to_table(expected.x[batch.valid])
    assert grads.weight.indices.tolist() == table.indices.tolist()
    assert_near(grads.weight.values, table.values)
    for actual, wanted in zip(parts_of(grads.state), parts_of(expected.state), strict=True):
        assert_near(actual, wanted)
    for name, grad in grads.parameters.items():
        assert_near(grad, expected.parameters[name])


@each_kind
@each_way
def test_a_frozen_encoder_comes_back(backend: str, tmp_path: Path, kind: str, way: str) -> None:
    frozen, batch, path = encoder_of(kind, way, 2).freeze(), drawn(), tmp_path / "encoder.npz"
    frozen.save(path)
    loaded = er.FrozenEncoder.load(path)
    for actual, expected in zip(flat(loaded(batch.rows)), flat(frozen(batch.rows)), strict=True):
        assert_same_bits(actual, expected)
    assert repr(loaded._layer) == repr(frozen._layer)


def test_a_file_that_says_nothing_of_reverse_and_merge_is_loaded(tmp_path: Path) -> None:
    frozen, path = make_encoder("gru", 1, True).freeze(), tmp_path / "encoder.npz"
    frozen.save(path)
    arrays = _npz.load(path, ("about",))
    about = bytes(arrays["about"]).replace(b'"reverse": false, "merge": "concat", ', b"")
    assert len(about) < len(arrays["about"])
    _npz.save(path, arrays | {"about": np.frombuffer(about, np.uint8)})
    expected = flat(frozen([[3, 1, 4]]))
    for actual, wanted in zip(
        flat(er.FrozenEncoder.load(path)([[3, 1, 4]])), expected, strict=True
    ):
        assert_same_bits(actual, wanted)


@each_way
@pytest.mark.parametrize("pool", [None, *POOLS])
def test_a_stream_has_the_results_of_single_calls(backend: str, way: str, pool: Any) -> None:
    encoder, rng = encoder_of("gru", way), np.random.default_rng(4)
    rows = [rng.integers(1, 11, n) for n in rng.integers(0, 9, 30)]
    for row, found in zip(rows, encoder.encode(rows, batch_tokens=20, pool=pool), strict=True):
        assert_agree(backend, found, encoder(row, pool=pool)[0])
