"""The recurrent functions against their definition, values worked by hand, and promised bits."""

import itertools
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import (
    CORE,
    GATES,
    LAYOUTS,
    LENGTHS,
    RNN_CASES,
    TILED,
    WRITEABLE_LAYOUTS,
    RnnCase,
    assert_same_bits,
    cell_arguments,
    guarded,
    packed_weights,
    padding,
    reference,
    run_cell,
    writes_only,
)
from embedrnn import _backend
from embedrnn._cells import CELLS
from embedrnn._sequences import Rows

rnn_case = pytest.mark.parametrize("case", RNN_CASES, ids=str)
each_cell = pytest.mark.parametrize("cell", CELLS)
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])

LAYOUT_CASE = RnnCase("layouts", 5, 6, 7, 19)
ARGUMENTS = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h_0", "c_0", "lengths")

# Units in the last place of 1. The cases have 228 terms a sum at most, weights that contract the
# state and results near 1; the worst error seen was 6.4.
TOLERANCE = 16


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(
        actual.astype("f8"), expected, rtol=0, atol=TOLERANCE * np.finfo(actual.dtype).eps
    )


def assert_agrees(backend: str, actual: np.ndarray, expected: np.ndarray) -> None:
    """Demand equal bits of the compiled core; a BLAS product depends on shape and layout."""
    if backend == "numpy":
        assert_close(actual, expected)
    else:
        assert_same_bits(actual, expected)


def assert_all_agree(backend: str, actual: list[Any], expected: list[Any]) -> None:
    for got, wanted in zip(actual, expected, strict=True):
        assert_agrees(backend, got, wanted)


@cache
def expected_of(cell: str, case: RnnCase, dtype: Any, reverse: bool) -> list[np.ndarray]:
    """Return what the definition gives, which takes longer than what every backend does."""
    return reference(cell, cell_arguments(case, dtype, cell), reverse)


# --- values ------------------------------------------------------------------------------------

# One unit, h' = relu(2 x + 3 h + 1 - 1), x = 1, 2, h_0 = 1.
BY_HAND = {
    "forward": (2, False, [5, 19], 19),
    "reverse": (2, True, [23, 7], 23),
    "forward_one_step": (1, False, [5, 0], 5),
    "reverse_one_step": (1, True, [5, 0], 5),
    "forward_no_step": (0, False, [0, 0], 1),
    "reverse_no_step": (0, True, [0, 0], 1),
}


@pytest.mark.parametrize(("length", "reverse", "steps", "last"), BY_HAND.values(), ids=BY_HAND)
def test_relu_by_hand(
    backend: str, dtype: Any, length: int, reverse: bool, steps: list[float], last: float
) -> None:
    output, h_n = er.rnn_forward(
        np.array([[[1], [2]]], dtype), *np.array([[[2]], [[3]]], dtype),
        *np.array([[1], [-1]], dtype),
        lengths=[length], h_0=np.ones((1, 1), dtype), nonlinearity="relu", reverse=reverse,
    )  # fmt: skip
    assert output.tolist() == [[[step] for step in steps]]
    assert h_n.tolist() == [[last]]


def test_two_units_by_hand(backend: str, dtype: Any) -> None:
    # Unit 0 counts steps and unit 1 holds the sum of unit 0 before the step: the order of
    # weight_hh's axes shows, and relu cuts the third unit.
    weight_ih = np.array([[1], [0], [-1]], dtype)
    weight_hh = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype)
    output, h_n = er.rnn_forward(
        np.ones((1, 4, 1), dtype), weight_ih, weight_hh, nonlinearity="relu"
    )
    assert output.tolist() == [[[1, 0, 0], [2, 1, 0], [3, 3, 0], [4, 6, 0]]]
    assert h_n.tolist() == [[4, 6, 0]]


def test_tanh_by_hand(backend: str, dtype: Any) -> None:
    one = np.ones((1, 1), dtype)
    output, h_n = er.rnn_forward(np.array([[[0.5], [0.0]]], dtype), one, one)
    # tanh(0.5) and tanh(tanh(0.5)), to 20 digits by a calculator
    expected = np.array([0.46211715726000975850, 0.43180818059509617737])
    np.testing.assert_allclose(output.ravel(), expected, rtol=2 * np.finfo(dtype).eps)
    assert_same_bits(h_n, output[:, -1])


