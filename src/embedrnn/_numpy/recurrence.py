"""The packed cell and its walks over time, which every kind of cell shares."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._numpy.cells import STEPS, Affine, AffineGrads, State, Step
from embedrnn._quiet import quiet

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]


class _Taped(NamedTuple):
    """A step of a walk as the tape has it: copies of all that the way back reads."""

    x: Array
    state: State
    kept: State


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
    """A cell: its `step` goes from x_t and a state to the state one step later, and back."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def new_tape(self, pairs: int) -> list[_Taped]:
        """Return room for what `forward` records of so many valid steps of all rows."""
        return []

    @quiet
    def forward(
        self,
        x: Array,
        lengths: Integers | None,
        row_starts: Integers | None,
        step_starts: Integers | None,
        resets: Array | None,
        initial: tuple[Array | None, ...],
        reverse: bool,
        output: Array | None,
        last: tuple[Array, ...],
        at: int,
        tape: list[_Taped] | None,
    ) -> None:
        """Fill output and the last states, one step after another; only valid steps are touched.

        x and output are (B, T, width), or (N, width) where row r of step t is at row_starts[r] + t
        or at step_starts[t] + r. States are (cells, B, H), of which this cell has those `at`.
        `resets`, of the shape of x without its width, says before which steps the state becomes the
        initial one again. `tape`, if there is one, is filled with copies of what `backward` needs.
        """
        states = tuple(part[at] for part in last)
        for part, start in zip(states, initial, strict=True):
            part[...] = 0 if start is None else start[at]
        first = tuple(part.copy() for part in states)
        if output is not None:
            output[...] = 0
        if tape is not None:
            tape.clear()
        for alive, where in _walk(x, lengths, row_starts, step_starts, reverse):
            if resets is not None:
                again = alive[resets[where]]
                for part, start in zip(states, first, strict=True):
                    part[again] = start[again]
            x_t, before = x[where], tuple(part[alive] for part in states)
            new, kept = self._step.advance(x_t, before)
            for part, value in zip(states, new, strict=True):
                part[alive] = value
            if output is not None:
                output[where] = new[0]
            if tape is not None:
                tape.append(_Taped(x_t, before, kept))

    @quiet
    def backward(
        self,
        lengths: Integers | None,
        row_starts: Integers | None,
        step_starts: Integers | None,
        resets: Array | None,
        reverse: bool,
        tape: list[_Taped],
        grad_output: Array | None,
        grad_last: tuple[Array | None, ...],
        grad_x: Array,
        grad_initial: tuple[Array, ...],
        grads: tuple[Array, Array, Array | None, Array | None],
        at: int,
    ) -> None:
        """Walk back over what `forward` recorded: backpropagation through time.

        The first five arguments are those of `forward`, and the tape stays as it is. None stands
        for gradients that are zero. Those of x and of the weights, in the order of `pack`, are
        added to, that of x at valid steps only; those of the initial states are filled.
        """
        states = tuple(part[at] for part in grad_initial)
        for part, end in zip(states, grad_last, strict=True):
            part[...] = 0 if end is None else end[at]
        first = tuple(np.zeros_like(part) for part in states)
        into = (AffineGrads(grads[0], grads[2]), AffineGrads(grads[1], grads[3]))
        steps = [*_walk(grad_x, lengths, row_starts, step_starts, reverse)]
        for (alive, where), taped in zip(reversed(steps), reversed(tape), strict=True):
            grad_h, *others = (part[alive] for part in states)
            if grad_output is not None:
                grad_h += grad_output[where]
            of_x, before = self._step.back(*taped, (grad_h, *others), into)
            grad_x[where] += of_x
            for part, value in zip(states, before, strict=True):
                part[alive] = value
            if resets is not None:
                again = alive[resets[where]]
                for part, start in zip(states, first, strict=True):
                    start[again] += part[again]
                    part[again] = 0
        for part, start in zip(states, first, strict=True):
            np.add(part, start, out=part)

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
        advanced, _ = self._step.advance(x_t, before)
        for new, value in zip(new_states, advanced, strict=True):
            new[at] = value


def _walk(
    x: Array,
    lengths: Integers | None,
    row_starts: Integers | None,
    step_starts: Integers | None,
    reverse: bool,
) -> Iterator[tuple[Array, tuple[Array, ...]]]:
    """Yield the rows still alive in each step of the walk, and where in x each of them is."""
    valid = np.full(x.shape[0], x.shape[1]) if lengths is None else lengths
    for step in range(int(valid.max(initial=0))):
        alive = np.flatnonzero(valid > step)
        t = valid[alive] - 1 - step if reverse else np.full(alive.size, step)
        if row_starts is not None:
            yield alive, (row_starts[alive] + t,)
        elif step_starts is not None:
            yield alive, (step_starts[t] + alive,)
        else:
            yield alive, (alive, t)
