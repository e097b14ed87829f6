"""The LSTM cell, gates in the order i, f, g, o."""

import numpy as np

from embedrnn._numpy.cells.step import Advance, Affine, Array, State, sigmoid


def lstm(from_x: Affine, from_h: Affine) -> Advance:
    """c' = f c + i g, h' = o tanh(c')."""

    def advance(x: Array, state: State) -> State:
        h, c = state
        i, f, g, o = np.split(from_x(x) + from_h(h), 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    return advance
