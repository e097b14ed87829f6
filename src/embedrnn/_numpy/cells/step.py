"""What the steps of all cells are made of."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# The hidden state h, and of the LSTM the cell state c behind it; or their gradients.
State = tuple[Array, ...]


class AffineGrads(NamedTuple):
    """What the gradients of a weight and of a bias are added to; there may be no bias."""

    weight: Array
    bias: Array | None

    def rows(self, rows: slice) -> "AffineGrads":
        """Return the part of those of some outputs."""
        return AffineGrads(self.weight[rows], None if self.bias is None else self.bias[rows])


# Those of the weights that x meets, of those that h meets, and of the diagonals.
Grads = tuple[AffineGrads, AffineGrads, Array]


class Affine:
    """x W^T + b, of copies of a weight and a bias."""

    def __init__(self, weight: Array, bias: Array | None) -> None:
        self.weight = weight.copy()
        self.bias = np.zeros(len(weight), weight.dtype) if bias is None else bias.copy()

    def __call__(self, x: Array) -> Array:
        product: Array = x @ self.weight.T + self.bias
        return product

    def back(self, x: Array, grad: Array, into: AffineGrads) -> Array:
        """Return the gradient of x from that of the outputs, and add those of W and b."""
        into.weight[...] += grad.T @ x
        if into.bias is not None:
            into.bias[...] += grad.sum(axis=0)
        of_x: Array = grad @ self.weight
        return of_x

    def rows(self, rows: slice) -> "Affine":
        """Return the part that gives some outputs."""
        return Affine(self.weight[rows], self.bias[rows])


class Step(ABC):
    """One step of a cell: forwards, and back.

    The diagonals of a cell meet states unit by unit: (D * H,), one behind the other.
    """

    def __init__(self, from_x: Affine, from_h: Affine, diagonal: Array) -> None:
        self.from_x, self.from_h, self.diagonal = from_x, from_h, diagonal.copy()

    def weights(self) -> tuple[Array, ...]:
        """Return all that the cell was packed of."""
        x, h = self.from_x, self.from_h
        return x.weight, x.bias, h.weight, h.bias, self.diagonal

    @abstractmethod
    def advance(self, projected: Array, state: State) -> tuple[State, State]:
        """Return the state one step later, and what `back` needs beside x and the states.

        `projected` is what `from_x` gives of x.
        """

    @abstractmethod
    def back(
        self, x: Array, state: State, kept: State, grad: State, into: Grads
    ) -> tuple[Array, State]:
        """Return the gradients of x and of the state before the step; add those of the weights.

        `state` is the one before the step, `kept` what `advance` returned with the one behind it,
        and `grad` the gradient of that one.
        """


def sigmoid(x: Array) -> Array:
    """Return the logistic function."""
    small = np.exp(-np.abs(x))
    result: Array = np.where(x > 0, 1, small) / (1 + small)
    return result


# The gradient of what a function was applied to, from the gradient of what it gave, y.


def back_sigmoid(grad: Array, y: Array) -> Array:
    """s' = s (1 - s)."""
    result: Array = grad * (y * (1 - y))
    return result


def back_tanh(grad: Array, y: Array) -> Array:
    """tanh' = 1 - tanh^2."""
    result: Array = grad * (1 - y * y)
    return result


def back_relu(grad: Array, y: Array) -> Array:
    """1 where the sum was above 0, and 0 at 0; a NaN lets the gradient pass, as in PyTorch."""
    return np.where(y <= 0, grad.dtype.type(0), grad)
