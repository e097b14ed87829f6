"""The gradients of encoders: those of the parts, by differences, and the bits they promise."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import allocates_less_than, assert_same_bits, flat, guarded
from embedrnn import _backend
from embedrnn._sequences import Rows, TokenGrads, Tokens
from encoders import (
    FORMS,
    HALVES,
    KINDS,
    N_IDS,
    PADDED,
    PATHS,
    POOLS,
    SHARED,
    STACKS,
    THREADS,
    Batch,
    assert_agree,
    assert_near,
    drawn,
    each_kind,
    each_stack,
    force,
    make,
    of_parts,
    pooled,
    shared,
    state_of,
)


def cotangents(result: tuple[Any, Any], seed: int = 5) -> tuple[Any, Any]:
    """Return gradients of what an encoder gave."""
    rng = np.random.default_rng(seed)
    of_output, *parts = (
        None if part is None else rng.uniform(-1, 1, part.shape).astype(part.dtype)
        for part in flat(result)
    )
    return of_output, tuple(parts) if len(parts) > 1 else parts[0]


def all_of(grads: Any) -> dict[str, np.ndarray]:
    """Return the gradients by name."""
    named = {f"state {place}": part for place, part in enumerate(flat((0, grads.state))[1:])}
    return {"rows": grads.weight.indices, "weight": grads.weight.values} | named | grads.parameters


def assert_all_same(actual: Any, expected: Any) -> None:
    one, other = all_of(actual), all_of(expected)
    assert one.keys() == other.keys()
    for name, grad in one.items():
        assert_same_bits(grad, other[name])


def assert_all_near(actual: Any, expected: Any, factor: float = 64) -> None:
    one, other = all_of(actual), all_of(expected)
    assert one.keys() == other.keys()
    for name, grad in one.items():
        if name == "rows":
            assert grad.tolist() == other[name].tolist()
        else:
            assert_near(grad, other[name], factor)


def parts_vjp(
    encoder: Any, batch: Batch, state: Any, of_steps: np.ndarray, of_state: Any
) -> er.EncoderGrads:
    """Return the gradients of the two layers, one behind the other, of padded ids."""
    embedding, layer = encoder.embedding, encoder.recurrent
    x, back_to_table = embedding.vjp(batch.flat)
    padded = np.zeros((*batch.ids.shape, x.shape[1]), layer.dtype)
    padded[batch.valid] = x
    _, back = layer.vjp(padded, batch.lengths, state)
    grads = back(of_steps, of_state)
    return er.EncoderGrads(back_to_table(grads.x[batch.valid]), grads.state, grads.parameters)


def spread(batch: Batch, output: np.ndarray, of_pooled: np.ndarray, pool: str) -> np.ndarray:
    """Return the gradient of all outputs that that of their means or maxima comes to."""
    found = np.zeros_like(output)
    for b, n in enumerate(batch.lengths):
        if n and pool == "mean":
            found[b, :n] = of_pooled[b] / n
        elif n:
            units = np.arange(output.shape[2])
            found[b, output[b, :n].argmax(axis=0), units] = of_pooled[b]
    return found


def with_last(of_state: Any, of_pooled: np.ndarray) -> Any:
    """Return the gradients of the states with those of the last ones, side by side, among them."""
    parts = [part.copy() for part in flat((0, of_state))[1:]]
    hidden = parts[0].shape[2]
    directions = of_pooled.shape[1] // hidden
    for d in range(directions):
        parts[0][d - directions] += of_pooled[:, d * hidden : (d + 1) * hidden]
    return tuple(parts) if len(parts) > 1 else parts[0]


# --- the gradients of the parts ------------------------------------------------------------------


@each_kind
@each_stack
@pytest.mark.parametrize("path", PATHS)
def test_the_gradients_are_those_of_the_parts(
    backend: str,
    dtype: Any,
    kind: str,
    num_layers: int,
    bidirectional: bool,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, batch = make(kind, num_layers, bidirectional, dtype=dtype, padding_idx=0), drawn()
    force(monkeypatch, encoder, path)
    state, call = state_of(encoder, 5), {"ids": batch.garbage, "lengths": batch.lengths}
    result, backward = encoder.vjp(**call, state=state)
    for actual, wanted in zip(flat(result), flat(encoder(**call, state=state)), strict=True):
        assert_same_bits(actual, wanted)
    assert encoder.last_run().path == path
    of_output, of_state = cotangents(result)
    grads = backward(of_output, of_state)
    assert isinstance(grads, er.EncoderGrads)
    assert list(grads.parameters) == list(encoder.recurrent.state_dict())
    expected = parts_vjp(encoder, batch, state, of_output, of_state)
    assert grads.weight.indices.tolist() == sorted(set(batch.flat))
    assert_all_near(grads, expected)
    of_output[~batch.valid] = np.nan
    assert_all_same(backward(of_output, of_state), grads)


@each_kind
@each_stack
@pytest.mark.parametrize("pool", POOLS)
def test_the_gradients_of_pooled_vectors(
    backend: str, dtype: Any, kind: str, num_layers: int, bidirectional: bool, pool: Any
) -> None:
    encoder, batch = make(kind, num_layers, bidirectional, dtype=dtype), drawn()
    state, call = state_of(encoder, 5), {"ids": batch.garbage, "lengths": batch.lengths}
    result, backward = encoder.vjp(**call, state=state, pool=pool)
    for actual, wanted in zip(
        flat(result), flat(encoder(**call, state=state, pool=pool)), strict=True
    ):
        assert_same_bits(actual, wanted)
    of_pooled, of_state = cotangents(result)
    grads = backward(of_pooled, of_state)
    output, *_ = of_parts(encoder, batch.ids, batch.lengths, state)
    of_steps = np.zeros_like(output)
    if pool == "last":
        of_state = with_last(of_state, of_pooled)
    else:
        of_steps = spread(batch, output, of_pooled, pool)
    assert_all_near(grads, parts_vjp(encoder, batch, state, of_steps, of_state))


@each_stack
@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_gradients_of_padded(
    backend: str, num_layers: int, bidirectional: bool, form: str
) -> None:
    encoder, batch = make("lstm", num_layers, bidirectional, padding_idx=0), drawn()
    state = state_of(encoder, 5)
    (output, last), backward = encoder.vjp(batch.garbage, batch.lengths, state)
    of_output, of_state = cotangents((output, last))
    expected = backward(of_output, of_state)
    ids, options = FORMS[form](batch)
    (output, _), backward = encoder.vjp(ids, state=state, **options)
    of_form = of_output if form in PADDED else of_output[batch.valid]
    assert output.shape == of_form.shape
    grads = backward(of_form, of_state)
    if backend == "numpy":
        assert_all_near(grads, expected)
    else:
        assert_all_same(grads, expected)


@each_kind
def test_one_sequence_alone(backend: str, kind: str) -> None:
    encoder, ids = make(kind, 2, True), np.array([3, 1, 0, 4, 1])
    state = state_of(encoder, 1)
    result, backward = encoder.vjp(ids[None], state=state)
    of_output, of_state = cotangents(result)
    expected = backward(of_output, of_state)
    parts = [part[:, 0] for part in flat((0, state))[1:]]
    alone = tuple(parts) if len(parts) > 1 else parts[0]
    (output, _), backward = encoder.vjp(ids, state=alone)
    assert output.shape == (5, 18)
    parts = [part[:, 0] for part in flat((0, of_state))[1:]]
    grads = backward(of_output[0], tuple(parts) if len(parts) > 1 else parts[0])
    parts = [part[:, 0] for part in flat((0, expected.state))[1:]]
    expected = expected._replace(state=tuple(parts) if len(parts) > 1 else parts[0])
    if backend == "numpy":
        assert_all_near(grads, expected)
    else:
        assert_all_same(grads, expected)
    (vector, _), backward = encoder.vjp(ids, state=alone, pool="mean")
    assert vector.shape == (18,)
    assert backward(vector).weight.indices.tolist() == [0, 1, 3, 4]


@each_kind
@each_stack
def test_masks_that_repeat(backend: str, kind: str, num_layers: int, bidirectional: bool) -> None:
    encoder, rng = make(kind, num_layers, bidirectional), np.random.default_rng(1)
    mask, ids = np.zeros((4, 6), bool), rng.integers(0, N_IDS, (4, 6))
    mask[[0, 0, 2, 2, 2, 3, 3, 3], [2, 5, 0, 4, 5, 0, 1, 3]] = True
    x, back_to_table = encoder.embedding.vjp(ids)
    _, back = encoder.recurrent.vjp(x, mask=mask)
    for fill in ("zero", "repeat"):
        result, backward = encoder.vjp(ids, mask=mask, padding_fill=fill)
        of_output, of_state = cotangents(result)
        grads = back(gathered(of_output, mask) if fill == "repeat" else of_output, of_state)
        table = back_to_table(grads.x)
        named = np.isin(table.indices, ids[mask])
        rows = er.RowGrad(table.indices[named], table.values[named])
        expected = er.EncoderGrads(rows, grads.state, grads.parameters)
        assert_all_near(backward(of_output, of_state), expected)
        layer_result, layer_back = encoder.recurrent.vjp(x, mask=mask, padding_fill=fill)
        assert_agree(backend, flat(result), flat(layer_result))
        assert_near(layer_back(of_output, of_state).x, grads.x)


def gathered(of_output: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the gradient of each valid output and of all the padded ones that repeat it."""
    found = of_output.copy()
    for b in range(len(mask)):
        last = None
        for t in range(mask.shape[1]):
            if mask[b, t]:
                last = t
            elif last is not None:
                found[b, last] += of_output[b, t]
    return found


