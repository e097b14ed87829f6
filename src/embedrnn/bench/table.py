"""The results as one table: a line a cell, a column a library."""

from statistics import geometric_mean

from embedrnn.bench.limits import Limits
from embedrnn.bench.paired import Ratio
from embedrnn.bench.peers import title
from embedrnn.bench.results import CellResult

LEGEND = """\
Lines: rows x width of a table, how many indices, and how they are drawn; or B sequences of T steps,
I inputs and H units. time: of one call of embedrnn. of limit: its share of what this machine can
do, be it a copy of a large array, multiplications with an addition, or reads from a cache. Then how
many times as long each library takes in its fastest way, ± the wider half of the 95 % interval.
! The library is faster than embedrnn. ~ No difference is shown."""


def table(results: list[CellResult], limits: Limits, libraries: list[str], width: int) -> str:
    """Render all results; what has no way to do an operation has a dash there.

    Where a line would be wider than `width`, names have lines of their own.
    """
    rows = [["", "time", "of limit", *map(title, libraries)]]
    operation = None
    for cell in results:
        if cell.operation != operation:
            operation = cell.operation
            rows.append([operation])
        rows.append(_row(cell, limits, libraries))
    means = [mean_ratio(results, library) for library in libraries]
    rows.append(["geometric mean", "", "", *(_aligned(figure(m)) if m else "-" for m in means)])
    text = _in_columns(rows)
    return text if max(map(len, text.splitlines())) <= width else _in_columns(_names_apart(rows))


def _names_apart(rows: list[list[str]]) -> list[list[str]]:
    apart = ([[row[0]], ["    ", *row[1:]]] if row[0] and row[1:] else [row] for row in rows)
    return [row for pair in apart for row in pair]


def _in_columns(rows: list[list[str]]) -> str:
    """Align columns; a row of one text alone is as long as it likes."""
    full = [row for row in rows if len(row) > 1]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    return "\n".join(_line(row, widths) if row in full else row[0] for row in rows)


def _line(row: list[str], widths: list[int]) -> str:
    name, *others = row
    columns = [f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *columns]).rstrip()


def _row(cell: CellResult, limits: Limits, libraries: list[str]) -> list[str]:
    peers = [cell.best_of(library) for library in libraries]
    return [
        f"  {cell.shape}",
        duration(cell.seconds),
        f"{cell.share_of_limit:.0%} {limits.name(cell.limit)}",
        *(_ratio(peer.ratio) if peer else "-" for peer in peers),
    ]


def _ratio(ratio: Ratio) -> str:
    mark = "!" if ratio.high < 1 else " " if ratio.low > 1 else "~"
    return f"{figure(ratio.median)} ±{ratio.spread:3.0%} {mark}"


def _aligned(mean: str) -> str:
    return f"{mean}{'':7}"  # as wide as what follows a ratio


def mean_ratio(results: list[CellResult], library: str) -> float | None:
    """Return the geometric mean of a library's ratios, each of its fastest way."""
    peers = [peer for cell in results if (peer := cell.best_of(library))]
    return geometric_mean(peer.ratio.median for peer in peers) if peers else None


def figure(number: float) -> str:
    """Return a ratio with as many digits as it is worth."""
    return f"{number:,.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def duration(seconds: float) -> str:
    """Return a time in a unit that suits it."""
    for unit, scale in (("us", 1e6), ("ms", 1e3)):
        if seconds * scale < 999.5:
            return f"{seconds * scale:.{1 if seconds * scale < 99.95 else 0}f} {unit}"
    return f"{seconds:.2f} s"
