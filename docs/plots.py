"""The plots, drawn from benchmarks/results: one colour a library in all of them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from embedrnn.bench.paired import Ratio
from embedrnn.bench.plot import COLORS
from results import LIBRARIES, Measured, mean, select

mpl.use("Agg")
from matplotlib import pyplot as plt

# Those of embedrnn.bench, whose libraries come first here too, and of those that it does not meet.
_HUES = (*COLORS[:6], "#8a70d6", "#9a7b5f", "#8a919c")
COLOURS = dict(zip(LIBRARIES, _HUES, strict=True))
THEMES = {"light": ("#22272e", "#9aa3ad"), "dark": ("#d5dbe3", "#5d6773")}  # text, grid

Row = tuple[str, list[Measured]]
_CELLS = ("rnn", "gru", "lstm")

OVERVIEW: dict[str, tuple[str, ...]] = {
    "gather": ("rows", "gather"),
    "scatter_add": ("rows", "scatter_add"),
    "coalesce": ("rows", "coalesce"),
    "embedding_bag": ("rows", "bag_sum", "bag_mean", "bag_weighted"),
    "RNN": ("recurrent", "rnn_forward", "rnn_few_rows"),
    "GRU": ("recurrent", "gru_forward", "gru_few_rows"),
    "LSTM": ("recurrent", "lstm_forward", "lstm_few_rows"),
    "RNN, forward and back": ("training", "rnn_training", "rnn_training_full",
                              "rnn_training_few_rows"),
    "GRU, forward and back": ("training", "gru_training", "gru_training_full",
                              "gru_training_few_rows"),
    "LSTM, forward and back": ("training", "lstm_training", "lstm_training_full",
                               "lstm_training_few_rows"),
    "Encoder": ("encoder", "encoder_forward"),
    "Encoder, forward and back": ("encoder", "encoder_training"),
    "models of PyTorch": ("accelerated", "accelerated_forward", "accelerated_training"),
}  # fmt: skip
TABLES = {
    "gather": ("rows", "gather"),
    "gather into out=": ("rows", "gather_out"),
    "scatter_add": ("rows", "scatter_add"),
    "coalesce": ("rows", "coalesce"),
    "bags, sum": ("rows", "bag_sum"),
    "bags, mean": ("rows", "bag_mean"),
    "bags, weighted": ("rows", "bag_weighted"),
    "bags of float16": ("rows", "bag_float16"),
    "gather from int8": ("rows", "gather_int8"),
    "bags from int8": ("rows", "bag_int8"),
}


def draw_all(folder: Path) -> None:
    """Draw every plot for both themes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PLOTS.items():
        _themed(folder, name, draw)


def draw_overview(folder: Path) -> None:
    """Draw the picture of the README."""
    _themed(folder, "overview", _overview, Description=digest())


def digest() -> str:
    """Return a hash of what the overview shows."""
    shown = [[cell.best() for cell in select(*what)] for what in OVERVIEW.values()]
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def _themed(folder: Path, name: str, draw: Callable[[], tuple[Any, Any]], **metadata: str) -> None:
    for theme, (text, grid) in THEMES.items():
        colours = dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), text
        )
        style = {**colours, "grid.color": grid, "font.size": 9, "svg.hashsalt": name}
        with mpl.rc_context({**style, "axes.spines.top": False, "axes.spines.right": False}):
            fig, libraries = draw()
            _legend(fig, libraries)
            fig.savefig(
                folder / f"{name}-{theme}.svg",
                transparent=True,
                metadata={"Date": None, **metadata},
            )
            plt.close(fig)


def _overview() -> tuple[Any, Any]:
    rows = _rows(OVERVIEW)
    fig, ax = plt.subplots(figsize=(8, 4.4), layout="constrained")
    _strip(ax, rows, lambda cell: dict([cell.best()]))
    for y, (_, cells) in enumerate(rows):
        middle = mean(cells)
        ax.plot([middle] * 2, [y - 0.33, y + 0.33], color=mpl.rcParams["text.color"], lw=2)
        ax.annotate(
            f"{middle:.1f}", (1, y), xycoords=("axes fraction", "data"), va="center",
            xytext=(6, 0), textcoords="offset points", fontweight="bold",
        )  # fmt: skip
    return fig, _present(rows, best=True)


def _tables() -> tuple[Any, Any]:
    rows = _rows(TABLES)
    fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    _strip(ax, rows, Measured.libraries)
    return fig, _present(rows)


def _side_by_side(
    size: tuple[float, float],
    panels: Mapping[str, list[Row]],
    draw: Callable[[Any, list[Row]], Any],
) -> tuple[Any, Any]:
    """Draw a panel for each title, which share their rows."""
    fig, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", sharey=True)
    for ax, (title, rows) in zip(axes, panels.items(), strict=True):
        draw(ax, rows)
        ax.set_title(title, fontsize=9)
    return fig, _present([row for rows in panels.values() for row in rows])


