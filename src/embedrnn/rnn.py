"""The Elman recurrence."""

from typing import Any, Literal

import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current


def rnn_forward(
    x: npt.ArrayLike,
    weight_ih: npt.ArrayLike,
    weight_hh: npt.ArrayLike,
    bias_ih: npt.ArrayLike | None = None,
    bias_hh: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    h_0: npt.ArrayLike | None = None,
    nonlinearity: Literal["tanh", "relu"] = "tanh",
    reverse: bool = False,
    out: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Run an Elman layer over a padded batch: h' = act(x W_ih^T + b_ih + h W_hh^T + b_hh).

    Parameters
    ----------
    x : array_like, shape (B, T, I), float32 or float64
        The input, of any strides: a (T, B, I) array transposed costs no copy. What stands at
        padded steps is never read.
    weight_ih : array_like, shape (H, I), dtype of `x`
    weight_hh : array_like, shape (H, H), dtype of `x`
    bias_ih, bias_hh : array_like, shape (H,), dtype of `x`, optional
        Zeros if absent.
    lengths : array_like of any integer dtype, shape (B,), optional
        Valid steps of each row, in [0, T] and any order; T if absent. Time taken follows them.
    h_0 : array_like, shape (B, H), dtype of `x`, optional
        The state before the first step; zeros if absent.
    nonlinearity : {"tanh", "relu"}
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
    threads there are. The definition is that of `torch.nn.RNN` [1]_ on packed sequences, but that
    a length of 0 is allowed.

    References
    ----------
    .. [1] J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), 179-211.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> x = np.array([[[1.0], [2.0], [9.0]], [[3.0], [4.0], [5.0]]])
    >>> one = np.ones((1, 1))
    >>> output, h_n = er.rnn_forward(x, one, one, lengths=[2, 3], nonlinearity="relu")
    >>> output[..., 0]
    array([[ 1.,  3.,  0.],
           [ 3.,  7., 12.]])
    >>> h_n
    array([[ 3.],
           [12.]])
    """
    call = _check.recurrence(x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, h_0, out)
    _check.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    packed = current().pack_rnn(
        call.weight_ih, call.weight_hh, call.bias_ih, call.bias_hh, nonlinearity
    )
    packed.forward(call.x, call.lengths, call.h_0, None, bool(reverse), call.buffer, call.h_n, None)
    return _check.deliver(call), call.h_n