def test_gru_by_hand(backend: str, dtype: Any) -> None:
    # Gates r and z are sigmoid(0) = 1/2, the candidate is tanh(1): h goes half the way each step.
    weight = np.array([[0], [0], [1]], dtype)
    output, h_n = er.gru_forward(np.ones((1, 2, 1), dtype), weight, np.zeros((3, 1), dtype))
    np.testing.assert_allclose(output[0, :, 0], np.tanh(1) * np.array([0.5, 0.75]), rtol=1e-6)
    assert_same_bits(h_n, output[:, -1])


def test_lstm_by_hand(backend: str, dtype: Any) -> None:
    # All gates but g are 1/2: c = tanh(1) / 2, then 3/4 of tanh(1); h = tanh(c) / 2.
    weight = np.array([[0], [0], [1], [0]], dtype)
    output, (h_n, c_n) = er.lstm_forward(np.ones((1, 2, 1), dtype), weight, np.zeros((4, 1), dtype))
    cells = np.tanh(1) * np.array([0.5, 0.75])
    np.testing.assert_allclose(output[0, :, 0], np.tanh(cells) / 2, rtol=1e-6)
    np.testing.assert_allclose(c_n, [[cells[1]]], rtol=1e-6)
    assert_same_bits(h_n, output[:, -1])


@each_cell
@rnn_case
@both_directions
def test_equals_the_definition(
    backend: str, dtype: Any, cell: str, case: RnnCase, reverse: bool
) -> None:
    arguments = cell_arguments(case, dtype, cell)
    read_only = {k: None if v is None else LAYOUTS["read_only"](v) for k, v in arguments.items()}
    results = run_cell(cell, read_only, reverse=reverse)
    for actual, expected in zip(results, expected_of(cell, case, dtype, reverse), strict=True):
        assert actual.dtype == dtype
        assert_close(actual, expected)


@each_cell
@rnn_case
@both_directions
def test_padding_is_zero_and_h_n_is_the_last_valid_step(
    backend: str, dtype: Any, cell: str, case: RnnCase, reverse: bool
) -> None:
    arguments = cell_arguments(case, dtype, cell)
    output, h_n, *_ = run_cell(cell, arguments, reverse=reverse)
    assert not output[padding(arguments["lengths"], case.batch, case.steps)].tobytes().strip(b"\0")
    lengths = arguments["lengths"]
    lengths = np.full(case.batch, case.steps) if lengths is None else lengths
    h_0 = arguments.get("h_0", np.zeros_like(h_n))
    last = np.array(
        [output[b, 0 if reverse else n - 1] if n else h_0[b] for b, n in enumerate(lengths)]
    )
    assert_same_bits(h_n, last.astype(dtype).reshape(h_n.shape))


@each_cell
@pytest.mark.parametrize("lengths_dtype", ["i1", "u2", "i4", "i8", "u8", ">i4"])
def test_lengths_of_any_integer_dtype(backend: str, cell: str, lengths_dtype: str) -> None:
    arguments = cell_arguments(LAYOUT_CASE, np.float32, cell)
    expected = run_cell(cell, arguments)
    arguments["lengths"] = arguments["lengths"].astype(lengths_dtype)
    for actual, wanted in zip(run_cell(cell, arguments), expected, strict=True):
        assert_same_bits(actual, wanted)


def test_lists_are_taken(backend: str) -> None:
    output, h_n = er.rnn_forward(
        [[[1.0], [2.0]]],
        [[2.0]],
        [[3.0]],
        [1.0],
        [-1.0],
        lengths=[2],
        h_0=[[1.0]],
        nonlinearity="relu",
    )
    assert output.tolist() == [[[5], [19]]]
    assert h_n.tolist() == [[19]]
    assert output.dtype == np.float64


