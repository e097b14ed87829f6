"""gather and scatter_add against numpy.take and numpy.add.at: the same bits, in every backend."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import (
    HALVES,
    INT_DTYPES,
    LAYOUTS,
    ROW_CASES,
    WRITEABLE_LAYOUTS,
    RowCase,
    allocates_less_than,
    assert_same_bits,
    guarded,
    values,
    writes_only,
)

rows_case = pytest.mark.parametrize("case", ROW_CASES, ids=str)
layout = pytest.mark.parametrize("layout", LAYOUTS)
out_layout = pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)

# One table of each number of dimensions; a layout is applied to each of them.
LAYOUT_CASES = (
    RowCase("vector", 9, (), "duplicates"),
    RowCase("matrix", 9, (19,), "duplicates"),
    RowCase("matrix_by_matrix", 9, (5,), "matrix"),
    RowCase("cube", 9, (3, 5), "duplicates"),
)
layout_case = pytest.mark.parametrize("case", LAYOUT_CASES, ids=str)

INT64 = np.iinfo(np.int64)


def add_at(target: np.ndarray, indices: Any, updates: Any) -> np.ndarray:
    """Return what numpy.add.at makes of a copy of `target`, in the same byte order.

    One update a row: over N-d indices NumPy 2.4 reads past the end of updates that it broadcasts.
    """
    expected, rows = target.copy(), np.asarray(indices)
    spread = np.broadcast_to(updates, rows.shape + target.shape[1:])
    with np.errstate(all="ignore"):
        np.add.at(expected, rows.ravel(), spread.reshape(rows.size, *target.shape[1:]))
    return expected


# --- gather: values ----------------------------------------------------------------------------


def test_gather_by_hand(backend: str) -> None:
    weight = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)
    rows = er.gather(weight, [[2, -3], [0, -1]])
    assert rows.tolist() == [[[5, 6], [1, 2]], [[1, 2], [5, 6]]]
    assert rows.dtype == np.float32


@rows_case
def test_gather_equals_take(backend: str, dtype: Any, case: RowCase) -> None:
    weight, indices = case.table(dtype), case.indices()
    actual, expected = er.gather(weight, indices), np.take(weight, indices, axis=0)
    assert type(actual) is type(expected)
    assert_same_bits(actual, expected)


@pytest.mark.parametrize(
    "dtype",
    [
        *["?", "i1", "f2", "u2", "S5", "V3", "U3", "M8[s]", "c8", "c16", "g", ">f4"],
        "i4,f8",
        "u1,f8,S3",
    ],
)
def test_gather_moves_any_dtype(backend: str, dtype: str) -> None:
    itemsize = np.dtype(dtype).itemsize
    raw = np.random.default_rng(0).integers(0, 2, (6, 7 * itemsize), np.uint8)
    weight, indices = raw.view(dtype), np.array([5, 0, -1, 3, 3])
    actual = er.gather(weight, indices)
    assert actual.dtype == weight.dtype
    assert actual.tobytes() == raw[indices].tobytes()


@pytest.mark.parametrize("dtype", ["O", [("id", "i4"), ("name", "O")]], ids=str)
def test_gather_of_objects(backend: str, dtype: Any) -> None:
    weight = np.array([(1, "a"), (2, "b"), (3, "c")], [("id", "i4"), ("name", "O")]).astype(dtype)
    assert er.gather(weight, [2, -3]).tolist() == weight[[2, 0]].tolist()
    with pytest.raises(IndexError):
        er.gather(weight, [3])


def test_gather_keeps_the_bits_of_nan(backend: str) -> None:
    weight = np.array([0x7F800001, 0xFFC12345, 0x80000000, 1], np.uint32).view(np.float32)
    assert_same_bits(er.gather(weight, [1, 0, 3, 2]), weight[[1, 0, 3, 2]])


@pytest.mark.parametrize("index_dtype", INT_DTYPES)
@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
def test_gather_index_dtypes(backend: str, index_dtype: str, mode: Any) -> None:
    weight = values((5, 3), np.float32)
    indices = np.array([4, 0, 3, 3] + [-1, -5] * (index_dtype[0] == "i"), index_dtype)
    # np.take of NumPy 2.0 refuses uint64.
    expected = np.take(weight, indices.astype(np.intp), 0, mode=mode)
    assert_same_bits(er.gather(weight, indices, mode=mode), expected)


@pytest.mark.parametrize("mode", ["wrap", "clip"])
def test_gather_modes_far_out_of_range(backend: str, mode: Any) -> None:
    weight = values((5, 3), np.float32)
    indices = np.array([-12, -6, -5, -1, 0, 4, 5, 17, INT64.min, INT64.max])
    # np.take walks there by steps of 5, which would take years.
    rows = indices % 5 if mode == "wrap" else np.clip(indices, 0, 4)
    assert_same_bits(er.gather(weight, indices, mode=mode), weight[rows])


@pytest.mark.parametrize(("mode", "rows"), [("wrap", [3, 0]), ("clip", [4, 4])])
def test_gather_modes_beyond_int64(backend: str, mode: Any, rows: list[int]) -> None:
    weight = values((5, 3), np.float32)
    indices = np.array([2**63, 2**64 - 1], np.uint64)
    assert_same_bits(er.gather(weight, indices, mode=mode), weight[rows])


@pytest.mark.parametrize("index_dtype", INT_DTYPES)
def test_strict_gather_of_good_indices(backend: str, index_dtype: str) -> None:
    weight, indices = values((5, 3), "f4"), np.array([[4, 0], [3, 3]], index_dtype)
    assert_same_bits(er.gather(weight, indices, mode="strict"), weight[indices])
    assert_same_bits(er.gather(weight, indices[:0], mode="strict"), weight[indices[:0]])
    out = np.zeros((2, 2, 3), "f4")
    assert er.gather(weight, indices, mode="strict", out=out) is out
    assert_same_bits(out, weight[indices])


@pytest.mark.parametrize("n_rows", [100, 200, 40_000])
def test_strict_gather_from_more_rows_than_an_index_counts(backend: str, n_rows: int) -> None:
    weight = values((n_rows,), "f4")
    for index_dtype in ("i1", "u1", "i2", "u2"):
        most = min(np.iinfo(index_dtype).max, n_rows - 1)
        ids = np.array([0, most], index_dtype)
        assert_same_bits(er.gather(weight, ids, mode="strict"), weight[[0, most]])
        if index_dtype[0] == "i":
            with pytest.raises(IndexError, match=rf"^index -1 .*expected 0 <= index < {n_rows}$"):
                er.gather(weight, np.array([0, -1], index_dtype), mode="strict")


def test_gather_takes_lists(backend: str) -> None:
    assert er.gather([1.5, 2.5], [1, 1, 0]).tolist() == [2.5, 2.5, 1.5]
    assert er.gather([1.5, 2.5], []).shape == (0,)
    assert er.gather([[1, 2], [3, 4]], 1).tolist() == [3, 4]
    assert isinstance(er.gather([1.5, 2.5], 1), np.float64)


# --- gather: axes --------------------------------------------------------------------------------

AXIS_DTYPES = ("f4", "f8", "f2", ">f4", "i1", "?", "c16", "S3", "i4,f8", "O", HALVES[1])


def test_gather_of_columns_by_hand(backend: str) -> None:
    weight = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    assert er.gather(weight, [2, 0, -1, 2], axis=1).tolist() == [[3, 1, 3, 3], [6, 4, 6, 6]]
    assert er.gather(weight, 1, axis=-1).tolist() == [2, 5]
    assert er.gather(weight, [[-1, 0]], axis=None).tolist() == [[6, 1]]


@pytest.mark.parametrize("weight_dtype", AXIS_DTYPES, ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3, None])
def test_gather_along_axes_equals_take(backend: str, weight_dtype: Any, axis: int | None) -> None:
    weight = values((5, 7, 6), "i1").astype(weight_dtype)
    for ids in ([4, 0, -5, 3], [[1, -1], [2, 2]], 3, np.zeros((0, 2), int)):
        actual, expected = er.gather(weight, ids, axis=axis), np.take(weight, ids, axis=axis)
        assert type(actual) is type(expected)
        assert (np.asarray(actual) == np.asarray(expected)).all()
        assert np.shape(actual) == np.shape(expected)
        if isinstance(expected, np.ndarray):
            assert actual.dtype == expected.dtype
            assert actual.flags.c_contiguous


@pytest.mark.parametrize("axis", [0, np.int64(0), np.array(0), -2])
def test_a_first_axis_by_any_name(backend: str, axis: Any) -> None:
    weight, out = values((5, 3), "f4"), np.zeros((2, 3), "f4")
    assert er.gather(weight, [4, -1], axis=axis, out=out) is out
    assert_same_bits(out, weight[[4, -1]])


def test_gather_of_a_scalar_along_no_axis(backend: str) -> None:
    assert er.gather(7.0, [0, -1], axis=None).tolist() == [7, 7]
    assert isinstance(er.gather([[7.0]], 0, axis=None), np.float64)


@pytest.mark.parametrize("mode", ["wrap", "clip"])
@pytest.mark.parametrize("index_dtype", INT_DTYPES)
def test_gather_modes_along_an_axis(backend: str, mode: Any, index_dtype: str) -> None:
    weight, info = values((2, 5, 3), "f4"), np.iinfo(index_dtype)
    ids = np.array([info.min, info.max, 0, 4, 5, 17], index_dtype)
    rows = [i % 5 if mode == "wrap" else min(max(i, 0), 4) for i in ids.tolist()]
    assert_same_bits(er.gather(weight, ids, axis=1, mode=mode), np.take(weight, rows, axis=1))


@pytest.mark.parametrize("start", range(0, 29, 4))
def test_gather_along_an_axis_overlapping_the_table(backend: str, start: int) -> None:
    memory = values((40,), "f4")
    weight, out = memory[:20].reshape(4, 5), memory[start : start + 12].reshape(4, 3)
    expected = weight[:, [4, 0, 2]].copy()
    er.gather(weight, np.array([4, 0, 2]), axis=1, out=out)
    assert_same_bits(out, expected)


@pytest.mark.parametrize("start", range(4))
def test_gather_along_an_axis_overlapping_the_indices(backend: str, start: int) -> None:
    memory = np.array([3, 2, 1, 0, 3, 1, 2])
    weight, out = np.arange(4)[None] * 10, memory[start : start + 3][None]
    expected = weight[:, memory[1:4]]
    er.gather(weight, memory[1:4], axis=1, out=out)
    assert_same_bits(out, expected)


# --- gather: memory ------------------------------------------------------------------------------


@layout
@layout_case
def test_gather_input_layouts(backend: str, layout: str, case: RowCase) -> None:
    weight, indices = LAYOUTS[layout](case.table("f4")), LAYOUTS[layout](case.indices())
    expected = np.take(weight.copy(), indices.copy(), axis=0)
    assert_same_bits(er.gather(weight, indices), expected)


@out_layout
@layout_case
def test_gather_out_layouts(backend: str, layout: str, case: RowCase) -> None:
    weight, indices = case.table("f8"), case.indices()
    out = WRITEABLE_LAYOUTS[layout](np.zeros(indices.shape + case.cols))
    weight = weight.astype(out.dtype)
    with writes_only(out):
        assert er.gather(weight, indices, out=out) is out
        assert_same_bits(out, np.take(weight, indices, axis=0).astype(out.dtype))


def test_gather_of_one_row_into_out(backend: str) -> None:
    weight, out = values((5, 3), "f4"), np.zeros(3, "f4")
    assert er.gather(weight, 2, out=out) is out
    assert_same_bits(out, weight[2])
    scalar = np.zeros((), "f4")
    assert er.gather(weight[:, 0], 2, out=scalar) is scalar
    assert scalar == weight[2, 0]


@pytest.mark.parametrize("start", range(0, 29, 4))
def test_gather_out_overlapping_the_table(backend: str, start: int) -> None:
    memory = values((40,), "f4")
    weight, out = memory[:20].reshape(5, 4), memory[start : start + 12].reshape(3, 4)
    expected = weight[[4, 0, 2]]
    er.gather(weight, np.array([4, 0, 2]), out=out)
    assert_same_bits(out, expected)


def test_gather_out_is_the_table(backend: str) -> None:
    weight = values((70, 33), "f8")
    expected = weight[::-1].copy()
    er.gather(weight, np.arange(70)[::-1], out=weight)
    assert_same_bits(weight, expected)


@pytest.mark.parametrize("start", range(4))
def test_gather_out_overlapping_the_indices(backend: str, start: int) -> None:
    memory = np.array([3, 2, 1, 0, 3, 1, 2])
    expected = (np.arange(4) * 10)[memory[1:4]]
    er.gather(np.arange(4) * 10, memory[1:4], out=memory[start : start + 3])
    assert_same_bits(memory[start : start + 3], expected)


@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
@pytest.mark.parametrize("item", ["u1", "f4", "f8"])
def test_gather_stays_inside_its_arrays(backend: str, item: str, before: bool) -> None:
    for size in range(131):
        for n, cols in ((size, 1), (3, size)):
            weight = guarded(values((4, cols), item), before=before)
            indices = guarded(np.arange(n) % 4, before=before)
            out = guarded(np.zeros((n, cols), item), before=before)
            er.gather(weight, indices, out=out)
            assert out.tobytes() == np.take(weight, indices, axis=0).tobytes()


@pytest.mark.parametrize(("width", "shift"), [(128, 0), (128, 1), (130, 0)])
def test_gather_into_an_out_beyond_the_caches(native: str, width: int, shift: int) -> None:
    weight, n = values((50, width), "f4"), 70_000
    indices = np.random.default_rng(0).integers(-50, 50, n)
    out = np.zeros(n * width + 5, np.float32)[shift : n * width + shift].reshape(n, width)
    before, after = out.base[:shift].copy(), out.base[n * width + shift :].copy()
    assert_same_bits(er.gather(weight, indices, out=out), weight[indices])
    assert_same_bits(out.base[:shift], before)
    assert_same_bits(out.base[n * width + shift :], after)


def test_gather_from_a_file(backend: str, tmp_path: Any) -> None:
    weight = values((50, 7), "f4")
    weight.tofile(tmp_path / "table")
    table = np.memmap(tmp_path / "table", np.float32, "r", shape=(50, 7))
    rows = er.gather(table, [[49, 0], [-1, 3]])
    assert type(rows) is np.ndarray
    assert_same_bits(rows, weight[[[49, 0], [-1, 3]]])


@pytest.mark.slow
@pytest.mark.skip_under("tsan", "asan")
@pytest.mark.parametrize(("shape", "dtype"), [((2**27 + 8, 16), "f4"), ((2**31 + 9,), "i1")])
def test_gather_beyond_2_31_elements(core: Any, shape: tuple[int, ...], dtype: str) -> None:
    weight = np.zeros(shape, dtype)  # mapped when touched
    weight[-3:] = np.arange(1, 4).reshape(3, *[1] * (len(shape) - 1))
    assert_same_bits(er.gather(weight, [-1, 0, len(weight) - 2]), weight[[-1, 0, -2]])
    with pytest.raises(IndexError):
        er.gather(weight, [len(weight)])


# --- scatter_add: values -----------------------------------------------------------------------


def test_scatter_add_by_hand(backend: str) -> None:
    target = np.array([[1, 1], [2, 2], [3, 3]], np.float32)
    updates = np.array([[10, 20], [0.5, 0.25], [100, 200]], np.float32)
    assert er.scatter_add(target, [0, 2, -3], updates) is target
    assert target.tolist() == [[111, 221], [2, 2], [3.5, 3.25]]


@pytest.mark.parametrize(("updates", "total"), [([1e8, 1, -1e8], 0), ([1e8, -1e8, 1], 1)])
def test_scatter_add_sums_in_index_order(backend: str, updates: list[float], total: int) -> None:
    target = np.zeros(2, np.float32)
    er.scatter_add(target, [1, 1, 1], np.array(updates, np.float32))
    assert target.tolist() == [0, total]


@rows_case
def test_scatter_add_equals_add_at(backend: str, dtype: Any, case: RowCase) -> None:
    target, indices, updates = case.table(dtype), case.indices(), case.updates(dtype)
    expected = add_at(target, indices, updates)
    er.scatter_add(target, indices, updates)
    assert_same_bits(target, expected)


@layout_case
@pytest.mark.parametrize(
    "update_dtype", ["f2", "f4", "f8", "?", "i1", "u2", "i4", "i8", "u8", ">f8"]
)
def test_scatter_add_update_dtypes(
    backend: str, dtype: Any, case: RowCase, update_dtype: str
) -> None:
    target, indices, updates = case.table(dtype), case.indices(), case.updates(update_dtype)
    expected = add_at(target, indices, updates)
    er.scatter_add(target, indices, updates)
    assert_same_bits(target, expected)


def test_scatter_add_of_float64_rounds_once_a_sum(backend: str) -> None:
    # Each half unit alone rounds away in float32; just above half it rounds up, each time.
    target = np.ones(2, np.float32)
    half = 2.0**-24
    er.scatter_add(target, [0, 0, 1, 1], np.array([half, half, half + 1e-12, half + 1e-12]))
    assert target.tolist() == [1, 1 + 2 * 2.0**-23]


@layout_case
@pytest.mark.parametrize(
    "target_dtype", ["g", "c8", "c16", "?", "i1", "i4", "u8", ">f4", ">i4", "O"]
)
def test_scatter_add_other_targets(backend: str, case: RowCase, target_dtype: str) -> None:
    target, indices = case.table(target_dtype), case.indices()
    updates = case.updates(target_dtype)
    expected = add_at(target, indices, updates)
    er.scatter_add(target, indices, updates)
    assert target.dtype == np.dtype(target_dtype)
    assert target.tolist() == expected.tolist()


@layout_case
@pytest.mark.parametrize("target_dtype", INT_DTYPES)
@pytest.mark.parametrize("update_dtype", ["?", *INT_DTYPES])
def test_scatter_add_integers(
    backend: str, case: RowCase, target_dtype: str, update_dtype: str
) -> None:
    target, indices = case.table(target_dtype), case.indices()
    updates = case.updates(update_dtype)
    expected = add_at(target, indices, updates)
    with np.errstate(invalid="ignore"):  # by way of float64 for signed and unsigned 64-bit ones
        er.scatter_add(target, indices, updates)
    assert_same_bits(target, expected)


def add_in_float32(target: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    """Return the halves with all updates of a row added in float32, rounded once."""
    sums = target.astype(np.float32)
    with np.errstate(over="ignore"):
        return add_at(sums, indices, updates.astype(np.float32)).astype(target.dtype)


@layout_case
@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("update_dtype", [None, "f4", "f8", "i2", "?"])
def test_scatter_add_to_halves(
    backend: str, case: RowCase, half: Any, update_dtype: str | None
) -> None:
    target, indices = case.table(half), case.indices()
    updates = case.updates(half if update_dtype is None else update_dtype)
    expected = add_in_float32(target, indices, updates)
    assert er.scatter_add(target, indices, updates) is target
    assert_same_bits(target, expected)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_scatter_add_does_not_lose_small_halves(backend: str, half: Any) -> None:
    # np.add.at stops at 2048 in float16 and at 256 in bfloat16.
    target = np.zeros((2, 3), half)
    er.scatter_add(target, np.ones(4992, int), np.ones((), half))
    assert (target == [[0], [4992]]).all()


@out_layout
@pytest.mark.parametrize("half", HALVES, ids=str)
@layout_case
def test_scatter_add_half_layouts(backend: str, layout: str, case: RowCase, half: Any) -> None:
    if layout == "byte_swapped" and half != np.float16:
        pytest.skip("ml_dtypes knows native byte order only")
    target = WRITEABLE_LAYOUTS[layout](case.table(half))
    expected = add_in_float32(target, case.indices(), case.updates(half))
    with writes_only(target):
        er.scatter_add(target, case.indices(), case.updates(half))
        assert_same_bits(target, expected)


@pytest.mark.parametrize("index_dtype", INT_DTYPES)
def test_scatter_add_index_dtypes(backend: str, index_dtype: str) -> None:
    target = values((5, 3), np.float32)
    indices = np.array([4, 0, 3, 3] + [-1, -5] * (index_dtype[0] == "i"), index_dtype)
    updates = values((len(indices), 3), np.float32, seed=1)
    expected = add_at(target, indices, updates)
    er.scatter_add(target, indices, updates)
    assert_same_bits(target, expected)


@pytest.mark.parametrize(
    ("indices", "updates"),
    [((4,), ()), ((4,), (3,)), ((4,), (1, 3)), ((4,), (4, 1)), ((4,), (4, 3)), ((4, 2), (2, 3)),
     ((4, 2), (4, 1, 1)), ((4, 2), (4, 2, 3)), ((), ()), ((), (3,)), ((0,), (3,)), ((0,), ())],
)  # fmt: skip
def test_scatter_add_broadcasts_updates(
    backend: str, dtype: Any, indices: tuple[int, ...], updates: tuple[int, ...]
) -> None:
    target = values((5, 3), dtype)
    ids = np.arange(np.prod(indices, dtype=int)).reshape(indices) % 3
    expected = add_at(target, ids, values(updates, dtype, seed=1))
    er.scatter_add(target, ids, values(updates, dtype, seed=1))
    assert_same_bits(target, expected)


def test_scatter_add_takes_lists(backend: str) -> None:
    target = np.zeros((3, 2))
    er.scatter_add(target, [2, 2], [[1, 2], [3, 4]])
    er.scatter_add(target, [], np.zeros((0, 2)))
    er.scatter_add(target, 0, 0.5)
    assert target.tolist() == [[0.5, 0.5], [0, 0], [4, 6]]


def test_special_values_flow(backend: str, dtype: Any) -> None:
    info = np.finfo(dtype)
    tiny = info.smallest_subnormal
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, tiny, -tiny, info.max], dtype)
    first, second = (np.repeat(special, 8).reshape(8, 8), np.tile(special, 8).reshape(8, 8))
    expected = add_at(first, np.arange(8), second)
    assert_same_bits(er.gather(special, np.arange(8)), special)
    with np.errstate(over="ignore", invalid="ignore"):
        er.scatter_add(first, np.arange(8), second)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(first), ~known)
    assert_same_bits(first[known], expected[known])


@pytest.mark.parametrize("index_dtype", INT_DTYPES)
@pytest.mark.parametrize("dtype", ["f4", "i2", *HALVES, "c8"], ids=str)
def test_strict_scatter_add_of_good_indices(backend: str, dtype: Any, index_dtype: str) -> None:
    ids, updates = np.array([[4, 0], [3, 3]], index_dtype), values((2, 2, 3), "f4").astype(dtype)
    expected = er.scatter_add(np.ones((5, 3), dtype), ids, updates)
    target = np.ones((5, 3), dtype)
    assert er.scatter_add(target, ids, updates, strict=True) is target
    assert_same_bits(target, expected)


# --- scatter_add: memory -----------------------------------------------------------------------


@out_layout
@layout_case
def test_scatter_add_target_layouts(backend: str, dtype: Any, layout: str, case: RowCase) -> None:
    target = WRITEABLE_LAYOUTS[layout](case.table(dtype))
    expected = add_at(target, case.indices(), case.updates(dtype))
    with writes_only(target):
        assert er.scatter_add(target, case.indices(), case.updates(dtype)) is target
        assert_same_bits(target, expected)


@layout
@layout_case
def test_scatter_add_update_layouts(backend: str, dtype: Any, layout: str, case: RowCase) -> None:
    target = case.table(dtype)
    indices, updates = LAYOUTS[layout](case.indices()), LAYOUTS[layout](case.updates(dtype))
    expected = add_at(target, indices.copy(), updates.copy())
    er.scatter_add(target, indices, updates)
    assert_same_bits(target, expected)


def test_scatter_add_into_one_column(backend: str, dtype: Any) -> None:
    table = values((7, 5), dtype)
    expected = table.copy()
    np.add.at(expected[:, 2], [3, 3, -1], table[:3, 0])
    er.scatter_add(table[:, 2], [3, 3, -1], table[:3, 0].copy())
    assert_same_bits(table, expected)


@pytest.mark.parametrize("start", range(0, 29, 4))
def test_scatter_add_updates_overlapping_the_target(backend: str, start: int) -> None:
    memory = values((40,), "f4")
    target, updates = memory[:20].reshape(5, 4), memory[start : start + 12].reshape(3, 4)
    expected = add_at(target, [4, 0, 4], updates.copy())
    er.scatter_add(target, np.array([4, 0, 4]), updates)
    assert_same_bits(target, expected)


def test_scatter_add_of_the_target_to_itself(backend: str) -> None:
    target = values((70, 33), "f8")
    expected = add_at(target, np.arange(70), target[::-1].copy())
    er.scatter_add(target, np.arange(70), target[::-1])
    assert_same_bits(target, expected)


def test_scatter_add_indices_overlapping_the_target(backend: str) -> None:
    memory = np.array([0, 1, 2, 0, 1])
    indices, target = memory[1:4], memory[:3].view("f8")
    expected = add_at(target, indices.copy(), np.ones(3))
    er.scatter_add(target, indices, np.ones(3))
    assert_same_bits(target, expected)


@pytest.mark.parametrize("width", [1, 3, 7, 16, 40, 64, 300])
@pytest.mark.parametrize("order", ["equal", "runs", "pairs", "random", "two"])
def test_scatter_add_of_runs(native: str, dtype: Any, order: str, width: int) -> None:
    random = np.random.default_rng(0)
    n = 3000 if width > 64 else 30_000
    ids = {
        "equal": np.full(n, 4),
        "runs": np.sort(random.integers(0, 90, n)),
        "pairs": np.repeat(random.permutation(n // 2), 2) % 500,
        "random": random.integers(-500, 500, n),
        "two": np.arange(n) % 2 * 499,
    }[order]
    target, updates = values((500, width), dtype), values((n, width), dtype, seed=1)
    expected = add_at(target, ids, updates)
    for threads in (1, 2, 3, 8):
        er.set_num_threads(threads)
        assert_same_bits(er.scatter_add(target.copy(), ids, updates), expected)


@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
@pytest.mark.parametrize(("item", "update"), [("f4", "f4"), ("f4", "f8"), ("f8", "f8")])
def test_scatter_add_stays_inside_its_arrays(
    backend: str, item: str, update: str, before: bool
) -> None:
    for size in range(131):
        for n, cols in ((size, 1), (3, size)):
            target = guarded(values((4, cols), item), before=before)
            indices = guarded(np.arange(n) % 4, before=before)
            updates = guarded(values((n, cols), update, seed=1), before=before)
            expected = add_at(target, indices, updates)
            er.scatter_add(target, indices, updates)
            assert_same_bits(target, expected)


@pytest.mark.slow
@pytest.mark.skip_under("tsan", "asan")
@pytest.mark.parametrize("shape", [(2**27 + 8, 16), (2**31 + 9,)], ids=str)
def test_scatter_add_beyond_2_31_elements(core: Any, shape: tuple[int, ...]) -> None:
    target = np.zeros(shape, np.float32)  # mapped when touched
    er.scatter_add(target, [-1, 0, len(target) - 1], np.float32(2))
    assert (target[0] == 2).all()
    assert (target[-1] == 4).all()
    assert not target[[1, -2]].any()


# --- rows of a large table ---------------------------------------------------------------------

LARGE = np.random.default_rng(0).standard_normal((4_000, 48), "f4")
SOME = np.array([[3, -1, 3_999], [77, 3, 2_345]])
LARGE_SHAPES = {"matrix": (4_000, 48), "cube": (4_000, 6, 8)}
large_shape = pytest.mark.parametrize("shape", LARGE_SHAPES.values(), ids=LARGE_SHAPES)


@large_shape
@out_layout
@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
def test_gather_copies_named_rows_only(backend: str, layout: str, shape: Any, mode: Any) -> None:
    table = WRITEABLE_LAYOUTS[layout](LARGE.reshape(shape))
    expected = table[SOME if mode != "clip" else SOME.clip(0)]
    with allocates_less_than(100_000):
        rows = er.gather(table, SOME, mode=mode)
    assert_same_bits(rows, expected)


@out_layout
@pytest.mark.parametrize("mode", ["raise", "wrap"])
def test_gather_copies_named_columns_only(backend: str, layout: str, mode: Any) -> None:
    table = WRITEABLE_LAYOUTS[layout](np.ascontiguousarray(LARGE.T))
    expected = table[:, SOME]
    with allocates_less_than(100_000):
        columns = er.gather(table, SOME, axis=1, mode=mode)
    assert_same_bits(columns, expected)
    assert columns.flags.c_contiguous


def test_gather_of_objects_copies_named_rows_only(backend: str) -> None:
    table = LARGE.astype("O")[:, ::2]
    with allocates_less_than(100_000):
        rows = er.gather(table, SOME)
    assert rows.tolist() == table[SOME].tolist()
    assert er.gather(table[:, 0], 3) is table[3, 0]


def test_gather_into_an_out_beside_its_rows_copies_these_only(backend: str) -> None:
    memory = np.zeros(4_000, [("table", "f4", (48,)), ("out", "f4", (48,))])
    memory["table"] = LARGE
    for out in (memory["out"][:3], memory["table"][1:4], memory["table"][3:6]):
        expected = memory["table"][SOME[1]]
        with allocates_less_than(100_000):
            er.gather(memory["table"], SOME[1], out=out)
        assert_same_bits(out, expected)


@large_shape
@out_layout
@pytest.mark.parametrize("dtype", ["f4", "f2", "i2", "c8", "O"])
def test_scatter_add_copies_named_rows_only(
    backend: str, dtype: str, layout: str, shape: Any
) -> None:
    target = WRITEABLE_LAYOUTS[layout](LARGE.reshape(shape).astype(dtype))
    updates = np.ones((*SOME.shape, *shape[1:]), dtype)
    expected = add_at(target, SOME, updates)
    with allocates_less_than(100_000):
        er.scatter_add(target, SOME, updates)
    if dtype == "f2":  # row 3 is named twice, and rounded once
        np.testing.assert_allclose(target, expected, rtol=1e-3, atol=1e-3)
    else:
        assert np.array_equal(target, expected)


@large_shape
@out_layout
def test_rows_out_of_range_of_a_large_table(backend: str, layout: str, shape: Any) -> None:
    table, out = WRITEABLE_LAYOUTS[layout](LARGE.reshape(shape)), np.zeros((1, 2, *shape[1:]), "f4")
    before, out = table.copy(), out.astype(table.dtype)
    where = r"^index 4000 at position \(0, 1\) is out of range for {} with 4000 rows: "
    with pytest.raises(IndexError, match=where.format("weight")):
        er.gather(table, [[3, 4_000]], out=out)
    with pytest.raises(IndexError, match=where.format("target")):
        er.scatter_add(table, [[3, 4_000]], out + 1)
    assert not out.any()
    assert_same_bits(table, before)


# --- sums that fail ----------------------------------------------------------------------------

NONE_LAST = np.array([1.0, 2.0, None], "O")
FAILING: dict[str, tuple[Any, Any]] = {
    "float_target": (lambda: np.zeros(4), NONE_LAST),
    "byte_swapped_target": (lambda: np.zeros(4, ">f4"), NONE_LAST),
    "half_target": (lambda: np.zeros(4, "f2"), NONE_LAST),
    "integer_target": (lambda: np.zeros(4, "i4"), np.array([1, 2, None], "O")),
    "object_target": (lambda: np.zeros(4, "O"), NONE_LAST),
    "object_rows": (lambda: np.zeros((4, 3), "O"), NONE_LAST[:, None]),
    "object_cube": (lambda: np.zeros((4, 3, 2), "O")[:, :, ::-1], NONE_LAST[:, None, None]),
    "object_windows": (
        lambda: np.lib.stride_tricks.sliding_window_view(np.zeros(7, "O"), 3, writeable=True)[:4],
        NONE_LAST[:, None],
    ),
    "a_float_of_objects": (lambda: np.array([0, 0, "0", 0], "O"), np.ones(3)),
    "text": (lambda: np.zeros(4), np.array([1.0, 2.0, "x"], "O")),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_sum_that_fails_leaves_the_target(backend: str, name: str) -> None:
    make, updates = FAILING[name]
    target = make()
    before = target.tolist()
    with pytest.raises((TypeError, ValueError)):
        er.scatter_add(target, [0, 1, 2], updates)
    assert target.tolist() == before


def test_a_gradient_that_cannot_be_added_leaves_what_it_goes_into(backend: str) -> None:
    into = np.array([[0], [0], ["x"], [0]], "O")
    _, backward = er.embedding_bag_vjp(np.ones((4, 1)), [[0, 1, 2]])
    with pytest.raises(TypeError):
        backward([[1.0]], into=into)
    assert into.tolist() == [[0], [0], ["x"], [0]]
    with pytest.raises(TypeError, match=r"^into must be an ndarray, got list$"):
        backward([[1.0]], into=into.tolist())


@pytest.mark.parametrize("dtype", ["f4", "c8", "O", "f2"])
def test_scatter_add_to_windows(backend: str, dtype: str) -> None:
    windows = np.lib.stride_tricks.sliding_window_view
    memory = np.arange(7).astype(dtype)
    expected = memory.copy()
    np.add.at(windows(expected, 3, writeable=True), [0, 1, 0, -1], np.ones((4, 3), dtype))
    er.scatter_add(windows(memory, 3, writeable=True), [0, 1, 0, -1], np.ones((4, 3), dtype))
    assert memory.tolist() == expected.tolist()


# --- any arguments at all ----------------------------------------------------------------------


@st.composite
def tables_and_indices(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw a table in any layout, and indices of any integer dtype, some of them out of range."""
    n_rows = draw(st.integers(0, 6))
    cols = draw(st.lists(st.integers(0, 20), max_size=2))
    dtype = np.dtype(draw(st.sampled_from(INT_DTYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=3)))
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    near = st.integers(max(low, -n_rows), max(0, n_rows - 1))
    anything = near if draw(st.booleans()) else near | st.integers(low, high)
    count = int(np.prod(shape, dtype=int))
    flat = draw(st.lists(anything, min_size=count, max_size=count))
    layouts = st.sampled_from(sorted(WRITEABLE_LAYOUTS))
    table = WRITEABLE_LAYOUTS[draw(layouts)](values((n_rows, *cols), "f4"))
    indices = np.array(flat, dtype).reshape(shape)
    return table, WRITEABLE_LAYOUTS[draw(layouts)](indices) if shape else indices


