"""Weights in the layout of Core ML."""

from collections.abc import Sequence

import numpy.typing as npt

from embedrnn._check import convert as _check
from embedrnn._check import flag, layouts
from embedrnn.convert.gates import Array, forgetting, named_alone, reordered


def from_coreml_weights(
    W_h: Sequence[npt.ArrayLike],
    W_x: Sequence[npt.ArrayLike],
    b: Sequence[npt.ArrayLike] | None = None,
    peep: Sequence[npt.ArrayLike] | None = None,
    *,
    forget_bias: bool = False,
    layer: int = 0,
    reverse: bool = False,
) -> dict[str, Array]:
    """Convert the weights of a recurrent layer of a Core ML neural network.

    Parameters
    ----------
    W_h : list of array_like, each of shape (H, H)
        As `add_simple_rnn`, `add_gru` and `add_unilstm` of ``coremltools`` take them, one for each
        gate: R_i, R_f, R_o and R_z of an LSTM, R_z, R_r and R_o of a GRU, one of a simple RNN.
        Here and below arrays may be flat, as a file has them.
    W_x : list of array_like, each of shape (H, I)
        In the same order.
    b : list of array_like, each of shape (H,), optional
        In the same order.
    peep : list of array_like, each of shape (H,), optional
        Of an LSTM: p_i, p_f and p_o.
    forget_bias : bool
        Of an LSTM: whether 1 is added to the bias of the forget gate, as ``forgetBias`` says.
    layer : int
        Which layer of a stack the parameters are named for.
    reverse : bool
        Whether they are those of the second direction, whose names end in ``_reverse``.

    Returns
    -------
    dict of ndarrays
        Named as by `from_tf1_weights`. A GRU has ``reset_after=False``.

    Raises
    ------
    TypeError, ValueError
        If there are not as many arrays as gates, or a shape does not fit.

    Notes
    -----
    The layouts are those of ``GRULayerParams`` and ``LSTMWeightParams`` in Core ML's
    ``NeuralNetwork.proto``. A layer computes something else if its activations are others than
    sigmoid and tanh (`add_gru` takes ``SIGMOID_HARD`` if none is named), if the input and the
    forget gate are coupled, or where it clips its cell state, as it does at 50 by default.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> W_x = [np.array([[gate]]) for gate in (1, 2, 3, 4)]
    >>> convert.from_coreml_weights([np.zeros((1, 1))] * 4, W_x)["weight_ih_l0"].ravel()
    array([1, 2, 4, 3])
    """
    layer, reverse = _check.layer_number(layer), flag("reverse", reverse)
    added = flag("forget_bias", forget_bias)
    arrays, peepholes = layouts.coreml_weights(W_h, W_x, b, peep, forget_bias=added)
    arrays = reordered(arrays, "coreml", "torch")
    return named_alone(
        forgetting(arrays, 1.0) if added else arrays, layer, reverse=reverse, peepholes=peepholes
    )
