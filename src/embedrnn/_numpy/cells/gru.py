"""The GRU cell, gates in the order r, z, n."""

import numpy as np

from embedrnn._numpy.cells.step import (
    Affine,
    Array,
    Grads,
    State,
    Step,
    back_sigmoid,
    back_tanh,
    sigmoid,
)


class Gru(Step):
    """n = tanh(x W_n + b_in + r (h R_n + b_hn)): the reset gate meets the product."""

    def advance(self, projected: Array, state: State) -> tuple[State, State]:
        (h,) = state
        x_r, x_z, x_n = np.split(projected, 3, axis=1)
        h_r, h_z, h_n = np.split(self.from_h(h), 3, axis=1)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = np.tanh(x_n + r * h_n)
        return (_updated(h, z, n),), (r, z, n, h_n)

    def back(
        self, x: Array, state: State, kept: State, grad: State, into: Grads
    ) -> tuple[Array, State]:
        (h,), (r, z, n, h_n), (grad_new,) = state, kept, grad
        grad_z, grad_n = _back_updated(h, z, n, grad_new)
        grad_r = back_sigmoid(grad_n * h_n, r)
        of_x = self.from_x.back(x, np.hstack((grad_r, grad_z, grad_n)), into[0])
        of_h = self.from_h.back(h, np.hstack((grad_r, grad_z, grad_n * r)), into[1])
        return of_x, (of_h + grad_new * z,)


class GruResetBefore(Step):
    """n = tanh(x W_n + b_in + (r h) R_n + b_hn): the reset gate meets the state."""

    def __init__(self, from_x: Affine, from_h: Affine, diagonal: Array) -> None:
        super().__init__(from_x, from_h, diagonal)
        units = len(from_h.bias) // 3
        self._gates, self._candidate = slice(2 * units), slice(2 * units, None)
        self._gates_of_h = from_h.rows(self._gates)
        self._candidate_of_h = from_h.rows(self._candidate)

    def advance(self, projected: Array, state: State) -> tuple[State, State]:
        (h,) = state
        x_r, x_z, x_n = np.split(projected, 3, axis=1)
        h_r, h_z = np.split(self._gates_of_h(h), 2, axis=1)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = np.tanh(x_n + self._candidate_of_h(r * h))
        return (_updated(h, z, n),), (r, z, n)

    def back(
        self, x: Array, state: State, kept: State, grad: State, into: Grads
    ) -> tuple[Array, State]:
        (h,), (r, z, n), (grad_new,) = state, kept, grad
        grad_z, grad_n = _back_updated(h, z, n, grad_new)
        of_rh = self._candidate_of_h.back(r * h, grad_n, into[1].rows(self._candidate))
        grad_r = back_sigmoid(of_rh * h, r)
        of_x = self.from_x.back(x, np.hstack((grad_r, grad_z, grad_n)), into[0])
        gates = np.hstack((grad_r, grad_z))
        of_h = self._gates_of_h.back(h, gates, into[1].rows(self._gates))
        return of_x, (of_h + of_rh * r + grad_new * z,)


def _updated(h: Array, z: Array, n: Array) -> Array:
    """Return (1 - z) n + z h, evaluated as PyTorch does."""
    return (h - n) * z + n


def _back_updated(h: Array, z: Array, n: Array, grad: Array) -> tuple[Array, Array]:
    """Return the gradients of what z and n are the functions of."""
    return back_sigmoid(grad * (h - n), z), back_tanh(grad * (1 - z), n)
