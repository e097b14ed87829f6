"""embedding_bag and its gradients against the definition, numpy.add.at and finite differences."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import (
    BAG_CASES,
    HALVES,
    INT_DTYPES,
    LAYOUTS,
    WRITEABLE_LAYOUTS,
    BagCase,
    allocates_less_than,
    assert_same_bits,
    guarded,
    reference_bag,
    values,
)

bag_case = pytest.mark.parametrize("case", BAG_CASES, ids=str)
modes = pytest.mark.parametrize("mode", ["sum", "mean", "max"])
RAGGED = BagCase("ragged", 11, 19, "ragged")

TOLERANCE = {"float32": 1e-5, "float64": 1e-13, "float16": 2e-3, "bfloat16": 2e-2}


def assert_near(actual: np.ndarray, expected: np.ndarray) -> None:
    tolerance = TOLERANCE[actual.dtype.name]
    scale = np.abs(expected).max(initial=1)
    np.testing.assert_allclose(
        actual.astype("f8"), expected, rtol=tolerance, atol=tolerance * scale
    )


# --- forward -----------------------------------------------------------------------------------


def test_by_hand(backend: str) -> None:
    table = np.array([[1, -2], [3, 4], [5, 6]], np.float32)
    ids, offsets = [0, 2, 1, 1], [0, 0, 2]
    bags = {mode: er.embedding_bag(table, ids, offsets, mode=mode) for mode in ("sum", "max")}
    assert bags["sum"].tolist() == [[0, 0], [6, 4], [6, 8]]
    assert bags["max"].tolist() == [[0, 0], [5, 6], [3, 4]]
    assert er.embedding_bag(table, ids, offsets, mode="mean").tolist() == [[0, 0], [3, 2], [3, 4]]


@bag_case
@modes
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_definition(backend: str, case: BagCase, mode: Any, dtype: Any) -> None:
    weight, indices = case.table(dtype), case.indices()
    out = er.embedding_bag(weight, indices, lengths=case.lengths, mode=mode)
    assert out.dtype == weight.dtype
    assert_near(out, reference_bag(weight[indices], case.offsets, mode))


@bag_case
def test_sums_have_the_bits_of_add_at(backend: str, dtype: Any, case: BagCase) -> None:
    weight, indices = case.table(dtype), case.indices()
    expected = np.zeros((len(case.lengths), case.width), dtype)
    np.add.at(expected, np.repeat(np.arange(len(case.lengths)), case.lengths), weight[indices])
    assert_same_bits(er.embedding_bag(weight, indices, lengths=case.lengths), expected)


# Bags of more than 1 MB of rows, which a kernel takes in pieces; the last of one has another width
# than the vectors, and rows of 5,000 columns are cut into several shares.
LONG_BAGS = {"narrow": (1, [20_000, 3, 40_000]), "wide": (77, [9_000, 0, 1]), "huge": (5000, [90])}


def long_bags(width: int, lengths: list[int], dtype: Any) -> tuple[np.ndarray, ...]:
    """Return a table of 50 rows, and the indices of the bags."""
    indices = np.random.default_rng(0).integers(0, 50, sum(lengths))
    return values((50, width), dtype), indices


@pytest.mark.parametrize(("width", "lengths"), LONG_BAGS.values(), ids=LONG_BAGS)
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
@modes
def test_long_bags_have_the_bits_of_numpy(
    native: str, width: int, lengths: list[int], dtype: Any, mode: Any
) -> None:
    table, indices = long_bags(width, lengths, dtype)
    with er.use_backend("numpy"):
        expected = er.embedding_bag(table, indices, lengths=lengths, mode=mode)
    assert_same_bits(er.embedding_bag(table, indices, lengths=lengths, mode=mode), expected)


@pytest.mark.parametrize(("width", "lengths"), LONG_BAGS.values(), ids=LONG_BAGS)
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_pieces_of_a_long_bag_do_not_show(
    native: str, width: int, lengths: list[int], dtype: Any
) -> None:
    # The same column of a table of another width comes in other pieces.
    table, indices = long_bags(width, lengths, dtype)
    table[7, width // 2 :] = np.nan
    column, weights = table[:, width - 1 :].copy(), values(indices.shape, dtype, seed=1)
    for options in ({"per_sample_weights": weights}, {"mode": "mean"}, {"mode": "max"}):
        whole = er.embedding_bag(table, indices, lengths=lengths, **options)
        alone = er.embedding_bag(column, indices, lengths=lengths, **options)
        assert_same_bits(alone[:, 0], whole[:, -1].copy())
    gradient = np.ones((len(lengths), width), dtype)
    for mode in ("sum", "max"):
        whole = er.embedding_bag_vjp(table, indices, lengths=lengths, mode=mode)[1](gradient)
        alone = er.embedding_bag_vjp(column, indices, lengths=lengths, mode=mode)[1](
            gradient[:, :1]
        )
        dense = whole.weight.to_dense(50)[:, -1].copy()
        assert_same_bits(alone.weight.to_dense(50)[:, 0], dense)


@pytest.mark.parametrize(("width", "lengths"), LONG_BAGS.values(), ids=LONG_BAGS)
@modes
def test_pieces_of_a_long_bag_of_int8_do_not_show(
    native: str, width: int, lengths: list[int], mode: Any
) -> None:
    table, indices = long_bags(width, lengths, "f4")
    wide = er.quantize_rows(table)
    column = er.QuantizedRows(np.delete(wide.rows, np.s_[8 : 7 + width], axis=1))
    whole = er.embedding_bag(wide, indices, lengths=lengths, mode=mode)
    alone = er.embedding_bag(column, indices, lengths=lengths, mode=mode)
    assert_same_bits(alone[:, 0], whole[:, -1].copy())


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_a_long_bag_added_to_halves(native: str, half: Any) -> None:
    updates = values((20_000, 77), "f4")
    target, indices = values((3, 77), half, seed=1), np.zeros(len(updates), int)
    with er.use_backend("numpy"):
        expected = er.scatter_add(target.copy(), indices, updates)
    assert_same_bits(er.scatter_add(target, indices, updates), expected)


@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_every_width(backend: str, dtype: Any) -> None:
    random = np.random.default_rng(0)
    indices, offsets = random.integers(0, 9, 20), [0, 7, 7, 8]
    for width in range(1, 160):
        weight = random.integers(-9, 9, (9, width)).astype(dtype)  # whose sums are exact
        expected = np.zeros((4, width))
        expected[[0, 2, 3]] = np.add.reduceat(weight[indices].astype("f8"), [0, 7, 8])
        assert np.array_equal(er.embedding_bag(weight, indices, offsets), expected)


@bag_case
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_per_sample_weights(backend: str, case: BagCase, dtype: Any) -> None:
    weight, indices, weights = case.table(dtype), case.indices(), case.weights(dtype)
    out = er.embedding_bag(weight, indices, case.offsets[:-1], per_sample_weights=weights)
    assert_near(out, reference_bag(weight[indices], case.offsets, "sum", weights))


NORMS = {"mean": np.sum, "sqrtn": lambda weights: np.sqrt(np.sum(weights**2))}


def test_sums_over_norms_of_weights_by_hand(backend: str) -> None:
    table = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    bags: Any = {"indices": [0, 2, 1, 1, 1, 0], "lengths": [2, 0, 1, 2, 1]}
    weights = [1.0, 3.0, -2.0, 1.0, -1.0, 0.0]  # the last two bags: 1 - 1, and 0
    mean = er.embedding_bag(table, **bags, mode="mean", per_sample_weights=weights)
    assert mean.tolist() == [[4, 5], [0, 0], [3, 4], [0, 0], [0, 0]]
    root = er.embedding_bag(table, **bags, mode="sqrtn", per_sample_weights=weights)
    expected = [[16 / 10**0.5, 20 / 10**0.5], [0, 0], [-3, -4], [0, 0], [0, 0]]
    np.testing.assert_allclose(root, expected, atol=1e-15)
    plain = er.embedding_bag(table, [[0, 2], [1, 1]], mode="sqrtn")
    np.testing.assert_allclose(plain, np.array([[6, 8], [6, 8]]) / 2**0.5, rtol=1e-15)


@bag_case
@pytest.mark.parametrize("mode", NORMS)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_sums_over_norms_of_weights(
    backend: str, case: BagCase, dtype: Any, mode: Any, weighted: bool
) -> None:
    weight, indices = case.table(dtype), case.indices()
    weights = (np.abs(case.weights("f8")) + 0.5).astype(dtype) if weighted else None
    options: Any = {"mode": mode, "per_sample_weights": weights}
    out = er.embedding_bag(weight, indices, case.offsets[:-1], **options)
    wide = np.ones(indices.size) if weights is None else weights.astype("f8")
    norms = [NORMS[mode](wide[a:b]) if a < b else 1.0 for a, b in itertools.pairwise(case.offsets)]
    expected = reference_bag(weight[indices], case.offsets, "sum", wide)
    assert_near(out, expected / np.reshape(norms, (-1, 1)))
    for b, (first, last) in enumerate(itertools.pairwise(case.offsets)):  # a bag alone
        own = None if weights is None else weights[first:last]
        alone = er.embedding_bag(
            weight, indices[first:last], [0], mode=mode, per_sample_weights=own
        )
        assert_same_bits(alone, out[b : b + 1])


def test_norms_do_not_overflow(backend: str) -> None:
    weights = np.array([3e38, 3e38], "f4")
    for mode, expected in (("mean", 1.0), ("sqrtn", 2**0.5)):
        out = er.embedding_bag(
            np.ones((2, 3), "f4"), [[0, 1]], mode=mode, per_sample_weights=weights[None]
        )
        np.testing.assert_allclose(out, np.full((1, 3), expected), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", *HALVES])
def test_a_column_has_its_bits_alone(backend: str, dtype: Any) -> None:
    table, weights = values((50, 37), dtype), values((50,), "f8" if dtype == "float64" else "f4")
    for items in (1, 2, 12, 50):
        bags = np.arange(items), [0]
        together = er.embedding_bag(table, *bags, per_sample_weights=weights[:items])
        for column in (0, 31, 36):
            alone = np.ascontiguousarray(table[:, column : column + 1])
            single = er.embedding_bag(alone, *bags, per_sample_weights=weights[:items])
            assert_same_bits(single, together[:, column : column + 1])


@modes
@pytest.mark.parametrize("padding_idx", [0, 10, -1, -11, 4])
def test_padding_rows_are_left_out(backend: str, mode: Any, padding_idx: int) -> None:
    weight, indices = RAGGED.table("f8"), RAGGED.indices() % 3 + np.arange(18) % 2 * 8
    kept = (indices % 11) != padding_idx % 11
    offsets = np.concatenate(([0], kept.cumsum()))[RAGGED.offsets]
    arguments = {"lengths": RAGGED.lengths, "mode": mode, "padding_idx": padding_idx}
    for ids in (indices, np.where(indices % 2, indices, indices - 11)):
        out = er.embedding_bag(weight, ids, **arguments)
        assert_near(out, reference_bag(weight[indices[kept]], offsets, mode))


@pytest.mark.parametrize("dtype", [*"bhilBHIL"])
def test_padding_is_told_by_its_value_in_every_dtype(backend: str, dtype: str) -> None:
    # No byte can name row 299, though 43 has its lowest eight bits, and those of -213, the negative
    # number of row 87.
    table = np.arange(300.0)[:, None]
    ids = np.tile(np.array([43, 1, 0], dtype), 40_000)
    for padding_idx, total in ((299, 44), (-1, 44), (87, 44), (43, 1), (-257, 1), (1, 43)):
        out = er.embedding_bag(table, ids, [0, 3, 3, 6], padding_idx=padding_idx)
        assert out.ravel().tolist() == [total, 0, total, total * 39_998]


@modes
@pytest.mark.parametrize("weighted", [False, True])
def test_a_vector_is_a_table_of_scalars(backend: str, mode: Any, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    matrix, offsets = rng.standard_normal((9, 1)), [0, 2, 2, 7]
    ids, grad = rng.integers(-9, 9, 12), rng.standard_normal((4, 1))
    options: dict[str, Any] = {"mode": mode, "padding_idx": 3}
    if weighted and mode != "max":
        options["per_sample_weights"] = rng.standard_normal(12)
    expected, backward = er.embedding_bag_vjp(matrix, ids, offsets, **options)
    wanted = backward(grad)
    for vector in (matrix[:, 0], np.repeat(matrix, 3)[::3], matrix[:, 0].astype(">f8")):
        out, of_vector = er.embedding_bag_vjp(vector, ids, offsets, **options)
        assert_same_bits(out, expected[:, 0])
        assert_same_bits(er.embedding_bag(vector, ids, offsets, **options), out)
        into, grads = np.ones(9), of_vector(grad[:, 0])
        assert_same_bits(grads.weight.values, wanted.weight.values[:, 0])
        np.add.at(expected_sum := np.ones(9), wanted.weight.indices, grads.weight.values)
        assert_same_bits(of_vector(grad[:, 0], into=into).weight, expected_sum)
        if weighted and mode != "max":
            assert_same_bits(grads.per_sample_weights, wanted.per_sample_weights)


@pytest.mark.parametrize("dtype", [*"bhilBHIL", ">i4"])
@pytest.mark.parametrize("shape", [(9,), (9, 1), (9, 5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_integers_are_summed_in_their_own_dtype(
    backend: str, dtype: str, shape: tuple[int, ...], weighted: bool
) -> None:
    rng = np.random.default_rng(0)
    info, own = np.iinfo(dtype), np.dtype(dtype).newbyteorder("=")
    table = rng.integers(info.min, info.max, shape, dtype=own, endpoint=True).astype(dtype)
    ids, lengths = rng.integers(-9, 9, 12), [2, 0, 10]
    weights = rng.integers(0, 100, 12).astype(own) if weighted else None
    rows = (
        table[ids] if weights is None else table[ids] * weights.reshape(12, *[1] * (len(shape) - 1))
    )
    expected = np.zeros((3, *shape[1:]), own)
    np.add.at(expected, np.repeat(np.arange(3), lengths), rows)
    out = er.embedding_bag(table, ids, lengths=lengths, per_sample_weights=weights)
    assert_same_bits(out, expected)
    kept = er.embedding_bag(table, ids, lengths=lengths, padding_idx=0)
    np.testing.assert_array_equal(kept, er.embedding_bag(
        table, ids[ids % 9 != 0], lengths=[np.sum(part % 9 != 0) for part in np.split(ids, [2, 2])]
    ))  # fmt: skip
    with pytest.raises(IndexError, match=r"^index 9 at position 2 is out of range for weight"):
        er.embedding_bag(table, [0, 0, 9], [0], padding_idx=0)


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES, "int8"], ids=str)
def test_argmax(backend: str, dtype: Any, padding_idx: int | None) -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(0, 4, (9, 5)).astype("f4" if dtype == "int8" else dtype)
    if dtype != "int8":
        table[4, 1] = np.nan
    ids, offsets = rng.integers(-9, 9, 20), [0, 3, 3, 4]
    weight: Any = table
    if dtype == "int8":
        weight = er.quantize_rows(table)
        table = er.gather(weight, np.arange(9))
    options: dict[str, Any] = {"padding_idx": padding_idx}
    found = er.embedding_bag_argmax(weight, ids, offsets, **options)
    assert found.dtype == np.int64
    for row, first, last in zip(found, offsets, [*offsets[1:], 20], strict=True):
        bag = [i for i in range(first, last) if padding_idx is None or (ids[i] - padding_idx) % 9]
        rows = table[ids[bag]].astype("f4")
        assert row.tolist() == ([bag[i] for i in rows.argmax(axis=0)] if bag else [-1] * 5)
    vector = er.embedding_bag_argmax(table[:, 1], ids.reshape(4, 5), **options)
    assert_same_bits(vector, er.embedding_bag_argmax(table, ids.reshape(4, 5), **options)[:, 1])
    with pytest.raises(IndexError, match=r"^index 9 at position 1 is out of range"):
        er.embedding_bag_argmax(weight, [2, 9], [0], **options)


@modes
def test_each_row_of_2d_indices_is_a_bag(backend: str, mode: Any) -> None:
    weight = RAGGED.table("f4")
    indices = np.random.default_rng(0).integers(-11, 11, (5, 7))
    out = er.embedding_bag(weight, indices, mode=mode)
    assert_same_bits(out, er.embedding_bag(weight, indices.ravel(), lengths=[7] * 5, mode=mode))
    assert er.embedding_bag(weight, np.zeros((4, 0), int), mode=mode).tolist() == [[0] * 19] * 4
    assert er.embedding_bag(weight, np.zeros((0, 4), int), mode=mode).shape == (0, 19)


def test_offsets_with_and_without_the_last(backend: str) -> None:
    weight, indices = RAGGED.table("f4"), RAGGED.indices()
    expected = er.embedding_bag(weight, indices, lengths=RAGGED.lengths)
    offsets = RAGGED.offsets
    assert_same_bits(er.embedding_bag(weight, indices, offsets[:-1]), expected)
    whole = er.embedding_bag(weight, indices, offsets, include_last_offset=True)
    assert_same_bits(whole, expected)
    assert er.embedding_bag(weight, [], []).shape == (0, 19)
    assert er.embedding_bag(weight, [], [0], include_last_offset=True).shape == (0, 19)


@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_maximum_of_special_values(backend: str, dtype: Any) -> None:
    nan, inf = np.nan, np.inf
    weight = np.array([[1, nan, -inf, -5], [nan, 2, inf, -7], [3, 3, -inf, -6]], dtype)
    out = er.embedding_bag(weight, [[0, 1, 2], [2, 1, 0], [0, 0, 0]], mode="max")
    np.testing.assert_array_equal(
        out.astype("f8"), [[nan, nan, inf, -5], [nan, nan, inf, -5], [1, nan, -inf, -5]]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f2"])
@modes
def test_layouts(backend: str, layout: str, dtype: str, mode: Any) -> None:
    weight = LAYOUTS[layout](RAGGED.table(dtype))
    indices, lengths = LAYOUTS[layout](RAGGED.indices()), LAYOUTS[layout](RAGGED.lengths)
    if lengths.sum() != indices.size:
        lengths = RAGGED.lengths
    plain = weight.astype(dtype)
    expected = er.embedding_bag(plain, indices.copy(), lengths=lengths.copy(), mode=mode)
    out = er.embedding_bag(weight, indices, lengths=lengths, mode=mode)
    assert_same_bits(out.astype(dtype), expected)


@pytest.mark.parametrize("index_dtype", INT_DTYPES)
def test_index_dtypes(backend: str, index_dtype: str) -> None:
    weight = RAGGED.table("f4")
    ids, offsets = np.array([3, 10, 0, 3], index_dtype), np.array([0, 1, 1], index_dtype)
    expected = er.embedding_bag(weight, [3, 10, 0, 3], [0, 1, 1])
    assert_same_bits(er.embedding_bag(weight, ids, offsets), expected)


@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
@pytest.mark.parametrize("item", ["f4", "f8", "f2"])
def test_stays_inside_its_arrays(backend: str, item: str, before: bool) -> None:
    for width in range(131):
        weight = guarded(BagCase("", 4, width, "one_bag").table(item), before=before)
        indices = guarded(np.array([3, 0, 3]), before=before)
        weights = guarded(np.ones(3, item), before=before)
        plain = weight.copy()
        for mode in ("sum", "max"):
            out = er.embedding_bag(weight, indices, [0, 1], mode=mode)
            assert_same_bits(out, er.embedding_bag(plain, indices, [0, 1], mode=mode))
        out, backward = er.embedding_bag_vjp(weight, indices, [0, 1], per_sample_weights=weights)
        assert backward(out).per_sample_weights is not None


LARGE = np.random.default_rng(0).standard_normal((4_000, 48), "f4")


@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f2"])
@modes
def test_bags_copy_named_rows_only(backend: str, layout: str, dtype: str, mode: Any) -> None:
    plain, ids = LARGE.astype(dtype), np.array([[3, -1, 3_999], [77, 3, 2_345]])
    table = WRITEABLE_LAYOUTS[layout](plain)
    options: dict[str, Any] = {"mode": mode}
    if mode == "sum":
        options["per_sample_weights"] = np.ones((2, 3), dtype)
    expected, wanted = er.embedding_bag_vjp(plain, ids, **options)
    grads = wanted(expected)
    with allocates_less_than(100_000):
        assert_same_bits(er.embedding_bag(table, ids, **options), expected.astype(dtype))
        output, backward = er.embedding_bag_vjp(table, ids, **options)
        found = backward(output)
    assert_same_bits(output, expected)
    assert_same_bits(found.weight.values, grads.weight.values)
    if mode == "sum":
        assert_same_bits(found.per_sample_weights, grads.per_sample_weights)


@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
def test_items_out_of_range_of_a_large_table(backend: str, layout: str) -> None:
    table = WRITEABLE_LAYOUTS[layout](LARGE)
    where = r"^index -4001 at position 2 is out of range for weight with 4000 rows: "
    for mode in ("sum", "max"):
        with pytest.raises(IndexError, match=where):
            er.embedding_bag(table, [3, 0, -4_001], [0, 1], mode=mode, padding_idx=3)


@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
@modes
def test_many_items_of_a_table(backend: str, layout: str, mode: Any) -> None:
    table, ids = values((50, 7), "f4"), np.random.default_rng(0).integers(-50, 50, (6, 30))
    for bags in (ids, ids[:1, :24], ids[:1, :25]):  # on both sides of half of the rows
        expected = er.embedding_bag(table, bags, mode=mode)
        assert_same_bits(
            er.embedding_bag(WRITEABLE_LAYOUTS[layout](table), bags, mode=mode), expected
        )


@pytest.mark.parametrize("dtype", ["f4", "f2", "i4", "int8"])
@pytest.mark.parametrize("padding_idx", [None, 3, -1])
def test_strict_bags_of_good_indices(backend: str, dtype: str, padding_idx: int | None) -> None:
    weight: Any = values((5, 3), "f4")
    weight = er.quantize_rows(weight) if dtype == "int8" else weight.astype(dtype)
    of_floats = dtype != "i4"
    for ids, bags in (
        (np.array([4, 0, 3, 3], np.uint8), {"offsets": [0, 1]}),
        ([[4, 0], [3, 3]], {}),
        ([[4], [], [0, 3, 3]], {}),
    ):
        options: Any = {"padding_idx": padding_idx} | bags
        strict, usual = options | {"strict": True}, options
        for mode in ("sum", "mean", "max") if of_floats else ("sum",):
            got = er.embedding_bag(weight, ids, mode=mode, **strict)
            assert_same_bits(got, er.embedding_bag(weight, ids, mode=mode, **usual))
        if of_floats:
            got = er.embedding_bag_argmax(weight, ids, **strict)
            assert_same_bits(got, er.embedding_bag_argmax(weight, ids, **usual))


# --- gradients ---------------------------------------------------------------------------------


def test_gradients_by_hand(backend: str) -> None:
    table = np.array([[1.0, 8.0], [3.0, 4.0], [3.0, 6.0]])
    _, backward = er.embedding_bag_vjp(table, [[0, 1, 2]], mode="max")
    assert backward([[10.0, 20.0]]).weight.to_dense(3).tolist() == [[0, 20], [10, 0], [0, 0]]
    _, backward = er.embedding_bag_vjp(table, [1, 1, 0], [0, 2], per_sample_weights=[1.0, 2.0, 3.0])
    grads = backward([[1.0, 2.0], [3.0, 4.0]])
    assert grads.weight.indices.tolist() == [0, 1]
    assert grads.weight.values.tolist() == [[9, 12], [3, 6]]
    assert grads.per_sample_weights is not None
    assert grads.per_sample_weights.tolist() == [11, 11, 35]


@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_gradient_of_a_maximum_goes_to_its_first_item(backend: str, dtype: Any) -> None:
    nan, inf = np.nan, np.inf
    table = np.array([[1, nan, nan, 3, -0.0], [nan, 2, inf, 3, 0], [nan, nan, nan, 1, -1]], dtype)
    _, backward = er.embedding_bag_vjp(table, [[0, 1, 2]], mode="max")
    grad = backward(np.ones((1, 5), dtype)).weight.to_dense(3)
    assert grad.tolist() == [[0, 1, 1, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]


def differences(function: Any, at: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return the gradient of sum(direction * function(at)) by central differences."""
    grad, step = np.zeros_like(at), 1e-6
    for i in np.ndindex(at.shape):
        moved = at.copy()
        moved[i] += step
        high = function(moved)
        moved[i] -= 2 * step
        grad[i] = ((high - function(moved)) * direction).sum() / (2 * step)
    return grad


