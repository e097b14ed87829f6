"""The main job, as its users run it: python -m embedrnn."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embedrnn._demo.corpus import TextError, make_batch

TEXT = "The cat sat. The dog sat on the mat! Who sat?\n\nNobody knows"


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "embedrnn", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | environment,
    )


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join([TEXT] * 40), encoding="utf-8")
    return path


def test_batch_by_hand() -> None:
    batch = make_batch("B a. A! C c c c", size=9, longest=3)
    # Sorted vocabulary: ! . a b c, numbered from 1.
    np.testing.assert_array_equal(batch.ids, [[4, 3, 2], [3, 1, 0], [5, 5, 5]])
    np.testing.assert_array_equal(batch.lengths, [3, 2, 3])
    assert batch.vocabulary == 6
    assert batch.sentences == 3
    assert batch.valid == 8 / 9
    assert batch.distinct == 5 / 8


def test_batch_spreads_over_the_text() -> None:
    batch = make_batch("a. b. c. d. e.", size=3, longest=1)
    assert [row[0] for row in batch.ids] == [2, 4, 6]  # a, c, e behind the full stop


def tokens(text: str) -> int:
    """Return how many tokens one sentence has."""
    return int(make_batch(text, size=1, longest=100).lengths[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("नमस्ते दुनिया", 2),  # vowel signs and a virama are marks
        ("cafe\u0301 café", 2),
        ("don't rock 'n' roll", 6),  # don't, rock, ', n, ', roll
        ("l\u2019eau d\u2019or", 2),
        ("a_b 3rd x-ray", 5),  # a_b, 3rd, x, -, ray
        ("\ufeffword", 1),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", 1),  # a joiner within a Persian word
        ("\u0130stanbul", 1),  # whose lower case has a mark
        ("one \u200b \u2060 two", 2),
        ("\u2764\ufe0f", 1),  # a heart and its variation selector
        ("\u0301 a", 2),  # a mark upon nothing is visible
        ("naïve, über-cool!", 6),
    ],
    ids=ascii,
)
def test_tokens_by_hand(text: str, expected: int) -> None:
    assert tokens(text) == expected


def test_a_byte_order_mark_is_no_token() -> None:
    marked, plain = (make_batch(text, size=9, longest=9) for text in ("\ufeffB a. C", "B a. C"))
    np.testing.assert_array_equal(marked.ids, plain.ids)
    assert marked.vocabulary == plain.vocabulary


def test_sentences_end_as_their_script_writes_it() -> None:
    assert make_batch("यह है। वह है॥ क्या", size=9, longest=9).sentences == 3
    assert (
        make_batch(
            "\u0645\u0627\u061f \u0645\u0627\u06d4 \u0645\u0627", size=9, longest=9
        ).sentences
        == 3
    )


def test_batch_needs_words() -> None:
    with pytest.raises(TextError, match="no words"):
        make_batch(" \n\n ", size=3, longest=1)


def test_default_job_runs_on_the_standard_library() -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    for word in ("gather", "scatter_add", "Encoder", "vjp", "valid", "distinct", "work"):
        assert word in done.stdout


def test_job_on_a_file(text_file: Path) -> None:
    done = run(text_file)
    assert done.returncode == 0, done.stderr
    assert "160 sentences, 12 distinct tokens" in done.stdout
    assert "reading" not in done.stdout  # progress goes elsewhere


def test_job_without_the_compiled_kernels(text_file: Path) -> None:
    done = run(text_file, EMBEDRNN_BACKEND="numpy")
    assert done.returncode == 0, done.stderr
    assert "NumPy ran alone" in done.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no words"),
        (b"\xef\xbb\xbf", "no words"),
        (b"caf\xe9", "text.txt: not UTF-8 text (byte 3): try --encoding cp1252"),
        ("a cat".encode("utf-16"), "not UTF-8 text (byte 0): try --encoding utf-16"),
        ("a cat".encode("utf-32"), "try --encoding utf-32"),
        ("a cat".encode("utf-16-le"), "not UTF-8 text (null at 1): try --encoding utf-16-le"),
        ("a cat".encode("utf-16-be"), "not UTF-8 text (null at 0): try --encoding utf-16-be"),
        (None, ""),
    ],
)
def test_unusable_text_is_one_line_and_status_2(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "text.txt"
    if content is None:
        message = "No such file"
    else:
        path.write_bytes(content)
    done = run(path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(f"{TEXT}, na\xefve\r\n\r\n{TEXT}".encode(encoding))
    done = run(path, "--encoding", encoding)
    assert done.returncode == 0, done.stderr
    assert "8 sentences, 14 distinct tokens" in done.stdout


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("klingon", "embedrnn: --encoding klingon: there is no such encoding of text"),
        ("hex", "embedrnn: --encoding hex: there is no such encoding of text"),
        ("ascii", "not ASCII text (byte 3): try --encoding cp1252"),
        ("utf-16", "not UTF-16 text (byte 4): try --encoding cp1252"),
    ],
)
def test_encodings_that_do_not_fit(tmp_path: Path, encoding: str, message: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"caf\xe9s")
    done = run(path, "--encoding", encoding)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_directory_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert "directory" in done.stderr


def test_plot(tmp_path: Path, text_file: Path) -> None:
    picture = tmp_path / "times.png"
    done = run(text_file, "--plot", picture)
    if importlib.util.find_spec("matplotlib") is None:
        assert done.returncode == 2
        assert "matplotlib" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert run(text_file, "--plot", tmp_path / "none" / "x.png").returncode == 2
