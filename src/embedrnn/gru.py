"""The GRU recurrence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy.typing as npt

from embedrnn import _check
from embedrnn._cells import gru_cell
from embedrnn._docs import RECURRENCE, documented
from embedrnn._forward import forward, vjp


@documented(RECURRENCE)
def gru_forward(
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
    reset_after: bool = True,
    reverse: bool = False,
    out: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Run a GRU layer over padded or ragged sequences: h' = (1 - z) n + z h.

    With the logistic function s, r = s(x W_r + b_ir + h R_r + b_hr), z alike, and
    n = tanh(x W_n + b_in + r (h R_n + b_hn)); or, if the reset comes before the product,
    n = tanh(x W_n + b_in + (r h) R_n + b_hn).

    Parameters
    ----------
    {x}
    weight_ih : array_like, shape (3H, I), dtype of `x`
        Of the gates r, z, n, one behind the other.
    weight_hh : array_like, shape (3H, H), dtype of `x`
    bias_ih, bias_hh : array_like, shape (3H,), dtype of `x`, optional
        Zeros if absent.
    {lengths, offsets, resets, h_0, reset_after, reverse, out}

    Returns
    -------
    {output, h_n}

    Raises
    ------
    {TypeError, ValueError}

    Notes
    -----
    The definition is that of `torch.nn.GRU` on packed sequences, but that a length of 0 is allowed;
    the cell is that of [1]_, z meaning what it keeps.

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
    cell = gru_cell(_check.flag("reset_after", reset_after))
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, None)
    output, (h_n,) = forward(
        cell, x, weights, (h_0,), lengths=lengths, offsets=offsets, resets=resets,
        reverse=reverse, out=out,
    )  # fmt: skip
    return output, h_n


@documented(RECURRENCE)
class GRUGrads(NamedTuple):
    """The gradients of a `gru_forward`.

    Attributes
    ----------
    {gradient of x}
    weight_ih, weight_hh, bias_ih, bias_hh, h_0 : ndarrays
        Of the shape of the argument; None of one that was not given.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> zeros = np.zeros((3, 1))
    >>> _, backward = er.gru_vjp(np.ones((1, 2, 1)), zeros, zeros, h_0=np.ones((1, 1)))
    >>> grads = backward(grad_state=np.ones((1, 1)))
    >>> grads.weight_ih.ravel(), grads.bias_ih, grads.h_0
    (array([0.  , 0.25, 0.75]), None, array([[0.25]]))
    """

    x: npt.NDArray[Any]
    weight_ih: npt.NDArray[Any]
    weight_hh: npt.NDArray[Any]
    bias_ih: npt.NDArray[Any] | None
    bias_hh: npt.NDArray[Any] | None
    h_0: npt.NDArray[Any] | None


@documented(RECURRENCE)
def gru_vjp(
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
    reset_after: bool = True,
    reverse: bool = False,
) -> tuple[tuple[npt.NDArray[Any], npt.NDArray[Any]], Callable[..., GRUGrads]]:
    """Run `gru_forward`, and return what it gives and its vector-Jacobian product.

    Parameters
    ----------
    x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, offsets, resets, h_0, reset_after, reverse
        As in `gru_forward`.

    Returns
    -------
    (output, h_n) : tuple
        What `gru_forward` returns, with the same bits.
    {backward}
        It returns `GRUGrads`, one gradient for each argument.

    Raises
    ------
    TypeError, ValueError
        As `gru_forward` does; of `backward`, if a gradient has another shape or dtype.

    Notes
    -----
    The definition is that of `torch.nn.GRU`. For each valid step, I + 5H numbers are kept.
    {backpropagation through time}

    References
    ----------
    {Werbos}

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> x, weight_ih, weight_hh = np.ones((1, 2, 1)), np.ones((3, 1)), np.zeros((3, 1))
    >>> (output, h_n), backward = er.gru_vjp(x, weight_ih, weight_hh)
    >>> np.round(backward(np.ones((1, 2, 1))).x[..., 0], 4)
    array([[-0.0637,  0.0035]])
    """
    cell = gru_cell(_check.flag("reset_after", reset_after))
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, None)
    output, (h_n,), backward = vjp(
        cell, GRUGrads, x, weights, (h_0,), lengths=lengths, offsets=offsets, resets=resets,
        reverse=reverse,
    )  # fmt: skip
    return (output, h_n), backward
