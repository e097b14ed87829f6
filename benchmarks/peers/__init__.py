"""The contestants: for each operation, everyone who can do it, each at its best.

A contestant is a function decorated with `contestant(operation, name)` in one of the modules below;
it gets the workload and the number of threads and returns what to time. Preparing inputs (another
layout, another library's array type) is its own affair and not timed; whatever a caller would have
to do in each call is timed.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from workloads import Array

OURS = "embedrnn"

# Module: the library without which it is left out.
_MODULES = {
    "ours": "embedrnn",
    "shipped_code": "embedrnn",
    "numpy_code": "numpy",
    "scipy_code": "scipy",
    "numba_code": "numba",
    "pytorch": "torch",
    "accelerated": "torch",
    "onnx_runtime": "onnxruntime",
    "onnx_evaluator": "onnx",
    "openvino": "openvino",
    "keras_code": "keras",
}


@dataclass(frozen=True)
class Contestant:
    """What to time, and how to read the answer from what one run returned."""

    run: Callable[[], Any]
    answer: Callable[[Any], Array] = np.asarray


Factory = Callable[[Any, int], Contestant]

_FACTORIES: defaultdict[str, dict[str, Factory]] = defaultdict(dict)


def contestant(operation: str, name: str) -> Callable[[Factory], Factory]:
    """Enter the decorated function for this operation."""

    def enter(factory: Factory) -> Factory:
        _FACTORIES[operation][name] = factory
        return factory

    return enter


def contestants(operation: str) -> dict[str, Factory]:
    """Return everyone here who can do this operation, ours first."""
    return _FACTORIES[operation]


for _module, _library in _MODULES.items():
    if find_spec(_library):
        import_module(f"{__name__}.{_module}")
