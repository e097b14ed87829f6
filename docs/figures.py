"""Every measured figure of the pages and of README.md, from benchmarks/results.

`python docs/figures.py` writes those of README.md anew, and its picture.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

import plots
from results import OURS, Measured, environment, errors, find, mean, measured, select, settings

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PICTURES = Path(__file__).parent / "_static"
_MARKED = re.compile(r"(<!-- figures -->\n).*(<!-- end of figures -->)", re.DOTALL)

_BATCH = "B 32, T 128, I 128, H 128, lengths T/8 to T"
_MANY_ROWS = "1,000,000 x 64, 16,384 uniform"
_SENTENCES = "{}, 256 sentences in words, D = H = 128"

_REMAINDERS = "16 remainders, GRU 10 -> {} x2 both ways"
_RESERVOIR = "{} units, a tenth connected, T 2,000"

# The results that hold times.
_GROUPS = ("rows", "recurrent", "training", "encoder", "accelerated", "onnx", "keras_torch",
           "keras_numpy", "gallery")  # fmt: skip

# Name: group, operation, shape, and a contestant, or a library, of which the best way counts.
RATIOS = {
    "take": ("rows", "gather", "30,000 x 128, 8,192 uniform", "np.take"),
    "take_out": ("rows", "gather_out", "30,000 x 128, 8,192 uniform", "np.take"),
    "add_at": ("rows", "scatter_add", "30,000 x 128, 8,192 uniform", "np.add.at"),
    "add_at_many": ("rows", "scatter_add", _MANY_ROWS, "np.add.at"),
    "unique": ("rows", "coalesce", "30,000 x 128, 8,192 uniform", "sort, np.add.reduceat"),
    "reduceat": ("rows", "bag_sum", "30,000 x 128, 2,048 bags of 10 uniform", "np.add.reduceat"),
    "rnn_loop": ("recurrent", "rnn_forward", _BATCH, "NumPy loop"),
    "gru_loop": ("recurrent", "gru_forward", _BATCH, "NumPy loop"),
    "lstm_loop": ("recurrent", "lstm_forward", _BATCH, "NumPy loop"),
    "gru_packed": ("recurrent", "gru_forward", _BATCH, "nn.GRU packed"),
    "lstm_packed": ("recurrent", "lstm_forward", _BATCH, "nn.LSTM packed"),
    "lstm_padded": ("recurrent", "lstm_forward", _BATCH, "nn.LSTM padded"),
    "lstm_onnx": ("recurrent", "lstm_forward", _BATCH, "ONNX Runtime"),
    "gru_onnx": ("recurrent", "gru_forward", _BATCH, "ONNX Runtime"),
    "gru_training": ("training", "gru_training", _BATCH, "PyTorch"),
    "lstm_training": ("training", "lstm_training", _BATCH, "PyTorch"),
    "encoder_torch": ("encoder", "encoder_forward", _SENTENCES.format("LSTM"), "PyTorch"),
    "encoder_onnx": ("encoder", "encoder_forward", _SENTENCES.format("LSTM"), "ONNX Runtime"),
    "g2p_batch": ("gallery", "g2p_en", "371 words", "g2p-en"),
    "g2p_few": ("gallery", "g2p_en", "16 words", "g2p-en"),
    "g2p_word": ("gallery", "g2p_en_word", "1 word", "g2p-en"),
    "polyphones_batch": ("gallery", "g2pM", "64 sentences", "g2pM"),
    "polyphones_one": ("gallery", "g2pM", "1 sentence", "g2pM"),
    "japanese_batch": ("gallery", "nagisa", "64 sentences", "nagisa"),
    "japanese_one": ("gallery", "nagisa", "1 sentence of 75 characters", "nagisa"),
    "consensus_128": ("gallery", "medaka", _REMAINDERS.format(128), "medaka"),
    "consensus_256": ("gallery", "medaka", _REMAINDERS.format(256), "medaka"),
    "vad": ("gallery", "silero_vad", "10 s of sound", "silero-vad"),
    "echo_100": ("gallery", "reservoirpy", _RESERVOIR.format(100), "reservoirpy"),
    "echo_300": ("gallery", "reservoirpy", _RESERVOIR.format(300), "reservoirpy"),
    "echo_500": ("gallery", "reservoirpy", _RESERVOIR.format(500), "reservoirpy"),
    "echo_1000": ("gallery", "reservoirpy", _RESERVOIR.format(1000), "reservoirpy"),
}  # fmt: skip

# Label: group, operations. Each against the best peer in each cell.
SUMMARIES: dict[str, Sequence[str]] = {
    "gather": ("rows", "gather"),
    "gather into `out=`": ("rows", "gather_out"),
    "scatter_add": ("rows", "scatter_add"),
    "coalesce": ("rows", "coalesce"),
    "embedding_bag, sum": ("rows", "bag_sum"),
    "embedding_bag, mean": ("rows", "bag_mean"),
    "embedding_bag, weighted": ("rows", "bag_weighted"),
    "embedding_bag of float16": ("rows", "bag_float16"),
    "gather from int8, against ours from float32": ("rows", "gather_int8"),
    "embedding_bag from int8, the same and PyTorch": ("rows", "bag_int8"),
    "RNN, batches of 8 and more": ("recurrent", "rnn_forward"),
    "GRU, batches of 8 and more": ("recurrent", "gru_forward"),
    "LSTM, batches of 8 and more": ("recurrent", "lstm_forward"),
    "RNN, one and two sequences": ("recurrent", "rnn_few_rows"),
    "GRU, one and two sequences": ("recurrent", "gru_few_rows"),
    "LSTM, one and two sequences": ("recurrent", "lstm_few_rows"),
    "RNN, forward and back, batches": ("training", "rnn_training_full", "rnn_training"),
    "GRU, forward and back, batches": ("training", "gru_training_full", "gru_training"),
    "LSTM, forward and back, batches": ("training", "lstm_training_full", "lstm_training"),
    "RNN, forward and back, one and two": ("training", "rnn_training_few_rows"),
    "GRU, forward and back, one and two": ("training", "gru_training_few_rows"),
    "LSTM, forward and back, one and two": ("training", "lstm_training_few_rows"),
    "a step of Adam on 16,384 rows of 1,000,000 x 64": ("training", "adam_step"),
    "`Encoder`, 32 to 1,024 sentences, 64 to 512 units": ("encoder", "encoder_forward"),
    "`Encoder`, against PyTorch padded alone": ("encoder", "encoder_padded"),
    "`Encoder`, forward and back": ("encoder", "encoder_training"),
    "frozen, against ours unfrozen": ("encoder", "encoder_frozen"),
    "a stream of 20,000 sentences": ("encoder", "encoder_stream"),
    "models of PyTorch by `accelerate`": ("accelerated", "accelerated_forward"),
    "the same, forward and back": ("accelerated", "accelerated_training"),
    "LSTM and GRU of Keras on PyTorch": ("keras_torch", "keras_lstm", "keras_gru"),
    "LSTM and GRU of Keras on NumPy": ("keras_numpy", "keras_lstm", "keras_gru"),
    "LSTM and GRU of ONNX, its reference evaluator": ("onnx", "onnx_bilstm", "onnx_gru"),
}

# Label: operation and shape, in the group of rows.
_ROWS = {
    "gather one row of 256 x 64": ("gather", "256 x 64, 1 uniform"),
    "gather 8,192 rows of 30,000 x 128": ("gather", "30,000 x 128, 8,192 uniform"),
    "the same into `out=`": ("gather_out", "30,000 x 128, 8,192 uniform"),
    "gather 16,384 rows of 1,000,000 x 64": ("gather", _MANY_ROWS),
    "scatter_add to 8,192 rows of 30,000 x 128": ("scatter_add", "30,000 x 128, 8,192 uniform"),
    "scatter_add to 16,384 rows of 1,000,000 x 64": ("scatter_add", _MANY_ROWS),
    "coalesce 8,192 rows of 30,000 x 128": ("coalesce", "30,000 x 128, 8,192 uniform"),
    "2,048 bags of 10 rows of 30,000 x 128": ("bag_sum", "30,000 x 128, 2,048 bags of 10 uniform"),
    "409 bags of 20 int8 rows of 1,000,000 x 128": (
        "bag_int8", "1,000,000 x 128, 409 bags of 20 uniform"),
}  # fmt: skip


def substitutions() -> dict[str, str]:
    """Return what a page may name in two braces."""
    found = {name: ratio(*where) for name, where in RATIOS.items()}
    for name, (group, *operations) in _MEANS.items():
        found[name] = number(mean(select(group, *operations)))
    for name in plots.PLOTS:
        found["plot_" + name.replace("-", "_")] = _plot(name)
    return {
        **found,
        **_steps(),
        "two_threads": _second_thread("recurrent", "rnn_forward", "gru_forward", "lstm_forward"),
        "two_threads_back": _second_thread(
            *SUMMARIES["RNN, forward and back, batches"],
            *SUMMARIES["GRU, forward and back, batches"][1:],
            *SUMMARIES["LSTM, forward and back, batches"][1:],
        ),
        "two_threads_encoder": _second_thread("encoder", "encoder_forward"),
        "valid_share": _share(select("recurrent", "lstm_padding")),
        "table_rows": _table_of_rows(),
        "table_recurrent": _table_of_batches(),
        "table_encoder": _table_of_sentences(),
        "table_summary": _table_of_summaries(),
        "table_errors": _table_of_errors(),
        "table_lost": _table_of_losses(),
        "machine": _machine(),
        "commits": _commits(),
    }


_MEANS = {
    "mean_accelerated": ("accelerated", "accelerated_forward"),
    "mean_accelerated_training": ("accelerated", "accelerated_training"),
    "mean_keras_torch": ("keras_torch", "keras_lstm", "keras_gru"),
    "mean_keras_numpy": ("keras_numpy", "keras_lstm", "keras_gru"),
    "mean_onnx": ("onnx", "onnx_bilstm", "onnx_gru"),
    "mean_adam": ("training", "adam_step"),
}


def draw(folder: Path) -> None:
    """Draw every plot of the pages."""
    plots.draw_all(folder)


def readme() -> str:
    """Return the table of README.md, in which each library has its best way."""
    rows = {
        "`scatter_add`, as `np.add.at`, to 16,384 rows of 1,000,000 x 64": "add_at_many",
        "`gather`, as `np.take`, of 8,192 rows of 30,000 x 128": "take",
        "LSTM, 32 sequences of 16 to 128 steps, 128 units": "lstm_loop",
        "GRU, the same, forward and back": "gru_training",
        "`Encoder` with an LSTM, 256 English sentences": "encoder_torch",
    }
    lines = [[what, _best_ways(find(*RATIOS[name][:3]))] for what, name in rows.items()]
    means = {
        "11 published models of PyTorch, through `accelerate`": ("mean_accelerated", "PyTorch"),
        "LSTM and GRU of Keras, through its adapter": ("mean_keras_torch", "Keras on PyTorch"),
    }
    for what, (name, peer) in means.items():
        group, *operations = _MEANS[name]
        lines.append([what, f"{number(mean(select(group, *operations)))} {peer}"])
    return table(["one thread, float32", "the others take, times as long"], lines)


def _best_ways(cell: Measured) -> str:
    """Return the best ratio of each library, but not that of a loop in Python."""
    loop = cell.peers.get("NumPy loop")
    ways = {library: r for library, r in cell.libraries().items() if r is not loop}
    return ", ".join(f"{number(r.median)} {library}" for library, r in ways.items())


def ratio(group: str, operation: str, shape: str, peer: str) -> str:
    """Return how many times as long a contestant takes, or the best way of a library."""
    cell = find(group, operation, shape)
    return number({**cell.libraries(), **cell.peers}[peer].median)


def number(ratio: float) -> str:
    """Return three digits, or two from 10 on."""
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.0f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown, whose columns of numbers are aligned to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _plot(name: str) -> str:
    alt = f"Plot: {name.replace('-', ' ')}, the figures of which are in benchmarks/results."
    images = (
        f"```{{image}} /_generated/{name}-{theme}.svg\n:class: only-{theme}\n:alt: {alt}\n```\n"
        for theme in plots.THEMES
    )
    return ":::{div} drawing\n" + "".join(images) + ":::"


def _times(cell: Measured, *begins: str) -> str:
    """Return the ratios of the contestants whose names begin so, each with its name."""
    chosen = {name: r for name, r in cell.peers.items() if name.startswith(begins)}
    said = (f"{number(r.median)} {_said(name)}".strip() for name, r in chosen.items())
    return ", ".join(said)


def _said(peer: str) -> str:
    """Return a contestant's name, without its library where that is the head of the column."""
    words = re.sub(r"^(nn\.\w+|PyTorch|OpenVINO|ONNX Runtime|NumPy loop) ?", "", peer)
    return f"`{words}`" if re.search(r"[._\[]", words) else words


