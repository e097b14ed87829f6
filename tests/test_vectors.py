"""Files of word vectors: every format and what is broken in it, and those that are mapped."""

import gzip
import os
import re
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import values
from embedrnn import _npz, _word_files

WORDS = ["the", "cat", "ä", "1", "a\u00a0b", "\u0085", "x\u2028y"]
TABLE = np.random.default_rng(0).standard_normal((len(WORDS), 3), np.float32)


def text_of(words: list[str], table: np.ndarray, *, header: bool = False, end: str = "\n") -> bytes:
    lines = [f"{len(words)} {table.shape[1]}"] if header else []
    for word, row in zip(words, table, strict=True):
        lines.append(" ".join([word, *map(str, row.tolist())]))
    return "".join(line + end for line in lines).encode()


def binary_of(words: list[str], table: np.ndarray, end: bytes = b"\n") -> bytes:
    rows = zip(words, table.astype("<f4"), strict=True)
    body = b"".join(word.encode() + b" " + row.tobytes() + end for word, row in rows)
    return f"{len(words)} {table.shape[1]}\n".encode() + body


FORMATS: dict[str, Callable[[list[str], np.ndarray], bytes]] = {
    "glove": text_of,
    "word2vec": lambda words, table: text_of(words, table, header=True),
    "fasttext": lambda words, table: text_of(words, table, header=True, end=" \n"),
    "windows": lambda words, table: text_of(words, table, end="\r\n"),
    "tabs": lambda words, table: text_of(words, table).replace(b" ", b"\t"),
    "wide": lambda words, table: text_of(words, table).replace(b" ", b"  "),
    "no_end": lambda words, table: text_of(words, table)[:-1],
    "empty_lines": lambda words, table: text_of(words, table, end="\n\n \n"),
    "mark": lambda words, table: b"\xef\xbb\xbf" + text_of(words, table),
    "binary": binary_of,
    "binary_windows": lambda words, table: binary_of(words, table, b"\r\n"),
    "binary_no_end": lambda words, table: binary_of(words, table)[:-1],
    "gensim": lambda words, table: binary_of(words, table, b""),
}
each_format = pytest.mark.parametrize("format", FORMATS)
# The others know no blanks in words.
BLANKS = ["glove", "word2vec", "fasttext", "windows", "no_end", "empty_lines"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


def loaded(path: Path, data: bytes, **options: Any) -> er.vectors.Vectors:
    path.write_bytes(data)
    return er.vectors.load(path, **options)


def assert_vectors(found: er.vectors.Vectors, words: list[str], table: np.ndarray) -> None:
    assert list(found.vocabulary) == words
    np.testing.assert_array_equal(found.table, table, strict=True)


# --- formats -----------------------------------------------------------------------------------


@each_format
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_every_format(path: Path, format: str, packed: bool) -> None:
    data = FORMATS[format](WORDS, TABLE)
    found = loaded(path, gzip.compress(data) if packed else data)
    assert_vectors(found, WORDS, TABLE)
    assert found.table.flags.c_contiguous
    assert found.table.base is None


@each_format
@pytest.mark.parametrize("size", [64, 100, 1000])
def test_blocks_do_not_show(
    path: Path, format: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"w{i}" * (i % 5 + 1) for i in range(200)]
    table = values((200, 7), np.float32)
    monkeypatch.setattr(_word_files, "_BLOCK", size)
    assert_vectors(loaded(path, FORMATS[format](words, table)), words, table)


@pytest.mark.parametrize("format", BLANKS)
def test_blanks_in_words(path: Path, format: str) -> None:
    words = [". . .", "at name@domain.com", "the", "1 1/2", "3 4", "a  b", "", "5", " ", "\t"]
    table = values((len(words), 4), np.float32)
    found = loaded(path, FORMATS[format](words, table))
    assert_vectors(found, words, table)


def test_a_word_of_numbers_alone_is_told_by_the_others(path: Path) -> None:
    assert_vectors(loaded(path, b"a 1 2\n3 4 5 6\nb 7 8\n"), ["a", "3 4", "b"],
                   np.float32([[1, 2], [5, 6], [7, 8]]))  # fmt: skip
    assert_vectors(loaded(path, b"1 3\n3 4 5 6 7\n"), ["3 4"], np.float32([[5, 6, 7]]))


def test_numbers_of_every_form(path: Path) -> None:
    found = loaded(path, b"a 1 -2.5e-3 nan inf\nb +1 .5 5. -inf\n")
    np.testing.assert_array_equal(
        found.table, np.float32([[1, -2.5e-3, np.nan, np.inf], [1, 0.5, 5, -np.inf]])
    )


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", ml_dtypes.bfloat16], ids=str)
@pytest.mark.parametrize("format", ["glove", "binary"])
def test_dtypes(path: Path, format: str, dtype: Any) -> None:
    table = TABLE.astype(np.float64) + 1e-12 if format == "glove" else TABLE
    found = loaded(path, FORMATS[format](WORDS, table), dtype=dtype)
    expected = table if dtype == "f8" else table.astype(np.float32)
    assert_vectors(found, WORDS, expected.astype(dtype))


TOO_GREAT: list[tuple[bytes, Any, str]] = [
    (b"a 1 2\nb 1e10 1\n", "f2", "'b', line 2, has 1e+10, which is too great for float16"),
    (b"a 1 2\nb 1 -1e39\n", "f4", "line 2, 'b 1 -1e39', has -1e39, which is too great for float32"),
    (b"a 1 2\nb 1 1e39\n", "f2", "line 2, 'b 1 1e39', has 1e39, which is too great for float32"),
    (b"a 1 2\nb c inf 1e400\n", "f8", "line 2, 'b c inf 1e400', has 1e400, which is too great"),
    (b"a 1 2\nb 1 3.4e38\n", ml_dtypes.bfloat16, "'b', line 2, has 3.4e+38, which"),
    (binary_of(["a", "b"], np.float32([[65504], [65520]])), "f2", "'b', word 2, has 65520, "),
]  # fmt: skip


@pytest.mark.parametrize(("data", "dtype", "words"), TOO_GREAT, ids=range(len(TOO_GREAT)))
def test_what_is_too_great_for_a_dtype(path: Path, data: bytes, dtype: Any, words: str) -> None:
    refused(path, data, words, dtype=dtype)
    refused(path, data, words, dtype=dtype, bad_lines="skip")


def test_what_is_too_great_for_a_dtype_other_than_was_saved(path: Path) -> None:
    table = np.array([[1.0, np.inf], [-np.inf, np.nan], [3.0, -65520.0]])
    er.vectors.save(path, er.Vocabulary(["a", "b", "c"]), table)
    with pytest.raises(ValueError, match=r"'c', row 2, has -65520, which is too great for float16"):
        er.vectors.load(path, dtype="f2")
    for dtype, limit in (("f4", None), ("f2", 2)):
        found = er.vectors.load(path, dtype=dtype, limit=limit)
        np.testing.assert_array_equal(found.table, table[:limit].astype(dtype), strict=True)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", ml_dtypes.bfloat16], ids=str)
def test_what_is_infinite_in_a_file_stays(path: Path, dtype: Any) -> None:
    found = loaded(path, b"a inf -inf nan\nb Infinity +INF -infinity\n", dtype=dtype)
    expected = np.array([[np.inf, -np.inf, np.nan], [np.inf, np.inf, -np.inf]])
    np.testing.assert_array_equal(found.table.astype("f8"), expected)
    assert found.table.dtype == dtype


@each_format
def test_the_first_words(path: Path, format: str) -> None:
    data = FORMATS[format](WORDS, TABLE)
    for limit in (0, 1, 3, len(WORDS), 100):
        found = loaded(path, data, limit=limit)
        assert list(found.vocabulary) == WORDS[:limit]
        np.testing.assert_array_equal(found.table, TABLE[:limit], strict=True)


def test_no_words(path: Path) -> None:
    for options in ({}, {"binary": True}):
        found = loaded(path, b"0 5\n", padding="<pad>", unknown="?", **options)
        assert_vectors(found, ["?", "<pad>"], np.zeros((2, 5), np.float32))


def test_padding_and_unknown_words(path: Path) -> None:
    data = text_of(["the", "<unk>"], TABLE[:2])
    vocabulary, table = loaded(path, data, padding="<pad>", unknown="<unk>")
    assert vocabulary.tokens == ("the", "<unk>", "<pad>")
    assert (vocabulary.padding_idx, vocabulary.unknown_idx) == (2, 1)
    np.testing.assert_array_equal(table, [*TABLE[:2], np.zeros(3)])
    _, table = loaded(path, data, unknown="?")
    np.testing.assert_allclose(table[2], TABLE[:2].mean(axis=0), rtol=1e-6)


# Words that text files can have: spaces at an end are those between fields.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=6)


@given(
    st.lists(TEXTS.map(lambda text: text.strip(" \t\v\f")), unique=True, min_size=1, max_size=9),
    st.integers(1, 4),
    st.integers(0, 2**32),
    st.sampled_from(["word2vec", "fasttext", "binary", "gensim"]),
)
def test_what_is_read_is_what_was_written(
    tmp_path: Path, words: list[str], width: int, seed: int, format: str
) -> None:
    binary = format in {"binary", "gensim"}
    if binary:
        words = list(dict.fromkeys(word.replace(" ", "_") for word in words))
    bits = np.random.default_rng(seed).integers(0, 2**32, (len(words), width), np.uint32)
    table = np.where(np.isfinite(bits.view(np.float32)), bits.view(np.float32), 0)
    data = FORMATS[format](words, table)
    assert_vectors(loaded(tmp_path / "vectors", data, binary=binary), words, table)


@given(
    st.lists(
        st.text(st.sampled_from("\n\r\0aä\u2028"), max_size=4).filter(
            lambda word: not word.startswith(("\n", "\r\n"))
        ),
        unique=True, min_size=1, max_size=9,
    ),
    st.integers(1, 4),
    st.sampled_from([b"\n", b"\r\n", b""]),
)  # fmt: skip
def test_ends_of_lines_in_the_words_of_binary_files(
    tmp_path: Path, words: list[str], width: int, end: bytes
) -> None:
    table = values((len(words), width), np.float32)
    data = binary_of(words, table, end)
    assert_vectors(loaded(tmp_path / "vectors", data, binary=True), words, table)


# --- what is broken ----------------------------------------------------------------------------


def refused(path: Path, data: bytes, words: str, **options: Any) -> None:
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path} cannot be read: {words}')}"):
        er.vectors.load(path, **options)


