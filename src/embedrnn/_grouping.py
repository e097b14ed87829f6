"""The updates of each row, together: what the sums of row-sparse gradients start from."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._backend import current
from embedrnn._check.rows import Indices, index_error

Positions = npt.NDArray[np.int64]


class Groups(NamedTuple):
    """Distinct rows, rising; row i is named at positions[offsets[i]:offsets[i + 1]]."""

    rows: Positions
    positions: Positions
    offsets: Positions

    @property
    def counts(self) -> Positions:
        """Return how often each row is named."""
        return np.diff(self.offsets)

    @property
    def row_of(self) -> Positions:
        """Return, for each index, where in `rows` the row is that it names."""
        inverse = np.empty_like(self.positions)
        inverse[self.positions] = np.repeat(np.arange(self.rows.size), self.counts)
        return inverse


def group(indices: Indices, n_rows: int, table: str) -> Groups:
    """Sort the flat positions of indices by the row of the table that they name.

    Raises IndexError, with the name of the table, if it has not so many rows.
    """
    rows, positions = np.empty((2, indices.size), np.int64)
    offsets = np.empty(indices.size + 1, np.int64)
    bad, count = current().group_rows(indices.reshape(-1), n_rows, rows, positions, offsets)
    if bad >= 0:
        raise index_error(indices, bad, table, n_rows)
    return Groups(rows[:count], positions, offsets[: count + 1])
