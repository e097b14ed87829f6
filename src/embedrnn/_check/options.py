"""Rules about options: numbers, names, and what is on or off."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from embedrnn._check.array_like import require_unmasked

_INT64_MAX = np.iinfo(np.int64).max
_LONGEST = 80


def shown(value: Any) -> str:
    """Return a value as it stands in a message: on one line, and not too long."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    try:
        text = repr(value)
    except Exception:  # Python refuses to write integers of thousands of digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Check that a named option is one of those there are."""
    if not (isinstance(value, str) and value in allowed):
        listed = " or ".join(repr(option) for option in allowed)
        raise ValueError(f"{name} must be {listed}, got {shown(value)}")


def instance(name: str, value: Any, expected: str, *kinds: type) -> None:
    """Check the class of an argument, which the caller knows and the rules need not import."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}")


def flag(name: str, value: Any) -> bool:
    """Check what is either on or off; 1 and 0 will do."""
    if value is True or value is False:
        return value
    if isinstance(value, (int, np.bool_, np.integer)) and value in {0, 1}:
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {shown(value)}")


def whole(name: str, value: Any) -> int:
    """Check an integer."""
    require_unmasked(name, value)
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None


def size(name: str, value: Any, least: int = 1) -> int:
    """Check a number of units, rows or layers."""
    number = whole(name, value)
    if number < least:
        raise ValueError(f"{name} must be {least} or more, got {shown(number)}")
    if number > _INT64_MAX:
        raise ValueError(f"{name} must be at most {_INT64_MAX}, got {shown(number)}")
    return number


def require_addressable(names: str, *sizes: int) -> None:
    """Check that an array of so many numbers, of 8 bytes at most, is one that there could be."""
    if math.prod(max(1, n) for n in sizes) > _INT64_MAX // 8:
        raise ValueError(f"{names} must make arrays that memory can address, got {sizes}")


def number(name: str, value: Any) -> float:
    """Check a number."""
    require_unmasked(name, value)
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must fit a float, got {shown(value)}") from None
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a number, got {shown(value)}") from None


def positive(name: str, value: Any) -> float:
    """Check a number that is more than 0; it may be infinite."""
    found = number(name, value)
    if not found > 0:
        raise ValueError(f"{name} must be positive, got {found}")
    return found


def not_negative(name: str, value: Any) -> float:
    """Check a finite number that is 0 or more."""
    found = number(name, value)
    if not 0 <= found < math.inf:
        raise ValueError(f"{name} must be finite and 0 or more, got {found}")
    return found


def finite(name: str, value: Any) -> float:
    """Check a finite number."""
    found = number(name, value)
    if not math.isfinite(found):
        raise ValueError(f"{name} must be finite, got {found}")
    return found


def below_one(name: str, value: Any) -> float:
    """Check a number in [0, 1)."""
    found = number(name, value)
    if not 0 <= found < 1:
        raise ValueError(f"{name} must be in [0, 1), got {found}")
    return found


def share(name: str, value: Any) -> float:
    """Check a number in (0, 1]."""
    found = number(name, value)
    if not 0 < found <= 1:
        raise ValueError(f"{name} must be in (0, 1], got {found}")
    return found


def dtype_of(name: str, value: Any, expected: str) -> np.dtype[Any]:
    """Return the dtype that a value means; which ones will do is the caller's to check."""
    try:
        found: np.dtype[Any] = np.dtype(value)
    except Exception:  # NumPy has a wide choice of them
        raise TypeError(f"{name} must be {expected}, got {shown(value)}") from None
    return found


def generator(name: str, seed: Any) -> "np.random.Generator":
    """Return the generator that a seed makes, or the one that is given."""
    require_unmasked(name, seed)
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name} must be what numpy.random.default_rng takes, got {shown(seed)}"
        ) from None
