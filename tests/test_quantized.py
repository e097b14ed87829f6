"""Tables of int8 rows: the layout, the error bound, and reading from them."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import (
    HALVES,
    WIDTHS,
    WRITEABLE_LAYOUTS,
    assert_same_bits,
    guarded,
    reference_bag,
    values,
)

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


MOST = float(np.finfo("f4").max)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("share", [-1, -0.9, -0.5, -1e-3, 0, 0.5, 0.9, 1 - 2**-20, 1 - 2**-24, 1])
def test_rows_at_the_ends_of_float32(backend: str, share: float, dtype: str) -> None:
    beside = np.array([[MOST * share, MOST, MOST * (0.3 * share + 0.7)]])
    weight = np.vstack((beside, -beside, 1.5 * beside[:, ::-1] - 0.5 * MOST)).clip(-MOST, MOST)
    weight = (weight * (1 + 2.0**-26 if dtype == "f8" else 1)).astype(dtype)
    quantized = er.quantize_rows(weight)
    assert np.isfinite(quantized.dequantize()).all()
    assert_within_bound(quantized, weight, quantized.dequantize())


def test_rows_of_equal_elements_are_exact(backend: str) -> None:
    weight = np.repeat(values((50, 1), "f4"), 9, axis=1)
    assert_same_bits(er.quantize_rows(weight).dequantize(), weight)


def test_many_rows_are_quantised_in_blocks(backend: str) -> None:
    weight = table(3000, 700)
    quantized = er.quantize_rows(weight)
    some = er.quantize_rows(weight[2990:])
    assert_same_bits(quantized.rows[2990:], some.rows)


# --- made of what others have quantised --------------------------------------------------------


@pytest.mark.parametrize("n_rows", [0, 1, 7])
@pytest.mark.parametrize("width", [0, *WIDTHS])
def test_from_arrays_and_back(backend: str, n_rows: int, width: int) -> None:
    quantized = er.quantize_rows(table(n_rows, width))
    parts = quantized.codes, quantized.scale, quantized.offset
    assert_same_bits(er.QuantizedRows.from_arrays(*parts).rows, quantized.rows)
    swapped = quantized.scale.astype(">f4"), np.repeat(quantized.offset, 2)[::2]
    columns = np.asfortranarray(quantized.codes)
    assert_same_bits(er.QuantizedRows.from_arrays(columns, *swapped).rows, quantized.rows)


def test_from_arrays_by_hand(backend: str) -> None:
    codes, scale = np.array([[-128, 127], [0, 1]], np.int8), np.array([0.5, np.inf], np.float32)
    quantized = er.QuantizedRows.from_arrays(codes, scale, np.array([1, np.nan], np.float32))
    assert quantized.dequantize().tolist()[0] == [-63, 64.5]
    assert np.isnan(quantized.dequantize()[1]).all()
    codes[...] = 0
    assert quantized.codes[0].tolist() == [-128, 127]


def fused_rows(codes: Any, scale: Any, bias: Any) -> np.ndarray:
    header = np.stack((scale, bias), axis=1).astype(np.float32).view(np.uint8)
    return np.concatenate((np.asarray(codes, np.uint8), header), axis=1)


def fused_values(rows: np.ndarray) -> np.ndarray:
    """Return the elements of rows in the layout of FBGEMM, rounded to float64 alone."""
    scale, bias = np.ascontiguousarray(rows[:, -8:]).view(np.float32).astype("f8").T[:, :, None]
    exact: np.ndarray = scale * rows[:, :-8] + bias
    return exact


def assert_as_far_as_documented(rows: np.ndarray, got: np.ndarray) -> None:
    ends = np.broadcast_to(np.array([0, 255], np.uint8), (len(rows), 2))
    most = np.abs(fused_values(np.concatenate((ends, rows[:, -8:]), axis=1))).max(axis=1)
    bound = 2.0**-21 * most[:, None] + 2.0**-148
    assert (np.abs(got - fused_values(rows)) <= bound).all()


def test_fused_by_hand(backend: str) -> None:
    fused = fused_rows([[0, 128, 255], [1, 2, 3]], [0.5, 2], [-1, 100])
    quantized = er.QuantizedRows.from_fused(fused)
    assert quantized.codes.tolist() == [[-128, 0, 127], [-127, -126, -125]]
    assert (quantized.scale.tolist(), quantized.offset.tolist()) == ([0.5, 2], [63, 356])
    assert quantized.dequantize().tolist() == [[-1, 63, 126.5], [102, 104, 106]]
    assert_same_bits(quantized.to_fused(), fused)
    assert_same_bits(er.QuantizedRows.from_fused(fused[::-1]).rows, quantized.rows[::-1])


@pytest.mark.parametrize("n_rows", [0, 1, 7])
@pytest.mark.parametrize("width", [0, *WIDTHS])
def test_fused_and_back(backend: str, n_rows: int, width: int) -> None:
    quantized = er.quantize_rows(table(n_rows, width))
    fused = quantized.to_fused()
    assert (fused.shape, fused.dtype) == ((n_rows, width + 8), np.uint8)
    assert_as_far_as_documented(fused, quantized.dequantize())
    again = er.QuantizedRows.from_fused(fused)
    assert_same_bits(again.codes, quantized.codes)
    assert_same_bits(again.scale, quantized.scale)
    assert_as_far_as_documented(fused, again.dequantize())


@given(st.lists(st.tuples(FINITE, FINITE, st.integers(0, 255)), max_size=20))
def test_any_fused_rows(backend: str, rows: list[tuple[float, float, int]]) -> None:
    scale, bias, codes = np.array(rows, "f8").reshape(-1, 3).T
    fits = np.abs(np.stack((bias, bias + 255 * scale))).max(axis=0) < np.finfo("f4").max / 2
    fused = fused_rows(codes[fits, None], scale[fits], bias[fits])
    quantized = er.QuantizedRows.from_fused(fused)
    assert_as_far_as_documented(fused, quantized.dequantize())
    again = quantized.to_fused()
    assert_same_bits(again[:, :5], fused[:, :5])  # the code and the scale
    assert_as_far_as_documented(again, quantized.dequantize())


def test_scales_that_are_powers_of_two_are_exact(backend: str) -> None:
    rng = np.random.default_rng(0)
    scale = 2.0 ** rng.integers(-20, 20, 500)
    fused = fused_rows(rng.integers(0, 256, (500, 33)), scale, scale * rng.integers(-999, 999, 500))
    quantized = er.QuantizedRows.from_fused(fused)
    assert_same_bits(quantized.dequantize(), fused_values(fused).astype("f4"))
    assert_same_bits(quantized.to_fused(), fused)


@pytest.mark.parametrize("most", [0, 0.3, 1, 2, 2.9])
def test_rows_on_both_sides_of_zero_are_exact(backend: str, most: float) -> None:
    weight = np.random.default_rng(0).uniform(-1, most, (300, 64))
    weight[:, :2] = -1, most  # the ends
    quantized = er.quantize_rows((weight * np.logspace(-9, 9, 300)[:, None]).astype("f4"))
    fused = quantized.to_fused()
    assert_same_bits(er.QuantizedRows.from_fused(fused).rows, quantized.rows)
    codes, scale = quantized.codes.astype("f8"), quantized.scale[:, None]
    assert_same_bits(scale * codes + quantized.offset[:, None], fused_values(fused))
    if er.config()["isa"] != "baseline":  # which rounds the product too
        assert_same_bits(quantized.dequantize(), fused_values(fused).astype("f4"))


def test_what_float32_cannot_hold_has_no_fused_form() -> None:
    past = np.array([1, -3e38], np.float32)
    quantized = er.QuantizedRows.from_arrays(
        np.zeros((2, 1), np.int8), np.array([1, 2e36], np.float32), past
    )
    with pytest.raises(ValueError, match=r"^row 1 has a bias, .* that is too great for float32$"):
        quantized.to_fused()
    endless = fused_rows([[1], [2]], [np.inf, 1], [0, np.nan])
    with np.errstate(all="raise"):
        assert not np.isfinite(er.QuantizedRows.from_fused(endless).dequantize()).any()


@pytest.mark.parametrize("width", [1, 2, 64, 129])
def test_pytorch_reads_and_writes_the_same_rows(backend: str, width: int) -> None:
    torch = pytest.importorskip("torch")
    ops, weight = torch.ops.quantized, table(200, width) * np.logspace(-3, 3, 200)[:, None] + 0.3
    packed = ops.embedding_bag_byte_prepack(torch.from_numpy(weight.astype("f4")))
    quantized = er.QuantizedRows.from_fused(packed)
    unpacked = ops.embedding_bag_byte_unpack(packed).numpy()
    assert_as_far_as_documented(packed.numpy(), unpacked)
    assert_as_far_as_documented(packed.numpy(), quantized.dequantize())
    back = quantized.to_fused()
    assert_same_bits(back[:, : width + 4], packed.numpy()[:, : width + 4])
    unpacked = ops.embedding_bag_byte_unpack(torch.from_numpy(back)).numpy()
    assert_as_far_as_documented(back, unpacked)
    assert_as_far_as_documented(back, quantized.dequantize())
    centred = er.quantize_rows(table(200, 64) * np.logspace(-3, 3, 200, dtype="f4")[:, None])
    rows = torch.from_numpy(centred.to_fused())
    with er.use_backend("numpy"):  # which rounds once, as PyTorch does with AVX2
        assert_same_bits(ops.embedding_bag_byte_unpack(rows).numpy(), centred.dequantize())
    indices, offsets = np.arange(200), np.arange(0, 200, 10)
    sums = ops.embedding_bag_byte_rowwise_offsets(
        torch.from_numpy(back), torch.from_numpy(indices), torch.from_numpy(offsets)
    )
    most = np.abs(quantized.dequantize()).max(axis=1).reshape(20, 10).sum(axis=1, keepdims=True)
    got = er.embedding_bag(quantized, indices, offsets)
    assert (np.abs(got - sums.numpy()) <= 2.0**-19 * most + 1e-6).all()


# --- reading -----------------------------------------------------------------------------------


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


def test_zeros_have_the_sign_of_the_sum(backend: str) -> None:
    codes, scale, offset = [[-1, 0, 1]] * 3, [0, -1, 0], [-0.0, -0.0, 0]
    quantized = er.QuantizedRows.from_arrays(
        np.array(codes, "i1"), np.array(scale, "f4"), np.array(offset, "f4")
    )
    wanted = np.array([[-0.0, 0, 0], [1, -0.0, -1], [0, 0, 0]], "f4")
    assert_same_bits(quantized.dequantize(), wanted)
    assert_same_bits(er.gather(quantized, [0, 1, 2]), wanted)
    assert_same_bits(er.embedding_bag(quantized, [[0], [1], [2]], mode="max"), wanted)


@pytest.mark.parametrize("mode", ["wrap", "clip"])
def test_gather_modes(backend: str, mode: Any) -> None:
    quantized = er.quantize_rows(table(5, 6))
    ids = np.array([-12, 0, 4, 5, 17])
    assert_same_bits(
        er.gather(quantized, ids, mode=mode), np.take(quantized.dequantize(), ids, 0, mode=mode)
    )


def test_strict_gather(backend: str) -> None:
    quantized, ids = er.quantize_rows(table(5, 6)), np.array([4, 0, 4])
    expected = quantized.dequantize()[ids]
    assert_same_bits(er.gather(quantized, ids, mode="strict"), expected)
    assert_same_bits(er.gather(quantized, ids.astype("u1"), mode="strict", axis=-2), expected)
    out = np.full((3, 6), 7, "f4")
    with pytest.raises(IndexError, match=r"^index -1 at position 1 .*expected 0 <= index < 5$"):
        er.gather(quantized, [4, -1, 4], mode="strict", out=out)
    assert (out == 7).all()


def test_gather_into_out(backend: str) -> None:
    quantized = er.quantize_rows(table(5, 6))
    wanted = quantized.dequantize()[[3, 1]]
    for layout in WRITEABLE_LAYOUTS.values():
        out = layout(np.zeros((2, 6), "f4"))
        if out.dtype.isnative:
            assert er.gather(quantized, [3, 1], out=out) is out
            assert_same_bits(out, wanted)
    for dtype in ("float64", ">f2", "int16", "uint16"):
        words = f"^out must be float32, float16 or bfloat16, got {dtype}$"
        with pytest.raises(TypeError, match=words):
            er.gather(quantized, [0], out=np.zeros((1, 6), dtype))
    out = np.full((2, 6), 7, "f4")
    with pytest.raises(IndexError, match=r"^index 5 at position 1 is out of range for weight"):
        er.gather(quantized, [0, 5], out=out)
    assert (out == 7).all()


each_half = pytest.mark.parametrize("half", HALVES, ids=str)


@each_half
@pytest.mark.parametrize("width", [0, *WIDTHS, 256, 257, 600])
def test_gather_as_halves(backend: str, width: int, half: Any) -> None:
    quantized = er.quantize_rows(table(9, width) * np.logspace(-9, 9, 9, dtype="f4")[:, None])
    for ids in (
        np.array([[0, 8, -1], [3, 3, -9]]),
        np.arange(9) % 3,
        np.array(5),
        np.zeros(0, int),
    ):
        out = np.full((*ids.shape, width), 7, half)
        assert er.gather(quantized, ids, out=out) is out
        with np.errstate(over="ignore"):
            assert_same_bits(out, er.gather(quantized, ids).astype(half))


def test_halves_by_hand(backend: str) -> None:
    codes = np.array([[-1, 0, 1, 2, 3, 4, 5]] * 5, np.int8)
    scale = np.array([2.0**-11, 2.0**-8, 2.0**-25, 16, np.inf], np.float32)
    offset = np.array([1, 1, 0, 65504, 0], np.float32)
    quantized = er.QuantizedRows.from_arrays(codes, scale, offset)
    out = np.empty((5, 7), np.float16)
    er.gather(quantized, np.arange(5), out=out)
    # To the nearest, of two as near to the even one.
    assert ((out[0] - 1) * 2**10).tolist() == [-0.5, 0, 0, 1, 2, 2, 2]
    assert (out[2].astype("f8") * 2**24).tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert out[3].tolist() == [65472, 65504, *[np.inf] * 5]
    assert np.signbit(out[2, 0])
    np.testing.assert_array_equal(out[4], [-np.inf, np.nan, *[np.inf] * 5])
    brief = np.empty((5, 7), HALVES[1])
    er.gather(quantized, np.arange(5), out=brief)
    assert ((brief[1].astype("f8") - 1) * 2**7).tolist() == [-0.5, 0, 0, 1, 2, 2, 2]
    assert brief[3].astype("f8").tolist() == [65536] * 7
    np.testing.assert_array_equal(brief[4].astype("f4"), [-np.inf, np.nan, *[np.inf] * 5])


@each_half
def test_halves_are_rounded_once(backend: str, half: Any) -> None:
    rng = np.random.default_rng(0)
    shape = 999, 33
    quantized = er.QuantizedRows.from_arrays(
        rng.integers(-128, 128, shape, np.int8),
        np.ldexp(rng.standard_normal(999), rng.integers(-30, 12, 999)).astype("f4"),
        np.ldexp(rng.standard_normal(999), rng.integers(-30, 16, 999)).astype("f4"),
    )
    out = np.empty(shape, half)
    er.gather(quantized, np.arange(999), out=out)
    with np.errstate(over="ignore"):
        assert_same_bits(out, quantized.dequantize().astype(half))


@each_half
def test_halves_go_where_they_are_told(backend: str, half: Any) -> None:
    quantized = er.quantize_rows(table(5, 6))
    wanted = er.gather(quantized, [3, 1]).astype(half)
    for layout in WRITEABLE_LAYOUTS.values():
        out = layout(np.zeros((2, 6), half))
        if out.dtype.isnative:
            assert er.gather(quantized, [3, 1], out=out) is out
            assert_same_bits(out, wanted)
    # Over the table itself, and over the indices.
    rows = quantized.rows.copy()
    out = rows.reshape(-1)[:24].view(half).reshape(2, 6)
    assert_same_bits(er.gather(er.QuantizedRows(rows), [3, 1], out=out), wanted)
    ids = np.array([3, 1, 0])
    out = ids.view(half).reshape(2, 6)
    assert_same_bits(er.gather(quantized, ids[:2], out=out), wanted)
    out = np.full((2, 6), 7, half)
    for ids in ([0, 5], [0, -6]):
        with pytest.raises(IndexError, match=r"at position 1 is out of range for weight"):
            er.gather(quantized, ids, out=out)
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
        for dtype in ("f4", *HALVES):
            out = guarded(np.zeros((3, width), dtype), before=before)
            er.gather(moved, guarded(np.array([3, 0, 3]), before=before), out=out)
            assert_same_bits(out, quantized.dequantize()[[3, 0, 3]].astype(dtype))


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
