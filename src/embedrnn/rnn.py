"""The Elman recurrence."""

from typing import Any, Literal

import numpy.typing as npt

from embedrnn import _check
from embedrnn._cells import rnn_cell
from embedrnn._docs import RECURRENCE, documented
from embedrnn._forward import forward


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
    h_0: npt.ArrayLike | None = None,
    nonlinearity: Literal["tanh", "relu"] = "tanh",
    reverse: bool = False,
    out: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Run an Elman layer over padded or ragged sequences.

    h' = act(x W_ih^T + b_ih + h W_hh^T + b_hh).

    Parameters
    ----------
    {x}
    weight_ih : array_like, shape (H, I), dtype of `x`
    weight_hh : array_like, shape (H, H), dtype of `x`
    bias_ih, bias_hh : array_like, shape (H,), dtype of `x`, optional
        Zeros if absent.
    {lengths, offsets, h_0}
    nonlinearity : {"tanh", "relu"}
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
    cell = rnn_cell(nonlinearity)
    weights = (weight_ih, weight_hh, bias_ih, bias_hh)
    output, (h_n,) = forward(
        cell, x, weights, (h_0,), lengths=lengths, offsets=offsets, reverse=reverse, out=out
    )
    return output, h_n
