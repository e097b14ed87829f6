"""Weights in the layout of TensorFlow 1."""

from collections.abc import Mapping
from typing import Literal

import numpy.typing as npt

from embedrnn._check import convert as _check
from embedrnn._check import flag, layouts
from embedrnn._check.options import finite
from embedrnn.convert.gates import Array, forgetting, named_alone, reordered


def from_tf1_weights(
    variables: Mapping[str, npt.ArrayLike],
    cell: Literal["rnn", "gru", "lstm"],
    prefix: str = "",
    *,
    forget_bias: float = 1.0,
    layer: int = 0,
    reverse: bool = False,
) -> dict[str, Array]:
    """Convert the variables of a cell of ``tf.nn.rnn_cell``, as a checkpoint has them.

    Parameters
    ----------
    variables : mapping of str to array_like
        Of a BasicRNNCell, BasicLSTMCell, LSTMCell or LSTMBlockCell ``kernel`` (I + H, G*H) and
        ``bias`` (G*H,), the gates of an LSTM in the order i, j, f, o; with peepholes ``w_i_diag``,
        ``w_f_diag`` and ``w_o_diag`` (H,) beside them. Of a GRUCell ``gates/kernel``,
        ``gates/bias``, ``candidate/kernel`` and ``candidate/bias``. What optimisers keep below
        these names is ignored.
    cell : {"rnn", "gru", "lstm"}
        Which cell they are of: a kernel does not tell one gate from four.
    prefix : str
        What their names begin with, such as ``"rnn/multi_rnn_cell/cell_0/lstm_cell/"``; other names
        are ignored.
    forget_bias : float
        What the cell of an LSTM adds to the forget gate, as it was built: no variable holds it.
    layer : int
        Which layer of a stack the parameters are named for.
    reverse : bool
        Whether they are those of the second direction, whose names end in ``_reverse``.

    Returns
    -------
    dict of ndarrays
        ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, and ``bias_hh_l0``, which is 0; with
        peepholes ``weight_ch_l0`` (3H,), those of i, f and o. A GRU has ``reset_after=False``. The
        dictionaries of layers and directions make those of a stack together.

    Raises
    ------
    TypeError, ValueError
        If a name is missing, there is another, as of a projection, or a shape does not fit.

    Notes
    -----
    The layouts are those of ``tensorflow/python/ops/rnn_cell_impl.py``. A cell that was built with
    ``cell_clip`` or another activation computes something else.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> cell = {"lstm/kernel": np.array([[1.0, 2.0, 3.0, 4.0]] * 2), "lstm/bias": np.zeros(4)}
    >>> parameters = convert.from_tf1_weights(cell, "lstm", "lstm/")
    >>> parameters["weight_ih_l0"].ravel(), parameters["bias_ih_l0"]
    (array([1., 3., 2., 4.]), array([0., 1., 0., 0.]))
    """
    gates, layer = layouts.gates_of(cell), _check.layer_number(layer)
    reverse, added = flag("reverse", reverse), finite("forget_bias", forget_bias)
    arrays, peepholes = layouts.tf1_variables(variables, gates, prefix)
    arrays = reordered(arrays, "tf1", "torch")
    if cell == "lstm":
        arrays = forgetting(arrays, added)
    return named_alone(arrays, layer, reverse=reverse, peepholes=peepholes)