BROKEN = [
    (b"a 1 2\nb 3 4\nc 5", "line 3 must be a word and 2 numbers, got 'c 5'; bad_lines='skip'"),
    (b"a 1 2\nb 3 x\nc 5 6\n", "line 2 must be a word and 2 numbers, got 'b 3 x'"),
    (b"a 1 2\n\nb 3 4\n5\nc 5 6\n", "line 4 must be a word and 2 numbers, got '5'"),
    (b"a 1 2\nb 3 4\n1 2\n", "line 3 must be a word and 2 numbers, got '1 2'"),
    (
        b"a 1 2\nb 3 4\rc 5 6\nd 7 8\n",
        "line 2 must be a word and 2 numbers, got 'b 3 4\\rc 5 6', "
        "in which \\r ends no line: \\n and \\r\\n do; bad_lines='skip'",
    ),
    (b"a 1 2\nb\r3 4\n", "line 2 must be a word and 2 numbers, got 'b\\r3 4', in which"),
    (b"a 1 2\r\nb 3\r4\r\n", "line 2 must be a word and 2 numbers, got 'b 3\\r4', in which"),
    (b"a 1 2\r\n\rb 3 4\r\n", "line 2 must be a word and 2 numbers, got '\\rb 3 4', in which"),
    (b"a 1 2\r\nb 3 4\r\r\nc\rd 5 6\n", "line 3 must be a word and 2 numbers, got 'c\\rd 5 6', "),
]


