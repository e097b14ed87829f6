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
    """Return a value as it stands in a message: on one line, and not too long.

    Scalars of NumPy, and arrays without axes, are written as Python writes such values.
    """
    if isinstance(value, np.ndarray):
        if value.ndim:
            return f"an array of shape {value.shape}"
        value = scalar(value)
    try:
        text = _plain(value) if isinstance(value, np.generic) else repr(value)
    except Exception:  # Python refuses to write integers of thousands of digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _plain(value: np.generic) -> str:
    # The item of a float32 has more digits than it is precise to.
    return repr(value.item()) if value.dtype.kind in "SU" else str(value)


def scalar(value: Any) -> Any:
    """Return an array without axes as the one value that it holds, and anything else as it is."""
    return value[()] if type(value) is np.ndarray and not value.ndim else value


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
    given = scalar(value)
    if isinstance(given, (int, np.bool_, np.integer)) and given in {0, 1}:
        return bool(given)
    raise TypeError(f"{name} must be True or False, got {shown(value)}")


def whole(name: str, value: Any) -> int:
    """Check an integer, which no truth value is: one came by position to the wrong place."""
    if type(value) is int:
        return value
    require_unmasked(name, value)
    try:
        if _is_truth_value(value):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None


def _is_truth_value(value: Any) -> bool:
    """Whether this is True or False, as a scalar, an array or a tensor of them too."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


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
    """Check a real number, which no truth value is; one of NumPy or an array without axes will do.

    It may be NaN: whoever asks for a range refuses that with all else outside.
    """
    if type(value) is float:
        return value
    require_unmasked(name, value)
    try:
        if not _may_be_number(value):
            raise TypeError
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must fit a float, got {shown(value)}") from None
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a number, got {shown(value)}") from None


def _may_be_number(value: Any) -> bool:
    """Whether this is not what Python or NumPy would make a number of in `float`."""
    if isinstance(value, (str, bytes)) or _is_truth_value(value):
        return False
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "cmMSUO":
        return False
    return getattr(value, "shape", ()) == ()


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


def inner_share(name: str, value: Any) -> float:
    """Check a number in (0, 1)."""
    found = number(name, value)
    if not 0 < found < 1:
        raise ValueError(f"{name} must be in (0, 1), got {found}")
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
