"""gru_forward and lstm_forward against their definitions, and the bits that they promise."""

from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import (
    GATES,
    LAYOUTS,
    RNN_CASES,
    RnnCase,
    assert_same_bits,
    cell_arguments,
    padding,
    run_cell,
)

CELLS = ("gru", "gru_reset_before", "lstm")
# Units in the last place of 1; the worst error seen was 4.
TOLERANCE = 16

each_cell = pytest.mark.parametrize("cell", CELLS)
each_case = pytest.mark.parametrize("case", RNN_CASES, ids=str)
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def step(cell: str, x: np.ndarray, h: np.ndarray, c: np.ndarray, w: list[Any]) -> list[np.ndarray]:
    """Return h' and c' of one row, gate by gate."""
    w_ih, w_hh, b_ih, b_hh = (np.split(part, GATES[cell]) for part in w)
    from_x = [weight @ x + bias for weight, bias in zip(w_ih, b_ih, strict=True)]
    from_h = [weight @ h + bias for weight, bias in zip(w_hh, b_hh, strict=True)]
    if cell == "lstm":
        i, f, g, o = (a + b for a, b in zip(from_x, from_h, strict=True))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]
    r, z = (sigmoid(from_x[k] + from_h[k]) for k in range(2))
    reset = r * from_h[2] if cell == "gru" else w_hh[2] @ (r * h) + b_hh[2]
    return [(1 - z) * np.tanh(from_x[2] + reset) + z * h, c]


def reference(cell: str, arguments: dict[str, Any], reverse: bool) -> list[np.ndarray]:
    """The definition, in float64, one row and one step at a time."""
    x = arguments["x"].astype("f8")
    weight_hh = arguments["weight_hh"].astype("f8")
    (batch, steps, _), hidden = x.shape, weight_hh.shape[1]
    zeros = np.zeros(len(weight_hh))
    biases = [np.float64(arguments.get(name, zeros)) for name in ("bias_ih", "bias_hh")]
    weights = [arguments["weight_ih"].astype("f8"), weight_hh, *biases]
    lengths = arguments["lengths"]
    output = np.zeros((batch, steps, hidden))
    states = [np.float64(arguments.get(k, np.zeros((batch, hidden)))) for k in ("h_0", "c_0")]
    for b in range(batch):
        valid = range(steps if lengths is None else lengths[b])
        for t in reversed(valid) if reverse else valid:
            states[0][b], states[1][b] = step(cell, x[b, t], states[0][b], states[1][b], weights)
            output[b, t] = states[0][b]
    return [output, *states[: 2 if cell == "lstm" else 1]]


@each_cell
@each_case
@both_directions
def test_equals_the_definition(
    backend: str, dtype: Any, cell: str, case: RnnCase, reverse: bool
) -> None:
    arguments = cell_arguments(case, dtype, cell)
    results = run_cell(cell, arguments, reverse=reverse)
    for actual, expected in zip(results, reference(cell, arguments, reverse), strict=True):
        assert actual.dtype == dtype
        tolerance = TOLERANCE * np.finfo(dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
    assert not results[0][padding(arguments["lengths"], case.batch, case.steps)].any()


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
@both_directions
def test_a_row_alone_has_the_bits_of_the_row_in_a_batch(
    native: str, dtype: Any, cell: str, reverse: bool
) -> None:
    arguments = cell_arguments(RnnCase("rows", 14, 9, 21, 37), dtype, cell)
    together = run_cell(cell, arguments, reverse=reverse)
    per_row = {"x", "h_0", "c_0"} & arguments.keys()
    for b, length in enumerate(arguments["lengths"]):
        alone = arguments | {name: arguments[name][b : b + 1] for name in per_row}
        alone |= {"x": alone["x"][:, :length], "lengths": None}
        output, *states = run_cell(cell, alone, reverse=reverse)
        assert_same_bits(output[0], together[0][b, :length])
        for state, expected in zip(states, together[1:], strict=True):
            assert_same_bits(state[0], expected[b])


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


@each_cell
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_every_argument(native: str, cell: str, layout: str) -> None:
    arguments = cell_arguments(RnnCase("layouts", 5, 6, 7, 19), np.float32, cell)
    moved = {name: LAYOUTS[layout](array) for name, array in arguments.items()}
    plain = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in moved.items()}
    plain = {name: np.ascontiguousarray(array) for name, array in plain.items()}
    out = np.full((19, 6, 5), 7, np.float32).T
    results = run_cell(cell, moved, out=out)
    assert results[0] is out
    for actual, expected in zip(results, run_cell(cell, plain), strict=True):
        assert_same_bits(np.ascontiguousarray(actual), expected)


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
