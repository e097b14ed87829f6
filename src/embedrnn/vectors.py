"""Files of word vectors: those of GloVe, word2vec and fastText, and our own, which are mapped."""

import json
import os
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn import _check, _npz
from embedrnn import _word_files as _files
from embedrnn._check import stream as _check_stream
from embedrnn._check import vectors as _rules
from embedrnn._check.files import require_path
from embedrnn.vocabulary import Vocabulary

__all__ = ["Vectors", "load", "save"]

_Path = str | os.PathLike[str]

# What a file of ours holds; to be raised when that changes.
_FORMAT = 1
_ABOUT = "about"
_TABLE = "table"
_ZIP = b"PK\3\4"


class Vectors(NamedTuple):
    """Words and their vectors.

    Attributes
    ----------
    vocabulary : Vocabulary
    table : ndarray, shape (V, D)
        A row for each token.

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> vectors = er.vectors.Vectors(er.Vocabulary(["a", "b"]), np.eye(2, dtype=np.float32))
    >>> er.gather(vectors.table, vectors.vocabulary.encode([["b", "a"]]).values)
    array([[0., 1.],
           [1., 0.]], dtype=float32)
    """

    vocabulary: Vocabulary
    table: npt.NDArray[Any]


def load(
    path: _Path,
    *,
    dtype: npt.DTypeLike | None = None,
    limit: int | None = None,
    padding: str | None = None,
    unknown: str | None = None,
    errors: str = "strict",
    bad_lines: Literal["raise", "skip"] = "raise",
    binary: bool | None = None,
    cache: _Path | None = None,
    progress: bool = False,
) -> Vectors:
    r"""Read word vectors: a vocabulary, and a table with a row for each of its tokens.

    Parameters
    ----------
    path : str or os.PathLike
        The text of GloVe, the text or binary of word2vec, the .vec of fastText, each of which may
        be compressed by gzip; or a file that `save` wrote. What it is shows in what it holds, not
        in its name.
    dtype : float32, float64, float16 or bfloat16 (of ml_dtypes), optional
        Of the table: float32 if absent, or that in which it was saved.
    limit : int, optional
        Read so many words, the first ones, which are the most frequent in such files.
    padding, unknown : str, optional
        Tokens of the vocabulary for padding and for unknown words. One that is not in the file is
        added behind its words: the unknown one with the mean of all rows, then padding with zeros.
        If absent, those that were saved.
    errors : {"strict", "replace", "ignore", "backslashreplace", "surrogateescape"}
        What to do with words that are not in UTF-8, as of `open`.
    bad_lines : {"raise", "skip"}
        What to do with lines that are no word and its numbers, and where there are fewer words than
        the file tells, as when it was cut off, or bytes behind the last word of a binary file.
        Those skipped are counted in a warning.
    binary : bool, optional
        Whether the numbers of a word2vec file are bytes; if absent, the first word shows it.
    cache : str or os.PathLike, optional
        A file to save to what was read, and to map into memory the next time. It is written anew
        when `path` has changed, or is read by other options.
    progress : bool
        Show a bar of `tqdm`.

    Returns
    -------
    Vectors
        ``vocabulary, table``. From a file of `save`, or through a cache, the table is read-only
        and mapped into memory: rows are read as they are needed, and processes share them. With
        another dtype than was saved, or with a token that is added, it is a copy; save it with the
        token, or give a cache, to have that mapped too.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    TypeError
        If an option is of another type.
    ValueError
        If the file is no such, or has a number that is too great for `dtype`, with the number of
        the line or word; or an option is none of those.
    ImportError
        If a bar is wanted and there is no tqdm.

    Warns
    -----
    UserWarning
        If words come more than once, of which the first counts, or lines were skipped.

    See Also
    --------
    embedrnn.Embedding.from_pretrained : A layer of such a table.

    Notes
    -----
    Lines are read from their end: as many numbers as the header tells or as most of the first lines
    have, and the word before them, in which there may be blanks, as in ``. . .`` of GloVe. Empty
    lines are none.

    Text is parsed in blocks by `numpy.loadtxt`. Beside the table, which grows where it stands,
    there is no other of its size. A binary file of word2vec cannot be mapped, as its words stand
    between its rows, each of another length: a cache can.

    References
    ----------
    .. [1] https://nlp.stanford.edu/projects/glove/
    .. [2] https://code.google.com/archive/p/word2vec/
    .. [3] https://fasttext.cc/docs/en/crawl-vectors.html

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import embedrnn as er
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "glove.txt")
    ...     _ = path.write_text("the 0.5 1.5\ncat 1.0 -0.5\n")
    ...     vocabulary, table = er.vectors.load(path, padding="<pad>", unknown="<unk>")
    >>> vocabulary.tokens
    ('the', 'cat', '<unk>', '<pad>')
    >>> table
    array([[ 0.5 ,  1.5 ],
           [ 1.  , -0.5 ],
           [ 0.75,  0.5 ],
           [ 0.  ,  0.  ]], dtype=float32)
    >>> embedding = er.Embedding.from_pretrained(table, padding_idx=vocabulary.padding_idx)
    """
    require_path(path)
    if cache is not None:
        require_path(cache, "cache")
    options = _rules.options(dtype, limit, errors, bad_lines, binary)
    options |= _rules.named(padding=padding, unknown=unknown)
    bar = _check_stream.bar_of(progress)
    file = Path(path)
    if _is_saved(file):
        return _picked(file, dtype, options)
    if cache is None:
        return _read(file, options, bar)
    stored, source = Path(cache), _source(file, options)
    if stored.exists():
        vectors, found = _saved(stored)
        _rules.require_cache(stored, found)
        if found == source:
            return vectors
    _write(stored, _read(file, options, bar), source)
    return _saved(stored)[0]


