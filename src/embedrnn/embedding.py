"""Rows of a table: gather and scatter_add."""

from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current

_Array = TypeVar("_Array", bound=npt.NDArray[Any])


def gather(
    weight: npt.ArrayLike,
    indices: npt.ArrayLike,
    *,
    out: npt.NDArray[Any] | None = None,
    mode: Literal["raise", "wrap", "clip"] = "raise",
) -> Any:
    """Copy rows of a table: ``numpy.take(weight, indices, axis=0)``.

    Parameters
    ----------
    weight : array_like, shape (V, ...), any dtype
        The table. Arrays of objects are handed to `numpy.take`.
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
    number of threads. The compiled kernels serve float32 and float64; other dtypes are handed to
    `numpy.add.at`. This is the gradient of `gather` with respect to its table;
    `torch.scatter_add`, which is elementwise, is another function.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> er.scatter_add(np.zeros((3, 2)), [2, 0, 2], [[1, 2], [3, 4], [5, 6]])
    array([[3., 4.],
           [0., 0.],
           [6., 8.]])
    """
    call = _check.scatter_add(target, indices, updates)
    if call.native:
        bad = current().scatter_add(call.target, call.indices, call.updates)
    else:
        bad = _check.first_out_of_range(call.indices, target.shape[0])
    if bad >= 0:
        raise _check.index_error(call.indices, bad, "target", target.shape[0])
    if not call.native:
        np.add.at(target, call.indices.ravel().astype(np.intp, copy=False), call.updates)
    return target
