"""The command line of `python -m embedrnn.bench`."""

import argparse
import importlib
import io
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from embedrnn.bench import peers
from embedrnn.bench.arguments import positive
from embedrnn.bench.cells.cell import Cell
from embedrnn.bench.choice import CHOICE
from embedrnn.bench.environment import describe, summary
from embedrnn.bench.findings import findings
from embedrnn.bench.limits import Limits, measure_limits
from embedrnn.bench.plot import write_plot
from embedrnn.bench.results import CellResult, write_json
from embedrnn.bench.run import Settings, run_cell
from embedrnn.bench.table import LEGEND, table
from embedrnn.bench.threads import pinned

_NEEDED = ["matplotlib", "threadpoolctl", "tqdm"]
_MINUTES, _QUICK_MINUTES = 2.0, 0.5
_SAMPLES = 101  # at most: time ends a cell before
_WIDTH = 180  # columns, where no terminal says otherwise
_INTERRUPTED = 130  # what a shell says of a command that Ctrl-C ended

_DESCRIPTION = """\
Measure what embedrnn does on this machine against NumPy and whichever of PyTorch, ONNX Runtime,
OpenVINO, Numba and SciPy are installed. All get the same inputs, their answers are compared, and
then they take turns; what counts is the median of the ratios of turns. Beside our time stands the
share of what the machine itself can do, which a small C program measures if there is a compiler.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, 2 for what cannot be run, 130 where Ctrl-C ended it."""
    if lacking := peers.missing(_NEEDED):
        return _fail(f"embedrnn.bench needs {', '.join(lacking)}: pip install 'embedrnn[bench]'")
    options = _parse(arguments)
    if options.list:
        print(*options.cells, sep="\n")
        return 0
    run = Run(options)
    interrupted = False
    try:
        run.measure()
    except KeyboardInterrupt:
        interrupted = True
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal gets the rest of the table too
    print(run.report())
    try:
        run.save()
    except OSError as error:
        return _fail(str(error))
    return _INTERRUPTED if interrupted else 0