# --- differences ---------------------------------------------------------------------------------


def with_change(encoder: Any, state: list[np.ndarray], name: str, change: np.ndarray) -> Any:
    """Return an encoder and the parts of a state with something added to one of them."""
    if name.startswith("state "):
        place = int(name.removeprefix("state "))
        parts = [part + change if k == place else part for k, part in enumerate(state)]
        return encoder, parts
    layer, table = encoder.recurrent, encoder.embedding.weight
    if name == "weight":
        return er.Encoder(er.Embedding.from_pretrained(table + change), layer), state
    options = layer._given_options()
    sizes = [options.pop(size) for size in ("input_size", "hidden_size")]
    other = type(layer)(*sizes, **options)
    other.load_state_dict(layer.state_dict() | {name: layer.state_dict()[name] + change})
    return er.Encoder(er.Embedding.from_pretrained(table), other), state


def slope(run: Any, name: str, direction: np.ndarray) -> float | None:
    """Return a central difference of the fourth order; None across a corner."""
    found = [run(name, step * direction) for step in (1e-3, -1e-3, 2e-3, -2e-3)]
    if len({corner for _, corner in found}) > 1:
        return None
    (a, _), (b, _), (c, _), (d, _) = found
    return float((8 * (a - b) - (c - d)) / 12e-3)


