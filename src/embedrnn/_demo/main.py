"""The main job on real text, in both backends, checked equal and timed."""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from embedrnn import __version__, config
from embedrnn._demo import corpus, job

_SENTENCES, _LONGEST = 256, 64


def main(arguments: list[str] | None = None) -> int:
    """Run the job; return the exit status: 0, 1 if the backends disagree, 2 for unusable input."""
    options = _parser().parse_args(arguments)
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        return _fail("--plot needs matplotlib: pip install 'embedrnn[plot]'")
    try:
        text = (
            corpus.read_files(options.text, _progress, options.encoding)
            if options.text
            else corpus.read_standard_library(_progress)
        )
        batch = corpus.make_batch(text, _SENTENCES, _LONGEST)
    except corpus.TextError as error:
        return _fail(str(error))
    backends = ["native", "numpy"] if config()["isas"] else ["numpy"]
    model = job.make_model(batch.vocabulary)
    differs = job.disagreement(batch, model, backends)
    if differs:
        return _fail(f"the backends disagree on {differs}", status=1)
    medians = job.measure(batch, model, backends, _progress)
    print(_report(batch, medians))
    if options.plot:
        try:
            _plot(medians, options.plot)
        except (OSError, ValueError) as error:
            return _fail(f"{options.plot}: {error}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m embedrnn", description=__doc__)
    parser.add_argument(
        "text", nargs="*", type=Path, help="text files (default: Python's own docstrings)"
    )
    parser.add_argument(
        "--encoding", default="utf-8", help="of the text files, e.g. cp1252 (default: utf-8)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the times, e.g. times.png")
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _fail(message: str, status: int = 2) -> int:
    print(f"embedrnn: {message}", file=sys.stderr)
    return status


def _progress(items: Any, what: str) -> Iterable[Any]:
    """Show progress on standard error: a bar where tqdm is installed, else a line."""
    if importlib.util.find_spec("tqdm") is not None:
        bar: Iterable[Any] = importlib.import_module("tqdm").tqdm(
            items, desc=what, leave=False, disable=None
        )
        return bar
    print(f"{what} ({len(items)})", file=sys.stderr)
    return list(items)


def _report(batch: corpus.Batch, medians: dict[str, dict[str, float]]) -> str:
    rows, steps = batch.ids.shape
    settings = config()
    threads = f"{settings['threads']} thread{'' if settings['threads'] == 1 else 's'}"
    runs_on = (settings["backend"], settings["isa"], threads)
    lines = [
        f"text         {batch.sentences:,} sentences, {batch.vocabulary - 1:,} distinct tokens",
        f"batch        {rows} sentences x {steps} steps, cut after {_LONGEST} tokens",
        f"valid        {batch.valid:.0%} of the steps",
        f"distinct     {batch.distinct:.0%} of the valid tokens",
        f"work         {_work(batch):.0%} of that of every step: padding costs nothing, and each",
        "             distinct token has its input product made once",
        f"backend      {', '.join(filter(None, runs_on))}",
        "",
        "operation   " + "".join(f"{name + ' ms':>12}" for name in medians) + f"{'ratio':>10}",
    ]
    for operation in job.OPERATIONS:
        times = [seconds[operation] for seconds in medians.values()]
        cells = "".join(f"{1e3 * t:12.3f}" for t in times)
        lines.append(f"{operation:12}{cells}{times[-1] / times[0]:9.1f}x")
    if len(medians) > 1:
        lines += ["", "both backends agree on every result"]
    else:
        lines += ["", "NumPy ran alone: the compiled kernels are not installed, or not asked for"]
    return "\n".join(lines)


def _work(batch: corpus.Batch) -> float:
    """Return the share of the arithmetic that is left: of two products as large as each other, the
    recurrent one of every valid step, and the input product of every distinct token.
    """
    return batch.valid * (1 + batch.distinct) / 2


def _plot(medians: dict[str, dict[str, float]], path: Path) -> None:
    figure_module: Any = importlib.import_module("matplotlib.figure")
    figure = figure_module.Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(medians)
    for i, (name, seconds) in enumerate(medians.items()):
        where = [row + i * height for row in range(len(job.OPERATIONS))]
        bars = axes.barh(where, [1e3 * seconds[op] for op in job.OPERATIONS], height, label=name)
        axes.bar_label(bars, fmt="{:.2g}", padding=3)
    middle = [row + 0.4 - height / 2 for row in range(len(job.OPERATIONS))]
    axes.set_yticks(middle, job.OPERATIONS)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="median time, ms")
    axes.margins(x=0.15)
    axes.legend()
    figure.savefig(path, dpi=150)