@pytest.mark.parametrize("call", ["rnn_forward", "rnn_vjp"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_leak_may_be_any_number_in_its_range(backend: str, dtype: str, call: str) -> None:
    arguments = cell_arguments(RnnCase("leaks", 3, 4, 2, 5), dtype, "rnn_tanh_leaky")

    def output(leak: Any) -> Any:
        found = getattr(er, call)(**arguments | {"leak": leak})[0]
        return found if call == "rnn_forward" else found[0]

    expected = output(np.full(5, 0.5, dtype))
    for leak in (0.5, np.float16(0.5), np.float32(0.5), np.float64(0.5), np.array(0.5, "f4")):
        assert_same_bits(output(leak), expected)
    whole = output(np.ones(5, dtype))
    for leak in (1, 1.0, np.int64(1), np.uint8(1), np.array(1), np.array(1.0)):
        assert_same_bits(output(leak), whole)
    for leak in (-0.5, 0.0, 2.0):  # of an array the numbers are not looked at
        assert np.isfinite(output(np.full(5, leak, dtype))).all()


@pytest.mark.skipif(CORE is None, reason="the compiled core is not built")
@each_cell
def test_a_diagonal_is_packed_where_the_cell_has_one(cell: str) -> None:
    arguments = cell_arguments(RnnCase("packed", 1, 1, 2, 3), np.float32, cell)
    weights = packed_weights(cell, arguments)
    core: Any = CORE
    core.pack(cell, *weights)
    other, words = None, "be given: the cell has one"
    if weights[4] is None:
        other, words = np.ones(3, np.float32), "be None: the cell has none"
    with pytest.raises(ValueError, match=f"^diagonal must {words}$"):
        core.pack(cell, *weights[:4], other)


@each_cell
def test_nan_and_infinity_flow_along_their_own_row(backend: str, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("special", 4, 5, 3, 17, "no_lengths"), dtype, cell)
    arguments["weight_ih"] = np.abs(arguments["weight_ih"])
    clean, *_ = run_cell(cell, arguments)
    arguments["x"][1, 2, 0] = np.nan
    arguments["x"][2, 3] = np.inf
    output, *states = run_cell(cell, arguments)
    assert np.isnan(output[1, 2:]).all()
    assert all(np.isnan(state[1]).all() for state in states)
    if cell.startswith("rnn"):
        highest, leak = np.inf if "relu" in cell else 1, arguments.get("leak", 1)
        expected = (1 - leak) * output[2, 2] + leak * highest
        np.testing.assert_allclose(output[2, 3], expected, rtol=1e-6)
    else:
        assert np.isfinite(output[2, 3]).all()
    for untouched in (np.s_[0], np.s_[3], np.s_[1, :2], np.s_[2, :3]):
        assert_agrees(backend, output[untouched], clean[untouched])


@each_cell
def test_no_step_reads_no_weight(backend: str, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("idle", 3, 4, 5, 6, "zeros"), dtype, cell)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        arguments[name][...] = np.nan
    output, *states = run_cell(cell, arguments)
    assert not output.any()
    for name, state in zip(CELLS[cell].initial, states, strict=True):
        assert_same_bits(state, arguments[name])


# --- the same row, the same bits -----------------------------------------------------------------


@pytest.mark.parametrize("case", [*(RnnCase(k, 14, 9, 21, 37, k) for k in LENGTHS), TILED], ids=str)
@each_cell
@both_directions
def test_a_row_alone_equals_the_row_in_a_padded_batch(
    backend: str, dtype: Any, cell: str, case: RnnCase, reverse: bool
) -> None:
    arguments = cell_arguments(case, dtype, cell)
    output, *states = run_cell(cell, arguments, reverse=reverse)
    lengths = arguments.pop("lengths")
    for b in range(case.batch):
        n = case.steps if lengths is None else lengths[b]
        row = arguments | {name: arguments[name][b : b + 1] for name in CELLS[cell].initial}
        alone, *last = run_cell(cell, row | {"x": row["x"][b : b + 1, :n]}, reverse=reverse)
        assert_agrees(backend, alone[0], output[b, :n])
        for actual, expected in zip(last, states, strict=True):
            assert_agrees(backend, actual[0], expected[b])


@each_cell
@both_directions
def test_the_order_of_rows_does_not_show(
    backend: str, dtype: Any, cell: str, reverse: bool
) -> None:
    arguments = cell_arguments(RnnCase("order", 14, 9, 21, 37), dtype, cell)
    results = run_cell(cell, arguments, reverse=reverse)
    order = np.random.default_rng(0).permutation(14)
    names = ("x", "lengths", *CELLS[cell].initial)
    moved = arguments | {name: arguments[name][order] for name in names}
    expected = [result[order] for result in results]
    assert_all_agree(backend, run_cell(cell, moved, reverse=reverse), expected)


@each_cell
@both_directions
def test_one_step_at_a_time_equals_all_at_once(
    backend: str, dtype: Any, cell: str, reverse: bool
) -> None:
    arguments = cell_arguments(RnnCase("steps", 5, 11, 21, 37, "no_lengths"), dtype, cell)
    output, *last = run_cell(cell, arguments, reverse=reverse)
    for t in reversed(range(11)) if reverse else range(11):
        step, *states = run_cell(cell, arguments | {"x": arguments["x"][:, t : t + 1]})
        arguments |= dict(zip(CELLS[cell].initial, states, strict=True))
        assert_agrees(backend, step[:, 0], output[:, t])
    assert_all_agree(backend, states, last)


@each_cell
@both_directions
def test_an_episode_has_the_bits_that_it_has_alone(
    backend: str, dtype: Any, cell: str, reverse: bool
) -> None:
    case = RnnCase("episodes", 9, 11, 21, 37, "random")
    arguments = cell_arguments(case, dtype, cell)
    lengths = arguments.pop("lengths")
    resets = np.random.default_rng(3).random((9, 11)) < 0.3
    output, *states = run_cell(cell, arguments, lengths=lengths, resets=resets, reverse=reverse)
    for b in range(9):
        row = arguments | {name: arguments[name][b : b + 1] for name in CELLS[cell].initial}
        # Where an episode begins and ends within the row: in reverse, a reset is at its last step.
        borders = np.flatnonzero(resets[b, : lengths[b]]) + int(reverse)
        ends = sorted({0, *borders.tolist(), int(lengths[b])})
        for begin, end in itertools.pairwise(ends):
            alone, *last = run_cell(
                cell, row | {"x": row["x"][b : b + 1, begin:end]}, reverse=reverse
            )
            assert_agrees(backend, alone[0], output[b, begin:end])
            if (begin == 0) if reverse else (end == lengths[b]):
                for actual, expected in zip(last, states, strict=True):
                    assert_agrees(backend, actual[0], expected[b])


@each_cell
def test_no_resets_are_resets_nowhere(backend: str, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("nowhere", 5, 6, 7, 19), dtype, cell)
    resets = padding(arguments["lengths"], 5, 6)
    resets[:, 0] = True  # where the state is the initial one anyway
    for given_ in (resets, resets.T.copy().T, np.repeat(resets, 2, axis=1)[:, ::2]):
        results = run_cell(cell, arguments, resets=given_)
        for actual, expected in zip(results, run_cell(cell, arguments), strict=True):
            assert_same_bits(actual, expected)


@each_cell
def test_thread_counts_and_isas_with_fma_give_the_same_bits(core: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("threaded", 48, 30, 96, 100), np.float32, cell)
    threads, isa = core.get_num_threads(), core.get_isa()
    results = []
    try:
        for name in (name for name in core.isas() if name != "baseline"):
            core.set_isa(name)
            for count in (1, 2, 3, 8):
                core.set_num_threads(count)
                results.append(run_cell(cell, arguments))
    finally:
        core.set_num_threads(threads)
        core.set_isa(isa)
    for result in results[1:]:
        for actual, expected in zip(result, results[0], strict=True):
            assert_same_bits(actual, expected)


# --- memory ------------------------------------------------------------------------------------


@each_cell
@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_input_layouts(backend: str, dtype: Any, cell: str, name: str, layout: str) -> None:
    arguments = cell_arguments(LAYOUT_CASE, dtype, cell)
    if name not in arguments:
        pytest.skip("only the LSTM has a cell state")
    arguments["x"] = np.nan_to_num(arguments["x"])  # lengths repeated by "broadcast" read padding
    laid_out = LAYOUTS[layout](arguments[name])
    arguments[name] = laid_out.astype(laid_out.dtype.newbyteorder("="), order="C")
    expected = run_cell(cell, arguments)
    assert_all_agree(backend, run_cell(cell, arguments | {name: laid_out}), expected)


@each_cell
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_every_argument(native: str, cell: str, layout: str) -> None:
    arguments = cell_arguments(LAYOUT_CASE, np.float32, cell)
    arguments["x"] = np.nan_to_num(arguments["x"])
    moved = {name: LAYOUTS[layout](array) for name, array in arguments.items()}
    plain = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in moved.items()}
    plain = {name: np.ascontiguousarray(array) for name, array in plain.items()}
    out = np.full((19, 6, 5), 7, np.float32).T
    results = run_cell(cell, moved, out=out)
    assert results[0] is out
    for actual, expected in zip(results, run_cell(cell, plain), strict=True):
        assert_same_bits(np.ascontiguousarray(actual), expected)


@each_cell
@pytest.mark.parametrize("layout", [k for k in WRITEABLE_LAYOUTS if k != "byte_swapped"])
@both_directions
def test_out_layouts(backend: str, dtype: Any, cell: str, layout: str, reverse: bool) -> None:
    arguments = cell_arguments(LAYOUT_CASE, dtype, cell)
    expected = run_cell(cell, arguments, reverse=reverse)
    out = WRITEABLE_LAYOUTS[layout](np.full(expected[0].shape, np.nan, dtype))
    with writes_only(out):
        results = run_cell(cell, arguments, reverse=reverse, out=out)
        assert results[0] is out
        assert_all_agree(backend, results, expected)


@each_cell
def test_the_final_states_are_fresh(backend: str, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("idle", 3, 4, 5, 6, "zeros"), dtype, cell)
    output, *states = run_cell(cell, arguments)
    for name, state in zip(CELLS[cell].initial, states, strict=True):
        assert not np.shares_memory(state, output)
        assert not np.shares_memory(state, arguments[name])
        state[...] = 7
        assert not (arguments[name] == 7).any()


@each_cell
@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "lengths"])
def test_out_overlapping_an_input(backend: str, dtype: Any, cell: str, name: str) -> None:
    arguments = cell_arguments(RnnCase("overlap", 4, 6, 5, 5), dtype, cell)
    if name not in arguments:
        pytest.skip("only the LSTM has a cell state")
    expected = run_cell(cell, arguments)
    memory = np.zeros(130, dtype)
    overlapping = memory[3 : 3 + arguments[name].size].reshape(arguments[name].shape)
    overlapping[...] = arguments[name]
    out = memory[:120].reshape(4, 6, 5)
    assert_all_agree(backend, run_cell(cell, arguments | {name: overlapping}, out=out), expected)


