"""A language model, trained from nothing to tell which word comes next.

    python examples/language_model.py --checkpoint lm.npz --plot loss.png

It learns from the docstrings of Python's standard library (or from --text FILE ...), tells how well
it foresees sentences that it has not seen, beside a model that knows the frequencies of the words
alone, and then writes some sentences of its own.
"""

import argparse
import math
from collections.abc import Iterator, Sequence

import numpy as np

import embedrnn as er
import text
from model import Model
from text import Batch, Example
from training import Trainer, add_options, train

END = "<end>"  # before the first word of a sentence, and behind the last


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, try and show the model."""
    options = parse(arguments)
    sentences = text.sentences(text.read(options.text).lower(), options.longest)
    training, trial = text.held_out(sentences)
    vocabulary = known(training, options.vocabulary)
    examples = [example(vocabulary, words) for words in training]
    unseen = list(text.in_batches([example(vocabulary, words) for words in trial]))
    print(f"{len(training):,} sentences, {len(trial):,} held out, {len(vocabulary):,} words")

    model = Model(len(vocabulary), len(vocabulary), width=options.width, hidden=options.hidden,
                  layers=options.layers, dropout=options.dropout, seed=options.seed)  # fmt: skip
    train(Trainer(model, examples, options), options)

    of_words = unigram_perplexity(examples, unseen, len(vocabulary))
    print(f"perplexity of held-out sentences: {perplexity(model, unseen):.1f}")
    print(f"of frequencies alone: {of_words:.1f}\n")
    rng = np.random.default_rng(options.seed)
    for _ in range(options.samples):
        print(*sampled(model, vocabulary, rng, options))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_options(parser, steps=1500, vocabulary=10_000, width=128, hidden=256, layers=2,
                dropout=0.3, batch=32, longest=64, rate=3e-3, seed=0, samples=8,
                temperature=0.7)  # fmt: skip
    return parser.parse_args(arguments)


def known(sentences: Sequence[Sequence[str]], size: int) -> er.Vocabulary:
    """Return the most frequent words, numbered behind what stands for others and for ends."""
    return er.Vocabulary.from_sequences(
        sentences, max_size=size, unknown=text.UNKNOWN, special=[END]
    )


def example(vocabulary: er.Vocabulary, words: Sequence[str]) -> Example:
    """Return a sentence, whose words are each foreseen from those before."""
    ids = vocabulary.ids([END, *words, END])
    return Example(ids[:-1], ids[1:])


def perplexity(model: Model, batches: Sequence[Batch]) -> float:
    """Return between how many words, in the mean, the model does not know to choose."""
    total = sum(model.loss(batch) * len(batch.targets) for batch in batches)
    return math.exp(total / sum(len(batch.targets) for batch in batches))


def unigram_perplexity(examples: Sequence[Example], batches: Sequence[Batch], words: int) -> float:
    """Return the perplexity of a model that knows how often a word came, and once more."""
    counts = np.bincount(np.concatenate([e.targets for e in examples]), minlength=words) + 1
    targets = np.concatenate([batch.targets for batch in batches])
    return math.exp(-np.log(counts[targets] / counts.sum()).mean())


def sampled(
    model: Model, vocabulary: er.Vocabulary, rng: np.random.Generator, options: argparse.Namespace
) -> Iterator[str]:
    """Draw a sentence: each word goes in, and the next one is drawn from what comes out.

    At a temperature below 1 words that are likely become likelier.
    """
    end, unknown = vocabulary[END], vocabulary.unknown_idx
    word, state = end, None
    for _ in range(options.longest):
        hidden, state = model.lstm.step(model.embedding(word), state)
        scores = model.scores(hidden).astype(np.float64) / options.temperature
        scores[unknown] = -np.inf
        chances = np.exp(scores - scores.max())
        word = int(rng.choice(len(chances), p=chances / chances.sum()))
        if word == end:
            return
        yield vocabulary.tokens[word]


if __name__ == "__main__":
    main()
