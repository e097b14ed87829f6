"""Rules of files: what names one, and what one says about itself."""

import json
import os
from collections.abc import Callable
from typing import Any

About = dict[str, Any]


def require_path(value: Any, name: str = "path") -> None:
    """Check what names a file."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a str or an os.PathLike, got {type(value).__name__}")


def about(
    path: Any,
    text: bytes,
    version: int,
    held: tuple[str, str],
    is_whole: Callable[[About], bool],
) -> About:
    """Check what a file says about itself, in JSON, and return it.

    `held` is what it should hold, as "holds ..." and "holds no ..." say it; `is_whole` may raise
    what it likes about one that does not.
    """
    some, none = held
    try:
        found: About = json.loads(text)
        version_found, whole = found["format"], is_whole(found)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{path} holds no {none}") from None
    if version_found != version:
        raise ValueError(
            f"{path} holds {some} of format {version_found!r}, only {version} can be loaded"
        )
    if not whole:
        raise ValueError(f"{path} holds no {none}")
    return found
