"""The GRU cell, gates in the order r, z, n."""

import numpy as np

from embedrnn._numpy.cells.step import Advance, Affine, Array, State, sigmoid


def gru(from_x: Affine, from_h: Affine) -> Advance:
    """n = tanh(x W_n + b_in + r (h R_n + b_hn)): the reset gate meets the product."""

    def advance(x: Array, state: State) -> State:
        (h,) = state
        x_r, x_z, x_n = np.split(from_x(x), 3, axis=1)
        h_r, h_z, h_n = np.split(from_h(h), 3, axis=1)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        return (_updated(h, z, np.tanh(x_n + r * h_n)),)

    return advance


def gru_reset_before(from_x: Affine, from_h: Affine) -> Advance:
    """n = tanh(x W_n + b_in + (r h) R_n + b_hn): the reset gate meets the state."""
    candidate = from_h.rows(len(from_h.bias) // 3 * 2)

    def advance(x: Array, state: State) -> State:
        (h,) = state
        x_r, x_z, x_n = np.split(from_x(x), 3, axis=1)
        h_r, h_z, _ = np.split(from_h(h), 3, axis=1)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        return (_updated(h, z, np.tanh(x_n + candidate(r * h))),)

    return advance


def _updated(h: Array, z: Array, n: Array) -> Array:
    """Return (1 - z) n + z h, evaluated as PyTorch does."""
    return (h - n) * z + n
