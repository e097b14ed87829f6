"""The row-sparse gradient of an embedding."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current, plain_coalesce
from embedrnn._grouping import group
from embedrnn._quiet import quiet
from embedrnn.rows import scatter_add


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
        rows, values, n_rows = _check.dense_rows(self.indices, self.values, num_embeddings)
        dense = np.zeros((n_rows, *values.shape[1:]), values.dtype)
        dense[rows] = values
        return dense


@quiet
def rounded(grad: RowGrad, dtype: np.dtype[Any]) -> RowGrad:
    """Return a gradient in another dtype."""
    return RowGrad(grad.indices, grad.values.astype(dtype, copy=False))


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
    ids: Any = indices
    values: Any = updates
    n_rows: Any = num_embeddings
    storage = plain_coalesce(ids, values, n_rows)
    if storage is None:
        ids, values, storage, n_rows = _check.coalesce(ids, values, n_rows)
    if storage is None:
        return _summed_by_numpy(ids, values, n_rows)
    bad, rows, sums = current().coalesce(ids, values, storage, n_rows)
    if bad >= 0:
        raise _check.index_error(ids, bad, "a table", n_rows)
    return RowGrad(rows, sums)


def _summed_by_numpy(indices: npt.NDArray[Any], updates: npt.NDArray[Any], n_rows: int) -> RowGrad:
    """Sum updates of a dtype that the backends do not sum by themselves."""
    groups = group(indices, n_rows, "a table")
    row = updates.shape[indices.ndim :]
    sums = np.zeros((groups.rows.size, *row), updates.dtype)
    return RowGrad(
        groups.rows, scatter_add(sums, groups.row_of, updates.reshape(indices.size, *row))
    )
