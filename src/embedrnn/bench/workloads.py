"""The inputs: what the contestants of one cell all get."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SEED = 20260901

# A step of training has new indices. The same ones over and over would leave their rows in a cache,
# and a table larger than the cache would never be read from memory.
BATCHES = 16

# Numbers that tables and updates repeat: a prime, so that no two rows near each other are alike.
_NUMBERS = 1_000_003


@dataclass(frozen=True)
class Rows:
    """A table (V, D), batches of indices of one shape, and an update (D,) for each index.

    Or an update of one element for each, where only one column is worked on.
    """

    table: Array
    batches: list[Array]
    updates: Array

    @property
    def row_bytes(self) -> int:
        """Bytes that one batch reads, of whole rows or of one column, repeats included."""
        return int(self.updates.nbytes)

    @property
    def distinct_bytes(self) -> int:
        """Bytes of the rows that one batch names, each counted once."""
        return int(np.unique(self.batches[0]).size * self.table[0].nbytes)

    @property
    def flat_updates(self) -> Array:
        """The updates as a matrix."""
        return self.updates.reshape(-1, self.table.shape[1])


@dataclass(frozen=True)
class Bags:
    """A table (V, D), batches of indices (N,), where each bag begins, and weights (N,)."""

    table: Array
    batches: list[Array]
    offsets: Array
    weights: Array

    @property
    def bounds(self) -> Array:
        """Where each bag begins, and where the last one ends."""
        return np.append(self.offsets, self.weights.size)

    @property
    def row_bytes(self) -> int:
        """Bytes of all the rows that one batch names, repeats included."""
        return int(self.batches[0].size * self.table[0].nbytes)

    @property
    def out_bytes(self) -> int:
        """Bytes of one row for each bag."""
        return int(self.offsets.size * self.table[0].nbytes)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of one recurrent layer."""

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the weights, and of what they are multiplied with."""
        return self.weight_ih.dtype

    @property
    def width(self) -> int:
        """Numbers in the input of a step."""
        return int(self.weight_ih.shape[1])

    @property
    def hidden(self) -> int:
        """Units of the hidden state."""
        return int(self.weight_hh.shape[1])

    def flops_of(self, steps: int) -> int:
        """Return the floating-point operations of the two products in so many steps."""
        return 2 * (self.weight_ih.size + self.weight_hh.size) * steps


@dataclass(frozen=True, kw_only=True)
class Padded(Weights, ABC):
    """A batch of rows that are padded to the same number of steps, and the lengths (B,) of each."""

    lengths: Array

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows, and steps with the padding."""

    @property
    def valid(self) -> Array:
        """Mask (B, T) of the steps that are not padding: only there must the answers agree."""
        return np.asarray(np.arange(self.shape[1]) < self.lengths[:, None])

    @property
    def grad_output(self) -> Array:
        """A gradient of the output (B, T, H), zero at steps that are padding."""
        return numbers((*self.shape, self.hidden), self.dtype) * self.valid[..., None]

    @property
    def flops(self) -> int:
        """Floating-point operations of the two products on valid steps; padding counts nothing."""
        return self.flops_of(int(self.lengths.sum()))


@dataclass(frozen=True, kw_only=True)
class Sequences(Padded):
    """A padded batch (B, T, I) of what a recurrent layer reads."""

    x: Array

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]


def joined_gradients(grads: Iterable[Array]) -> Array:
    """Return gradients as one vector, each over its largest magnitude."""
    return np.concatenate([np.ravel(grad / (np.abs(grad).max() or 1)) for grad in grads])


def in_turn(call: Callable[[Any], Any], batches: Iterable[Any]) -> Callable[[], Any]:
    """Return a function that calls `call` on the next of the batches, the first after the last."""
    endless = cycle(batches)
    return lambda: call(next(endless))


def uniform_ids(rng: np.random.Generator, n_rows: int, n: int) -> Array:
    """Every row equally likely."""
    ids: Array = rng.integers(0, n_rows, n)
    return ids


def zipf_ids(rng: np.random.Generator, n_rows: int, n: int) -> Array:
    """Row k with a probability near 1 / k, as words in text have; popular rows lie apart."""
    rank = np.minimum(np.exp(rng.random(n) * np.log(n_rows)).astype(np.int64), n_rows - 1)
    ids: Array = rng.permutation(n_rows)[rank]
    return ids


