"""Rules of coalesce."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._backend import current
from embedrnn._check.array_like import Array
from embedrnn._check.arrays import behaved, native, require_numbers, storage_of
from embedrnn._check.options import flag, require_addressable, size
from embedrnn._check.rows import (
    Indices,
    at_position,
    index_error,
    require_no_negative,
    rows_and_updates,
)
from embedrnn._storage import Storage

# The greatest number of rows that the backends count to.
_MOST_ROWS = np.iinfo(np.int64).max


class Coalesce(NamedTuple):
    """Checked arguments: one update (a row) an index; `n_rows` bounds the indices.

    `storage` is that of the updates, None if the backends do not sum them.
    """

    indices: Indices
    updates: Array
    storage: Storage | None
    n_rows: int


def coalesce(
    indices: npt.ArrayLike, updates: npt.ArrayLike, num_embeddings: int | None, strict: bool
) -> Coalesce:
    """Check the arguments of a coalesce."""
    refuse_negative = flag("strict", strict)
    rows, values = rows_and_updates(indices, updates)
    require_numbers("updates", values)
    if values.shape[: rows.ndim] != rows.shape:
        raise ValueError(
            f"updates must have shape indices.shape + (...) = {rows.shape} + (...), "
            f"got {values.shape}"
        )
    if not (behaved(values) and values.flags.c_contiguous):
        values = values.astype(native(values.dtype), order="C")
    n_rows = _n_rows(rows, num_embeddings)
    if refuse_negative:
        require_no_negative(rows, "a table", n_rows)
    return Coalesce(rows, values, storage_of(values.dtype), n_rows)


def _n_rows(rows: Indices, num_embeddings: int | None) -> int:
    """Return the rows of the table; if it is unknown, as many as the indices need."""
    if num_embeddings is not None:
        return size("num_embeddings", num_embeddings, least=0)
    if rows.size == 0:
        return 0
    if int(rows.min()) < 0:
        position = int((rows < 0).argmax())
        raise IndexError(
            f"index {int(rows.ravel()[position])}{at_position(rows, position)} counts from the end "
            "of a table of unknown size: give num_embeddings"
        )
    if int(rows.max()) >= _MOST_ROWS:
        raise index_error(rows, int((rows >= _MOST_ROWS).argmax()), "any table", _MOST_ROWS)
    return int(rows.max()) + 1


def row_grad(indices: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Indices, Array]:
    """Check the fields of a RowGrad, which may have been made of anything."""
    rows, array = rows_and_updates(indices, values, "values")
    if rows.ndim != 1:
        raise ValueError(f"indices must have one axis, got shape {rows.shape}")
    if array.shape[:1] != rows.shape:
        raise ValueError(f"values must have shape {rows.shape} + (...), got {array.shape}")
    require_numbers("values", array)
    return rows, array


def require_rising(name: str, rows: Indices, table: str, n_rows: int) -> None:
    """Check rows that others take as `coalesce` returns them: of a table, each once, and rising."""
    outside = (rows < 0) | (rows >= n_rows)
    if outside.any():
        raise index_error(rows, int(outside.argmax()), table, n_rows, strict=True)
    falling = rows[1:] <= rows[:-1]
    if falling.any():
        at = int(falling.argmax()) + 1
        raise ValueError(
            f"{name} must be distinct and rising, as coalesce returns them, got {rows[at]} at "
            f"position {at} behind {rows[at - 1]}"
        )


def dense_rows(
    indices: npt.ArrayLike, values: npt.ArrayLike, num_embeddings: int
) -> tuple[Indices, Array, int]:
    """Check the fields of a RowGrad, and the rows of the table that it is a gradient of."""
    rows, array = row_grad(indices, values)
    n_rows = size("num_embeddings", num_embeddings, least=0)
    require_addressable("num_embeddings and the rows", n_rows, *array.shape[1:])
    bad = current().first_out_of_range(rows, n_rows)
    if bad >= 0:
        raise index_error(rows, bad, "a table", n_rows)
    return rows, array, n_rows
