"""Tokens and their ids."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._check import tokens as _check_tokens
from embedrnn._check import vocabulary as _rules
from embedrnn._check.files import require_path
from embedrnn._modes import first_outside

Ids = npt.NDArray[np.int64]


class RaggedIds(NamedTuple):
    """The ids of sequences, one behind the other.

    Attributes
    ----------
    values : ndarray of int64, shape (N,)
    offsets : ndarray of int64, shape (B + 1,)
        Sequence b has those from ``offsets[b]`` to ``offsets[b + 1]``: what `Encoder`, and the
        recurrent layers for rows of a table, take as ``offsets=``.

    Examples
    --------
    >>> import embedrnn as er
    >>> ids, offsets = er.Vocabulary(["a", "b"]).encode([["b", "a"], ["b"]])
    >>> er.EmbeddingBag(2, 4, include_last_offset=True)(ids, offsets).shape
    (2, 4)
    """

    values: Ids
    offsets: Ids


class PaddedIds(NamedTuple):
    """The ids of sequences, each in a row of its own and padded behind.

    Attributes
    ----------
    ids : ndarray of int64, shape (B, T)
    lengths : ndarray of int64, shape (B,)

    Examples
    --------
    >>> import embedrnn as er
    >>> vocabulary = er.Vocabulary(["<pad>", "a", "b"], padding="<pad>")
    >>> vocabulary.encode([["b", "a"], ["b"]], padded=True)
    PaddedIds(ids=array([[2, 1],
           [2, 0]]), lengths=array([2, 1]))
    """

    ids: Ids
    lengths: Ids


class Vocabulary:
    """Distinct tokens, numbered from 0.

    Parameters
    ----------
    tokens : iterable of str
        In the order of their ids.
    padding : str, optional
        The one of them that stands for padding, whose id is `padding_idx`.
    unknown : str, optional
        The one that stands for whatever is not among them. Without one, `encode` refuses such.

    Attributes
    ----------
    tokens : tuple of str
        By their ids.
    padding_idx, unknown_idx : int or None
        As `Embedding` takes the former.

    Raises
    ------
    TypeError
        If a token is no str, or `tokens` is one itself.
    ValueError
        If a token comes twice, or `padding` or `unknown` is none of them.

    Notes
    -----
    It does not change; two with the same tokens, padding and unknown token are equal, and have the
    same hash. It may be pickled, copied, and shared by threads.

    See Also
    --------
    embedrnn.vectors.load : The vocabulary of a file of vectors, with its table.

    Examples
    --------
    >>> import embedrnn as er
    >>> text = [["the", "cat", "sat"], ["the", "dog"]]
    >>> vocabulary = er.Vocabulary.from_sequences(text, padding="<pad>", unknown="<unk>")
    >>> vocabulary
    Vocabulary(6 tokens, padding='<pad>', unknown='<unk>')
    >>> vocabulary["the"], vocabulary["bird"], "bird" in vocabulary
    (2, 1, False)
    >>> embedding = er.Embedding(len(vocabulary), 8, padding_idx=vocabulary.padding_idx)
    >>> encoder = er.Encoder(embedding, er.GRU(8, 16))
    >>> ids, offsets = vocabulary.encode(text)
    >>> encoder(ids, offsets=offsets, pool="last")[0].shape
    (2, 16)
    """

    __slots__ = ("_ids", "padding_idx", "tokens", "unknown_idx")

    tokens: tuple[str, ...]
    padding_idx: int | None
    unknown_idx: int | None
    _ids: dict[str, int]

    def __init__(
        self, tokens: Iterable[str], *, padding: str | None = None, unknown: str | None = None
    ) -> None:
        found = _rules.tokens("tokens", tokens)
        ids = _rules.numbered("tokens", found)
        hold = super().__setattr__
        hold("tokens", found)
        hold("_ids", ids)
        hold("padding_idx", _rules.special("padding", padding, ids))
        hold("unknown_idx", _rules.special("unknown", unknown, ids))

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        *,
        min_count: int = 1,
        max_size: int | None = None,
        padding: str | None = None,
        unknown: str | None = None,
        special: Iterable[str] = (),
    ) -> "Vocabulary":
        """Return a vocabulary of the most frequent tokens, the most frequent first.

        Parameters
        ----------
        counts : mapping of str to int
            A `collections.Counter`, say. Of equal counts, what comes first there is first.
        min_count : int
            Leave out tokens that are less frequent.
        max_size : int, optional
            The greatest number of tokens, those in front included.
        padding, unknown : str, optional
            As above. They stand in front, as ids 0 and 1, and need not be counted.
        special : iterable of str
            What else stands in front, whether counted or not: marks for the end of a sentence, say.

        Returns
        -------
        Vocabulary

        Raises
        ------
        TypeError
            If a token is no str, or a count no integer.
        ValueError
            If a token in front comes twice, or `max_size` has no room for them.

        Examples
        --------
        >>> import embedrnn as er
        >>> counts = {"a": 2, "b": 5, "c": 1}
        >>> er.Vocabulary.from_counts(counts, min_count=2, unknown="<unk>").tokens
        ('<unk>', 'b', 'a')
        """
        front = _rules.in_front(padding, unknown, special)
        frequent = [token for token, _ in _rules.counts(counts, min_count) if token not in front]
        kept = frequent[: _rules.room(max_size, len(front))]
        return cls((*front, *kept), padding=padding, unknown=unknown)

    @classmethod
    def from_sequences(
        cls,
        sequences: Iterable[Iterable[str]],
        *,
        min_count: int = 1,
        max_size: int | None = None,
        padding: str | None = None,
        unknown: str | None = None,
        special: Iterable[str] = (),
    ) -> "Vocabulary":
        """Return a vocabulary of the tokens of sequences, as `from_counts` of their numbers.

        Parameters
        ----------
        sequences : iterable of iterables of str
            Read once: a stream will do.
        min_count, max_size, padding, unknown, special
            As of `from_counts`.

        Returns
        -------
        Vocabulary

        Raises
        ------
        TypeError, ValueError
            As `from_counts`, or if a sequence is a str.

        Examples
        --------
        >>> import embedrnn as er
        >>> er.Vocabulary.from_sequences([["a", "b"], ["b"]], special=["<end>"]).tokens
        ('<end>', 'b', 'a')
        """
        return cls.from_counts(
            Counter(_rules.counted(sequences)), min_count=min_count, max_size=max_size,
            padding=padding, unknown=unknown, special=special,
        )  # fmt: skip

    def ids(self, tokens: Iterable[str]) -> Ids:
        """Return the ids of one sequence of tokens.

        Parameters
        ----------
        tokens : iterable of str
            A str is refused, as its tokens could be words or characters.

        Returns
        -------
        ndarray of int64, shape (N,)

        Raises
        ------
        TypeError
            If a token is no str, or `tokens` is one.
        ValueError
            If a token is not there and none stands for unknown ones, with its position.

        Examples
        --------
        >>> import embedrnn as er
        >>> er.Vocabulary(["a", "b", "?"], unknown="?").ids(["b", "a", "c"])
        array([1, 0, 2])
        """
        return self._numbered("tokens", [_rules.tokens("tokens", tokens)])

    def _numbered(self, name: str, rows: Sequence[Sequence[str]]) -> Ids:
        flat = chain.from_iterable(rows)
        if self.unknown_idx is not None:
            known, unknown = self._ids.get, self.unknown_idx
            return np.fromiter((known(token, unknown) for token in flat), np.int64)
        try:
            return np.fromiter(map(self._ids.__getitem__, flat), np.int64)
        except KeyError:
            _rules.refuse_unknown(name, rows, self._ids)

    @overload
    def encode(
        self, sequences: Iterable[Iterable[str]], *, padded: Literal[False] = False
    ) -> RaggedIds: ...
    @overload
    def encode(self, sequences: Iterable[Iterable[str]], *, padded: Literal[True]) -> PaddedIds: ...

    def encode(
        self, sequences: Iterable[Iterable[str]], *, padded: bool = False
    ) -> RaggedIds | PaddedIds:
        """Return the ids of sequences of tokens.

        Parameters
        ----------
        sequences : iterable of iterables of str
            Lists of tokens. A str is refused, as its tokens could be words or characters.
        padded : bool
            Whether each sequence has a row of its own, padded by `padding_idx`; otherwise they
            stand one behind the other, and need no padding.

        Returns
        -------
        RaggedIds or PaddedIds
            What `Encoder` takes as ``(ids, offsets=offsets)``, or as ``(ids, lengths)``.

        Raises
        ------
        TypeError
            If a token is no str, or a sequence is one.
        ValueError
            If a token is not there and none stands for unknown ones, with its position; or if there
            is none for padding and `padded` asks for it.

        Examples
        --------
        >>> import embedrnn as er
        >>> vocabulary = er.Vocabulary(["a", "b", "?"], unknown="?")
        >>> vocabulary.encode([["b", "a", "c"], ["b"]])
        RaggedIds(values=array([1, 0, 2, 1]), offsets=array([0, 3, 4]))
        """
        padding = _rules.padding_of(self.padding_idx) if _check.flag("padded", padded) else 0
        rows = _rules.token_lists("sequences", sequences)
        lengths = np.array([len(row) for row in rows], np.int64)
        values = self._numbered("sequences[{}]", rows)
        if not padded:
            return RaggedIds(values, np.concatenate(([0], lengths.cumsum())))
        ids = np.full((len(rows), int(lengths.max(initial=0))), padding, np.int64)
        ids[np.arange(ids.shape[1]) < lengths[:, None]] = values
        return PaddedIds(ids, lengths)

    def decode(
        self,
        ids: Any,
        lengths: npt.ArrayLike | None = None,
        *,
        offsets: npt.ArrayLike | None = None,
    ) -> list[list[str]]:
        """Return the tokens of sequences of ids.

        Parameters
        ----------
        ids : array_like of any integer dtype, shape (B, T) or (N,) with `offsets`, or B sequences
            As an `Encoder` takes them. One sequence (T,) comes back as a list of one.
        lengths : array_like of any integer dtype, shape (B,), optional
            Valid ids of each row. If absent, padding at the end of rows is left out.
        offsets : array_like of any integer dtype, shape (B + 1,), optional
            Where the ids of each sequence begin, and the last ones end.

        Returns
        -------
        list of B lists of str

        Raises
        ------
        IndexError
            If an id is none of this vocabulary; negative ones are not.
        TypeError, ValueError
            If the ids are not integers, or lengths or offsets do not fit them.

        Examples
        --------
        >>> import embedrnn as er
        >>> vocabulary = er.Vocabulary(["<pad>", "a", "b"], padding="<pad>")
        >>> vocabulary.decode([[2, 1], [2, 0]], [2, 1])
        [['b', 'a'], ['b']]
        >>> vocabulary.decode(*vocabulary.encode([["b", "a"], ["b"]], padded=True))
        [['b', 'a'], ['b']]
        """
        call = _check_tokens.ids(ids, lengths, offsets, None, None, None)
        bad = first_outside(call.tokens, len(self), "strict")
        if bad >= 0:
            raise call.error(bad, "tokens", len(self), strict=True)
        numbers, bounds = call.tokens.tolist(), call.offsets.tolist()
        rows = [numbers[begin:end] for begin, end in pairwise(bounds)]
        if lengths is None and offsets is None and self.padding_idx is not None:
            rows = [_stripped(row, self.padding_idx) for row in rows]
        return [[self.tokens[number] for number in row] for row in rows]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokens to a text file in UTF-8, each on a line of its own.

        Parameters
        ----------
        path : str or os.PathLike

        Raises
        ------
        OSError
            If the file cannot be written.
        TypeError
            If `path` is something else.
        ValueError
            If a token has an end of line in it, or is no text that UTF-8 has.

        Notes
        -----
        Which tokens stand for padding and for unknown ones is not in the file: `load` is told. A
        pickle has all.
        """
        require_path(path)
        text = _rules.lines(self.tokens)
        Path(path).write_text(text, encoding="utf-8", newline="\n")

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        padding: str | None = None,
        unknown: str | None = None,
    ) -> "Vocabulary":
        r"""Return the tokens of a text file in UTF-8, of which each line is one.

        Parameters
        ----------
        path : str or os.PathLike
            A file that `save` wrote, or the vocabulary of another tool. Its lines may end by
            ``\r\n`` too, and a byte order mark before them is left out.
        padding, unknown : str, optional
            As above.

        Returns
        -------
        Vocabulary

        Raises
        ------
        OSError
            If the file cannot be read.
        TypeError, ValueError
            If it is not in UTF-8, a line has a carriage return within, a token comes twice, or
            `padding` or `unknown` is not there.

        Examples
        --------
        >>> import tempfile
        >>> import embedrnn as er
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     er.Vocabulary(["a", "b"]).save(f"{folder}/words.txt")
        ...     er.Vocabulary.load(f"{folder}/words.txt").tokens
        ('a', 'b')
        """
        require_path(path)
        file = Path(path)
        return cls(_rules.split(file, file.read_bytes()), padding=padding, unknown=unknown)

    @property
    def padding(self) -> str | None:
        """The token that stands for padding."""
        return None if self.padding_idx is None else self.tokens[self.padding_idx]

    @property
    def unknown(self) -> str | None:
        """The token that stands for unknown ones."""
        return None if self.unknown_idx is None else self.tokens[self.unknown_idx]

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tokens)

    def __contains__(self, token: object) -> bool:
        return isinstance(token, str) and token in self._ids

    def __getitem__(self, token: str) -> int:
        """Return the id of a token, that of the unknown one if there is no such and one for them.

        KeyError is raised without one.
        """
        found = self._ids.get(token, self.unknown_idx)
        if found is None:
            raise KeyError(token)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Vocabulary does not change: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Vocabulary does not change: {name} cannot be deleted")

    def __reduce__(self) -> Any:
        return _restored, self._key()

    def __repr__(self) -> str:
        named = (("padding", self.padding), ("unknown", self.unknown))
        others = "".join(f", {name}={token!r}" for name, token in named if token is not None)
        return f"Vocabulary({len(self)} tokens{others})"

    def _key(self) -> tuple[tuple[str, ...], str | None, str | None]:
        return self.tokens, self.padding, self.unknown


def _restored(tokens: tuple[str, ...], padding: str | None, unknown: str | None) -> Vocabulary:
    return Vocabulary(tokens, padding=padding, unknown=unknown)


def _stripped(row: list[int], padding: int) -> list[int]:
    """Return a row without the padding at its end."""
    end = len(row)
    while end and row[end - 1] == padding:
        end -= 1
    return row[:end]
