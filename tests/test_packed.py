"""The packed cell of both backends: steps, walks, and whose weights they see."""

from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import (
    LAYOUTS,
    RNN_CASES,
    RnnCase,
    assert_same_bits,
    cell_arguments,
    packed_weights,
    run_cell,
)
from embedrnn import _backend
from embedrnn._cells import CELLS
from embedrnn._sequences import Rows

each_cell = pytest.mark.parametrize("cell", CELLS)
# Vectors that are full and not, one row and more than a register block, weights beyond L1 and L2.
SHAPES = (
    *((5, width, width + 1) for width in (1, 7, 16, 33)),
    *((batch, 21, 37) for batch in (1, 2, 3, 8, 17, 40)),
    (3, 300, 200),
    (2, 40, 600),
    (3, 1400, 500),
    (64, 100, 300),
)
each_shape = pytest.mark.parametrize(
    ("batch", "inputs", "hidden"), SHAPES, ids=["-".join(map(str, shape)) for shape in SHAPES]
)


def pack(cell: str, arguments: dict[str, Any]) -> Any:
    return _backend.current().pack(cell, *packed_weights(cell, arguments))


def states_of(cell: str, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """Return the states before the first step, as a stack of one cell has them."""
    given = (arguments.get(name) for name in CELLS[cell].initial)
    return tuple(None if state is None else state[None] for state in given)


def forward(
    packed: Any, cell: str, arguments: dict[str, Any], reverse: bool = False
) -> list[np.ndarray]:
    """Walk with a packed cell; the outputs of the batch, laid out as x is, and its last states."""
    x, hidden = arguments["x"], arguments["weight_hh"].shape[1]
    last = tuple(np.empty((1, len(x), hidden), x.dtype) for _ in CELLS[cell].states)
    order = "C" if x.flags.c_contiguous else "F"
    output = np.empty((*x.shape[:2], hidden), x.dtype, order)
    initial = states_of(cell, arguments)
    rows = Rows(len(x), arguments["lengths"])
    packed.forward(x, rows, None, initial, reverse, output, last, 0)
    return [output, *(part[0] for part in last)]


def assert_steps(backend: str, actual: np.ndarray, expected: np.ndarray) -> None:
    """Demand equal bits of the compiled core; a BLAS product depends on the shape."""
    if backend != "numpy":
        assert_same_bits(actual, expected)
    else:
        tolerance = 16 * np.finfo(actual.dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@each_cell
@pytest.mark.parametrize("case", RNN_CASES, ids=str)
def test_a_packed_cell_gives_what_the_function_gives(
    backend: str, dtype: Any, cell: str, case: RnnCase
) -> None:
    arguments = cell_arguments(case, dtype, cell)
    packed = pack(cell, arguments)
    for _ in range(2):
        results = forward(packed, cell, arguments)
        for actual, expected in zip(results, run_cell(cell, arguments), strict=True):
            assert_same_bits(actual, expected)


@each_cell
@each_shape
def test_steps_give_what_a_walk_gives(
    backend: str, dtype: Any, cell: str, batch: int, inputs: int, hidden: int
) -> None:
    steps = 5
    arguments = cell_arguments(RnnCase("", batch, steps, inputs, hidden, "no_lengths"), dtype, cell)
    packed = pack(cell, arguments)
    output, *last = forward(packed, cell, arguments)
    states = tuple(state.copy() for state in states_of(cell, arguments))
    for t in range(steps):
        new = states  # in place, and into other arrays
        if t % 2 == 0:
            new = tuple(np.full_like(state, np.nan) for state in states)
        packed.step(arguments["x"][:, t], states, new, 0)
        states = new
        assert_steps(backend, states[0][0], output[:, t])
    for actual, expected in zip(states, last, strict=True):
        assert_steps(backend, actual[0], expected)


@each_cell
def test_a_row_has_the_bits_alone_that_it_has_in_a_batch(
    native: str, dtype: Any, cell: str
) -> None:
    arguments = cell_arguments(RnnCase("", 41, 1, 37, 83, "no_lengths"), dtype, cell)
    packed, x = pack(cell, arguments), arguments["x"][:, 0]
    states = states_of(cell, arguments)
    together = tuple(np.empty_like(state) for state in states)
    packed.step(x, states, together, 0)
    for first, size in ((0, 1), (40, 1), (3, 2), (5, 7), (1, 40)):
        rows = slice(first, first + size)
        alone = tuple(np.empty_like(state[:, rows]) for state in states)
        packed.step(x[rows], tuple(state[:, rows] for state in states), alone, 0)
        for actual, expected in zip(alone, together, strict=True):
            assert_same_bits(actual, expected[:, rows])


# Few rows, of which a step is worth sharing, and sizes that leave the last panels unequal.
TEAM_CASES = (
    RnnCase("one_row", 1, 90, 130, 300, "full"),
    RnnCase("two_rows", 2, 70, 64, 270, "one_long"),
    RnnCase("five_rows", 5, 40, 31, 259, "random"),
    RnnCase("narrow", 4, 60, 300, 129, "descending"),
)


@each_cell
@pytest.mark.parametrize("case", TEAM_CASES, ids=str)
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_threads_that_share_units_do_not_show(
    native: str, core: Any, cell: str, case: RnnCase, reverse: bool
) -> None:
    core.set_isa(native)
    arguments = cell_arguments(case, np.float32, cell)
    packed = pack(cell, arguments)
    core.set_num_threads(1)
    expected = forward(packed, cell, arguments, reverse)
    strided = arguments | {"x": np.asfortranarray(arguments["x"])}
    for threads in (2, 3, 8):
        core.set_num_threads(threads)
        for _ in range(2):
            for given in (arguments, strided):
                results = forward(packed, cell, given, reverse)
                for actual, wanted in zip(results, expected, strict=True):
                    assert_same_bits(np.ascontiguousarray(actual), wanted)


@each_cell
def test_strides_of_a_step(backend: str, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("", 5, 1, 7, 19, "no_lengths"), dtype, cell)
    packed, x = pack(cell, arguments), arguments["x"][:, 0]
    states = states_of(cell, arguments)
    wanted = tuple(np.empty_like(state) for state in states)
    packed.step(x, states, wanted, 0)

    def strided(array: np.ndarray) -> np.ndarray:
        return np.repeat(array.T.copy(), 2, axis=1).T[::2]

    new, moved = (tuple(strided(state[0])[None] for state in states) for _ in range(2))
    packed.step(strided(x), moved, new, 0)
    for actual, expected in zip(new, wanted, strict=True):
        if backend == "numpy":  # NumPy 2.0 takes no BLAS for a product of such rows
            tolerance = 8 * np.finfo(dtype).eps
            np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance, strict=True)
        else:
            assert_same_bits(actual.copy(), expected)


@each_cell
def test_absent_states_are_zeros(backend: str, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("", 5, 1, 7, 19, "no_lengths"), dtype, cell)
    packed, x = pack(cell, arguments), arguments["x"][:, 0]
    zeros = tuple(np.zeros_like(state) for state in states_of(cell, arguments))
    new, wanted = (tuple(np.full_like(zero, np.nan) for zero in zeros) for _ in range(2))
    packed.step(x, (None,) * len(zeros), new, 0)
    packed.step(x, zeros, wanted, 0)
    for actual, expected in zip(new, wanted, strict=True):
        assert_same_bits(actual, expected)


@each_cell
@pytest.mark.parametrize("threads", [1, 3])
def test_a_walk_without_an_output(native: str, core: Any, cell: str, threads: int) -> None:
    core.set_isa(native)
    core.set_num_threads(threads)
    for case in (RnnCase("", 3, 9, 64, 300), RnnCase("", 17, 9, 5, 19)):
        arguments = cell_arguments(case, np.float32, cell)
        packed, initial = pack(cell, arguments), states_of(cell, arguments)
        _, *wanted = forward(packed, cell, arguments)
        last = tuple(np.empty_like(state) for state in initial)
        rows = Rows(case.batch, arguments["lengths"])
        packed.forward(arguments["x"], rows, None, initial, False, None, last, 0)
        for actual, expected in zip(last, wanted, strict=True):
            assert_same_bits(actual[0], expected)


@each_cell
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_float64_equals_the_specification(native: str, cell: str, reverse: bool) -> None:
    arguments = cell_arguments(RnnCase("", 9, 60, 130, 200), np.float64, cell)
    results = run_cell(cell, arguments, reverse=reverse)
    with er.use_backend("numpy"):
        expected = run_cell(cell, arguments, reverse=reverse)
    for actual, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-12, atol=1e-13)


