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
