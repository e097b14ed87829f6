"""The inputs of whole models: recurrent layers on each other, and an embedding below them."""

from dataclasses import dataclass

import numpy as np

from embedrnn.bench.workloads import SEED, Array, lengths_between, numbers


@dataclass(frozen=True)
class StackedModel:
    """Ids (B, T) with 0 as padding, and the sizes of a table and of the layers above it."""

    cell: str
    gates: int
    ids: Array
    n_rows: int
    n_layers: int
    hidden: int

    @property
    def flops(self) -> int:
        """Floating-point operations of all products on valid steps."""
        of_step = 4 * self.gates * self.hidden**2 * self.n_layers
        return of_step * int(np.count_nonzero(self.ids))


def stacked_model(
    cell: str, gates: int, batch: int, steps: int, n_layers: int, hidden: int
) -> StackedModel:
    """Draw ids of 20,000 rows, in rows of an eighth of the steps to all of them."""
    n_rows = 20_000
    ids = np.random.default_rng(SEED).integers(1, n_rows, (batch, steps))
    ids *= np.arange(steps) < lengths_between(steps // 8, steps, batch)[:, None]
    return StackedModel(cell, gates, ids, n_rows, n_layers, hidden)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What a stack of recurrent layers reads, (B, T, I), how long rows are, and how it is built."""

    cell: str
    num_layers: int
    directions: int
    hidden: int
    x: Array
    lengths: Array

    @property
    def valid(self) -> Array:
        """Mask (B, T) of the steps that are not padding."""
        return np.asarray(np.arange(self.x.shape[1]) < self.lengths[:, None])

    @property
    def grad_output(self) -> Array:
        """A gradient of the output (B, T, directions * H), zero at steps that are padding."""
        shape = (*self.x.shape[:2], self.directions * self.hidden)
        return numbers(shape, self.x.dtype) * self.valid[..., None]

    @property
    def flops(self) -> int:
        """Floating-point operations of the products of the valid steps."""
        gates = {"rnn": 1, "gru": 3, "lstm": 4}[self.cell]
        widths = self.x.shape[2] + (self.num_layers - 1) * self.directions * self.hidden
        products = self.directions * (widths + self.num_layers * self.hidden)
        return int(2 * gates * self.hidden * products * self.lengths.sum())


def stack(
    cell: str, num_layers: int, directions: int, width: int, hidden: int, steps: int, lengths: Array
) -> Stack:
    """Draw the input of a stack."""
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((len(lengths), steps, width)).astype(np.float32)
    return Stack(
        cell=cell, num_layers=num_layers, directions=directions, hidden=hidden, x=x, lengths=lengths
    )
