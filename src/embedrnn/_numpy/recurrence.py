"""The packed cell and its walk over time, which every kind of cell shares."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._numpy.cells import STEPS, Advance, Affine
from embedrnn._quiet import quiet

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]


def pack(
    cell: str,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None,
    bias_hh: Array | None,
) -> "PackedCell":
    """Return a cell with weights of its own."""
    return PackedCell(STEPS[cell](Affine(weight_ih, bias_ih), Affine(weight_hh, bias_hh)))


class PackedCell:
    """A cell: `advance(x_t, state)` returns the state one step later."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    @quiet
    def forward(
        self,
        x: Array,
        lengths: Integers | None,
        row_starts: Integers | None,
        step_starts: Integers | None,
        initial: tuple[Array | None, ...],
        reverse: bool,
        output: Array | None,
        last: tuple[Array, ...],
        at: int,
    ) -> None:
        """Fill output and the last states, one step after another; only valid steps are touched.

        x and output are (B, T, width), or (N, width) where row r of step t is at row_starts[r] + t
        or at step_starts[t] + r. States are (cells, B, H), of which this cell has those `at`.
        """
        states = tuple(part[at] for part in last)
        for part, start in zip(states, initial, strict=True):
            part[...] = 0 if start is None else start[at]
        if output is not None:
            output[...] = 0
        batch = x.shape[0] if lengths is None else len(lengths)
        valid = np.full(batch, x.shape[1]) if lengths is None else lengths
        for alive, t in _steps(valid, reverse):
            where: tuple[Array, ...] = (alive, t)
            if row_starts is not None:
                where = (row_starts[alive] + t,)
            elif step_starts is not None:
                where = (step_starts[t] + alive,)
            new = self._advance(x[where], tuple(part[alive] for part in states))
            for part, value in zip(states, new, strict=True):
                part[alive] = value
            if output is not None:
                output[where] = new[0]

    @quiet
    def step(
        self,
        x_t: Array,
        states: tuple[Array | None, ...],
        new_states: tuple[Array, ...],
        at: int,
    ) -> None:
        """Fill the new states, which may overlap what is read, with the states a step later."""
        before = tuple(
            np.zeros_like(new[at]) if state is None else state[at]
            for state, new in zip(states, new_states, strict=True)
        )
        for new, value in zip(new_states, self._advance(x_t, before), strict=True):
            new[at] = value


def _steps(valid: Integers, reverse: bool) -> Iterator[tuple[Array, Array]]:
    """Yield the rows still alive in each step of the walk, and the time that each is at."""
    for step in range(int(valid.max(initial=0))):
        alive = np.flatnonzero(valid > step)
        yield alive, valid[alive] - 1 - step if reverse else np.full(alive.size, step)