def assert_differences(
    encoder: Any, state: list[np.ndarray], seed: int, ids: Any, options: dict[str, Any]
) -> None:
    """Check every gradient along a direction; those of a relu or a maximum where they are smooth.

    Of a stack of relu only the last layer's corners are seen: there must be one.
    """

    def as_state(parts: list[np.ndarray]) -> Any:
        return tuple(parts) if len(parts) > 1 else parts[0]

    kind = encoder.recurrent._stack.cell.name
    result, backward = encoder.vjp(ids, state=as_state(state), **options)
    weights = cotangents(result, seed)
    every = {k: v for k, v in options.items() if k != "pool"} | {"output": True}

    def run(name: str, change: np.ndarray) -> tuple[float, bytes]:
        other, parts = with_change(encoder, state, name, change)
        found = flat(other(ids, state=as_state(parts), **options))
        pairs = zip(found, flat(weights), strict=True)
        total = sum((part * weight).sum() for part, weight in pairs if part is not None)
        steps = other(ids, state=as_state(parts), **every)[0]
        corner = b"" if kind != "rnn_relu" else (steps > 0).tobytes()
        if options.get("pool") == "max":
            corner += (steps == found[0][:, None]).tobytes()
        return float(total), corner

    grads = all_of(backward(*weights))
    rows = grads.pop("rows")
    dense = np.zeros_like(encoder.embedding.weight)
    dense[rows] = grads["weight"]
    rng = np.random.default_rng(seed)
    for name, grad in (grads | {"weight": dense}).items():
        direction = rng.uniform(-1, 1, grad.shape)
        if encoder.embedding.padding_idx is not None and name == "weight":
            direction[encoder.embedding.padding_idx] = 0
        expected = slope(run, name, direction)
        if expected is not None:
            error = abs((grad * direction).sum() - expected)
            assert error < 1e-7 * (1 + abs(expected)), name


