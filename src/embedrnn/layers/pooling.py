"""What of its outputs an encoder returns: every step, one vector of each row, or nothing."""

from typing import Any, Literal, NamedTuple

import numpy as np

from embedrnn import _check
from embedrnn._backend import current
from embedrnn._check import encoder as _check_encoder
from embedrnn._check.tokens import Ids
from embedrnn._quiet import quiet
from embedrnn._sequences import PoolMode, Positions
from embedrnn.layers.layer import Array
from embedrnn.layers.layout import GivenStates, Layout, PaddingFill
from embedrnn.layers.stack import Outputs, Stack

PoolingMode = Literal["mean", "max", "last"]


class Wanted(NamedTuple):
    """What a call is to return."""

    output: bool
    pool: PoolingMode | None

    @classmethod
    def checked(cls, output: Any, pool: Any) -> "Wanted":
        """Check what a caller asks for."""
        if pool is not None:
            _check.choice("pool", pool, ("mean", "max", "last"))
        return cls(_check.flag("output", output), pool)

    @property
    def steps(self) -> bool:
        """Return whether there is an output for every step."""
        return self.output and self.pool is None

    @property
    def fused(self) -> PoolMode | None:
        """Return what is pooled behind each step."""
        return None if self.pool == "last" or not self.output else self.pool

    def layout(self, call: Ids, padding_fill: PaddingFill) -> Layout:
        """Return the caller's layout, or where no steps come out, one without padding."""
        repeats = _check.repeats_padding(padding_fill)
        if self.steps:
            return Layout(call.rows, call.steps, alone=call.alone, repeats=repeats)
        return Layout(call.ragged, call.tokens.shape, alone=call.alone)

    def cotangent(self, layout: Layout, value: Any, stack: Stack) -> Array | None:
        """Check the gradient of what came out beside the states."""
        if not self.output:
            _check_encoder.require_no_cotangent(value)
        outer = layout if self.steps else layout._replace(steps=(layout.rows.batch,))
        return outer.cotangent(value, stack.width, stack.dtype)

    def outputs(self, stack: Stack, found: Outputs) -> Array | None:
        """Return what comes out beside the states."""
        if self.pool == "last" and self.output:
            last = found.states[0][-stack.directions :]
            return last.swapaxes(0, 1).reshape(last.shape[1], stack.width)
        return found.steps if self.steps else found.pooled

    def winners(self, call: Ids, found: Outputs) -> Positions | None:
        """Return the step of each row that every unit of its greatest outputs came from."""
        if self.fused != "max":
            return None
        assert found.steps is not None
        assert found.pooled is not None
        winners = np.empty(found.pooled.shape, np.int64)
        storage = _check.storage_of(found.steps.dtype)
        assert storage is not None
        every = np.arange(len(found.steps))
        current().bag_max(
            found.steps, storage, every, call.offsets, np.empty_like(found.pooled), winners
        )
        return winners

    @quiet
    def back(
        self,
        stack: Stack,
        call: Ids,
        winners: Positions | None,
        grad: Array | None,
        of_last: GivenStates,
    ) -> tuple[Array | None, GivenStates]:
        """Return the gradients of the outputs of all steps, and of the last states.

        From that of what came out, as `Layout.cotangent` gives it: one row for each sequence, where
        there was one vector of each.
        """
        if grad is None or self.steps:
            return grad, of_last
        if self.pool == "last":
            parts = grad.reshape(len(grad), stack.directions, stack.hidden).swapaxes(0, 1)
            h_n = np.zeros(
                (stack.num_layers * stack.directions, len(grad), stack.hidden), stack.dtype
            )
            if of_last[0] is not None:
                h_n += of_last[0]
            h_n[-stack.directions :] += parts
            return None, (h_n, *of_last[1:])
        lengths = np.diff(call.offsets)
        if winners is None:
            shares = grad / np.maximum(lengths, 1).astype(grad.dtype)[:, None]
            return np.repeat(shares, lengths, axis=0), of_last
        of_steps = np.zeros((call.tokens.size, stack.width), stack.dtype)
        rows, units = np.nonzero(winners >= 0)
        of_steps[winners[rows, units], units] = grad[rows, units]
        return of_steps, of_last
