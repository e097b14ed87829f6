"""How Chinese characters are read that can be read in several ways: the LSTM of g2pM.

    pip install --no-deps g2pM
    python examples/polyphones.py 银行行长
    python examples/polyphones.py --compare < sentences.txt

The package g2pM (Park and Lee, 2020) has the readings of each character, and an LSTM in both
directions that chooses where there are several. It runs in NumPy, one step and one sentence at a
time, in float64, since its states begin as such. Here all sentences are read at once, in float32:
the same readings.
"""

import argparse
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import embedrnn as er
from packages import Pair, file_of, side_by_side

BEGIN, END, UNKNOWN = "시", "끝", "<UNK>"  # as the package names them


class Reader:
    """Chooses a reading for each character that has several, by those around it."""

    def __init__(self) -> None:
        self.readings: dict[str, list[str]] = unpickled("digest_cedict")
        self.numbers: dict[str, int] = unpickled("char2idx")
        self.names = {number: reading for reading, number in unpickled("class2idx").items()}
        self.weights = unpickled("np_ckpt")
        table = er.Embedding.from_pretrained(self.weights["embedding.weight"])
        lstm = er.LSTM.from_state_dict(
            {k: v for k, v in self.weights.items() if k.startswith("lstm.")}, "lstm."
        )
        self.encoder = er.Encoder(table, lstm).freeze()

    def __call__(self, sentences: Sequence[str]) -> list[list[str]]:
        """Return a reading of each character, with its tone; others stand for themselves."""
        known = [[self.readings.get(x, [x]) for x in sentence] for sentence in sentences]
        asked = np.array([len(x) > 1 for one in known for x in ([""], *one, [""])])
        chosen = iter(self.chosen(sentences, asked) if asked.any() else ())
        return [[x[0] if len(x) == 1 else next(chosen) for x in one] for one in known]

    def chosen(self, sentences: Sequence[str], asked: Any) -> list[str]:
        """Return the likeliest reading at the places where one is asked for."""
        w, unknown = self.weights, self.numbers[UNKNOWN]
        ids = [[self.numbers.get(x, unknown) for x in (BEGIN, *s, END)] for s in sentences]
        output, _ = self.encoder(ids)
        hidden = output[asked] @ w["logit_layer.0.weight"].T + w["logit_layer.0.bias"]
        scores = np.maximum(hidden, 0) @ w["logit_layer.2.weight"].T + w["logit_layer.2.bias"]
        return [self.names[number] for number in scores.argmax(axis=1)]


def unpickled(name: str) -> Any:
    """Return one of the package's dictionaries."""
    with file_of("g2pM", f"g2pM/{name}.pkl").open("rb") as file:
        return pickle.load(file)


def package_code() -> Callable[[str], list[str]]:
    """Return the package's own code, for a sentence."""
    from g2pM import G2pM

    model = G2pM()
    return lambda sentence: model(sentence, char_split=True)


def pair(
    sentences: Sequence[str], theirs: Callable[[str], list[str]], ours: Callable[..., Any]
) -> Pair:
    """Return the sentences as both read them."""
    n, characters = len(sentences), sum(map(len, sentences))
    what = f"{n} sentence{'s' * (n > 1)}, {characters:,} characters"
    return Pair(what, lambda: [theirs(one) for one in sentences], lambda: ours(sentences))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write how each sentence is read."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("sentences", nargs="*", metavar="SENTENCE", help="(default: lines of standard input)")
    add("--compare", action="store_true", help="time the package's own code beside")
    options = parser.parse_args(arguments)
    reader = Reader()
    sentences = options.sentences or [line.strip() for line in sys.stdin]
    if options.compare:
        theirs = package_code()
        some = (sentences, sentences[:1])
        side_by_side("g2pM", (pair(one, theirs, reader) for one in some))
        return
    for sentence, readings in zip(sentences, reader(sentences), strict=True):
        print(f"{sentence}\t{' '.join(readings)}")


if __name__ == "__main__":
    main()
