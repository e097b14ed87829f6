"""The GRU recurrence, gates in the order r, z, n."""

import numpy as np

from embedrnn._numpy.recurrence import Array, Lengths, affine, quiet, sigmoid, steps


@quiet
def gru_forward(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    lengths: Lengths | None,
    h_0: Array | None,
    reset_after: bool,
    reverse: bool,
    output: Array,
    h_n: Array,
) -> None:
    """Fill output and h_n, one time step after another; only valid steps are touched."""
    hidden = h_n.shape[1]
    weight_hn = weight_hh[2 * hidden :]
    bias_hn = None if bias_hh is None else bias_hh[2 * hidden :]
    h_n[...] = 0 if h_0 is None else h_0
    output[...] = 0
    for alive, t in steps(x, lengths, reverse):
        h = h_n[alive]
        x_r, x_z, x_n = np.split(affine(x[alive, t], weight_ih, bias_ih), 3, axis=1)
        h_r, h_z, h_n_gate = np.split(affine(h, weight_hh, bias_hh), 3, axis=1)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = np.tanh(x_n + (r * h_n_gate if reset_after else affine(r * h, weight_hn, bias_hn)))
        output[alive, t] = h_n[alive] = (h - n) * z + n
