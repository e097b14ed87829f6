"""Vocabularies: what is encoded decodes to what it was, and files and pickles hold all."""

import copy
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er

TEXT = [["the", "cat", "sat"], [], ["the", "dog"]]
PADDED = er.Vocabulary(["<pad>", "<unk>", "the", "cat"], padding="<pad>", unknown="<unk>")

# What UTF-8 has.
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SENTENCES = st.lists(
    st.lists(st.sampled_from(["a", "b", "", "the", "ä", " "]), max_size=4), max_size=5
)


def distinct(sentences: list[list[str]]) -> list[str]:
    return list(dict.fromkeys(word for words in sentences for word in words))


# --- ids ---------------------------------------------------------------------------------------


def test_tokens_have_ids_in_order() -> None:
    vocabulary = er.Vocabulary(iter(["b", "a", "c"]))
    assert vocabulary.tokens == tuple(vocabulary) == ("b", "a", "c")
    assert [vocabulary[token] for token in "bac"] == [0, 1, 2]
    assert len(vocabulary) == 3
    assert "a" in vocabulary
    assert "d" not in vocabulary
    assert 0 not in vocabulary
    assert [] not in vocabulary
    assert (vocabulary.padding_idx, vocabulary.unknown_idx) == (None, None)
    assert (vocabulary.padding, vocabulary.unknown) == (None, None)
    with pytest.raises(KeyError, match=r"^'d'$"):
        vocabulary["d"]
    assert type(er.Vocabulary(np.array(["a", "b"])).tokens[0]) is str


def test_unknown_tokens() -> None:
    assert PADDED["bird"] == PADDED.unknown_idx == 1
    assert PADDED.encode(TEXT).values.tolist() == [2, 3, 1, 2, 1]
    assert PADDED.ids(iter(TEXT[0])).tolist() == [2, 3, 1]
    assert PADDED.ids([]).dtype == np.int64
    assert "bird" not in PADDED
    assert PADDED.padding_idx == 0


def test_ids_are_ragged_or_padded() -> None:
    values, offsets = PADDED.encode(TEXT)
    assert offsets.tolist() == [0, 3, 3, 5]
    ids, lengths = PADDED.encode(TEXT, padded=True)
    assert ids.tolist() == [[2, 3, 1], [0, 0, 0], [2, 1, 0]]
    assert lengths.tolist() == [3, 0, 2]
    for array in (values, offsets, ids, lengths):
        assert array.dtype == np.int64
    assert PADDED.encode([]).offsets.tolist() == [0]
    assert PADDED.encode([], padded=True).ids.shape == (0, 0)
    assert PADDED.encode(iter(TEXT)).values.tolist() == values.tolist()


def test_the_layers_take_them(backend: str) -> None:
    embedding = er.Embedding(4, 3, padding_idx=PADDED.padding_idx, rng=0)
    encoder = er.Encoder(embedding, er.GRU(3, 5, rng=0))
    ids, offsets = PADDED.encode(TEXT)
    padded, lengths = PADDED.encode(TEXT, padded=True)
    expected = encoder(ids, offsets=offsets, pool="last")[0]
    np.testing.assert_array_equal(encoder(padded, lengths, pool="last")[0], expected)
    np.testing.assert_array_equal(encoder(padded, pool="last")[0], expected)
    bag = er.EmbeddingBag.from_pretrained(embedding.weight, include_last_offset=True)
    sums = er.embedding_bag(embedding.weight, padded, padding_idx=0, mode="mean")
    np.testing.assert_array_equal(bag(ids, offsets), sums)


@given(SENTENCES, st.booleans())
def test_what_is_encoded_decodes_to_what_it_was(sentences: list[list[str]], padded: Any) -> None:
    vocabulary = er.Vocabulary(["<pad>", *distinct(sentences)], padding="<pad>")
    found = vocabulary.encode(sentences, padded=padded)
    if padded:
        assert vocabulary.decode(found.ids, found.lengths) == sentences
        assert vocabulary.decode(found.ids) == sentences
    else:
        assert vocabulary.decode(found.values, offsets=found.offsets) == sentences
    lists = [[vocabulary[word] for word in words] for words in sentences]
    assert vocabulary.decode(lists) == (sentences or [[]])  # [] is one sequence


def test_decoding() -> None:
    assert PADDED.decode([2, 3]) == [["the", "cat"]]
    assert PADDED.decode([[2, 0, 3, 0]]) == [["the", "<pad>", "cat"]]
    assert PADDED.decode([[2, 0, 3, 0]], [4]) == [["the", "<pad>", "cat", "<pad>"]]
    assert PADDED.decode(np.zeros((2, 3), np.uint8)) == [[], []]


