"""Rows with holes: a masked step is as if it were not there, and what its output is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import LAYERS, LAYOUTS, assert_agree, assert_gradients, assert_same_bits, flat
from embedrnn import _backend, _numpy
from embedrnn._sequences import Rows

STACKS = [(1, False), (1, True), (3, False), (2, True)]

each_cell = pytest.mark.parametrize("cell", LAYERS)
each_stack = pytest.mark.parametrize(("num_layers", "bidirectional"), STACKS)
each_fill = pytest.mark.parametrize("padding_fill", ["zero", "repeat"])

# Holes, left padding, right padding, no padding, no step, one step.
MASK = np.array(
    [
        [1, 0, 1, 1, 0, 0, 1],
        [0, 0, 0, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0],
    ],
    bool,
)


def make(cell: str, *sizes: int, **options: Any) -> Any:
    return getattr(er, cell)(*(sizes or (5, 7)), **({"rng": 0} | options))


def uniform(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def packed_up(parts: list[np.ndarray]) -> Any:
    """Return states as a layer takes them."""
    return tuple(parts) if len(parts) > 1 else parts[0]


def masked_batch(layer: Any, mask: np.ndarray) -> dict[str, Any]:
    """Return arguments of a call: NaN at masked steps, and a state."""
    x = uniform((*mask.shape, layer.input_size), layer.dtype, seed=1)
    x[~mask] = np.nan
    shape = (layer.num_layers * (1 + layer.bidirectional), len(mask), layer.hidden_size)
    n_states = 2 if isinstance(layer, er.LSTM) else 1
    states = [uniform(shape, layer.dtype, seed) for seed in range(2, 2 + n_states)]
    return {"x": x, "mask": mask, "state": packed_up(states)}


def cotangents(result: tuple[Any, Any], mask: np.ndarray | None = None) -> tuple[Any, Any]:
    """Return gradients of what a layer gave: NaN at masked steps."""
    of_output, *parts = (
        uniform(part.shape, part.dtype, seed) for seed, part in enumerate(flat(result), start=4)
    )
    if mask is not None:
        of_output[~mask] = np.nan
    return of_output, packed_up(parts)


def all_of(grads: Any) -> dict[str, np.ndarray]:
    """Return the gradients by name."""
    named = {f"state {place}": part for place, part in enumerate(flat((0, grads.state))[1:])}
    return {"x": grads.x} | named | grads.parameters


def rows_of(states: Any, rows: slice) -> Any:
    return packed_up([part[:, rows] for part in flat((0, states))[1:]])


def assert_all_agree(backend: str, actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(actual, expected, strict=True):
        assert_agree(backend, one, other)


# --- a masked step is as if it were not there ----------------------------------------------------


def assert_rows_are_those_of_their_steps(
    backend: str, layer: Any, mask: np.ndarray, padding_fill: str = "zero"
) -> None:
    """Compare each row of a masked batch with the same row of its valid steps alone."""
    call = masked_batch(layer, mask)
    output, state = layer(**call, padding_fill=padding_fill)
    for b, valid in enumerate(mask):
        row = slice(b, b + 1)
        alone, last = layer(call["x"][row, valid], state=rows_of(call["state"], row))
        assert_agree(backend, output[row, valid], alone)
        assert_all_agree(backend, flat((0, rows_of(state, row)))[1:], flat((0, last))[1:])
    if padding_fill == "zero":
        assert not output[~mask].tobytes().strip(b"\0")


@each_cell
@each_stack
@each_fill
def test_a_row_is_its_valid_steps_alone(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool, padding_fill: str
) -> None:
    layer = make(cell, num_layers=num_layers, bidirectional=bidirectional, dtype=dtype)
    assert_rows_are_those_of_their_steps(backend, layer, MASK, padding_fill)


@each_cell
@each_stack
def test_the_gradients_of_a_row_are_those_of_its_valid_steps(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool
) -> None:
    layer = make(cell, num_layers=num_layers, bidirectional=bidirectional, dtype=dtype)
    call = masked_batch(layer, MASK)
    result, backward = layer.vjp(**call)
    for actual, expected in zip(flat(result), flat(layer(**call)), strict=True):
        assert_same_bits(actual, expected)
    of_output, of_state = cotangents(result, MASK)
    grads = backward(of_output, of_state)
    assert not grads.x[~MASK].tobytes().strip(b"\0")
    for b, valid in enumerate(MASK):
        row = slice(b, b + 1)
        _, alone = layer.vjp(call["x"][row, valid], state=rows_of(call["state"], row))
        expected = alone(of_output[row, valid], rows_of(of_state, row))
        assert_agree(backend, grads.x[row, valid], expected.x)
        states = [flat((0, part))[1:] for part in (rows_of(grads.state, row), expected.state)]
        assert_all_agree(backend, *states)


@each_cell
@each_stack
def test_the_gradients_are_those_of_ragged_rows(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool
) -> None:
    layer = make(cell, num_layers=num_layers, bidirectional=bidirectional, dtype=dtype)
    call = masked_batch(layer, MASK)
    result, backward = layer.vjp(**call)
    of_output, of_state = cotangents(result, MASK)
    offsets = np.concatenate(([0], MASK.sum(axis=1).cumsum()))
    ragged, other = layer.vjp(call["x"][MASK], state=call["state"], offsets=offsets)
    expected = flat((ragged[0], ragged[1]))
    assert_all_agree(backend, flat((result[0][MASK], result[1])), expected)
    grads = all_of(backward(of_output, of_state))
    wanted = all_of(other(of_output[MASK], of_state))
    assert_agree(backend, grads.pop("x")[MASK], wanted.pop("x"))
    for name, grad in grads.items():
        assert_agree(backend, grad, wanted[name])


@each_cell
@each_stack
@each_fill
def test_a_mask_of_right_padding_is_lengths(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool, padding_fill: str
) -> None:
    options = {"num_layers": num_layers, "bidirectional": bidirectional, "dtype": dtype}
    layer = make(cell, **options, dropout=0.4)
    lengths = np.array([3, 0, 7, 1, 6])
    call = masked_batch(layer, np.arange(7) < lengths[:, None])
    others = call | {"mask": None, "lengths": lengths}
    options = {"padding_fill": padding_fill, "rng": 5}
    (result, backward), (expected, other) = (layer.vjp(**one, **options) for one in (call, others))
    of_output, of_state = cotangents(result, call["mask"] if padding_fill == "zero" else None)
    for actual, wanted in zip(flat(result), flat(expected), strict=True):
        assert_same_bits(actual, wanted)
    grads, wanted_grads = (all_of(one(of_output, of_state)) for one in (backward, other))
    for name, grad in grads.items():
        assert_same_bits(grad, wanted_grads[name])


@each_cell
@each_stack
def test_left_padding_is_right_padding_moved(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool
) -> None:
    layer = make(cell, num_layers=num_layers, bidirectional=bidirectional, dtype=dtype)
    lengths = np.array([3, 0, 7, 1, 6])
    right = np.arange(7) < lengths[:, None]
    call = masked_batch(layer, right)
    left = right[:, ::-1]
    x = np.full_like(call["x"], np.nan)
    x[left] = call["x"][right]
    output, state = layer(x, state=call["state"], mask=left)
    expected, last = layer(call["x"], lengths, call["state"])
    assert_agree(backend, output[left], expected[right])
    assert_all_agree(backend, flat((0, state))[1:], flat((0, last))[1:])


@each_cell
@each_stack
@each_fill
def test_rows_that_are_all_masked_keep_their_state(
    backend: str, dtype: Any, cell: str, num_layers: int, bidirectional: bool, padding_fill: str
) -> None:
    layer = make(cell, num_layers=num_layers, bidirectional=bidirectional, dtype=dtype)
    call = masked_batch(layer, np.zeros((3, 4), bool)) | {"padding_fill": padding_fill}
    result, backward = layer.vjp(**call)
    assert_all_agree(backend, flat((0, result[1]))[1:], flat((0, call["state"]))[1:])
    assert not result[0].tobytes().strip(b"\0")
    of_output, of_state = cotangents(result, call["mask"])
    grads = all_of(backward(of_output, of_state))
    for place, part in enumerate(flat((0, of_state))[1:]):
        assert_same_bits(grads.pop(f"state {place}"), part)
    assert not any(grad.any() for grad in grads.values())


@each_cell
@pytest.mark.parametrize(("rows", "time"), [(0, 3), (3, 0), (0, 0)])
@each_fill
def test_nothing_to_do(backend: str, cell: str, rows: int, time: int, padding_fill: str) -> None:
    layer = make(cell, num_layers=2, bidirectional=True, dropout=0.5)
    mask = np.ones((rows, time), bool)
    call = masked_batch(layer, mask) | {"padding_fill": padding_fill}
    assert layer(**call)[0].shape == (rows, time, 14)
    result, backward = layer.vjp(**call, rng=1)
    grads = backward(*cotangents(result))
    assert grads.x.shape == (rows, time, 5)
    assert not any(grad.any() for grad in grads.parameters.values())


@each_cell
@pytest.mark.parametrize("mask", [[], [[], []], np.zeros((0, 3)), np.zeros((2, 0), int)], ids=str)
def test_an_empty_mask_may_have_any_dtype(backend: str, cell: str, mask: Any) -> None:
    layer, shape = make(cell), (*np.shape(mask), 0)[:2]
    if len(np.shape(mask)) == 2:
        assert layer(np.zeros((*shape, 5), np.float32), mask=mask)[0].shape == (*shape, 7)
    else:
        with pytest.raises(ValueError, match=r"^mask must have shape \(0, 0\), got \(0,\)"):
            layer(np.zeros((0, 0, 5), np.float32), mask=mask)


@each_cell
def test_a_mask_may_be_a_list(backend: str, cell: str) -> None:
    layer = make(cell)
    call = masked_batch(layer, MASK)
    expected = flat(layer(**call))
    strided = np.repeat(MASK, 2, axis=1)[:, ::2]
    for mask in (MASK.tolist(), np.asfortranarray(MASK), strided, MASK.astype(object) == True):  # noqa: E712
        for actual, wanted in zip(flat(layer(**call | {"mask": mask})), expected, strict=True):
            assert_same_bits(actual, wanted)


# --- what is not read ----------------------------------------------------------------------------


@each_cell
@each_stack
@pytest.mark.parametrize("garbage", [0, np.nan, np.inf, 1e30])
def test_masked_steps_are_never_read(
    backend: str, cell: str, num_layers: int, bidirectional: bool, garbage: float
) -> None:
    layer = make(cell, num_layers=num_layers, bidirectional=bidirectional)
    call = masked_batch(layer, MASK)
    result, backward = layer.vjp(**call)
    of_output, of_state = cotangents(result, MASK)
    expected = all_of(backward(of_output, of_state))
    x, other = call["x"].copy(), of_output.copy()
    x[~MASK], other[~MASK] = garbage, garbage
    again, backward = layer.vjp(**call | {"x": x})
    for actual, wanted in zip(flat(again), flat(result), strict=True):
        assert_same_bits(actual, wanted)
    for name, grad in all_of(backward(other, of_state)).items():
        assert_same_bits(grad, expected[name])


def test_the_mask_is_copied(backend: str) -> None:
    layer, mask = make("GRU"), MASK.copy()
    result, backward = layer.vjp(**masked_batch(layer, mask))
    of_output, of_state = cotangents(result, MASK)
    expected = all_of(backward(of_output, of_state))
    mask[...] = ~mask
    for name, grad in all_of(backward(of_output, of_state)).items():
        assert_same_bits(grad, expected[name])


# --- threads, strides, and any mask at all -------------------------------------------------------


@each_cell
@pytest.mark.parametrize("sizes", [(40, 33, 5, 40), (2, 70, 64, 270)], ids=["groups", "team"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_threads_do_not_show(
    native: str, core: Any, cell: str, sizes: tuple[int, int, int, int], bidirectional: bool
) -> None:
    core.set_isa(native)
    batch, time, inputs, hidden = sizes
    layer = make(cell, inputs, hidden, bidirectional=bidirectional)
    mask = np.random.default_rng(0).random((batch, time)) < np.linspace(0, 1, batch)[:, None]
    call = masked_batch(layer, mask) | {"padding_fill": "repeat"}
    found = []
    for threads in (1, 2, 3, 8):
        core.set_num_threads(threads)
        result, backward = layer.vjp(**call)
        found.append([*flat(result), *all_of(backward(*cotangents(result))).values()])
    for other in found[1:]:
        for actual, expected in zip(other, found[0], strict=True):
            assert_same_bits(actual, expected)


@each_cell
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(native: str, cell: str, layout: str) -> None:
    layer = make(cell, num_layers=2, bidirectional=True)
    call = masked_batch(layer, MASK)
    if layout == "broadcast":
        call |= {"mask": np.broadcast_to(MASK[:1], MASK.shape)}
    result, backward = layer.vjp(**call)
    given = cotangents(result, call["mask"])
    moved = call | {"x": LAYOUTS[layout](call["x"])}
    plain = call | {"x": np.ascontiguousarray(moved["x"], np.float32)}
    moved_given = LAYOUTS[layout](given[0])
    plain_given = np.ascontiguousarray(moved_given, np.float32)
    found, wanted = [], []
    for one, of_output, into in ((moved, moved_given, found), (plain, plain_given, wanted)):
        result, backward = layer.vjp(**one)
        into += [*flat(result), *all_of(backward(of_output, given[1])).values()]
    for actual, expected in zip(found, wanted, strict=True):
        assert_same_bits(actual, expected)


@given(
    sizes=st.tuples(st.integers(0, 7), st.integers(0, 9), st.integers(0, 9), st.integers(1, 20)),
    stack=st.sampled_from(STACKS),
    cell=st.sampled_from(sorted(LAYERS)),
    threads=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32 - 1),
    density=st.sampled_from([0.1, 0.5, 0.9]),
)
def test_any_mask(
    core: Any,
    sizes: tuple[int, int, int, int],
    stack: tuple[int, bool],
    cell: str,
    threads: int,
    seed: int,
    density: float,
) -> None:
    core.set_num_threads(threads)
    batch, time, *widths = sizes
    layer = make(cell, *widths, num_layers=stack[0], bidirectional=stack[1])
    mask = np.random.default_rng(seed).random((batch, time)) < density
    assert_rows_are_those_of_their_steps("native", layer, mask)
    with er.use_backend("numpy"):
        expected = flat(layer(**masked_batch(layer, mask), padding_fill="repeat"))
    for actual, wanted in zip(
        flat(layer(**masked_batch(layer, mask), padding_fill="repeat")), expected, strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)


# --- what the output is at masked steps ----------------------------------------------------------


def repeated(output: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The definition of "repeat", one step at a time."""
    filled = np.zeros_like(output)
    for b, valid in enumerate(mask):
        before = np.zeros_like(output[0, 0])
        for t, is_valid in enumerate(valid):
            if is_valid:
                before = output[b, t]
            filled[b, t] = before
    return filled


