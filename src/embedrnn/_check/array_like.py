"""What comes in place of an array, as an array: the first rule that an argument meets."""

import importlib
import numbers
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._check.arrow import from_arrow

Array = npt.NDArray[Any]

# Where DLPack says that memory is which the CPU can read: its own, and what CUDA and ROCm pin or
# manage.
_HOST_MEMORY = frozenset({1, 3, 11, 13})


def as_array(name: str, value: Any, instead: str = "join them, as numpy.concatenate does") -> Array:
    """Return what is array_like as an array of NumPy's own type.

    What others export by DLPack, as an Arrow array of numbers or to NumPy is not copied. ValueError
    is raised of sequences of unequal length and of nulls. Where a call takes microseconds, an array
    does without this one.
    """
    require_unmasked(name, value)
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return _from_dlpack(name, value)
    value = readable(name, value)
    column = None if isinstance(value, (list, tuple)) else from_arrow(name, value)
    if column is not None:
        if column.offsets is not None:
            raise _unequal(name, instead)
        return column.values
    try:
        array = np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, ValueError) and "inhomogeneous" in str(error):
            raise _unequal(name, instead) from None
        if _is_bfloat16(value) and not getattr(value, "requires_grad", False):
            return _bfloat16(name, value)
        raise _unreadable(name, value, error) from error
    # What NumPy does not understand it takes for an item. So are integers of more than 64 bits, of
    # which there is more to say elsewhere.
    if array.ndim == 0 and array.dtype.hasobject and not isinstance(value, numbers.Number):
        raise TypeError(f"{name} must be array_like, got {type(value).__name__}{_hint(value)}")
    return array


def readable(name: str, value: Any) -> Any:
    """Return a list of what others export as one of arrays, and anything else as it is."""
    if not isinstance(value, (list, tuple)) or not is_exported(next(iter(value), None)):
        return value
    return [
        as_array(f"{name}[{i}]", item) if is_exported(item) else item
        for i, item in enumerate(value)
    ]


def is_exported(value: Any) -> bool:
    """Whether this is no array of NumPy's, and is exported by DLPack or as an Arrow array."""
    if isinstance(value, (np.ndarray, np.generic, int, float, list, tuple)):
        return False
    ways = ("__dlpack__", "__arrow_c_array__", "__arrow_c_stream__")
    return any(hasattr(value, way) for way in ways)


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
        device = value.__dlpack_device__()
        if device[0] in _HOST_MEMORY:
            return np.from_dlpack(value)
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(name, value, error) from error
    raise TypeError(
        f"{name} must be in the memory of the CPU, got {type(value).__name__} on DLPack's device "
        f"{tuple(map(int, device))}: copy it first"
    )


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


def _unequal(name: str, instead: str) -> ValueError:
    return ValueError(f"{name} must be one array, got sequences of unequal length: {instead}")


def _unreadable(name: str, value: Any, error: Exception) -> TypeError:
    return TypeError(
        f"{name} must be array_like, got {type(value).__name__}, which NumPy cannot read: {error}"
    )


def _hint(value: Any) -> str:
    """Return what to do with a sparse matrix."""
    return ": give what its toarray() returns" if hasattr(value, "toarray") else ""
