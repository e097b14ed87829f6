"""What was measured in a cell, and how it is stored."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedrnn.bench.limits import Limits
from embedrnn.bench.paired import Ratio


@dataclass(frozen=True)
class PeerResult:
    """One peer in one cell: its library, its median time, and the paired ratio to ours."""

    library: str
    seconds: float
    ratio: Ratio


@dataclass(frozen=True)
class CellResult:
    """One cell at one thread count. `rate` is valid work a second; `limit` names what bounds it."""

    group: str
    operation: str
    shape: str
    threads: int
    seconds: float
    rate: float
    limit: str
    share_of_limit: float
    peers: dict[str, PeerResult]

    def __str__(self) -> str:
        return f"{self.operation} {self.shape}"  # as the cell's own, which -k searches

    @property
    def against_best(self) -> float | None:
        """The ratio to the peer that comes nearest to us, or None if nobody else can do it."""
        return min((peer.ratio.median for peer in self.peers.values()), default=None)

    def best_of(self, library: str) -> PeerResult | None:
        """Return the fastest way that a library has, or None if it has none."""
        ways = [peer for peer in self.peers.values() if peer.library == library]
        return min(ways, key=lambda peer: peer.ratio.median, default=None)


def write_json(
    path: Path,
    environment: dict[str, Any],
    settings: dict[str, Any],
    limits: dict[int, Limits],
    cells: list[CellResult],
) -> None:
    """Store everything that was printed, and what it was measured with."""
    document = {
        "environment": environment,
        "settings": settings,
        "limits": {str(threads): asdict(limit) for threads, limit in limits.items()},
        "cells": [asdict(cell) for cell in cells],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(in_lines(document))


def in_lines(document: dict[str, Any]) -> str:
    """Return JSON with a line for each member, and of a list for each element."""

    def lines(value: Any) -> str:
        if not isinstance(value, list):
            return json.dumps(value)
        return "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"

    members = (f"{json.dumps(name)}: {lines(value)}" for name, value in document.items())
    return "{\n" + ",\n".join(members) + "\n}\n"
