"""The Elman recurrence."""

import numpy as np

from embedrnn._numpy.recurrence import Array, Lengths, affine, quiet, steps


@quiet
def rnn_forward(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    lengths: Lengths | None,
    h_0: Array | None,
    nonlinearity: str,
    reverse: bool,
    output: Array,
    h_n: Array,
) -> None:
    """Fill output and h_n, one time step after another; only valid steps are touched."""
    h_n[...] = 0 if h_0 is None else h_0
    output[...] = 0
    for alive, t in steps(x, lengths, reverse):
        preactivation = affine(x[alive, t], weight_ih, bias_ih) + affine(
            h_n[alive], weight_hh, bias_hh
        )
        h = np.maximum(preactivation, 0) if nonlinearity == "relu" else np.tanh(preactivation)
        output[alive, t] = h_n[alive] = h
