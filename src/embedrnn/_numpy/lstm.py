"""The LSTM recurrence, gates in the order i, f, g, o."""

import numpy as np

from embedrnn._numpy.recurrence import Affine, Array, PackedCell, State, sigmoid


def pack_lstm(
    weight_ih: Array, weight_hh: Array, bias_ih: Array | None, bias_hh: Array | None
) -> PackedCell:
    from_x, from_h = Affine(weight_ih, bias_ih), Affine(weight_hh, bias_hh)

    def advance(x: Array, state: State) -> State:
        h, c = state
        i, f, g, o = np.split(from_x(x) + from_h(h), 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    return PackedCell(advance)
