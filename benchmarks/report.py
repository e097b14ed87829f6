"""Results: as lines while they come, as JSON, as a plot."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from cells import Goal
from environment import blas_kernel
from limits import Limits
from paired import Ratio

_UNITS = {
    "copy_bytes": "GB/s",
    "sgemm_flops": "GFLOP/s",
    "fma_flops": "GFLOP/s",
    "l2_bytes": "GB/s of weights",
    "l3_bytes": "GB/s of weights",
}
_LIMITS = {
    "copy_bytes": "copy",
    "sgemm_flops": "sgemm",
    "fma_flops": "FMA peak",
    "l2_bytes": "L2 reads",
    "l3_bytes": "L3 reads",
}


@dataclass(frozen=True)
class PeerResult:
    """One peer in one cell: its median time, and the paired ratio to ours."""

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

    @property
    def against_best(self) -> float | None:
        """The ratio to the peer that comes nearest to us, or None if nobody else can do it."""
        return min((peer.ratio.median for peer in self.peers.values()), default=None)


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
    config = environment["embedrnn"]
    versions = ", ".join(f"{name} {v}" for name, v in environment["versions"].items())
    return (
        f"{environment['cpu']}, {environment['cpus']} CPUs; Python {environment['python']}, "
        f"{versions}\n"
        f"embedrnn {config['version']}, {config['backend']} backend, ISA {config['isa']}; "
        f"OpenBLAS kernel {blas_kernel(environment)}\n"
        "ratio: the peer's time over ours, median of pairs [95 % interval]\n"
        "share of copy: over 100 % means that rows stayed in a cache"
    )


def limits_line(threads: int, limits: Limits) -> str:
    """Say what the machine can do with so many threads."""
    return (
        f"\n{threads} thread{'s' * (threads > 1)}: copy {limits.copy_bytes / 1e9:.1f} GB/s, "
        f"sgemm {limits.sgemm_flops / 1e9:.1f} GFLOP/s, "
        f"FMA peak {limits.fma_flops / 1e9:.1f} GFLOP/s{' (sgemm)' * (not limits.fma_measured)}, "
        f"reads {limits.l2_bytes / 1e9:.1f} GB/s from L2, {limits.l3_bytes / 1e9:.1f} from L3"
    )


def cell_lines(cell: CellResult) -> str:
    """Render our time and rate, then one line a peer."""
    unit, limit = _UNITS[cell.limit], _LIMITS[cell.limit]
    lines = [
        f"\n{cell.operation}, {cell.shape}",
        f"  {'embedrnn':<16} {_time(cell.seconds)}   {cell.rate / 1e9:.1f} {unit}, "
        f"{cell.share_of_limit:.0%} of {limit}",
    ]
    lines += [_peer_line(name, peer) for name, peer in cell.peers.items()]
    return "\n".join(lines)


def _peer_line(name: str, peer: PeerResult) -> str:
    ratio = peer.ratio
    line = f"  {name:<16} {_time(peer.seconds)}   {ratio.median:6.2f} "
    return line + f"[{ratio.low:.2f}, {ratio.high:.2f}]"


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:10.1f} us"


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


def write_plot(path: Path, environment: dict[str, Any], cells: list[CellResult]) -> None:
    """Draw each paired ratio with its interval on a log axis; right of 1 we are faster."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = {n: [c for c in cells if c.threads == n] for n in sorted({c.threads for c in cells})}
    size = (5 + 5.5 * len(columns), 1.2 + 0.3 * max(map(len, columns.values())))
    fig, axes = plt.subplots(1, len(columns), figsize=size, squeeze=False, layout="constrained")
    peers = list(dict.fromkeys(name for cell in cells for name in cell.peers))
    for ax, (threads, column) in zip(axes[0], columns.items(), strict=True):
        for number, name in enumerate(peers):
            _draw_peer(ax, name, plt.get_cmap("tab20")(number % 20), column)
        ax.axvline(1, color="0.3", linewidth=1)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        labels = [f"{cell.operation}, {cell.shape}" for cell in column]
        ax.set_yticks(range(len(column)), labels if ax is axes[0, 0] else [], fontsize=7)
        ax.set_ylim(len(column) - 0.4, -0.6)
        ax.grid(axis="x", which="both", alpha=0.25)
        ax.set_title(f"{threads} thread{'s' * (threads > 1)}", fontsize=10)
    fig.suptitle(f"{environment['cpu']}, ISA {environment['embedrnn']['isa']}", fontsize=10)
    fig.supxlabel("time of the peer / time of embedrnn (median of pairs, 95 % interval)")
    axes[0, -1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def _draw_peer(ax: Any, name: str, color: Any, cells: list[CellResult]) -> None:
    drawn = [(y, cell) for y, cell in enumerate(cells) if name in cell.peers]
    points = [(_height(y, name, cell), cell.peers[name]) for y, cell in drawn]
    median = [peer.ratio.median for _, peer in points]
    low = [peer.ratio.median - peer.ratio.low for _, peer in points]
    high = [peer.ratio.high - peer.ratio.median for _, peer in points]
    rows = [y for y, _ in points]
    ax.errorbar(median, rows, xerr=[low, high], fmt="o", color=color, capsize=3, label=name)


def _height(y: int, name: str, cell: CellResult) -> float:
    """Spread the peers of a cell around its line, so that none hides another."""
    place = list(cell.peers).index(name)
    return y + 0.12 * (place - (len(cell.peers) - 1) / 2)
