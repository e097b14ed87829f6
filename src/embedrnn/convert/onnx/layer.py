"""Layers from the nodes of ONNX files."""

from typing import Any

from embedrnn._check import onnx as _check
from embedrnn.convert.gates import Array
from embedrnn.convert.onnx.file import OnnxNode, load_onnx
from embedrnn.convert.onnx.weights import from_onnx_weights
from embedrnn.layers import GRU, LSTM, RNN, Embedding

_LAYERS: dict[str, Any] = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}


def from_onnx(source: Any, name: str | None = None, *, reset_after: bool | None = None) -> Any:
    """Return the layer that a node of an ONNX model is, with its weights.

    Parameters
    ----------
    source : path, bytes, onnx.ModelProto or OnnxNode
        A model, or a node of one as `load_onnx` returns it.
    name : str, optional
        Which node of the model, by the name that it has there; not needed where there is one.
    reset_after : bool, optional
        Of a GRU: what to take in the place of its ``linear_before_reset``, which some exporters
        wrote wrong.

    Returns
    -------
    RNN, GRU, LSTM or Embedding
        Of the dtype of W, float32 of halves. An Embedding has the table of a Gather as it
        is, in the memory of the file where that may be.

    Raises
    ------
    OSError, TypeError
        As of `load_onnx`.
    ValueError
        As of `load_onnx`; if there are several nodes and no name; if a weight is not constant, its
        shape does not fit, or it is too great for the dtype of W; or if an attribute asks for what
        the layer does not do, which the message names: activations but tanh and relu (RNN) and
        those that are the default (GRU, LSTM), their alpha and beta, clip, input_forget, an axis
        of Gather but the first.

    Notes
    -----
    The layer reads (B, T, I): what a node of ``layout`` 1 does; that of 0, the default, reads
    (T, B, I) transposed, and writes an axis of directions that here stand side by side. A direction
    of "reverse" is the layer's option `reverse`. What a node is given beside its weights is for the
    caller to give: `lengths` for ``sequence_lens``, and `state` for ``initial_h`` and
    ``initial_c``. Where those are constants in the file but zeros, a model is refused, and its node
    is not: `OnnxNode.state` has them.

    See Also
    --------
    load_onnx : All nodes of a model, and which forms of weights are understood.
    from_onnx_weights : Weights that were taken out of a model otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> weights = {"W": np.ones((2, 4, 3)), "R": np.zeros((2, 4, 1)), "X": None}
    >>> convert.from_onnx(
    ...     convert.OnnxNode("LSTM", "lstm", "", {"direction": "bidirectional"}, weights)
    ... )
    LSTM(3, 1, bias=False, bidirectional=True, dtype=float64)
    """
    begins = not isinstance(source, OnnxNode)
    node = _check.chosen(load_onnx(source) if begins else [source], name)
    if node.op == "Gather":
        return Embedding.from_pretrained(_check.table_of(node, reset_after))
    options = _check.recurrent_options(node, reset_after, begins=begins)
    weights = _check.recurrent_weights(node, options["dtype"])
    return _layer(_LAYERS[node.op], options, from_onnx_weights(*weights))


def _layer(kind: Any, options: dict[str, Any], parameters: dict[str, Array]) -> Any:
    """Return a layer that takes these parameters, for which none are drawn and none copied."""
    smallest = kind(**options | {"input_size": 1, "hidden_size": 1})
    return kind._made(
        {name: options.get(name, value) for name, value in smallest._given_options().items()},
        parameters,
    )