def repeated_back(of_output: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Its gradient: what came to a masked step goes to the step that it repeats."""
    grad = np.zeros_like(of_output)
    for b, valid in enumerate(mask):
        for t in range(len(valid)):
            steps = np.flatnonzero(valid[: t + 1])
            if steps.size:
                grad[b, steps[-1]] += of_output[b, t]
    return grad


# The arguments that say where padding is, and the mask that says the same.
PADDINGS: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "mask": ({"mask": MASK}, MASK),
    "lengths": (
        {"lengths": np.array([3, 0, 7, 1, 6, 4])},
        np.arange(7) < np.array([3, 0, 7, 1, 6, 4])[:, None],
    ),
    "none": ({}, np.ones_like(MASK)),
}


@each_cell
@each_stack
@pytest.mark.parametrize("padding", PADDINGS)
def test_outputs_repeat(
    backend: str,
    dtype: Any,
    cell: str,
    num_layers: int,
    bidirectional: bool,
    padding: str,
) -> None:
    layer = make(cell, num_layers=num_layers, bidirectional=bidirectional, dtype=dtype)
    says, mask = PADDINGS[padding]
    call = masked_batch(layer, mask) | {"mask": None} | says
    (output, state), other = layer.vjp(**call)
    (filled, last), backward = layer.vjp(**call, padding_fill="repeat")
    assert_same_bits(filled, repeated(output, mask))
    for actual, expected in zip(flat((0, last)), flat((0, state)), strict=True):
        assert_same_bits(actual, expected)
    of_output, of_state = cotangents((filled, last))
    given = of_output.copy()
    never = ~mask & ~np.logical_or.accumulate(mask, axis=1)  # no step is before these
    given[never] = np.nan
    grads = all_of(backward(given, of_state))
    expected_grads = all_of(other(repeated_back(of_output, mask), of_state))
    for name, grad in grads.items():
        assert_agree(backend, grad, expected_grads[name])
    assert np.isnan(given[never]).all()
    assert_same_bits(given[~never], of_output[~never])


@each_cell
@each_stack
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@each_fill
def test_gradients_by_differences(
    backend: str,
    cell: str,
    num_layers: int,
    bidirectional: bool,
    dropout: float,
    padding_fill: str,
) -> None:
    options = {"num_layers": num_layers, "bidirectional": bidirectional, "dropout": dropout}
    layer = make(cell, 2, 3, dtype="f8", **options)
    call = masked_batch(layer, MASK) | {"padding_fill": padding_fill, "rng": 9}
    result, backward = layer.vjp(**call)
    weights = cotangents(result)
    grads = all_of(backward(*weights))
    own = layer.state_dict()

    def loss(name: str, change: np.ndarray) -> float:
        other, changed = layer, dict(call)
        if name in own:
            other = make(cell, 2, 3, dtype="f8", **options)
            other.load_state_dict(own | {name: own[name] + change})
        elif name == "x":
            changed["x"] = call["x"] + change
        else:
            parts = flat((0, call["state"]))[1:]
            place = int(name.removeprefix("state "))
            parts[place] = parts[place] + change
            changed["state"] = packed_up(parts)
        parts = zip(flat(other.vjp(**changed)[0]), flat(weights), strict=True)
        return float(sum((part * weight).sum() for part, weight in parts))

    assert_gradients(grads, loss)


def test_what_has_no_padding_does_not_repeat(backend: str) -> None:
    layer, x = make("GRU"), uniform((6, 5), "f4")
    packed = er.Packed(x, np.array([3, 2, 1]))
    calls: list[tuple[Callable[[Any], np.ndarray], tuple[Any, ...], dict[str, Any]]] = [
        (np.asarray, (x,), {}),
        (np.asarray, (x,), {"offsets": [0, 2, 2, 6]}),
        (np.asarray, ([x[:4], x[4:]],), {}),
        (lambda output: output.data, (packed,), {}),
    ]
    for data, args, options in calls:
        (expected, _), other = layer.vjp(*args, **options)
        (output, _), backward = layer.vjp(*args, **options, padding_fill="repeat")
        assert_same_bits(data(output), data(expected))
        of_output = uniform((6, 7), "f4", seed=4)
        for name, grad in backward(of_output).parameters.items():
            assert_same_bits(grad, other(of_output).parameters[name])


# --- values by hand ------------------------------------------------------------------------------

# The rule is that of Keras, keras.layers.RNN: of a masked step the state is that before it, and the
# output that of the step before, zeros where there is none, or zeros everywhere with
# zero_output_for_mask=True.


def sums() -> er.RNN:
    """Return a layer whose state is the sum of what came: of numbers that are not negative."""
    layer = er.RNN(1, 1, nonlinearity="relu", bias=False)
    layer.load_state_dict({f"weight_{kind}_l0": np.ones((1, 1), "f4") for kind in ("ih", "hh")})
    return layer


def test_by_hand(backend: str) -> None:
    x = np.array([[1, 2, 4, 8], [1, 2, 4, 8]], "f4")[..., None]
    mask = [[False, True, False, True], [True, True, False, False]]
    state = np.array([[[16], [32]]], "f4")
    output, last = sums()(x, mask=mask, state=state)
    assert output[..., 0].tolist() == [[0, 18, 0, 26], [33, 35, 0, 0]]
    assert last.ravel().tolist() == [26, 35]
    output, last = sums()(x, mask=mask, state=state, padding_fill="repeat")
    assert output[..., 0].tolist() == [[0, 18, 18, 26], [33, 35, 35, 35]]
    assert last.ravel().tolist() == [26, 35]


def test_gradients_by_hand(backend: str) -> None:
    x = np.array([[1, 2, 4, 8]], "f4")[..., None]
    mask = [[False, True, False, True]]
    of_output = np.array([[1, 10, 100, 1000]], "f4")[..., None]
    _, backward = sums().vjp(x, mask=mask)
    grads = backward(of_output)
    assert grads.x.ravel().tolist() == [0, 1010, 0, 1000]
    assert grads.parameters["weight_ih_l0"].item() == 2 * 1010 + 8 * 1000
    assert grads.parameters["weight_hh_l0"].item() == 2 * 1000
    assert grads.state.item() == 1010
    _, backward = sums().vjp(x, mask=mask, padding_fill="repeat")
    grads = backward(of_output)
    assert grads.x.ravel().tolist() == [0, 1110, 0, 1000]
    assert grads.state.item() == 1110


def test_two_directions_by_hand(backend: str) -> None:
    layer = er.RNN(1, 1, nonlinearity="relu", bias=False, bidirectional=True)
    layer.load_state_dict({name: np.ones((1, 1), "f4") for name in layer.state_dict()})
    x = np.array([[1, 2, 4, 8, 16]], "f4")[..., None]
    mask = [[False, True, False, True, False]]
    output, last = layer(x, mask=mask)
    assert output[0].T.tolist() == [[0, 2, 0, 10, 0], [0, 10, 0, 8, 0]]
    assert last.ravel().tolist() == [10, 10]
    # In time, of both directions: Keras repeats what was before in the walk of each.
    output, _ = layer(x, mask=mask, padding_fill="repeat")
    assert output[0].T.tolist() == [[0, 2, 2, 10, 10], [0, 10, 10, 8, 8]]


# --- what masked steps cost ----------------------------------------------------------------------


@each_cell
def test_only_valid_steps_are_walked(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make(cell, num_layers=2, bidirectional=True)
    taped: list[tuple[int, list[Any]]] = []

    def new_tape(_: Any, pairs: int, has_input: bool = True) -> list[Any]:
        taped.append((pairs, []))
        return taped[-1][1]

    monkeypatch.setattr(_numpy.PackedCell, "new_tape", new_tape)
    with er.use_backend("numpy"):
        layer.vjp(**masked_batch(layer, MASK))
    walked = [[len(step.x) for step in tape] for _, tape in taped]
    alive = [int((MASK.sum(axis=1) > step).sum()) for step in range(7)]
    assert walked == [alive] * 4  # no step but those of the longest row, nor a row behind its last
    assert [pairs for pairs, _ in taped] == [MASK.sum()] * 4


def test_a_tape_has_room_for_valid_steps_alone(core: Any) -> None:
    layer = make("LSTM", 5, 7)
    x, mask = np.zeros((3, 100, 5), np.float32), np.zeros((3, 100), bool)
    mask[:, ::10] = True
    tapes = []
    cell = layer._cells()[0]
    for rows in (Rows(3, None), _rows(mask)):
        tapes.append(cell.new_tape(rows.pairs(x.shape)).shape[0])
    assert tapes == [300, 30]


def _rows(mask: np.ndarray) -> Rows:
    lengths = mask.sum(axis=1)
    return Rows(len(mask), lengths, lengths.cumsum() - lengths, times=mask.nonzero()[1])


# --- what the compiled core takes for granted ----------------------------------------------------


def bad_rows() -> dict[str, tuple[Rows, str]]:
    lengths, starts, times = np.array([2, 1]), np.array([0, 2]), np.array([1, 2, 0])
    good = Rows(2, lengths, starts, times=times)
    most = np.iinfo(np.int64).max

    def with_(**changes: Any) -> Rows:
        return good._replace(**{name: np.array(part) for name, part in changes.items()})

    return {
        "late": (with_(times=[1, 3, 0]), "times must rise below T"),
        "negative": (with_(times=[-1, 2, 0]), "times must rise below T"),
        "falling": (with_(times=[2, 1, 0]), "times must rise below T"),
        "twice": (with_(times=[1, 1, 0]), "times must rise below T"),
        "few": (with_(times=[1, 2]), "row_starts must begin rows that stay within times"),
        "before": (with_(row_starts=[-1, 2]), "row_starts must begin rows that stay within times"),
        "far": (with_(row_starts=[most, 2]), "row_starts must begin rows that stay within times"),
        "long": (with_(lengths=[4, 1]), "lengths must be at most T"),
        "short": (with_(lengths=[-1, 1]), "lengths must not be negative"),
        "no_starts": (good._replace(row_starts=None), "times must come with row_starts alone"),
        "no_lengths": (good._replace(lengths=None), "lengths must be given, or x be padded"),
        "batch": (good._replace(batch=3), "lengths must have the shape"),
        "packed": (with_(step_starts=[0, 2]), "times must come with row_starts alone"),
        "ragged": (Rows(2, lengths, np.array([most, 2])), "row_starts must begin rows that stay"),
        "steps": (Rows(2, lengths, step_starts=np.array([0, most])), "step_starts must begin"),
    }


@pytest.mark.parametrize("name", bad_rows())
def test_the_core_requires_what_it_reads(core: Any, name: str) -> None:
    rows, message = bad_rows()[name]
    padded = rows.times is not None or rows.lengths is None
    packed = make("RNN")._cells()[0]
    shape = (2, 3) if padded else (6,)
    x, output = np.zeros((*shape, 5), "f4"), np.zeros((*shape, 7), "f4")
    last = np.zeros((1, rows.batch, 7), "f4")
    with pytest.raises(ValueError, match=f"^{message}"):
        packed.forward(x, rows, None, (None,), False, output, (last,), 0)


def test_the_core_requires_room_for_states(core: Any) -> None:
    packed, x = make("LSTM")._cells()[0], np.zeros((2, 3, 5), "f4")
    last = (np.zeros((1, 2, 7), "f4"), None)
    with pytest.raises(ValueError, match=r"^last must have all states"):
        packed.forward(x, Rows(2, None), None, (None, None), False, None, last, 0)
    with pytest.raises(ValueError, match=r"^new_states must have all states"):
        packed.step(x[:, 0], (None, None), last, 0)
    assert _backend.current_name() == "native"