@pytest.mark.parametrize(
    ("mode", "weighted"),
    [("sum", False), ("sum", True), ("mean", False), ("mean", True), ("sqrtn", False),
     ("sqrtn", True), ("max", False)],
)  # fmt: skip
@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_gradients_by_finite_differences(
    backend: str, mode: Any, weighted: bool, padding_idx: int | None
) -> None:
    case = BagCase("small", 5, 3, "ragged")
    weight, indices, weights = case.table("f8"), case.indices(), case.weights("f8")
    options: Any = {"lengths": case.lengths, "mode": mode, "padding_idx": padding_idx}
    if weighted:
        weights = np.abs(weights) + 0.5  # whose sums are not near 0
        options["per_sample_weights"] = weights
    output, backward = er.embedding_bag_vjp(weight, indices, **options)
    assert_same_bits(output, er.embedding_bag(weight, indices, **options))
    direction = np.random.default_rng(1).standard_normal(output.shape)
    grads = backward(direction)
    expected = differences(lambda w: er.embedding_bag(w, indices, **options), weight, direction)
    np.testing.assert_allclose(grads.weight.to_dense(5), expected, atol=1e-8)
    if padding_idx is not None:
        assert padding_idx % 5 not in grads.weight.indices
    if not weighted:
        assert grads.per_sample_weights is None
        return
    expected = differences(
        lambda w: er.embedding_bag(weight, indices, **options | {"per_sample_weights": w}),
        weights,
        direction,
    )
    np.testing.assert_allclose(grads.per_sample_weights, expected, atol=1e-8)


