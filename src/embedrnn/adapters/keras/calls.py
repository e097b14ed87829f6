"""One call of a recurrent layer of Keras: what of it can be done here, and how."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import activations, ops
from keras.src.layers.rnn.gru import GRUCell
from keras.src.layers.rnn.lstm import LSTMCell
from keras.src.layers.rnn.simple_rnn import SimpleRNNCell

from embedrnn.adapters.keras.kept import Kind, layer_of
from embedrnn.adapters.keras.walk import Walk

Array = npt.NDArray[Any]

_TANH = (activations.tanh, ops.tanh)
_RELU = (activations.relu, ops.relu)
_SIGMOID = (activations.sigmoid, ops.sigmoid)
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def run(
    tensors: Any, layer: Any, sequences: Any, initial_state: Any, mask: Any, training: bool
) -> tuple[Any, Any, list[Any]] | None:
    """Return the last output, the outputs and the states, as `inner_loop`; None if Keras must.

    `tensors` is the module that knows those of the backend.
    """
    cell, mask = layer.cell, _first(mask)
    kind = None if tensors.transformed() else _kind_of(cell)
    if kind is None or not _takes(layer, mask, training):
        return None
    variables = [cell.kernel, cell.recurrent_kernel, *([cell.bias] if cell.use_bias else [])]
    states, weights = keras.tree.flatten(initial_state), [one.value for one in variables]
    if training and cell.dropout:
        sequences = sequences * cell.get_dropout_mask(sequences[:, 0, :])[:, None]
    given = [sequences, *states, *weights]
    if not tensors.plain(given) or not (mask is None or tensors.plain([mask])):
        return None
    arrays, valid = [tensors.array(one) for one in given], _array_of_mask(tensors, layer, mask)
    if not _fit(kind, arrays, len(states), valid):
        return None
    ours = layer_of(cell, kind, [np.ascontiguousarray(one) for one in arrays[1 + len(states) :]])
    fill = "zero" if layer.zero_output_for_mask else "repeat"
    walk = Walk(ours, layer.go_backwards, valid, fill, tensors.BEGINS_WITH_STATE)
    outputs, last_states = tensors.run(walk, given, arrays, len(states))
    if layer.return_sequences:
        return outputs[:, -1], outputs, last_states
    last = tensors.copy(outputs[:, -1])  # for nobody to keep the others for it
    return last, last[:, None], last_states


def _first(mask: Any) -> Any:
    """Return the mask of the sequences, where it comes with those of the states."""
    return mask[0] if isinstance(mask, (list, tuple)) and mask else mask


def _array_of_mask(tensors: Any, layer: Any, mask: Any) -> Array | None:
    """Return a mask in the order of the walk; None if every step is valid."""
    if mask is None:
        return None
    array: Array = tensors.array(mask)
    if array.dtype == bool and array.all():
        return None
    return array[:, ::-1] if layer.go_backwards and array.ndim > 1 else array


def _kind_of(cell: Any) -> Kind | None:
    """Return what a cell is here; None if it is of another class or has other activations."""
    if type(cell) is SimpleRNNCell:
        if cell.activation in _TANH + _RELU:
            nonlinearity = "tanh" if cell.activation in _TANH else "relu"
            return Kind("RNN", 1, {"nonlinearity": nonlinearity})
        return None
    if type(cell) not in {GRUCell, LSTMCell}:
        return None
    if cell.activation not in _TANH or cell.recurrent_activation not in _SIGMOID:
        return None
    if type(cell) is LSTMCell:
        return Kind("LSTM", 4, {})
    return Kind("GRU", 3, {"reset_after": bool(cell.reset_after)})


def _takes(layer: Any, mask: Any, training: bool) -> bool:
    """Whether a layer of a cell that is known here runs as it does here."""
    cell = layer.cell
    if training and cell.recurrent_dropout:
        return False
    if (
        training
        and cell.dropout
        and (cell.dropout >= 1 or getattr(cell, "dropout_mask_count", None) is not None)
    ):
        return False
    return getattr(layer, "use_cudnn", "auto") is not False and not (
        layer.unroll and mask is not None
    )


def _fit(kind: Kind, arrays: Sequence[Array], n_states: int, mask: Array | None) -> bool:
    """Whether shapes and dtypes are those of one call, with nothing left to broadcast or cast."""
    x, states = arrays[0], arrays[1 : 1 + n_states]
    kernel, recurrent, *bias = arrays[1 + n_states :]
    if x.ndim != 3 or recurrent.ndim != 2 or not x.size or x.dtype not in _FLOATS:
        return False
    (batch, time, width), hidden = x.shape, len(recurrent)
    rows = kind.gates * hidden
    shapes: list[tuple[int, ...]] = [(batch, hidden)] * (2 if kind.name == "LSTM" else 1)
    shapes += [(width, rows), (hidden, rows)]
    shapes += [(2, rows) if kind.reset_after else (rows,)] * len(bias)
    return (
        [array.shape for array in (*states, kernel, recurrent, *bias)] == shapes
        and all(array.dtype == x.dtype for array in arrays)
        and (mask is None or (mask.dtype == bool and mask.shape == (batch, time)))
    )
