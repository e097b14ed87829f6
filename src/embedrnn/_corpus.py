"""Real text for the main job: sentences, their vocabulary and a padded batch of token ids."""

import ast
import re
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Progress = Callable[[Sequence[Path], str], Iterable[Path]]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_TOKEN = re.compile(r"\w+|[^\w\s]")
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


def read_files(paths: Sequence[Path], progress: Progress) -> str:
    """Return the text of the files."""
    return "\n\n".join(_read(path) for path in progress(paths, "reading"))


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
    sentences = [_TOKEN.findall(part.lower()) for part in _SENTENCE_END.split(text)]
    sentences = [tokens for tokens in sentences if tokens]
    if not sentences:
        raise TextError("the text holds no words")
    words = sorted({token for tokens in sentences for token in tokens})
    number = {word: i for i, word in enumerate(words, start=1)}
    chosen = np.linspace(0, len(sentences) - 1, min(size, len(sentences))).astype(int)
    rows = [[number[token] for token in sentences[i][:longest]] for i in chosen]
    lengths = np.array([len(row) for row in rows])
    ids = np.zeros((len(rows), int(lengths.max())), np.int64)
    for padded, row in zip(ids, rows, strict=True):
        padded[: len(row)] = row
    return Batch(ids, lengths, len(words) + 1, len(sentences))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TextError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TextError(f"{path}: not UTF-8 text (byte {error.start})") from error


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
