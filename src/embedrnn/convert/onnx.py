"""Weights in the layout of ONNX."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from embedrnn._check import convert as _check
from embedrnn.convert.gates import Array, named, reordered


def from_onnx(
    W: npt.ArrayLike, R: npt.ArrayLike, B: npt.ArrayLike | None = None, *, layer: int = 0
) -> dict[str, Array]:
    """Convert the weights of an ONNX RNN, GRU or LSTM node.

    Parameters
    ----------
    W : array_like, shape (D, G*H, I)
        For D directions and the G gates of the cell, in the order z, r, h (GRU) or i, o, f, c.
    R : array_like, shape (D, G*H, H)
    B : array_like, shape (D, 2*G*H), optional
        The input biases, then the recurrent ones.
    layer : int
        Which layer of a stack the parameters are named for.

    Returns
    -------
    dict of ndarrays
        ``weight_ih_l0``, ``weight_hh_l0`` and, with `B`, ``bias_ih_l0``, ``bias_hh_l0``; the second
        direction's end in ``_reverse``. A GRU whose ``linear_before_reset`` is 0, the default, has
        ``reset_after=False``.

    Raises
    ------
    ValueError
        If a shape does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> W, R = np.array([[[1], [2], [3], [4]]]), np.zeros((1, 4, 1))
    >>> convert.from_onnx(W, R)["weight_ih_l0"].ravel()
    array([1, 3, 4, 2])
    """
    layer = _check.layer_number(layer)
    nodes = _check.onnx_weights(W, R, B)
    return named([reordered(arrays, "onnx", "torch") for arrays in nodes], layer)


def to_onnx(
    parameters: Mapping[str, npt.ArrayLike], *, layer: int = 0
) -> tuple[Array, Array, Array | None]:
    """Convert one layer's parameters to the inputs W, R and B of an ONNX node.

    Parameters
    ----------
    parameters : mapping of str to array_like
        A layer's `state_dict`, or that of a `torch.nn` layer.
    layer : int
        Which layer of the stack to take: ONNX needs a node for each.

    Returns
    -------
    W : ndarray, shape (D, G*H, I)
    R : ndarray, shape (D, G*H, H)
    B : ndarray, shape (D, 2*G*H), or None
        As in `from_onnx`; None for a layer without biases. The node of a GRU with ``reset_after``
        needs ``linear_before_reset=1``.

    Raises
    ------
    ValueError
        If a name is missing, a shape does not fit, or the layer has what ONNX lacks (projections).

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> gru = {"weight_ih_l0": [[1], [2], [3]], "weight_hh_l0": np.ones((3, 1))}
    >>> W, R, B = convert.to_onnx(gru)
    >>> W.ravel(), R.shape, B
    (array([2, 1, 3]), (1, 3, 1), None)
    """
    layers = [reordered(a, "torch", "onnx") for a in _check.parameters_of(parameters, layer)]
    w, r, *biases = (np.stack(arrays) for arrays in zip(*layers, strict=True))
    return w, r, np.concatenate(biases, axis=1) if biases else None