@each_cell
def test_the_weights_are_copied(backend: str, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("", 3, 4, 5, 17), dtype, cell)
    packed = pack(cell, arguments)
    expected = forward(packed, cell, arguments)
    for name in CELLS[cell].parameters:
        arguments[name][...] = np.nan
    for actual, wanted in zip(forward(packed, cell, arguments), expected, strict=True):
        assert_same_bits(actual, wanted)


@each_cell
def test_a_packed_cell_outlives_a_change_of_the_isa(core: Any, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("", 3, 4, 5, 19), dtype, cell)
    for packed_for in core.isas():
        core.set_isa(packed_for)
        packed = pack(cell, arguments)
        expected = forward(packed, cell, arguments)
        for isa in core.isas():
            core.set_isa(isa)
            for actual, wanted in zip(forward(packed, cell, arguments), expected, strict=True):
                assert_same_bits(actual, wanted)


@each_cell
def test_a_step_may_write_over_what_it_reads(backend: str, dtype: Any, cell: str) -> None:
    arguments = cell_arguments(RnnCase("", 5, 1, 17, 19, "no_lengths"), dtype, cell)
    packed, x = pack(cell, arguments), arguments["x"][:, 0]
    states = states_of(cell, arguments)
    wanted = tuple(np.empty_like(state) for state in states)
    packed.step(x, states, wanted, 0)
    memory = np.zeros(400, dtype)
    places = [memory[at : at + a.size].reshape(a.shape) for at, a in ((0, x), (90, states[0]))]
    places[0][...], places[1][...] = x, states[0]
    new = [memory[first : first + 95].reshape(1, 5, 19) for first in (40, 150)][: len(states)]
    packed.step(places[0], (places[1], *states[1:]), tuple(new), 0)
    for actual, expected in zip(new, wanted, strict=True):
        assert_same_bits(actual, expected)


