"""What turns token ids into states, whatever their input products are made from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current
from embedrnn._check import tokens as _tokens
from embedrnn._check.tokens import Ids
from embedrnn._docs import ENCODER, documented
from embedrnn._modes import first_outside
from embedrnn._sequences import Path, Positions, Tokens
from embedrnn._storage import Storage
from embedrnn.layers.layer import Array
from embedrnn.layers.layout import Layout, PaddingFill
from embedrnn.layers.pooling import PoolingMode, Wanted
from embedrnn.layers.recurrent import Recurrent
from embedrnn.layers.stream import in_batches

# Tokens of a batch of `encode`: enough rows for full register blocks, few enough for the caches.
_BATCH_TOKENS = 8192


class LastRun(NamedTuple):
    """What the last call of an encoder came to.

    Attributes
    ----------
    steps : int
        Valid steps: ids that are not padding.
    tokens : int
        Distinct ids among them.
    path : {"steps", "distinct", "frozen"}
        Whether input products were made for each step, once for each distinct id, or were there.
    """

    steps: int
    tokens: int
    path: Path


class Listed(NamedTuple):
    """The distinct rows that ids name, rising, and which of them each id names."""

    rows: Positions
    numbers: Positions


class Encoding(ABC):
    """Ids in, states out: the calls that an `Encoder` and a `FrozenEncoder` share."""

    def __init__(
        self, layer: Recurrent, n_tokens: int, padding_idx: int | None, *, strict: bool
    ) -> None:
        """Have a layer whose first layer reads tokens: so many, of which one may be padding."""
        self._layer, self._n_tokens = layer, n_tokens
        self._padding_idx, self._strict = padding_idx, strict
        self._last: LastRun | None = None

    @abstractmethod
    def _looked_up(self, ids: Ids, listed: Listed, run: Callable[[Sequence[Tokens]], Any]) -> Any:
        """Return run(tokens), of each direction, for ids and the rows that they name."""

    @documented(ENCODER)
    def __call__(
        self,
        ids: Any,
        lengths: npt.ArrayLike | None = None,
        state: Any = None,
        *,
        offsets: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        output: bool = True,
        pool: PoolingMode | None = None,
        padding_fill: PaddingFill = "zero",
    ) -> tuple[Any, Any]:
        """Run over sequences of token ids.

        Parameters
        ----------
        {ids, lengths, state, offsets, mask, output, pool, padding_fill}

        Returns
        -------
        output : ndarray, shape (B, T, directions * H), or (N, directions * H), or None
            The last layer's state after each step, both directions side by side, or H wide where
            they are merged, laid out as `ids` is; with `pool` of shape (B, directions * H). Of one
            sequence there is no axis B.
        {states}

        Raises
        ------
        IndexError
            If an id is out of range; the message names its position.
        TypeError
            If the ids are not integers, the mask is not bool, or the state has another dtype.
        ValueError
            If a shape does not fit, a length is outside [0, T], offsets do not rise from 0 to N,
            padding stands on the left of ids or between them, or more than one of lengths, offsets
            and mask is given.

        Notes
        -----
        The result has the bits of the recurrent layer called with the rows of the table. Nothing of
        the size of those rows, (B, T, D), or of the input products, (B, T, G * H), is allocated.
        """
        call = self._read(ids, lengths, offsets, mask)
        wanted = Wanted.checked(output, pool)
        layout = wanted.layout(call, padding_fill)
        layer = self._layer

        def run(sources: Sequence[Tokens]) -> tuple[Any, Any]:
            found = wanted.run(layer._stack, layer._cells(), sources, call, layout, state)
            return layout.outputs(wanted.outputs(layer._stack, found), found.states)

        result: tuple[Any, Any] = self._looked_up(call, self._listed(call), run)
        return result

    def last_run(self) -> LastRun | None:
        """Return what the last call came to, of any thread; None before the first.

        Examples
        --------
        >>> import embedrnn as er
        >>> encoder = er.Encoder(er.Embedding(10, 64), er.GRU(64, 32))
        >>> _ = encoder([[3, 1, 4, 1], [1, 4]])
        >>> encoder.last_run()
        LastRun(steps=6, tokens=3, path='distinct')
        """
        return self._last

    def step(self, ids_t: npt.ArrayLike, state: Any = None) -> tuple[Array, Any]:
        """Run one time step, the next of a stream or of several.

        Parameters
        ----------
        ids_t : array_like of any integer dtype, shape (B,) or ()
            One id a stream; () for one stream, and nothing below has an axis B then.
        state : array_like, shape (num_layers, B, H), optional
            As the last step or call returned it, of an LSTM a tuple of two; zeros if absent.

        Returns
        -------
        output : ndarray, shape (B, H)
        state : ndarray, or a tuple of two, shaped as `state`

        Raises
        ------
        IndexError, TypeError, ValueError
            As a call does, or if the layer has two directions or is reverse.

        Notes
        -----
        Steps have the bits of one call over the same ids.
        """
        _check.require_stream(self._layer.bidirectional, self._layer.reverse)
        tokens, alone = _tokens.step_ids(ids_t)
        call = Ids.of_steps(tokens, alone)
        layout = Layout(call.rows, call.steps, alone=alone)
        layer = self._layer

        def run(sources: Sequence[Tokens]) -> tuple[Array, Any]:
            found = layer._stack.run(layer._cells(), sources, layout, state)
            return layout.outputs(found.steps, found.states)

        result: tuple[Array, Any] = self._looked_up(call, self._listed(call), run)
        return result

    def encode(
        self,
        sequences: Iterable[npt.ArrayLike],
        *,
        batch_tokens: int = _BATCH_TOKENS,
        pool: PoolingMode | None = None,
        progress: bool = False,
    ) -> Iterator[Array]:
        """Yield the outputs for a stream of sequences of ids, which may be endless, in its order.

        Sequences are sorted by length within a window and run in batches, in a thread of their own
        while the stream is read on.

        Parameters
        ----------
        sequences : iterable of array_like of any integer dtype, each of shape (T,)
        batch_tokens : int
            Ids of a batch, at most but for a single sequence of more. Some 16 batches are held.
        pool : {"mean", "max", "last"}, optional
            One vector for each sequence, as of a call.
        progress : bool
            Show a bar of `tqdm`.

        Yields
        ------
        ndarray, shape (T, directions * H), or (directions * H,) with `pool`

        Raises
        ------
        TypeError, ValueError, IndexError
            If a sequence is none, or has an id out of range. All results before it are yielded.
        ImportError
            If a bar is wanted and there is no tqdm.

        Examples
        --------
        >>> import embedrnn as er
        >>> encoder = er.Encoder(er.Embedding(10, 4), er.GRU(4, 3))
        >>> [vector.shape for vector in encoder.encode([[1, 2], [3], []], pool="mean")]
        [(3,), (3,), (3,)]
        """
        wanted = Wanted.checked(True, pool)

        def run(batch: Sequence[Array]) -> Sequence[Array]:
            outputs, _ = self(list(batch), pool=pool)
            if wanted.pool is not None:
                return list(outputs)
            return np.split(outputs, np.cumsum([len(ids) for ids in batch[:-1]]))

        return in_batches(sequences, run, batch_tokens=batch_tokens, progress=progress)

    def _read(self, ids: Any, lengths: Any, offsets: Any, mask: Any) -> Ids:
        n_rows = None if self._strict else self._n_tokens
        return _tokens.ids(ids, lengths, offsets, mask, self._padding_idx, n_rows)

    def _listed(self, ids: Ids) -> Listed:
        """Return the distinct rows of ids, or raise the error for one that has none."""
        if self._strict:
            bad = first_outside(ids.tokens, self._n_tokens, "strict")
            if bad >= 0:
                raise ids.error(bad, "weight", self._n_tokens, strict=True)
        rows, numbers = np.empty((2, ids.tokens.size), np.int64)
        bad, count = current().number_rows(ids.tokens, self._n_tokens, rows, numbers)
        if bad >= 0:
            raise ids.error(bad, "weight", self._n_tokens)
        return Listed(rows[:count], numbers)

    def _tokens(
        self, ids: Ids, listed: Listed, table: Array, storage: Storage, path: Path
    ) -> Tokens:
        """Return the tokens of a call, and note what it comes to."""
        self._last = LastRun(ids.tokens.size, listed.rows.size, path)
        return Tokens(table, storage, listed.rows, listed.numbers, ids.offsets[:-1], path)
