"""Real text for the main job: sentences, their vocabulary and a padded batch of token ids.

A token is a word in lower case, or any other character but space, with the marks upon it. A word
begins with a letter, a number or an underscore (Unicode categories L and N) and goes on with these,
with marks (M), as the vowel signs of Hindi are, and with an apostrophe between two such parts:
"don't" is one word. Format characters (Cf), as a byte-order mark is, are left out. Words are not
told apart in scripts that write no spaces. A sentence ends with a full stop or a question mark, as
some scripts write them, with ! or with an empty line.
"""

import ast
import codecs
import re
import sysconfig
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Progress = Callable[[Sequence[Path], str], Iterable[Path]]

# The full stops of Hindi, single and double, and the question mark and full stop of Arabic, too.
_SENTENCE_END = re.compile("(?<=[.!?\u0964\u0965\u061f\u06d4])\\s+|\\n\\s*\\n")
# What other encodings of text begin with.
_BYTE_ORDER_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
                     codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class TextError(Exception):
    """A text that can't be used; the message is one line for the user."""


class Batch(NamedTuple):
    """Sentences as padded rows of token ids."""

    ids: npt.NDArray[np.int64]  # (B, T), 0 at padded steps
    lengths: npt.NDArray[np.int64]  # (B,)
    vocabulary: int  # distinct tokens of the whole text, and one for the padding
    sentences: int  # of the whole text

    @property
    def valid(self) -> float:
        """Share of the steps that are not padding."""
        return float(self.lengths.sum() / self.ids.size)

    @property
    def distinct(self) -> float:
        """Distinct tokens as a share of the valid steps."""
        return float((np.unique(self.ids).size - (self.valid < 1)) / self.lengths.sum())


def read_files(paths: Sequence[Path], progress: Progress, encoding: str = "utf-8") -> str:
    """Return the text of the files."""
    return "\n\n".join(_read(path, encoding) for path in progress(paths, "reading"))


def read_standard_library(progress: Progress) -> str:
    """Return the docstrings of the running Python's standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "test", "tests", "idlelib", "lib2to3"}
    files = [p for p in sorted(root.rglob("*.py")) if not skipped & set(p.relative_to(root).parts)]
    return "\n\n".join(
        text for path in progress(files, "reading docstrings") for text in _docstrings(path)
    )


def make_batch(text: str, size: int, longest: int) -> Batch:
    """Pad `size` sentences spread evenly over the text, each cut after `longest` tokens."""
    found = [tokens for tokens in sentences(text.lower()) if tokens]
    if not found:
        raise TextError("the text holds no words")
    words = sorted({token for tokens in found for token in tokens})
    number = {word: i for i, word in enumerate(words, start=1)}
    chosen = np.linspace(0, len(found) - 1, min(size, len(found))).astype(int)
    rows = [[number[token] for token in found[i][:longest]] for i in chosen]
    lengths = np.array([len(row) for row in rows])
    ids = np.zeros((len(rows), int(lengths.max())), np.int64)
    for padded, row in zip(ids, rows, strict=True):
        padded[: len(row)] = row
    return Batch(ids, lengths, len(words) + 1, len(found))


def sentences(text: str) -> Iterator[list[str]]:
    """Yield the tokens of each sentence."""
    category = {character: unicodedata.category(character) for character in set(text)}
    invisible = {ord(character) for character, kind in category.items() if kind == "Cf"}
    marks = "".join(character for character, kind in category.items() if kind[0] == "M")
    part = f"\\w[\\w{marks}]*"
    token = re.compile(f"{part}(?:['\u2019]{part})*|[^\\w\\s][\u0300{marks}]*")
    for sentence in _SENTENCE_END.split(text.translate(dict.fromkeys(invisible))):
        yield token.findall(sentence)


def _read(path: Path, encoding: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TextError(f"{path}: {error.strerror}") from error
    try:
        text = data.decode(encoding)
    except LookupError as error:
        raise TextError(f"--encoding {encoding}: there is no such encoding of text") from error
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        raise TextError(_not_in(encoding, path, f"byte {at}", data)) from error
    if "\0" in text:
        raise TextError(_not_in(encoding, path, f"null at {text.index(chr(0))}", data))
    return text


def _not_in(encoding: str, path: Path, where: str, data: bytes) -> str:
    """Return what to say of a file in another encoding."""
    likely = _likely_encoding(data)
    hint = "" if likely == encoding.lower() else f": try --encoding {likely}"
    return f"{path}: not {encoding.upper()} text ({where}){hint}"


def _likely_encoding(data: bytes) -> str:
    """Guess the encoding of text that is not in UTF-8."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():  # those of four bytes first
        if data.startswith(mark):
            return encoding
    if b"\0" in data:  # half of a character of UTF-16 without a mark, which is below 256
        return "utf-16-le" if data.index(0) % 2 else "utf-16-be"
    return "cp1252"


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # a file that this Python cannot read has no text for us
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            text: Any = ast.get_docstring(node)
            if text:
                yield text
