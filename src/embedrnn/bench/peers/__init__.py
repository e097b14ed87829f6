"""The contestants: for each operation, everyone who can do it, each at its best.

A contestant is a function decorated with the `contestant` of its library (see `contestant_of`) in
one of the modules below; it gets the workload and the number of threads and returns what to time.
Preparing inputs (another layout, another library's array type) is its own affair and not timed;
whatever a caller would have to do in each call is timed.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from embedrnn.bench.workloads import Array

OURS = "embedrnn"

# Libraries by the names that they are imported by, and as people write them.
LIBRARIES = {
    "numpy": "NumPy",
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "numba": "Numba",
    "scipy": "SciPy",
}

# Module: its library, and what else it imports.
MODULES = {
    "ours": [OURS],
    "numpy_code": ["numpy"],
    "scipy_code": ["scipy"],
    "numba_code": ["numba"],
    "pytorch": ["torch"],
    "onnx_runtime": ["onnxruntime", "onnx"],
    "openvino": ["openvino", "onnx"],
}


@dataclass(frozen=True)
class Contestant:
    """What to time, and how to read the answer from what one run returned."""

    run: Callable[[], Any]
    answer: Callable[[Any], Array] = np.asarray


Factory = Callable[[Any, int], Contestant]


@dataclass(frozen=True)
class Entry:
    """Who takes part in an operation: a way to do it with some library."""

    library: str
    factory: Factory


_ENTRIES: defaultdict[str, dict[str, Entry]] = defaultdict(dict)

Failed = Callable[[str, Exception], None]


def raise_it(_who: str, error: Exception) -> None:
    """Let nothing pass: what a measurement of this project does with a peer that fails."""
    raise error


def contestant_of(library: str) -> Callable[[str, str], Callable[[Factory], Factory]]:
    """Return the decorator that enters a function of this library for an operation, by a name."""

    def contestant(operation: str, name: str) -> Callable[[Factory], Factory]:
        def enter(factory: Factory) -> Factory:
            _ENTRIES[operation][name] = Entry(library, factory)
            return factory

        return enter

    return contestant


def contestants(operation: str) -> dict[str, Entry]:
    """Return everyone here who can do this operation, ours first."""
    return _ENTRIES[operation]


def title(name: str) -> str:
    """Return a library's name as people write it; other names are as they are."""
    return LIBRARIES.get(name, name)


def load(
    modules: Mapping[str, list[str]] = MODULES,
    package: str = __name__,
    libraries: Collection[str] | None = None,
    failed: Failed = raise_it,
) -> None:
    """Enter the contestants of the modules whose libraries are here, ours with the first.

    A library is imported then, and not before. With `libraries`, others are not.
    """
    for module, needed in modules.items():
        if (libraries is None or needed[0] in {OURS, *libraries}) and not missing(needed):
            try:
                import_module(f"{package}.{module}")
            except Exception as error:  # a library that is installed need not work
                failed(needed[0], error)


def missing(needed: list[str]) -> list[str]:
    """Return which of these libraries are not installed."""
    return [name for name in needed if find_spec(name) is None]
