"""The inputs: what the contestants of one cell all get."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
    """A table (V, D), batches of indices of one shape, and an update (D,) for each index."""

    table: Array
    batches: list[Array]
    updates: Array

    @property
    def row_bytes(self) -> int:
        """Bytes of all the rows that one batch names, repeats included."""
        return int(self.updates.nbytes)


@dataclass(frozen=True)
class Sequences:
    """A padded batch (B, T, I), its lengths (B,), and the weights of one Elman layer."""

    x: Array
    lengths: Array
    weight_ih: Array
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array

    @property
    def valid(self) -> Array:
        """Mask (B, T) of the steps that are not padding: only there must the answers agree."""
        return np.asarray(np.arange(self.x.shape[1]) < self.lengths[:, None])

    @property
    def hidden(self) -> int:
        """Units of the hidden state."""
        return int(self.weight_hh.shape[1])

    @property
    def flops(self) -> int:
        """Floating-point operations of the two products on valid steps; padding counts nothing."""
        outputs, width = self.weight_ih.shape
        return int(2 * outputs * (width + self.hidden) * self.lengths.sum())


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
    numbers = rng.standard_normal(_NUMBERS, np.float32).astype(dtype, copy=False)
    return Rows(
        table=np.resize(numbers, (n_rows, width)),
        batches=[ids(rng, n_rows, n).reshape(shape) for _ in range(BATCHES)],
        updates=np.resize(numbers, (*shape, width)),
    )


def lengths_between(low: int, high: int, n: int) -> Array:
    """Draw `n` lengths evenly spaced from low to high, in an order that is not sorted."""
    even = np.linspace(low, high, n).round().astype(np.int64)
    return np.random.default_rng(SEED).permutation(even)


def sequences(
    lengths: Array, steps: int, width: int, hidden: int, gates: int = 1, dtype: Any = np.float32
) -> Sequences:
    """Draw a batch padded to `steps`, and weights of every gate as PyTorch initialises them."""
    rng = np.random.default_rng(SEED)
    bound = hidden**-0.5

    def weight(*shape: int) -> Array:
        return rng.uniform(-bound, bound, shape).astype(dtype, copy=False)

    return Sequences(
        x=rng.standard_normal((len(lengths), steps, width)).astype(dtype),
        lengths=lengths,
        weight_ih=weight(gates * hidden, width),
        weight_hh=weight(gates * hidden, hidden),
        bias_ih=weight(gates * hidden),
        bias_hh=weight(gates * hidden),
    )
