"""The GRU recurrence, gates in the order r, z, n."""

import numpy as np

from embedrnn._numpy.recurrence import Affine, Array, PackedCell, State, sigmoid


def pack_gru(
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    reset_after: bool,
) -> PackedCell:
    from_x, from_h = Affine(weight_ih, bias_ih), Affine(weight_hh, bias_hh)
    candidate = from_h.rows(2 * weight_hh.shape[1])

    def advance(x: Array, state: State) -> State:
        (h,) = state
        x_r, x_z, x_n = np.split(from_x(x), 3, axis=1)
        h_r, h_z, h_n = np.split(from_h(h), 3, axis=1)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = np.tanh(x_n + (r * h_n if reset_after else candidate(r * h)))
        return ((h - n) * z + n,)

    return PackedCell(advance)
