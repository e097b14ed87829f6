"""The Elman recurrence."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy.typing as npt

from embedrnn import _check
from embedrnn._cells import rnn_cell
from embedrnn._docs import RECURRENCE, documented
from embedrnn._forward import forward, vjp


@documented(RECURRENCE)
def rnn_forward(
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
    nonlinearity: Literal["tanh", "relu"] = "tanh",
    leak: npt.ArrayLike | None = None,
    reverse: bool = False,
    out: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Run an Elman layer over padded or ragged sequences.

    h' = act(x W_ih^T + b_ih + h W_hh^T + b_hh), or with a leak a, of echo state networks [2]_ and
    continuous-time networks, h' = (1 - a) h + a act(...).

    Parameters
    ----------
    {x}
    weight_ih : array_like, shape (H, I), dtype of `x`
    weight_hh : array_like, shape (H, H), dtype of `x`
    bias_ih, bias_hh : array_like, shape (H,), dtype of `x`, optional
        Zeros if absent.
    {lengths, offsets, resets, h_0}
    nonlinearity : {"tanh", "relu"}
    leak : float or array_like, shape (H,), dtype of `x`, optional
        The part of the way that a unit goes in a step; all of it if absent. A number, which is that
        of every unit, must be in (0, 1]. An array is a parameter as the weights are, which may have
        learned to be anything: its numbers are not looked at.
    {reverse, out}

    Returns
    -------
    {output, h_n}

    Raises
    ------
    {TypeError, ValueError}

    Notes
    -----
    The definition is that of `torch.nn.RNN` [1]_ on packed sequences, but that a length of 0 is
    allowed.

    References
    ----------
    .. [1] J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990), 179-211.
    .. [2] H. Jaeger, M. Lukosevicius, D. Popovici and U. Siewert, "Optimization and applications of
       echo state networks with leaky-integrator neurons", Neural Networks 20 (2007), 335-352.

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
    _check.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    cell = rnn_cell(nonlinearity, leak is not None)
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, leak)
    output, (h_n,) = forward(
        cell, x, weights, (h_0,), lengths=lengths, offsets=offsets, resets=resets,
        reverse=reverse, out=out,
    )  # fmt: skip
    return output, h_n


@documented(RECURRENCE)
class RNNGrads(NamedTuple):
    """The gradients of an `rnn_forward`.

    Attributes
    ----------
    {gradient of x}
    weight_ih, weight_hh, bias_ih, bias_hh, h_0 : ndarrays
        Of the shape of the argument; None of one that was not given.
    leak : ndarray, shape (H,)
        Of that of each unit, also if one number was given for all; None if none was.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> one = np.ones((1, 1))
    >>> _, backward = er.rnn_vjp(np.ones((1, 2, 1)), one, one, h_0=one, nonlinearity="relu")
    >>> grads = backward(grad_state=one)
    >>> grads.weight_ih, grads.weight_hh, grads.bias_ih, grads.h_0
    (array([[2.]]), array([[3.]]), None, array([[1.]]))
    """

    x: npt.NDArray[Any]
    weight_ih: npt.NDArray[Any]
    weight_hh: npt.NDArray[Any]
    bias_ih: npt.NDArray[Any] | None
    bias_hh: npt.NDArray[Any] | None
    h_0: npt.NDArray[Any] | None
    leak: npt.NDArray[Any] | None = None


@documented(RECURRENCE)
def rnn_vjp(
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
    nonlinearity: Literal["tanh", "relu"] = "tanh",
    leak: npt.ArrayLike | None = None,
    reverse: bool = False,
) -> tuple[tuple[npt.NDArray[Any], npt.NDArray[Any]], Callable[..., RNNGrads]]:
    """Run `rnn_forward`, and return what it gives and its vector-Jacobian product.

    Parameters
    ----------
    x, weight_ih, weight_hh, bias_ih, bias_hh, lengths, offsets, resets, h_0
        As in `rnn_forward`.
    nonlinearity, leak, reverse
        As in `rnn_forward`.

    Returns
    -------
    (output, h_n) : tuple
        What `rnn_forward` returns, with the same bits.
    {backward}
        It returns `RNNGrads`, one gradient for each argument.

    Raises
    ------
    TypeError, ValueError
        As `rnn_forward` does; of `backward`, if a gradient has another shape or dtype.

    Notes
    -----
    The definition is that of `torch.nn.RNN`. For each valid step, I + 2H numbers are kept.
    Where the sum of "relu" is 0, its gradient is 0.
    {backpropagation through time}

    References
    ----------
    {Werbos}

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> x, one = np.array([[[1.0], [2.0]]]), np.ones((1, 1))
    >>> (output, h_n), backward = er.rnn_vjp(x, one, one, nonlinearity="relu")
    >>> backward(np.ones((1, 2, 1))).x[..., 0]
    array([[2., 1.]])
    """
    _check.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
    cell = rnn_cell(nonlinearity, leak is not None)
    weights = (weight_ih, weight_hh, bias_ih, bias_hh, leak)
    output, (h_n,), backward = vjp(
        cell, RNNGrads, x, weights, (h_0,), lengths=lengths, offsets=offsets, resets=resets,
        reverse=reverse,
    )  # fmt: skip
    return (output, h_n), backward
