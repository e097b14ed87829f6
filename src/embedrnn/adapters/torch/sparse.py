"""Row-sparse gradients from and to PyTorch's sparse tensors."""

import torch

from embedrnn._check import adapters as _check
from embedrnn._check import as_array, instance
from embedrnn.adapters.torch.tensors import tensor_of
from embedrnn.coalesce import RowGrad, coalesce

__all__ = ["from_torch", "to_torch"]


def to_torch(grad: RowGrad, num_embeddings: int) -> torch.Tensor:
    """Return a gradient as a sparse tensor of PyTorch, shape (num_embeddings, ...).

    Parameters
    ----------
    grad : RowGrad
        Distinct rows that rise, as `coalesce` returns them, and their values, of any shape.
    num_embeddings : int
        The rows of the table.

    Returns
    -------
    torch.Tensor
        A coalesced sparse COO tensor with one sparse axis, as the gradient of a
        `torch.nn.Embedding` with ``sparse=True`` is, which the optimizers of PyTorch take. It
        shares the memory of rows and values, unless those are read-only or of other strides.

    Raises
    ------
    IndexError
        If a row is not one of the table.
    TypeError
        If `grad` is no RowGrad.
    ValueError
        If the shapes do not fit, or rows are named twice or do not rise.

    Examples
    --------
    >>> import embedrnn as er
    >>> from embedrnn.adapters.torch import to_torch
    >>> to_torch(er.coalesce([2, 0, 2], [[1.0], [3.0], [5.0]]), 4).to_dense().ravel()
    tensor([3., 0., 6., 0.], dtype=torch.float64)
    """
    instance("grad", grad, "a RowGrad", RowGrad)
    rows, values, n_rows = _check.table_rows(grad, num_embeddings)
    return torch.sparse_coo_tensor(
        tensor_of(rows)[None],
        tensor_of(values),
        (n_rows, *values.shape[1:]),
        is_coalesced=True,
        check_invariants=False,  # they have been checked
    )


def from_torch(tensor: torch.Tensor) -> RowGrad:
    """Return a sparse tensor of PyTorch as a gradient, the sum of what it has for each row.

    Parameters
    ----------
    tensor : torch.Tensor, shape (V, ...)
        A sparse COO tensor with one sparse axis, as the ``grad`` of an embedding with
        ``sparse=True`` is, on a CPU.

    Returns
    -------
    RowGrad
        Summed as by `embedrnn.coalesce`. Of a coalesced tensor it shares the memory.

    Raises
    ------
    TypeError
        If `tensor` is no tensor, has another layout, or is on another device.
    ValueError
        If it has more than one sparse axis.

    Examples
    --------
    >>> import torch
    >>> from embedrnn.adapters.torch import from_torch
    >>> embedding = torch.nn.Embedding(4, 2, sparse=True)
    >>> embedding(torch.tensor([2, 0, 2])).sum().backward()
    >>> from_torch(embedding.weight.grad)
    RowGrad(indices=array([0, 2]), values=array([[1., 1.],
           [2., 2.]], dtype=float32))
    """
    instance("tensor", tensor, "a torch.Tensor", torch.Tensor)
    _check.sparse_tensor("tensor", tensor.layout, torch.sparse_coo, tensor.sparse_dim())
    plain = tensor.detach()
    rows = as_array("tensor", plain._indices()[0])
    values = as_array("tensor", plain._values())
    if plain.is_coalesced():
        return RowGrad(rows, values)
    return coalesce(rows, values, num_embeddings=tensor.shape[0])
