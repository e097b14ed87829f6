"""The packed cell of both backends: steps, walks, and whose weights they see."""

from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import GATES, RNN_CASES, RnnCase, assert_same_bits, cell_arguments, run_cell
from embedrnn import _backend

each_cell = pytest.mark.parametrize("cell", GATES)
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
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [arguments.get(name) for name in names]
    backend = _backend.current()
    if cell == "lstm":
        return backend.pack_lstm(*weights)
    if cell.startswith("rnn"):
        return backend.pack_rnn(*weights, cell.removeprefix("rnn_"))
    return backend.pack_gru(*weights, cell == "gru")


def forward(
    packed: Any, cell: str, arguments: dict[str, Any], reverse: bool = False
) -> list[np.ndarray]:
    """Walk with a packed cell; the outputs of the batch, laid out as x is, and its last states."""
    x, hidden = arguments["x"], arguments["weight_hh"].shape[1]
    states = [np.empty((len(x), hidden), x.dtype) for _ in range(1 + (cell == "lstm"))]
    order = "C" if x.flags.c_contiguous else "F"
    output = np.empty((*x.shape[:2], hidden), x.dtype, order)
    start = [arguments.get(name) for name in ("h_0", "c_0")]
    packed.forward(x, arguments["lengths"], *start, reverse, output, *[*states, None][:2])
    return [output, *states]


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
    h, c = arguments["h_0"].copy(), arguments["c_0"].copy() if cell == "lstm" else None
    for t in range(steps):
        fresh = np.full_like(h, np.nan)
        if t % 2:  # in place, and into another array
            packed.step(arguments["x"][:, t], h, c, h, c)
        else:
            packed.step(arguments["x"][:, t], h, c, fresh, c)
            h = fresh
        assert_steps(backend, h, output[:, t])
    for actual, expected in zip([h] if c is None else [h, c], last, strict=True):
        assert_steps(backend, actual, expected)


@each_cell
def test_a_row_has_the_bits_alone_that_it_has_in_a_batch(
    native: str, dtype: Any, cell: str
) -> None:
    arguments = cell_arguments(RnnCase("", 41, 1, 37, 83, "no_lengths"), dtype, cell)
    packed, x = pack(cell, arguments), arguments["x"][:, 0]
    h, c = arguments["h_0"], arguments.get("c_0")
    together, c_together = np.empty_like(h), None if c is None else np.empty_like(c)
    packed.step(x, h, c, together, c_together)
    for first, size in ((0, 1), (40, 1), (3, 2), (5, 7), (1, 40)):
        rows = slice(first, first + size)
        alone, c_alone = np.empty_like(h[rows]), None if c is None else np.empty_like(c[rows])
        packed.step(x[rows], h[rows], None if c is None else c[rows], alone, c_alone)
        assert_same_bits(alone, together[rows])
        if c_together is not None:
            assert_same_bits(c_alone, c_together[rows])


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
    h, c = arguments["h_0"], arguments.get("c_0")
    wanted, c_wanted = np.empty_like(h), None if c is None else np.empty_like(c)
    packed.step(x, h, c, wanted, c_wanted)

    def strided(array: np.ndarray) -> np.ndarray:
        return np.repeat(array.T.copy(), 2, axis=1).T[::2]

    out, c_out = strided(h), None if c is None else strided(c)
    packed.step(strided(x), strided(h), None if c is None else strided(c), out, c_out)
    assert_same_bits(out.copy(), wanted)
    if c_out is not None:
        assert_same_bits(c_out.copy(), np.asarray(c_wanted))


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
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
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
    h, c = arguments["h_0"], arguments.get("c_0")
    wanted, c_wanted = np.empty_like(h), None if c is None else np.empty_like(c)
    packed.step(x, h, c, wanted, c_wanted)
    memory = np.zeros(400, dtype)
    moved = [memory[at : at + a.size].reshape(a.shape) for at, a in ((0, x), (90, h))]
    moved[0][...], moved[1][...] = x, h
    out, c_out = memory[40:135].reshape(5, 19), None if c is None else memory[150:245]
    packed.step(moved[0], moved[1], c, out, None if c_out is None else c_out.reshape(5, 19))
    assert_same_bits(out, wanted)
    if c_out is not None:
        assert_same_bits(c_out.reshape(5, 19), np.asarray(c_wanted))
