"""The Elman recurrence."""

import numpy as np

from embedrnn._numpy.recurrence import Affine, Array, PackedCell, State


def pack_rnn(
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    nonlinearity: str,
) -> PackedCell:
    from_x, from_h = Affine(weight_ih, bias_ih), Affine(weight_hh, bias_hh)

    def advance(x: Array, state: State) -> State:
        preactivation = from_x(x) + from_h(state[0])
        return (np.maximum(preactivation, 0) if nonlinearity == "relu" else np.tanh(preactivation),)

    return PackedCell(advance)