def _encoder() -> tuple[Any, Any]:
    def rows(operation: str) -> list[Row]:
        cells = select("encoder", operation)
        return [
            (f"{kind.upper()}, {unit}",
             [c for c in cells if c.shape.startswith(kind.upper()) and unit in c.shape])
            for kind in _CELLS
            for unit in ("words", "characters")
        ]  # fmt: skip

    panels = {"forward": rows("encoder_forward"), "forward and back": rows("encoder_training")}
    return _side_by_side((8, 3), panels, lambda ax, rows: _strip(ax, rows, Measured.libraries))


def _panels(group: str, *names: str) -> Callable[[], tuple[Any, Any]]:
    def draw() -> tuple[Any, Any]:
        panels: dict[str, list[Row]] = {
            kind.upper(): [
                (_short(cell.shape), [cell])
                for cell in select(group, *(f"{kind}_{name}" for name in names))
            ]
            for kind in _CELLS
        }
        return _side_by_side((9, 4.2), panels, _points)

    return draw


def _models() -> tuple[Any, Any]:
    def rows(operation: str) -> list[Row]:
        cells = select("accelerated", operation)
        return [(cell.shape.partition(", B")[0], [cell]) for cell in cells]

    panels = {
        "forward": rows("accelerated_forward"),
        "forward and back": rows("accelerated_training"),
    }
    return _side_by_side((9, 3.6), panels, _points)


def _rows(table: Mapping[str, Sequence[str]]) -> list[Row]:
    return [(label, select(*what)) for label, what in table.items()]


def _short(shape: str) -> str:
    return shape.replace(", lengths of sentences", ", sentences").replace(
        ", lengths T/8 to T", ", T/8 to T"
    )


def _strip(ax: Any, rows: list[Row], ways: Callable[[Measured], Mapping[str, Ratio]]) -> None:
    """Draw a dot for each cell and library of a row."""
    for y, (_, cells) in enumerate(rows):
        for cell in cells:
            for library, ratio in ways(cell).items():
                height = y + _spread(library, ways(cell))
                ax.plot(ratio.median, height, "o", color=COLOURS[library], ms=4, alpha=0.6, mew=0)
    _axis(ax, [label for label, _ in rows])


def _points(ax: Any, rows: list[Row]) -> None:
    """Draw the interval of each library in the one cell of each row."""
    for y, (_, (cell,)) in enumerate(rows):
        ways = cell.libraries()
        for library, ratio in ways.items():
            ax.errorbar(
                ratio.median, y + _spread(library, ways), fmt="o", ms=4, color=COLOURS[library],
                xerr=[[ratio.median - ratio.low], [ratio.high - ratio.median]], elinewidth=1.2,
            )  # fmt: skip
    _axis(ax, [label for label, _ in rows])


def _spread(library: str, ways: Mapping[str, Ratio]) -> float:
    """Return how far from the middle of its row a library is drawn: none hides another."""
    place = sorted(ways, key=LIBRARIES.index).index(library)
    return 0.18 * (place - (len(ways) - 1) / 2)


def _axis(ax: Any, labels: list[str]) -> None:
    ax.axvline(1, color=mpl.rcParams["text.color"], linewidth=1)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(mpl.ticker.FuncFormatter(_few))
    ax.tick_params(axis="x", which="both", labelsize=8)
    ax.tick_params(axis="y", length=0)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.grid(axis="x", which="both", alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)


def _few(x: float, _place: int) -> str:
    """Label 2 and 5 between the powers of ten."""
    return f"{x:g}" if f"{x:e}"[0] in "25" else ""


def _present(rows: list[Row], *, best: bool = False) -> list[str]:
    """Return the libraries that are drawn, in the order of all."""
    found = {
        name
        for _, cells in rows
        for cell in cells
        for name in ([cell.best()[0]] if best else cell.libraries())
    }
    return [library for library in LIBRARIES if library in found]


def _legend(fig: Any, libraries: list[str]) -> None:
    handles = [
        plt.Line2D([], [], marker="o", linestyle="", color=COLOURS[name], label=name)
        for name in libraries
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    fig.supxlabel("time of the other / time of embedrnn: right of 1 embedrnn is faster", fontsize=9)


PLOTS = {
    "overview": _overview,
    "tables": _tables,
    "forward": _panels("recurrent", "forward"),
    "few-rows": _panels("recurrent", "few_rows"),
    "training": _panels("training", "training_full", "training"),
    "encoder": _encoder,
    "models": _models,
}
