"""One cell, from its workload to its result."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from embedrnn.bench.cells.cell import Cell
from embedrnn.bench.limits import Limits
from embedrnn.bench.paired import measure, paired_ratio
from embedrnn.bench.peers import OURS, Failed, raise_it
from embedrnn.bench.results import CellResult, PeerResult


@dataclass(frozen=True)
class Settings:
    """How long is measured: samples a cell, the least seconds of one, and when to hurry."""

    samples: int
    min_time: float
    until: float = math.inf  # of time.monotonic()


def run_cell(
    cell: Cell,
    threads: int,
    limits: Limits,
    settings: Settings,
    chosen: Collection[str] | None = None,
    failed: Failed = raise_it,
) -> CellResult:
    """Set up, check, measure and sum up one cell, against the peers that are chosen."""
    work = cell.make()
    entrants = cell.enter(work, threads, chosen, failed)
    seconds = measure(
        {name: entrant.run for name, entrant in entrants.items()},
        cell.samples(settings.samples),
        settings.min_time,
        warm_up=not cell.long,
        until=settings.until,
    )
    ours = seconds.pop(OURS)
    operation, libraries = cell.operation, cell.contestants()
    rate = operation.work(work) / float(np.median(ours))
    limit = operation.limit if isinstance(operation.limit, str) else operation.limit(work)
    return CellResult(
        group=cell.group,
        operation=operation.name,
        shape=cell.shape,
        threads=threads,
        seconds=float(np.median(ours)),
        rate=rate,
        limit=limit,
        share_of_limit=rate / getattr(limits, limit),
        peers={
            name: PeerResult(
                libraries[name].library, float(np.median(peer)), paired_ratio(peer, ours)
            )
            for name, peer in seconds.items()
        },
    )
