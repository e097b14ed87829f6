"""The packed cell and its walk over time, which every kind of cell shares."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Lengths = npt.NDArray[np.int64]
# The state h, and of the LSTM c behind it.
State = tuple[Array, ...]

# Infinity - infinity and the like pass without a warning, as in compiled code.
quiet = np.errstate(invalid="ignore", over="ignore", under="ignore")


class PackedCell:
    """A cell with weights of its own: `advance(x_t, state)` returns the state one step later."""

    def __init__(self, advance: Callable[[Array, State], State]) -> None:
        self._advance = advance

    @quiet
    def forward(
        self,
        x: Array,
        lengths: Lengths | None,
        h_0: Array | None,
        c_0: Array | None,
        reverse: bool,
        output: Array,
        h_n: Array,
        c_n: Array | None,
    ) -> None:
        """Fill output, h_n and c_n, one step after another; only valid steps are touched."""
        state = (h_n,) if c_n is None else (h_n, c_n)
        for part, start in zip(state, (h_0, c_0), strict=False):
            part[...] = 0 if start is None else start
        output[...] = 0
        for alive, t in steps(x, lengths, reverse):
            new = self._advance(x[alive, t], tuple(part[alive] for part in state))
            for part, value in zip(state, new, strict=True):
                part[alive] = value
            output[alive, t] = new[0]

    @quiet
    def step(
        self, x_t: Array, h: Array, c: Array | None, h_out: Array, c_out: Array | None
    ) -> None:
        """Fill h_out and c_out, which may overlap the inputs, with the state a step later."""
        new = self._advance(x_t, (h,) if c is None else (h, c))
        for out, value in zip((h_out, c_out), new, strict=False):
            if out is not None:
                out[...] = value


def steps(x: Array, lengths: Lengths | None, reverse: bool) -> Iterator[tuple[Array, Array]]:
    """Yield the rows still alive in each step of the walk, and the time that each is at."""
    valid = np.full(x.shape[0], x.shape[1]) if lengths is None else lengths
    for step in range(x.shape[1]):
        alive = np.flatnonzero(valid > step)
        yield alive, valid[alive] - 1 - step if reverse else np.full(alive.size, step)


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