@each_kind
@each_stack
@pytest.mark.parametrize("pool", [None, *POOLS])
def test_gradients_by_differences(
    backend: str, kind: str, num_layers: int, bidirectional: bool, pool: Any
) -> None:
    layers = 1 if kind == "rnn_relu" else num_layers
    encoder = make(kind, layers, bidirectional, sizes=(6, 2, 3), dtype="f8")
    ids = np.array([[3, 1, 4, 1], [5, 0, 3, 3], [2, 2, 2, 2]])
    state = flat((0, state_of(encoder, 3)))[1:]
    assert_differences(encoder, state, 7, ids, {"pool": pool, "lengths": [4, 0, 2]})


@given(
    kind=st.sampled_from(sorted(KINDS)),
    stack=st.sampled_from(STACKS),
    sizes=st.tuples(st.integers(1, 8), st.integers(0, 5), st.integers(1, 5)),
    shape=st.tuples(st.integers(0, 4), st.integers(0, 5)),
    pool=st.sampled_from([None, *POOLS]),
    masked=st.booleans(),
    fill=st.sampled_from(["zero", "repeat"]),
    padding=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_anything_by_differences(
    backend: str,
    kind: str,
    stack: tuple[int, bool],
    sizes: tuple[int, int, int],
    shape: tuple[int, int],
    pool: Any,
    masked: bool,
    fill: str,
    padding: bool,
    bias: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    layers = 1 if kind == "rnn_relu" else stack[0]
    encoder = make(kind, layers, stack[1], sizes=sizes, dtype="f8", layer={"bias": bias},
                   padding_idx=0 if padding and not masked else None)  # fmt: skip
    state = flat((0, state_of(encoder, shape[0])))[1:]
    valid = rng.random(shape) < 0.6
    options = {"mask": valid} if masked else {"lengths": valid.sum(axis=1)}
    ids = rng.integers(-sizes[0] * (not padding), sizes[0], shape)
    if encoder.embedding.padding_idx == 0 and shape[1]:
        ids[:, 0] = sizes[0] - 1  # no padding on the left
        if sizes[0] == 1:
            ids[...] = 0
    assert_differences(encoder, state, seed, ids, options | {"pool": pool, "padding_fill": fill})


# --- padding, counts and what is absent ----------------------------------------------------------


def test_the_row_of_padding_has_no_gradient(backend: str) -> None:
    encoder, other = make("gru", padding_idx=0), make("gru")
    other.embedding.update({"weight": encoder.embedding.weight})
    for ids in (np.array([[0, 3, 0], [1, -11, 5]]), np.array([[0]])):
        mask = np.ones(ids.shape, bool)
        (output, _), backward = encoder.vjp(ids, mask=mask)
        _, backward_of_all = other.vjp(ids, mask=mask)
        grads, all_grads = backward(output), backward_of_all(output)
        kept = all_grads.weight.indices != 0
        assert grads.weight.indices.tolist() == all_grads.weight.indices[kept].tolist()
        assert_same_bits(grads.weight.values, all_grads.weight.values[kept])
        for name, grad in grads.parameters.items():
            assert_same_bits(grad, all_grads.parameters[name])


def test_gradients_scaled_by_frequency(backend: str) -> None:
    encoder, other = make("gru", scale_grad_by_freq=True, padding_idx=0), make("gru", padding_idx=0)
    ids = np.array([[3, 3, -8, 1], [0, 1, 4, 0]])  # -8 is 3
    lengths = [4, 3]
    with pytest.raises(ValueError, match=r"^row 1 of ids begins with padding"):
        encoder.vjp(ids, lengths)
    mask = np.ones((2, 4), bool)
    (output, _), backward = encoder.vjp(ids, mask=mask)
    _, plain = other.vjp(ids, mask=mask)
    grad, expected = backward(output).weight, plain(output).weight
    assert grad.indices.tolist() == expected.indices.tolist() == [1, 3, 4]
    counts = np.array([[2], [3], [1]], np.float32)
    assert_same_bits(grad.values, expected.values / counts)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("path", PATHS)
def test_gradients_of_halves_are_rounded_once(
    backend: str, half: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, batch = make("lstm", 1, True, table=HALVES[half]), drawn()
    force(monkeypatch, encoder, path)
    wide = er.Embedding.from_pretrained(encoder.embedding.weight.astype(np.float32))
    other = er.Encoder(wide, encoder.recurrent)
    result, backward = encoder.vjp(batch.ids, batch.lengths)
    given_ = cotangents(result)
    grads, expected = backward(*given_), other.vjp(batch.ids, batch.lengths)[1](*given_)
    rounded = expected.weight.astype(HALVES[half])
    assert_all_same(grads, expected._replace(weight=rounded))


def test_rows_of_int8_have_no_gradient(backend: str) -> None:
    encoder = make("gru", table="int8", dtype="float32")
    with pytest.raises(TypeError, match=r"^int8 rows have no gradient"):
        encoder.vjp([[1]])


def test_rows_are_bounded_before_their_gradients(backend: str) -> None:
    encoder, other = make("gru", max_norm=0.5), make("gru", max_norm=0.5)
    batch = drawn()
    result, backward = encoder.vjp(batch.ids, batch.lengths)
    given_ = cotangents(result)
    other.embedding(batch.flat)
    plain = er.Encoder(er.Embedding.from_pretrained(other.embedding.weight), other.recurrent)
    expected, back = plain.vjp(batch.ids, batch.lengths)
    for actual, wanted in zip(flat(result), flat(expected), strict=True):
        assert_same_bits(actual, wanted)
    assert_all_same(backward(*given_), back(*given_))


@each_kind
@each_stack
def test_nothing_comes_back_of_nothing(
    backend: str, kind: str, num_layers: int, bidirectional: bool
) -> None:
    encoder, batch = make(kind, num_layers, bidirectional), drawn()
    for pool in (None, *POOLS):
        result, backward = encoder.vjp(batch.ids, batch.lengths, pool=pool)
        nothing = all_of(backward())
        assert nothing.pop("rows").tolist() == sorted(set(batch.flat))
        assert not any(grad.any() for grad in nothing.values())
        of_output, of_state = cotangents(result)
        zeros = [np.zeros_like(part) for part in flat((of_output, of_state))]
        no_state = tuple(zeros[1:]) if len(zeros) > 2 else zeros[1]
        assert_all_near(backward(of_output), backward(of_output, no_state))
        assert_all_near(backward(None, of_state), backward(zeros[0], of_state))


@each_stack
@pytest.mark.parametrize("pool", [None, *POOLS])
def test_gradients_without_outputs(
    backend: str, num_layers: int, bidirectional: bool, pool: Any
) -> None:
    encoder, batch = make("lstm", num_layers, bidirectional), drawn()
    result, backward = encoder.vjp(batch.ids, batch.lengths, output=False, pool=pool)
    expected, back = encoder.vjp(batch.ids, batch.lengths)
    assert result[0] is None
    assert_agree(backend, flat(result)[1:], flat(expected)[1:])
    _, of_state = cotangents(expected)
    assert_all_near(backward(None, of_state), back(None, of_state))
    for wrong in (np.zeros((5, 9 + 9 * bidirectional), "f4"), expected[0]):
        with pytest.raises(ValueError, match=r"^grad_output must be None where output is False$"):
            backward(wrong)


@pytest.mark.parametrize(
    "ids",
    [np.zeros((0, 4), int), np.zeros((3, 0), int), [[], []], np.zeros(0, int), [[], [3], []]],
    ids=str,
)
def test_little_to_do(backend: str, ids: Any) -> None:
    for pool in (None, *POOLS):
        encoder = make("lstm", 2, True)
        result, backward = encoder.vjp(ids, pool=pool)
        of_output, of_state = cotangents(result)
        grads = backward(of_output, of_state)
        if encoder.last_run().steps == 0:
            assert grads.weight.values.shape == (0, 10)
            assert not any(grad.any() for grad in grads.parameters.values())
            if pool != "last":
                for grad, part in zip(
                    flat((0, grads.state))[1:], flat((0, of_state))[1:], strict=True
                ):
                    assert_same_bits(grad, part)
        else:
            assert grads.weight.indices.tolist() == [3]


# --- bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", SHARED)
def test_threads_do_not_show(native: str, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, batch = shared(work)
    encoder, found = make("lstm", sizes=sizes), []
    for threads in THREADS:
        er.set_num_threads(threads)
        for path in PATHS:
            force(monkeypatch, encoder, path)
            result, backward = encoder.vjp(batch.ids, batch.lengths)
            found.append((flat(result), backward(*cotangents(result))))
    for result, grads in found[1:]:
        assert_all_same(grads, found[0][1])
        for actual, wanted in zip(result, found[0][0], strict=True):
            assert_same_bits(actual, wanted)


@pytest.mark.parametrize("pool", [None, *POOLS])
def test_more_pairs_than_a_tile_of_steps(native: str, pool: Any) -> None:
    # 600 pairs of 1,040 gradients each; the columns of tokens are added 256 at a time.
    encoder = make("lstm", sizes=(31, 5, 260), dtype="f8")
    batch = drawn(np.array([120, 3, 120, 117, 120, 120]), 31)
    state = state_of(encoder, 6)
    result, backward = encoder.vjp(batch.ids, batch.lengths, state, pool=pool)
    of_output, of_state = cotangents(result)
    output, *states = of_parts(encoder, batch.ids, batch.lengths, state)
    of_steps, of_last = np.zeros_like(output), of_state
    if pool is None:
        of_steps = of_output
    elif pool == "last":
        of_last = with_last(of_state, of_output)
    else:
        of_steps = spread(batch, output, of_output, pool)
    assert_near(flat(result)[0], output if pool is None else pooled(output, batch, states, pool))
    expected = parts_vjp(encoder, batch, state, of_steps, of_last)
    assert_all_near(backward(of_output, of_state), expected, 256)


@each_kind
@pytest.mark.parametrize("pool", [None, *POOLS])
def test_backward_may_be_called_again_whatever_has_become_of_the_rest(
    backend: str, kind: str, pool: Any
) -> None:
    layer = {"dropout": 0.5}
    encoder = make(kind, 2, True, layer=layer, scale_grad_by_freq=True)
    ids, lengths, offsets = np.arange(12).reshape(3, 4) % 11, np.array([4, 1, 2]), np.array([0, 12])
    mask = np.random.default_rng(0).random((3, 4)) < 0.7
    calls: list[tuple[Any, dict[str, Any]]] = [
        (ids.copy(), {"lengths": lengths}), (ids.copy(), {"mask": mask}), (ids.copy(), {}),
        (ids.ravel().copy(), {"offsets": offsets}), (ids.ravel().copy(), {}),
        ([row.copy() for row in ids], {}),
    ]  # fmt: skip
    before = [layer.state_dict() for layer in (encoder.embedding, encoder.recurrent)]
    for given_ids, options in calls:
        batch = 3 if isinstance(given_ids, list) or given_ids.ndim == 2 else 1
        state = flat((0, state_of(encoder, batch)))[1:]
        if isinstance(given_ids, np.ndarray) and given_ids.ndim == 1 and not options:
            state = [part[:, 0].copy() for part in state]
        whole = tuple(state) if len(state) > 1 else state[0]
        result, backward = encoder.vjp(given_ids, state=whole, pool=pool, rng=1, **options)
        weights = cotangents(result)
        expected = {name: grad.copy() for name, grad in all_of(backward(*weights)).items()}
        arrays = given_ids if isinstance(given_ids, list) else [given_ids]
        for array in (*arrays, *state, *options.values(), *flat(result)):
            array[...] = 1
        for part in (encoder.embedding, encoder.recurrent):
            part.update({name: np.zeros_like(a) for name, a in part.state_dict().items()})
        for _ in range(2):
            again = all_of(backward(*weights))
            for name, grad in again.items():
                assert_same_bits(grad, expected[name])
                grad[...] = 7
        for part, weights_before in zip(
            (encoder.embedding, encoder.recurrent), before, strict=True
        ):
            part.load_state_dict(weights_before)
        lengths[...], offsets[...], mask[...] = [4, 1, 2], [0, 12], True


@each_kind
def test_dropped_as_the_layer_drops(backend: str, kind: str) -> None:
    encoder = make(kind, 2, layer={"dropout": 0.5})
    ids = np.random.default_rng(0).integers(0, 11, (3, 4))
    result, backward = encoder.vjp(ids, rng=3)
    x, back_to_table = encoder.embedding.vjp(ids)
    expected, back = encoder.recurrent.vjp(x, rng=3)
    assert_agree(backend, flat(result), flat(expected))
    weights = cotangents(result)
    grads = back(*weights)
    wanted = er.EncoderGrads(back_to_table(grads.x), grads.state, grads.parameters)
    assert_all_near(backward(*weights), wanted)
    assert not np.array_equal(result[0], encoder(ids)[0])


# --- PyTorch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rnn_tanh", "rnn_relu", "gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pool", [None, *POOLS])
def test_pytorch_has_the_same_gradients(
    backend: str, kind: str, bidirectional: bool, pool: Any
) -> None:
    torch = pytest.importorskip("torch")
    num_layers = 2
    name, variant = KINDS[kind]
    embedding = torch.nn.Embedding(N_IDS, 10, padding_idx=0, dtype=torch.float64)
    module = getattr(torch.nn, name)(10, 9, num_layers, batch_first=True, dtype=torch.float64,
                                     bidirectional=bidirectional, **variant)  # fmt: skip
    encoder = make(kind, num_layers, bidirectional, dtype="f8", padding_idx=0)
    encoder.embedding.load_state_dict(embedding.state_dict())
    encoder.recurrent.load_state_dict(module.state_dict())
    batch = drawn(np.array([3, 7, 1, 5]))
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        embedding(torch.from_numpy(batch.ids)), torch.from_numpy(batch.lengths), batch_first=True,
        enforce_sorted=False,
    )  # fmt: skip
    output, states = module(packed)
    steps, _ = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
    states = states if isinstance(states, tuple) else (states,)
    valid = torch.from_numpy(batch.valid)[..., None]
    if pool == "mean":
        steps = steps.sum(1) / torch.from_numpy(batch.lengths)[:, None]
    elif pool == "max":
        steps = steps.masked_fill(~valid, -torch.inf).amax(1)
    elif pool == "last":
        steps = torch.cat(tuple(states[0][-1 - bidirectional :]), dim=1)
    result, backward = encoder.vjp(batch.ids, pool=pool)
    for actual, wanted in zip(flat(result), (steps, *states), strict=True):
        np.testing.assert_allclose(actual, wanted.detach().numpy(), atol=1e-12)
    of_output, of_state = cotangents(result)
    pairs = zip((steps, *states), flat((of_output, of_state)), strict=True)
    sum((part * torch.from_numpy(weight)).sum() for part, weight in pairs).backward()
    grads = backward(of_output, of_state)
    np.testing.assert_allclose(grads.weight.to_dense(N_IDS), embedding.weight.grad, atol=1e-12)
    for parameter, value in module.named_parameters():
        np.testing.assert_allclose(grads.parameters[parameter], value.grad, atol=1e-11)


# --- memory --------------------------------------------------------------------------------------


def test_nothing_of_the_size_of_the_rows_is_allocated(native: str) -> None:
    batch, time, features = 16, 64, 512
    encoder = make("gru", sizes=(50, features, 4))
    ids = np.random.default_rng(0).integers(0, 50, (batch, time))
    rows, lengths = batch * time * features * 4, np.full(batch, time)
    for options in ({}, {"output": False}, *({"pool": pool} for pool in POOLS)):

        def both(options: dict[str, Any] = options) -> None:
            result, backward = encoder.vjp(ids, lengths, **options)
            backward(*result)

        both()
        with allocates_less_than(rows // 3):
            both()


PEAK = """
    import resource
    import numpy as np
    import embedrnn as er

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

    embedding = er.Embedding(64, 512, rng=0)
    encoder = er.Encoder(embedding, er.LSTM(512, 8, rng=0))
    ids = np.random.default_rng(0).integers(0, 64, (64, 500))
    er.set_num_threads(1)
    for options in ({}, {"pool": "mean"}, {"pool": "max"}):
        for part in (ids[:, :2], ids):
            before = peak()
            result, backward = encoder.vjp(part, **options)
            backward(*result)
        assert peak() - before < 24 << 20, peak() - before  # rows are 64 MB, the tape is 8
"""


@pytest.mark.native
@pytest.mark.skip_under("asan", "tsan")
def test_the_core_allocates_nothing_of_the_size_of_the_rows(run_python: Any) -> None:
    run_python(PEAK, env={"EMBEDRNN_BACKEND": "native"}, timeout=60)


@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
def test_stays_inside_its_arrays(backend: str, dtype: Any, before: bool) -> None:
    rng = np.random.default_rng(0)
    for size in (*range(1, 10), 15, 16, 17, 33, 65):
        for features, hidden in ((size, 3), (3, size)):
            n = 3 * hidden
            shapes = ((n, features), (n, hidden), (n,), (n,))
            weights = [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]
            cell = _backend.current().pack("gru", *weights)

            def moved(array: np.ndarray) -> np.ndarray:
                return guarded(array, before=before)

            table = moved(rng.standard_normal((3, features)).astype(dtype))
            every, numbers = moved(np.arange(3)), moved(np.array([2, 1, 0, 1, 2]))
            starts, lengths = moved(np.array([0, 2])), moved(np.array([2, 3]))
            rows = Rows(2, lengths, starts, times=moved(np.array([0, 4, 1, 2, 3])))
            tape = cell.new_tape(5, False)
            if isinstance(tape, np.ndarray):
                tape = moved(tape)
            states = (moved(np.zeros((1, 2, hidden), dtype)),)
            steps = moved(np.zeros((2, 5, hidden), dtype))
            tokens = Tokens(table, np.dtype(dtype).name, every, numbers, starts, PATHS[size % 2])
            cell.forward(tokens, rows, None, (None,), False, steps, states, 0, tape)
            inputs, of_rows = moved(table), moved(np.zeros((3, features), dtype))
            grads = tuple(moved(np.zeros(shape, dtype)) for shape in shapes)
            of_steps, first = moved(np.ones_like(steps)), (moved(np.ones_like(states[0])),)
            to_rows = TokenGrads(numbers, starts, inputs, of_rows)
            cell.backward(rows, None, False, tape, of_steps, (None,), to_rows, first,
                          (*grads, None), 0)  # fmt: skip
            for part in (of_rows, first[0], *grads):
                assert np.isfinite(part).all()
                assert part.any()


# --- what the core refuses -----------------------------------------------------------------------

BAD_GRADS: dict[str, tuple[dict[str, Any], str]] = {
    "number": ({"numbers": np.array([0, 2, 1])}, "numbers"),
    "negative_number": ({"numbers": np.array([0, -1, 1])}, "numbers"),
    "start": ({"starts": np.array([0, 3])}, "starts"),
    "far_start": ({"starts": np.array([0, 2**63 - 1])}, "starts"),
    "few_numbers": ({"numbers": np.array([0, 1])}, "starts"),
    "no_starts": ({"starts": None}, "tokens"),
    "few_inputs": ({"inputs": np.zeros((1, 3), np.float32)}, "grad"),
    "few_rows": ({"inputs": np.zeros((1, 3), "f4"), "grad": np.zeros((1, 3), "f4")}, "numbers"),
    "few_grads": ({"grad": np.zeros((1, 3), np.float32)}, "grad"),
    "wide": ({"inputs": np.zeros((2, 4), "f4"), "grad": np.zeros((2, 4), "f4")}, "inputs"),
    "input_dtype": ({"inputs": np.zeros((2, 3))}, "inputs"),
    "grad_dtype": ({"grad": np.zeros((2, 3))}, "grad"),
    "grad_strides": ({"grad": np.zeros((3, 2), np.float32).T}, "grad"),
    "vector": ({"inputs": np.zeros(6, np.float32)}, "inputs"),
}  # fmt: skip


@pytest.mark.parametrize("how", BAD_GRADS)
def test_the_core_refuses_gradients_of_tokens_beyond_their_arrays(core: Any, how: str) -> None:
    changes, name = BAD_GRADS[how]
    shapes = ((21, 3), (21, 7), (21,), (21,))
    weights, grads = ([np.zeros(shape, np.float32) for shape in shapes] for _ in range(2))
    cell = core.pack("gru", *weights)
    rows, first = Rows(2, np.array([2, 1]), np.array([0, 2])), (np.zeros((1, 2, 7), np.float32),)
    good = {"numbers": np.array([0, 1, 1]), "starts": np.array([0, 2])}
    good |= {name: np.zeros((2, 3), np.float32) for name in ("inputs", "grad")}

    def run(tokens: Any, tape: Any = None) -> None:
        tape = cell.new_tape(3, False) if tape is None else tape
        cell.backward(rows, None, False, tape, None, (None,), tokens, first, (*grads, None), 0)

    run(TokenGrads(**good))
    with pytest.raises(ValueError, match=rf"^{name} must "):
        run(TokenGrads(**(good | changes)))
    with pytest.raises(ValueError, match=r"^tape must "):
        run(TokenGrads(**good), cell.new_tape(2, False))
    with pytest.raises(ValueError, match=r"^tape must "):
        run(TokenGrads(**good), cell.new_tape(3))
