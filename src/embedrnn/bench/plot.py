"""The results as a picture: a row a cell, a colour a library."""

import importlib
from pathlib import Path
from typing import Any

from embedrnn.bench.peers import LIBRARIES, title
from embedrnn.bench.results import CellResult

# Colours that can be told apart by everybody, in the order of LIBRARIES; markers for print.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555", "#000000"]
_MARKERS = "osD^vP*X"
_DPI = 100
_WIDTH, _EDGES, _ROW = 5.0, 1.5, 0.32  # inches: of labels and legend, of title and axis, of a cell


def write_plot(path: Path, environment: dict[str, Any], cells: list[CellResult]) -> None:
    """Draw each paired ratio with its interval on a log axis; right of 1 we are faster.

    A column a thread count. With one of them and 18 cells it is 1,050 by 726 points.
    """
    figure_module: Any = importlib.import_module("matplotlib.figure")
    columns = {n: [c for c in cells if c.threads == n] for n in sorted({c.threads for c in cells})}
    size = (_WIDTH + 5.5 * len(columns), _EDGES + _ROW * max(map(len, columns.values())))
    figure = figure_module.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    for axis, (threads, column) in zip(axes, columns.items(), strict=True):
        _draw_column(axis, column, labels=axis is axes[0])
        axis.set_title(f"{threads} thread{'s' * (threads > 1)}", fontsize=10)
        axis.set_xlabel("time of the library / time of embedrnn: right of 1 embedrnn is faster")
    figure.suptitle(f"{environment['cpu']}, ISA {environment['embedrnn']['isa']}", fontsize=10)
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=8, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)


def _draw_column(axis: Any, cells: list[CellResult], *, labels: bool) -> None:
    found = {peer.library for cell in cells for peer in cell.peers.values()}
    known = [*LIBRARIES, *sorted(found - set(LIBRARIES))]
    for place, library in enumerate(known):
        if library in found:
            _draw_library(axis, library, place, cells)
    axis.axvline(1, color="0.3", linewidth=1)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(range(len(cells)), map(str, cells) if labels else [""] * len(cells), fontsize=7)
    axis.set_ylim(len(cells) - 0.4, -0.6)
    axis.grid(axis="x", which="both", alpha=0.25)


def _draw_library(axis: Any, library: str, place: int, cells: list[CellResult]) -> None:
    """Spread the libraries around the line of a cell, so that none hides another."""
    drawn = [(row, peer) for row, cell in enumerate(cells) if (peer := cell.best_of(library))]
    ratios = [peer.ratio for _, peer in drawn]
    axis.errorbar(
        [ratio.median for ratio in ratios],
        [row + 0.11 * (place % 6 - 2.5) for row, _ in drawn],
        xerr=[[r.median - r.low for r in ratios], [r.high - r.median for r in ratios]],
        fmt=_MARKERS[place % len(_MARKERS)],
        color=COLORS[place % len(COLORS)],
        markersize=4,
        capsize=2,
        label=title(library),
    )
