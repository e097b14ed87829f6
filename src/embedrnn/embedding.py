"""Rows of a table: gather and scatter_add."""

from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current
from embedrnn._grouping import group
from embedrnn.quantized import QuantizedRows

_Array = TypeVar("_Array", bound=npt.NDArray[Any])


def gather(
    weight: npt.ArrayLike | QuantizedRows,
    indices: npt.ArrayLike,
    *,
    out: npt.NDArray[Any] | None = None,
    mode: Literal["raise", "wrap", "clip"] = "raise",
) -> Any:
    """Copy rows of a table: ``numpy.take(weight, indices, axis=0)``.

    Parameters
    ----------
    weight : array_like, shape (V, ...), any dtype, or QuantizedRows
        The table, a `numpy.memmap` included, of which only the rows asked for are read. Arrays of
        objects are handed to `numpy.take`. The int8 rows of `quantize_rows` come as float32.
    indices : array_like of any integer dtype, shape (...)
        Rows to copy. Negative ones count from the end.
    out : ndarray, shape ``indices.shape + weight.shape[1:]``, dtype of `weight`, optional
        Where to put the rows. It stays untouched if an index is out of range, and may overlap
        the inputs, as if they had been copied before.
    mode : {"raise", "wrap", "clip"}
        What to do with an index outside [-V, V): raise; take it modulo V; take the nearest row
        (then negative indices mean row 0).

    Returns
    -------
    ndarray, shape ``indices.shape + weight.shape[1:]``
        The rows, or `out`. As in NumPy a scalar if that shape is () and there is no `out`.

    Raises
    ------
    IndexError
        If an index is out of range; the message names its position, value and the valid range.
    TypeError
        If the indices are not integers (booleans are not), or `out` has another dtype.
    ValueError
        If `out` has another shape or is read-only, or `mode` is none of the three.

    Notes
    -----
    Semantics are those of `numpy.take` with ``axis=0``, but for the refusal of booleans. This is
    the forward pass of an embedding; `torch.gather`, which is elementwise, is another function.

    Examples
    --------
    >>> import embedrnn as er
    >>> er.gather([[0, 1], [10, 11], [20, 21]], [[2, -1], [0, 2]])
    array([[[20, 21],
            [20, 21]],
    <BLANKLINE>
           [[ 0,  1],
            [20, 21]]])
    """
    rows = current().try_gather(weight, indices, out, mode)
    if rows is not None:
        return rows
    if isinstance(weight, QuantizedRows):
        return _dequantize(weight, indices, out, mode)
    table = np.asarray(weight)
    if table.dtype.hasobject:
        return cast("Any", np.take)(table, indices, axis=0, out=out, mode=mode)
    call = _check.gather(table, indices, out, mode)
    bad = current().gather(call.weight, call.indices, call.buffer, mode)
    if bad >= 0:
        raise _check.index_error(call.indices, bad, "weight", table.shape[0])
    result = _check.deliver(call)
    return result[()] if out is None and result.ndim == 0 else result


def scatter_add(target: _Array, indices: npt.ArrayLike, updates: npt.ArrayLike) -> _Array:
    """Add to rows of a table in place: ``numpy.add.at(target, indices, updates)``.

    Parameters
    ----------
    target : ndarray, shape (V, ...)
        The table to add to, of any strides.
    indices : array_like of any integer dtype, shape (...)
        The row that each update goes to; negative ones count from the end. A row named several
        times gets all its updates, in order.
    updates : array_like, broadcastable to ``indices.shape + target.shape[1:]``
        What to add. May overlap the target, as if it had been copied before.

    Returns
    -------
    ndarray
        `target`.

    Raises
    ------
    IndexError
        If an index is out of range; the message names its position, value and the valid range.
    TypeError
        If `target` is not an array, or the indices are not integers (booleans and tuples are not).
    ValueError
        If `target` is read-only, or the shapes do not fit.

    Notes
    -----
    The target is untouched if anything is wrong. Results have the bits of `numpy.add.at` at any
    number of threads, but for float16 and bfloat16 (of ml_dtypes): the updates of a row are summed
    in float32, together with what the row holds, and rounded once. The compiled kernels serve these
    four dtypes and integers; others are handed to `numpy.add.at`. This is the gradient of `gather`
    with respect to its table; `torch.scatter_add`, which is elementwise, is another function.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> er.scatter_add(np.zeros((3, 2)), [2, 0, 2], [[1, 2], [3, 4], [5, 6]])
    array([[3., 4.],
           [0., 0.],
           [6., 8.]])
    """
    if current().try_scatter_add(target, indices, updates):
        return target
    call = _check.scatter_add(target, indices, updates)
    if call.sums is None:
        bad = _check.first_out_of_range(call.indices, target.shape[0])
    elif _check.is_half(target.dtype):
        bad = _add_to_halves(call)
    else:
        bad = current().scatter_add(call.target, call.indices, call.updates)
    if bad >= 0:
        raise _check.index_error(call.indices, bad, "target", target.shape[0])
    if call.sums is None:
        np.add.at(target, call.indices.ravel().astype(np.intp, copy=False), call.updates)
    return target


def _dequantize(
    weight: QuantizedRows, indices: npt.ArrayLike, out: npt.NDArray[Any] | None, mode: str
) -> npt.NDArray[np.float32]:
    """Gather rows of an int8 table: bags of one row each."""
    call = _check.gather_quantized(weight.rows, weight.shape, indices, out, mode)
    rows = call.buffer.reshape(call.indices.size, weight.shape[1])
    bad = current().bag_sum(call.weight, call.indices.reshape(-1), None, None, False, rows)
    if bad >= 0:
        raise _check.index_error(call.indices, bad, "weight", len(weight))
    return _check.deliver(call)


def _add_to_halves(call: _check.ScatterAdd) -> int:
    """Add the sum of all updates of a row at once; return the first bad position, or -1."""
    groups = group(call.indices.reshape(-1), call.target.shape[0])
    if groups.bad >= 0:
        return groups.bad
    updates = _check.as_rows(_check.as_matrix(call.updates))
    target, rows = call.target, groups.rows
    in_place = _check.is_plain_matrix(target)
    if not in_place:  # work on a copy of the rows that are named
        native = target.dtype.newbyteorder("=")
        target, rows = target[rows].astype(native, order="C"), np.arange(rows.size)
    matrix = _check.stored(target if target.ndim == 2 else _check.as_matrix(target))
    current().bag_add(updates, groups.positions, groups.offsets, rows, matrix)
    if not in_place:
        call.target[groups.rows] = target
    return -1
