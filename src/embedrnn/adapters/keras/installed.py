"""The method of Keras's layers that runs over time, and ours in its place."""

import functools
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import keras

from embedrnn._check import adapters as _check
from embedrnn.adapters.keras import calls, kept

# The first that this is known to work with, and the last.
_VERSIONS = ((3, 5), (3, 15))
_LAYERS = (keras.layers.SimpleRNN, keras.layers.GRU, keras.layers.LSTM)
_METHOD = "inner_loop"
_PARAMETERS = ["self", "sequences", "initial_state", "mask", "training"]

# What each layer had of its own; None of one that inherits the method.
_before: dict[type, Callable[..., Any] | None] = {}


def install() -> None:
    """Run the recurrent layers of Keras here; once they do, a second call changes nothing.

    Raises
    ------
    RuntimeError
        If Keras runs on another backend than NumPy or PyTorch, is too old, or calls its layers
        otherwise.

    Warns
    -----
    RuntimeWarning
        If Keras is newer than those that this is known to work with.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from embedrnn.adapters.keras import install, uninstall
    >>> install()
    >>> keras.layers.LSTM(7)(np.ones((3, 4, 5), np.float32)).shape == (3, 7)
    True
    >>> uninstall()
    """
    if _before:
        return
    backend = _check.keras_backend(keras.config.backend())
    _check.keras_version(keras.__version__, *_VERSIONS)
    for layer in _LAYERS:
        parameters = list(inspect.signature(getattr(layer, _METHOD)).parameters)
        _check.keras_method(f"{layer.__name__}.{_METHOD}", parameters, _PARAMETERS)
    tensors = import_module(f"embedrnn.adapters.keras.{backend}_tensors")
    for layer in _LAYERS:
        _before[layer] = vars(layer).get(_METHOD)
        setattr(layer, _METHOD, _in_place_of(getattr(layer, _METHOD), tensors))


def uninstall() -> None:
    """Leave the recurrent layers to Keras again; without `install` nothing changes.

    Examples
    --------
    >>> from embedrnn.adapters.keras import install, uninstall
    >>> install()
    >>> uninstall()
    """
    for layer, method in _before.items():
        if method is None:
            delattr(layer, _METHOD)
        else:
            setattr(layer, _METHOD, method)
    _before.clear()
    kept.forget()


def _in_place_of(method: Callable[..., Any], tensors: Any) -> Callable[..., Any]:
    """Return a method that runs here what it can, and all else as Keras does."""

    @functools.wraps(method)
    def inner_loop(
        self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        result = calls.run(tensors, self, sequences, initial_state, mask, training)
        if result is None:
            return method(self, sequences, initial_state, mask=mask, training=training)
        return result

    return inner_loop
