"""The row-sparse gradient of an embedding."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current
from embedrnn._grouping import Groups, group
from embedrnn.embedding import scatter_add


class RowGrad(NamedTuple):
    """Rows of a gradient that is zero elsewhere, as `coalesce` returns them.

    Attributes
    ----------
    indices : ndarray of int64, shape (U,)
        Distinct rows of the table, rising.
    values : ndarray, shape (U, ...)
        The gradient of each of them.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> grad = er.RowGrad(np.array([1]), np.array([[2.0, 3.0]]))
    >>> grad.to_dense(3)
    array([[0., 0.],
           [2., 3.],
           [0., 0.]])
    """

    indices: npt.NDArray[np.int64]
    values: npt.NDArray[Any]

    def to_dense(self, num_embeddings: int) -> npt.NDArray[Any]:
        """Return the gradient of the whole table, shape (num_embeddings, ...)."""
        dense = np.zeros((num_embeddings, *self.values.shape[1:]), self.values.dtype)
        dense[self.indices] = self.values
        return dense


def coalesce(
    indices: npt.ArrayLike, updates: npt.ArrayLike, *, num_embeddings: int | None = None
) -> RowGrad:
    """Sum the updates of each row: the gradient of `gather`, without a table-sized array.

    Parameters
    ----------
    indices : array_like of any integer dtype, shape (...)
        The row that each update belongs to.
    updates : array_like, shape ``indices.shape + (...)``
        The gradient of what was gathered.
    num_embeddings : int, optional
        The rows of the table. With it, negative indices count from the end, and indices out of
        range are refused; without it, negative ones are.

    Returns
    -------
    RowGrad
        ``indices``, the distinct rows in rising order, and ``values``, the sum of the updates of
        each, in the dtype of `updates`.

    Raises
    ------
    IndexError
        If an index is out of range, or negative while the table's size is unknown.
    TypeError
        If the indices are not integers, or the updates not numbers.
    ValueError
        If the shapes do not fit.

    Notes
    -----
    Each row is summed in index order, so that the values have the bits of `numpy.add.at` on zeros
    for float32, float64 and integers, at any number of threads. float16 and bfloat16 (of
    ml_dtypes) are summed in float32 and rounded once. Unlike the gradients of
    `torch.nn.Embedding` with ``sparse=True`` [1]_, no row appears twice.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/sparse.html, "Uncoalesced sparse COO tensors".

    Examples
    --------
    >>> import embedrnn as er
    >>> er.coalesce([7, 2, 7], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    RowGrad(indices=array([2, 7]), values=array([[3., 4.],
           [6., 8.]]))
    """
    plain = current().try_coalesce(indices, updates, num_embeddings)
    if plain is not None:
        return RowGrad(*plain)
    call = _check.coalesce(indices, updates, num_embeddings)
    groups = group(call.indices.reshape(-1), call.n_rows)
    if groups.bad >= 0:
        raise _check.index_error(call.indices, groups.bad, "a table", call.n_rows)
    tail = call.updates.shape[call.indices.ndim :]
    return RowGrad(groups.rows, _sums(groups, call.updates.reshape(call.indices.size, *tail)))


def _sums(groups: Groups, updates: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the sum of the updates of each row."""
    sums = np.zeros((groups.rows.size, *updates.shape[1:]), updates.dtype)
    matrix = _check.summed_by_kernels(_check.as_matrix(updates))
    if matrix is None:
        return scatter_add(sums, groups.row_of, updates)
    out = _check.stored(_check.as_matrix(sums))
    current().bag_sum(matrix, groups.positions, groups.offsets, None, False, out)
    return sums
