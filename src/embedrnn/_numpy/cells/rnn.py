"""The Elman cell."""

import numpy as np

from embedrnn._numpy.cells.step import Advance, Affine


def rnn_tanh(from_x: Affine, from_h: Affine) -> Advance:
    """h' = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh)."""
    return lambda x, state: (np.tanh(from_x(x) + from_h(state[0])),)


def rnn_relu(from_x: Affine, from_h: Affine) -> Advance:
    """h' = max(x W_ih^T + b_ih + h W_hh^T + b_hh, 0)."""
    return lambda x, state: (np.maximum(from_x(x) + from_h(state[0]), 0),)
