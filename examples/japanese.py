"""Words of Japanese and their parts of speech: the LSTMs of nagisa.

    pip install --no-deps nagisa six
    python examples/japanese.py 日本語の形態素解析は楽しいです。
    python examples/japanese.py --compare < sentences.txt

The package nagisa (Ikeda, 2018) divides a sentence by an LSTM in both directions over its
characters, and names the parts of speech by another over its words, whose own characters a third
has read. They run in C of its own, which took the place of DyNet, one sentence at a time. Here the
package still takes text apart and looks rows up, and its weights run in other LSTMs, all sentences
at once: the same words and tags.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

import embedrnn as er
from packages import Pair, side_by_side, without

Array = npt.NDArray[np.float32]
Tagged = list[tuple[str, str]]


class Tagger:
    """Divides sentences into words and names their parts of speech, with what a tagger has read."""

    def __init__(self, theirs: Any) -> None:
        self.theirs, self.model = theirs, theirs._model
        self.over_characters, self.over_words = map(
            both_ways, (self.model.ws_model, self.model.pos_model)
        )
        self.speller = Speller(self.model.UNI, self.model.char_seq_model)

    def __call__(self, sentences: Sequence[str]) -> list[Tagged]:
        """Return the words of each sentence with their parts of speech."""
        words = self.divided([utils().preprocess(sentence) for sentence in sentences])
        tags = iter(self.named(words) if any(words) else ())
        return [[(word, next(tags)) for word in one] for one in words]

    def divided(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the words of each text, the likeliest way to divide it."""
        m, read = self.model, [self.rows(text.lower()) for text in texts]
        offsets = np.cumsum([0, *map(len, read)])
        output, _ = self.over_characters(np.concatenate(read), offsets=offsets)
        scores = np.split(output @ m.w_wsT + m.b_ws, offsets[1:-1])
        tags = [utils().np_viterbi(m.trans_array, of_text) for of_text in scores]
        return [*map(utils().segmenter_for_bmes, texts, tags)]

    def rows(self, text: str) -> Array:
        """Return what is known of each character: itself, those beside it, and words there."""
        m, t = self.model, self.theirs
        if not text:
            return np.empty((0, self.over_characters.input_size), np.float32)
        found = utils().feature_extraction(
            text, t._uni2id, t._bi2id, t._word2id, t._hp["WINDOW_SIZE"]
        )
        rows: Array = utils().build_ws_input(*found, m.UNI, m.BI, m.CTYPE, m.WORD)
        return rows

    def named(self, words: Sequence[Sequence[str]]) -> list[str]:
        """Return the part of speech of each word, one sentence behind the other."""
        m, t = self.model, self.theirs
        every = [*chain.from_iterable(words)]
        ids = utils().conv_tokens_to_ids(every, t._word2id)
        rows = utils().build_pos_input(ids, [*map(self.classes, every)], m.WORD, m.POS, m.dim_uni)
        spelled = [utils().conv_tokens_to_ids([*word], t._uni2id) for word in every]
        rows[:, m.dim_word : m.dim_word + m.dim_uni] = self.speller(spelled)
        output, _ = self.over_words(rows, offsets=np.cumsum([0, *map(len, words)]))
        return [t.id2pos[n] for n in (output @ m.w_posT + m.b_pos).argmax(axis=1).tolist()]

    def classes(self, word: str) -> list[int]:
        """Return the parts of speech that a word may have: a noun may be any."""
        found = {*self.theirs._word2postags.get(word, [0])}
        return [*(found - {0} | {self.theirs._pos2id["名詞"]} if word.isalnum() else found)]


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


def both_ways(theirs: Any) -> er.LSTM:
    """Return a layer in both directions with these weights."""
    ((forward, back),) = theirs.layers
    return er.LSTM.from_state_dict(weights(forward, "_l0") | weights(back, "_l0_reverse"))


def package_code() -> Any:
    """Return the package's own tagger."""
    try:
        with without("nagisa.train"):  # which imports modules of common names
            from nagisa import tagger
    except ModuleNotFoundError:
        raise SystemExit(
            "text and weights are nagisa's: pip install --no-deps nagisa six"
        ) from None
    return tagger


def utils() -> Any:
    """Return what the package has in C for text, tables and scores."""
    return sys.modules["nagisa_utils"]


def pair(sentences: Sequence[str], theirs: Any, ours: Tagger) -> Pair:
    """Return the sentences as both tag them."""

    def package() -> list[Tagged]:
        found = [theirs.tagging(sentence) for sentence in sentences]
        return [list(zip(one.words, one.postags, strict=True)) for one in found]

    n, characters = len(sentences), sum(map(len, sentences))
    what = f"{n} sentence{'s' * (n > 1)}, {characters:,} characters"
    return Pair(what, package, lambda: ours(sentences))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the words of each sentence with their parts of speech."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("sentences", nargs="*", metavar="SENTENCE", help="(default: lines of standard input)")
    add("--compare", action="store_true", help="time the package's own LSTMs beside")
    options = parser.parse_args(arguments)
    theirs = package_code()
    ours = Tagger(theirs)
    sentences = options.sentences or [line.strip() for line in sys.stdin]
    if options.compare:
        side_by_side("nagisa", (pair(s, theirs, ours) for s in (sentences, sentences[:1])))
        return
    for tagged in ours(sentences):
        print(" ".join(f"{word}/{tag}" for word, tag in tagged))


if __name__ == "__main__":
    main()
