"""The weights of a PyTorch module, as a layer of ours sees them.

PyTorch counts the changes of a tensor in its `_version`, but not all of them: steps of a fused
optimizer, what is written to ``parameter.data`` or through an array of NumPy, and what another
process writes to shared memory leave it as it is. So a layer packs the weights of each call, which
takes less time than what it saves, and only those that are said to be frozen are kept packed.
Tensors of `torch.inference_mode` have no `_version`, and are never kept.
"""

from typing import Any, NamedTuple

import torch

from embedrnn.adapters.torch.recurrent import Options
from embedrnn.layers.recurrent import Recurrent

Tensors = list[torch.Tensor]


def weights_of(module: Any, options: Options) -> Tensors:
    """Return the tensors that a module has for its weights now, parametrized ones computed."""
    held = module._parameters
    try:
        return [held[name] for name in options.shapes]
    except KeyError:
        return [getattr(module, name) for name in options.shapes]


class Kept(NamedTuple):
    """A layer with weights that are packed, and what those were when they were."""

    options: Options
    layer: Recurrent
    tensors: Tensors
    states: list[tuple[int, int]] | None

    def is_of(self, options: Options, tensors: Tensors) -> bool:
        """Whether the tensors are the same, and unchanged for all that PyTorch counts."""
        return (
            self.states is not None
            and self.options is options
            and all(one is other for one, other in zip(self.tensors, tensors, strict=True))
            and self.states == _states(tensors)
        )


def kept(options: Options, tensors: Tensors) -> Kept:
    """Return a layer over these tensors that may be used again."""
    states = _states(tensors)
    return Kept(options, options.over(tensors), tensors, states)


def _states(tensors: Tensors) -> list[tuple[int, int]] | None:
    """Return where the tensors are and how often they have changed, or None if nobody counts."""
    if any(tensor.is_inference() for tensor in tensors):
        return None
    return [(tensor.data_ptr(), tensor._version) for tensor in tensors]
