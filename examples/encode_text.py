"""One vector for each sentence of a text, and the nearest neighbours of some, with an LSTM.

    python examples/encode_text.py --query "raise an error if the file is not there"
    python examples/encode_text.py --text book.txt --out vectors.npy
    python examples/encode_text.py --checkpoint lm.npz

The vector is the mean of what the LSTM gives after each word. Its weights are random, a strong
baseline (Wieting and Kiela, "No Training Required: Exploring Random Encoders for Sentence
Classification", ICLR 2019), or those that examples/language_model.py has learnt from the same text:
by default the docstrings of Python's standard library.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

import embedrnn as er
import text
from language_model import END, known
from model import starting_with

Vectors = npt.NDArray[np.float32]


def main(arguments: Sequence[str] | None = None) -> None:
    """Encode the text, and show neighbours."""
    options = parse(arguments)
    sentences = text.sentences(text.read(options.text).lower(), options.longest)
    if not sentences:
        raise SystemExit("the text holds no words")
    training, _ = text.held_out(sentences)  # whose words the language model knows
    vocabulary = known(training, options.vocabulary)
    encoder = encoder_of(len(vocabulary), options)
    print(f"{len(sentences):,} sentences, {len(vocabulary):,} words")

    vectors = encoded(encoder, vocabulary, sentences, progress=sys.stderr.isatty())
    if options.out:
        np.save(options.out, vectors)
    queries = queried(sentences, options)
    center = vectors.mean(axis=0)  # what every sentence has tells none from another
    asked = encoded(encoder, vocabulary, queries) - center
    for query, near in zip(queries, neighbours(asked, vectors - center), strict=True):
        print(f"\n{' '.join(query)}")
        for cosine, number in [place for place in near if sentences[place[1]] != query][:3]:
            print(f"  {cosine:.2f}  {' '.join(sentences[number])}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what a checkpoint tells stands in place of the sizes there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--text", nargs="+", type=Path, default=[], metavar="FILE",
        help="encode these files (default: the docstrings of Python's standard library)",
    )  # fmt: skip
    sizes = {"vocabulary": 20_000, "width": 128, "hidden": 256, "layers": 1, "longest": 64}
    for name, value in {**sizes, "seed": 0, "samples": 5}.items():
        add(f"--{name}", type=int, default=value, help=f"(default: {value})")
    add("--checkpoint", type=Path, metavar="FILE",
        help="take the weights that examples/language_model.py saved there, and their sizes",
    )  # fmt: skip
    add("--query", action="append", default=[], metavar="TEXT",
        help="show the neighbours of this (default: of some sentences of the text)",
    )  # fmt: skip
    add("--out", type=Path, metavar="FILE", help="save the vectors, e.g. vectors.npy")
    options = parser.parse_args(arguments)
    if options.checkpoint:
        options.__dict__.update(sizes_of(options.checkpoint, options.text))
    return options


def sizes_of(checkpoint: Path, texts: Sequence[Path]) -> dict[str, int]:
    """Return the sizes of a language model that has learnt from these files."""
    try:
        with np.load(checkpoint) as file:
            told = json.loads(str(file["options"]))
    except OSError as error:
        raise SystemExit(f"{checkpoint}: {error.strerror or error}") from error
    if told["text"] != str(texts):
        raise SystemExit(f"{checkpoint} has learnt from other text: {told['text']}")
    return {
        name: int(told[name]) for name in ("vocabulary", "width", "hidden", "layers", "longest")
    }


def encoder_of(words: int, options: argparse.Namespace) -> er.Encoder:
    """Return the encoder of a language model, or one both ways of random weights."""
    rng = np.random.default_rng(options.seed)
    embedding = er.Embedding(words, options.width, rng=rng)
    lstm = er.LSTM(
        options.width, options.hidden, options.layers, bidirectional=not options.checkpoint, rng=rng
    )
    if options.checkpoint:
        with np.load(options.checkpoint) as file:
            arrays = starting_with("model.", file)
        embedding.load_state_dict(starting_with("embedding.", arrays))
        lstm.load_state_dict(starting_with("lstm.", arrays))
    return er.Encoder(embedding, lstm)


def encoded(
    encoder: er.Encoder,
    vocabulary: er.Vocabulary,
    sentences: Sequence[Sequence[str]],
    progress: bool = False,
) -> Vectors:
    """Return the vector of each sentence, (S, directions * H)."""
    ids = [vocabulary.ids([END, *words]) for words in sentences]
    return np.stack(list(encoder.encode(ids, pool="mean", progress=progress)))


def queried(sentences: Sequence[list[str]], options: argparse.Namespace) -> list[list[str]]:
    """Return what neighbours are asked of: words of each query, or sentences all over the text."""
    if options.query:
        return [
            [word for words in text.sentences(query.lower(), options.longest) for word in words]
            for query in options.query
        ]
    places = np.linspace(0, len(sentences) - 1, min(options.samples, len(sentences)))
    return [sentences[place] for place in places.astype(int)]


def neighbours(asked: Vectors, vectors: Vectors, n: int = 4) -> Iterator[list[tuple[float, int]]]:
    """Yield for each of those that are asked the nearest vectors: the cosine, and which one."""
    unit, asked_unit = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        for rows in (vectors, asked)
    )
    for query in asked_unit:
        cosines = unit @ query
        nearest = np.argsort(-cosines)[:n]
        yield [(float(cosines[i]), int(i)) for i in nearest]


if __name__ == "__main__":
    main()