def save(path: _Path, vocabulary: Vocabulary, table: npt.ArrayLike) -> None:
    """Write word vectors to a file in the format of `numpy.savez`, which `load` maps into memory.

    The file takes the place of one that is there when it is whole.

    Parameters
    ----------
    path : str or os.PathLike
    vocabulary : Vocabulary
    table : array_like, shape (V, D), float32, float64, float16 or bfloat16
        A row for each token.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        If an argument is of another type.
    ValueError
        If the table has another shape.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import embedrnn as er
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/vectors.npz"
    ...     er.vectors.save(path, er.Vocabulary(["a", "b"]), np.eye(2, dtype=np.float16))
    ...     vectors = er.vectors.load(path)
    >>> vectors.table[vectors.vocabulary["b"]]
    array([0., 1.], dtype=float16)
    """
    require_path(path)
    _check.instance("vocabulary", vocabulary, "a Vocabulary", Vocabulary)
    _write(Path(path), Vectors(vocabulary, _rules.table(vocabulary.tokens, table)), None)


# --- the files of other tools ------------------------------------------------------------------


class _Seen:
    """The words so far, with the table of their vectors, and what was left out."""

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self._path, self._errors, self._dtype = path, options["errors"], options["dtype"]
        self._limit: int | None = options["limit"]
        self.ids: dict[str, int] = {}
        self.table: _files.Growing | None = None
        self.again: list[tuple[str, str]] = []
        self.bad: list[int] = []

    def add(self, chunk: _files.Chunk) -> bool:
        """Add the words that are new, and return whether there are more to come."""
        words = _rules.decoded(self._path, chunk.words, chunk.places, chunk.unit, self._errors)
        self.bad.extend(chunk.bad)
        kept = []
        for number, word in enumerate(words):
            count = len(self.ids)
            if count == self._limit:
                break
            if self.ids.setdefault(word, count) == count:
                kept.append(number)
            else:
                self.again.append((word, f"{chunk.unit} {chunk.places[number]}"))
        if self.table is None:
            self.table = _files.Growing(chunk.vectors.shape[1], self._dtype)
        vectors = chunk.vectors if len(kept) == len(chunk.vectors) else chunk.vectors[kept]

        def shown(row: int) -> str:
            return f"{words[kept[row]]!r}, {chunk.unit} {chunk.places[kept[row]]}"

        self.table.add(_rules.rounded(self._path, vectors, self._dtype, shown))
        return self._limit is None or len(self.ids) < self._limit

    def warn(self) -> None:
        """Tell what was left out."""
        if self.again:
            word, place = self.again[0]
            warnings.warn(
                f"{self._path} has {len(self.again)} words once more, the first {word!r} in "
                f"{place}: the first vector of each counts",
                stacklevel=4,
            )
        if self.bad:
            warnings.warn(
                f"{self._path} has {len(self.bad)} bad lines, the first at {self.bad[0]}: they "
                "were skipped",
                stacklevel=4,
            )