@pytest.mark.parametrize(("data", "words"), BROKEN, ids=range(len(BROKEN)))
def test_broken_lines(path: Path, data: bytes, words: str) -> None:
    refused(path, data, words)
    line = re.findall(r"\d+", words)[0]
    with pytest.warns(UserWarning, match=f"has 1 bad lines, the first at {line}: they were skip"):
        found = loaded(path, data, bad_lines="skip")
    kept = re.findall(rb"^([a-z]) \d \d\r*$", data, re.MULTILINE)
    assert [word.encode() for word in found.vocabulary] == kept


@pytest.mark.parametrize("header", [True, False])
def test_lines_that_end_as_none_does(path: Path, header: bool) -> None:
    data = text_of(["a", "b"], TABLE[:2], header=header, end="\r")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"line 1 must be a word and 3 .*, in which \\r ends"):
        er.vectors.load(path)


def test_a_long_line_is_shown_in_part(path: Path) -> None:
    data = b"a 1 2\nb " + b"3 " * 200 + b"x\n"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"got 'b 3 3 .*\.\.\..*3 x'; bad_lines"):
        er.vectors.load(path)


def test_files_that_hold_less_than_they_tell(path: Path) -> None:
    cut = "it may be cut off; bad_lines='skip' takes them"
    refused(path, b"3 2\na 1 2\nb 3 4\n", f"its header tells 3 words, there are 2: {cut}")
    assert list(loaded(path, b"3 2\na 1 2\nb 3 4\n", bad_lines="skip").vocabulary) == ["a", "b"]
    assert list(loaded(path, b"3 2\na 1 2\nb 3 4\n", limit=2).vocabulary) == ["a", "b"]
    with pytest.warns(UserWarning, match="has 1 bad lines, the first at 3"):
        found = loaded(path, b"3 2\na 1 2\nb 3 4", bad_lines="skip")  # of the number 42, it may be
    assert list(found.vocabulary) == ["a"]
    other = "it may be the header of another file; bad_lines='skip' takes them"
    refused(path, b"1 2\na 1 2\nb 3 4\n", f"its header tells 1 words, there are 2: {other}")
    for end in (b"\n", b""):
        data = binary_of(WORDS, TABLE, end)
        for size in (len(data) - 3, len(data) - 14, 40):
            path.write_bytes(data[:size])
            with pytest.raises(
                ValueError, match=r"header tells 7 words, there are [1-6]: it may be"
            ):
                er.vectors.load(path)
            found = er.vectors.load(path, bad_lines="skip")
            n = len(found.vocabulary)
            assert_vectors(found, WORDS[:n], TABLE[:n])


