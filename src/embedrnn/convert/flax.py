"""Weights in the layout of Flax."""

from collections.abc import Mapping
from typing import Any

from embedrnn._check import convert as _check
from embedrnn._check import flag, layouts
from embedrnn.convert.gates import Array, named_alone, reordered


def from_flax_weights(
    params: Mapping[str, Mapping[str, Any]], *, layer: int = 0, reverse: bool = False
) -> dict[str, Array]:
    """Convert the parameters of a SimpleCell, GRUCell, LSTMCell or OptimizedLSTMCell of Flax.

    Parameters
    ----------
    params : mapping of str to mappings of array_like
        Of ``flax.linen`` what ``variables["params"]`` holds of the cell: for an LSTM ``ii``,
        ``if``, ``ig``, ``io`` and ``hi``, ``hf``, ``hg``, ``ho``, for a GRU ``ir``, ``iz``, ``in``
        and ``hr``, ``hz``, ``hn``, for a SimpleCell ``i`` and ``h``. Of ``flax.nnx`` what
        ``nnx.state(cell, nnx.Param)`` gives: the same, or ``dense_i`` and ``dense_h``. Each holds a
        ``kernel``, (I, H) or (H, H), of dense_i and dense_h (I, G*H) and (H, G*H), and perhaps a
        ``bias``.
    layer : int
        Which layer of a stack the parameters are named for.
    reverse : bool
        Whether they are those of the second direction, whose names end in ``_reverse``.

    Returns
    -------
    dict of ndarrays
        ``weight_ih_l0``, ``weight_hh_l0`` and, if there are biases, ``bias_ih_l0`` and
        ``bias_hh_l0``, 0 where the cell has none. The dictionaries of layers and directions make
        those of a stack together.

    Raises
    ------
    TypeError, ValueError
        If names are those of no such cell, or a shape does not fit.

    Notes
    -----
    The layouts are those of ``flax/linen/recurrent.py`` and ``flax/nnx/nn/recurrent.py``. A cell
    with another ``gate_fn`` or ``activation_fn`` and a SimpleCell that is ``residual`` compute
    something else.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> cell = {"i": {"kernel": [[1, 2]], "bias": [5, 6]}, "h": {"kernel": np.eye(2)}}
    >>> parameters = convert.from_flax_weights(cell)
    >>> parameters["weight_ih_l0"].ravel(), parameters["bias_ih_l0"], parameters["bias_hh_l0"]
    (array([1, 2]), array([5, 6]), array([0., 0.]))
    """
    layer, reverse = _check.layer_number(layer), flag("reverse", reverse)
    arrays, _ = layouts.flax_params(params)
    return named_alone(reordered(arrays, "flax", "torch"), layer, reverse=reverse)
