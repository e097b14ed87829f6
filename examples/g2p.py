"""Pronounce words: the GRUs of g2p-en, which read letters and write phonemes, many words at once.

    pip install --no-deps g2p-en
    python examples/g2p.py activationist embedrnn
    python examples/g2p.py < words.txt
    python examples/g2p.py --compare < words.txt

The package g2p-en (Park and Kim, 2019) brings weights that were trained on the CMU Pronouncing
Dictionary, and runs them in NumPy, one word at a time. Here a batch of words is read at once,
without padding, and written at once, until the last of them has ended: the same phonemes.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import embedrnn as er
from packages import Pair, file_of, side_by_side, without

Array = npt.NDArray[np.float32]

LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
# ARPAbet: three of each vowel, by its stress, and one that has none.
VOWELS = ["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"]
CONSONANTS = ["B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S",
              "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"]  # fmt: skip
STRESSED = [vowel + stress for vowel in VOWELS for stress in "012"]
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>", *sorted([*STRESSED, *CONSONANTS, "UW"])]

LETTER_NUMBERS = {letter: number for number, letter in enumerate(LETTERS)}
UNKNOWN, END_OF_LETTERS = LETTERS.index("<unk>"), LETTERS.index("</s>")
START, END = PHONEMES.index("<s>"), PHONEMES.index("</s>")
LONGEST = 20  # phonemes


class Pronouncer:
    """A GRU that reads the letters of a word, and another that writes phonemes from its state."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.reader, self.writer = frozen(weights, "enc"), frozen(weights, "dec")
        self.weight, self.bias = weights["fc_w"], weights["fc_b"]

    def __call__(self, words: Sequence[str]) -> list[list[str]]:
        """Return the phonemes of each word."""
        letters = [[*(LETTER_NUMBERS.get(x, UNKNOWN) for x in word), END_OF_LETTERS]
                   for word in words]  # fmt: skip
        return self.written(self.reader(letters, output=False)[1]) if words else []

    def written(self, state: Array) -> list[list[str]]:
        """Write phonemes, each the likeliest behind those before; words that end are left out."""
        told: list[list[str]] = [[] for _ in range(state.shape[1])]
        going = np.arange(len(told))
        last = np.full(len(told), START)
        for _ in range(LONGEST):
            output, state = self.writer.step(last, state)
            last = (output @ self.weight.T + self.bias).argmax(axis=1)
            on = last != END
            going, last, state = going[on], last[on], state[:, on]
            for word, phoneme in zip(going, last, strict=True):
                told[word].append(PHONEMES[phoneme])
            if not len(going):
                break
        return told


def frozen(weights: Mapping[str, Array], name: str) -> er.FrozenEncoder:
    """Return one of the two: its input products of all letters, or all phonemes, are made once."""
    theirs = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
    gru = er.GRU.from_state_dict({ours: weights[f"{name}_{key}"] for ours, key in theirs.items()})
    return er.Encoder(er.Embedding.from_pretrained(weights[f"{name}_emb"]), gru).freeze()


def read_weights(path: Path | None = None) -> dict[str, Any]:
    """Return the weights of a file, or of the installed g2p-en, which is not imported."""
    found = path or file_of("g2p-en", "g2p_en/checkpoint20.npz")
    try:
        with np.load(found) as file:
            return dict(file)
    except OSError as error:
        raise SystemExit(f"{found}: {error.strerror or error}") from error


def package_code() -> Callable[[str], list[str]]:
    """Return g2p-en's own code for a word that its dictionary does not have."""
    with without("nltk", "nltk.corpus", "nltk.tokenize", "inflect"):  # for text and dictionary
        from g2p_en.g2p import G2p

        predict: Callable[[str], list[str]] = G2p().predict
    return predict


def pair(
    words: Sequence[str], theirs: Callable[[str], list[str]], ours: Callable[..., list[list[str]]]
) -> Pair:
    """Return the words as both pronounce them."""
    what = f"{len(words)} word{'s' * (len(words) > 1)}"
    return Pair(what, lambda: [theirs(word) for word in words], lambda: ours(words))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write each word with its phonemes."""
    options = parse(arguments)
    pronounce = Pronouncer(read_weights(options.weights))
    words: Iterable[str] = options.words or (word for line in sys.stdin for word in line.split())
    if options.compare:
        batch = [word.lower() for word in islice(words, options.batch)]
        theirs = package_code()
        side_by_side("g2p-en", (pair(some, theirs, pronounce) for some in (batch, batch[:1])))
        return
    for batch in in_batches(words, options.batch):
        phonemes = pronounce([word.lower() for word in batch])
        for word, spoken in zip(batch, phonemes, strict=True):
            print(f"{word}\t{' '.join(spoken)}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("words", nargs="*", metavar="WORD", help="(default: those of standard input)")
    add("--batch", type=int, default=512, metavar="WORDS", help="at once (default: 512)")
    add("--weights", type=Path, metavar="FILE",
        help="a checkpoint20.npz of g2p-en (default: that of the installed package)",
    )  # fmt: skip
    add("--compare", action="store_true", help="time the package's own code beside")
    return parser.parse_args(arguments)


def in_batches(words: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield words in their order, so many at a time."""
    rest = iter(words)
    while batch := list(islice(rest, size)):
        yield batch


if __name__ == "__main__":
    main()
