"""What benchmarks/results holds, for figures.py and plots.py."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from embedrnn.bench.paired import Ratio
from embedrnn.bench.peers import LIBRARIES as LIBRARIES_OF_BENCH

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "results"

# Libraries by the names that results have, and as people write them.
_TITLES = LIBRARIES_OF_BENCH | {
    "keras": "Keras",
    "onnx": "onnx",
    "embedrnn": "embedrnn otherwise",
}
OURS = _TITLES["embedrnn"]
LIBRARIES = tuple(_TITLES.values())


@dataclass(frozen=True)
class Measured:
    """One cell at one number of threads."""

    operation: str
    shape: str
    threads: int
    seconds: float
    peers: dict[str, Ratio]
    library_of: dict[str, str]  # of each of them

    def libraries(self) -> dict[str, Ratio]:
        """Return the best way that each library has."""
        best: dict[str, Ratio] = {}
        for name, ratio in self.peers.items():
            library = self.library_of[name]
            if library not in best or ratio.median < best[library].median:
                best[library] = ratio
        return best

    def best(self) -> tuple[str, Ratio]:
        """Return the library that comes nearest to us, or is ahead."""
        return min(self.libraries().items(), key=lambda item: item[1].median)


@cache
def environment(group: str) -> dict[str, Any]:
    """Return what a group was measured with."""
    found: dict[str, Any] = _document(group)["environment"]
    return found


def settings(group: str) -> dict[str, Any]:
    """Return how often and how long each contestant of a group was timed; of errors, nothing."""
    found: dict[str, Any] = _document(group).get("settings", {})
    return found


@cache
def measured(group: str) -> tuple[Measured, ...]:
    """Return every cell of a group."""
    return tuple(map(_cell, _document(group)["cells"]))


def select(group: str, *operations: str, threads: int = 1) -> list[Measured]:
    """Return the cells of these operations."""
    return [
        cell for cell in measured(group) if cell.operation in operations and cell.threads == threads
    ]


def find(group: str, operation: str, shape: str, threads: int = 1) -> Measured:
    """Return one cell."""
    (cell,) = (cell for cell in select(group, operation, threads=threads) if cell.shape == shape)
    return cell


def errors() -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield operation, shape, and the error of each contestant."""
    for cell in _document("errors")["cells"]:
        yield cell["operation"], cell["shape"], cell["errors"]


def mean(cells: list[Measured]) -> float:
    """Return the geometric mean of the best peers' ratios."""
    return geometric_mean(cell.best()[1].median for cell in cells)


@cache
def _document(group: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{group}.json").read_text(encoding="utf-8"))
    return found


def _cell(cell: dict[str, Any]) -> Measured:
    peers = {name: Ratio(**peer["ratio"]) for name, peer in cell["peers"].items()}
    libraries = {name: _TITLES.get(peer["library"], name) for name, peer in cell["peers"].items()}
    return Measured(
        cell["operation"], cell["shape"], cell["threads"], cell["seconds"], peers, libraries
    )
