"""What of its outputs an encoder returns: every step, one vector of each row, or nothing."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from embedrnn import _check
from embedrnn._backend import PackedCell, current
from embedrnn._check import encoder as _check_encoder
from embedrnn._check.tokens import Ids
from embedrnn._quiet import quiet
from embedrnn._sequences import PoolMode, Positions
from embedrnn.layers.layer import Array
from embedrnn.layers.layout import GivenStates, Layout, PaddingFill
from embedrnn.layers.stack import Outputs, Sources, Stack
from embedrnn.layers.tape import Tape

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
    def over_steps(self) -> PoolMode | None:
        """Return how the outputs of all steps are pooled."""
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

    def run(
        self,
        stack: Stack,
        cells: Sequence[PackedCell],
        sources: Sources,
        call: Ids,
        layout: Layout,
        state: Any,
        tape: Tape | None = None,
    ) -> Outputs:
        """Walk over the ids of a call.

        What is pooled over steps is pooled behind each of them, or where directions are merged,
        behind them all. The way back from the greatest of them reads all outputs once more.
        """
        pool, merged = self.over_steps, stack.merge is not None
        keeps = self.steps or (pool is not None and merged) or (pool == "max" and tape is not None)
        found = stack.run(
            cells, sources, layout, state, tape, output=keeps, pool=None if merged else pool
        )
        if pool is None or not merged:
            return found
        assert found.steps is not None
        return found._replace(pooled=_pooled(found.steps, call, pool))

    def outputs(self, stack: Stack, found: Outputs) -> Array | None:
        """Return what comes out beside the states."""
        if self.pool == "last" and self.output:
            return stack.joined(tuple(found.states[0][-stack.directions :]))
        return found.steps if self.steps else found.pooled

    def kept(self, stack: Stack, call: Ids, found: Outputs) -> Array | None:
        """Return what the way back needs of what was found.

        Of the greatest outputs, the step of each row that every unit came from; of last states that
        are merged, a copy where the merge reads them again.
        """
        if self.pool == "last" and stack.merge is not None and stack.merge.keeps:
            return found.states[0][-stack.directions :].copy()
        if self.over_steps != "max":
            return None
        assert found.steps is not None
        assert found.pooled is not None
        winners = np.empty(found.pooled.shape, np.int64)
        _pooled(found.steps, call, "max", winners)
        return winners

    @quiet
    def back(
        self,
        stack: Stack,
        call: Ids,
        kept: Array | None,
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
            h_n = np.zeros(
                (stack.num_layers * stack.directions, len(grad), stack.hidden), stack.dtype
            )
            if of_last[0] is not None:
                h_n += of_last[0]
            h_n[-stack.directions :] += stack.parted(grad, () if kept is None else tuple(kept))
            return None, (h_n, *of_last[1:])
        lengths = np.diff(call.offsets)
        if kept is None:
            shares = grad / np.maximum(lengths, 1).astype(grad.dtype)[:, None]
            return np.repeat(shares, lengths, axis=0), of_last
        of_steps = np.zeros((call.tokens.size, stack.width), stack.dtype)
        rows, units = np.nonzero(kept >= 0)
        of_steps[kept[rows, units], units] = grad[rows, units]
        return of_steps, of_last


def _pooled(steps: Array, call: Ids, pool: PoolMode, winners: Positions | None = None) -> Array:
    """Return one vector of each row, from outputs (N, W) of all its steps, 0 where it has none."""
    storage = _check.storage_of(steps.dtype)
    assert storage is not None
    every = np.arange(len(steps))
    out = np.empty((len(call.offsets) - 1, steps.shape[1]), steps.dtype)
    if pool == "max":
        current().bag_max(steps, storage, every, call.offsets, out, winners)
    else:
        current().bag_sum(steps, storage, every, call.offsets, None, True, out)
    return out
