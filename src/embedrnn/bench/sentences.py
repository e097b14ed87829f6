"""Real sentences as numbers of tokens: the docstrings of Python's standard library.

A token is a word, or a character. They are numbered by how often they come, the most frequent one
1; 0 stands for padding.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, cycle, islice

import numpy as np

from embedrnn.bench.workloads import SEED, Array, Padded, Weights, numbers, weights

# What is behind so many tokens of a sentence is left out: lists and tables are no sentences.
LONGEST = {"words": 64, "characters": 256}


@dataclass(frozen=True, kw_only=True)
class Sentences(Padded):
    """A batch (B, T) padded to its longest sentence, and a table with a row for each token."""

    cell: str
    table: Array
    ids: Array

    @property
    def shape(self) -> tuple[int, int]:
        return self.ids.shape[0], self.ids.shape[1]


@dataclass(frozen=True, kw_only=True)
class Stream(Weights):
    """Sentences in the order of their files, and a table with a row for each token."""

    cell: str
    table: Array
    sentences: list[Array]

    @property
    def flops(self) -> int:
        """Floating-point operations of the two products."""
        return self.flops_of(sum(map(len, self.sentences)))


def batch(cell: str, gates: int, n: int, tokens: str, hidden: int) -> Sentences:
    """Take `n` sentences at equal distances, in words or characters; the table is as wide as h."""
    found = numbered(tokens)
    chosen = [found[i] for i in np.linspace(0, len(found) - 1, n).astype(int)]
    lengths = np.array([len(sentence) for sentence in chosen])
    ids = np.zeros((n, lengths.max()), np.int64)
    for row, sentence in zip(ids, chosen, strict=True):
        row[: len(sentence)] = sentence
    return Sentences(
        cell=cell,
        table=table(tokens, hidden),
        ids=ids,
        lengths=lengths,
        **weights(np.random.default_rng(SEED), hidden, hidden, gates),
    )


def stream(cell: str, gates: int, n: int, tokens: str, hidden: int) -> Stream:
    """Take the first `n` sentences, and go round where a Python has fewer."""
    return Stream(
        cell=cell,
        table=table(tokens, hidden),
        sentences=list(islice(cycle(numbered(tokens)), n)),
        **weights(np.random.default_rng(SEED), hidden, hidden, gates),
    )


def table(tokens: str, width: int) -> Array:
    """Return a table with a row for each token of the whole text, and one for the padding."""
    return numbers((1 + max(int(sentence.max()) for sentence in numbered(tokens)), width), "f4")


@lru_cache
def numbered(tokens: str) -> list[Array]:
    """Return every sentence, as numbers of its words or characters."""
    cut = LONGEST[tokens]
    found = [
        sentence[:cut] if tokens == "words" else " ".join(sentence)[:cut] for sentence in words()
    ]
    frequent = Counter(chain.from_iterable(found)).most_common()
    number = {token: i for i, (token, _) in enumerate(frequent, start=1)}
    return [np.array([number[token] for token in sentence]) for sentence in found]


@lru_cache
def words() -> list[list[str]]:
    """Return the words of every sentence that has any."""
    from embedrnn._demo import corpus  # which an older build may lack

    text = corpus.read_standard_library(lambda paths, _: paths)
    return [sentence for sentence in corpus.sentences(text.lower()) if sentence]
