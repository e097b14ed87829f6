"""The forms that sequences come to a recurrent layer in, and results leave it in."""

from typing import Any, NamedTuple

from embedrnn import _check
from embedrnn.layers.layer import Array
from embedrnn.packed import Packed

# One array for each state of the cell; of those that are given, None for zeros.
States = tuple[Array, ...]
GivenStates = tuple[Array | None, ...]


class Layout(NamedTuple):
    """How the rows of a call are laid out, and in what form they came.

    `order` sorts states as rows are sorted. `fields` are those of what came as `Packed`, but for
    its data. One sequence that came `alone` has no batch axis.
    """

    rows: _check.Rows
    resets: Array | None = None
    order: Array | None = None
    fields: tuple[Any, ...] | None = None
    alone: bool = False

    def results(self, array: Any, states: States) -> tuple[Any, Any]:
        """Return an array with a row for each step in the form that x came in, and states.

        Those are of our own, and leave in the caller's order, as a tuple where there are several.
        """
        if self.fields is not None:
            array = Packed(array, *self.fields)
        if self.order is not None:
            for part in states:
                part[:, self.order] = part.copy()
        if self.alone:
            array, states = array[0], without_batch_axis(states)
        return array, states if len(states) > 1 else states[0]

    def cotangent(self, value: Any, outer: tuple[int, ...], dtype: Any) -> Array | None:
        """Check the gradient of what came out in that form, where the rows have this shape."""
        if self.fields is not None and isinstance(value, Packed):
            value = value.data
        shape = outer[1:] if self.alone else outer
        checked = _check.cotangent("grad_output", value, shape, dtype)
        return None if checked is None else checked.reshape(outer)

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
