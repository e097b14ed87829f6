"""Which updates go to which row."""

import numpy as np
import numpy.typing as npt

from embedrnn._numpy.embedding import Indices, first_out_of_range

Positions = npt.NDArray[np.int64]


def group_rows(
    indices: Indices, n_rows: int, rows: Positions, positions: Positions, offsets: Positions
) -> tuple[int, int]:
    """Fill in the distinct rows, the positions of each and where they begin.

    Returns the first bad position or -1, and the number of rows; writes nothing in the first case.
    """
    bad = first_out_of_range(indices, n_rows)
    if bad >= 0:
        return bad, 0
    named = indices.astype(np.int64)
    named[named < 0] += n_rows
    distinct, counts = np.unique(named, return_counts=True)
    rows[: distinct.size] = distinct
    positions[...] = np.argsort(named, kind="stable")
    offsets[: distinct.size + 1] = np.concatenate(([0], counts.cumsum()))
    return -1, distinct.size
