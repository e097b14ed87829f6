"""Operators for the reference evaluator of the onnx package: RNN, GRU, LSTM and Gather.

`OPS` is what ``onnx.reference.ReferenceEvaluator`` takes as its ``new_ops``, also for the graphs
nested in others; to the functions of a model it does not hand them. The operators do all that the
layers do: both directions, ``sequence_lens``, which the reference leaves out, initial states,
peepholes, both layouts, float32 and float64, tanh and relu of an RNN. Where an attribute or a dtype
asks for something else, they do what the reference does.

Weights that nobody can write to, as those of initialisers that are stored raw, are packed once for
each node. Those that the model computes, or is fed, are packed in every run, for what is written to
them to show.

>>> import numpy as np
>>> import onnx.parser
>>> from onnx.reference import ReferenceEvaluator
>>> from embedrnn.adapters.onnx import OPS
>>> model = onnx.parser.parse_model('''
...     <ir_version: 8, opset_import: ["" : 14]>
...     one (float[T, B, 1] X, float[1, 3, 1] W, float[1, 3, 1] R) => (float[T, 1, B, 1] Y) {
...         Y = GRU <hidden_size = 1> (X, W, R)
...     }''')
>>> ones = np.ones((1, 3, 1), np.float32)
>>> (Y,) = ReferenceEvaluator(model, new_ops=OPS).run(None, {"X": ones, "W": ones, "R": ones})
>>> Y.shape
(1, 1, 3, 1)
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from onnx.reference.ops import op_gather, op_gru, op_lstm, op_rnn

from embedrnn._check import onnx as _check
from embedrnn.convert.onnx.file import OnnxNode
from embedrnn.convert.onnx.layer import from_onnx
from embedrnn.rows import gather

__all__ = ["OPS"]

Array = npt.NDArray[Any]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class _Made(NamedTuple):
    """A layer, and what it was made of; that is held, lest another array should take its place."""

    weights: Mapping[str, Array]
    attributes: Mapping[str, Any]
    layer: Any

    def serves(self, weights: Mapping[str, Array], attributes: Mapping[str, Any]) -> bool:
        """Whether these are the same weights still: the arrays, which nobody can write to."""
        same = self.weights.keys() == weights.keys() and self.attributes == attributes
        return same and all(
            self.weights[name] is array and _is_constant(array) for name, array in weights.items()
        )


class _Recurrent:
    """What the recurrent operators share, before the reference that is asked for the rest."""

    _made: _Made | None = None

    def _run(
        self,
        X: Array,
        W: Array,
        R: Array,
        B: Array | None = None,
        sequence_lens: Array | None = None,
        *rest: Array | None,
        **attributes: Any,
    ) -> tuple[Array, ...]:
        op = type(self).__name__
        reference: Any = super()
        h_0, c_0, P, *_ = (*rest, None, None, None)
        initial = (h_0, c_0) if op == "LSTM" else (h_0,)
        weights = {"W": W, "R": R, "B": B, "P": P}
        given = {name: array for name, array in weights.items() if array is not None}
        asked = {name: value for name, value in attributes.items() if value is not None}
        dtypes = {array.dtype for array in (X, *given.values(), *initial) if array is not None}
        if dtypes not in ({_FLOATS[0]}, {_FLOATS[1]}) or not _check.is_ours(op, asked):
            outputs: tuple[Array, ...] = reference._run(
                X, W, R, B, sequence_lens, *rest, **attributes
            )
            return outputs
        layer = self._layer(op, given, asked)
        node: Any = self
        n_outputs = len(node.onnx_node.output)
        return _outputs(layer, X, sequence_lens, initial, asked.get("layout", 0) == 1)[:n_outputs]

    def _layer(self, op: str, weights: dict[str, Array], attributes: dict[str, Any]) -> Any:
        made = self._made
        if made is None or not made.serves(weights, attributes):
            layer = from_onnx(OnnxNode(op, "", "", attributes, {**weights}))
            made = self._made = _Made(weights, attributes, layer)
        return made.layer


class RNN(_Recurrent, op_rnn.RNN_14):
    """The operator RNN."""

    def __init__(self, onnx_node: Any, run_params: Any) -> None:
        try:
            super().__init__(onnx_node, run_params)
        except RuntimeError:  # it has no relu
            if not _check.is_ours("RNN", {"activations": getattr(self, "activations", [])}):
                raise


class GRU(_Recurrent, op_gru.GRU):
    """The operator GRU."""


class LSTM(_Recurrent, op_lstm.LSTM):
    """The operator LSTM."""


class Gather(op_gather.Gather):
    """The operator Gather, along any axis."""

    def _run(self, x: Array, indices: Array, axis: int | None = None) -> tuple[Array, ...]:
        if x.dtype.kind in "OSUT":
            taken: tuple[Array, ...] = super()._run(x, indices, axis=axis)
            return taken
        return (np.asarray(gather(x, indices, axis=axis or 0)),)


# What `onnx.reference.ReferenceEvaluator(model, new_ops=OPS)` takes.
OPS = [RNN, GRU, LSTM, Gather]


def _outputs(
    layer: Any, X: Array, lengths: Array | None, initial: tuple[Array | None, ...], first: bool
) -> tuple[Array, ...]:
    """Return what a node gives: all outputs, then the last states; of either layout."""
    x = X if first else X.swapaxes(0, 1)
    state = _state(layer, x.shape[0], initial, first)
    output, last = layer(x, lengths, state)
    directions = output.shape[2] // layer.hidden_size
    by_direction = output.reshape(*output.shape[:2], directions, layer.hidden_size)
    states = last if isinstance(last, tuple) else (last,)
    if first:
        return by_direction, *(array.swapaxes(0, 1) for array in states)
    return by_direction.transpose(1, 2, 0, 3), *states


def _state(layer: Any, batch: int, initial: tuple[Array | None, ...], first: bool) -> Any:
    """Return the state that a node is given as a layer takes it; None if it is given none."""
    if all(array is None for array in initial):
        return None
    zeros = np.zeros((1 + layer.bidirectional, batch, layer.hidden_size), layer.dtype)
    h, *c = (zeros if a is None else a.swapaxes(0, 1) if first else a for a in initial)
    return (h, *c) if c else h


def _is_constant(array: Any) -> bool:
    """Whether nobody can write to the memory of an array, as to an initialiser's."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or isinstance(array, bytes)
