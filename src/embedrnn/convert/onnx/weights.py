"""Weights in the layout of ONNX."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._check import convert as _check
from embedrnn.convert.gates import Array, named, reordered


class OnnxWeights(NamedTuple):
    """The weights of an ONNX RNN, GRU or LSTM node, which its inputs of these names take.

    Attributes
    ----------
    W : ndarray, shape (D, G*H, I)
        For D directions and the G gates of the cell, in the order z, r, h (GRU) or i, o, f, c.
    R : ndarray, shape (D, G*H, H)
    B : ndarray, shape (D, 2*G*H), or None
        The input biases, then the recurrent ones.
    P : ndarray, shape (D, 3*H), or None
        The peepholes of an LSTM, of the gates i, o, f.

    Examples
    --------
    >>> import embedrnn as er
    >>> from embedrnn import convert
    >>> convert.to_onnx_weights(er.LSTM(5, 7, bias=False).state_dict()).W.shape
    (1, 28, 5)
    """

    W: Array
    R: Array
    B: Array | None = None
    P: Array | None = None


def from_onnx_weights(
    W: npt.ArrayLike,
    R: npt.ArrayLike,
    B: npt.ArrayLike | None = None,
    P: npt.ArrayLike | None = None,
    *,
    layer: int = 0,
) -> dict[str, Array]:
    """Convert the weights of an ONNX RNN, GRU or LSTM node, whose attributes are the caller's.

    Parameters
    ----------
    W : array_like, shape (D, G*H, I)
        For D directions and the G gates of the cell, in the order z, r, h (GRU) or i, o, f, c.
    R : array_like, shape (D, G*H, H)
    B : array_like, shape (D, 2*G*H), optional
        The input biases, then the recurrent ones.
    P : array_like, shape (D, 3*H), optional
        The peepholes of an LSTM, of the gates i, o, f.
    layer : int
        Which layer of a stack the parameters are named for.

    Returns
    -------
    dict of ndarrays
        ``weight_ih_l0``, ``weight_hh_l0``, with `B` ``bias_ih_l0`` and ``bias_hh_l0``, and with `P`
        ``weight_ch_l0``; the second direction's end in ``_reverse``. A GRU whose
        ``linear_before_reset`` is 0, the default, has ``reset_after=False``.

    Raises
    ------
    ValueError
        If a shape does not fit.

    See Also
    --------
    from_onnx : A layer from a whole node, its attributes read.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> W, R = np.array([[[1], [2], [3], [4]]]), np.zeros((1, 4, 1))
    >>> convert.from_onnx_weights(W, R)["weight_ih_l0"].ravel()
    array([1, 3, 4, 2])
    """
    layer = _check.layer_number(layer)
    nodes, peepholes = _check.onnx_weights(W, R, B, P)
    converted = named([reordered(arrays, "onnx", "torch") for arrays in nodes], layer)
    for suffix, array in zip(("", "_reverse"), peepholes, strict=False):
        converted[f"{_check.PEEPHOLES}_l{layer}{suffix}"] = _swapped(array)
    return converted


def to_onnx_weights(parameters: Mapping[str, npt.ArrayLike], *, layer: int = 0) -> OnnxWeights:
    """Convert one layer's parameters to the inputs W, R, B and P of an ONNX node.

    Parameters
    ----------
    parameters : mapping of str to array_like
        A layer's `state_dict`, or that of a `torch.nn` layer.
    layer : int
        Which layer of the stack to take: ONNX needs a node for each.

    Returns
    -------
    OnnxWeights
        As `from_onnx_weights` takes them; B is None for a layer without biases, P for one without
        peepholes. The node of a GRU with ``reset_after`` needs ``linear_before_reset=1``.

    Raises
    ------
    ValueError
        If a name is missing, a shape does not fit, or the layer has what ONNX lacks (projections).

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> gru = {"weight_ih_l0": [[1], [2], [3]], "weight_hh_l0": np.ones((3, 1))}
    >>> W, R, B, P = convert.to_onnx_weights(gru)
    >>> W.ravel(), R.shape, B, P
    (array([2, 1, 3]), (1, 3, 1), None, None)
    """
    directions, peepholes = _check.parameters_and_peepholes(parameters, layer)
    layers = [reordered(arrays, "torch", "onnx") for arrays in directions]
    w, r, *biases = (np.stack(arrays) for arrays in zip(*layers, strict=True))
    return OnnxWeights(
        w, r, np.concatenate(biases, axis=1) if biases else None,
        np.stack([_swapped(array) for array in peepholes]) if peepholes else None,
    )  # fmt: skip


def _swapped(peepholes: Array) -> Array:
    """Put the peepholes of i, f, o in the order i, o, f, or back."""
    return np.ascontiguousarray(peepholes.reshape(3, -1)[[0, 2, 1]]).reshape(-1)
