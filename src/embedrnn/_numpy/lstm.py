"""The LSTM recurrence, gates in the order i, f, g, o."""

import numpy as np

from embedrnn._numpy.recurrence import Array, Lengths, affine, quiet, sigmoid, steps


@quiet
def lstm_forward(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    lengths: Lengths | None,
    h_0: Array | None,
    c_0: Array | None,
    reverse: bool,
    output: Array,
    h_n: Array,
    c_n: Array,
) -> None:
    """Fill output, h_n and c_n, one time step after another; only valid steps are touched."""
    h_n[...] = 0 if h_0 is None else h_0
    c_n[...] = 0 if c_0 is None else c_0
    output[...] = 0
    for alive, t in steps(x, lengths, reverse):
        preactivation = affine(x[alive, t], weight_ih, bias_ih) + affine(
            h_n[alive], weight_hh, bias_hh
        )
        i, f, g, o = np.split(preactivation, 4, axis=1)
        c = sigmoid(f) * c_n[alive] + sigmoid(i) * np.tanh(g)
        c_n[alive] = c
        output[alive, t] = h_n[alive] = sigmoid(o) * np.tanh(c)
