"""The LSTM cell, gates in the order i, f, g, o."""

import numpy as np

from embedrnn._numpy.cells.step import (
    Array,
    Grads,
    State,
    Step,
    back_sigmoid,
    back_tanh,
    sigmoid,
)


class Lstm(Step):
    """c' = f c + i g, h' = o tanh(c')."""

    def advance(self, projected: Array, state: State) -> tuple[State, State]:
        h, c = state
        i, f, g, o = np.split(projected + self.from_h(h), 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        new_c = f * c + i * g
        return (o * np.tanh(new_c), new_c), (i, f, g, o, new_c)

    def back(
        self, x: Array, state: State, kept: State, grad: State, into: Grads
    ) -> tuple[Array, State]:
        (h, c), (i, f, g, o, new_c), (grad_h, grad_c) = state, kept, grad
        squashed = np.tanh(new_c)
        grad_c = grad_c + back_tanh(grad_h * o, squashed)
        grad_sums = np.concatenate(
            (
                back_sigmoid(grad_c * g, i),
                back_sigmoid(grad_c * c, f),
                back_tanh(grad_c * i, g),
                back_sigmoid(grad_h * squashed, o),
            ),
            axis=1,
        )
        of_x = self.from_x.back(x, grad_sums, into[0])
        return of_x, (self.from_h.back(h, grad_sums, into[1]), grad_c * f)


class LstmPeephole(Step):
    """The LSTM whose gates see the cell state: i and f that before the step, o that behind it."""

    def advance(self, projected: Array, state: State) -> tuple[State, State]:
        h, c = state
        p_i, p_f, p_o = np.split(self.diagonal, 3)
        i, f, g, o = np.split(projected + self.from_h(h), 4, axis=1)
        i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), np.tanh(g)
        new_c = f * c + i * g
        o = sigmoid(o + p_o * new_c)
        return (o * np.tanh(new_c), new_c), (i, f, g, o, new_c)

    def back(
        self, x: Array, state: State, kept: State, grad: State, into: Grads
    ) -> tuple[Array, State]:
        (h, c), (i, f, g, o, new_c), (grad_h, grad_c) = state, kept, grad
        p_i, p_f, p_o = np.split(self.diagonal, 3)
        squashed = np.tanh(new_c)
        of_o = back_sigmoid(grad_h * squashed, o)
        grad_c = grad_c + back_tanh(grad_h * o, squashed) + of_o * p_o
        of_i, of_f = back_sigmoid(grad_c * g, i), back_sigmoid(grad_c * c, f)
        into[2][...] += np.hstack((of_i * c, of_f * c, of_o * new_c)).sum(axis=0)
        grad_sums = np.hstack((of_i, of_f, back_tanh(grad_c * i, g), of_o))
        of_x = self.from_x.back(x, grad_sums, into[0])
        of_h = self.from_h.back(h, grad_sums, into[1])
        return of_x, (of_h, grad_c * f + of_i * p_i + of_f * p_f)