@bag_case
@modes
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_gradient_adds_up_to_that_of_each_item(
    backend: str, case: BagCase, mode: Any, dtype: Any
) -> None:
    weight, indices = case.table(dtype), case.indices()
    output, backward = er.embedding_bag_vjp(weight, indices, lengths=case.lengths, mode=mode)
    grad_output = BagCase("", len(output), case.width, case.kind).table(dtype)
    grad = backward(grad_output).weight
    assert grad.values.dtype == weight.dtype
    expected = np.zeros(weight.shape)
    for b, (begin, end) in enumerate(zip(case.offsets[:-1], case.offsets[1:], strict=True)):
        items, g = indices[begin:end], grad_output[b].astype("f8")
        if mode == "max" and len(items):
            cols = np.arange(case.width)
            np.add.at(expected, (items[weight[items].argmax(axis=0)], cols), g)
        elif mode != "max":
            np.add.at(expected, items, g / (max(1, len(items)) if mode == "mean" else 1))
    assert_near(grad.to_dense(len(weight)), expected)


@modes
@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS | {"broadcast": LAYOUTS["broadcast"]})
@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_layouts_of_gradients_and_weights(backend: str, mode: Any, layout: str, dtype: Any) -> None:
    if layout == "byte_swapped" and dtype == HALVES[1]:
        pytest.skip("ml_dtypes knows native byte order only")
    table = RAGGED.table(dtype)
    grad = LAYOUTS[layout](BagCase("", len(RAGGED.lengths), 19, "ragged").table(dtype))
    weights = LAYOUTS[layout](RAGGED.weights(dtype)) if mode == "sum" else None
    into = LAYOUTS["contiguous" if layout == "broadcast" else layout](table)

    def gradients(grad: Any, weights: Any, into: Any) -> list[Any]:
        _, backward = er.embedding_bag_vjp(
            table, RAGGED.indices(), lengths=RAGGED.lengths, mode=mode, per_sample_weights=weights
        )
        backward(grad, into=into)
        grads = backward(grad)
        return [into.astype(dtype), grads.weight.values, grads.per_sample_weights]

    plain = [None if a is None else np.array(a, dtype, order="C") for a in (grad, weights, into)]
    for actual, expected in zip(gradients(grad, weights, into), gradients(*plain), strict=True):
        if expected is not None:
            assert_same_bits(actual, expected)