def first_out_of_range(indices: np.ndarray, n_rows: int) -> int | None:
    """Return the first such index, by Python's own unlimited integers."""
    return next((i for i in indices.ravel().tolist() if not -n_rows <= i < n_rows), None)


@given(arguments=tables_and_indices())
def test_gather_of_anything(backend: str, arguments: tuple[np.ndarray, np.ndarray]) -> None:
    weight, indices = arguments
    bad = first_out_of_range(indices, len(weight))
    if bad is None:
        expected = np.take(weight, indices.astype("i8"), axis=0)
        assert er.gather(weight, indices).tobytes() == expected.tobytes()
        return
    out = np.full(indices.shape + weight.shape[1:], 7, weight.dtype)
    with pytest.raises(IndexError, match=rf"^index {bad} .*out of range"):
        er.gather(weight, indices, out=out)
    assert (out == 7).all()


@given(arguments=tables_and_indices(), mode=st.sampled_from(["wrap", "clip"]))
def test_gather_modes_of_anything(
    backend: str, arguments: tuple[np.ndarray, np.ndarray], mode: Any
) -> None:
    weight, indices = arguments
    n_rows = len(weight)
    if n_rows == 0 and indices.size:
        with pytest.raises(IndexError):
            er.gather(weight, indices, mode=mode)
        return
    flat = indices.ravel().tolist()
    rows = [i % n_rows if mode == "wrap" else min(max(i, 0), n_rows - 1) for i in flat]
    expected = weight[np.array(rows, int).reshape(indices.shape)]
    assert er.gather(weight, indices, mode=mode).tobytes() == expected.tobytes()


