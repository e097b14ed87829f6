"""Row-sparse gradients to PyTorch's sparse tensors and back."""

from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import HALVES, assert_same_bits, values

pytest.importorskip("torch")
import torch

from embedrnn.adapters.torch import from_torch, to_torch

DTYPES = ("f4", "f8", *HALVES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def gradient(dtype: Any = "f4", row: tuple[int, ...] = (3,)) -> er.RowGrad:
    return er.coalesce([4, 1, 4, 6], values((4, *row), dtype))


@each_dtype
@pytest.mark.parametrize("row", [(), (3,), (2, 3), (0,)], ids=str)
def test_there_and_back(dtype: Any, row: tuple[int, ...]) -> None:
    grad = gradient(dtype, row)
    tensor = to_torch(grad, 8)
    assert tensor.shape == (8, *row)
    assert tensor.is_coalesced()
    assert str(tensor.dtype) == f"torch.{grad.values.dtype}"
    dense = tensor.to_dense()
    expected = grad.to_dense(8)
    assert np.array_equal(dense.double().numpy(), expected.astype("f8"))
    back = from_torch(tensor)
    assert_same_bits(back.indices, grad.indices)
    assert_same_bits(back.values, grad.values)


@each_dtype
def test_memory_is_shared(dtype: Any) -> None:
    grad = gradient(dtype)
    tensor = to_torch(grad, 8)
    assert tensor._values().data_ptr() == grad.values.ctypes.data
    assert tensor._indices().data_ptr() == grad.indices.ctypes.data
    back = from_torch(tensor)
    assert np.shares_memory(back.values, grad.values)
    assert np.shares_memory(back.indices, grad.indices)


def strided(array: np.ndarray) -> np.ndarray:
    return np.repeat(array, 2, axis=0)[::2]


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "layout", [strided, read_only, np.asfortranarray, lambda a: a.astype(a.dtype.newbyteorder())]
)
def test_other_memory_is_copied(layout: Any) -> None:
    grad = gradient()
    tensor = to_torch(er.RowGrad(layout(grad.indices), layout(grad.values)), 8)
    assert np.array_equal(tensor.to_dense().numpy(), grad.to_dense(8))


def test_no_rows() -> None:
    tensor = to_torch(er.coalesce(np.zeros(0, int), np.zeros((0, 3))), 0)
    assert tensor.shape == (0, 3)
    assert from_torch(tensor).indices.size == 0


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_the_gradient_of_an_embedding(dtype: str) -> None:
    """PyTorch's names rows as often as the batch does; the sums are those of coalesce."""
    weight = torch.randn(9, 5, dtype=getattr(torch, dtype), requires_grad=True)
    ids = np.random.default_rng(0).integers(0, 9, (4, 6))
    updates = torch.randn(4, 6, 5, dtype=weight.dtype)
    output = torch.nn.functional.embedding(torch.from_numpy(ids), weight, sparse=True)
    output.backward(updates)
    assert not weight.grad.is_coalesced()
    grad = from_torch(weight.grad)
    expected = er.coalesce(ids, updates)
    assert_same_bits(grad.indices, expected.indices)
    assert_same_bits(grad.values, expected.values)


def test_an_optimizer_of_pytorch_takes_it() -> None:
    table = torch.nn.Parameter(torch.ones(8, 3))
    table.grad = to_torch(er.coalesce([2, 0, 2], np.ones((3, 3), "f4")), 8)
    torch.optim.SGD([table], lr=0.25).step()
    assert table.detach()[:, 0].tolist() == [0.75, 1, 0.5, 1, 1, 1, 1, 1]


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "array": (lambda: to_torch(np.ones((2, 3)), 4), TypeError,
              "^grad must be a RowGrad, got ndarray$"),
    "out of range": (lambda: to_torch(gradient(), 6), IndexError,
                     "^index 6 at position 2 is out of range for a table with 6 rows"),
    "negative size": (lambda: to_torch(gradient(), -1), ValueError,
                      "^num_embeddings must be 0 or more, got -1$"),
    "twice": (lambda: to_torch(er.RowGrad(np.array([1, 1]), np.ones((2, 3))), 4), ValueError,
              "^indices must be distinct and rising, as coalesce returns them, got 1 "),
    "negative": (lambda: to_torch(er.RowGrad(np.array([-1, 1]), np.ones((2, 3))), 4), IndexError,
                 "^index -1 at position 0 is out of range for a table with 4 rows"),
    "no tensor": (lambda: from_torch(np.ones(3)), TypeError,
                  "^tensor must be a torch.Tensor, got ndarray$"),
    "dense": (lambda: from_torch(torch.ones(3, 2)), TypeError,
              "^tensor must have the layout torch.sparse_coo, got torch.strided$"),
    "two axes": (lambda: from_torch(torch.ones(3, 2).to_sparse()), ValueError,
                 "^tensor must have one sparse axis, that of rows, got 2$"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_errors_name_the_argument(call: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        call()
