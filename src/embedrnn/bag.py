"""Bags of rows: what PyTorch calls EmbeddingBag."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current
from embedrnn._check.bag import Bag
from embedrnn._grouping import group
from embedrnn.coalesce import RowGrad
from embedrnn.embedding import scatter_add
from embedrnn.quantized import QuantizedRows


def embedding_bag(
    weight: npt.ArrayLike | QuantizedRows,
    indices: npt.ArrayLike,
    offsets: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    mode: Literal["sum", "mean", "max"] = "sum",
    per_sample_weights: npt.ArrayLike | None = None,
    padding_idx: int | None = None,
    include_last_offset: bool = False,
) -> npt.NDArray[Any]:
    """Sum, average or maximise bags of rows of a table, without the rows in between.

    Parameters
    ----------
    weight : array_like, shape (V, D), or QuantizedRows
        The table: float32, float64, float16 or bfloat16 (of ml_dtypes), or int8 rows made by
        `quantize_rows`.
    indices : array_like of any integer dtype, shape (N,) or (B, L)
        The rows of all bags, one bag after another; of two axes, each row is a bag. Negative ones
        count from the end.
    offsets : array_like of any integer dtype, shape (B,), optional
        For 1-d indices: where each bag begins. The first is 0, none is less than the one before.
    lengths : array_like of any integer dtype, shape (B,), optional
        In place of offsets: how many indices each bag has.
    mode : {"sum", "mean", "max"}
        What to make of the rows of a bag. The mean is the sum over the number of rows.
    per_sample_weights : array_like, shape of `indices`, dtype of `weight`, optional
        What to multiply each row with; for sums only. float32 for QuantizedRows.
    padding_idx : int, optional
        A row to leave out wherever it is named; it does not count in the mean.
    include_last_offset : bool
        Whether `offsets`, of shape (B + 1,), ends with the number of indices.

    Returns
    -------
    ndarray, shape (B, D), dtype of `weight`, float32 for QuantizedRows
        An empty bag gives 0. float16, bfloat16 and int8 rows are summed in float32.

    Raises
    ------
    IndexError
        If an index is out of range; the message names its position, value and the valid range.
    TypeError
        If a dtype is another.
    ValueError
        If shapes do not fit; if offsets do not begin with 0, fall or go past the end; if lengths do
        not sum to the number of indices; if weights are given for another mode than the sum.

    Notes
    -----
    The definition is that of `torch.nn.functional.embedding_bag` [1]_, but that bad offsets are
    refused and a NaN is the maximum wherever it stands in a bag, as in NumPy. Items are summed in
    their order at any number of threads.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html

    Examples
    --------
    >>> import embedrnn as er
    >>> table = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    >>> er.embedding_bag(table, [0, 2, 1], offsets=[0, 2])
    array([[6., 8.],
           [3., 4.]])
    """
    if lengths is per_sample_weights is padding_idx is None and not include_last_offset:
        quantized = isinstance(weight, QuantizedRows)
        table = weight.rows if isinstance(weight, QuantizedRows) else weight
        bags = current().try_embedding_bag(table, quantized, indices, offsets, mode)
        if bags is not None:
            return cast("npt.NDArray[Any]", bags)
    call = _call(
        weight, indices, offsets, lengths, mode, per_sample_weights, padding_idx,
        include_last_offset,
    )  # fmt: skip
    return _forward(call, mode)


class BagGrads(NamedTuple):
    """The gradients of an `embedding_bag`.

    Attributes
    ----------
    weight : RowGrad or ndarray
        Of the table: its distinct rows, or the array they were added to.
    per_sample_weights : ndarray, shape of the weights, or None
        None if there were no weights.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> options = {"per_sample_weights": np.array([[2.0, 3.0]])}
    >>> output, backward = er.embedding_bag_vjp(np.eye(2), [[0, 1]], **options)
    >>> grads = backward(np.array([[1.0, 10.0]]))
    >>> grads.weight.values
    array([[ 2., 20.],
           [ 3., 30.]])
    >>> grads.per_sample_weights
    array([[ 1., 10.]])
    """

    weight: RowGrad | npt.NDArray[Any]
    per_sample_weights: npt.NDArray[Any] | None


def embedding_bag_vjp(
    weight: npt.ArrayLike,
    indices: npt.ArrayLike,
    offsets: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    mode: Literal["sum", "mean", "max"] = "sum",
    per_sample_weights: npt.ArrayLike | None = None,
    padding_idx: int | None = None,
    include_last_offset: bool = False,
) -> tuple[npt.NDArray[Any], Callable[..., BagGrads]]:
    """Run `embedding_bag`, and return what it gives and its vector-Jacobian product.

    Parameters
    ----------
    weight : array_like, shape (V, D)
        Not QuantizedRows, which have no gradient. It and the indices are read again by `backward`.
    indices, offsets, lengths, mode, per_sample_weights, padding_idx, include_last_offset
        As in `embedding_bag`.

    Returns
    -------
    output : ndarray, shape (B, D)
        What `embedding_bag` returns.
    backward : callable
        ``backward(grad_output, *, into=None)`` takes the gradient of `output`, of its shape and
        dtype, and returns `BagGrads`: for the table as a `RowGrad` without the padding row or, if
        `into` is an array of the shape of `weight`, added to that; and for the weights.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `embedding_bag` does.

    Notes
    -----
    Of equal maxima the first one has the whole gradient of its column, as in PyTorch [1]_. Sums are
    formed in index order at any number of threads.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.EmbeddingBag.html

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> table = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> output, backward = er.embedding_bag_vjp(table, [[0, 2], [2, 2]], mode="mean")
    >>> backward(np.ones((2, 2))).weight
    RowGrad(indices=array([0, 2]), values=array([[0.5, 0.5],
           [1.5, 1.5]]))
    """
    if isinstance(weight, QuantizedRows):
        raise TypeError("weight must be an array: QuantizedRows have no gradient")
    call = _call(
        weight, indices, offsets, lengths, mode, per_sample_weights, padding_idx,
        include_last_offset,
    )  # fmt: skip

    def backward(grad_output: npt.ArrayLike, *, into: npt.NDArray[Any] | None = None) -> BagGrads:
        gradient = _check.bag_gradient(grad_output, call)
        grad = _max_grad(call, gradient) if mode == "max" else _sum_grad(call, gradient, mode)
        of_weights = _weights_grad(call, gradient)
        if into is None:
            return BagGrads(grad, of_weights)
        _check.require_shape("into", into, np.shape(weight))
        return BagGrads(scatter_add(into, grad.indices, grad.values), of_weights)

    return _forward(call, mode), backward


def _call(weight: Any, *arguments: Any) -> Bag:
    """Check the arguments of `embedding_bag`, those behind the table in its order."""
    if isinstance(weight, QuantizedRows):
        return _check.bag(weight.rows, weight.shape, weight.dtype, *arguments)
    table = _check.bag_table(weight)
    return _check.bag(table, table.shape, table.dtype, *arguments)


def _forward(call: Bag, mode: str) -> npt.NDArray[Any]:
    arguments = (call.weight, call.indices, call.offsets)
    out = _check.stored(call.out)
    if mode == "max":
        bad = current().bag_max(*arguments, out, None)
    else:
        bad = current().bag_sum(*arguments, call.per_sample_weights, mode == "mean", out)
    if bad >= 0:
        raise _check.index_error(call.given, call.position(bad), "weight", call.weight.shape[0])
    return call.out


def _sum_grad(call: Bag, gradient: npt.NDArray[Any], mode: str) -> RowGrad:
    """Return the gradient of the table: for each row, the sum over the bags that name it."""
    if mode == "mean":
        gradient = gradient / np.maximum(call.counts, 1)[:, None].astype(gradient.dtype)
    groups = group(call.indices, call.weight.shape[0])
    weights = call.per_sample_weights
    values = np.empty((groups.rows.size, call.out.shape[1]), call.out.dtype)
    sums = values if values.dtype == gradient.dtype else np.empty(values.shape, gradient.dtype)
    current().bag_sum(
        gradient,
        call.bag_of[groups.positions],
        groups.offsets,
        None if weights is None else weights[groups.positions],
        False,
        sums,
    )
    if sums is not values:
        values[...] = sums
    return RowGrad(groups.rows, values)


def _max_grad(call: Bag, gradient: npt.NDArray[Any]) -> RowGrad:
    """Return the gradient of the table: each column goes to the row that had the maximum."""
    groups = group(call.indices, call.weight.shape[0])
    winners = np.empty(call.out.shape, np.int64)
    current().bag_max(
        call.weight, call.indices, call.offsets, np.empty_like(_check.stored(call.out)), winners
    )
    values = np.zeros((groups.rows.size, call.out.shape[1]), gradient.dtype)
    won, cols = winners >= 0, np.arange(call.out.shape[1])
    elements = groups.row_of[winners[won]] * cols.size + np.broadcast_to(cols, won.shape)[won]
    scatter_add(values.reshape(-1), elements, gradient[won])
    return RowGrad(groups.rows, values.astype(call.out.dtype, copy=False))


def _weights_grad(call: Bag, gradient: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Return the gradient of the weights: 0 where the index is padding."""
    if call.per_sample_weights is None:
        return None
    products = np.empty_like(call.per_sample_weights)
    current().bag_dot(call.weight, call.indices, call.offsets, gradient, products)
    grad = np.zeros(call.given.shape, call.out.dtype)
    grad.reshape(-1)[slice(None) if call.kept is None else call.kept] = products
    return grad