@given(data=st.data(), mode=st.sampled_from(["raise", "wrap", "clip", "strict"]))
def test_gather_along_any_axis(backend: str, data: st.DataObject, mode: Any) -> None:
    layouts = st.sampled_from(sorted(WRITEABLE_LAYOUTS)).map(WRITEABLE_LAYOUTS.__getitem__)
    shape = tuple(data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4)))
    weight = data.draw(layouts)(values(shape, data.draw(st.sampled_from(["f4", "f8", "f2"]))))
    axis = data.draw(st.none() | st.integers(-weight.ndim, weight.ndim - 1))
    size = weight.size if axis is None else weight.shape[axis]
    count = data.draw(st.integers(0, 6))
    numbers = st.lists(st.integers(-size - 1, size), min_size=count, max_size=count)
    ids = np.array(data.draw(numbers), int).reshape(data.draw(st.sampled_from([(-1,), (count, 1)])))

    # Whether an index is refused does not depend on the other axes, of which one may be empty.
    rows = np.arange(size)
    expected = np.take(weight, rows[ids % max(size, 1)] if size else ids[:0], axis=axis)
    out = data.draw(layouts)(np.full_like(expected, 7, order="C"))
    out = out if out.dtype == weight.dtype else np.full_like(expected, 7)
    raises = mode in {"raise", "strict"} or not size
    least = 0 if mode == "strict" else -size
    bad = [i for i in ids.ravel().tolist() if raises and not least <= i < size]
    if bad:
        out = out if size else None
        with pytest.raises(IndexError, match=rf"^index {bad[0]} .*out of range for .*weight with"):
            er.gather(weight, ids, axis=axis, mode=mode, out=out)
        assert out is None or (out == 7).all()
        return
    if mode == "clip":
        expected = np.take(weight, ids, axis=axis, mode="clip")
    assert_same_bits(er.gather(weight, ids, axis=axis, mode=mode), expected)
    assert er.gather(weight, ids, axis=axis, mode=mode, out=out) is out
    assert_same_bits(out, expected)