END, NONE = "must stand behind b'\\n', as word 2 does", "must not begin with the end of a line"
SHIFTED = [
    (["a", "\nb", "c"], b"", f"word 3 {END}, got 'c': the header may tell another number of"),
    (["a", "b", "\nc"], b"", f"word 3 {NONE}, got '\\nc': the header may"),
    (["\na", "b", "c"], b"", f"word 1 {NONE}, got '\\na': the header may"),
    (["a", "b", "\nc"], b"\n", f"word 3 {NONE}, got '\\n\\nc': the header may"),
    (["a", "b", "\r\nc"], b"", f"word 3 {NONE}, got '\\r\\nc': the header may"),
]


@pytest.mark.parametrize(("words", "end", "refusal"), SHIFTED, ids=range(len(SHIFTED)))
@pytest.mark.parametrize("bad_lines", ["raise", "skip"])
def test_words_that_cannot_be_told_from_ends_of_lines(
    path: Path, words: list[str], end: bytes, refusal: str, bad_lines: str
) -> None:
    refused(path, binary_of(words, TABLE[:3], end), refusal, bad_lines=bad_lines)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_bytes_behind_the_last_word(
    path: Path, end: bytes, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_word_files, "_BLOCK", 64)
    words = [f"w{i}" for i in range(count)]
    data, table = binary_of(words, values((count, 3), np.float32), end), values((count, 3), "f4")
    for more in (b"x", b"\n\n\n", b"more 1234567812345678\n" * 9):
        refused(
            path, data + more,
            f"there are bytes behind the last of the {count} words that its header tells",
            binary=True,
        )  # fmt: skip
        with pytest.warns(UserWarning, match=f"has 1 bad lines, the first at {count + 1}: they"):
            found = er.vectors.load(path, binary=True, bad_lines="skip")
        assert_vectors(found, words, table)
        first = er.vectors.load(path, binary=True, limit=count // 2)
        assert list(first.vocabulary) == words[: count // 2]


def test_too_few_columns_in_the_header_of_a_binary_file(path: Path) -> None:
    for end in (b"\n", b""):
        data = binary_of(WORDS[:2], TABLE[:2], end).replace(b"2 3\n", b"2 2\n", 1)
        path.write_bytes(data)
        with pytest.raises(ValueError, match="cannot be read"):
            er.vectors.load(path, binary=True, errors="replace")


def test_gzip_that_is_cut_off_or_broken(path: Path) -> None:
    words = [f"word{i}" for i in range(5000)]
    table = values((5000, 3), np.float32)
    data = gzip.compress(text_of(words, table))
    refused(path, data[:-5000], "Compressed file ended before the end-of-stream marker")
    for cut in range(5000, 5040):
        path.write_bytes(data[:-cut])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a bad line, if it ends in one
            found = er.vectors.load(path, bad_lines="skip")
        n = len(found.vocabulary)
        assert 0 < n < 5000
        assert_vectors(found, words[:n], table[:n])
    broken = bytearray(data)
    broken[len(data) // 2] ^= 255
    path.write_bytes(broken)
    with pytest.raises(ValueError, match="cannot be read: "):
        er.vectors.load(path)


def test_words_that_are_not_utf8(path: Path) -> None:
    names = {"replace": "caf\ufffd", "ignore": "caf", "backslashreplace": "caf\\xe9",
             "surrogateescape": "caf\udce9"}  # fmt: skip
    for data, place in ((b"a 1\ncaf\xe9 2\n", "line 2"), (b"1 1\ncaf\xe9 " + bytes(4), "word 1")):
        words = f"b'caf\\xe9', {place}, is not in UTF-8: unexpected end of data; errors='replace'"
        refused(path, data, words)
        for errors, word in names.items():
            assert loaded(path, data, errors=errors).vocabulary.tokens[-1] == word


def test_the_first_of_words_that_come_again_counts(path: Path) -> None:
    with pytest.warns(
        UserWarning, match="has 2 words once more, the first 'a' in line 3: the first"
    ):
        found = loaded(path, b"a 1\nb 2\na 3\nb 4\nc 5\n")
    assert_vectors(found, ["a", "b", "c"], np.float32([[1], [2], [5]]))
    with pytest.warns(UserWarning, match="the first 'a' in word 2") as caught:
        loaded(path, binary_of(["a", "a"], TABLE[:2]))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("data", "words", "options"),
    [
        (b"", "there is no word in it", {}),
        (b"\n \n", "there is no word in it", {}),
        (b"just some text\nof two lines\n", "line 1 does not end with a number", {}),
        (b"a 1 2\n", "it does not begin with the numbers of words and columns", {"binary": True}),
        (b"5 99999999\nab ", "its header tells 99999999 columns", {}),
        (b"1 0\na 1\n", "its header tells 0 columns", {}),
        (b"9999999999999 3\n" + bytes(100), "its header tells 9999999999999 words", {}),
    ],
)
def test_other_files(path: Path, data: bytes, words: str, options: Any) -> None:
    refused(path, data, words, **options)


def test_lines_without_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_word_files, "_BLOCK", 64)
    monkeypatch.setattr(_word_files, "_LONGEST", 1000)
    refused(path, b"a 1 2\n" + b"b" * 3000, "line 2 has more than 1000 bytes")
    refused(path, b"2 1\n" + b"b" * 3000, "word 1 has more than 1000 bytes", binary=True)


@given(st.binary(max_size=200), st.sampled_from([b"", b"3 2\n", b"1 1\n", b"\x1f\x8b", b"PK\3\4"]))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes, begin: bytes) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(begin + data)
    for options in ({}, {"bad_lines": "skip", "errors": "replace"}):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *args, **kwargs: None)
            try:
                vocabulary, table = er.vectors.load(path, **options)  # type: ignore[arg-type]
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017
                continue
        assert len(vocabulary) == len(table)


