"""The process that loads one build of embedrnn and measures its cells on request.

    python worker.py FD BENCH [SITE]

builds.py starts two of these and speaks with each over the file descriptor FD. Both measure with
the embedrnn.bench in the folder BENCH. Without SITE the build is the one that Python finds by
itself.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing.connection import Connection
from pathlib import Path
from timeit import Timer
from typing import TYPE_CHECKING, Any

# Nothing of embedrnn is imported before main() knows which build it is.
if TYPE_CHECKING:
    from embedrnn.bench.cells.cell import Cell
    from embedrnn.bench.workloads import Array

_ELEMENTS = 1_000_000


def main(descriptor: str, bench: str, site: str | None = None) -> None:
    """Say which build was loaded; then measure one cell after another until the far end closes."""
    if site:
        sys.path.insert(0, site)
        sys.meta_path.insert(0, PathFinder)  # an editable install would come before sys.path
    import embedrnn as er

    lend(Path(bench))
    from cells import CELLS

    cells = {str(cell): cell for cell in CELLS}
    with Connection(int(descriptor)) as connection:
        connection.send((er.__file__, er.config()))
        try:
            while True:
                name, threads, min_time = connection.recv()
                measure(connection, cells[name], threads, min_time)
        except EOFError:
            pass


def lend(bench: Path) -> None:
    """Let embedrnn.bench be that in this folder: an older build has other cells, or none."""
    name = "embedrnn.bench"
    spec = spec_from_file_location(
        name, bench / "__init__.py", submodule_search_locations=[str(bench)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def measure(
    connection: "Connection[Any, Any]", cell: "Cell", threads: int, min_time: float
) -> None:
    """Send the answer, or why there is none; then a time for each True, until there is a False."""
    from embedrnn.bench.paired import calls_for, seconds_of_call
    from embedrnn.bench.peers import OURS
    from embedrnn.bench.threads import pinned

    with pinned(threads):
        try:
            entrant = cell.contestants()[OURS].factory(cell.make(), threads)
            answer = some_of(entrant.answer(entrant.run()))
        except Exception as error:  # whatever an older build says to arguments it does not know
            connection.send(f"{type(error).__name__}: {error}")
            return
        timer = Timer(entrant.run)
        calls = calls_for(timer, min_time)
        connection.send(answer)
        while connection.recv():
            connection.send(seconds_of_call(timer, calls))


def some_of(answer: "Array") -> "Array":
    """Copy elements at equal distances, so that no large table goes through the connection."""
    return answer.ravel()[:: 1 + answer.size // _ELEMENTS].copy()


if __name__ == "__main__":
    main(*sys.argv[1:])
