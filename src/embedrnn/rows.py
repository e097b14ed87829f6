"""Rows of a table: gather and scatter_add."""

from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current, module, plain_gather, plain_scatter_add
from embedrnn._docs import TABLE, documented
from embedrnn._grouping import Groups, group
from embedrnn._quiet import quiet
from embedrnn._storage import Storage
from embedrnn.quantized import QuantizedRows

_Array = TypeVar("_Array", bound=npt.NDArray[Any])
_FIRST = 0  # the axis that has the rows


def gather(
    weight: npt.ArrayLike | QuantizedRows,
    indices: npt.ArrayLike,
    *,
    axis: int | None = 0,
    out: npt.NDArray[Any] | None = None,
    mode: Literal["raise", "wrap", "clip", "strict"] = "raise",
) -> Any:
    """Copy rows of a table: ``numpy.take(weight, indices, axis=0)``.

    Parameters
    ----------
    weight : array_like, shape (V, ...), any dtype, or QuantizedRows
        The table, a `numpy.memmap` included, of which only the rows asked for are read. A tensor of
        PyTorch on the CPU, what is exported by DLPack, and an Arrow array of fixed-size lists in
        one chunk are read where they lie; a null is refused. Arrays of objects are gathered by
        NumPy. The int8 rows of `quantize_rows` come as float32, or as
        halves where `out` has those.
    indices : array_like of any integer dtype, shape (...)
        Rows to copy. Negative ones count from the end.
    axis : int or None
        The axis of `weight` to take from, 0 for rows; negative ones count from the last, and V
        stands for the size of this axis. None takes elements of ``weight.ravel()``. `QuantizedRows`
        have rows only.
    out : ndarray of the shape that is returned, dtype of `weight`, optional
        Where to put the rows. It stays untouched if an index is out of range, and may overlap
        the inputs, as if they had been copied before. For `QuantizedRows` it is float32, float16 or
        bfloat16 (of ml_dtypes): to halves the float32 values are rounded, ties to even.
    mode : {"raise", "wrap", "clip", "strict"}
        What to do with an index outside [-V, V): raise; take it modulo V; take the nearest row
        (then negative indices mean row 0). "strict" raises for an index outside [0, V): it refuses
        negative ones, such as a -1 that marks padding.

    Returns
    -------
    ndarray, shape ``weight.shape[:axis] + indices.shape + weight.shape[axis + 1:]``
        The rows, or `out`: for rows the shape is ``indices.shape + weight.shape[1:]``. As in NumPy
        a scalar if that is () and there is no `out`.

    Raises
    ------
    IndexError
        If an index is out of range; the message names its position, value and the valid range.
    TypeError
        If the indices or `axis` are not integers (boolean indices are not), or `out` has another
        dtype.
    ValueError
        If `out` has another shape or is read-only, or `mode` is none of the four. If `weight` does
        not have this axis, it is a `numpy.exceptions.AxisError`.

    Notes
    -----
    Semantics are those of `numpy.take`, but for the refusal of booleans, and for bad indices, which
    are refused also where nothing would be copied. The kernels copy rows; along other axes
    `numpy.take` itself copies, on one thread, once the arguments are checked. This is the forward
    pass of an embedding; `torch.gather`, which is elementwise, is another function.

    Examples
    --------
    >>> import embedrnn as er
    >>> er.gather([[0, 1], [10, 11], [20, 21]], [[2, -1], [0, 2]])
    array([[[20, 21],
            [20, 21]],
    <BLANKLINE>
           [[ 0,  1],
            [20, 21]]])
    >>> er.gather([[0, 1], [10, 11], [20, 21]], [1, 1, 0], axis=1)
    array([[ 1,  1,  0],
           [11, 11, 10],
           [21, 21, 20]])
    """
    if axis is not _FIRST:  # the cheapest question; a 0 that is another object comes back
        return _gather_along(weight, indices, axis, out, mode)
    table: Any = weight
    ids: Any = indices
    known_mode: str = mode
    storage, backend = None, current()
    rows = buffer = plain_gather(table, ids, out, mode)
    if rows is None or buffer is None:
        if not isinstance(table, QuantizedRows):
            table = _check.as_array("weight", table)
        table, storage, ids, known_mode, rows, buffer = _check.gather(table, ids, out, mode)
        if not _check.has_rows(table):
            backend = module("numpy")
    bad = backend.gather(table, storage, ids, known_mode, buffer, buffer is out)
    if bad >= 0:
        raise _check.index_error(ids, bad, "weight", len(table))
    if buffer is not rows:
        rows[...] = buffer
    return rows if rows.ndim or out is not None else rows[()]


