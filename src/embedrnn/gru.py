"""The GRU recurrence."""

from typing import Any

import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current


def gru_forward(
    x: npt.ArrayLike,
    weight_ih: npt.ArrayLike,
    weight_hh: npt.ArrayLike,
    bias_ih: npt.ArrayLike | None = None,
    bias_hh: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    h_0: npt.ArrayLike | None = None,
    reset_after: bool = True,
    reverse: bool = False,
    out: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Run a GRU layer over a padded batch: h' = (1 - z) n + z h.

    With the logistic function s, r = s(x W_r + b_ir + h R_r + b_hr), z alike, and
    n = tanh(x W_n + b_in + r (h R_n + b_hn)); or, if the reset comes before the product,
    n = tanh(x W_n + b_in + (r h) R_n + b_hn).

    Parameters
    ----------
    x : array_like, shape (B, T, I), float32 or float64
        The input, of any strides: a (T, B, I) array transposed costs no copy. What stands at
        padded steps is never read.
    weight_ih : array_like, shape (3H, I), dtype of `x`
        Of the gates r, z, n, one behind the other.
    weight_hh : array_like, shape (3H, H), dtype of `x`
    bias_ih, bias_hh : array_like, shape (3H,), dtype of `x`, optional
        Zeros if absent.
    lengths : array_like of any integer dtype, shape (B,), optional
        Valid steps of each row, in [0, T] and any order; T if absent. Time taken follows them.
    h_0 : array_like, shape (B, H), dtype of `x`, optional
        The state before the first step; zeros if absent.
    reset_after : bool
        Whether the reset gate meets the state after the product, as in PyTorch and by default in
        Keras, or before it, as in the paper and by default in ONNX.
    reverse : bool
        Walk from each row's last valid step to its first. Outputs stay in time order.
    out : ndarray, shape (B, T, H), dtype of `x`, optional
        Where to put the output. May overlap the inputs, as if they had been copied before.

    Returns
    -------
    output : ndarray, shape (B, T, H)
        The state after each step, 0 at padded steps; `out` if that is given.
    h_n : ndarray, shape (B, H)
        The state after each row's last step; `h_0` where the length is 0.

    Raises
    ------
    TypeError
        If an array has another dtype.
    ValueError
        If a shape does not fit, a length is outside [0, T], or `out` is read-only.

    Notes
    -----
    Each row has the same bits alone and in any batch, whatever its padding holds and however many
    threads there are. The definition is that of `torch.nn.GRU` on packed sequences, but that a
    length of 0 is allowed; the cell is that of [1]_, z meaning what it keeps.

    References
    ----------
    .. [1] K. Cho et al., "Learning phrase representations using RNN encoder-decoder for
       statistical machine translation", EMNLP 2014.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> output, h_n = er.gru_forward(np.ones((1, 2, 1)), np.ones((3, 1)), np.zeros((3, 1)))
    >>> np.round(output[..., 0], 4)
    array([[0.2048, 0.3546]])
    """
    call = _check.recurrence(x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, h_0, out, gates=3)
    packed = current().pack_gru(
        call.weight_ih, call.weight_hh, call.bias_ih, call.bias_hh, bool(reset_after)
    )
    packed.forward(call.x, call.lengths, call.h_0, None, bool(reverse), call.buffer, call.h_n, None)
    return _check.deliver(call), call.h_n