# --- whether a cell holds weights ---------------------------------------------------------------

SHAPES = [RnnCase("small", 1, 1, 3, 5), RnnCase("wide", 1, 1, 70, 150), RnnCase("bare", 1, 1, 0, 1)]


def strided(array: Any) -> Any:
    """Return the same numbers with gaps between them."""
    return None if array is None else LAYOUTS["every_other_column"](array)


@each_cell
@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_a_cell_holds_the_weights_it_was_packed_of(
    backend: str, dtype: Any, cell: str, case: RnnCase
) -> None:
    weights = packed_weights(cell, cell_arguments(case, dtype, cell))
    packed = er._backend.current().pack(cell, *weights)
    assert packed.holds(cell, *weights)
    assert packed.holds(cell, *map(strided, weights))


@each_cell
@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_a_cell_holds_no_weights_of_which_one_number_differs(
    backend: str, dtype: Any, cell: str, case: RnnCase
) -> None:
    weights = packed_weights(cell, cell_arguments(case, dtype, cell))
    packed = er._backend.current().pack(cell, *weights)
    rng = np.random.default_rng(0)
    for k, weight in enumerate(weights):
        if weight is None or not weight.size:
            continue
        for at in {0, weight.size - 1, *rng.integers(weight.size, size=30).tolist()}:
            other = [None if part is None else part.copy() for part in weights]
            other[k].flat[at] += 1
            assert not packed.holds(cell, *other)


def test_a_cell_holds_bits_and_not_numbers(backend: str, dtype: Any) -> None:
    weights = packed_weights("gru", cell_arguments(SHAPES[0], dtype, "gru"))
    for value, other, same in ((0.0, -0.0, False), (np.nan, np.nan, True), (np.nan, 1.0, False)):
        weights[1][0, 0] = value
        packed = er._backend.current().pack("gru", *weights)
        weights[1][0, 0] = other
        assert packed.holds("gru", *weights) is same


def test_a_cell_holds_nothing_of_another_kind(backend: str, dtype: Any) -> None:
    def weights_of(cell: str, case: RnnCase, dtype: Any) -> tuple[Any, ...]:
        return packed_weights(cell, cell_arguments(case, dtype, cell))

    packed = er._backend.current().pack("rnn_tanh", *weights_of("rnn_tanh", SHAPES[0], dtype))
    others: list[tuple[str, RnnCase, Any]] = [
        ("rnn_relu", SHAPES[0], dtype),
        ("gru", SHAPES[0], dtype),
        ("rnn_tanh", SHAPES[1], dtype),
        ("rnn_tanh", SHAPES[0], np.float64 if dtype == np.float32 else np.float32),
    ]
    for cell, case, other in others:
        assert not packed.holds(cell, *weights_of(cell, case, other))
    bare = [*weights_of("rnn_tanh", SHAPES[0], dtype)]
    bare[2:4] = None, None
    assert not packed.holds("rnn_tanh", *bare)


def test_a_cell_of_another_isa_is_not_what_would_be_packed(core: Any, dtype: Any) -> None:
    weights = packed_weights("lstm", cell_arguments(SHAPES[1], dtype, "lstm"))
    isas = core.isas()
    if len(isas) < 2:
        pytest.skip("this machine has one instruction set")
    core.set_isa(isas[0])
    packed = core.pack("lstm", *weights)
    core.set_isa(isas[1])
    assert not packed.holds("lstm", *weights)
    core.set_isa(isas[0])
    assert packed.holds("lstm", *weights)