# --- progress ----------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_progress_is_of_the_bytes_of_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    bars = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            self.n, self.options = 0, options
            bars.append(self)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.options["closed"] = True

        def update(self, n: int) -> None:
            self.n += n

    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr(_word_files, "_BLOCK", 64)
    data = text_of(WORDS, TABLE)
    assert_vectors(
        loaded(path, gzip.compress(data) if packed else data, progress=True), WORDS, TABLE
    )
    assert [bar.n for bar in bars] == [path.stat().st_size]
    assert bars[0].options == {"total": path.stat().st_size, "unit": "B", "unit_scale": True,
                               "closed": True}  # fmt: skip
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"^progress=True needs tqdm"):
        er.vectors.load(path, progress=True)


# --- files of ours -----------------------------------------------------------------------------


def is_mapped(array: np.ndarray) -> bool:
    while array.base is not None and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", ml_dtypes.bfloat16], ids=str)
def test_what_was_saved_is_mapped(path: Path, dtype: Any) -> None:
    words = [*WORDS, "line\nend", "\udce9"]
    table = np.ones((len(words), 3)).cumsum(axis=0).astype(dtype)
    vocabulary = er.Vocabulary(words, padding="the", unknown="1")
    er.vectors.save(path, vocabulary, table)
    found = er.vectors.load(path)
    assert found.vocabulary == vocabulary
    np.testing.assert_array_equal(found.table, table, strict=True)
    assert is_mapped(found.table)
    assert not found.table.flags.writeable
    assert er.Embedding.from_pretrained(found.table)([1]).tolist() == table[[1]].tolist()


