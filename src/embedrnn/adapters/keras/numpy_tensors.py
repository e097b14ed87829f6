"""The tensors of Keras's NumPy backend, which are arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn.adapters.keras.walk import Walk

Array = npt.NDArray[Any]

# Before the first valid step a walk puts out the initial state.
BEGINS_WITH_STATE = True


def transformed() -> bool:
    """Whether calls are traced or transformed, so that numbers alone would not do."""
    return False


def plain(tensors: Sequence[Any]) -> bool:
    """Whether these are tensors in memory, of the backend's own class."""
    return all(type(one) is np.ndarray for one in tensors)


def array(tensor: Array) -> Array:
    """Return the memory of a tensor."""
    return tensor


def copy(tensor: Array) -> Array:
    """Return a tensor in memory of its own."""
    return tensor.copy()


def run(
    walk: Walk, tensors: Sequence[Array], _arrays: Sequence[Array], n_states: int
) -> tuple[Array, list[Array]]:
    """Return the outputs and the last states of a walk."""
    return walk.forward(tensors[0], tensors[1 : 1 + n_states])
