"""What benchmarks/results holds, for figures.py and plots.py."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import geometric_mean
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "results"

# Which library a contestant belongs to, by how its name begins.
_LIBRARIES = {
    "NumPy": r"np\.|table\[ids\]|sort, np\.|NumPy",
    "PyTorch": r"F\.|nn\.|index_|embedding_|sparse coalesce|PyTorch|SparseAdam",
    "ONNX Runtime": "ONNX Runtime",
    "OpenVINO": "OpenVINO",
    "Numba": "Numba",
    "SciPy": "CSR product",
    "Keras": "Keras",
    "onnx": "its own operators",
    "embedrnn otherwise": "float32|unfrozen|all steps valid|our layer",
}
LIBRARIES = tuple(_LIBRARIES)


@dataclass(frozen=True)
class Ratio:
    """A contestant's time over ours: the median of pairs and its 95 % interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """One cell at one number of threads."""

    operation: str
    shape: str
    threads: int
    seconds: float
    peers: dict[str, Ratio]

    def libraries(self) -> dict[str, Ratio]:
        """Return the best way that each library has."""
        best: dict[str, Ratio] = {}
        for name, ratio in self.peers.items():
            library = library_of(name)
            if library not in best or ratio.median < best[library].median:
                best[library] = ratio
        return best

    def best(self) -> tuple[str, Ratio]:
        """Return the library that comes nearest to us, or is ahead."""
        return min(self.libraries().items(), key=lambda item: item[1].median)


def library_of(peer: str) -> str:
    """Return the library of a contestant."""
    return next(name for name, begins in _LIBRARIES.items() if re.match(begins, peer))


@cache
def environment(group: str) -> dict[str, Any]:
    """Return what a group was measured with."""
    found: dict[str, Any] = _document(group)["environment"]
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
    return Measured(cell["operation"], cell["shape"], cell["threads"], cell["seconds"], peers)
