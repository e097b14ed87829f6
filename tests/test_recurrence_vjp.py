"""The gradients of the recurrent functions: by hand, by differences, and the bits they promise."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import (
    GATES,
    LAYOUTS,
    RNN_CASES,
    WRITEABLE_LAYOUTS,
    RnnCase,
    assert_same_bits,
    cell_arguments,
    flat,
    guarded,
    packed_weights,
    padding,
    run_cell,
    vjp_cell,
)
from embedrnn import _backend
from embedrnn._cells import CELLS
from embedrnn._sequences import Rows

each_cell = pytest.mark.parametrize("cell", CELLS)
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])

Arguments = dict[str, Any]

CASE = RnnCase("case", 7, 9, 11, 19)
FLOATS = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h_0", "c_0", "leak", "weight_ch")


def cotangents(result: tuple[Any, Any], seed: int = 5) -> tuple[np.ndarray, Any]:
    """Return gradients of an output and its states."""
    rng = np.random.default_rng(seed)
    of_output, *of_states = (
        rng.uniform(-1, 1, part.shape).astype(part.dtype) for part in flat(result)
    )
    return of_output, tuple(of_states) if len(of_states) > 1 else of_states[0]


def pack(cell: str, arguments: Arguments) -> Any:
    return _backend.current().pack(cell, *packed_weights(cell, arguments))


def gradients(cell: str, arguments: Arguments, **options: Any) -> Any:
    """Return the gradients of all arguments, from others of all that comes out."""
    result, backward = vjp_cell(cell, arguments, **options)
    return backward(*cotangents(result))


def present(grads: Any) -> set[str]:
    """Return the names of the arguments that have a gradient."""
    return {name for name in grads._fields if getattr(grads, name) is not None}


def arrays(grads: Any) -> list[np.ndarray]:
    """Return the gradients of those."""
    return [grad for grad in grads if grad is not None]


def assert_all_same(actual: Any, expected: Any) -> None:
    """Demand the same bits of each field of two named tuples."""
    assert actual._fields == expected._fields
    for got, wanted in zip(actual, expected, strict=True):
        assert (got is None) == (wanted is None)
        if got is not None:
            assert_same_bits(got, wanted)


def assert_all_agree(backend: str, actual: Any, expected: Any) -> None:
    """Demand equal bits of the compiled core; a BLAS product depends on shape and layout."""
    if backend != "numpy":
        assert_all_same(actual, expected)
        return
    for got, wanted in zip(actual, expected, strict=True):
        assert (got is None) == (wanted is None)
        if got is not None:
            assert_near(got, wanted)


def assert_near(actual: np.ndarray, expected: np.ndarray, factor: float = 64) -> None:
    """Compare sums of products: their rounding goes by the greatest of them."""
    assert actual.shape == expected.shape
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    atol = factor * np.finfo(actual.dtype).eps * size
    np.testing.assert_allclose(actual.astype("f8"), expected.astype("f8"), rtol=0, atol=atol)


# --- values ------------------------------------------------------------------------------------

# One unit, h' = relu(2 x + 3 h + 1 - 1), x = 1, 2, h_0 = 1, of the sum of both outputs. The
# gradients of x, weight_ih, weight_hh, each bias and h_0.
BY_HAND = {
    # h = 5, 19; the gradients of the sums are 1 + 3 = 4, and 1.
    "forward": (2, None, False, [8, 2], 4 * 1 + 1 * 2, 4 * 1 + 1 * 5, 5, 12),
    # h = 7 at the last step, then 23 at the first: 1, and 1 + 3 = 4.
    "reverse": (2, None, True, [2, 8], 1 * 1 + 4 * 2, 1 * 7 + 4 * 1, 5, 12),
    # h = 5, 7: both steps begin with h_0.
    "reset": (2, [False, True], False, [2, 2], 1 * 1 + 1 * 2, 1 + 1, 2, 6),
    "reset_reverse": (2, [True, False], True, [2, 2], 1 * 1 + 1 * 2, 1 + 1, 2, 6),
    "reset_of_padding": (1, [False, True], False, [2, 0], 1, 1, 1, 3),
    "no_step": (0, None, False, [0, 0], 0, 0, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_relu_by_hand(backend: str, dtype: Any, name: str) -> None:
    length, resets, reverse, *expected = BY_HAND[name]
    weights = (np.array([[2]], dtype), np.array([[3]], dtype))
    biases = (np.array([1], dtype), np.array([-1], dtype))
    _, backward = er.rnn_vjp(
        np.array([[[1], [2]]], dtype), *weights, *biases, lengths=[length],
        resets=None if resets is None else [resets], h_0=np.ones((1, 1), dtype),
        nonlinearity="relu", reverse=reverse,
    )  # fmt: skip
    grads = backward(np.ones((1, 2, 1), dtype))
    of_x, of_weight_ih, of_weight_hh, of_bias, of_h_0 = expected
    assert grads.x.ravel().tolist() == of_x
    assert grads.weight_ih.tolist() == [[of_weight_ih]]
    assert grads.weight_hh.tolist() == [[of_weight_hh]]
    assert grads.bias_ih.tolist() == grads.bias_hh.tolist() == [of_bias]
    assert grads.h_0.tolist() == [[of_h_0]]
    assert {grad.dtype for grad in arrays(grads)} == {np.dtype(dtype)}


def test_relu_at_its_corner_and_below(backend: str, dtype: Any) -> None:
    x = np.array([[[0], [-1], [1]]], dtype)
    _, backward = er.rnn_vjp(x, [[dtype(1)]], [[dtype(0)]], nonlinearity="relu")
    assert backward(np.ones((1, 3, 1), dtype)).x.ravel().tolist() == [0, 0, 1]


# --- differences -------------------------------------------------------------------------------


def derivative(
    cell: str, call: Arguments, weights: list[np.ndarray], name: str, direction: np.ndarray
) -> float | None:
    """Return how a weighted sum of the results changes along a direction of one argument.

    It is a central difference, of the fourth order where the cell is smooth. None if a unit of relu
    turns on or off within it.
    """

    def at(step: float) -> tuple[float, bytes]:
        results = run_cell(cell, call | {name: call[name] + step * direction})
        total = sum((part * weight).sum() for part, weight in zip(results, weights, strict=True))
        return float(total), (results[0] > 0).tobytes()

    if cell.startswith("rnn_relu"):
        (ahead, on), (behind, also_on) = at(1e-6), at(-1e-6)
        return (ahead - behind) / 2e-6 if on == also_on else None
    one, two = (at(step)[0] - at(-step)[0] for step in (1e-3, 2e-3))
    return (8 * one - two) / 12e-3


@each_cell
@both_directions
def test_every_element_by_differences(backend: str, cell: str, reverse: bool) -> None:
    arguments = cell_arguments(RnnCase("", 3, 4, 2, 3, "random"), np.float64, cell)
    arguments["x"] = np.nan_to_num(arguments["x"], nan=0.5)
    arguments |= {"lengths": np.array([4, 0, 2]), "reverse": reverse}
    arguments["resets"] = np.random.default_rng(2).random((3, 4)) < 0.3
    result, backward = vjp_cell(cell, arguments)
    weights = cotangents(result)
    grads = backward(*weights)
    for name in present(grads):
        actual = getattr(grads, name)
        for place in np.ndindex(actual.shape):
            direction = np.zeros(actual.shape)
            direction[place] = 1
            expected = derivative(cell, arguments, flat(weights), name, direction)
            assert expected is not None
            assert abs(actual[place] - expected) < 1e-8 + 1e-7 * abs(expected), (name, place)


@given(
    cell=st.sampled_from(sorted(CELLS)),
    sizes=st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 20)),
    optional=st.sets(st.sampled_from(["bias_ih", "bias_hh", "h_0"])),
    layout=st.sampled_from(sorted(WRITEABLE_LAYOUTS)),
    ragged=st.booleans(),
    reverse=st.booleans(),
    resets=st.booleans(),
    data=st.data(),
)
def test_anything_by_differences(
    backend: str,
    cell: str,
    sizes: tuple[int, int, int, int],
    optional: set[str],
    layout: str,
    ragged: bool,
    reverse: bool,
    resets: bool,
    data: st.DataObject,
) -> None:
    batch, steps, *_ = sizes
    case = RnnCase("any", *sizes, "no_lengths", tuple(sorted(optional)))
    call = cell_arguments(case, np.float64, cell) | {"reverse": reverse}
    length = st.integers(0, steps)
    lengths = np.array(data.draw(st.lists(length, min_size=batch, max_size=batch)), np.int64)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    call |= {"lengths": lengths, "resets": rng.random((batch, steps)) < 0.4 if resets else None}
    if ragged:
        valid = ~padding(lengths, batch, steps)
        call |= {"x": call["x"][valid], "resets": call["resets"][valid] if resets else None}
        del call["lengths"]
        call["offsets"] = np.concatenate(([0], lengths.cumsum()))
    moved = {
        name: WRITEABLE_LAYOUTS[layout](value) if isinstance(value, np.ndarray) else value
        for name, value in call.items()
    }
    result, backward = vjp_cell(cell, moved)
    weights = cotangents(result)
    of_output, of_states = weights
    grads = backward(WRITEABLE_LAYOUTS[layout](of_output), of_states)
    for name in FLOATS:
        grad = getattr(grads, name, None)
        assert (grad is None) == (name not in call)
        if grad is not None:
            assert grad.shape == call[name].shape
            direction = rng.uniform(-1, 1, grad.shape)
            expected = derivative(cell, call, flat(weights), name, direction)
            if expected is not None:
                error = abs((grad * direction).sum() - expected)
                assert error < 1e-7 * (1 + abs(expected)), name


# --- the specification -------------------------------------------------------------------------


@cache
def expected_of(cell: str, case: RnnCase, dtype: Any, reverse: bool) -> Any:
    """Return what the specification gives of these arguments in float64."""
    arguments = cell_arguments(case, dtype, cell)
    for name in FLOATS:
        if name in arguments:
            arguments[name] = arguments[name].astype("f8")
    with er.use_backend("numpy"):
        result, backward = vjp_cell(cell, arguments, reverse=reverse)
    of_output, of_states = cotangents(result)
    of_output = of_output.astype(dtype).astype("f8")
    parts = of_states if isinstance(of_states, tuple) else (of_states,)
    rounded = tuple(part.astype(dtype).astype("f8") for part in parts)
    return backward(of_output, rounded if len(rounded) > 1 else rounded[0])


# More pairs than the products of the weights take in one go.
MANY_PAIRS = RnnCase("many_pairs", 24, 40, 5, 20, "full")


@each_cell
@pytest.mark.parametrize("case", [*RNN_CASES, MANY_PAIRS], ids=str)
@both_directions
def test_equals_the_specification(
    native: str, dtype: Any, cell: str, case: RnnCase, reverse: bool
) -> None:
    arguments = cell_arguments(case, dtype, cell)
    read_only = {k: None if v is None else LAYOUTS["read_only"](v) for k, v in arguments.items()}
    grads = gradients(cell, read_only, reverse=reverse)
    for name, expected in expected_of(cell, case, dtype, reverse)._asdict().items():
        actual = getattr(grads, name)
        if expected is None:
            assert actual is None
        else:
            assert actual.dtype == dtype
            assert_near(actual, expected)


@each_cell
@pytest.mark.parametrize("case", RNN_CASES, ids=str)
@both_directions
def test_the_results_are_those_of_forward(
    backend: str, dtype: Any, cell: str, case: RnnCase, reverse: bool
) -> None:
    arguments = cell_arguments(case, dtype, cell)
    result, _ = vjp_cell(cell, arguments, reverse=reverse)
    for actual, expected in zip(
        flat(result), run_cell(cell, arguments, reverse=reverse), strict=True
    ):
        assert_same_bits(actual, expected)


# --- padding, rows and what is absent -----------------------------------------------------------


@each_cell
@both_directions
def test_padding_is_never_read_and_has_no_gradient(
    backend: str, dtype: Any, cell: str, reverse: bool
) -> None:
    arguments = cell_arguments(CASE, dtype, cell)  # whose padding is NaN
    behind = padding(arguments["lengths"], CASE.batch, CASE.steps)
    resets = np.random.default_rng(1).random(behind.shape) < 0.2
    (output, states), backward = vjp_cell(cell, arguments, resets=resets, reverse=reverse)
    of_output, of_states = cotangents((output, states))
    expected = backward(of_output, of_states)
    assert not expected.x[behind].tobytes().strip(b"\0")
    assert all(np.isfinite(grad).all() for grad in arrays(expected))
    of_output[behind] = np.nan
    assert_all_same(backward(of_output, of_states), expected)
    arguments["x"] = np.nan_to_num(arguments["x"], nan=1e30)
    _, backward = vjp_cell(cell, arguments, resets=resets | behind, reverse=reverse)
    assert_all_same(backward(of_output, of_states), expected)


@each_cell
@both_directions
def test_a_row_of_no_step_hands_its_state_on(
    backend: str, dtype: Any, cell: str, reverse: bool
) -> None:
    arguments = cell_arguments(CASE, dtype, cell) | {"lengths": np.array([9, 0, 3, 0, 0, 1, 4])}
    result, backward = vjp_cell(cell, arguments, reverse=reverse)
    of_output, of_states = cotangents(result)
    grads = backward(of_output, of_states)
    for name, part in zip(CELLS[cell].initial, flat((of_output, of_states))[1:], strict=True):
        empty = arguments["lengths"] == 0
        assert_same_bits(getattr(grads, name)[empty], part[empty])
        assert not np.array_equal(getattr(grads, name)[~empty], part[~empty])


@each_cell
@both_directions
def test_a_row_alone_has_the_gradient_that_it_has_in_a_batch(
    backend: str, dtype: Any, cell: str, reverse: bool
) -> None:
    case = RnnCase("", 14, 9, 21, 37)
    arguments = cell_arguments(case, dtype, cell) | {"reverse": reverse}
    result, backward = vjp_cell(cell, arguments)
    of_output, of_states = cotangents(result)
    grads, lengths = backward(of_output, of_states), arguments.pop("lengths")
    parts = flat((of_output, of_states))[1:]
    for b in range(case.batch):
        row = arguments | {name: arguments[name][b : b + 1] for name in CELLS[cell].initial}
        row["x"] = row["x"][b : b + 1, : lengths[b]]
        _, alone = vjp_cell(cell, row)
        states = tuple(part[b : b + 1] for part in parts)
        actual = alone(of_output[b : b + 1, : lengths[b]], states if len(states) > 1 else states[0])
        pairs = [(actual.x[0], grads.x[b, : lengths[b]])]
        pairs += [(getattr(actual, n)[0], getattr(grads, n)[b]) for n in CELLS[cell].initial]
        for got, wanted in pairs:
            if backend == "numpy":
                assert_near(got, wanted)
            else:
                assert_same_bits(got, wanted)


@each_cell
@both_directions
def test_the_order_of_rows_does_not_show_in_theirs(
    backend: str, dtype: Any, cell: str, reverse: bool
) -> None:
    arguments = cell_arguments(CASE, dtype, cell)
    result, backward = vjp_cell(cell, arguments, reverse=reverse)
    of_output, of_states = cotangents(result)
    grads, order = backward(of_output, of_states), np.random.default_rng(0).permutation(7)
    rows = ("x", "lengths", *CELLS[cell].initial)
    moved = arguments | {name: arguments[name][order] for name in rows}
    _, other = vjp_cell(cell, moved, reverse=reverse)
    parts = tuple(part[order] for part in flat((of_output, of_states))[1:])
    actual = other(of_output[order], parts if len(parts) > 1 else parts[0])
    for name in ("x", *CELLS[cell].initial):
        assert_near(getattr(actual, name), getattr(grads, name)[order])
        if backend != "numpy":
            assert_same_bits(getattr(actual, name), getattr(grads, name)[order])
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        assert_near(getattr(actual, name), getattr(grads, name))


@each_cell
def test_none_stands_for_zeros(backend: str, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(CASE, dtype, cell)
    result, backward = vjp_cell(cell, arguments)
    of_output, of_states = cotangents(result)
    no_output = np.zeros_like(of_output)
    parts = flat((of_output, of_states))[1:]
    nothing = tuple(np.zeros_like(part) for part in parts)
    zeros = nothing if len(nothing) > 1 else nothing[0]
    assert_all_same(backward(of_output), backward(of_output, zeros))
    assert_all_same(backward(None, of_states), backward(no_output, of_states))
    assert not any(grad.any() for grad in arrays(backward()))
    if len(nothing) > 1:
        for absent in range(2):
            given_ = tuple(None if k == absent else part for k, part in enumerate(parts))
            filled = tuple(np.zeros_like(p) if k == absent else p for k, p in enumerate(parts))
            assert_all_same(backward(of_output, given_), backward(of_output, list(filled)))


@each_cell
def test_absent_arguments_have_no_gradient(backend: str, dtype: Any, cell: str) -> None:
    case = RnnCase("", 5, 6, 7, 9, "random", ())
    arguments = cell_arguments(case, dtype, cell)
    grads = gradients(cell, arguments)
    assert present(grads) == {"x", "weight_ih", "weight_hh", *CELLS[cell].parameters[4:]}
    zeros = {name: np.zeros((5, 9), dtype) for name in CELLS[cell].initial}
    zeros |= {name: np.zeros(GATES[cell] * 9, dtype) for name in ("bias_ih", "bias_hh")}
    whole = gradients(cell, arguments | zeros)
    for name in present(grads):
        assert_same_bits(getattr(grads, name), getattr(whole, name))


# --- forms and layouts --------------------------------------------------------------------------


@each_cell
@both_directions
def test_ragged_has_the_gradients_of_padded(
    backend: str, dtype: Any, cell: str, reverse: bool
) -> None:
    arguments = cell_arguments(CASE, dtype, cell)
    lengths = arguments.pop("lengths")
    valid = ~padding(lengths, CASE.batch, CASE.steps)
    resets = np.random.default_rng(1).random(valid.shape) < 0.2
    result, backward = vjp_cell(cell, arguments, lengths=lengths, resets=resets, reverse=reverse)
    of_output, of_states = cotangents(result)
    padded = backward(of_output, of_states)
    expected = padded._replace(x=padded.x[valid])
    offsets = np.concatenate(([0], lengths.cumsum()))
    ragged = arguments | {"x": arguments["x"][valid], "resets": resets[valid]}
    listed = ragged | {"x": np.split(ragged["x"], offsets[1:-1])}
    for call in (ragged | {"offsets": offsets}, listed):
        _, backward = vjp_cell(cell, call, reverse=reverse)
        assert_all_agree(backend, backward(of_output[valid], of_states), expected)


@each_cell
@pytest.mark.parametrize("name", ["x", "weight_ih", "weight_hh", "h_0", "lengths", "resets"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_input_layouts(backend: str, cell: str, name: str, layout: str) -> None:
    arguments = cell_arguments(CASE, np.float32, cell)
    arguments["x"] = np.nan_to_num(arguments["x"])  # lengths repeated by "broadcast" read padding
    arguments["resets"] = np.random.default_rng(1).random((CASE.batch, CASE.steps)) < 0.2
    laid_out = LAYOUTS[layout](arguments[name])
    plain = np.ascontiguousarray(laid_out, laid_out.dtype.newbyteorder("="))
    expected = gradients(cell, arguments | {name: plain})
    assert_all_agree(backend, gradients(cell, arguments | {name: laid_out}), expected)


@each_cell
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_gradients(backend: str, dtype: Any, cell: str, layout: str) -> None:
    result, backward = vjp_cell(cell, cell_arguments(CASE, dtype, cell))
    moved = [LAYOUTS[layout](part) for part in flat(cotangents(result))]
    plain = [np.ascontiguousarray(part, part.dtype.newbyteorder("=")) for part in moved]
    before = [part.tobytes() for part in moved]
    actual, expected = (
        backward(of_output, tuple(states) if len(states) > 1 else states[0])
        for of_output, *states in (moved, plain)
    )
    assert_all_agree(backend, actual, expected)
    assert [part.tobytes() for part in moved] == before


@each_cell
def test_lists_are_taken(backend: str, cell: str) -> None:
    arguments = cell_arguments(RnnCase("", 2, 3, 2, 3), np.float64, cell)
    listed = {name: array.tolist() for name, array in arguments.items()}
    result, backward = vjp_cell(cell, listed)
    _, other = vjp_cell(cell, arguments)
    of_output, of_states = cotangents(result)
    states = [part.tolist() for part in flat((of_output, of_states))[1:]]
    actual = backward(of_output.tolist(), states if len(states) > 1 else states[0])
    assert_all_agree(backend, actual, other(of_output, of_states))


# --- what is kept -------------------------------------------------------------------------------


@each_cell
@both_directions
def test_backward_may_be_called_again_whatever_has_become_of_the_inputs(
    backend: str, dtype: Any, cell: str, reverse: bool
) -> None:
    arguments = cell_arguments(CASE, dtype, cell)
    arguments["resets"] = np.random.default_rng(1).random((CASE.batch, CASE.steps)) < 0.2
    result, backward = vjp_cell(cell, arguments, reverse=reverse)
    given_ = cotangents(result)
    expected = backward(*given_)
    kept = [grad.copy() for grad in arrays(expected)]
    for array in (*arguments.values(), *flat(result)):
        array[...] = 1
    again = backward(*given_)
    assert_all_same(again, expected)
    for grad in arrays(again):  # which nothing else holds
        grad[...] = 7
    for actual, wanted in zip(arrays(expected), kept, strict=True):
        assert_same_bits(actual, wanted)
    assert_all_same(backward(*given_), expected)
    opposite = backward(-given_[0], tuple(-p for p in flat(given_)[1:])
                        if isinstance(given_[1], tuple) else -given_[1])  # fmt: skip
    for actual, wanted in zip(arrays(opposite), arrays(expected), strict=True):
        np.testing.assert_array_equal(actual, -wanted)


@each_cell
def test_the_gradients_of_a_backend_are_those_of_its_forward(core: Any, cell: str) -> None:
    arguments = cell_arguments(CASE, np.float32, cell)
    result, backward = vjp_cell(cell, arguments)
    given_ = cotangents(result)
    expected = backward(*given_)
    with er.use_backend("numpy"):
        assert_all_same(backward(*given_), expected)


@each_cell
def test_a_tape_outlives_a_change_of_the_isa(core: Any, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(CASE, dtype, cell)
    for recorded_for in core.isas():
        core.set_isa(recorded_for)
        result, backward = vjp_cell(cell, arguments)
        given_ = cotangents(result)
        expected = backward(*given_)
        for isa in core.isas():
            core.set_isa(isa)
            assert_all_same(backward(*given_), expected)


@each_cell
def test_threads_share_what_is_kept(backend: str, cell: str) -> None:
    result, backward = vjp_cell(cell, cell_arguments(CASE, np.float32, cell))
    given_ = cotangents(result)
    expected = backward(*given_)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(backward, *given_) for _ in range(40)]:
            assert_all_same(done.result(), expected)


# Numbers that a tape takes for each valid step: of the input, and of the units.
KEPT = {"rnn_tanh": (1, 2), "rnn_relu": (1, 2), "rnn_tanh_leaky": (1, 2), "rnn_relu_leaky": (1, 2),
        "gru": (1, 5), "gru_reset_before": (1, 5), "lstm": (1, 6),
        "lstm_peephole": (1, 6)}  # fmt: skip


@each_cell
@pytest.mark.parametrize(("inputs", "hidden"), [(0, 1), (7, 19), (64, 128), (130, 33)])
def test_the_memory_of_a_tape(native: str, dtype: Any, cell: str, inputs: int, hidden: int) -> None:
    packed = pack(cell, cell_arguments(RnnCase("", 2, 3, inputs, hidden), dtype, cell))
    whole = 64 // np.dtype(dtype).itemsize  # the widest vectors that there are
    sizes = (-(-inputs // whole) * whole, -(-hidden // whole) * whole)
    most = sum(part * size for part, size in zip(KEPT[cell], sizes, strict=True))
    for pairs in (0, 1, 1000):
        tape = packed.new_tape(pairs)
        assert len(tape) == pairs
        assert tape.nbytes <= pairs * most * np.dtype(dtype).itemsize


# --- threads and instruction sets ---------------------------------------------------------------

THREADED = (
    RnnCase("many_rows", 48, 13, 40, 50),
    RnnCase("few_rows", 3, 40, 64, 200, "one_long"),
    RnnCase("one_row", 1, 50, 31, 150, "full"),
)


@each_cell
@pytest.mark.parametrize("case", THREADED, ids=str)
@both_directions
def test_thread_counts_and_isas_with_fma_give_the_same_bits(
    core: Any, cell: str, case: RnnCase, reverse: bool
) -> None:
    arguments = cell_arguments(case, np.float32, cell)
    results = []
    for name in (name for name in core.isas() if name != "baseline"):
        core.set_isa(name)
        for count in (1, 2, 3, 8):
            core.set_num_threads(count)
            results.append(gradients(cell, arguments, reverse=reverse))
    for result in results[1:]:
        assert_all_same(result, results[0])


# --- memory ------------------------------------------------------------------------------------


def guarded_calls(dtype: Any, before: bool) -> Iterator[tuple[str, RnnCase, Arguments]]:
    """Yield a cell, and arguments that touch an unmapped page, for all widths up to 130."""
    for size in range(131):
        for inputs, hidden in ((size, 3), (3, size)):
            cell = list(CELLS)[size % len(CELLS)]
            case = RnnCase("guarded", 1 + size % 8, 2, inputs, hidden, "full")
            arguments = cell_arguments(case, dtype, cell)
            arguments["resets"] = np.arange(case.batch * 2).reshape(-1, 2) % 3 == 0
            yield cell, case, {n: guarded(a, before=before) for n, a in arguments.items()}


@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
def test_stays_inside_its_arrays(backend: str, dtype: Any, before: bool) -> None:
    # One level below the public function, which would allocate the results without a guard.
    for cell, case, arguments in guarded_calls(dtype, before):

        def room(*shape: int) -> np.ndarray:
            return guarded(np.zeros(shape, dtype), before=before)

        packed, states = pack(cell, arguments), CELLS[cell].initial
        initial = tuple(arguments[name][None] for name in states)
        rows = (Rows(case.batch, arguments["lengths"]), arguments["resets"])
        output = room(case.batch, 2, case.hidden)
        last = tuple(room(*state.shape) for state in initial)
        tape = packed.new_tape(case.batch * 2)
        packed.forward(arguments["x"], *rows, initial, False, output, last, 0, tape)
        given_ = cotangents((output, last))
        of_output, *of_last = (guarded(part, before=before) for part in flat(given_))
        of_x = room(*arguments["x"].shape)
        of_initial = tuple(room(*state.shape) for state in initial)
        grads = {name: room(*arguments[name].shape) for name in CELLS[cell].parameters}
        packed.backward(*rows, False, tape, of_output, tuple(of_last), of_x, of_initial,
                        packed_weights(cell, grads), 0)  # fmt: skip
        _, backward = vjp_cell(cell, arguments)
        expected = backward(of_output, tuple(p[0] for p in of_last) if len(of_last) > 1
                            else of_last[0][0])  # fmt: skip
        first = zip(CELLS[cell].initial, of_initial, strict=True)
        actual = {"x": of_x, **grads, **{name: part[0] for name, part in first}}
        for name, got in actual.items():
            assert_same_bits(got, getattr(expected, name))


@each_cell
def test_gradients_are_added_and_those_of_states_filled(
    backend: str, dtype: Any, cell: str
) -> None:
    # What a stack asks of a packed cell: its own place among the states, x of two directions.
    arguments = cell_arguments(CASE, dtype, cell)
    packed = pack(cell, arguments)
    result, backward = vjp_cell(cell, arguments)
    given_ = cotangents(result)
    expected = backward(*given_)
    initial = tuple(np.stack([arguments[n]] * 3) for n in CELLS[cell].initial)
    last, of_initial = (tuple(np.full_like(part, 7) for part in initial) for _ in range(2))
    rows = (Rows(CASE.batch, arguments["lengths"]), None)
    tape = packed.new_tape(int(arguments["lengths"].sum()))
    packed.forward(arguments["x"], *rows, initial, False, None, last, 1, tape)
    of_last = tuple(np.stack([part] * 3) for part in flat(given_)[1:])
    of_x = np.full((CASE.steps, CASE.batch, CASE.inputs), 3, dtype).swapaxes(0, 1)
    grads = {n: np.full(arguments[n].shape, 3, dtype) for n in CELLS[cell].parameters}
    packed.backward(*rows, False, tape, given_[0], of_last, of_x, of_initial,
                    packed_weights(cell, grads), 1)  # fmt: skip
    valid = ~padding(arguments["lengths"], CASE.batch, CASE.steps)
    assert (of_x[~valid] == 3).all()
    assert_near(of_x[valid], expected.x[valid] + 3)
    for name, got in grads.items():
        assert_near(got, getattr(expected, name) + 3)
    for name, got in zip(CELLS[cell].initial, of_initial, strict=True):
        assert (got[[0, 2]] == 7).all()
        assert_near(got[1], getattr(expected, name))


@each_cell
@both_directions
@pytest.mark.parametrize("case", [CASE, RnnCase("tiles", 4, 150, 3, 300, "full")], ids=str)
def test_gradients_that_nobody_wants_are_left_out(
    backend: str, dtype: Any, cell: str, reverse: bool, case: RnnCase
) -> None:
    arguments = cell_arguments(case, dtype, cell)
    resets = np.random.default_rng(2).random((case.batch, case.steps)) < 0.02
    packed, rows = pack(cell, arguments), (Rows(case.batch, arguments["lengths"]), resets)
    result, _ = vjp_cell(cell, arguments, reverse=reverse, resets=resets)
    of_output, *of_last = flat(cotangents(result))
    initial = tuple(arguments[name][None] for name in CELLS[cell].initial)
    last = tuple(np.empty_like(part) for part in initial)
    tape = packed.new_tape(int(arguments["lengths"].sum()))
    packed.forward(arguments["x"], *rows, initial, reverse, None, last, 0, tape)

    def back(of_x: bool, of_state: bool) -> list[np.ndarray | None]:
        grads = {n: np.zeros_like(arguments[n]) for n in CELLS[cell].parameters}
        grad_x = np.zeros(arguments["x"].shape, dtype) if of_x else None
        first = tuple(np.empty_like(part) if of_state else None for part in initial)
        packed.backward(*rows, reverse, tape, of_output, tuple(part[None] for part in of_last),
                        grad_x, first, packed_weights(cell, grads), 0)  # fmt: skip
        return [grad_x, *first, *grads.values()]

    whole = back(True, True)
    for of_x, of_state in ((False, True), (True, False), (False, False)):
        for got, wanted in zip(back(of_x, of_state), whole, strict=True):
            if got is not None:
                assert_same_bits(got, wanted)


def test_the_core_refuses_some_of_the_gradients_of_states(core: Any) -> None:
    arguments = cell_arguments(CASE, np.float32, "lstm")
    packed, rows = pack("lstm", arguments), Rows(CASE.batch, arguments["lengths"])
    tape = packed.new_tape(int(arguments["lengths"].sum()))
    grads = packed_weights("lstm", {n: np.zeros_like(a) for n, a in arguments.items()})
    first = (np.zeros((1, CASE.batch, CASE.hidden), np.float32), None)
    with pytest.raises(ValueError, match=r"^grad_initial must have all states or none"):
        packed.backward(rows, None, False, tape, None, (None, None), None, first, grads, 0)


@each_cell
def test_nan_and_infinity_flow_along_their_own_row(backend: str, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("special", 4, 5, 3, 17, "no_lengths"), dtype, cell)
    result, backward = vjp_cell(cell, arguments)
    of_output, of_states = cotangents(result)
    clean = backward(of_output, of_states)
    of_output[1, 2, 0] = np.nan
    of_output[2, 3, 0] = np.inf
    grads = backward(of_output, of_states)
    if not cell.startswith("rnn_relu"):  # which may have cut those units off
        assert np.isnan(grads.x[1, :3]).any(axis=-1).all()
        assert not np.isfinite(grads.x[2, :4]).all(axis=-1).any()
    for untouched in (np.s_[0], np.s_[3], np.s_[1, 3:], np.s_[2, 4:]):
        assert_near(grads.x[untouched], clean.x[untouched])
