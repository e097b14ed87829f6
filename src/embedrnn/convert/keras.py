"""Layers of Keras, and weights in its layout."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._check import convert as _check
from embedrnn._check import flag
from embedrnn._check import keras as _check_keras
from embedrnn.convert.gates import Array, named, reordered
from embedrnn.layers import GRU, LSTM, RNN, Embedding

_CLASSES: Mapping[str, type[RNN | GRU | LSTM]] = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}


def from_keras(layer: Any) -> RNN | GRU | LSTM | Embedding:
    """Return a layer that computes what a layer of Keras does, with a copy of its weights.

    Parameters
    ----------
    layer : SimpleRNN, GRU, LSTM, Bidirectional of them, or Embedding
        Built, of Keras 2 or 3 with any backend: it is asked for `get_config` and `get_weights`, a
        Bidirectional also for its ``forward_layer`` and ``backward_layer``.

    Returns
    -------
    RNN, GRU, LSTM or Embedding
        Of the same sizes, dtype, activation and biases. ``go_backwards`` makes it ``reverse``, and
        ``merge_mode`` "concat", "sum", "ave" or "mul" its ``merge``, "ave" being "mean".

    Raises
    ------
    TypeError
        If `layer` is something else, or its weights are not float32 or float64 (a table may be
        float16 and bfloat16 too).
    ValueError
        If the layer is not built, or has what no layer here does. The message names it: other
        activations than tanh, or relu of a SimpleRNN, and sigmoid; a ``merge_mode`` of None;
        directions that differ in more than their weights, or the first of which goes backwards;
        LoRA and quantized tables.

    Notes
    -----
    What a layer here gives otherwise than that of Keras:

    - all outputs and the last state, whatever ``return_sequences`` and ``return_state`` are;
    - of one that goes backwards, the outputs in the order of time: Keras has them in the order of
      the walk, ``output[:, ::-1]``;
    - 0 at masked steps, as Keras in a Bidirectional that returns sequences; elsewhere Keras repeats
      the output before, as ``padding_fill="repeat"`` does here. A mask is `mask`;
    - the last state is returned, and not kept for the next call as one that is ``stateful`` does;
    - of an Embedding with ``mask_zero``, no mask: give the next layer ``mask=ids != 0``.

    ``dropout`` and ``recurrent_dropout`` are for training, and ``unroll``, ``implementation`` and
    ``use_cudnn`` for speed: they are left out. ``time_major`` of Keras 2 too: x is (B, T, I) here.

    See Also
    --------
    from_keras_weights : Arrays alone.
    embedrnn.adapters.keras : Keras's own layers, run here.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> class LSTM:  # answers as that of Keras does
    ...     def get_config(self):
    ...         return {"activation": "tanh", "recurrent_activation": "sigmoid"}
    ...     def get_weights(self):
    ...         return [np.ones((5, 28)), np.ones((7, 28)), np.zeros(28)]
    >>> convert.from_keras(LSTM())
    LSTM(5, 7, dtype=float64)
    """
    if type(layer).__name__ == "Embedding":
        return Embedding.from_pretrained(_check_keras.table(layer).copy())
    name, options, weights = _check_keras.recurrent(layer)
    parameters = from_keras_weights(
        weights, reset_after=options.get("reset_after", True), bidirectional="merge" in options
    )
    if options.get("merge") == "concat":  # the default
        del options["merge"]
    return _CLASSES[name].from_state_dict(parameters, **options)


def from_keras_weights(
    weights: Sequence[npt.ArrayLike],
    *,
    layer: int = 0,
    reset_after: bool = True,
    bidirectional: bool | None = None,
) -> dict[str, Array]:
    """Convert the weights of a Keras SimpleRNN, GRU or LSTM, of a Bidirectional, or of two layers.

    Parameters
    ----------
    weights : sequence of array_like
        What ``get_weights()`` gives: for each direction, or each of two layers that stand on each
        other, ``kernel`` (I, G*H), ``recurrent_kernel`` (H, G*H) and, unless ``use_bias=False``,
        ``bias`` (G*H,); (2, 3*H) if a GRU resets after. Of a Bidirectional of Keras 2, one of whose
        directions is frozen, give those of its ``forward_layer`` and then of its
        ``backward_layer``: its own begin with those that are not frozen.
    layer : int
        Which layer of a stack the parameters are named for; the first of two.
    reset_after : bool
        Of a GRU: as it was built.
    bidirectional : bool, optional
        Whether twice as many arrays are those of two directions, or of two layers. Needed only
        where their shapes fit both, as I is H.

    Returns
    -------
    dict of ndarrays
        Named as by `from_onnx_weights`. A single bias becomes ``bias_ih_l0``; ``bias_hh_l0`` is 0.

    Raises
    ------
    ValueError
        If the number of arrays or a shape does not fit, or the shapes fit two directions as well as
        two layers and `bidirectional` is not given.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> kernel, recurrent_kernel = np.array([[1, 2, 3]]), np.zeros((1, 3))
    >>> convert.from_keras_weights([kernel, recurrent_kernel])["weight_ih_l0"].ravel()
    array([2, 1, 3])
    """
    layer = _check.layer_number(layer)
    layers = _check.keras_weights(weights, reset_after, bidirectional)
    return {
        name: array
        for k, directions in enumerate(layers)
        for name, array in named(
            [reordered(arrays, "keras", "torch") for arrays in directions], layer + k
        ).items()
    }


def to_keras_weights(
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
        As in `from_keras_weights`; the second direction's follow those of the first. Where Keras
        has one bias it is the sum of the two, which is all that the cell depends on.

    Raises
    ------
    ValueError
        If a name is missing, a shape does not fit, or the layer has what Keras lacks (projections).

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> gru = {"weight_ih_l0": [[1], [2], [3]], "weight_hh_l0": np.ones((3, 1))}
    >>> convert.to_keras_weights(gru)
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
