"""What the steps of all cells are made of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# The hidden state h, and of the LSTM the cell state c behind it.
State = tuple[Array, ...]
# From x_t and the state before a step to the state behind it.
Advance = Callable[[Array, State], State]


class Affine:
    """x W^T + b, of copies of a weight and a bias."""

    def __init__(self, weight: Array, bias: Array | None) -> None:
        self.weight = weight.copy()
        self.bias = np.zeros(len(weight), weight.dtype) if bias is None else bias.copy()

    def __call__(self, x: Array) -> Array:
        product: Array = x @ self.weight.T + self.bias
        return product

    def rows(self, start: int) -> "Affine":
        """Return the part that gives the outputs from `start` on."""
        return Affine(self.weight[start:], self.bias[start:])


def sigmoid(x: Array) -> Array:
    """Return the logistic function."""
    small = np.exp(-np.abs(x))
    result: Array = np.where(x > 0, 1, small) / (1 + small)
    return result
