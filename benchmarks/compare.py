"""Measure embedrnn in pairs against every peer that is installed, or against another build.

    python benchmarks/compare.py --threads 1 2 --json --plot
    python benchmarks/compare.py --against FOLDER

Each cell is one operation on one workload. All contestants get the same inputs, their answers are
compared first, and then they take turns (see paired.py in embedrnn.bench, which has the engine).
Beside our time stands the valid work a second and its share of what the machine reached in this
run: a large copy for bytes, a loop of FMAs for arithmetic, reads from a cache for the weights that
a step has to wait for.

With --against, the one peer is the embedrnn that `pip install --target=FOLDER` put there, in a
process of its own (see builds.py); there are no limits and no files.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report
from builds import compare_builds
from cells import CELLS
from clone import describe
from embedrnn.bench.arguments import positive
from embedrnn.bench.cells.cell import Cell
from embedrnn.bench.limits import Limits, measure_limits
from embedrnn.bench.plot import write_plot
from embedrnn.bench.results import CellResult, write_json
from embedrnn.bench.run import Settings, run_cell
from embedrnn.bench.threads import pinned

RESULTS = Path(__file__).parent / "results"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; 1 if --check was given and a target was missed."""
    options = parse(argv)
    cells = chosen(options)
    if options.list:
        print(*cells, sep="\n")
        return 0
    if options.against:
        return compare_builds(cells, options)
    environment = describe()
    print(report.header(environment))
    limits: dict[int, Limits] = {}
    results: list[CellResult] = []
    settings = Settings(options.samples, options.min_time)
    for threads in options.threads:
        with pinned(threads):
            limits[threads] = measure_limits(threads)
            print(f"\n{limits[threads].line(threads)}", flush=True)
            for cell in cells:
                result = run_cell(cell, threads, limits[threads], settings, options.peers)
                print(report.cell_lines(result, limits[threads]), flush=True)
                results.append(result)
    goals = {cell.operation.name: cell.operation.goals for cell in cells}
    summaries = report.summarise(results, goals)
    print(report.summary_lines(summaries))
    save(options, environment, limits, results)
    return 1 if options.check and any(summary.missed for summary in summaries) else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    groups = sorted({cell.group for cell in CELLS})
    add("--groups", nargs="+", choices=groups, default=groups, help="only these groups of cells")
    add("-k", "--cell", default="", metavar="TEXT", help="only cells whose name contains TEXT")
    add("--peers", nargs="+", metavar="NAME", help="only these peers, or all of these libraries")
    add("--threads", nargs="+", type=positive(int), default=[1], metavar="N")
    add("--samples", type=positive(int), default=25, help="pairs a cell (default 25)")
    add("--min-time", type=positive(float), default=0.02, metavar="SECONDS", help="of one sample")
    add("--json", nargs="?", type=Path, const=RESULTS, metavar="FOLDER")
    add("--plot", nargs="?", type=Path, const=RESULTS, metavar="FOLDER")
    add("--against", type=Path, metavar="FOLDER", help="measure another build instead of peers")
    add("--check", action="store_true", help="exit with 1 if a target is missed")
    add("--list", action="store_true", help="name the cells and stop")
    options = parser.parse_args(argv)
    if options.against and (options.peers or options.json or options.plot):
        parser.error("--against goes without --peers, --json and --plot")
    cells = chosen(options)
    if not cells:
        parser.error(f"no cell of these groups has {options.cell!r} in its name")
    unknown = set(options.peers or ()) - _names(cells)
    if unknown:
        parser.error(f"nobody here is called {', '.join(sorted(unknown))}")
    return options


def _names(cells: Sequence[Cell]) -> set[str]:
    """Return the names of all contestants of these cells, and of their libraries."""
    entries = [item for cell in cells for item in cell.contestants().items()]
    return {name for name, _ in entries} | {entry.library for _, entry in entries}


def chosen(options: argparse.Namespace) -> list[Cell]:
    """Return the cells that the command line asks for, in the table's order."""
    in_groups = [cell for cell in CELLS if cell.group in options.groups]
    return [cell for cell in in_groups if options.cell in str(cell)]


def save(
    options: argparse.Namespace,
    environment: dict[str, Any],
    limits: dict[int, Limits],
    results: list[CellResult],
) -> None:
    """Write the files that were asked for, one for each group of cells."""
    settings = {"samples": options.samples, "min_time": options.min_time}
    for group in dict.fromkeys(result.group for result in results):
        members = [result for result in results if result.group == group]
        if options.json:
            path = options.json / f"{group}.json"
            write_json(path, environment, settings, limits, members)
        if options.plot:
            write_plot(options.plot / f"{group}.png", environment, members)


if __name__ == "__main__":
    raise SystemExit(main())
