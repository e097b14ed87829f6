"""The Elman recurrence."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@np.errstate(invalid="ignore", over="ignore")  # infinity - infinity passes, as in compiled code
def rnn_forward(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
    lengths: npt.NDArray[np.int64] | None,
    h_0: Array | None,
    nonlinearity: str,
    reverse: bool,
    output: Array,
    h_n: Array,
) -> None:
    """Fill output and h_n, one time step after another; only valid steps are touched."""
    steps = np.full(x.shape[0], x.shape[1]) if lengths is None else lengths
    h_n[...] = 0 if h_0 is None else h_0
    output[...] = 0
    for step in range(x.shape[1]):
        alive = np.flatnonzero(steps > step)
        t = steps[alive] - 1 - step if reverse else np.full(alive.size, step)
        preactivation = x[alive, t] @ weight_ih.T + h_n[alive] @ weight_hh.T
        for bias in (bias_ih, bias_hh):
            if bias is not None:
                preactivation += bias
        h_n[alive] = _activate(preactivation, nonlinearity)
        output[alive, t] = h_n[alive]


def _activate(preactivation: Array, nonlinearity: str) -> Array:
    if nonlinearity == "relu":
        return np.maximum(preactivation, 0)
    return np.tanh(preactivation)
