"""Text as batches of word numbers: what the examples read.

A batch is ragged: its sequences stand one behind the other, and `offsets` says where each begins.
Nothing is padded, so nothing is masked, and no sorting of sequences by length saves any work.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from embedrnn._demo import corpus

Ids = npt.NDArray[np.int64]
_Item = TypeVar("_Item")

UNKNOWN = "<unknown>"


class Example(NamedTuple):
    """One sequence: the number of each word, and of the class that is to be told there."""

    words: Ids  # (T,)
    targets: Ids  # (T,)


class Batch(NamedTuple):
    """Sequences of unequal length, one behind the other."""

    words: Ids  # (N,)
    targets: Ids  # (N,)
    offsets: Ids  # (B + 1,)


def joined(examples: Sequence[Example]) -> Batch:
    """Return these examples as one batch."""
    lengths = [len(example.words) for example in examples]
    return Batch(
        np.concatenate([example.words for example in examples]),
        np.concatenate([example.targets for example in examples]),
        np.concatenate([[0], np.cumsum(lengths)]),
    )


class Shuffled:
    """Examples in batches, in another order in each pass over them.

    Any batch can be asked for by the number of its step, so that number is all that a run which
    goes on needs to know of where it was in the data.
    """

    def __init__(self, examples: Sequence[Example], size: int, seed: int) -> None:
        self._examples, self._size, self._seed = examples, size, seed
        self._pass, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        passes, place = divmod(step, -(-len(self._examples) // self._size))
        if passes != self._pass:
            rng = np.random.default_rng([self._seed, passes])
            self._pass, self._order = passes, rng.permutation(len(self._examples))
        first = place * self._size
        return joined([self._examples[i] for i in self._order[first : first + self._size]])


def in_batches(examples: Sequence[Example], size: int = 64) -> Iterator[Batch]:
    """Yield the examples in their order."""
    for first in range(0, len(examples), size):
        yield joined(examples[first : first + size])


def read(paths: Sequence[Path]) -> str:
    """Return the text of these files; without any, the docstrings of Python's standard library."""
    if not paths:
        return corpus.read_standard_library(_progress)
    try:
        return corpus.read_files(paths, _progress)
    except corpus.TextError as error:
        raise SystemExit(str(error)) from error


def sentences(text: str, longest: int) -> list[list[str]]:
    """Return the words of each sentence, cut after `longest` of them; of equal ones the first."""
    found = (tuple(words[:longest]) for words in corpus.sentences(text) if words)
    return [list(words) for words in dict.fromkeys(found)]


def held_out(items: Sequence[_Item], block: int = 100) -> tuple[list[_Item], list[_Item]]:
    """Return 19 of 20 blocks of neighbours to train with, and the others to be tried on.

    Neighbours are about the same thing: single sentences held out would be told from those around
    them. Texts of a few sentences have smaller blocks.
    """
    block = max(1, min(block, len(items) // 20))
    rest = [item for i, item in enumerate(items) if i // block % 20 != 10]
    return rest, [item for i, item in enumerate(items) if i // block % 20 == 10]


def _progress(paths: Sequence[Path], what: str) -> Iterable[Path]:
    bar: Iterable[Path] = tqdm(paths, desc=what, leave=False, disable=None)
    return bar