# --- where they come from ----------------------------------------------------------------------


@given(SENTENCES, st.integers(0, 3), st.none() | st.integers(2, 6))
def test_the_most_frequent_tokens(
    sentences: list[list[str]], min_count: int, max_size: int | None
) -> None:
    options: Any = {"min_count": min_count, "max_size": max_size, "padding": "<pad>",
                    "special": ["the"]}  # fmt: skip
    vocabulary = er.Vocabulary.from_sequences(iter(sentences), **options)
    counts = Counter(word for words in sentences for word in words)
    assert vocabulary == er.Vocabulary.from_counts(counts, **options)
    assert vocabulary.tokens[:2] == ("<pad>", "the")
    found = vocabulary.tokens[2:]
    expected = [word for word, n in counts.most_common() if n >= min_count and word != "the"]
    assert list(found) == expected[: None if max_size is None else max_size - 2]


def test_a_generator_of_sentences_is_read_once() -> None:
    stream = (iter(words) for words in TEXT)
    assert er.Vocabulary.from_sequences(stream, unknown="?").tokens[:2] == ("?", "the")


# --- files -------------------------------------------------------------------------------------


@given(st.lists(WORDS | st.sampled_from(["\ufeff", "\ufeff\ufeffa"]), unique=True))
def test_a_text_file_holds_the_tokens(tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "words.txt"
    if any("\n" in word or "\r" in word for word in words):
        with pytest.raises(ValueError, match=r"^a text file has one token a line"):
            er.Vocabulary(words).save(path)
        return
    er.Vocabulary(words).save(path)
    assert er.Vocabulary.load(path) == er.Vocabulary(words)


def test_text_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(b"[PAD]\r\n[UNK]\r\nthe\r\n\r\ncat")
    found = er.Vocabulary.load(str(path), padding="[PAD]", unknown="[UNK]")
    assert found.tokens == ("[PAD]", "[UNK]", "the", "", "cat")
    assert (found.padding, found.unknown) == ("[PAD]", "[UNK]")
    path.write_bytes(b"\xef\xbb\xbfthe\ncat\n")
    assert er.Vocabulary.load(path).tokens == ("the", "cat")
    path.write_bytes(b"\xef\xbb\xbf")
    assert er.Vocabulary.load(path).tokens == ()
    path.write_bytes(b"the\ncat\rdog\r")
    with pytest.raises(
        ValueError, match=r"read: line 2, 'cat\\rdog\\r', has a \\r in it: lines end"
    ):
        er.Vocabulary.load(path)
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"words\.txt cannot be read: it is not in UTF-8"):
        er.Vocabulary.load(path)
    with pytest.raises(ValueError, match=r"^a text file has one token a line, and cannot hold '"):
        er.Vocabulary(["\udc80"]).save(path)
    assert path.read_bytes() == b"caf\xe9\n"
    with pytest.raises(TypeError, match=r"^path must be a str or an os.PathLike, got int$"):
        er.Vocabulary(["a"]).save(3)  # type: ignore[arg-type]


# --- objects -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))]
)
def test_copies_are_equal(make: Any) -> None:
    twin = make(PADDED)
    assert twin == PADDED
    assert hash(twin) == hash(PADDED)
    assert (
        twin.encode(TEXT, padded=True).ids.tolist() == PADDED.encode(TEXT, padded=True).ids.tolist()
    )


def test_equality_is_that_of_all_it_means() -> None:
    tokens = PADDED.tokens
    others = [er.Vocabulary(tokens), er.Vocabulary(tokens[::-1], padding="<pad>", unknown="<unk>"),
              er.Vocabulary(tokens, padding="<unk>", unknown="<pad>")]  # fmt: skip
    assert len({PADDED, *others}) == 4
    assert tokens != PADDED
    assert len({er.Vocabulary(tokens), er.Vocabulary(list(tokens))}) == 1


def test_it_does_not_change() -> None:
    for change in (lambda v: setattr(v, "tokens", ()), lambda v: delattr(v, "padding_idx"),
                   lambda v: setattr(v, "size", 3)):  # fmt: skip
        with pytest.raises(AttributeError, match=r"^a Vocabulary does not change"):
            change(PADDED)
    assert repr(PADDED) == "Vocabulary(4 tokens, padding='<pad>', unknown='<unk>')"