def _read(path: Path, options: dict[str, Any], bar: Any) -> Vectors:
    seen = _Seen(path, options)
    dtype = np.dtype(np.float64 if options["dtype"] == np.float64 else np.float32)
    with _files.opened(path, skip=options["bad_lines"] == "skip", bar=bar) as source:
        for chunk in _files.chunks(source, dtype, options["binary"]):
            if not seen.add(chunk):
                break
    assert seen.table is not None
    seen.warn()
    return _completed(seen.ids, seen.table, options["padding"], options["unknown"])


def _completed(
    ids: dict[str, int], table: _files.Growing, padding: str | None, unknown: str | None
) -> Vectors:
    """Return vectors, those of tokens that have none behind the others."""
    for token, vector in ((unknown, table.mean), (padding, table.zeros)):
        if token is not None and token not in ids:
            ids[token] = len(ids)
            table.add(vector()[None])
    return Vectors(Vocabulary(ids, padding=padding, unknown=unknown), table.whole())


# --- our own -----------------------------------------------------------------------------------


def _is_saved(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


def _source(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return what tells whether a cache still holds what would be read."""
    told = path.stat()
    texts = options | {"dtype": str(options["dtype"])}
    return {"size": told.st_size, "modified": told.st_mtime_ns, **texts}


def _write(path: Path, vectors: Vectors, source: dict[str, Any] | None) -> None:
    vocabulary, table = vectors
    about = {
        "format": _FORMAT,
        "tokens": vocabulary.tokens,
        "padding": vocabulary.padding,
        "unknown": vocabulary.unknown,
        "source": source,
    }
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    _npz.save(path, {_TABLE: table, _ABOUT: text})


def _saved(path: Path) -> tuple[Vectors, Any]:
    """Return the vectors of a file of ours, and what they were read from if it is a cache."""
    arrays = _npz.load(path, (_ABOUT, _TABLE))
    about = _rules.vectors_about(path, arrays[_ABOUT].tobytes(), _FORMAT)
    vocabulary = Vocabulary(about["tokens"], padding=about["padding"], unknown=about["unknown"])
    table = _rules.table(vocabulary.tokens, arrays[_TABLE])
    return Vectors(vocabulary, table), about["source"]


def _picked(path: Path, dtype: Any, options: dict[str, Any]) -> Vectors:
    """Return what is asked for of the vectors in a file of ours."""
    (vocabulary, table), _ = _saved(path)
    ids = {token: number for number, token in enumerate(vocabulary.tokens[: options["limit"]])}
    saved = {"padding": vocabulary.padding, "unknown": vocabulary.unknown}
    tokens = {
        name: token if options[name] is None and token in ids else options[name]
        for name, token in saved.items()
    }
    table = table[: len(ids)]
    if dtype is not None:
        words = list(ids)
        table = _rules.rounded(
            path, table, options["dtype"], lambda row: f"{words[row]!r}, row {row}"
        )
    if all(token is None or token in ids for token in tokens.values()):
        return Vectors(Vocabulary(ids, **tokens), table)
    copy = _files.Growing(table.shape[1], table.dtype)
    copy.add(table)
    return _completed(ids, copy, **tokens)
