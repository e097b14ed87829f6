"""The row-sparse gradient of an embedding."""

import math
import numbers
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current, plain_coalesce
from embedrnn._docs import TABLE, documented
from embedrnn._grouping import group
from embedrnn._quiet import quiet
from embedrnn.rows import scatter_add


class RowGrad:
    """Rows of a gradient that is zero elsewhere, as `coalesce` returns them.

    Gradients of one table are added by ``+`` and scaled by ``*`` and ``/`` with a number, which
    keeps the dtype; ``scatter_add(table, *grad)`` adds one to an array.

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
    >>> grad + 0.5 * er.RowGrad(np.array([0, 1]), np.ones((2, 2)))
    RowGrad(indices=array([0, 1]), values=array([[0.5, 0.5],
           [2.5, 3.5]]))
    >>> grad.to_dense(3)
    array([[0., 0.],
           [2., 3.],
           [0., 0.]])
    """

    __slots__ = __match_args__ = ("indices", "values")
    indices: npt.NDArray[np.int64]
    values: npt.NDArray[Any]

    # By hand: `dataclasses` would take a tenth of the time that the package is imported in.
    def __init__(self, indices: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "values", values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} cannot be set: a RowGrad does not change")

    def __reduce__(self) -> tuple[Any, ...]:
        return RowGrad, (self.indices, self.values)

    def __repr__(self) -> str:
        return f"RowGrad(indices={self.indices!r}, values={self.values!r})"

    # A number of NumPy asks this class how to multiply, and an array does not take it for an item.
    __array_ufunc__ = None

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """Yield both, as ``rows, values = grad`` and ``scatter_add(table, *grad)`` ask."""
        return iter((self.indices, self.values))

    def __add__(self, other: object) -> "RowGrad":
        """Return the sum, of whose rows each is one of either; in the wider dtype of the two."""
        if not isinstance(other, RowGrad):
            return NotImplemented
        (rows, values), (more_rows, more) = self._checked(), other._checked()
        if values.shape[1:] != more.shape[1:]:
            raise ValueError(
                f"values must have rows of one shape, got {values.shape[1:]} and {more.shape[1:]}"
            )
        dtype = np.result_type(values, more)
        return coalesce(
            np.concatenate([rows, more_rows]),
            np.concatenate([values.astype(dtype), more.astype(dtype)]),
        )

    def __radd__(self, other: object) -> "RowGrad":
        """Return this gradient behind the 0 that `sum` begins with."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: object) -> "RowGrad":
        """Return this gradient times a number."""
        is_number = isinstance(factor, numbers.Real)
        return self._scaled(operator.mul, factor) if is_number else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: object) -> "RowGrad":
        """Return this gradient over a number."""
        is_number = isinstance(divisor, numbers.Real)
        return self._scaled(operator.truediv, divisor) if is_number else NotImplemented

    @quiet
    def _scaled(self, scale: Callable[[Any, Any], Any], number: Any) -> "RowGrad":
        _, values = self._checked()
        scaled: npt.NDArray[Any] = scale(values, number)
        grad = RowGrad(self.indices, scaled)
        return rounded(grad, values.dtype) if _check.is_float(values.dtype) else grad

    def _checked(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return _check.row_grad(self.indices, self.values)

    def astype(self, dtype: npt.DTypeLike) -> "RowGrad":
        """Return this gradient in another floating-point dtype; itself if it is in that one."""
        wanted = _check.any_float("dtype", dtype)
        rows, values = self._checked()
        return self if values.dtype == wanted else rounded(RowGrad(rows, values), wanted)

    def norm(self) -> float:
        """Return the square root of the sum of squares, formed in float64 without overflow."""
        return norm_of(self._checked()[1])

    def to_dense(self, num_embeddings: int) -> npt.NDArray[Any]:
        """Return the gradient of the whole table, shape (num_embeddings, ...)."""
        rows, values, n_rows = _check.dense_rows(self.indices, self.values, num_embeddings)
        dense = np.zeros((n_rows, *values.shape[1:]), values.dtype)
        dense[rows] = values
        return dense


@quiet
def norm_of(values: npt.NDArray[Any]) -> float:
    """Return the square root of the sum of squares, formed in float64 without overflow."""
    magnitudes = np.abs(values).astype(np.float64)
    most = float(magnitudes.max(initial=0))
    if not 0 < most < np.inf:
        return most
    squares = np.asarray(magnitudes / most)
    # Not by a dot product: BLAS would share it among threads, which takes ten times as long where
    # other programs have the CPUs, and the bits would depend on how many there are.
    np.square(squares, out=squares)
    return most * math.sqrt(squares.sum())


@quiet
def rounded(grad: RowGrad, dtype: np.dtype[Any]) -> RowGrad:
    """Return a gradient in another dtype, without asking which."""
    return RowGrad(grad.indices, grad.values.astype(dtype, copy=False))


@documented(TABLE)
def coalesce(
    indices: npt.ArrayLike,
    updates: npt.ArrayLike,
    *,
    num_embeddings: int | None = None,
    strict: bool = False,
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
    {strict}

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
    storage = plain_coalesce(ids, values, n_rows) if strict is False else None
    if storage is None:
        ids, values, storage, n_rows = _check.coalesce(ids, values, n_rows, strict)
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
