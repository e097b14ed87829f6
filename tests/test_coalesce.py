"""coalesce: the sums of the updates of each row, with the bits of numpy.add.at."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import HALVES, INT_DTYPES, LAYOUTS, ROW_CASES, RowCase, assert_same_bits, values
from embedrnn import _backend

rows_case = pytest.mark.parametrize("case", ROW_CASES, ids=str)


def expected_sums(
    indices: np.ndarray, updates: np.ndarray, n_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct rows, and what numpy.add.at makes of zeros."""
    named = indices.ravel().astype("i8") % max(n_rows, 1)
    rows = np.unique(named)
    sums = np.zeros((rows.size, *updates.shape[indices.ndim :]), updates.dtype)
    with np.errstate(all="ignore"):
        flat = updates.reshape(named.size, *updates.shape[indices.ndim :])
        np.add.at(sums, np.searchsorted(rows, named), flat)
    return rows, sums


def test_by_hand(backend: str) -> None:
    grad = er.coalesce([4, 1, -1], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], num_embeddings=5)
    assert grad.indices.tolist() == [1, 4]
    assert grad.values.tolist() == [[3, 4], [6, 8]]
    assert grad.to_dense(5).tolist() == [[0, 0], [3, 4], [0, 0], [0, 0], [6, 8]]


@rows_case
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u8", "c8"])
def test_sums_have_the_bits_of_add_at(backend: str, case: RowCase, dtype: str) -> None:
    indices, updates = case.indices(), case.updates(dtype)
    grad = er.coalesce(indices, updates, num_embeddings=case.n_rows)
    rows, sums = expected_sums(indices, updates, case.n_rows)
    assert_same_bits(grad.indices, rows)
    assert_same_bits(grad.values, sums)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_halves_are_summed_in_float32(backend: str, half: Any) -> None:
    indices, updates = np.repeat([3, 1], 3000), values((6000, 5), half)
    grad = er.coalesce(indices, updates)
    _, sums = expected_sums(indices, updates.astype("f4"), 4)
    assert_same_bits(grad.values, sums.astype(half))


@pytest.mark.parametrize("index_dtype", INT_DTYPES)
def test_index_dtypes(backend: str, index_dtype: str) -> None:
    indices = np.array([4, 0, 3, 3, 100], index_dtype)
    grad = er.coalesce(indices, np.arange(5.0))
    assert grad.indices.tolist() == [0, 3, 4, 100]
    assert grad.values.tolist() == [1, 5, 0, 4]


@pytest.mark.parametrize("largest", [2**11, 2**22 + 1, 2**32 - 1, 2**32, 2**62], ids=str)
def test_large_indices(backend: str, largest: int) -> None:
    rng = np.random.default_rng(0)
    indices = rng.choice(rng.integers(0, largest, 50), 1000)
    indices[17] = largest
    updates = values((1000, 3), "f4")
    grad = er.coalesce(indices, updates)
    rows, sums = expected_sums(indices, updates, 2**63 - 1)
    assert_same_bits(grad.indices, rows)
    assert_same_bits(grad.values, sums)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "i4"])
def test_layouts(backend: str, layout: str, dtype: str) -> None:
    case = RowCase("matrix", 9, (19,), "duplicates")
    indices, updates = LAYOUTS[layout](case.indices()), LAYOUTS[layout](case.updates(dtype))
    grad = er.coalesce(indices, updates)
    rows, sums = expected_sums(indices, updates.astype(dtype), 9)
    assert_same_bits(grad.indices, rows)
    assert_same_bits(grad.values, sums)


