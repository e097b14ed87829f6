"""The order of the gates in memory, in every library that we convert from and to."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._check.convert import GATES

Array = npt.NDArray[Any]

# Of the gates of each cell, which are in PyTorch's order.
_ORDERS = {
    "n": {"onnx": "n", "keras": "n"},
    "rzn": {"onnx": "zrn", "keras": "zrn"},
    "ifgo": {"onnx": "iofg", "keras": "ifgo"},
}


def reordered(arrays: Sequence[Array], source: str, target: str) -> list[Array]:
    """Put the gates, which go along the first axis, in the order of another library."""
    rows, hidden = arrays[1].shape
    gates = GATES[rows // hidden]
    orders = _ORDERS[gates] | {"torch": gates}
    order = [orders[source].index(gate) for gate in orders[target]]
    blocks = [array.reshape(len(order), hidden, *array.shape[1:]) for array in arrays]
    return [
        np.ascontiguousarray(block[order]).reshape(array.shape)
        for block, array in zip(blocks, arrays, strict=True)
    ]


def named(directions: Iterable[Sequence[Array]], layer: int) -> dict[str, Array]:
    """Return parameters under their names in a `state_dict`, the second direction's reversed."""
    return {
        name: array
        for suffix, arrays in zip(("", "_reverse"), directions, strict=False)
        for name, array in zip(_check.parameter_names(layer, suffix), arrays, strict=False)
    }
