"""The packed cell and its walks over time, which every kind of cell shares."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from embedrnn._cells import CELLS
from embedrnn._numpy.cells import STEPS, Affine, AffineGrads, State, Step
from embedrnn._numpy.storage import widen
from embedrnn._quiet import quiet
from embedrnn._sequences import Array, Pool, Positions, Rows, TokenGrads, Tokens, Weights


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
    diagonal: Array | None = None,
) -> "PackedCell":
    """Return a cell with weights of its own."""
    from_x, from_h = Affine(weight_ih, bias_ih), Affine(weight_hh, bias_hh)
    step = STEPS[cell](from_x, from_h, np.empty(0) if diagonal is None else diagonal)
    hidden = weight_hh.shape[1]
    return PackedCell(step, weight_hh.shape[0] - CELLS[cell].inner * hidden)


class PackedCell:
    """A cell: its `step` goes from x_t and a state to the state one step later, and back."""

    def __init__(self, step: Step, outer: int) -> None:
        """Have a step, of whose recurrent biases the first so many are no part of it."""
        self._step, self._outer = step, outer

    def new_tape(self, pairs: int, has_input: bool = True) -> list[_Taped]:
        """Return room for what `forward` records of so many valid steps of all rows."""
        return []

    def pays_distinct(self, pairs: int, distinct: int) -> bool:
        """Return whether so many tokens are worth to have distinct ones multiplied first."""
        return 2 * distinct <= pairs

    def holds(
        self,
        cell: str,
        weight_ih: Array,
        weight_hh: Array,
        bias_ih: Array | None,
        bias_hh: Array | None,
        diagonal: Array | None = None,
    ) -> bool:
        """Return whether `pack` would now give the same cell, to the last bit of its weights."""
        other = pack(cell, weight_ih, weight_hh, bias_ih, bias_hh, diagonal)._step
        return type(other) is type(self._step) and all(
            mine.dtype == its.dtype and mine.shape == its.shape and mine.tobytes() == its.tobytes()
            for mine, its in zip(self._step.weights(), other.weights(), strict=True)
        )

    @quiet
    def forward(
        self,
        x: Array | Tokens,
        rows: Rows,
        resets: Array | None,
        initial: tuple[Array | None, ...],
        reverse: bool,
        output: Array | None,
        last: tuple[Array, ...],
        at: int,
        tape: list[_Taped] | None = None,
        pool: Pool | None = None,
    ) -> None:
        """Fill output and the last states, one step after another; only valid steps are touched.

        x and output are laid out as `rows` says. States are (cells, B, H), of which this cell has
        those `at`. `resets`, of the shape of x without its width, says before which steps the state
        becomes the initial one again. `tape`, if there is one, is filled with copies of what
        `backward` needs, and `pool` with one vector for each row, 0 where that has no step.
        """
        states = tuple(part[at] for part in last)
        for part, start in zip(states, initial, strict=True):
            part[...] = 0 if start is None else start[at]
        first = tuple(part.copy() for part in states)
        if output is not None:
            output[...] = 0
        if tape is not None:
            tape.clear()
        vectors = None if pool is None else _Pooled(pool, rows)
        frozen = isinstance(x, Tokens) and x.path == "frozen"
        for alive, t, where in _walk(rows, _time(x, output, rows), reverse):
            if resets is not None:
                again = alive[resets[where]]
                for part, start in zip(states, first, strict=True):
                    part[again] = start[again]
            x_t = _looked_up(x, alive, t) if isinstance(x, Tokens) else x[where]
            before = tuple(part[alive] for part in states)
            new, kept = self._step.advance(x_t if frozen else self._step.from_x(x_t), before)
            for part, value in zip(states, new, strict=True):
                part[alive] = value
            if output is not None:
                output[where] = new[0]
            if tape is not None:
                tape.append(_Taped(x_t, before, kept))
            if vectors is not None:
                vectors.add(alive, new[0])
        if vectors is not None:
            vectors.finish()

    @quiet
    def backward(
        self,
        rows: Rows,
        resets: Array | None,
        reverse: bool,
        tape: list[_Taped],
        grad_output: Array | None,
        grad_last: tuple[Array | None, ...],
        grad_x: Array | TokenGrads | None,
        grad_initial: tuple[Array | None, ...],
        grads: Weights,
        at: int,
    ) -> None:
        """Walk back over what `forward` recorded: backpropagation through time.

        The first three arguments are those of `forward`, and the tape stays as it is. None stands
        for gradients that are zero. Those of x and of the weights, in the order of `pack`, are
        added to, that of x at valid steps only; those of the initial states are filled. Of x and of
        the states, None stands for those that nobody wants.
        """
        weight = self._step.from_h.weight
        states = tuple(
            np.empty((rows.batch, weight.shape[1]), weight.dtype) if part is None else part[at]
            for part in grad_initial
        )
        for part, end in zip(states, grad_last, strict=True):
            part[...] = 0 if end is None else end[at]
        first = tuple(np.zeros_like(part) for part in states)
        into = (
            AffineGrads(grads[0], grads[2]),
            AffineGrads(grads[1], grads[3]),
            np.empty(0) if grads[4] is None else grads[4],
        )
        steps = [*_walk(rows, _time(grad_x, grad_output, rows), reverse)]
        for (alive, t, where), taped in zip(reversed(steps), reversed(tape), strict=True):
            grad_h, *others = (part[alive] for part in states)
            if grad_output is not None:
                grad_h += grad_output[where]
            of_x, before = self._step.back(*taped, (grad_h, *others), into)
            if isinstance(grad_x, TokenGrads):
                np.add.at(grad_x.grad, grad_x.numbers[grad_x.starts[alive] + t], of_x)
            elif grad_x is not None:
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
    def project(self, x: Array, out: Array) -> None:
        """Fill the input products of rows (n, I), (n, G * H), biases included.

        Those are b_ih, and b_hh of the gates that have it outside of the recurrent product: a cell
        without these walks over such products in the place of tokens.
        """
        out[...] = self._step.from_x(x)
        out[:, : self._outer] += self._step.from_h.bias[: self._outer]

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
        advanced, _ = self._step.advance(self._step.from_x(x_t), before)
        for new, value in zip(new_states, advanced, strict=True):
            new[at] = value


class _Pooled:
    """One vector of each row, from its outputs step after step."""

    def __init__(self, pool: Pool, rows: Rows) -> None:
        self._pool, self._lengths = pool, rows.lengths
        self._vectors = np.full(pool.out.shape, -np.inf if pool.mode == "max" else 0)
        self._vectors = self._vectors.astype(pool.out.dtype)
        self._steps = np.zeros((pool.out.shape[0], 1), pool.out.dtype)

    def add(self, alive: Array, h: Array) -> None:
        """Add the outputs of a step of the rows that are alive in it."""
        combine = np.maximum if self._pool.mode == "max" else np.add
        self._vectors[alive] = combine(self._vectors[alive], h)
        self._steps[alive] += 1

    def finish(self) -> None:
        """Hand the vectors out."""
        steps = 1 if self._pool.mode == "max" else np.maximum(self._steps, 1)
        self._pool.out[...] = np.where(self._steps > 0, self._vectors / steps, 0)


def _looked_up(tokens: Tokens, alive: Array, t: Array) -> Array:
    """Return the rows of the tokens at some steps."""
    numbers = tokens.numbers[tokens.starts[alive] + t]
    return widen(tokens.table[tokens.rows[numbers]], tokens.storage)


def _time(x: Array | Tokens | TokenGrads | None, other: Array | None, rows: Rows) -> int:
    """Return T of padded rows without lengths."""
    if rows.lengths is not None:
        return int(rows.lengths.max(initial=0))
    array = x if isinstance(x, np.ndarray) else other
    assert array is not None
    return int(array.shape[1])


def _walk(
    rows: Rows, time: int, reverse: bool
) -> Iterator[tuple[Positions, Positions, tuple[Positions, ...]]]:
    """Yield the rows still alive in each step of the walk, at which of their steps, and where."""
    valid = np.full(rows.batch, time) if rows.lengths is None else rows.lengths
    for step in range(int(valid.max(initial=0))):
        alive = np.flatnonzero(valid > step)
        t = valid[alive] - 1 - step if reverse else np.full(alive.size, step)
        if rows.times is not None:
            assert rows.row_starts is not None
            yield alive, t, (alive, rows.times[rows.row_starts[alive] + t])
        elif rows.row_starts is not None:
            yield alive, t, (rows.row_starts[alive] + t,)
        elif rows.step_starts is not None:
            yield alive, t, (rows.step_starts[t] + alive,)
        else:
            yield alive, t, (alive, t)
