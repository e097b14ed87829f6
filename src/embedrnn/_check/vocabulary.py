"""Rules of vocabularies: their tokens, what they are counted by, and the lists that they number."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from embedrnn._check.options import shown, size, whole

Ids = Mapping[str, int]

# What some editors begin a text in UTF-8 with, which is no part of it.
_MARK = "\ufeff"


def tokens(name: str, value: Iterable[str]) -> tuple[str, ...]:
    """Check an iterable of tokens, and return them as strings of Python's own type."""
    if isinstance(value, (str, bytes)):
        raise TypeError(
            f"{name} must be a sequence of tokens, got {type(value).__name__}: split it, or give "
            "list(text) for its characters"
        )
    try:
        found = tuple(value)
    except TypeError:
        raise TypeError(
            f"{name} must be a sequence of tokens, got {type(value).__name__}"
        ) from None
    if set(map(type, found)) <= {str}:
        return found
    for position, token in enumerate(found):
        require_text(f"{name}[{position}]", token)
    return tuple(map(str, found))


def numbered(name: str, found: Sequence[str]) -> dict[str, int]:
    """Return the id of each token, which may be there once."""
    ids = dict(zip(found, range(len(found)), strict=True))
    if len(ids) == len(found):
        return ids
    first: dict[str, int] = {}
    for position, token in enumerate(found):
        if first.setdefault(token, position) != position:
            raise ValueError(
                f"{name} must be distinct, got {shown(token)} at {first[token]} and {position}"
            )
    raise AssertionError


def special(name: str, value: str | None, ids: Ids) -> int | None:
    """Return the id of the token that stands for padding or for unknown ones, if there is one."""
    if value is None:
        return None
    require_text(name, value)
    if value not in ids:
        raise ValueError(f"{name} must be one of the tokens, got {shown(value)}")
    return ids[value]


def in_front(padding: str | None, unknown: str | None, others: Iterable[str]) -> tuple[str, ...]:
    """Return the tokens that stand before those that are counted."""
    for name, value in (("padding", padding), ("unknown", unknown)):
        if value is not None:
            require_text(name, value)
    named = [value for value in (padding, unknown) if value is not None]
    found = (*named, *tokens("special", others))
    numbered("padding, unknown and special", found)
    return found


def counts(value: Mapping[str, int], min_count: int) -> list[tuple[str, int]]:
    """Check counts by token, and return those that are great enough, the greatest first."""
    if not isinstance(value, Mapping):
        raise TypeError(f"counts must be a mapping of tokens, got {type(value).__name__}")
    least = whole("min_count", min_count)
    names = tokens("counts", value)
    given = zip(names, value.values(), strict=True)
    found = [(name, whole(f"counts[{name!r}]", count)) for name, count in given]
    return sorted(
        (item for item in found if item[1] >= least), key=lambda item: item[1], reverse=True
    )


def room(max_size: int | None, taken: int) -> int | None:
    """Return how many tokens may stand behind those in front; None for any number."""
    if max_size is None:
        return None
    return size("max_size", max_size, least=taken) - taken


def token_lists(name: str, value: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """Check sequences of tokens."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be lists of tokens, got {type(value).__name__}")
    try:
        rows = list(value)
    except TypeError:
        raise TypeError(f"{name} must be lists of tokens, got {type(value).__name__}") from None
    return [_row(f"{name}[{row}]", found) for row, found in enumerate(rows)]


def counted(sequences: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the tokens of sequences, which may come as a stream."""
    try:
        rows = iter(sequences)
    except TypeError:
        raise TypeError(
            f"sequences must be lists of tokens, got {type(sequences).__name__}"
        ) from None
    named = enumerate(rows)
    return chain.from_iterable(_row(f"sequences[{row}]", found) for row, found in named)


def refuse_unknown(name: str, rows: Sequence[Sequence[str]], ids: Ids) -> NoReturn:
    """Raise the error for the first token that has no id; `name` has a place for the row's."""
    row, step, token = next(
        (row, step, token)
        for row, found in enumerate(rows)
        for step, token in enumerate(found)
        if token not in ids
    )
    raise ValueError(
        f"{name.format(row)} has {shown(token)} at step {step}, which is no token of this "
        "vocabulary, and none stands for unknown ones"
    )


def require_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {shown(value)}")


def padding_of(padding_idx: int | None) -> int:
    """Check that there is a token for padding."""
    if padding_idx is None:
        raise ValueError("padded=True needs a vocabulary with a token for padding, this has none")
    return padding_idx


def split(path: Path, octets: bytes) -> list[str]:
    """Return the tokens that a file has as lines of text."""
    try:
        text = octets.decode().removeprefix(_MARK).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read: it is not in UTF-8: {error}") from None
    found = text.removesuffix("\n").split("\n") if text else []
    for number, token in enumerate(found, 1):
        if "\r" in token:
            raise ValueError(
                f"{path} cannot be read: line {number}, {shown(token)}, has a \\r in it: lines end "
                "by \\n or \\r\\n"
            )
    return found


def lines(found: Iterable[str]) -> str:
    """Return tokens as lines of text, which `split` gives back."""
    for token in found:
        if "\n" in token or "\r" in token or not _is_encodable(token):
            raise ValueError(f"a text file has one token a line, and cannot hold {shown(token)}")
    text = "".join(f"{token}\n" for token in found)
    return _MARK + text if text.startswith(_MARK) else text


def _row(name: str, value: Any) -> tuple[str, ...]:
    # A short way for what is plain: there may be millions.
    if type(value) in {list, tuple} and set(map(type, value)) <= {str}:
        return tuple(value)
    return tokens(name, value)


def _is_encodable(token: str) -> bool:
    """Whether this is text that UTF-8 has: no halves of a surrogate pair."""
    try:
        token.encode()
    except UnicodeEncodeError:
        return False
    return True