def _duration(seconds: float) -> str:
    if seconds < 1e-4:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


def _table_of_rows() -> str:
    lines = []
    for label, (operation, shape) in _ROWS.items():
        cell = find("rows", operation, shape)
        numpy = _times(cell, "np.", "sort")
        torch = _times(cell, "F.", "index_", "embedding_", "sparse")
        lines.append([label, _duration(cell.seconds), numpy, torch])
    return table(["", "embedrnn", "NumPy", "PyTorch"], lines)


def _table_of_batches() -> str:
    lines = []
    for group, name, said in (
        ("recurrent", "forward", ""),
        ("training", "training", ", forward and back"),
    ):
        for kind in ("rnn", "gru", "lstm"):
            cell = find(group, f"{kind}_{name}", _BATCH)
            peers = [_times(cell, begins) for begins in ("NumPy", "nn.", "ONNX")]
            lines.append([kind.upper() + said, _duration(cell.seconds), *peers])
    return table(["", "embedrnn", "NumPy loop", "PyTorch", "ONNX Runtime"], lines)


def _table_of_sentences() -> str:
    lines = []
    for operation, said in (("encoder_forward", ""), ("encoder_training", ", forward and back")):
        for kind in ("RNN", "GRU", "LSTM"):
            cell = find("encoder", operation, _SENTENCES.format(kind))
            peers = [_times(cell, begins) for begins in ("PyTorch", "ONNX", "OpenVINO")]
            lines.append([kind + said, _duration(cell.seconds), *peers])
    return table(["", "embedrnn", "PyTorch", "ONNX Runtime", "OpenVINO"], lines)


