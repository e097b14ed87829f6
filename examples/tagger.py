"""Restore capitals and full stops, as for the text of a speech recogniser, with an LSTM both ways.

    python examples/tagger.py --checkpoint tagger.npz
    python examples/tagger.py --checkpoint tagger.npz --restore "this is a test it works"

A class is told for each word: how it is written, and whether a sentence ends behind it. The tagger
learns from the docstrings of Python's standard library (or from --text FILE ...), and is tried on
passages that it has not seen, beside one that tells the most frequent class everywhere.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import embedrnn as er
import text
from embedrnn._demo import corpus
from model import Model
from text import Example, Ids
from training import Trainer, add_options, train

# A class is the number of the way that a word is written, and ENDS more where a sentence ends.
WRITTEN = (str, str.capitalize, str.upper)
AS_IT_WAS, CAPITALISED, UPPER = range(3)
ENDS = len(WRITTEN)
CLASSES = 2 * ENDS


class Word(NamedTuple):
    """A word in lower case, and how it stood in the text."""

    word: str
    target: int


class Scores(NamedTuple):
    """How well classes were told; F1 is the harmonic mean of precision and recall."""

    accuracy: float
    f1_capitals: float
    f1_ends: float
    f1_mean: float  # of the classes that there are


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, try and show the tagger."""
    options = parse(arguments)
    training, trial = text.held_out(passages(paragraphs(text.read(options.text)), options.longest))
    vocabulary = er.Vocabulary.from_sequences(
        ([word.word for word in words] for words in training),
        max_size=options.vocabulary, unknown=text.UNKNOWN,
    )  # fmt: skip
    examples = [example(vocabulary, words) for words in training]
    unseen = [example(vocabulary, words) for words in trial]
    print(f"{len(training):,} passages, {len(trial):,} held out, {len(vocabulary):,} words")

    model = Model(len(vocabulary), CLASSES, width=options.width, hidden=options.hidden,
                  layers=options.layers, dropout=options.dropout, bidirectional=True,
                  seed=options.seed)  # fmt: skip
    train(Trainer(model, examples, options), options)

    print(report(model, examples, unseen))
    shown = [options.restore] if options.restore else map(_plain, trial[: options.samples])
    for plain in shown:
        print(f"\n  {plain}\n> {restored(model, vocabulary, plain)}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_options(parser, steps=1000, vocabulary=10_000, width=128, hidden=128, layers=2,
                dropout=0.3, batch=32, longest=64, rate=3e-3, seed=0, samples=5)  # fmt: skip
    parser.add_argument("--restore", metavar="TEXT", help="restore this text")
    return parser.parse_args(arguments)


def passages(paragraphs: Iterable[Sequence[Word]], longest: int) -> list[list[Word]]:
    """Return neighbours as one, until it has half of the words that are allowed.

    A paragraph by itself is often one sentence, whose end would be no riddle.
    """
    found: list[list[Word]] = [[]]
    for words in paragraphs:
        if len(found[-1]) >= longest / 2:
            found.append([])
        found[-1] += words
    return [words[:longest] for words in found if words]


def paragraphs(whole: str) -> list[tuple[Word, ...]]:
    """Return the words of each paragraph that ends as a sentence does; of equal ones the first."""
    found = (
        tuple(word for sentence in corpus.sentences(paragraph) for word in labelled(sentence))
        for paragraph in re.split(r"\n\s*\n", whole)
        if paragraph.rstrip().endswith((".", "!", "?"))
    )
    return [words for words in dict.fromkeys(found) if words]


def labelled(tokens: Sequence[str]) -> list[Word]:
    """Return the words of one sentence, without what else stands in it."""
    words = [Word(token.lower(), _written(token)) for token in tokens if _is_word(token)]
    if words and tokens[-1] in {".", "!", "?"}:
        words[-1] = words[-1]._replace(target=words[-1].target + ENDS)
    return words


def _is_word(token: str) -> bool:
    return token[0].isalnum() or token[0] == "_"


def _written(token: str) -> int:
    if not token[0].isupper():
        return AS_IT_WAS
    return UPPER if token.isupper() and len(token) > 1 else CAPITALISED


def example(vocabulary: er.Vocabulary, words: Sequence[Word]) -> Example:
    """Return a passage as the model reads it."""
    targets = np.array([word.target for word in words], np.int64)
    return Example(vocabulary.ids(word.word for word in words), targets)


def classes(model: Model, examples: Sequence[Example]) -> Ids:
    """Return the likeliest class of every word."""
    batches = text.in_batches(examples)
    return np.concatenate([model.logits(batch).argmax(axis=1) for batch in batches])


def restored(model: Model, vocabulary: er.Vocabulary, plain: str) -> str:
    """Return a text with capitals and full stops."""
    tokens = (token for sentence in corpus.sentences(plain.lower()) for token in sentence)
    words = [token for token in tokens if _is_word(token)]
    if not words:
        return ""
    ids = vocabulary.ids(words)
    told = classes(model, [Example(ids, np.zeros_like(ids))])
    return " ".join(_rewritten(word, int(target)) for word, target in zip(words, told, strict=True))


def _rewritten(word: str, target: int) -> str:
    ends, written = divmod(target, ENDS)
    return WRITTEN[written](word) + "." * ends


def _plain(words: Iterable[Word]) -> str:
    return " ".join(word.word for word in words)


def report(model: Model, examples: Sequence[Example], unseen: Sequence[Example]) -> str:
    """Return a table of how well the model and the most frequent class tell what is unseen."""
    actual = np.concatenate([e.targets for e in unseen])
    frequent = np.bincount(np.concatenate([e.targets for e in examples])).argmax()
    rows = {"model": classes(model, unseen), "most frequent": np.full_like(actual, frequent)}
    lines = [f"{'held out':14}{'accuracy':>10}{'F1 capitals':>13}{'F1 ends':>9}{'F1 mean':>9}"]
    for name, told in rows.items():
        accuracy, capitals, ends, mean = scores(told, actual)
        lines.append(f"{name:14}{accuracy:10.3f}{capitals:13.3f}{ends:9.3f}{mean:9.3f}")
    return "\n".join(lines)


def scores(told: Ids, actual: Ids) -> Scores:
    """Return how well classes were told."""
    each = [f1(told == k, actual == k) for k in np.unique(actual)]
    return Scores(
        float(np.mean(told == actual)),
        f1(told % ENDS != AS_IT_WAS, actual % ENDS != AS_IT_WAS),
        f1(told >= ENDS, actual >= ENDS),
        float(np.mean(each)),
    )


def f1(told: npt.NDArray[np.bool_], actual: npt.NDArray[np.bool_]) -> float:
    """Return 2 TP / (2 TP + FP + FN), 0 where nothing was told rightly."""
    right, all_told, all_actual = (int(np.sum(a)) for a in (told & actual, told, actual))
    return 2 * right / max(1, all_told + all_actual)


if __name__ == "__main__":
    main()