def test_parts_of_what_was_saved(path: Path) -> None:
    er.vectors.save(path, er.Vocabulary(WORDS, padding="ä", unknown="the"), TABLE)
    found = er.vectors.load(path, limit=2, dtype="f8")
    assert found.vocabulary == er.Vocabulary(WORDS[:2], unknown="the")
    np.testing.assert_array_equal(found.table, TABLE[:2].astype("f8"), strict=True)
    assert is_mapped(er.vectors.load(path, limit=2).table)
    assert er.vectors.load(path, padding="cat").vocabulary.padding == "cat"


@pytest.mark.parametrize("limit", [None, 2, 0])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", ml_dtypes.bfloat16], ids=str)
def test_tokens_are_added_to_what_was_saved_as_to_a_text(
    tmp_path: Path, dtype: Any, limit: int | None
) -> None:
    saved, text = tmp_path / "saved", tmp_path / "text"
    er.vectors.save(saved, er.Vocabulary(WORDS, padding="ä", unknown="the"), TABLE.astype(dtype))
    text.write_bytes(text_of(WORDS, TABLE))
    for tokens in ({"padding": "<pad>", "unknown": "<unk>"}, {"padding": "<pad>", "unknown": "the"},
                   {"padding": "1", "unknown": "?"}, {"padding": "", "unknown": ""}):  # fmt: skip
        found = er.vectors.load(saved, limit=limit, **tokens)
        expected = er.vectors.load(text, limit=limit, dtype=dtype, **tokens)
        assert found.vocabulary == expected.vocabulary
        np.testing.assert_array_equal(found.table, expected.table, strict=True)
        assert is_mapped(found.table) == (set(tokens.values()) <= set(WORDS[:limit]))
    np.testing.assert_array_equal(er.vectors.load(saved).table, TABLE.astype(dtype))


