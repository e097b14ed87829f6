"""The LSTM recurrence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy.typing as npt

from embedrnn._cells import lstm_cell
from embedrnn._docs import RECURRENCE, documented
from embedrnn._forward import forward, vjp


@documented(RECURRENCE)
def lstm_forward(
    x: npt.ArrayLike,
    weight_ih: npt.ArrayLike,
    weight_hh: npt.ArrayLike,
    bias_ih: npt.ArrayLike | None = None,
    bias_hh: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    offsets: npt.ArrayLike | None = None,
    resets: npt.ArrayLike | None = None,
    h_0: npt.ArrayLike | None = None,
    c_0: npt.ArrayLike | None = None,
    weight_ch: npt.ArrayLike | None = None,
    reverse: bool = False,
    out: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Run an LSTM layer over padded or ragged sequences: c' = f c + i g, h' = o tanh(c').

    The gates are i, f, o = s(x W + b_ih + h R + b_hh) with the logistic function s, each with its
    own weights, and g = tanh of the same. With peepholes [2]_ i and f see the cell state before the
    step, and o that behind it, each through a weight of its unit.

    Parameters
    ----------
    {x}
    weight_ih : array_like, shape (4H, I), dtype of `x`
        Of the gates i, f, g, o, one behind the other.
    weight_hh : array_like, shape (4H, H), dtype of `x`
    bias_ih, bias_hh : array_like, shape (4H,), dtype of `x`, optional
        Zeros if absent.
    {lengths, offsets, resets}
    h_0, c_0 : array_like, shape (B, H), dtype of `x`, optional
        The hidden and the cell state before the first step; zeros if absent.
    weight_ch : array_like, shape (3H,), dtype of `x`, optional
        The peepholes of the gates i, f and o; none if absent.
    {reverse, out}

    Returns
    -------
    {output}
    (h_n, c_n) : ndarrays, shape (B, H)
        The states after each row's last step; `h_0` and `c_0` where the length is 0.

    Raises
    ------
    {TypeError, ValueError}

    Notes
    -----
    The definition is that of `torch.nn.LSTM` [1]_ on packed sequences, but that a length of 0 is
    allowed.

    References
    ----------
    .. [1] S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997),
       1735-1780, with the forget gate of F. Gers et al. (2000).
    .. [2] F. A. Gers, N. N. Schraudolph and J. Schmidhuber, "Learning precise timing with LSTM
       recurrent networks", Journal of Machine Learning Research 3 (2002), 115-143; as in ONNX.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> output, (h_n, c_n) = er.lstm_forward(np.ones((1, 2, 1)), np.ones((4, 1)), np.zeros((4, 1)))
    >>> np.round(output[..., 0], 4)
    array([[0.3696, 0.5453]])
    """
    cell = lstm_cell(weight_ch is not None)
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, weight_ch)
    output, (h_n, c_n) = forward(
        cell, x, weights, (h_0, c_0), lengths=lengths, offsets=offsets, resets=resets,
        reverse=reverse, out=out,
    )  # fmt: skip
    return output, (h_n, c_n)


@documented(RECURRENCE)
class LSTMGrads(NamedTuple):
    """The gradients of an `lstm_forward`.

    Attributes
    ----------
    {gradient of x}
    weight_ih, weight_hh, bias_ih, bias_hh, h_0, c_0, weight_ch : ndarrays
        Of the shape of the argument; None of one that was not given.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> zeros, one = np.zeros((4, 1)), np.ones((1, 1))
    >>> _, backward = er.lstm_vjp(np.ones((1, 2, 1)), zeros, zeros, c_0=one)
    >>> grads = backward(grad_state=(None, one))
    >>> grads.weight_ih.ravel(), grads.bias_ih, grads.c_0
    (array([0.  , 0.25, 0.75, 0.  ]), None, array([[0.25]]))
    """

    x: npt.NDArray[Any]
    weight_ih: npt.NDArray[Any]
    weight_hh: npt.NDArray[Any]
    bias_ih: npt.NDArray[Any] | None
    bias_hh: npt.NDArray[Any] | None
    h_0: npt.NDArray[Any] | None
    c_0: npt.NDArray[Any] | None
    weight_ch: npt.NDArray[Any] | None = None


@documented(RECURRENCE)
def lstm_vjp(
    x: npt.ArrayLike,
    weight_ih: npt.ArrayLike,
    weight_hh: npt.ArrayLike,
    bias_ih: npt.ArrayLike | None = None,
    bias_hh: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    offsets: npt.ArrayLike | None = None,
    resets: npt.ArrayLike | None = None,
    h_0: npt.ArrayLike | None = None,
    c_0: npt.ArrayLike | None = None,
    weight_ch: npt.ArrayLike | None = None,
    reverse: bool = False,
) -> tuple[
    tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], npt.NDArray[Any]]], Callable[..., LSTMGrads]
]:
    """Run `lstm_forward`, and return what it gives and its vector-Jacobian product.

    Parameters
    ----------
    x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, offsets, resets, h_0, c_0
        As in `lstm_forward`.
    weight_ch, reverse
        As in `lstm_forward`.

    Returns
    -------
    (output, state) : tuple
        What `lstm_forward` returns, with the same bits.
    {backward}
        `grad_state` is a tuple of two, for h_n and c_n, either of which may be None. It returns
        `LSTMGrads`, one gradient for each argument.

    Raises
    ------
    TypeError, ValueError
        As `lstm_forward` does; of `backward`, if a gradient has another shape or dtype.

    Notes
    -----
    The definition is that of `torch.nn.LSTM`. For each valid step, I + 6H numbers are kept.
    {backpropagation through time}

    References
    ----------
    {Werbos}

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> x, weight_ih, weight_hh = np.ones((1, 2, 1)), np.ones((4, 1)), np.zeros((4, 1))
    >>> (output, (h_n, c_n)), backward = er.lstm_vjp(x, weight_ih, weight_hh)
    >>> np.round(backward(np.ones((1, 2, 1))).x[..., 0], 4)
    array([[0.4562, 0.3303]])
    """
    cell = lstm_cell(weight_ch is not None)
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, weight_ch)
    output, state, backward = vjp(
        cell, LSTMGrads, x, weights, (h_0, c_0), lengths=lengths, offsets=offsets, resets=resets,
        reverse=reverse,
    )  # fmt: skip
    return (output, (state[0], state[1])), backward
