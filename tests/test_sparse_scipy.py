"""Row-sparse gradients to SciPy's sparse arrays and back."""

from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import HALVES, assert_same_bits, values

pytest.importorskip("scipy")
from scipy import sparse

from embedrnn.adapters.scipy import from_scipy, to_scipy

DTYPES = ("f4", "f8", "i2", "c16")


def gradient(dtype: Any = "f4", width: int = 3) -> er.RowGrad:
    return er.coalesce([4, 1, 4, 6], values((4, width), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 3])
def test_there_and_back(dtype: Any, width: int) -> None:
    grad = gradient(dtype, width)
    array = to_scipy(grad, 8)
    assert_same_bits(array.toarray(), grad.to_dense(8))
    assert array.has_canonical_format
    assert np.shares_memory(array.data, grad.values)
    back = from_scipy(array)
    assert_same_bits(back.indices, grad.indices)
    assert_same_bits(back.values, grad.values)
    assert np.shares_memory(back.values, grad.values)


def test_no_rows() -> None:
    array = to_scipy(er.coalesce(np.zeros(0, int), np.zeros((0, 3))), 0)
    assert array.shape == (0, 3)
    assert from_scipy(array).values.shape == (0, 3)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: a.astype(a.dtype.newbyteorder())])
def test_other_memory_is_copied(layout: Any) -> None:
    grad = gradient()
    array = to_scipy(er.RowGrad(layout(grad.indices), layout(grad.values)), 8)
    assert_same_bits(array.toarray(), grad.to_dense(8))


@pytest.mark.parametrize("form", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_format_is_read(form: str, kind: str) -> None:
    dense = np.zeros((6, 4))
    dense[[1, 4]] = [[0, 2, 0, 3], [5, 0, 0, 0]]
    grad = from_scipy(getattr(sparse, f"{form}_{kind}")(dense))
    assert set(grad.indices.tolist()) >= {1, 4}
    assert_same_bits(grad.to_dense(6), dense)


def test_what_stands_twice_is_added() -> None:
    twice = sparse.csr_array(([1.0, 2.0, 4.0], [1, 1, 0], [0, 2, 3]), shape=(2, 2))
    assert from_scipy(twice).values.tolist() == [[0, 3], [4, 0]]
    blocks = np.array([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]])
    repeated = sparse.bsr_array((blocks, [0, 0, 0], [0, 0, 2, 3]), shape=(3, 2))
    grad = from_scipy(repeated)
    assert grad.indices.tolist() == [1, 2]
    assert grad.values.tolist() == [[4, 6], [5, 6]]
    assert blocks.ravel().tolist() == [1, 2, 3, 4, 5, 6]


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "array": (lambda: to_scipy(np.ones((2, 3)), 4), TypeError,
              "^grad must be a RowGrad, got ndarray$"),
    "out of range": (lambda: to_scipy(gradient(), 6), IndexError,
                     "^index 6 at position 2 is out of range for a table with 6 rows"),
    "vector": (lambda: to_scipy(er.coalesce([1], [2.0]), 4), ValueError,
               r"^values must have shape \(U, D\) with columns, got \(1,\)$"),
    "no columns": (lambda: to_scipy(gradient(width=0), 8), ValueError,
                   r"^values must have shape \(U, D\) with columns, got \(3, 0\)$"),
    "falling": (lambda: to_scipy(er.RowGrad(np.array([2, 1]), np.ones((2, 3))), 4), ValueError,
                "^indices must be distinct and rising, as coalesce returns them, got 1 "),
    **{f"{half}": (lambda half=half: to_scipy(gradient(half), 8), TypeError,
                   rf"^values must have a dtype that SciPy has, got {half}: give grad.astype")
       for half in HALVES},
    "no sparse array": (lambda: from_scipy(np.ones((2, 3))), TypeError,
                        "^matrix must be a sparse array of SciPy, got ndarray$"),
    "one axis": (lambda: from_scipy(sparse.coo_array(np.ones(3))), ValueError,
                 r"^matrix must have shape \(V, D\) with columns, got \(3,\)$"),
    "without columns": (lambda: from_scipy(sparse.csr_array((3, 0))), ValueError,
                        r"^matrix must have shape \(V, D\) with columns, got \(3, 0\)$"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_errors_name_the_argument(call: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        call()
