"""One walk over time, on arrays: what comes from Keras, and goes back to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn.convert.gates import reordered

Array = npt.NDArray[Any]


class Walk(NamedTuple):
    """How a layer of ours runs over the steps, in the order that Keras walks in.

    `mask` is in that order too. `fill` is what a masked step puts out; those before the first valid
    one put out the initial state if `begins_with_state`, else 0.
    """

    layer: Any
    backwards: bool
    mask: Array | None
    fill: str
    begins_with_state: bool

    def forward(self, x: Array, states: Sequence[Array]) -> tuple[Array, list[Array]]:
        """Return the outputs (B, T, H), and the states behind the last step (B, H)."""
        output, state = self.layer(
            self._in_order(x), state=_stacked(states), mask=self.mask, padding_fill=self.fill
        )
        self._fill_front(output, states[0])
        return output, _apart(state)

    def vjp(
        self, x: Array, states: Sequence[Array]
    ) -> tuple[Array, list[Array], Callable[..., list[Array]]]:
        """Return the same, and a function from their gradients to those of x, states and weights.

        Not for walks that begin with the state.
        """
        (output, state), back = self.layer.vjp(
            self._in_order(x), state=_stacked(states), mask=self.mask, padding_fill=self.fill
        )

        def backward(grad_output: Array | None, *grad_states: Array | None) -> list[Array]:
            of_states = tuple(None if one is None else one[None] for one in grad_states)
            grads = back(grad_output, of_states if len(of_states) > 1 else of_states[0])
            weights = _of_weights(grads.parameters, getattr(self.layer, "reset_after", False))
            return [self._in_order(grads.x), *_apart(grads.state), *weights]

        return output, _apart(state), backward

    def _in_order(self, x: Array) -> Array:
        return x[:, ::-1] if self.backwards else x

    def _fill_front(self, output: Array, state: Array) -> None:
        """Put out the initial state at the masked steps before the first valid one."""
        if self.mask is None or not self.begins_with_state or self.fill != "repeat":
            return
        front = ~np.logical_or.accumulate(self.mask, axis=1)
        output[front] = np.repeat(state, np.count_nonzero(front, axis=1), axis=0)


def _stacked(states: Sequence[Array]) -> Any:
    """Return states as those of a stack of one layer."""
    return tuple(one[None] for one in states) if len(states) > 1 else states[0][None]


def _apart(state: Any) -> list[Array]:
    """Return the states of a stack of one layer."""
    return [one[0] for one in state] if isinstance(state, tuple) else [state[0]]


def _of_weights(grads: Mapping[str, Array], reset_after: bool) -> list[Array]:
    """Return gradients in the layout of Keras: of a single bias, that of the one it became."""
    kernel, recurrent, *biases = reordered(list(grads.values()), "torch", "keras")
    bias = [np.stack(biases)] if biases and reset_after else biases[:1]
    return [kernel.T, recurrent.T, *bias]
