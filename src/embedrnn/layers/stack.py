"""A stack of recurrent layers of one cell, in one direction or two: the walk over it, and back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from embedrnn import _check
from embedrnn._backend import PackedCell
from embedrnn._cells import Cell
from embedrnn._sequences import Pool, PoolMode, TokenGrads, Tokens, Weights
from embedrnn.layers.layer import Array
from embedrnn.layers.layout import GivenStates, Layout, States, with_batch_axis
from embedrnn.layers.merging import Merge
from embedrnn.layers.tape import Tape

# What the first layer reads in each direction, and what the gradient of that is added to.
Sources = Sequence[Array] | Sequence[Tokens]
SourceGrads = Sequence[Array | None] | Sequence[TokenGrads]


class Outputs(NamedTuple):
    """What a walk gives: the outputs, if they were wanted, pooled ones, and the last states."""

    steps: Array | None
    pooled: Array | None
    states: States


class Stack(NamedTuple):
    """The cell and the sizes of a stack.

    Each layer walks in one direction or two, of which each is `reversed` or not. The outputs of two
    stand side by side where there is no `merge`.
    """

    cell: Cell
    num_layers: int
    reversed: tuple[bool, ...]
    merge: Merge | None
    hidden: int
    dtype: Any

    @property
    def directions(self) -> int:
        """Return how many directions each layer walks in."""
        return len(self.reversed)

    @property
    def width(self) -> int:
        """Return the width of an output."""
        return self.hidden if self.merge is not None else len(self.reversed) * self.hidden

    def names(self, layer: int) -> Iterator[tuple[str, ...]]:
        """Yield the names of each direction's parameters."""
        for suffix in ("", "_reverse")[: self.directions]:
            yield _check.parameter_names(layer, suffix, self.cell.parameters)

    def weights(self, layer: int, parameters: Mapping[str, Array]) -> Iterator[Weights]:
        """Yield each direction's parameters, or their gradients, as backends take them."""
        for names in self.names(layer):
            weight_ih, weight_hh, bias_ih, bias_hh, *diagonals = names
            yield (
                parameters[weight_ih], parameters[weight_hh], parameters.get(bias_ih),
                parameters.get(bias_hh), parameters[diagonals[0]] if diagonals else None,
            )  # fmt: skip

    def every(self, parameters: Mapping[str, Array]) -> Iterator[Weights]:
        """Yield those of each direction of each layer, as cells are numbered."""
        for layer in range(self.num_layers):
            yield from self.weights(layer, parameters)

    def states(self, state: Any, n_rows: int, alone: bool) -> tuple[GivenStates, States]:
        """Return the checked states before the first step, and room for those behind the last."""
        shape = (self.num_layers * len(self.reversed), n_rows, self.hidden)
        given = _check.layer_state(
            self.cell, state, (shape[0], shape[2]) if alone else shape, self.dtype
        )
        if alone:
            given = with_batch_axis(given)
        new = []
        for _ in given:  # a comprehension would take as long as a step of a few units
            new.append(np.empty(shape, self.dtype))
        return given, tuple(new)

    def state_cotangents(self, layout: Layout, value: Any) -> GivenStates:
        """Return the checked gradients of the last states, sorted as the rows are."""
        shape = (self.num_layers * self.directions, layout.rows.batch, self.hidden)
        given = _check.state_cotangents(
            self.cell, value, (shape[0], shape[2]) if layout.alone else shape, self.dtype
        )
        return with_batch_axis(given) if layout.alone else layout.sorted(given)

    def run(
        self,
        cells: Sequence[PackedCell],
        sources: Sources,
        layout: Layout,
        state: Any,
        tape: Tape | None = None,
        *,
        output: bool = True,
        pool: PoolMode | None = None,
    ) -> Outputs:
        """Walk over all rows; with a tape, record the way and drop what training drops.

        What is pooled, as the mean or the greatest, are the outputs of the last layer, behind each
        step of a direction: there must be no merge.
        """
        given, new = self.states(state, layout.rows.batch, layout.alone)
        if layout.order is not None:
            given = layout.sorted(given)
        width = self.width
        nowhere: Sequence[Any] = (None,) * len(self.reversed)
        pooled: Array | None = None
        pools: Sequence[Pool | None] = nowhere
        if pool is not None:
            pooled = np.empty((layout.rows.batch, width), self.dtype)
            pools = [Pool(pool, part) for part in self._side_by_side(pooled)]
        out, k = None, 0
        for layer in range(self.num_layers):
            last = layer == self.num_layers - 1
            if tape is not None and out is not None:
                tape.drop(layer, out)
            out, parts = None, nowhere
            if output or not last:
                out = np.empty((*layout.steps, width), self.dtype)
                parts = (
                    self._side_by_side(out) if self.merge is None else self._apart(out, layer, tape)
                )
            for d, backwards in enumerate(self.reversed):
                cells[k].forward(
                    sources[d], layout.rows, layout.resets, given, backwards, parts[d], new, k,
                    None if tape is None else tape.tapes[k], pools[d] if last else None,
                )  # fmt: skip
                k += 1
            if out is not None:
                if self.merge is not None:
                    self.merge.join(parts, out)
                sources = (out,) * len(self.reversed)
        return Outputs(out, pooled, new)

    def joined(self, parts: Sequence[Array]) -> Array:
        """Return what becomes of an array of each direction, (..., H)."""
        if self.merge is None:
            return np.concatenate(parts, axis=-1)
        out = np.empty_like(parts[0])
        self.merge.join(parts, out)
        return out

    def parted(self, grad: Array, parts: Sequence[Array]) -> Sequence[Array]:
        """Return the gradients of what was joined; a merge that keeps it reads it again."""
        return self._side_by_side(grad) if self.merge is None else self.merge.back(grad, parts)

    def _side_by_side(self, array: Array) -> Sequence[Array]:
        """Return the part of each direction in an array."""
        if len(self.reversed) == 1:
            return (array,)
        return array[..., : self.hidden], array[..., self.hidden :]

    def _apart(self, out: Array, layer: int, tape: Tape | None) -> Sequence[Array]:
        """Return room for the outputs of both directions of a layer, which are merged into `out`.

        That has those of the first one until then, unless the tape keeps both.
        """
        assert self.merge is not None
        if tape is None or not self.merge.keeps:
            return out, np.empty_like(out)
        tape.joined[layer] = both = np.empty_like(out), np.empty_like(out)
        return both

    def back(
        self,
        tape: Tape,
        layout: Layout,
        grad: Array | None,
        of_last: GivenStates,
        sources: SourceGrads,
        parameters: Mapping[str, Array],
        *,
        of_state: bool = True,
    ) -> GivenStates:
        """Walk back over what `run` recorded, from the last layer to the first.

        The gradients of what it read and of the parameters are added to; returns those of the
        states before the first step, if they are wanted.
        """
        shape = (self.num_layers * self.directions, layout.rows.batch, self.hidden)
        of_first = tuple(np.empty(shape, self.dtype) if of_state else None for _ in of_last)
        for layer in reversed(range(self.num_layers)):
            of_below = np.zeros((*layout.steps, self.width), self.dtype) if layer > 0 else None
            below = sources if of_below is None else (of_below,) * self.directions
            parts: Sequence[Array | None] = (None,) * self.directions
            if grad is not None:
                parts = self.parted(grad, tape.joined.get(layer, ()))
            for d, of_weights in enumerate(self.weights(layer, parameters)):
                k = layer * self.directions + d
                tape.cells[k].backward(
                    layout.rows, layout.resets, self.reversed[d], tape.tapes[k], parts[d],
                    of_last, below[d], of_first, of_weights, k,
                )  # fmt: skip
            if of_below is not None:
                tape.back_through_drop(layer, of_below)
                grad = of_below
        return of_first