def sorted_ids(rng: np.random.Generator, n_rows: int, n: int) -> Array:
    """Every row equally likely, in rising order: what sorting a batch before the call brings."""
    return np.sort(uniform_ids(rng, n_rows, n))


def equal_ids(rng: np.random.Generator, n_rows: int, n: int) -> Array:
    """One row, again and again: what a batch of padding is."""
    return np.full(n, rng.integers(0, n_rows))


DrawIds = Callable[[np.random.Generator, int, int], Array]


def rows(
    n_rows: int, width: int, shape: tuple[int, ...], ids: DrawIds = uniform_ids, dtype: Any = "f4"
) -> Rows:
    """Draw a table and batches of indices of this shape."""
    rng = np.random.default_rng(SEED)
    n = int(np.prod(shape))
    return Rows(
        table=numbers((n_rows, width), dtype),
        batches=[ids(rng, n_rows, n).reshape(shape) for _ in range(BATCHES)],
        updates=numbers((*shape, width), dtype),
    )


def fortran_rows(n_rows: int, width: int, shape: tuple[int, ...]) -> Rows:
    """Draw a table whose columns, not its rows, lie in one piece."""
    drawn = rows(n_rows, width, shape)
    return replace(drawn, table=np.asfortranarray(drawn.table))


def column_rows(n_rows: int, width: int, n: int) -> Rows:
    """Draw a table of float64, and for each index an update of one column alone."""
    drawn = rows(n_rows, width, (n,), dtype="f8")
    return replace(drawn, updates=numbers((n,), "f8"))


@lru_cache(maxsize=2)
def numbers(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return numbers that nobody writes to: the operations on one shape share its large table."""
    drawn = np.random.default_rng(SEED).standard_normal(_NUMBERS, np.float32).astype(dtype)
    return np.resize(drawn, shape)


def bags(
    n_rows: int, width: int, n_bags: int, length: int, ids: DrawIds, dtype: Any = "f4"
) -> Bags:
    """Draw a table and bags of `length` indices on average, from none to twice as many."""
    rng = np.random.default_rng(SEED)
    lengths = rng.integers(0, 2 * length + 1, n_bags)
    n = int(lengths.sum())
    drawn = rows(n_rows, width, (n,), ids, dtype)
    return Bags(drawn.table, drawn.batches, lengths.cumsum() - lengths, numbers((n,), "f4"))


def lengths_between(low: int, high: int, n: int) -> Array:
    """Draw `n` lengths evenly spaced from low to high, in an order that is not sorted."""
    even = np.linspace(low, high, n).round().astype(np.int64)
    return np.random.default_rng(SEED).permutation(even)


def lengths_of_sentences(n: int, steps: int) -> Array:
    """Draw log-normal lengths, most of them short and one that fills the steps."""
    drawn = np.random.default_rng(SEED).lognormal(np.log(0.3 * steps), 0.6, n)
    lengths: Array = np.clip(drawn.round(), 1, steps).astype(np.int64)
    lengths[n // 2] = steps
    return lengths


def sequences(
    lengths: Array, steps: int, width: int, hidden: int, gates: int = 1, dtype: Any = np.float32
) -> Sequences:
    """Draw a batch padded to `steps`, and weights."""
    rng = np.random.default_rng(SEED)
    return Sequences(
        x=rng.standard_normal((len(lengths), steps, width)).astype(dtype),
        lengths=lengths,
        **weights(rng, width, hidden, gates, dtype),
    )


def weights(
    rng: np.random.Generator, width: int, hidden: int, gates: int, dtype: Any = np.float32
) -> dict[str, Array]:
    """Draw the weights of every gate as PyTorch initialises them, by name."""
    bound, outputs = hidden**-0.5, gates * hidden
    shapes = {
        "weight_ih": (outputs, width),
        "weight_hh": (outputs, hidden),
        "bias_ih": (outputs,),
        "bias_hh": (outputs,),
    }
    return {
        name: rng.uniform(-bound, bound, shape).astype(dtype, copy=False)
        for name, shape in shapes.items()
    }