@given(arguments=tables_and_indices(), update=st.sampled_from(["f4", "f8", "i4"]))
def test_scatter_add_of_anything(
    backend: str, arguments: tuple[np.ndarray, np.ndarray], update: str
) -> None:
    target, indices = arguments
    updates = values(indices.shape + target.shape[1:], update, seed=1)
    bad = first_out_of_range(indices, len(target))
    expected = target.copy() if bad is not None else add_at(target, indices.astype("i8"), updates)
    if bad is None:
        er.scatter_add(target, indices, updates)
    else:
        with pytest.raises(IndexError, match=rf"^index {bad} .*out of range"):
            er.scatter_add(target, indices, updates)
    assert_same_bits(target, expected)


def test_scatter_add_into_windows_that_overlap_each_other(core: Any) -> None:
    # The rows of a view of sliding windows share memory: no two threads may have a part of it.
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 200, 20_000)
    updates = rng.integers(-4, 5, (20_000, 128)).astype(np.float32)
    sums = [np.zeros(327, np.float32) for _ in range(2)]
    windows = [np.lib.stride_tricks.sliding_window_view(s, 128, writeable=True) for s in sums]
    np.add.at(windows[0], indices, updates)
    er.scatter_add(windows[1], indices, updates)
    assert_same_bits(sums[1], sums[0])
