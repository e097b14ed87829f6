"""Tables of int8 rows: the layout, the error bound, and reading from them."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import HALVES, WIDTHS, assert_same_bits, guarded, reference_bag, values

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def table(n_rows: int, width: int, dtype: Any = "f4") -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n_rows, width)).astype(dtype)


def assert_within_bound(quantized: er.QuantizedRows, weight: np.ndarray, got: np.ndarray) -> None:
    most = np.abs(weight.astype("f8")).max(axis=1, initial=0)
    bound = quantized.scale / 2 + 2.0**-22 * most
    assert (np.abs(got - weight.astype("f8")) <= bound[:, None]).all()


def test_layout_by_hand(backend: str) -> None:
    quantized = er.quantize_rows(np.array([[-1, 0, 254], [5, 5, 5]], np.float32))
    assert quantized.rows.shape == (2, 11)
    assert quantized.rows[0, :4].tobytes() == np.float32(1).tobytes()
    assert quantized.rows[0, 4:8].tobytes() == np.float32(127).tobytes()
    assert quantized.rows[0, 8:].view("i1").tolist() == [-128, -127, 127]
    assert quantized.dequantize().tolist() == [[-1, 0, 254], [5, 5, 5]]
    assert (quantized.shape, quantized.dtype, len(quantized)) == ((2, 3), np.float32, 2)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", *HALVES], ids=str)
@pytest.mark.parametrize("width", [0, *WIDTHS])
def test_error_bound(backend: str, width: int, dtype: Any) -> None:
    weight = table(7, width, dtype)
    quantized = er.quantize_rows(weight)
    assert_within_bound(quantized, weight, quantized.dequantize())


@given(
    st.lists(
        st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3
        ),
        max_size=5,
    )
)
def test_error_bound_of_anything(backend: str, rows: list[list[float]]) -> None:
    weight = np.array(rows, np.float32).reshape(-1, 3)
    quantized = er.quantize_rows(weight)
    assert_within_bound(quantized, weight, quantized.dequantize())


def test_rows_of_equal_elements_are_exact(backend: str) -> None:
    weight = np.repeat(values((50, 1), "f4"), 9, axis=1)
    assert_same_bits(er.quantize_rows(weight).dequantize(), weight)


def test_many_rows_are_quantised_in_blocks(backend: str) -> None:
    weight = table(3000, 700)
    quantized = er.quantize_rows(weight)
    some = er.quantize_rows(weight[2990:])
    assert_same_bits(quantized.rows[2990:], some.rows)


@pytest.mark.parametrize("width", [0, *WIDTHS])
def test_gather(backend: str, width: int) -> None:
    quantized = er.quantize_rows(table(9, width))
    indices = np.array([[0, 8, -1], [3, 3, -9]])
    got = er.gather(quantized, indices)
    assert_same_bits(got, quantized.dequantize()[indices])
    # The product is exact in float64; rounding that sum twice may cost the last bit.
    exact = quantized.scale[:, None] * quantized.codes.astype("f8") + quantized.offset[:, None]
    magnitude = np.abs(exact).astype("f4")
    most = np.abs(quantized.offset)[:, None] + 128 * quantized.scale[:, None]
    assert (np.abs(quantized.dequantize() - exact) <= np.spacing(np.maximum(magnitude, most))).all()


@pytest.mark.parametrize("mode", ["wrap", "clip"])
def test_gather_modes(backend: str, mode: Any) -> None:
    quantized = er.quantize_rows(table(5, 6))
    ids = np.array([-12, 0, 4, 5, 17])
    assert_same_bits(
        er.gather(quantized, ids, mode=mode), np.take(quantized.dequantize(), ids, 0, mode=mode)
    )


def test_gather_into_out(backend: str) -> None:
    quantized = er.quantize_rows(table(5, 6))
    wanted = quantized.dequantize()[[3, 1]]
    for out in (np.zeros((2, 6), "f4"), np.zeros((6, 2), "f4").T, np.zeros((2, 12), "f4")[:, ::2]):
        assert er.gather(quantized, [3, 1], out=out) is out
        assert_same_bits(out, wanted)
    with pytest.raises(TypeError, match=r"^out must be float32, got float64$"):
        er.gather(quantized, [0], out=np.zeros((1, 6)))
    out = np.full((2, 6), 7, "f4")
    with pytest.raises(IndexError, match=r"^index 5 at position 1 is out of range for weight"):
        er.gather(quantized, [0, 5], out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("width", [0, *WIDTHS])
def test_embedding_bag(backend: str, mode: Any, width: int) -> None:
    quantized = er.quantize_rows(table(9, width))
    indices, offsets = np.random.default_rng(1).integers(-9, 9, 20), np.array([0, 0, 3, 15])
    got = er.embedding_bag(quantized, indices, offsets, mode=mode)
    dense = quantized.dequantize()
    assert got.dtype == np.float32
    assert_same_bits(got, er.embedding_bag(dense, indices, offsets, mode=mode))
    wanted = reference_bag(dense[indices], np.append(offsets, 20), mode)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_weighted_bags(backend: str) -> None:
    quantized, weights = er.quantize_rows(table(9, 33)), table(1, 8)[0]
    got = er.embedding_bag(quantized, np.arange(8), [0, 5], per_sample_weights=weights)
    wanted = reference_bag(quantized.dequantize()[:8], np.array([0, 5, 8]), "sum", weights)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
def test_stays_inside_its_arrays(backend: str, before: bool) -> None:
    for width in range(131):
        quantized = er.quantize_rows(table(4, width))
        moved = er.QuantizedRows(guarded(quantized.rows, before=before))
        out = guarded(np.zeros((3, width), "f4"), before=before)
        er.gather(moved, guarded(np.array([3, 0, 3]), before=before), out=out)
        assert_same_bits(out, quantized.dequantize()[[3, 0, 3]])


def test_pickles() -> None:
    quantized = er.quantize_rows(table(3, 4))
    again = pickle.loads(pickle.dumps(quantized))
    assert_same_bits(again.rows, quantized.rows)
    assert repr(quantized) == "QuantizedRows(shape=(3, 4), nbytes=36)"


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (np.ones(3), ValueError, r"^weight must have shape \(V, D\), got \(3,\)$"),
        (np.ones((2, 3), int), TypeError, "^weight must be float32, .*got int64$"),
        ([[0.0, 1.0], [np.nan, 0.0]], ValueError, "^weight must be finite .* row 1 is not$"),
        ([[0.0, np.inf]], ValueError, "^weight must be finite .* row 0 is not$"),
        ([[0.0, 1e39]], ValueError, "^weight must be finite in float32, but row 0 is not$"),
    ],
)
def test_refused(weight: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        er.quantize_rows(weight)


def test_refused_dtype_and_layout() -> None:
    with pytest.raises(ValueError, match=r"^dtype must be 'int8', got 'int4'$"):
        er.quantize_rows(np.ones((2, 2)), "int4")  # type: ignore[arg-type]
    for rows in (np.zeros((3, 7), "u1"), np.zeros((3, 9), "i1"), np.zeros((3, 20), "u1")[:, ::2]):
        with pytest.raises(ValueError, match=r"^rows must be a C-contiguous array of uint8"):
            er.QuantizedRows(rows)
