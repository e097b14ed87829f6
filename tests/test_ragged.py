"""Ragged and packed sequences have the bits of padded ones, and bad layouts are refused."""

import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import (
    LAYERS,
    LAYOUTS,
    RNN_CASES,
    WRITEABLE_LAYOUTS,
    RnnCase,
    assert_same_bits,
    cell_arguments,
    run_cell,
)
from embedrnn._cells import CELLS
from embedrnn._sequences import Rows

each_cell = pytest.mark.parametrize("cell", CELLS)
each_layer = pytest.mark.parametrize("name", LAYERS)
each_stack = pytest.mark.parametrize(
    ("num_layers", "bidirectional"), [(1, False), (1, True), (3, False), (2, True)]
)
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


def valid_steps(padded: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the valid steps of each row, one row behind the other."""
    return padded[np.arange(padded.shape[1]) < np.asarray(lengths)[:, None]]


def packed_from(padded: np.ndarray, lengths: np.ndarray) -> er.Packed:
    """Pack as PyTorch does, step by step."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    sizes = [int((lengths > t).sum()) for t in range(int(max(lengths, default=0)))]
    steps = [padded[order[:size], t] for t, size in enumerate(sizes)]
    data = np.concatenate(steps) if steps else padded.reshape(-1, padded.shape[2])[:0]
    order = order[: sizes[0]] if sizes else order[:0]
    return er.Packed(data, np.array(sizes, np.int64), order, np.argsort(order))


def same(actual: Any, expected: Any, backend: str) -> None:
    """Demand equal bits of the compiled core; a BLAS product depends on the shape."""
    actual, expected = np.ascontiguousarray(actual), np.ascontiguousarray(expected)
    if backend == "numpy":
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)
    else:
        assert_same_bits(actual, expected)


def flat(result: tuple[Any, Any]) -> list[np.ndarray]:
    output, state = result
    return [output, *(state if isinstance(state, tuple) else (state,))]


# --- functions -----------------------------------------------------------------------------------


@each_cell
@both_directions
@pytest.mark.parametrize("case", RNN_CASES, ids=str)
def test_ragged_has_the_bits_of_padded(
    backend: str, dtype: Any, cell: str, case: RnnCase, reverse: bool
) -> None:
    arguments = cell_arguments(case, dtype, cell)
    lengths = arguments.pop("lengths")
    lengths = np.full(case.batch, case.steps) if lengths is None else lengths
    padded = run_cell(cell, arguments | {"lengths": lengths}, reverse=reverse)
    values = valid_steps(arguments["x"], lengths)
    ragged = run_cell(
        cell, arguments | {"x": values, "offsets": offsets_of(lengths)}, reverse=reverse
    )
    same(ragged[0], valid_steps(padded[0], lengths), backend)
    for actual, expected in zip(ragged[1:], padded[1:], strict=True):
        same(actual, expected, backend)


def test_ragged_by_hand(backend: str) -> None:
    # Sums of what came: two rows, of 1 and 2, and of 3, 4 and 5.
    one = np.ones((1, 1))
    output, h_n = er.rnn_forward(
        np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]), one, one, offsets=[0, 2, 5],
        nonlinearity="relu",
    )  # fmt: skip
    assert output.ravel().tolist() == [1, 3, 3, 7, 12]
    assert h_n.ravel().tolist() == [3, 12]


@each_cell
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(native: str, cell: str, layout: str) -> None:
    arguments = cell_arguments(RnnCase("", 4, 6, 7, 19, "full"), np.float32, cell)
    del arguments["lengths"]
    arguments |= {"x": arguments["x"].reshape(24, 7), "offsets": np.array([0, 3, 3, 20, 24])}
    moved = {name: LAYOUTS[layout](array) for name, array in arguments.items()}
    if layout == "broadcast":
        moved["offsets"] = arguments["offsets"]
    plain = {
        name: np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        for name, array in moved.items()
    }
    layouts = {k: v for k, v in WRITEABLE_LAYOUTS.items() if k != "byte_swapped"}
    out = layouts.get(layout, np.copy)(np.full((24, 19), 7, np.float32))
    results = run_cell(cell, moved, out=out)
    assert results[0] is out
    for actual, expected in zip(results, run_cell(cell, plain), strict=True):
        assert_same_bits(np.ascontiguousarray(actual, np.float32), expected)


