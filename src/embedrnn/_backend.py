"""The backend in use: the compiled module, or its NumPy twin where that is absent or asked for."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

from embedrnn import _numpy

_CORE = "embedrnn._core"


def _load_core() -> ModuleType | None:
    """Import the compiled module; None only if there is none. Any other failure is raised."""
    try:
        return importlib.import_module(_CORE)
    except ModuleNotFoundError as error:
        if error.name != _CORE:
            raise
        return None


_core = _load_core()


def module(name: str, asked_by: str = "backend") -> ModuleType:
    """Return the module of a backend by its name, "native" or "numpy"."""
    if name == "numpy":
        return _numpy
    if name != "native":
        raise ValueError(f"{asked_by} must be 'native' or 'numpy', got {name!r}")
    if _core is None:
        raise ImportError("the native backend was asked for, but embedrnn._core is not installed")
    return _core


def _default() -> ModuleType:
    name = os.environ.get("EMBEDRNN_BACKEND")
    return module(name, "EMBEDRNN_BACKEND") if name else _core or _numpy


_selected = ContextVar("embedrnn_backend", default=_default())  # noqa: B039 (nobody changes a module)

current = _selected.get


def current_name() -> str:
    """Return the name of the backend in use."""
    return "numpy" if current() is _numpy else "native"


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Use a backend for the calls made inside the ``with`` block, in this thread or task only.

    Parameters
    ----------
    name : {"native", "numpy"}
        The compiled kernels, or their NumPy specification.

    Raises
    ------
    ValueError
        If the name is another.
    ImportError
        If the compiled kernels are not installed.

    Examples
    --------
    >>> import embedrnn as er
    >>> with er.use_backend("numpy"):
    ...     er.config()["backend"]
    'numpy'
    """
    token = _selected.set(module(name))
    try:
        yield
    finally:
        _selected.reset(token)
