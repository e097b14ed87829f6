"""Words of Japanese and their parts of speech: the LSTMs of nagisa.

    pip install --no-deps nagisa six
    python examples/japanese.py 日本語の形態素解析は楽しいです。
    python examples/japanese.py --compare < sentences.txt

The package nagisa (Ikeda, 2018) divides a sentence by an LSTM in both directions over its
characters, and names the parts of speech by another over its words, whose own characters a third
has read. They run in C of its own, which took the place of DyNet. Here its tagger keeps what it
does with text, tables and scores, and is given other LSTMs, with the same weights: the same words
and tags.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

import embedrnn as er
from packages import Pair, file_of, side_by_side, without

Array = npt.NDArray[np.float32]
Tagged = list[tuple[str, str]]


class BothWays:
    """An LSTM in both directions, of rows of one sentence."""

    def __init__(self, theirs: Any) -> None:
        ((forward, back),) = theirs.layers
        self.lstm = er.LSTM.from_state_dict(weights(forward, "_l0") | weights(back, "_l0_reverse"))

    def transduce(self, rows: Array) -> Array:
        """Return the states of both directions at each row."""
        output: Array = self.lstm(rows)[0]
        return output


class Speller:
    """What the characters of a word come to: all read forward, and the last one backward."""

    def __init__(self, table: Array, theirs: Any) -> None:
        ((forward, back),) = theirs.layers
        read, self.back = (er.LSTM.from_state_dict(weights(one, "")) for one in (forward, back))
        self.table = er.Embedding.from_pretrained(table)
        self.read = er.Encoder(self.table, read).freeze()

    def __call__(self, words: Sequence[Sequence[int]]) -> Array:
        """Return a vector for each word, which is given by the numbers of its characters."""
        offsets = np.cumsum([0, *map(len, words)])
        characters = np.array([*chain.from_iterable(words)])
        _, ((forward,), _) = self.read(characters, offsets=offsets, output=False)
        back, _ = self.back.step(self.table(characters[offsets[1:] - 1]))
        return np.concatenate([forward, back], axis=1)


def weights(theirs: Any, end: str) -> dict[str, Array]:
    """Return those of one direction: its gates are i, f, o, g, those of PyTorch i, f, g, o."""

    def in_order(array: Array) -> Array:
        i, f, o, g = np.split(array, 4)
        return np.concatenate([i, f, g, o])

    named = {"weight_ih": theirs.WxT.T, "weight_hh": theirs.WhT.T, "bias_ih": theirs.b}
    named["bias_hh"] = np.zeros_like(theirs.b)
    return {name + end: in_order(array) for name, array in named.items()}


def with_our_lstms(tagger: Any) -> Any:
    """Return a tagger with the same weights, in LSTMs of this package."""
    ours, model = copy.copy(tagger), copy.copy(tagger._model)
    model.ws_model, model.pos_model = BothWays(model.ws_model), BothWays(model.pos_model)
    model._char_vecs = Speller(model.UNI, model.char_seq_model)
    ours._model = model
    return ours


def package_code() -> Any:
    """Return the package's own tagger."""
    file_of("nagisa", "")
    with without("nagisa.train"):  # which imports modules of common names
        from nagisa import tagger
    return tagger


def tagged(tagger: Any, sentence: str) -> Tagged:
    """Return words with their parts of speech."""
    found = tagger.tagging(sentence)
    return list(zip(found.words, found.postags, strict=True))


def pair(sentences: Sequence[str], theirs: Any, ours: Any) -> Pair:
    """Return the sentences as both tag them."""

    def run(tagger: Any) -> Callable[[], list[Tagged]]:
        return lambda: [tagged(tagger, sentence) for sentence in sentences]

    what = f"{len(sentences)} of {sum(map(len, sentences))} characters"
    return Pair(what, run(theirs), run(ours))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the words of each sentence with their parts of speech."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("sentences", nargs="*", metavar="SENTENCE", help="(default: lines of standard input)")
    add("--compare", action="store_true", help="time the package's own LSTMs beside")
    options = parser.parse_args(arguments)
    theirs = package_code()
    ours = with_our_lstms(theirs)
    sentences = options.sentences or [line.strip() for line in sys.stdin]
    if options.compare:
        side_by_side("nagisa", (pair(s, theirs, ours) for s in (sentences, sentences[:1])))
        return
    for sentence in sentences:
        print(" ".join(f"{word}/{tag}" for word, tag in tagged(ours, sentence)))


if __name__ == "__main__":
    main()
