"""The walk over time that every recurrent cell shares."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Lengths = npt.NDArray[np.int64]

# Infinity - infinity and the like pass without a warning, as in compiled code.
quiet = np.errstate(invalid="ignore", over="ignore", under="ignore")


def steps(x: Array, lengths: Lengths | None, reverse: bool) -> Iterator[tuple[Array, Array]]:
    """Yield the rows still alive in each step of the walk, and the time that each is at."""
    valid = np.full(x.shape[0], x.shape[1]) if lengths is None else lengths
    for step in range(x.shape[1]):
        alive = np.flatnonzero(valid > step)
        yield alive, valid[alive] - 1 - step if reverse else np.full(alive.size, step)


def affine(x: Array, weight: Array, bias: Array | None) -> Array:
    """Return x W^T + b."""
    product: Array = x @ weight.T
    return product if bias is None else product + bias


def sigmoid(x: Array) -> Array:
    """Return the logistic function."""
    small = np.exp(-np.abs(x))
    result: Array = np.where(x > 0, 1, small) / (1 + small)
    return result