@given(lengths=st.lists(st.integers(0, 6), max_size=9), threads=st.sampled_from([1, 3]))
def test_any_lengths(core: Any, lengths: list[int], threads: int) -> None:
    core.set_num_threads(threads)
    x = np.random.default_rng(0).standard_normal((sum(lengths), 3), np.float32)
    weight_ih, weight_hh = np.eye(5, 3, dtype="f4"), np.eye(5, dtype="f4") / 2
    offsets = offsets_of(np.array(lengths, int))
    output, h_n = er.rnn_forward(x, weight_ih, weight_hh, offsets=offsets)
    for b, (begin, end) in enumerate(itertools.pairwise(offsets)):
        alone, last = er.rnn_forward(x[None, begin:end], weight_ih, weight_hh)
        assert_same_bits(output[begin:end], alone[0])
        assert_same_bits(h_n[b], last[0])


# --- layers --------------------------------------------------------------------------------------


@each_layer
@each_stack
def test_layers(backend: str, dtype: Any, name: str, num_layers: int, bidirectional: bool) -> None:
    layer = getattr(er, name)(5, 7, num_layers, bidirectional=bidirectional, dtype=dtype, rng=0)
    rng = np.random.default_rng(1)
    lengths = np.array([2, 6, 1, 5, 6])
    x = rng.uniform(-1, 1, (5, 6, 5)).astype(dtype)
    shape = (num_layers * (1 + bidirectional), 5, 7)
    states = tuple(rng.uniform(-1, 1, shape).astype(dtype) for _ in layer._stack.cell.states)
    state = states if len(states) > 1 else states[0]
    padded = flat(layer(x, lengths, state))
    ragged = flat(layer(valid_steps(x, lengths), state=state, offsets=offsets_of(lengths)))
    same(ragged[0], valid_steps(padded[0], lengths), backend)
    packed, *last = flat(layer(packed_from(x, lengths), state=state))
    expected = packed_from(padded[0], lengths)
    assert isinstance(packed, er.Packed)
    same(packed.data, expected.data, backend)
    for actual, wanted in zip(packed[1:], expected[1:], strict=True):
        assert_same_bits(actual, wanted)
    for ours in (ragged[1:], last):
        for actual, wanted in zip(ours, padded[1:], strict=True):
            same(actual, wanted, backend)


@each_layer
def test_packed_rows_that_are_sorted_already(backend: str, name: str) -> None:
    layer, x = getattr(er, name)(5, 7, rng=0), np.ones((4, 3, 5), np.float32)
    lengths = np.array([3, 2, 2, 1])
    packed = packed_from(x, lengths)._replace(sorted_indices=None, unsorted_indices=None)
    output, *states = flat(layer(packed))
    expected, *wanted = flat(layer(x, lengths))
    same(output.data, packed_from(expected, lengths).data, backend)
    for actual, state in zip(states, wanted, strict=True):
        same(actual, state, backend)


@each_layer
def test_nothing_at_all(backend: str, name: str) -> None:
    layer = getattr(er, name)(5, 7, 2, bidirectional=True)
    empty = np.zeros((0, 5), np.float32)
    for result in (layer(empty, offsets=[0]), layer(er.Packed(empty, np.zeros(0, np.int64)))):
        output, *states = flat(result)
        assert np.shape(getattr(output, "data", output)) == (0, 14)
        assert all(state.shape == (4, 0, 7) for state in states)
    output, *states = flat(layer(empty, offsets=[0, 0, 0]))
    assert output.shape == (0, 14)
    assert all((state.shape, state.any()) == ((4, 2, 7), False) for state in states)


def test_pytorch_packs_the_same(backend: str) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(5, 7, 2, batch_first=True, bidirectional=True)
    layer = er.LSTM(5, 7, 2, bidirectional=True)
    layer.load_state_dict(module.state_dict())
    x, lengths = torch.rand(4, 6, 5), [3, 6, 1, 6]
    sequences = torch.nn.utils.rnn.pack_padded_sequence(
        x, lengths, batch_first=True, enforce_sorted=False
    )
    with torch.no_grad():
        expected, states = module(sequences)
    output, ours = layer(er.Packed(*sequences))
    np.testing.assert_allclose(output.data, expected.data.numpy(), atol=1e-6)
    for actual, wanted in zip(ours, states, strict=True):
        np.testing.assert_allclose(actual, wanted.numpy(), atol=1e-6)


# --- refusals ------------------------------------------------------------------------------------

