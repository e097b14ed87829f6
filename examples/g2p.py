"""Pronounce words: the GRUs of g2p-en, which read letters and write phonemes, many words at once.

    pip install --no-deps g2p-en
    python examples/g2p.py activationist embedrnn
    python examples/g2p.py < words.txt

The package g2p-en (Park and Kim, 2019) brings weights that were trained on the CMU Pronouncing
Dictionary, and runs them in NumPy, one word at a time. Here a batch of words is read at once,
without padding, and written at once, until the last of them has ended: the same phonemes.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import embedrnn as er

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
        self.encoder = er.Encoder(*_layers(weights, "enc"))
        self.embedding, self.decoder = _layers(weights, "dec")
        self.weight, self.bias = weights["fc_w"], weights["fc_b"]

    def __call__(self, words: Sequence[str]) -> list[list[str]]:
        """Return the phonemes of each word."""
        if not words:
            return []
        _, state = self.encoder([_numbers(word) for word in words], output=False)
        return self.written(state)

    def written(self, state: Array) -> list[list[str]]:
        """Write phonemes, each the likeliest behind those before; words that end are left out."""
        told: list[list[str]] = [[] for _ in range(state.shape[1])]
        going = np.arange(len(told))
        last = np.full(len(told), START)
        for _ in range(LONGEST):
            output, state = self.decoder.step(self.embedding(last), state)
            last = (output @ self.weight.T + self.bias).argmax(axis=1)
            on = last != END
            going, last, state = going[on], last[on], state[:, on]
            for word, phoneme in zip(going, last, strict=True):
                told[word].append(PHONEMES[phoneme])
            if not len(going):
                break
        return told


def _layers(weights: Mapping[str, Array], name: str) -> tuple[er.Embedding, er.GRU]:
    """Return the layers of one of the two, whose gates are in PyTorch's order."""
    embedding = er.Embedding.from_pretrained(weights[f"{name}_emb"])
    gru = er.GRU(embedding.embedding_dim, weights[f"{name}_w_hh"].shape[1])
    theirs = {"weight_ih_l0": "w_ih", "weight_hh_l0": "w_hh",
              "bias_ih_l0": "b_ih", "bias_hh_l0": "b_hh"}  # fmt: skip
    gru.load_state_dict({ours: weights[f"{name}_{key}"] for ours, key in theirs.items()})
    return embedding, gru


def _numbers(word: str) -> list[int]:
    return [*(LETTER_NUMBERS.get(letter, UNKNOWN) for letter in word), END_OF_LETTERS]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write each word with its phonemes."""
    options = parse(arguments)
    pronounce = Pronouncer(read_weights(options.weights))
    words: Iterable[str] = options.words or (word for line in sys.stdin for word in line.split())
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
    return parser.parse_args(arguments)


def read_weights(path: Path | None = None) -> dict[str, Any]:
    """Return the weights of a file, or of the installed g2p-en, which is not imported."""
    try:
        found = path or metadata.distribution("g2p-en").locate_file("g2p_en/checkpoint20.npz")
        with np.load(str(found)) as file:
            return dict(file)
    except metadata.PackageNotFoundError:
        raise SystemExit(
            "the weights are those of g2p-en: pip install --no-deps g2p-en\n"
            "(what it depends on is for its own code, which does not run here)"
        ) from None
    except OSError as error:
        raise SystemExit(f"{found}: {error.strerror or error}") from error


def in_batches(words: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield words in their order, so many at a time."""
    rest = iter(words)
    while batch := list(islice(rest, size)):
        yield batch


if __name__ == "__main__":
    main()
