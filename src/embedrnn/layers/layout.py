"""The forms that sequences come to a recurrent layer in, and results leave it in."""

from typing import Any, Literal, NamedTuple

import numpy as np

from embedrnn import _check
from embedrnn._sequences import Rows
from embedrnn.layers.layer import Array
from embedrnn.packed import Packed
from embedrnn.rows import scatter_add

# One array for each state of the cell; of those that are given, None for zeros.
States = tuple[Array, ...]
GivenStates = tuple[Array | None, ...]

PaddingFill = Literal["zero", "repeat"]


class Layout(NamedTuple):
    """How the rows of a call are laid out, and in what form they came.

    `steps` are the axes of arrays that have a row for each step, (B, T) or (N,). `order` sorts
    states as rows are sorted. `fields` are those of what came as `Packed`, but for its data. One
    sequence that came `alone` has no batch axis. Padded outputs are 0, or `repeats` says that they
    are those of the last valid step before, if there is one.
    """

    rows: Rows
    steps: tuple[int, ...]
    resets: Array | None = None
    order: Array | None = None
    fields: tuple[Any, ...] | None = None
    alone: bool = False
    repeats: bool = False

    def outputs(self, array: Any, states: States) -> tuple[Any, Any]:
        """Return results of which the first are outputs, with those at padded steps filled in."""
        if self.repeats and array is not None and len(self.steps) == 2:
            to, origin = self._repeated()
            flat = array.reshape(-1, array.shape[-1])
            flat[to] = flat[origin]
        return self.results(array, states)

    def results(self, array: Any, states: GivenStates) -> tuple[Any, Any]:
        """Return an array with a row for each step in the form that x came in, and states.

        Those are of our own, and leave in the caller's order, as a tuple where there are several.
        None stays None.
        """
        if array is not None and self.fields is not None:
            array = Packed(array, *self.fields)
        if array is not None and self.alone:
            array = array[0]
        if self.order is not None:
            for part in states:
                if part is not None:
                    part[:, self.order] = part.copy()
        if self.alone:
            states = tuple(None if part is None else part[:, 0] for part in states)
        return array, states if len(states) > 1 else states[0]

    def cotangent(self, value: Any, width: int, dtype: Any) -> Array | None:
        """Check the gradient of the outputs, of so many units, in the form that they left in."""
        if self.fields is not None and isinstance(value, Packed):
            value = value.data
        outer = (*self.steps, width)
        shape = outer[1:] if self.alone else outer
        checked = _check.cotangent("grad_output", value, shape, dtype)
        if checked is None:
            return None
        grad = checked.reshape(outer)
        if self.repeats and len(self.steps) == 2:
            to, origin = self._repeated()
            flat = grad.reshape(-1, width).copy()
            scatter_add(flat, origin, flat[to])
            grad = flat.reshape(outer)
        return grad

    def _repeated(self) -> tuple[Array, Array]:
        """Return the padded steps that repeat an output, and whose, as places among all steps."""
        batch, time = self.steps
        lengths, times = self.rows.lengths, self.rows.times
        if lengths is None:
            lengths = np.full(batch, time)
        valid = np.arange(time) < lengths[:, None]
        if times is not None:
            valid[...] = False
            valid[np.repeat(np.arange(batch), lengths), times] = True
        last = np.maximum.accumulate(np.where(valid, np.arange(time), -1), axis=1)
        rows, steps = np.nonzero(~valid & (last >= 0))
        return rows * time + steps, rows * time + last[rows, steps]

    def sorted(self, states: GivenStates) -> GivenStates:
        """Return states, with a batch axis, sorted as the rows are."""
        if self.order is None:
            return states
        return tuple(None if part is None else part[:, self.order] for part in states)


def with_batch_axis(states: GivenStates) -> GivenStates:
    """Return the states of one sequence as those of a batch of one."""
    return tuple(None if part is None else part[:, None] for part in states)


def without_batch_axis(states: States) -> States:
    """Return the states of a batch of one as those of one sequence."""
    return tuple(part[:, 0] for part in states)