def _table_of_summaries() -> str:
    lines = []
    for label, what in SUMMARIES.items():
        line = [label, str(len(select(*what)))]
        for threads in (1, 2):
            cells = select(*what, threads=threads)
            line += [number(mean(cells)), number(min(cell.best()[1].median for cell in cells))]
        lines.append(line)
    head = ["the best peer's time over ours", "cells", "1 thread", "worst", "2 threads", "worst"]
    return table(head, lines)


def _table_of_errors() -> str:
    lines = []
    for operation, shape, found in errors():
        group = _GROUP_OF[operation.partition("_")[2]]
        cell = find(group, operation, shape)
        said = {"embedrnn": f"1, {_error(found['embedrnn'])}"}
        for name, ratio in cell.peers.items():
            if name in found:
                said[_column(name)] = f"{number(ratio.median)}, {_error(found[name])}"
        lines.append([f"`{operation}`, {shape}", *(said.get(name, "") for name in _COLUMNS)])
    return table(["time, error", *_COLUMNS], lines)


_COLUMNS = ("embedrnn", "NumPy loop", "PyTorch packed", "PyTorch padded", "ONNX Runtime")


def _column(peer: str) -> str:
    return re.sub(r"nn\.\w+", "PyTorch", peer)


def _error(error: float) -> str:
    return f"{error:.1e}".replace("e-0", "e-")


