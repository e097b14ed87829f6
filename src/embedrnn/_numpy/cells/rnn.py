"""The Elman cell."""

from abc import abstractmethod

import numpy as np

from embedrnn._numpy.cells.step import Array, Grads, State, Step, back_relu, back_tanh


class _Rnn(Step):
    """h' = act(x W_ih^T + b_ih + h W_hh^T + b_hh)."""

    @abstractmethod
    def act(self, total: Array) -> Array:
        """Return the new state."""

    @abstractmethod
    def back_act(self, grad: Array, new: Array) -> Array:
        """Return the gradient of the sum."""

    def advance(self, projected: Array, state: State) -> tuple[State, State]:
        (h,) = state
        new = self.act(projected + self.from_h(h))
        return (new,), (new,)

    def back(
        self, x: Array, state: State, kept: State, grad: State, into: Grads
    ) -> tuple[Array, State]:
        (h,), (new,), (grad_new,) = state, kept, grad
        of_sum = self.back_act(grad_new, new)
        of_x = self.from_x.back(x, of_sum, into[0])
        return of_x, (self.from_h.back(h, of_sum, into[1]),)


class _Leaky(_Rnn):
    """h' = (1 - a) h + a act(...): a unit goes a part of the way in a step."""

    def advance(self, projected: Array, state: State) -> tuple[State, State]:
        (h,), leak = state, self.diagonal
        (n,), kept = super().advance(projected, state)
        return ((1 - leak) * h + leak * n,), kept

    def back(
        self, x: Array, state: State, kept: State, grad: State, into: Grads
    ) -> tuple[Array, State]:
        (h,), (n,), (grad_new,), leak = state, kept, grad, self.diagonal
        into[2][...] += (grad_new * (n - h)).sum(axis=0)
        of_x, (of_h,) = super().back(x, state, kept, (leak * grad_new,), into)
        return of_x, (of_h + (1 - leak) * grad_new,)


class RnnTanh(_Rnn):
    """h' = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh)."""

    def act(self, total: Array) -> Array:
        return np.tanh(total)

    def back_act(self, grad: Array, new: Array) -> Array:
        return back_tanh(grad, new)


class RnnRelu(_Rnn):
    """h' = max(x W_ih^T + b_ih + h W_hh^T + b_hh, 0)."""

    def act(self, total: Array) -> Array:
        return np.maximum(total, 0)

    def back_act(self, grad: Array, new: Array) -> Array:
        return back_relu(grad, new)


class RnnTanhLeaky(_Leaky, RnnTanh):
    """h' = (1 - a) h + a tanh(...)."""


class RnnReluLeaky(_Leaky, RnnRelu):
    """h' = (1 - a) h + a max(..., 0)."""
