"""What the way back over a stack of recurrent layers needs of the way there."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from embedrnn._backend import PackedCell
from embedrnn._quiet import quiet
from embedrnn.layers.layer import Array


class RecurrentGrads(NamedTuple):
    """The gradients that the `vjp` of a recurrent layer comes to.

    Attributes
    ----------
    x : ndarray or Packed
        In the form of `x`, 0 at padded steps. Of sequences that came as a list or an Arrow array,
        one behind the other: (N, I).
    state : ndarray, or a tuple of two
        Of the state before the first step, also if that was not given.
    parameters : dict of str to ndarray
        Of every parameter by its name, as `state_dict` has them.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> layer = er.GRU(5, 7, rng=0)
    >>> (output, state), backward = layer.vjp(np.ones((3, 4, 5), np.float32))
    >>> grads = backward(2 * output)  # of the sum of squares
    >>> grads.x.shape, grads.state.shape, grads.parameters["bias_hh_l0"].shape
    ((3, 4, 5), (1, 3, 7), (21,))
    """

    x: Any
    state: Any
    parameters: dict[str, Array]


class Tape:
    """The packed cells of a stack, a tape of each, and what was dropped below each layer.

    `joined` has the outputs of both directions of a layer where the way back reads them.
    """

    def __init__(
        self,
        cells: Sequence[PackedCell],
        tapes: Sequence[Any],
        dropout: float,
        rng: "np.random.Generator | None",
    ) -> None:
        self.cells, self.tapes = cells, tapes
        self._dropout, self._rng = dropout, rng
        self._kept: dict[int, Array] = {}
        self.joined: dict[int, Sequence[Array]] = {}

    @quiet
    def drop(self, layer: int, below: Array) -> None:
        """Drop some of the numbers that a layer is to read, in place, and scale the others."""
        if self._rng is not None:
            drawn = self._rng.random(below.shape, below.dtype.type)
            self._kept[layer] = drawn >= self._dropout
            self.back_through_drop(layer, below)

    @quiet
    def back_through_drop(self, layer: int, grad: Array) -> None:
        """Do to the gradient of what a layer read, in place, what `drop` did to that."""
        if layer in self._kept:
            np.multiply(grad, self._kept[layer], out=grad)
            np.multiply(grad, grad.dtype.type(1 / (1 - self._dropout)), out=grad)