@modes
def test_gradient_into_an_array(backend: str, dtype: Any, mode: Any) -> None:
    weight, indices = RAGGED.table(dtype), RAGGED.indices()
    output, backward = er.embedding_bag_vjp(weight, indices, lengths=RAGGED.lengths, mode=mode)
    into = np.ones_like(weight)
    assert backward(output, into=into).weight is into
    assert_same_bits(into, er.scatter_add(np.ones_like(weight), *backward(output).weight))
    with pytest.raises(ValueError, match=r"^into must have shape \(11, 19\), got \(11, 18\)$"):
        backward(output, into=into[:, 1:])


def test_halves_get_their_gradient_in_float32(backend: str) -> None:
    weight = np.zeros((3, 2), np.float16)
    _, backward = er.embedding_bag_vjp(weight, np.ones((5000, 1), int))
    assert backward(np.ones((5000, 2), np.float16)).weight.values.tolist() == [[5000, 5000]]


# --- refused arguments ---------------------------------------------------------------------------

TABLE = np.zeros((5, 3), np.float32)
IDS = np.array([0, 1, 4])
REFUSED: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "index": (IndexError, "index 5 at position 2 is out of range for weight with 5 rows",
              {"indices": [0, 1, 5]}),
    "index_behind_padding": (IndexError, "index -6 at position 2 is out of range",
                             {"indices": [0, 1, -6], "padding_idx": 1}),
    "index_2d": (IndexError, r"index 5 at position \(1, 0\) is out of range",
                 {"indices": [[0, 1], [5, 0]], "offsets": None}),
    "weight_axes": (ValueError, r"^weight must have shape \(V, D\) or \(V,\), got \(5, 3, 1\)$",
                    {"weight": TABLE[..., None]}),
    "weight_dtype": (TypeError, "^weight must be float32, .*for mode 'max', got int64$",
                     {"weight": np.zeros((5, 3), int), "mode": "max"}),
    "indices_axes": (ValueError, r"^indices must have one or two axes, got shape \(1, 1, 3\)$",
                     {"indices": IDS[None, None]}),
    "indices_dtype": (TypeError, "^indices must be integers, got float64$",
                      {"indices": [0.0, 1.0, 2.0]}),
    "no_bags": (ValueError, "^1-d indices need offsets or lengths, got neither$",
                {"offsets": None}),
    "both": (ValueError, "^1-d indices need offsets or lengths, got both$", {"lengths": [3]}),
    "offsets_and_rows": (ValueError, "^offsets must be None where each row of 2-d",
                         {"indices": IDS[None]}),
    "lengths_and_rows": (ValueError, "^lengths must be None where each row of 2-d",
                         {"indices": IDS[None], "offsets": None, "lengths": [3]}),
    "offsets_start": (ValueError, r"^offsets\[0\] must be 0, got 1$", {"offsets": [1, 2]}),
    "offsets_fall": (ValueError, r"^offsets must not fall, got offsets\[2\] = 1 after 2$",
                     {"offsets": [0, 2, 1]}),
    "offsets_far": (ValueError, r"^offsets\[1\] must be at most 3, got 4$", {"offsets": [0, 4]}),
    "offsets_none": (ValueError, "^offsets must start at 0 where there are 3 indices, got none$",
                     {"offsets": []}),
    "offsets_last": (ValueError, "^the last offset must be the number of indices, 3, got 2$",
                     {"offsets": [0, 2], "include_last_offset": True}),
    "offsets_last_none": (ValueError, "^offsets must hold the last offset at least, got none$",
                          {"offsets": [], "include_last_offset": True}),
    "offsets_axes": (ValueError, r"^offsets must have one axis, got shape \(1, 1\)$",
                     {"offsets": [[0]]}),
    "offsets_dtype": (TypeError, "^offsets must be integers, got float64$", {"offsets": [0.0]}),
    "offsets_huge": (ValueError, "^offsets must fit int64, got 18446744073709551615$",
                     {"offsets": np.array([0, 2**64 - 1], np.uint64)}),
    "lengths_negative": (ValueError, r"^lengths\[1\] must not be negative, got -1$",
                         {"offsets": None, "lengths": [4, -1]}),
    "lengths_sum": (ValueError, "^lengths must sum to the number of indices, 3, got 4$",
                    {"offsets": None, "lengths": [2, 2]}),
    "lengths_wrap": (ValueError, "^lengths must sum to the number of indices, 3, got",
                     {"offsets": None, "lengths": [2**62] * 4 + [3]}),
    "mode": (ValueError, "^mode must be .*got 'min'$", {"mode": "min"}),
    "weights_mode": (ValueError, "^per_sample_weights need mode 'sum', 'mean' or .* got 'max'$",
                     {"mode": "max", "per_sample_weights": np.ones(3, "f4")}),
    "weights_shape": (ValueError, r"^per_sample_weights must have shape \(3,\), got \(2,\)$",
                      {"per_sample_weights": np.ones(2, "f4")}),
    "weights_dtype": (TypeError, "^per_sample_weights must be float32 as weight is, got float64$",
                      {"per_sample_weights": np.ones(3)}),
    "padding": (ValueError, r"^padding_idx must be in \[-5, 5\), got 5$", {"padding_idx": 5}),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(backend: str, case: tuple[type[Exception], str, dict[str, Any]]) -> None:
    error, message, changes = case
    arguments: Any = {"weight": TABLE, "indices": IDS, "offsets": [0]} | changes
    for function in (er.embedding_bag, er.embedding_bag_vjp):
        with pytest.raises(error, match=message):
            function(**arguments)


