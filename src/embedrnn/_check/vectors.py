"""Rules of tables of word vectors, and of the files that they are kept in."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import any_float, is_float
from embedrnn._check.files import About, about
from embedrnn._check.options import choice, size
from embedrnn._check.vocabulary import require_text
from embedrnn._quiet import quiet

BAD_LINES = ("raise", "skip")
ERRORS = ("strict", "replace", "ignore", "backslashreplace", "surrogateescape")


def options(
    dtype: Any, limit: int | None, errors: str, bad_lines: str, binary: bool | None
) -> dict[str, Any]:
    """Check what a file of vectors is read by, and return it by name."""
    choice("errors", errors, ERRORS)
    choice("bad_lines", bad_lines, BAD_LINES)
    if binary is not None and not isinstance(binary, (bool, np.bool_)):
        raise TypeError(f"binary must be True, False or None, got {type(binary).__name__}")
    return {
        "dtype": any_float("dtype", np.float32 if dtype is None else dtype),
        "limit": None if limit is None else size("limit", limit, least=0),
        "errors": errors,
        "bad_lines": bad_lines,
        "binary": None if binary is None else bool(binary),
    }


def named(**tokens: Any) -> dict[str, str | None]:
    """Check tokens that may be given, and return them by name."""
    for name, token in tokens.items():
        if token is not None:
            require_text(name, token)
    return tokens


def decoded(
    path: Path, words: Sequence[bytes], places: Sequence[int], unit: str, errors: str
) -> list[str]:
    """Return words as text; an error tells which one is not in UTF-8."""
    if not words:
        return []
    try:
        found = b"\n".join(words).decode("utf-8", errors).split("\n")
        if len(found) == len(words):
            return found
        return [word.decode("utf-8", errors) for word in words]  # some have ends of lines in them
    except UnicodeDecodeError:
        for word, place in zip(words, places, strict=True):
            try:
                word.decode()
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path} cannot be read: {word!r}, {unit} {place}, is not in UTF-8: "
                    f"{error.reason}; errors='replace' reads such too"
                ) from None
        raise


@quiet
def rounded(path: Path, rows: Array, dtype: np.dtype[Any], shown: Callable[[int], str]) -> Array:
    """Return vectors in a dtype, whose range must hold them; `shown` is the word of a row."""
    found = rows.astype(dtype, copy=False)
    if found is rows or np.can_cast(rows.dtype, dtype):
        return found
    lost = np.isfinite(rows) & ~np.isfinite(found)
    if lost.any():
        row, column = np.argwhere(lost)[0].tolist()
        number = float(rows[row, column])
        raise ValueError(
            f"{path} cannot be read: {shown(row)}, has {number:g}, which is too great for {dtype}: "
            "give a wider dtype"
        )
    return found


def table(vocabulary: Sequence[str], value: Any) -> Array:
    """Check that there is a row for each token."""
    array = as_array("table", value)
    if not is_float(array.dtype):
        raise TypeError(f"table must be of a floating-point dtype, got {array.dtype}")
    if array.ndim != 2 or len(array) != len(vocabulary):
        raise ValueError(f"table must have shape ({len(vocabulary)}, D), got {array.shape}")
    return array


def require_cache(path: Path, source: Any) -> None:
    """Check that a file tells what it was read from: another one is not to be replaced."""
    if source is None:
        raise ValueError(f"{path} holds vectors that are no cache: give the name of a new file")


def vectors_about(path: Path, text: bytes, version: int) -> About:
    """Check what a file says about the vectors in it."""

    def is_whole(found: About) -> bool:
        tokens = found["tokens"]
        return isinstance(tokens, list) and {"padding", "unknown", "source"} <= found.keys()

    return about(path, text, version, ("vectors", "vectors"), is_whole)
