"""Rules about what comes from other libraries and goes to them."""

from typing import Any

import numpy as np

from embedrnn._check.arrays import is_number


def instance(name: str, value: Any, expected: str, *kinds: type) -> None:
    """Check the class of an argument, which the caller knows and the rules need not import."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}")


def differentiated(name: str, value: Any) -> None:
    """Check an argument that has a gradient, which then has its shape and dtype."""
    instance(name, value, "an ndarray where it is differentiated", np.ndarray)
    if not is_number(value.dtype) or value.dtype.kind in "biu":
        raise TypeError(
            f"{name} must be of floating-point numbers where it is differentiated, got "
            f"{value.dtype}"
        )
