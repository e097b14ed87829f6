"""This build of embedrnn against another one, cell by cell.

One process can load one build only, so each has a process of its own (see worker.py). The two take
turns, one sample each, and only the times of one turn are compared, as in paired.py.
"""

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np

from embedrnn import bench
from embedrnn.bench.cells.cell import Cell, Goal
from embedrnn.bench.paired import Ratio, paired_ratio
from embedrnn.bench.workloads import Array

NO_SLOWER = Goal(mean=0.99, worst=0.95)
_WORKER = Path(__file__).with_name("worker.py")
_BENCH = Path(bench.__file__).parent  # which measures both builds


class CannotRunError(Exception):
    """The build raised an error in this cell; the message says which."""


class Build:
    """One build, in a process that measures when it is asked to and sleeps otherwise."""

    def __init__(self, site: Path | None = None) -> None:
        self._connection, far_end = Pipe()
        command = [sys.executable, str(_WORKER), str(far_end.fileno()), str(_BENCH)]
        command += [str(site)] if site else []
        self._process = subprocess.Popen(command, pass_fds=[far_end.fileno()])
        far_end.close()
        self._folder, self._config = self._loaded()
        if site and site not in self._folder.parents:
            self.close()
            raise SystemExit(f"There is no embedrnn in {site}: Python found {self._folder}")

    def _loaded(self) -> tuple[Path, dict[str, Any]]:
        try:
            file, config = self._connection.recv()
        except EOFError:
            self.close()
            raise SystemExit("A build could not be loaded: its process says why above") from None
        return Path(file).parent, config

    def __str__(self) -> str:
        config = self._config
        return f"{self._folder}, version {config['version']}, {config['backend']} {config['isa']}"

    @contextmanager
    def in_cell(self, cell: Cell, threads: int, min_time: float) -> Iterator[Array]:
        """Set up a cell for `sample`, and yield a part of the answer."""
        self._connection.send((str(cell), threads, min_time))
        answer = self._connection.recv()
        if isinstance(answer, str):
            raise CannotRunError(answer)
        try:
            yield answer
        finally:
            self._connection.send(False)

    def sample(self) -> float:
        """Return the seconds that a call takes now."""
        self._connection.send(True)
        return float(self._connection.recv())

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.wait()


@dataclass(frozen=True)
class Result:
    """One cell: our median time, and the other build's time over ours."""

    seconds: float
    ratio: Ratio


def compare_builds(cells: list[Cell], options: Namespace) -> int:
    """Print a line for each cell and a summary; 1 if --check was given and this build is slower."""
    slower = False
    with closing(Build()) as ours, closing(Build(options.against.resolve())) as other:
        print(f"this build:  {ours}\nother build: {other}")
        print("ratio: the other build's time over this build's, median of pairs [95 % interval]")
        for threads in options.threads:
            ratios = {}
            print(f"\n{threads} thread{'s' * (threads > 1)}")
            for cell in cells:
                result = compare_cell(cell, threads, ours, other, options)
                print(line(cell, result), flush=True)
                if isinstance(result, Result):
                    ratios[str(cell)] = result.ratio.median
            slower |= summarise(ratios, len(cells))
    return 1 if options.check and slower else 0


def compare_cell(
    cell: Cell, threads: int, ours: Build, other: Build, options: Namespace
) -> Result | str:
    """Return what was measured, or why this cell is skipped: the other build cannot do it."""
    with ours.in_cell(cell, threads, options.min_time) as want:
        try:
            with other.in_cell(cell, threads, options.min_time) as got:
                cell.operation.check(got, want)
                return take_turns(ours, other, cell.samples(options.samples))
        except CannotRunError as error:
            return str(error)
        except AssertionError:
            return "the answers differ"


def take_turns(ours: Build, other: Build, samples: int) -> Result:
    """Take a sample of each build in each turn; who is first alternates."""
    seconds: dict[Build, Array] = {ours: np.empty(samples), other: np.empty(samples)}
    for turn in range(samples):
        for build in (ours, other) if turn % 2 else (other, ours):
            seconds[build][turn] = build.sample()
    return Result(float(np.median(seconds[ours])), paired_ratio(seconds[other], seconds[ours]))


def line(cell: Cell, result: Result | str) -> str:
    """Render one cell."""
    if isinstance(result, str):
        return f"{cell!s:<66} skipped: {result}"
    ratio = result.ratio
    return (
        f"{cell!s:<66} {result.seconds * 1e6:10.1f} us   "
        f"{ratio.median:6.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
    )


def summarise(ratios: dict[str, float], cells: int) -> bool:
    """Print the geometric mean and the worst cell; return whether this build is slower."""
    if not ratios:
        print("no cell was measured")
        return False
    mean, worst = geometric_mean(ratios.values()), min(ratios, key=ratios.__getitem__)
    slower = mean < NO_SLOWER.mean or ratios[worst] < NO_SLOWER.worst
    print(
        f"{len(ratios)} cells, {cells - len(ratios)} skipped: geometric mean {mean:.3f}, "
        f"worst {ratios[worst]:.3f} ({worst})\n"
        f"no slower is {NO_SLOWER.mean} and {NO_SLOWER.worst}: {'MISSED' if slower else 'met'}"
    )
    return slower
