"""What the results mean, in words."""

from statistics import median

from embedrnn.bench.limits import Limits
from embedrnn.bench.peers import title
from embedrnn.bench.results import CellResult, PeerResult
from embedrnn.bench.table import figure, mean_ratio

# Half of the widths of intervals, beyond which a machine is called so.
_NOISE = [
    (0.1, "noisy, so run again when it rests, or longer"),
    (0.03, "somewhat noisy"),
    (0, "quiet"),
]
_LIMITS = {
    "copy": "rate of copies",
    "sgemm": "rate of NumPy's matrix product",
    "FMA peak": "peak of arithmetic",
    "L2 reads": "rate of reads from L2",
    "L3 reads": "rate of reads from L3",
}
_NAMED = 3  # losses; the others are counted


def findings(results: list[CellResult], limits: Limits, libraries: list[str]) -> list[str]:
    """Return a few sentences, in the order in which somebody would ask."""
    means = {lib: mean for lib in libraries if (mean := mean_ratio(results, lib)) is not None}
    if not means:
        return [_no_peer(), _limits(results, limits)]
    return [
        *([_numpy(results)] if "numpy" in means else []),
        _closest(results, means),
        _losses(results, list(means)),
        _limits(results, limits),
        _noise(results, list(means)),
    ]


def _no_peer() -> str:
    return "No peer took part, so there is nothing to compare with."


def _numpy(results: list[CellResult]) -> str:
    peers = _taking_part(results, "numpy")
    wins = sum(peer.ratio.low > 1 for _, peer in peers)
    (least_cell, least), (most_cell, most) = (
        end(peers, key=lambda pair: pair[1].ratio.median) for end in (min, max)
    )
    mean = figure(mean_ratio(results, "numpy") or 0)
    text = f"embedrnn is faster than NumPy in {wins} of {_lines(len(peers))}: NumPy takes {mean} "
    if len(peers) == 1:
        return f"{text}times as long."
    return (
        f"{text}times as long (geometric mean), from {figure(least.ratio.median)} times in "
        f"{least_cell} to {figure(most.ratio.median)} times in {most_cell}."
    )


def _closest(results: list[CellResult], means: dict[str, float]) -> str:
    others = {library: mean for library, mean in means.items() if library != "numpy"}
    if not others:
        return (
            "No other library is measured: of PyTorch, ONNX Runtime (with onnx), OpenVINO (with "
            "onnx), Numba and SciPy, those that are installed take part."
        )
    closest = min(others, key=others.__getitem__)
    n = len(_taking_part(results, closest))
    named = f"Of the {len(others)} other libraries {title(closest)} comes closest: it takes"
    if len(others) == 1:
        named = f"{title(closest)}, the other library here, takes"
    return f"{named} {figure(others[closest])} times as long (geometric mean of {_lines(n)})."


def _losses(results: list[CellResult], libraries: list[str]) -> str:
    pairs = [
        (library, cell, peer)
        for library in libraries
        for cell, peer in _taking_part(results, library)
    ]
    losses = sorted((p for p in pairs if p[2].ratio.high < 1), key=lambda p: p[2].ratio.median)
    open_ones = sum(peer.ratio.low <= 1 <= peer.ratio.high for _, _, peer in pairs)
    text = "No library is faster than embedrnn in any line"
    if losses:
        named = [
            f"{title(library)} in {cell} ({figure(peer.ratio.median)} of our time)"
            for library, cell, peer in losses[:_NAMED]
        ]
        more = len(losses) - len(named)
        text = f"embedrnn loses {len(losses)} of {len(pairs)} comparisons: to {', to '.join(named)}"
        text += f", and {more} more that are marked !" if more else ""
    if open_ones:
        text += f"; in {open_ones} of {len(pairs)} no difference is shown"
    return f"{text}."


def _limits(results: list[CellResult], limits: Limits) -> str:
    shares: dict[str, list[float]] = {}
    for cell in results:
        shares.setdefault(limits.name(cell.limit), []).append(cell.share_of_limit)
    text = "embedrnn reaches " + "; ".join(_reached(*pair) for pair in shares.items())
    if any(cell.share_of_limit > 1 for cell in results):
        text += ". Over 100 % means that rows stayed in a cache, or that work was saved"
    if not limits.fma_measured:
        text += ". With a C compiler (cc) the peak and the caches would be measured too"
    return f"{text}."


def _reached(name: str, shares: list[float]) -> str:
    """Say what is reached of one limit: in the one line, or the median and the range of several."""
    text = f"{_percent(median(shares))} of the machine's {_LIMITS[name]} in {_lines(len(shares))}"
    if len(shares) == 1:
        return text
    return f"{text} (median; {_percent(min(shares))} to {_percent(max(shares))})"


def _noise(results: list[CellResult], libraries: list[str]) -> str:
    spreads = [
        peer.ratio.spread for library in libraries for _, peer in _taking_part(results, library)
    ]
    typical = median(spreads)
    noise = next(word for least, word in _NOISE if typical >= least)
    return (
        f"The machine was {noise}: half of the intervals are within ±{_percent(typical)} of their "
        f"ratio, the widest within ±{_percent(max(spreads))}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"


def _taking_part(results: list[CellResult], library: str) -> list[tuple[CellResult, PeerResult]]:
    return [(cell, peer) for cell in results if (peer := cell.best_of(library))]


def _lines(n: int) -> str:
    return f"{n} line{'s' * (n != 1)}"