def test_a_negative_index_needs_the_size_of_the_table(backend: str) -> None:
    with pytest.raises(IndexError, match=r"^index -2 at position 1 .* give num_embeddings$"):
        er.coalesce([3, -2], np.ones(2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0, 5], np.ones(2), 5), IndexError, "^index 5 at position 1 is out of range .* 5 rows"),
        (([[0], [-6]], np.ones((2, 1)), 5), IndexError, r"^index -6 at position \(1, 0\) "),
        (([0.0], np.ones(1), None), TypeError, "^indices must be integers, got float64$"),
        (((0, 1), np.ones(2), None), TypeError, "^indices .*tuple"),
        (([0], [None], None), TypeError, "^updates must be numbers, got object$"),
        (([0, 1], np.ones(3), None), ValueError, r"^updates must have shape .* got \(3,\)$"),
        (([0, 1], 1.0, None), ValueError, r"^updates must have shape .* got \(\)$"),
        (([0], np.ones(1), -1), ValueError, "^num_embeddings must be 0 or more, got -1$"),
        (([0], np.ones(1), 2.0), TypeError, "integer"),
    ],
)
def test_refused(
    backend: str, arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    indices, updates, num_embeddings = arguments
    with pytest.raises(error, match=message):
        er.coalesce(indices, updates, num_embeddings=num_embeddings)


@given(ids=st.lists(st.integers(-9, 8), max_size=40), cols=st.integers(0, 20))
def test_anything_adds_up_to_the_dense_gradient(backend: str, ids: list[int], cols: int) -> None:
    updates = values((len(ids), cols), "f4")
    dense = np.zeros((9, cols), np.float32)
    np.add.at(dense, np.array(ids, int), updates)
    grad = er.coalesce(ids, updates, num_embeddings=9)
    assert_same_bits(grad.to_dense(9), dense)
    assert (np.diff(grad.indices) > 0).all()


def test_pickles() -> None:
    grad = er.coalesce([2, 2], np.ones((2, 3)))
    again = pickle.loads(pickle.dumps(grad))
    assert type(again) is er.RowGrad
    assert again.values.tolist() == [[2, 2, 2]]


@pytest.mark.parametrize("index_dtype", INT_DTYPES)
@pytest.mark.parametrize("num_embeddings", [None, 9])
def test_strict_coalesce_of_good_indices(
    backend: str, index_dtype: str, num_embeddings: int | None
) -> None:
    ids, updates = np.array([[7, 2], [7, 0]], index_dtype), values((2, 2, 3), "f4")
    strict = er.coalesce(ids, updates, num_embeddings=num_embeddings, strict=True)
    expected = er.coalesce(ids, updates, num_embeddings=num_embeddings)
    assert_same_bits(strict.indices, expected.indices)
    assert_same_bits(strict.values, expected.values)


# --- a gradient ----------------------------------------------------------------------------------


def some_grad(seed: int, dtype: Any = "f4", tail: tuple[int, ...] = (3,)) -> er.RowGrad:
    rng = np.random.default_rng(seed)
    return er.coalesce(rng.integers(0, 9, 7), rng.standard_normal((7, *tail)).astype(dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
@pytest.mark.parametrize("tail", [(), (3,), (2, 3)])
def test_gradients_are_added_and_scaled(backend: str, dtype: Any, tail: tuple[int, ...]) -> None:
    a, b = some_grad(0, dtype, tail), some_grad(1, dtype, tail)
    dense = a.to_dense(9), b.to_dense(9)
    total = a + b
    assert isinstance(total, er.RowGrad)
    assert total.indices.tolist() == sorted({*a.indices.tolist(), *b.indices.tolist()})
    assert_same_bits(total.to_dense(9), (dense[0] + dense[1]).astype(dtype))
    assert_same_bits(sum([a, b]).to_dense(9), total.to_dense(9))
    for two in (2, 2.0, np.float32(2), np.float64(2), np.int8(2)):
        for scaled in (a * two, two * a):
            assert_same_bits(scaled.to_dense(9), (dense[0] + dense[0]).astype(dtype))
        assert_same_bits((a / two).values * a.values.dtype.type(2), a.values)


def test_a_sum_has_the_wider_dtype(backend: str) -> None:
    total = some_grad(0, "f4") + some_grad(1, "f8")
    assert_same_bits(total.values, (some_grad(0, "f4").astype("f8") + some_grad(1, "f8")).values)


def test_integers_become_what_numpy_makes_of_them() -> None:
    grad = er.RowGrad(np.array([1]), np.array([[2, 3]]))
    assert (grad * 0.5).values.tolist() == [[1.0, 1.5]]
    assert (grad * 2).values.dtype == np.int64


def test_nothing_else_is_added_or_multiplied() -> None:
    grad = some_grad(0)
    for other in (1, (1, 2), [1], np.ones(3), None, "2"):
        with pytest.raises(TypeError):
            grad + other  # type: ignore[operator]
        with pytest.raises(TypeError):
            other + grad  # type: ignore[operator]
    for other in ((1, 2), np.ones((7, 3)), np.ones(()), None, "2", grad, 1j):
        with pytest.raises(TypeError):
            grad * other  # type: ignore[operator]
        with pytest.raises(TypeError):
            other * grad  # type: ignore[operator]
    with pytest.raises(
        ValueError, match=r"^values must have rows of one shape, got \(3,\) and \(2"
    ):
        grad + some_grad(0, tail=(2,))


def test_unpacks_and_adds_to_an_array(backend: str) -> None:
    grad = some_grad(0)
    rows, sums = grad
    assert rows is grad.indices
    assert sums is grad.values
    assert_same_bits(er.scatter_add(np.ones((9, 3), "f4"), *grad), 1 + grad.to_dense(9))


@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
def test_dtypes_of_a_gradient(dtype: Any) -> None:
    grad = some_grad(0, "f8")
    assert_same_bits(grad.astype(dtype).values, grad.values.astype(dtype))
    assert grad.astype("f8") is grad
    with np.errstate(all="raise"):
        assert np.isinf((1e300 * grad).astype(dtype).values).all() == (np.dtype(dtype) != "f8")


def test_norm() -> None:
    assert er.RowGrad(np.array([0, 4]), np.array([[3.0], [4.0]], "f2")).norm() == 5
    assert er.RowGrad(np.array([0]), np.array([[3e200, 4e200]])).norm() == pytest.approx(5e200)
    assert er.RowGrad(np.array([0]), np.array([[3e-300, 4e-300]])).norm() == pytest.approx(5e-300)
    assert er.RowGrad(np.array([], int), np.zeros((0, 3))).norm() == 0
    assert np.isnan(er.RowGrad(np.array([0]), np.array([[np.nan, np.inf]])).norm())
    assert er.RowGrad(np.array([0]), np.array([[-np.inf, 1]])).norm() == np.inf
    grad = some_grad(0, "f4", (2, 3))
    assert grad.norm() == pytest.approx(np.linalg.norm(grad.to_dense(9).astype("f8")), rel=1e-12)


# --- the distinct rows by number -----------------------------------------------------------------


def numbered(indices: np.ndarray, n_rows: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the first bad position or -1, the distinct rows, and the number of each index's."""
    rows, numbers = np.full((2, indices.size), -7, np.int64)
    bad, count = _backend.current().number_rows(indices, n_rows, rows, numbers)
    return bad, rows[:count], numbers


@rows_case
@pytest.mark.parametrize("int_dtype", INT_DTYPES)
def test_numbers_of_rows(backend: str, case: RowCase, int_dtype: str) -> None:
    whole = case.indices() % max(case.n_rows, 1) if int_dtype.startswith("u") else case.indices()
    indices = whole.astype(int_dtype)
    if not np.array_equal(indices, whole):
        indices = whole  # which that dtype does not hold
    bad, rows, numbers = numbered(np.asarray(indices), case.n_rows)
    distinct, inverse = np.unique(whole.ravel() % max(case.n_rows, 1), return_inverse=True)
    assert bad == -1
    assert_same_bits(rows, distinct)
    assert_same_bits(numbers, inverse.ravel())


@pytest.mark.parametrize("n_rows", [5, 2**40, 2**62])
def test_numbers_of_rows_of_tables_of_any_length(backend: str, n_rows: int) -> None:
    named = np.random.default_rng(0).integers(0, 2**62, 200_000) % n_rows
    named[::7] = named[0]
    bad, rows, numbers = numbered(named, n_rows)
    assert bad == -1
    assert_same_bits(rows, np.unique(named))
    assert_same_bits(rows[numbers], named)


@pytest.mark.parametrize(("indices", "position"), [([0, 5, 1, -6], 1), ([4, -5, -6], 2)])
def test_numbers_of_rows_out_of_range(backend: str, indices: list[int], position: int) -> None:
    bad, rows, _ = numbered(np.array(indices), 5)
    assert (bad, rows.size) == (position, 0)
