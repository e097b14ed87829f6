"""How sequences and weights reach a backend: where steps stand, tokens in the place of features."""

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._storage import Storage

Array = npt.NDArray[Any]
Positions = npt.NDArray[np.int64]

# weight_ih, weight_hh, bias_ih, bias_hh and the diagonals of a cell, or their gradients.
Weights = tuple[Array, Array, Array | None, Array | None, Array | None]

# How the input products of tokens come about: one for each step, one for each distinct token before
# all steps, or from a table of them.
Path = Literal["steps", "distinct", "frozen"]


class Rows(NamedTuple):
    """Where the valid steps of the rows of a batch stand in arrays that have a row for each step.

    - Padded, (B, T, width): step t of row r is at [r, t], and there are `lengths` of them in a row,
      None if that is T. With holes it is at [r, times[row_starts[r] + t]].
    - (N, width): it is at row_starts[r] + t or, packed as by PyTorch, at step_starts[t] + r.
    """

    batch: int
    lengths: Positions | None
    row_starts: Positions | None = None
    step_starts: Positions | None = None
    times: Positions | None = None

    def pairs(self, shape: tuple[int, ...]) -> int:
        """Return how many valid (row, step) pairs there are in arrays of this shape."""
        return shape[0] * shape[1] if self.lengths is None else int(self.lengths.sum())


class Tokens(NamedTuple):
    """Rows of a table in the place of x.

    Step t of row r has the one that is listed in `rows`, once each, under numbers[starts[r] + t].
    They are inputs, (V, I), or where the path is "frozen" their products, (V, G * H).
    """

    table: Array
    storage: Storage
    rows: Positions
    numbers: Positions
    starts: Positions
    path: Path


class TokenGrads(NamedTuple):
    """What backward takes in the place of the gradient of x where there were tokens.

    `numbers` and `starts` are theirs; `inputs`, (U, I), are the rows that they list, and `grad` is
    what their gradients are added to.
    """

    numbers: Positions
    starts: Positions
    inputs: Array
    grad: Array


PoolMode = Literal["mean", "max"]


class Pool(NamedTuple):
    """One vector of each row: how it comes from the outputs, and what it is put into, (B, H)."""

    mode: PoolMode
    out: Array
