"""Weights in the layout of Keras."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from embedrnn._check import convert as _check
from embedrnn._check import flag
from embedrnn.convert.gates import Array, named, reordered


def from_keras(
    weights: Sequence[npt.ArrayLike], *, layer: int = 0, reset_after: bool = True
) -> dict[str, Array]:
    """Convert the weights of a Keras SimpleRNN, GRU or LSTM, alone or in a Bidirectional.

    Parameters
    ----------
    weights : sequence of array_like
        What ``get_weights()`` gives: for each direction ``kernel`` (I, G*H), ``recurrent_kernel``
        (H, G*H) and, unless ``use_bias=False``, ``bias`` (G*H,); (2, 3*H) if a GRU resets after.
    layer : int
        Which layer of a stack the parameters are named for.
    reset_after : bool
        Of a GRU: as it was built.

    Returns
    -------
    dict of ndarrays
        Named as by `from_onnx`. A single bias becomes ``bias_ih_l0``; ``bias_hh_l0`` is 0.

    Raises
    ------
    ValueError
        If the number of arrays or a shape does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> kernel, recurrent_kernel = np.array([[1, 2, 3]]), np.zeros((1, 3))
    >>> convert.from_keras([kernel, recurrent_kernel])["weight_ih_l0"].ravel()
    array([2, 1, 3])
    """
    layer = _check.layer_number(layer)
    layers = _check.keras_weights(weights, reset_after)
    return named([reordered(arrays, "keras", "torch") for arrays in layers], layer)


def to_keras(
    parameters: Mapping[str, npt.ArrayLike], *, layer: int = 0, reset_after: bool = True
) -> list[Array]:
    """Convert one layer's parameters to what ``set_weights`` of a Keras layer takes.

    Parameters
    ----------
    parameters : mapping of str to array_like
        A layer's `state_dict`, or that of a `torch.nn` layer.
    layer : int
        Which layer of the stack to take: Keras has a layer for each.
    reset_after : bool
        Of a GRU: whether it resets after the product.

    Returns
    -------
    list of ndarrays
        As in `from_keras`; the second direction's follow those of the first. Where Keras has one
        bias it is the sum of the two, which is all that the cell depends on.

    Raises
    ------
    ValueError
        If a name is missing, a shape does not fit, or the layer has what Keras lacks (projections).

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> gru = {"weight_ih_l0": [[1], [2], [3]], "weight_hh_l0": np.ones((3, 1))}
    >>> convert.to_keras(gru)
    [array([[2, 1, 3]]), array([[1., 1., 1.]])]
    """
    reset_after = flag("reset_after", reset_after)
    converted: list[Array] = []
    for arrays in _check.parameters_of(parameters, layer):
        kernel, recurrent, *biases = reordered(arrays, "torch", "keras")
        converted += [kernel.T.copy(), recurrent.T.copy()]
        if biases:
            both = kernel.shape[0] == 3 * recurrent.shape[1] and reset_after
            converted.append(np.stack(biases) if both else biases[0] + biases[1])
    return converted
