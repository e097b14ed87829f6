"""The order of the gates in memory, in every library that we convert from and to."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._check.convert import GATES, PEEPHOLES

Array = npt.NDArray[Any]

# Of the gates of each cell, by PyTorch's names: those of an RNN, a GRU and an LSTM.
_ORDERS = {
    library: dict(zip(GATES.values(), orders.split(), strict=True))
    for library, orders in {
        "torch": "n rzn ifgo",
        "onnx": "n zrn iofg",
        "keras": "n zrn ifgo",
        "tf1": "n rzn igfo",
        "coreml": "n zrn ifog",
        "flax": "n rzn ifgo",
        "cudnn": "n rzn ifgo",
    }.items()
}


def reordered(arrays: Sequence[Array], source: str, target: str) -> list[Array]:
    """Put the gates, which go along the first axis, in the order of another library."""
    rows, hidden = arrays[1].shape
    gates = GATES[rows // hidden]
    order = [_ORDERS[source][gates].index(gate) for gate in _ORDERS[target][gates]]
    blocks = [array.reshape(len(order), hidden, *array.shape[1:]) for array in arrays]
    return [
        np.ascontiguousarray(block[order]).reshape(array.shape)
        for block, array in zip(blocks, arrays, strict=True)
    ]


def forgetting(arrays: Sequence[Array], added: float) -> list[Array]:
    """Return the parameters of an LSTM with something added to the bias of its forget gate."""
    weight_ih, weight_hh, bias_ih, bias_hh = arrays
    hidden, place = weight_hh.shape[1], GATES[4].index("f")
    to_add = np.zeros(len(bias_ih), bias_ih.dtype if _check.is_float(bias_ih.dtype) else float)
    to_add[place * hidden : (place + 1) * hidden] = added
    return [weight_ih, weight_hh, bias_ih + to_add, bias_hh]


def named_alone(
    arrays: Sequence[Array], layer: int, *, reverse: bool, peepholes: Array | None = None
) -> dict[str, Array]:
    """Return the parameters of one direction under their names in a `state_dict`."""
    suffix = "_reverse" if reverse else ""
    found = dict(zip(_check.parameter_names(layer, suffix), arrays, strict=False))
    return found if peepholes is None else found | {f"{PEEPHOLES}_l{layer}{suffix}": peepholes}


def named(directions: Iterable[Sequence[Array]], layer: int) -> dict[str, Array]:
    """Return parameters under their names in a `state_dict`, the second direction's reversed."""
    found: dict[str, Array] = {}
    for arrays, reverse in zip(directions, (False, True), strict=False):
        found |= named_alone(arrays, layer, reverse=reverse)
    return found