X = np.zeros((5, 3), np.float32)
BAD_OFFSETS: dict[str, tuple[type[Exception], Any, str]] = {
    "start": (ValueError, [1, 5], "offsets[0] must be 0, got 1"),
    "fall": (ValueError, [0, 3, 2, 5], "offsets must not fall, got offsets[2] = 2 after 3"),
    "end": (ValueError, [0, 2, 4], "the last offset must be the number of steps, 5, got 4"),
    "none": (ValueError, [], "offsets must hold the last offset at least, got none"),
    "axes": (ValueError, [[0, 5]], "offsets must have one axis, got shape (1, 2)"),
    "dtype": (TypeError, [0.0, 5.0], "offsets must be integers, got float64"),
    "huge": (ValueError, np.array([0, 2**64 - 1], np.uint64),
             "offsets must fit int64, got 18446744073709551615"),
}  # fmt: skip


@pytest.mark.parametrize("how", BAD_OFFSETS)
def test_refused_offsets(backend: str, how: str) -> None:
    error, offsets, message = BAD_OFFSETS[how]
    weights = np.zeros((7, 3), np.float32), np.zeros((7, 7), np.float32)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        er.rnn_forward(X, *weights, offsets=offsets)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        er.RNN(3, 7)(X, offsets=offsets)


@each_layer
def test_lengths_and_offsets_together(backend: str, name: str) -> None:
    layer, message = getattr(er, name)(3, 7), r"^lengths must be None where there are offsets$"
    with pytest.raises(ValueError, match=message):
        layer(X, [5], offsets=[0, 5])
    weights = (getattr(layer, f"{weight}_l0") for weight in ("weight_ih", "weight_hh"))
    with pytest.raises(ValueError, match=message):
        getattr(er, f"{name.lower()}_forward")(X, *weights, lengths=[5], offsets=[0, 5])
    with pytest.raises(ValueError, match=r"^x must have shape \(N, 3\), got \(1, 5, 3\)$"):
        layer(X[None], offsets=[0, 5])


BAD_PACKED: dict[str, tuple[er.Packed, str]] = {
    "rising": (er.Packed(X, np.array([2, 3])), "batch_sizes must be positive and never rise"),
    "zero": (er.Packed(X, np.array([5, 0])), "batch_sizes must be positive and never rise"),
    "sum": (er.Packed(X, np.array([2, 2])), "data must have shape (N, I), where N is the sum of"),
    "wraps": (er.Packed(X, np.array([2**62] * 4 + [5])), "data must have shape (N, I), where"),
    "axes": (er.Packed(X[None], np.array([5])), "data must have shape (N, I), where"),
    "width": (er.Packed(X[:, :2], np.array([5])), "data must have shape (N, 3), got (5, 2)"),
    "order": (er.Packed(X, np.array([3, 2]), np.array([0, 1, 1])),
              "sorted_indices must have each of the 3 rows once, got [0, 1, 1]"),
    "fewer": (er.Packed(X, np.array([3, 2]), np.array([0, 1])),
              "sorted_indices must have each of the 3 rows once, got [0, 1]"),
}  # fmt: skip


@pytest.mark.parametrize("how", BAD_PACKED)
def test_refused_packed(backend: str, how: str) -> None:
    packed, message = BAD_PACKED[how]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        er.GRU(3, 7)(packed)


def test_packed_says_how_long_its_rows_are(backend: str) -> None:
    layer, packed = er.GRU(3, 7), er.Packed(X, np.array([3, 2]))
    with pytest.raises(ValueError, match=r"^lengths must be None where x is Packed$"):
        layer(packed, [2, 2, 1])
    with pytest.raises(ValueError, match=r"^offsets must be None where x is Packed$"):
        layer(packed, offsets=[0, 2, 4, 5])


def test_the_core_refuses_rows_beyond_x(core: Any) -> None:
    cell = core.pack("rnn_tanh", np.zeros((7, 3), "f4"), np.zeros((7, 7), "f4"), None, None)
    last, output = (np.empty((1, 2, 7), np.float32),), np.empty((5, 7), np.float32)
    for lengths, row_starts, step_starts in (
        ([2, 3], [0, 3], None),
        ([2, 3], [-1, 2], None),
        ([2, -3], [0, 2], None),
        ([3, 2], None, [0, 2, 5]),
        ([3, 2], None, [-1, 2, 4]),
        ([2, 3], None, [0, 2, 4]),
    ):
        layout = (None if a is None else np.array(a) for a in (lengths, row_starts, step_starts))
        with pytest.raises(ValueError, match=r"^(lengths|row_starts|step_starts) must "):
            cell.forward(X, Rows(2, *layout), None, (None,), False, output, last, 0)