@each_cell
def test_out_overlapping_the_lengths(backend: str, cell: str) -> None:
    arguments = cell_arguments(RnnCase("overlap", 4, 6, 5, 5), np.float64, cell)
    expected, *_ = run_cell(cell, arguments)
    memory = np.zeros(120)
    lengths = memory[50:54].view(np.int64)
    lengths[...] = arguments["lengths"]
    output, *_ = run_cell(cell, arguments | {"lengths": lengths}, out=memory.reshape(4, 6, 5))
    assert_agrees(backend, output, expected)


@each_cell
@pytest.mark.parametrize("name", ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "h_0", "c_0"])
def test_shapes_of_the_gates_are_checked(backend: str, cell: str, name: str) -> None:
    arguments = cell_arguments(RnnCase("refused", 3, 4, 5, 6), np.float32, cell)
    if name not in arguments:
        pytest.skip("only the LSTM has a cell state")
    out = np.full((3, 4, 6), 7, np.float32)
    for bad, error in (
        (np.zeros((GATES[cell] * 6, 9), np.float32), ValueError),
        (arguments[name].astype(np.float64), TypeError),
    ):
        with pytest.raises(error, match=f"^{name} must "):
            run_cell(cell, arguments | {name: bad}, out=out)
    assert (out == 7).all()