def _gather_along(
    weight: npt.ArrayLike | QuantizedRows,
    indices: npt.ArrayLike,
    axis: int | None,
    out: npt.NDArray[Any] | None,
    mode: Any,
) -> Any:
    """Gather along any axis.

    NumPy walks other axes than the first in the order of memory. The kernels, given that axis first
    by a view, would walk a matrix down its columns.
    """
    table: Any = weight
    if not isinstance(table, QuantizedRows):
        table = _check.as_array("weight", table)
    table, place = _check.along(table, axis)
    if place == _FIRST:
        return gather(table, indices, out=out, mode=mode)
    ids, rows = _check.take(table, indices, place, out, mode)
    in_memory_order = table.flags.c_contiguous and table.flags.aligned
    if not in_memory_order and _check.few_rows(ids.size, table.swapaxes(0, place)):
        rows[...] = table[(slice(None),) * place + (ids,)]  # numpy.take would copy all of the table
    else:
        # No index is out of range, and in this mode numpy.take writes to `rows` without a copy.
        np.take(table, ids, axis=place, out=rows, mode="wrap")
    return rows


@documented(TABLE)
def scatter_add(
    target: _Array, indices: npt.ArrayLike, updates: npt.ArrayLike, *, strict: bool = False
) -> _Array:
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
    {strict}

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
    ids: Any = indices
    values: Any = updates
    if strict is not False or not plain_scatter_add(target, ids, values):
        call = _check.scatter_add(target, ids, values, strict)
        if call.where == "overlapping":
            return _add_to_overlapping(target, call)
        if call.where == "copy":
            return _add_to_copy(target, call)
        if call.half is not None:
            groups = group(call.indices, len(target), "target")
            _add_to_halves(target, call, groups, groups.rows)
            return target
        ids, values = call.indices, call.updates
    bad = current().scatter_add(target, ids, values)
    if bad >= 0:
        raise _check.index_error(ids, bad, "target", len(target))
    return target


def _add_to_copy(target: _Array, call: _check.ScatterAdd) -> _Array:
    """Add to a copy of the rows that are named, and write those once nothing can fail."""
    groups, table = group(call.indices, len(target), "target"), np.asarray(target)
    rows = _check.as_behaved(gather(table, groups.rows))
    if call.sums is None:
        _add_by_numpy(rows, groups.row_of, call.updates)
    elif call.half is None:
        current().scatter_add(rows, groups.row_of, call.updates)
    else:
        _add_to_halves(rows, call, groups, np.arange(groups.rows.size))
    table[groups.rows] = rows
    return target


def _add_to_halves(
    target: npt.NDArray[Any], call: _check.ScatterAdd, groups: Groups, rows: npt.NDArray[np.int64]
) -> None:
    """Add the sum of all updates of a group at once to each of these rows."""
    storage = cast("Storage", call.half)
    updates = _check.as_rows(_check.as_matrix(call.updates))
    matrix = _check.as_matrix(target)
    current().bag_add(updates, groups.positions, groups.offsets, rows, matrix, storage)


def _add_to_overlapping(target: _Array, call: _check.ScatterAdd) -> _Array:
    """Add to rows that share memory with each other, where a copy would miss what others add."""
    groups, table = group(call.indices, len(target), "target"), np.asarray(target)
    before = gather(table, groups.rows)
    try:
        _add_by_numpy(table, groups.rows[groups.row_of], call.updates)
    except BaseException:
        table[groups.rows] = before
        raise
    return target


@quiet
def _add_by_numpy(target: npt.NDArray[Any], rows: npt.NDArray[Any], updates: Any) -> None:
    try:
        np.add.at(target, rows, updates)
    except TypeError as error:  # objects may refuse
        raise TypeError(f"updates cannot be added to target: {error}") from error
