"""Results as lines while they come, and held against what is aimed at."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

from embedrnn.bench.cells.cell import Goal
from embedrnn.bench.environment import summary
from embedrnn.bench.limits import Limits
from embedrnn.bench.results import CellResult, PeerResult

_UNITS = {
    "copy_bytes": "GB/s",
    "sgemm_flops": "GFLOP/s",
    "fma_flops": "GFLOP/s",
    "l2_bytes": "GB/s of weights",
    "l3_bytes": "GB/s of weights",
}


@dataclass(frozen=True)
class Summary:
    """One operation at one thread count, over its cells, each against the best peer in it."""

    operation: str
    threads: int
    cells: int
    mean: float
    worst: float
    worst_cell: str
    goal: Goal | None

    @property
    def missed(self) -> bool:
        """Whether there is a goal, and the mean or the worst cell falls short of it."""
        return self.goal is not None and (
            self.mean < self.goal.mean or self.worst < self.goal.worst
        )


def summarise(cells: list[CellResult], goals: Mapping[str, Mapping[int, Goal]]) -> list[Summary]:
    """Sum up each operation at each thread count, in the order of the cells."""
    summaries = []
    for operation, threads in dict.fromkeys((cell.operation, cell.threads) for cell in cells):
        ratios = {
            cell.shape: ratio
            for cell in cells
            if (cell.operation, cell.threads) == (operation, threads)
            and (ratio := cell.against_best) is not None
        }
        if ratios:
            worst_cell = min(ratios, key=ratios.__getitem__)
            summaries.append(
                Summary(
                    operation,
                    threads,
                    len(ratios),
                    geometric_mean(ratios.values()),
                    ratios[worst_cell],
                    worst_cell,
                    goals[operation].get(threads),
                )
            )
    return summaries


def summary_lines(summaries: list[Summary]) -> str:
    """Render the summaries, one line each."""
    lines = ["\ntimes of the best peer over ours: geometric mean, and worst cell"]
    for s in summaries:
        line = f"  {s.operation:<14} {s.threads} thread{'s' * (s.threads > 1)}, {s.cells:>3} cells"
        line += f"   {s.mean:6.2f}   {s.worst:6.2f} ({s.worst_cell})"
        if s.goal is not None:
            line += f"   goal {s.goal.mean:.2f} and {s.goal.worst:.2f}: "
            line += "MISSED" if s.missed else "met"
        lines.append(line)
    return "\n".join(lines)


def header(environment: dict[str, Any]) -> str:
    """Say what the figures depend on."""
    return (
        f"{summary(environment)}\n"
        "ratio: the peer's time over ours, median of pairs [95 % interval]\n"
        "share of copy: over 100 % means that rows stayed in a cache"
    )


def cell_lines(cell: CellResult, limits: Limits) -> str:
    """Render our time and rate, then one line a peer."""
    lines = [
        f"\n{cell}",
        f"  {'embedrnn':<16} {_time(cell.seconds)}   {cell.rate / 1e9:.1f} "
        f"{_UNITS[cell.limit]}, {cell.share_of_limit:.0%} of {limits.name(cell.limit)}",
    ]
    lines += [_peer_line(name, peer) for name, peer in cell.peers.items()]
    return "\n".join(lines)


def _peer_line(name: str, peer: PeerResult) -> str:
    ratio = peer.ratio
    line = f"  {name:<16} {_time(peer.seconds)}   {ratio.median:6.2f} "
    return line + f"[{ratio.low:.2f}, {ratio.high:.2f}]"


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:10.1f} us"