def test_refused_gradients(backend: str) -> None:
    _, backward = er.embedding_bag_vjp(TABLE, IDS, [0])
    with pytest.raises(ValueError, match=r"^grad_output must have shape \(1, 3\), got \(3,\)$"):
        backward(np.ones(3, "f4"))
    with pytest.raises(TypeError, match=r"^grad_output must be float32 .*got float64$"):
        backward(np.ones((1, 3)))
    with pytest.raises(
        TypeError, match=r"^weight must be an array: QuantizedRows have no gradient$"
    ):
        er.embedding_bag_vjp(er.quantize_rows(TABLE), IDS, [0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^weight must be float32, .*got int64$"):
        er.embedding_bag_vjp(np.zeros((5, 3), int), IDS, [0])


# --- any arguments at all ------------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(0, 5), max_size=8),
    width=st.integers(0, 40),
    mode=st.sampled_from(["sum", "mean", "max"]),
    seed=st.integers(0, 5),
)
def test_anything(backend: str, lengths: list[int], width: int, mode: Any, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_normal((6, width), np.float32)
    indices = np.random.default_rng(seed + 1).integers(-6, 6, sum(lengths))
    offsets = np.cumsum([0, *lengths])
    out = er.embedding_bag(weight, indices, offsets, mode=mode, include_last_offset=True)
    assert_near(out, reference_bag(weight[indices], offsets, mode))