class Run:
    """What is asked for, and what has been found so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._environment: dict[str, Any] = {}
        self._limits: Limits | None = None
        self._results: list[CellResult] = []
        self._notes: list[str] = []

    def measure(self) -> None:
        """Measure the machine and one cell after another, each with its share of the time."""
        options, end = self._options, time.monotonic() + 60 * self._options.minutes
        print("embedrnn: first, what this machine can do", file=sys.stderr)
        peers.load(libraries=options.peers, failed=self._note("cannot be imported"))
        self._environment = describe()
        with pinned(options.threads):
            self._limits = measure_limits(options.threads)
            for left, cell in self._in_progress():
                now = time.monotonic()
                settings = Settings(_SAMPLES, options.min_time, now + (end - now) / left)
                failed = self._note(f"is left out of {cell}")
                result = run_cell(
                    cell, options.threads, self._limits, settings, options.peers, failed
                )
                self._results.append(result)

    def _in_progress(self) -> Iterator[tuple[int, Cell]]:
        """Yield how many cells are left, and the next one, while a bar shows which it is."""
        cells = self._options.cells
        tqdm: Any = importlib.import_module("tqdm")
        with tqdm.tqdm(total=len(cells), leave=False, disable=None, dynamic_ncols=True) as bar:
            for done, cell in enumerate(cells):
                bar.set_description(cell.operation.name)
                yield len(cells) - done, cell
                bar.update()

    def _note(self, what: str) -> peers.Failed:
        def failed(who: str, error: Exception) -> None:
            reason = str(error).strip().partition("\n")[0]
            self._notes.append(f"{peers.title(who)} {what}: {type(error).__name__}: {reason}")

        return failed

    def report(self) -> str:
        """Return the table and what it means, of what was measured so far."""
        options, limits, notes = self._options, self._limits, self._notes.copy()
        if limits is None or not self._results:
            return "\n".join([*notes, "Stopped before anything was measured."])
        libraries = [
            library for library in options.peers if any(c.best_of(library) for c in self._results)
        ]
        columns = shutil.get_terminal_size((_WIDTH, 0)).columns if sys.stdout.isatty() else _WIDTH
        sentences = findings(self._results, limits, libraries)
        if left := len(options.cells) - len(self._results):
            notes.append(f"Stopped: {left} of {len(options.cells)} lines were not measured.")
        return "\n\n".join([
            f"{summary(self._environment)}\n{limits.line(options.threads)}",
            table(self._results, limits, libraries, columns),
            LEGEND,
            *(["\n".join(notes)] if notes else []),
            "\n".join(map(_paragraph, sentences)),
        ])  # fmt: skip

    def save(self) -> None:
        """Write the files that are wanted, if there is anything to write."""
        options = self._options
        if self._limits is None or not self._results or options.no_files:
            return
        settings = {"minutes": options.minutes, "min_time": options.min_time}
        limits = {options.threads: self._limits}
        write_json(options.json, self._environment, settings, limits, self._results)
        write_plot(options.plot, self._environment, self._results)
        print(f"\nwritten: {options.json}, {options.plot}")


def _paragraph(sentence: str) -> str:
    """Wrap a sentence, and leave no percent sign alone."""
    kept = f"- {sentence}".replace(" %", "\u00a0%")
    return textwrap.fill(kept, 96, subsequent_indent="  ").replace("\u00a0", " ")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m embedrnn.bench", description=_DESCRIPTION)
    add = parser.add_argument
    add("--list", action="store_true", help="name what would be measured, and stop")
    add("-k", metavar="TEXT", default="", help="only lines whose name contains TEXT, as in --list")
    add(
        "--peers", nargs="+", metavar="NAME",
        help=f"only these of {', '.join(peers.LIBRARIES)} (default: all that are installed)",
    )  # fmt: skip
    add(
        "--threads", type=positive(int), default=1, metavar="N",
        help="that embedrnn and every peer may use (default: 1)",
    )  # fmt: skip
    long = parser.add_mutually_exclusive_group()
    long.add_argument(
        "--minutes", type=positive(float), default=_MINUTES, metavar="M",
        help=f"about how long to measure (default: {_MINUTES:g}); longer narrows the intervals",
    )  # fmt: skip
    long.add_argument(
        "--quick", dest="minutes", action="store_const", const=_QUICK_MINUTES,
        help=f"the same as --minutes {_QUICK_MINUTES:g}",
    )  # fmt: skip
    add(
        "--min-time", type=positive(float), default=0.01, metavar="SECONDS",
        help="that a turn of a contestant lasts at least (default: 0.01)",
    )  # fmt: skip
    for name, file in (("json", "embedrnn-bench.json"), ("plot", "embedrnn-bench.png")):
        add(
            f"--{name}", type=Path, default=Path(file), metavar="FILE",
            help=f"where to write the {name} (default: {file} in this folder)",
        )  # fmt: skip
    add("--no-files", action="store_true", help="write neither")
    return parser


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line, and refuse here whatever would fail behind the measurement."""
    parser = _parser()
    options = parser.parse_args(arguments)
    options.cells = [cell for cell in CHOICE if options.k in str(cell)]
    if not options.cells:
        parser.error(f"no line has {options.k!r} in its name; --list has them all")
    options.peers = _peers(parser, options.peers)
    if not options.no_files:
        _check_files(parser, options)
    return options


def _peers(parser: argparse.ArgumentParser, wanted: list[str] | None) -> list[str]:
    """Return the libraries that take part, in the order of the table's columns."""
    needs = {needed[0]: peers.missing(needed) for needed in peers.MODULES.values()}
    for name in wanted or ():
        if name not in peers.LIBRARIES:
            parser.error(f"there is no peer {name!r}: choose from {', '.join(peers.LIBRARIES)}")
        if needs[name]:
            parser.error(f"the peer {name} needs what is not installed: {', '.join(needs[name])}")
    return [name for name in peers.LIBRARIES if (name in wanted if wanted else not needs[name])]


def _check_files(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    for path in (options.json, options.plot):
        if not path.parent.is_dir() or path.is_dir():
            parser.error(f"cannot write {path}: there is no such folder, or it is one itself")
    bases: Any = importlib.import_module("matplotlib.backend_bases")
    known = sorted(bases.FigureCanvasBase.get_supported_filetypes())
    if options.plot.suffix.removeprefix(".").lower() not in known:
        parser.error(f"--plot {options.plot}: end it with one of .{', .'.join(known)}")


def _fail(message: str) -> int:
    print(f"embedrnn: {message}", file=sys.stderr)
    return 2
