"""Layers of ours that stand for cells of Keras, kept for as long as the weights are the same."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy.typing as npt

from embedrnn import layers
from embedrnn.convert import from_keras_weights

Array = npt.NDArray[Any]


class Kind(NamedTuple):
    """The class of the layer of ours that a cell of Keras is, its options and its gates."""

    name: str
    gates: int
    options: Mapping[str, Any]

    @property
    def reset_after(self) -> bool:
        """Whether a GRU resets after the product, and has two biases."""
        return bool(self.options.get("reset_after", False))


class _Kept(NamedTuple):
    """A layer, and what it was made of, byte for byte."""

    made_of: tuple[Any, ...]
    weights: Sequence[bytearray]
    layer: Any


_kept: WeakKeyDictionary[Any, _Kept] = WeakKeyDictionary()


def layer_of(cell: Any, kind: Kind, weights: Sequence[Array]) -> Any:
    """Return a layer of this kind with the kernels and the bias of a cell, in order C.

    Other weights are another layer, since a call in another thread may run with the last one.
    """
    made_of = (kind, [array.shape for array in weights], weights[0].dtype)
    last = _kept.get(cell)
    if last is not None and last.made_of == made_of and _same(last.weights, weights):
        return last.layer
    # The copy is made first, and the layer of it: whoever writes meanwhile is seen by the next.
    copies = [array.copy() for array in weights]
    parameters = from_keras_weights(copies, reset_after=kind.reset_after)
    layer = getattr(layers, kind.name).from_state_dict(parameters, **kind.options)
    _kept[cell] = _Kept(made_of, [bytearray(array.data) for array in copies], layer)
    return layer


def _same(copies: Sequence[bytearray], weights: Sequence[Array]) -> bool:
    """Whether memory is the same: a bytearray compares itself with any as memcmp does."""
    return all(copy == array.data for copy, array in zip(copies, weights, strict=True))


def forget() -> None:
    """Keep nothing any longer."""
    _kept.clear()