_GROUP_OF = {"forward": "recurrent", "training": "training"}


def _table_of_losses() -> str:
    """Return each cell, at one thread, in which a library is ahead of what noise explains."""
    lost = [
        (cell, library, ratio)
        for group in _GROUPS
        for cell in measured(group)
        for library, ratio in cell.libraries().items()
        if cell.threads == 1 and ratio.high < 1 and library != OURS
    ]
    return table(
        ["", "library", "its time over ours", "interval"],
        [
            [f"`{cell.operation}`, {cell.shape}", library,
             number(r.median), f"{r.low:.2f} to {r.high:.2f}"]
            for cell, library, r in lost
        ],
    )  # fmt: skip


def _share(cells: Sequence[Measured]) -> str:
    (cell,) = cells
    return f"{1 / cell.peers['all steps valid'].median:.2f}"


def _steps() -> dict[str, str]:
    """Return the microseconds of one step of a small layer."""
    cell = find("accelerated", "accelerated_call", "one step: LSTM 8 -> 8, B 1, T 1")
    ratios = {
        "step_accelerated": 1.0,
        "step_pytorch": cell.peers["PyTorch padded"].median,
        "step_ours": cell.peers["our layer on arrays"].median,
    }
    return {name: f"{cell.seconds * ratio * 1e6:.0f}" for name, ratio in ratios.items()}


def _second_thread(group: str, *operations: str) -> str:
    """Return the median share of the time of one thread that two take."""
    one, two = (select(group, *operations, threads=threads) for threads in (1, 2))
    return f"{median(b.seconds / a.seconds for a, b in zip(one, two, strict=True)):.2f}"


def _machine() -> str:
    where = environment("rows")
    names: Mapping[str, str] = {
        "numpy": "NumPy", "scipy": "SciPy", "numba": "Numba", "torch": "PyTorch",
        "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}  # fmt: skip
    versions = ", ".join(f"{said} {where['versions'][name]}" for name, said in names.items())
    return (
        f"{where['cpus']} shared cores of an {where['cpu']}, instruction set "
        f"{where['embedrnn']['isa']}, Python {where['python']}, {versions}"
    )


def _commits() -> str:
    head = ["results of", "commit", "date", "kernel of OpenBLAS", "samples", "seconds of each"]
    return table(head, map(_measured_with, (*_GROUPS, "errors")))


def _measured_with(group: str) -> list[str]:
    where, how = environment(group), settings(group)
    return [
        group, where["commit"], where["date"][:10], _kernel(where),
        *(str(how.get(name, "")) for name in ("samples", "min_time")),
    ]  # fmt: skip


def _kernel(where: Mapping[str, list[Mapping[str, str]]]) -> str:
    pools = where["thread_pools"]
    return ", ".join(sorted({p["architecture"] for p in pools if "architecture" in p}))


def main() -> int:
    """Write the table and the picture of README.md."""
    text = README.read_text(encoding="utf-8")
    README.write_text(_MARKED.sub(rf"\1{readme()}\2", text), encoding="utf-8")
    plots.draw_overview(PICTURES)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
