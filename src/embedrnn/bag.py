"""Bags of rows: what PyTorch calls EmbeddingBag."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current, plain_bag
from embedrnn._bag_norms import Norms, is_normalised, normalised, through_norms
from embedrnn._check.bag import Bag
from embedrnn._check.sequences import Bags
from embedrnn._docs import TABLE, documented
from embedrnn._grouping import group
from embedrnn._quiet import quiet
from embedrnn._storage import Storage
from embedrnn.coalesce import RowGrad, rounded
from embedrnn.quantized import QuantizedRows
from embedrnn.rows import gather, scatter_add

_Positions = npt.NDArray[np.int64]
_Weights = npt.NDArray[Any] | None


@documented(TABLE)
def embedding_bag(
    weight: npt.ArrayLike | QuantizedRows,
    indices: npt.ArrayLike,
    offsets: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    mode: Literal["sum", "mean", "sqrtn", "max"] = "sum",
    per_sample_weights: npt.ArrayLike | None = None,
    padding_idx: int | None = None,
    include_last_offset: bool = False,
    strict: bool = False,
) -> npt.NDArray[Any]:
    """Sum, average or maximise bags of rows of a table, without the rows in between.

    Parameters
    ----------
    weight : array_like, shape (V, D) or (V,), or QuantizedRows
        The table: float32, float64, float16 or bfloat16 (of ml_dtypes), or int8 rows made by
        `quantize_rows`. Integers are summed only, in their own dtype, where they wrap as in
        `numpy.add.at`.
    {indices, offsets, lengths}
    mode : {"sum", "mean", "sqrtn", "max"}
        What to make of the rows of a bag. The mean is the sum over the number of rows, or over the
        sum of the weights; "sqrtn" the sum over the root of the number of rows, or of the sum of
        the squares of the weights. A bag gives 0 where it would be divided by 0.
    per_sample_weights : array_like, shape of `indices`, dtype of `weight`, optional
        What to multiply each row with; not for a maximum. float32 for QuantizedRows. Where
        `indices` are sequences: sequences of the same lengths.
    padding_idx : int, optional
        A row to leave out wherever it is named; it does not count in the mean.
    {include_last_offset, strict}

    Returns
    -------
    ndarray, shape (B, D), or (B,) of a vector, dtype of `weight`, float32 for QuantizedRows
        An empty bag gives 0. float16, bfloat16 and int8 rows are summed in float32.

    Raises
    ------
    IndexError
        If an index is out of range; the message names its position, value and the valid range. The
        position in sequences is that of the bag, and the place in it.
    TypeError
        If a dtype is another.
    ValueError
        If shapes do not fit; if offsets do not begin with 0, fall or go past the end; if lengths do
        not sum to the number of indices; if offsets or lengths come with sequences, or one of
        those, or a number in them, is null; if weights are given for a maximum.

    Notes
    -----
    The definition is that of `torch.nn.functional.embedding_bag` [1]_, but that bad offsets are
    refused and a NaN is the maximum wherever it stands in a bag, as in NumPy. The weighted mean and
    "sqrtn" are the combiners of `tf.nn.embedding_lookup_sparse` [2]_: weights are divided before
    rows are summed. A mean without weights is the sum divided, as in `numpy.mean` and PyTorch: it
    is infinite where the sum is too great for the dtype that sums are formed in, though the mean is
    not. Items are summed in their order at any number of threads.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html
    .. [2] https://www.tensorflow.org/api_docs/python/tf/nn/embedding_lookup_sparse

    Examples
    --------
    >>> import embedrnn as er
    >>> table = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    >>> er.embedding_bag(table, [0, 2, 1], offsets=[0, 2])
    array([[6., 8.],
           [3., 4.]])
    >>> er.embedding_bag(table, [[0, 2], [1]])
    array([[6., 8.],
           [3., 4.]])
    """
    int8_rows = isinstance(weight, QuantizedRows)
    table: Any = weight.rows if isinstance(weight, QuantizedRows) else weight
    ids: Any = indices
    given = ids
    weights: Any = per_sample_weights
    plain = None
    if strict is False:
        plain = plain_bag(
            table, int8_rows, ids, offsets, lengths, mode, weights, include_last_offset
        )
    if plain is not None:
        storage, bounds, out = plain
        kept = None
        if padding_idx is not None:
            ids, bounds, weights, kept = _check.without_padding(
                ids, bounds, weights, padding_idx, len(table)
            )
        bad = _fill(out, mode, table, storage, ids, bounds, weights)
        if bad >= 0:
            position = bad if kept is None else int(kept[bad])
            raise _check.index_error(given, position, "weight", len(table))
        return out
    bags = _check.bags(ids, offsets, lengths, weights)
    call = _call(weight, bags, offsets, mode, padding_idx, include_last_offset, strict)
    if is_normalised(mode, per_sample_weights):
        return _forward(normalised(call, mode)[0], "sum")
    return _forward(call, mode)


@documented(TABLE)
def embedding_bag_argmax(
    weight: npt.ArrayLike | QuantizedRows,
    indices: npt.ArrayLike,
    offsets: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    padding_idx: int | None = None,
    include_last_offset: bool = False,
    strict: bool = False,
) -> _Positions:
    """Find which item of each bag has the maximum of each column.

    Parameters
    ----------
    weight : array_like, shape (V, D) or (V,), or QuantizedRows
        The table, as of `embedding_bag`.
    {indices, offsets, lengths}
    padding_idx : int, optional
        A row to leave out wherever it is named.
    {include_last_offset, strict}

    Returns
    -------
    ndarray of int64, shape (B, D), or (B,) of a vector
        Positions in ``indices.ravel()``, or in all sequences one after another: the first of equal
        maxima, and the first NaN, as in `numpy.argmax`. An empty bag has -1.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `embedding_bag` does.

    See Also
    --------
    embedding_bag : With ``mode="max"`` it returns the maxima themselves.

    Examples
    --------
    >>> import embedrnn as er
    >>> er.embedding_bag_argmax([[1.0, 6.0], [3.0, 4.0]], [1, 0, 1], offsets=[0, 2])
    array([[0, 1],
           [2, 2]])
    """
    bags = _check.bags(indices, offsets, lengths)
    call = _call(weight, bags, offsets, "max", padding_idx, include_last_offset, strict)
    winners = np.empty(call.out.shape, np.int64)
    _forward(call, "max", winners)
    if call.kept is not None:
        winners = np.append(call.kept, -1)[winners]
    return call.rows(winners)


class BagGrads(NamedTuple):
    """The gradients of an `embedding_bag`.

    Attributes
    ----------
    weight : RowGrad or ndarray
        Of the table: its distinct rows, or the array they were added to.
    per_sample_weights : ndarray, shape of the weights, or None
        None if there were no weights; of sequences one after another, shape (N,).

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
    mode: Literal["sum", "mean", "sqrtn", "max"] = "sum",
    per_sample_weights: npt.ArrayLike | None = None,
    padding_idx: int | None = None,
    include_last_offset: bool = False,
    strict: bool = False,
) -> tuple[npt.NDArray[Any], Callable[..., BagGrads]]:
    """Run `embedding_bag`, and return what it gives and its vector-Jacobian product.

    Parameters
    ----------
    weight : array_like, shape (V, D) or (V,)
        Not QuantizedRows and not integers, which have no gradient. The gradient of
        `per_sample_weights` reads its rows again: with those, it must hold the same numbers until
        `backward` has been called.
    indices, offsets, lengths, mode, per_sample_weights, padding_idx, include_last_offset, strict
        As in `embedding_bag`. What `backward` needs of them is copied: they may change meanwhile.

    Returns
    -------
    output : ndarray, shape (B, D) or (B,)
        What `embedding_bag` returns.
    backward : callable
        ``backward(grad_output, *, into=None)`` takes the gradient of `output`, of its shape and
        dtype; that of halves may be float32. It returns `BagGrads`: for the table as a `RowGrad`
        without the padding row or, if `into` is an array of the shape of `weight`, added to that;
        and for the weights.

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
    bags = _check.bags(indices, offsets, lengths, per_sample_weights)
    output, sums = bag_vjp_in_sums(
        weight, bags.copied(), offsets, mode=mode, padding_idx=padding_idx,
        include_last_offset=include_last_offset, strict=strict,
    )  # fmt: skip

    def backward(grad_output: npt.ArrayLike, *, into: npt.NDArray[Any] | None = None) -> BagGrads:
        if into is not None:
            _check.bag_into(into, np.shape(weight), output.dtype)
        grad, of_weights = sums(grad_output)
        if into is None:
            return BagGrads(rounded(grad, output.dtype), of_weights)
        return BagGrads(scatter_add(into, grad.indices, grad.values), of_weights)

    return output, backward


def bag_vjp_in_sums(
    weight: npt.ArrayLike,
    bags: Bags,
    offsets: npt.ArrayLike | None,
    *,
    mode: str,
    padding_idx: int | None,
    include_last_offset: bool,
    strict: bool,
) -> tuple[npt.NDArray[Any], Callable[[npt.ArrayLike], tuple[RowGrad, _Weights]]]:
    """Do as `embedding_bag_vjp`, with the gradient of the table in what it is summed in.

    The bags are copies, which `backward` reads again.
    """
    if isinstance(weight, QuantizedRows):
        raise TypeError("weight must be an array: QuantizedRows have no gradient")
    call = _call(weight, bags, offsets, mode, padding_idx, include_last_offset, strict)
    _check.require_gradient(call)
    winners = np.empty(call.out.shape, np.int64) if mode == "max" else None
    norms = None
    if is_normalised(mode, bags.weights):
        call, norms = normalised(call, mode)
        mode = "sum"

    def backward(grad_output: npt.ArrayLike) -> tuple[RowGrad, _Weights]:
        gradient = _check.bag_gradient(grad_output, call)
        if winners is None:
            grad = _sum_grad(call, gradient, mode)
        else:
            grad = _max_grad(call, gradient, winners)
        grad = RowGrad(grad.indices, call.rows(grad.values))
        return grad, None if bags.weights is None else _weights_grad(call, gradient, norms)

    return _forward(call, mode, winners), backward


def _call(weight: npt.ArrayLike | QuantizedRows, bags: Bags, *options: Any) -> Bag:
    """Check the arguments of `embedding_bag`."""
    table = weight if isinstance(weight, QuantizedRows) else _check.as_array("weight", weight)
    return _check.bag(table, bags, *options)


def _forward(call: Bag, mode: str, winners: _Positions | None = None) -> npt.NDArray[Any]:
    if call.storage is None:
        _add_integers(call)
    else:
        table, ids = _readable(call)
        weights = call.per_sample_weights
        bad = _fill(call.out, mode, table, call.storage, ids, call.offsets, weights, winners)
        _require_in_range(call, bad)
    return call.rows(call.out)


@quiet
def _add_integers(call: Bag) -> None:
    """Put the sums of rows of integers into `out`: no kernel makes them without the rows."""
    _require_in_range(call, current().first_out_of_range(call.indices, len(call.weight)))
    rows = gather(call.weight, call.indices)
    if call.per_sample_weights is not None:
        rows = rows * call.per_sample_weights[:, None]
    call.out[...] = 0
    scatter_add(call.out, call.bag_of, rows)


def _readable(call: Bag) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return a table that the kernels read, and the row of it that each item names.

    If its rows are others, those that are named, one for each item, or all if that costs less.
    """
    table, ids = call.weight, call.indices
    if _check.has_plain_rows(table):
        return table, ids
    if not _check.few_rows(ids.size, table):
        return _check.as_rows(table), ids
    _require_in_range(call, current().first_out_of_range(ids, len(table)))
    return _check.as_behaved(gather(table, ids)), np.arange(ids.size)


