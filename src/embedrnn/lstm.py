"""The LSTM recurrence."""

from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current


def lstm_forward(
    x: npt.ArrayLike,
    weight_ih: npt.ArrayLike,
    weight_hh: npt.ArrayLike,
    bias_ih: npt.ArrayLike | None = None,
    bias_hh: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    h_0: npt.ArrayLike | None = None,
    c_0: npt.ArrayLike | None = None,
    reverse: bool = False,
    out: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Run an LSTM layer over a padded batch: c' = f c + i g, h' = o tanh(c').

    The gates are i, f, o = s(x W + b_ih + h R + b_hh) with the logistic function s, each with its
    own weights, and g = tanh of the same.

    Parameters
    ----------
    x : array_like, shape (B, T, I), float32 or float64
        The input, of any strides: a (T, B, I) array transposed costs no copy. What stands at
        padded steps is never read.
    weight_ih : array_like, shape (4H, I), dtype of `x`
        Of the gates i, f, g, o, one behind the other.
    weight_hh : array_like, shape (4H, H), dtype of `x`
    bias_ih, bias_hh : array_like, shape (4H,), dtype of `x`, optional
        Zeros if absent.
    lengths : array_like of any integer dtype, shape (B,), optional
        Valid steps of each row, in [0, T] and any order; T if absent. Time taken follows them.
    h_0, c_0 : array_like, shape (B, H), dtype of `x`, optional
        The hidden and the cell state before the first step; zeros if absent.
    reverse : bool
        Walk from each row's last valid step to its first. Outputs stay in time order.
    out : ndarray, shape (B, T, H), dtype of `x`, optional
        Where to put the output. May overlap the inputs, as if they had been copied before.

    Returns
    -------
    output : ndarray, shape (B, T, H)
        The hidden state after each step, 0 at padded steps; `out` if that is given.
    (h_n, c_n) : ndarrays, shape (B, H)
        The states after each row's last step; `h_0` and `c_0` where the length is 0.

    Raises
    ------
    TypeError
        If an array has another dtype.
    ValueError
        If a shape does not fit, a length is outside [0, T], or `out` is read-only.

    Notes
    -----
    Each row has the same bits alone and in any batch, whatever its padding holds and however many
    threads there are. The definition is that of `torch.nn.LSTM` [1]_ on packed sequences, but that
    a length of 0 is allowed.

    References
    ----------
    .. [1] S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997),
       1735-1780, with the forget gate of F. Gers et al. (2000).

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> output, (h_n, c_n) = er.lstm_forward(np.ones((1, 2, 1)), np.ones((4, 1)), np.zeros((4, 1)))
    >>> np.round(output[..., 0], 4)
    array([[0.3696, 0.5453]])
    """
    call = _check.recurrence(
        x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, h_0, out, gates=4, c_0=c_0
    )
    c_n = np.empty_like(call.h_n)
    packed = current().pack_lstm(call.weight_ih, call.weight_hh, call.bias_ih, call.bias_hh)
    packed.forward(
        call.x, call.lengths, call.h_0, call.c_0, bool(reverse), call.buffer, call.h_n, c_n
    )
    return _check.deliver(call), (call.h_n, c_n)