def guarded_calls(dtype: Any, before: bool) -> Iterator[tuple[RnnCase, dict[str, Any]]]:
    """Yield arguments whose every array touches an unmapped page, for all widths up to 130."""
    for size in range(131):
        for inputs, hidden in ((size, 3), (3, size)):
            case = RnnCase("guarded", 1 + size % 8, 2, inputs, hidden, "full")
            arguments = case.arguments(dtype)
            yield case, {name: guarded(a, before=before) for name, a in arguments.items()}


@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
def test_stays_inside_its_arrays(backend: str, dtype: Any, before: bool) -> None:
    # One level below the public function, which would allocate h_n without a guard.
    for case, arguments in guarded_calls(dtype, before):
        output = guarded(np.zeros((case.batch, 2, case.hidden), dtype), before=before)
        h_n = guarded(np.zeros((case.batch, case.hidden), dtype), before=before)
        inputs = [arguments[name] for name in ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        lengths, h_0 = arguments["lengths"], arguments["h_0"]
        packed = _backend.current().pack("rnn_tanh", *inputs[1:])
        rows, last = Rows(case.batch, lengths), (h_n[None],)
        packed.forward(inputs[0], rows, None, (h_0[None],), False, output, last, 0)
        assert_close(h_n, reference("rnn_tanh", arguments)[1])
        assert_same_bits(output[:, -1], h_n)


@pytest.mark.slow
@pytest.mark.skip_under("tsan", "asan")
def test_strides_beyond_2_31_elements(core: Any) -> None:
    arguments = RnnCase("far", 2, 3, 4, 5, "no_lengths").arguments(np.float32)
    memory = np.zeros(2**31 + 99, np.float32)  # mapped when touched
    far = np.lib.stride_tricks.as_strided(memory, (2, 3, 4), (2**33, 16, 4))
    far[...] = arguments["x"]
    expected = run_cell("rnn_tanh", arguments)
    for actual, wanted in zip(run_cell("rnn_tanh", arguments | {"x": far}), expected, strict=True):
        assert_same_bits(actual, wanted)


# --- any arguments at all ----------------------------------------------------------------------


@given(
    sizes=st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 9), st.integers(0, 40)),
    optional=st.sets(st.sampled_from(["bias_ih", "bias_hh", "h_0"])),
    layout=st.sampled_from(sorted(WRITEABLE_LAYOUTS)),
    cell=st.sampled_from(sorted(CELLS)),
    reverse=st.booleans(),
    data=st.data(),
)
def test_anything_equals_the_definition(
    backend: str,
    sizes: tuple[int, int, int, int],
    optional: set[str],
    layout: str,
    cell: str,
    reverse: bool,
    data: st.DataObject,
) -> None:
    batch, steps, _, _ = sizes
    case = RnnCase("any", *sizes, "no_lengths", tuple(sorted(optional)))
    arguments = cell_arguments(case, np.float32, cell)
    length = st.integers(0, steps)
    lengths = data.draw(st.none() | st.lists(length, min_size=batch, max_size=batch))
    arguments["lengths"] = None if lengths is None else np.array(lengths, np.int64)
    arguments["x"][padding(arguments["lengths"], batch, steps)] = np.nan
    if data.draw(st.booleans()):  # at padded steps too
        arguments["resets"] = np.random.default_rng(batch).random((batch, steps)) < 0.4
    expected = reference(cell, arguments, reverse)
    laid_out = {k: v if v is None else WRITEABLE_LAYOUTS[layout](v) for k, v in arguments.items()}
    for got, wanted in zip(run_cell(cell, laid_out, reverse=reverse), expected, strict=True):
        assert_close(got, wanted)


def test_padded_sizes_that_overflow_are_a_memory_error(native: str) -> None:
    # One unit is padded to a whole vector, which carries the weights past 2^64 bytes.
    wide = np.broadcast_to(np.float32(0), (1, 1, 2**58))
    with pytest.raises(MemoryError):
        er.rnn_forward(wide, wide[0], np.zeros((1, 1), np.float32))


def test_lengths_are_copied(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another thread may write to the caller's lengths once they are checked.
    seen = []
    real = _backend.current()

    class Spy:
        def pack(self, *weights: Any) -> Any:
            packed = real.pack(*weights)
            return SimpleNamespace(
                forward=lambda *rest: (seen.append(rest[1].lengths), packed.forward(*rest))
            )

    lengths = np.array([2, 3])
    with monkeypatch.context() as patch:
        patch.setattr("embedrnn._forward.current", Spy)
        er.rnn_forward(np.zeros((2, 3, 4)), np.zeros((5, 4)), np.zeros((5, 5)), lengths=lengths)
    assert not np.may_share_memory(seen[0], lengths)