def _fill(
    out: npt.NDArray[Any],
    mode: str,
    table: npt.NDArray[Any],
    storage: Storage,
    indices: npt.NDArray[Any],
    offsets: _Positions,
    weights: npt.NDArray[Any] | None = None,
    winners: _Positions | None = None,
) -> int:
    """Put the bags into `out`; return the position of the first index out of range, or -1."""
    if mode == "max":
        return current().bag_max(table, storage, indices, offsets, out, winners)
    return current().bag_sum(table, storage, indices, offsets, weights, mode == "mean", out)


def _require_in_range(call: Bag, bad: int) -> None:
    """Raise the error of the item that a backend found out of range, if there is one."""
    if bad >= 0:
        position, n_rows = call.position(bad), call.weight.shape[0]
        raise _check.index_error(call.given, position, "weight", n_rows, starts=call.starts)


@quiet
def _sum_grad(call: Bag, gradient: npt.NDArray[Any], mode: str) -> RowGrad:
    """Return the gradient of the table: for each row, the sum over the bags that name it."""
    if mode == "mean":
        gradient = gradient / np.maximum(call.counts, 1)[:, None].astype(gradient.dtype)
    groups = group(call.indices, call.weight.shape[0], "weight")
    weights = call.per_sample_weights
    sums = np.empty((groups.rows.size, call.out.shape[1]), gradient.dtype)
    current().bag_sum(
        gradient,
        "float64" if call.storage == "float64" else "float32",
        call.bag_of[groups.positions],
        groups.offsets,
        None if weights is None else weights[groups.positions],
        False,
        sums,
    )
    return RowGrad(groups.rows, sums)