@pytest.mark.parametrize(
    ("table", "error", "words"),
    [
        (TABLE[:2], ValueError, r"table must have shape \(7, D\), got \(2, 3\)"),
        (TABLE[0], ValueError, r"table must have shape \(7, D\), got \(3,\)"),
        (TABLE.astype(int), TypeError, "table must be of a floating-point dtype, got int64"),
        (None, TypeError, "table must be array_like, got NoneType"),
    ],
)
def test_what_cannot_be_saved(path: Path, table: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"^{words}$"):
        er.vectors.save(path, er.Vocabulary(WORDS), table)
    with pytest.raises(TypeError, match=r"^vocabulary must be a Vocabulary, got list$"):
        er.vectors.save(path, WORDS, TABLE)  # type: ignore[arg-type]
    assert not path.exists()


def test_npz_files_of_others(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, table=TABLE)
    with pytest.raises(ValueError, match=r"cannot be mapped: there is no about in it, but table$"):
        er.vectors.load(path)
    for about, words in ((b"[]", "holds no vectors"), (b"{", "holds no vectors"),
                         (b'{"tokens": [], "format": 9}', "holds vectors of format 9, only 1 can"),
                         (b'{"tokens": 3, "format": 1}', "holds no vectors")):  # fmt: skip
        _npz.save(path, {"table": TABLE, "about": np.frombuffer(about, np.uint8)})
        with pytest.raises(ValueError, match=re.escape(f"{path} {words}")):
            er.vectors.load(path)


def test_a_cache_is_mapped_the_second_time(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache.npz"
    path.write_bytes(text_of(WORDS, TABLE))
    options: Any = {"cache": cache, "padding": "<pad>"}
    expected = er.vectors.load(path, padding="<pad>")
    for _ in range(2):
        found = er.vectors.load(path, **options)
        assert is_mapped(found.table)
        assert found.vocabulary == expected.vocabulary
        np.testing.assert_array_equal(found.table, expected.table, strict=True)
    written = cache.stat().st_mtime_ns, cache.stat().st_ino
    er.vectors.load(path, **options)
    assert (cache.stat().st_mtime_ns, cache.stat().st_ino) == written
    assert len(er.vectors.load(path, limit=2, **options).vocabulary) == 3
    assert len(er.vectors.load(path, **options).vocabulary) == len(WORDS) + 1
    path.write_bytes(text_of(WORDS, TABLE + 1))
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(er.vectors.load(path, **options).table[:-1], TABLE + 1)
    np.testing.assert_array_equal(found.table, expected.table)  # what was mapped before stays


def test_a_cache_takes_the_place_of_nothing_else(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "precious"
    path.write_bytes(text_of(WORDS, TABLE))
    cache.write_bytes(b"other things")
    with pytest.raises(ValueError, match=r"precious cannot be mapped: it is no .npz file"):
        er.vectors.load(path, cache=cache)
    assert cache.read_bytes() == b"other things"
    er.vectors.save(cache, er.Vocabulary(["a"]), TABLE[:1])
    with pytest.raises(ValueError, match="precious holds vectors that are no cache"):
        er.vectors.load(path, cache=cache)


# --- memory ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skip_under("asan", "tsan")
@pytest.mark.parametrize("format", ["glove", "binary"])
def test_there_is_no_second_table(path: Path, format: str, run_python: Any) -> None:
    row = values((1, 1024), np.float32)
    numbers = text_of([""], row) if format == "glove" else b" " + row.tobytes()
    with path.open("wb") as file:
        if format == "binary":
            file.write(b"16384 1024\n")
        file.writelines(b"word%d" % i + numbers for i in range(16384))
    run_python(
        f"""
        import resource
        import numpy as np
        import embedrnn as er

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

        np.loadtxt(["1 2"])
        er.vectors
        before = peak()
        vocabulary, table = er.vectors.load({str(path)!r})
        assert table.shape == (16384, 1024)  # of 64 MiB
        assert peak() - before < 92 << 20, peak() - before
        """,
        timeout=120,
    )


@pytest.mark.parametrize("first", ["a 1 x 2", "a 0,1 0,2 0,3", ". . . 1 2"])
def test_a_broken_first_line_is_no_binary_file(tmp_path: Path, first: str) -> None:
    path = tmp_path / "broken.vec"
    path.write_text(f"2 3\n{first}\nb 1 2 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2 must be a word and 3 numbers"):
        er.vectors.load(path)
