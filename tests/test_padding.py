"""Sequences as one padded array and back: the definition, row by row, and PyTorch's numbers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import assert_same_bits

both_sides = pytest.mark.parametrize("side", ["right", "left"])
DTYPES = ["f4", "f8", "f2", ">f4", "i8", "u1", "?", "c8", "O", "M8[s]", "<U3"]


def padded_by_hand(rows: list[np.ndarray], value: Any, side: str) -> np.ndarray:
    """The definition."""
    longest = max(map(len, rows))
    padded = np.full((len(rows), longest, *rows[0].shape[1:]), value, rows[0].dtype)
    for into, row in zip(padded, rows, strict=True):
        into[slice(len(row)) if side == "right" else slice(longest - len(row), None)] = row
    return padded


def rows_of(lengths: list[int], shape: tuple[int, ...], dtype: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 2, (n, *shape)).astype(dtype) for n in lengths]


@both_sides
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_there_and_back(side: Any, shape: tuple[int, ...], dtype: str) -> None:
    rows = rows_of([3, 0, 5, 1], shape, dtype)
    value = rows[0].dtype.type("1") if dtype[-1] == "3" else 1
    if dtype == "M8[s]":
        value = np.datetime64(1, "s")
    padded, lengths = er.pad(rows, value=value, side=side)
    expected = padded_by_hand(rows, value, side)
    assert padded.shape == (4, 5, *shape)
    assert padded.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(padded, expected)
    assert_same_bits(lengths, np.array([3, 0, 5, 1]))
    back = er.unpad(padded, lengths, side=side)
    assert len(back) == 4
    for got, row in zip(back, rows, strict=True):
        assert got.shape == row.shape
        np.testing.assert_array_equal(got, row)
        assert got.base is padded


@both_sides
@given(lengths=st.lists(st.integers(0, 9), max_size=9), columns=st.none() | st.integers(0, 3))
def test_any_lengths(side: Any, lengths: list[int], columns: int | None) -> None:
    rows = rows_of(lengths, () if columns is None else (columns,), "i4")
    padded, found = er.pad(rows, value=-7, side=side)
    assert found.tolist() == lengths
    assert padded.shape[:2] == (len(lengths), max(lengths, default=0))
    for row, got in zip(rows, er.unpad(padded, found, side=side), strict=True):
        np.testing.assert_array_equal(got, row)
    if lengths:
        assert (padded == -7).sum() == (max(lengths) - np.array(lengths)).sum() * (
            1 if columns is None else columns
        )


def test_what_sequences_may_be() -> None:
    expected, wanted = np.array([[1, 2], [3, 0]]), np.array([2, 1])
    column = np.empty(2, object)  # as of a data frame
    column[:] = [1, 2], [3]
    for sequences in ([[1, 2], [3]], ((1, 2), np.array([3])), column, iter([[1, 2], [3]])):
        padded, lengths = er.pad(sequences)
        assert_same_bits(padded, expected)
        assert_same_bits(lengths, wanted)
    matrix = np.arange(6).reshape(2, 3)
    assert_same_bits(er.pad(matrix)[0], matrix)
    values, offsets = np.arange(5.0), np.array([0, 2, 2, 5])
    padded, lengths = er.pad(np.split(values, offsets[1:-1]))
    assert_same_bits(padded, np.array([[0.0, 1, 0], [0, 0, 0], [2, 3, 4]]))
    assert_same_bits(lengths, np.diff(offsets))


def test_an_arrow_column() -> None:
    pa = pytest.importorskip("pyarrow")
    padded, lengths = er.pad(pa.array([[1, 2], [], [3]]))
    assert padded.tolist() == [[1, 2], [0, 0], [3, 0]]
    assert lengths.tolist() == [2, 0, 1]


def test_dtypes_and_values() -> None:
    assert er.pad([[1], [0.5, 2]])[0].dtype == np.float64
    assert er.pad([np.zeros(1, "i1"), np.zeros(2, "i4")])[0].dtype == np.int32
    assert er.pad([[], np.zeros(2, "f4")])[0].dtype == np.float32
    assert np.isnan(er.pad([[], [1.5]], value=np.nan)[0][0, 0])
    assert er.pad([np.zeros(0, "f4"), np.ones(1, "f4")], value=0.1)[0][0, 0] == np.float32(0.1)
    for rows in ([], [[]], [[], []]):
        padded, lengths = er.pad(rows)
        assert (padded.shape, padded.dtype) == ((len(rows), 0), np.int64)
        assert_same_bits(lengths, np.zeros(len(rows), int))


def test_padding_is_what_a_layer_leaves_out(backend: str) -> None:
    layer = er.LSTM(3, 4, rng=0)
    rows = [np.random.default_rng(2).standard_normal((n, 3)).astype("f4") for n in (4, 0, 6)]
    output, _ = layer(*er.pad(rows, value=np.nan))
    ragged, _ = layer(rows)
    assert_same_bits(np.concatenate(er.unpad(output, [4, 0, 6])), ragged)


def test_unpad_reads_what_is_an_array() -> None:
    assert [row.tolist() for row in er.unpad([[1, 2], [3, 0]], [2, 1])] == [[1, 2], [3]]
    assert er.unpad(np.zeros((0, 3)), []) == []
    assert [row.tolist() for row in er.unpad([[0, 5], [0, 0]], [1, 0], side="left")] == [[5], []]


@both_sides
def test_pytorch_gives_the_same(side: Any) -> None:
    torch = pytest.importorskip("torch")
    rows = rows_of([3, 1, 5], (2,), "f4")
    expected = torch.nn.utils.rnn.pad_sequence(
        list(map(torch.from_numpy, rows)), batch_first=True, padding_value=7.0, padding_side=side
    )
    padded, _ = er.pad(rows, value=7, side=side)
    assert_same_bits(padded, expected.numpy())