def _max_grad(call: Bag, gradient: npt.NDArray[Any], winners: npt.NDArray[np.int64]) -> RowGrad:
    """Return the gradient of the table: each column goes to the item that had the maximum."""
    groups = group(call.indices, call.weight.shape[0], "weight")
    values = np.zeros((groups.rows.size, call.out.shape[1]), gradient.dtype)
    won, cols = winners >= 0, np.arange(call.out.shape[1])
    elements = groups.row_of[winners[won]] * cols.size + np.broadcast_to(cols, won.shape)[won]
    scatter_add(values.reshape(-1), elements, gradient[won])
    return RowGrad(groups.rows, values)


@quiet
def _weights_grad(call: Bag, gradient: npt.NDArray[Any], norms: Norms | None) -> npt.NDArray[Any]:
    """Return the gradient of the weights: 0 where the index is padding."""
    products = np.empty(call.indices.size, gradient.dtype)
    table, ids = _readable(call)
    assert call.storage is not None
    bad = current().bag_dot(table, call.storage, ids, call.offsets, gradient, products)
    _require_in_range(call, bad)
    if norms is not None:
        products = through_norms(products, call, norms)
    grad = np.zeros(call.given.shape, call.out.dtype)
    grad.reshape(-1)[slice(None) if call.kept is None else call.kept] = products
    return grad
