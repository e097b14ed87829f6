"""What comes in place of an array, as an array: the first rule that an argument meets."""

import importlib
import numbers
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def as_array(name: str, value: Any, instead: str = "join them, as numpy.concatenate does") -> Array:
    """Return what is array_like as an array of NumPy's own type.

    ValueError is raised of sequences of unequal length alone, which some callers take. Where a call
    takes microseconds, an array does without this one.
    """
    require_unmasked(name, value)
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return _from_dlpack(name, value)
    try:
        array = np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, ValueError) and "inhomogeneous" in str(error):
            raise ValueError(
                f"{name} must be one array, got sequences of unequal length: {instead}"
            ) from None
        if _is_bfloat16(value):
            return _bfloat16(name, value)
        raise _unreadable(name, value, error) from error
    # What NumPy does not understand it takes for an item. So are integers of more than 64 bits, of
    # which there is more to say elsewhere.
    if array.ndim == 0 and array.dtype.hasobject and not isinstance(value, numbers.Number):
        raise TypeError(f"{name} must be array_like, got {type(value).__name__}{_hint(value)}")
    return array


def own_copy(name: str, value: npt.ArrayLike) -> Array:
    """Return an array of our own: another thread may write to the caller's once it is checked."""
    # np.array would ask a tensor for a copy, which warns.
    return (value if type(value) is np.ndarray else as_array(name, value)).copy()


def require_unmasked(name: str, value: Any) -> None:
    """Check that nothing is masked, also in a list of arrays: NumPy would show what is hidden."""
    # Nobody has made a masked array before this module is imported.
    masked = getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())
    in_list = isinstance(value, (list, tuple)) and isinstance(next(iter(value), None), np.ndarray)
    if any(isinstance(part, masked) for part in (value if in_list else (value,))):
        raise TypeError(
            f"{name} must be an array without a mask, got a masked one: give what its filled() "
            "returns"
        )


def _from_dlpack(name: str, value: Any) -> Array:
    try:
        return np.from_dlpack(value)
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(name, value, error) from error


def _is_bfloat16(value: Any) -> bool:
    """Whether this is a tensor of PyTorch's bfloat16, which it does not hand to NumPy."""
    return str(getattr(value, "dtype", "")) == "torch.bfloat16"


def _bfloat16(name: str, value: Any) -> Array:
    """Return the bits of a tensor as the bfloat16 of ml_dtypes."""
    try:
        bits: Array = value.view(sys.modules["torch"].int16).numpy()
        found: Array = bits.view(importlib.import_module("ml_dtypes").bfloat16)
    except ImportError:
        raise TypeError(f"{name} is of bfloat16, which NumPy has with ml_dtypes alone") from None
    except Exception as error:
        raise _unreadable(name, value, error) from error
    return found


def _unreadable(name: str, value: Any, error: Exception) -> TypeError:
    return TypeError(
        f"{name} must be array_like, got {type(value).__name__}, which NumPy cannot read: {error}"
    )


def _hint(value: Any) -> str:
    """Return what to do with a sparse matrix."""
    return ": give what its toarray() returns" if hasattr(value, "toarray") else ""
