"""Time one whole training step of a language model against the same model in PyTorch.

    pip install '.[peers,examples]' && python benchmarks/training_step.py --threads 1 2

A step is what examples/language_model.py does: embedding, LSTM, softmax, the gradient of each, its
norm clipped, Adam. PyTorch's does the same as its documentation advises, padded and packed, with
Adam as it comes and fused; its gradient of the embedding is dense, as nn.Embedding's is by default.
The contestants begin with the same weights, their losses are compared, then they take turns.

Each task says how many words and how many classes there are. A softmax over 10,000 classes is three
quarters of the arithmetic of a step, and a BLAS does it on both sides. In the other tasks there are
1,000 classes, as where one of the frequent words is told, or 6, as of examples/tagger.py, so that
the rest of the step can be seen: there a vocabulary of 100,000 words makes the dense gradient what
costs most.

The memory is that of processes of their own: from before the model was made to the most in steps,
so parameters, the state of the optimiser, gradients and what the passes keep. It needs Linux.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import embedrnn as er
from clone import describe
from embedrnn.bench.paired import measure, paired_ratio
from embedrnn.bench.threads import pinned
from embedrnn.bench.workloads import BATCHES, SEED, Array, lengths_of_sentences, zipf_ids

if TYPE_CHECKING:
    import torch  # nobody imports it in the process whose memory is ours

sys.path.append(str(Path(__file__).parents[1] / "examples"))

Step = Callable[[], float]

ROWS, STEPS, WIDTH, HIDDEN = 32, 64, 128, 256
MAX_NORM, RATE = 1.0, 1e-3
OURS = "embedrnn"
CHECKED_STEPS = 3
PEAK_STEPS = 2 * BATCHES


class Task(NamedTuple):
    """How large a vocabulary is read, and how large a one is told."""

    words: int
    classes: int
    goal: float  # how many times as long PyTorch shall take, at least

    def __str__(self) -> str:
        return f"{self.words:,} words, {self.classes:,} classes"


TASKS = [
    Task(10_000, 10_000, 2.5),
    Task(10_000, 1_000, 2.5),
    Task(100_000, 1_000, 10),
    Task(100_000, 6, 10),
]


class Drawn(NamedTuple):
    """A batch of sentences: words and classes one behind the other, and how long each is."""

    words: Array  # (N,)
    targets: Array  # (N,)
    lengths: Array  # (ROWS,)


def main() -> None:
    """Measure what the command line asks for."""
    options = parse()
    if options.peak:
        print(json.dumps(peak(*options.peak)))
        return
    about = describe()
    print(about["cpu"], about["versions"], about["embedrnn"])
    for task in [TASKS[number] for number in options.tasks]:
        for threads in options.threads:
            with pinned(threads):
                print(f"\n{task}, {threads} thread{'s' * (threads > 1)}")
                print_times(task, options.samples)
        print_peaks(task)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", nargs="+", type=int, default=[1], metavar="N")
    parser.add_argument("--samples", type=int, default=15, help="pairs a task (default 15)")
    every = range(len(TASKS))
    parser.add_argument("--tasks", nargs="+", type=int, default=every, choices=every, metavar="N")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)  # of a process of its own
    return parser.parse_args()


def draw(task: Task) -> list[Drawn]:
    """Draw sentences whose words have the frequencies of a text."""
    rng = np.random.default_rng(SEED)
    lengths = lengths_of_sentences(ROWS, STEPS)
    n = int(lengths.sum())
    words = zipf_ids(rng, task.words, BATCHES * n).reshape(BATCHES, n)
    targets = zipf_ids(rng, task.classes, BATCHES * n).reshape(BATCHES, n)
    return [Drawn(w, t, lengths) for w, t in zip(words, targets, strict=True)]


def our_model(task: Task) -> Any:
    """Return the model of the examples."""
    from model import Model

    return Model(task.words, task.classes, width=WIDTH, hidden=HIDDEN)


def our_step(model: Any, drawn: Sequence[Drawn]) -> Step:
    """Return what makes the next step."""
    from text import Batch

    optimizer = er.optim.Adam(model.parts, RATE)
    rng = np.random.default_rng(SEED)
    offsets = np.concatenate([[0], np.cumsum(drawn[0].lengths)])
    batches = cycle([Batch(batch.words, batch.targets, offsets) for batch in drawn])

    def step() -> float:
        loss, grads = model.gradients(next(batches), rng)
        grads, _ = er.clip_grad_norm(grads, MAX_NORM)
        optimizer.step(grads)
        return float(loss)

    return step


def torch_model(task: Task) -> "torch.nn.ModuleDict":
    """Return the same model."""
    import torch

    return torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(task.words, WIDTH),
            "lstm": torch.nn.LSTM(WIDTH, HIDDEN, batch_first=True),
            "output": torch.nn.Linear(HIDDEN, task.classes),
        }
    )


def torch_step(
    model: "torch.nn.ModuleDict", drawn: Sequence[Drawn], *, packed: bool, fused: bool
) -> Step:
    """Return what makes the next step."""
    import torch

    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=RATE, fused=fused)
    make = packed_batch if packed else padded_batch
    batches = cycle([make(batch) for batch in drawn])

    def step() -> float:
        features, targets = next(batches)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model["output"](features(model)), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()
        return float(loss.item())

    return step


def padded_batch(batch: Drawn) -> tuple[Any, Any]:
    """Return the padded way: the LSTM walks over padding, the softmax is of valid steps alone."""
    import torch

    words, _ = er.pad(np.split(batch.words, np.cumsum(batch.lengths)[:-1]))
    valid = np.arange(words.shape[1]) < batch.lengths[:, None]
    ids, places = torch.from_numpy(words), torch.from_numpy(np.flatnonzero(valid))

    def features(model: "torch.nn.ModuleDict") -> "torch.Tensor":
        hidden, _ = model["lstm"](model["embedding"](ids))
        return hidden.flatten(0, 1).index_select(0, places)

    return features, torch.from_numpy(batch.targets)


def packed_batch(batch: Drawn) -> tuple[Any, Any]:
    """Return the packed way; the softmax is of what the LSTM leaves packed."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    bounds = np.cumsum(batch.lengths)[:-1]
    words, targets = (
        torch.from_numpy(er.pad(np.split(ids, bounds))[0]) for ids in (batch.words, batch.targets)
    )
    lengths = torch.from_numpy(batch.lengths)

    def pack(x: "torch.Tensor") -> Any:
        return pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)

    def features(model: "torch.nn.ModuleDict") -> "torch.Tensor":
        hidden, _ = model["lstm"](pack(model["embedding"](words)))
        return hidden.data

    return features, pack(targets).data


PEERS = {
    "PyTorch, padded": {"packed": False, "fused": False},
    "PyTorch, packed": {"packed": True, "fused": False},
    "PyTorch, padded, fused Adam": {"packed": False, "fused": True},
    "PyTorch, packed, fused Adam": {"packed": True, "fused": True},
}


def contestants(task: Task) -> dict[str, Step]:
    """Return everybody's step, from the same weights."""
    import torch

    drawn, model = draw(task), our_model(task)
    weights = {name: torch.tensor(array) for name, array in model.state_dict().items()}
    steps = {OURS: our_step(model, drawn)}
    for name, how in PEERS.items():
        peer = torch_model(task)
        peer.load_state_dict(weights)
        steps[name] = torch_step(peer, drawn, **how)
    return steps


def check(steps: dict[str, Step]) -> None:
    """Compare the losses of the first steps.

    Behind the first one they are not quite the same: dense steps of Adam also move the rows that a
    batch has not, by what earlier ones left in their moments.
    """
    ours, *others = ([step() for _ in range(CHECKED_STEPS)] for step in steps.values())
    for losses in others:
        np.testing.assert_allclose(losses[0], ours[0], rtol=1e-5)
        np.testing.assert_allclose(losses, ours, rtol=5e-3)


def print_times(task: Task, samples: int) -> None:
    """Print how long a step takes, and how many times as long those of the others."""
    steps = contestants(task)
    check(steps)
    seconds = measure(steps, samples, min_time=0.0)
    ours = seconds.pop(OURS)
    print(f"  {OURS:30}{1e3 * np.median(ours):9.2f} ms")
    ratios = {name: paired_ratio(theirs, ours) for name, theirs in seconds.items()}
    for name, ratio in ratios.items():
        milliseconds = 1e3 * np.median(seconds[name])
        interval = f"[{ratio.low:.2f}, {ratio.high:.2f}]"
        print(f"  {name:30}{milliseconds:9.2f} ms {ratio.median:7.2f} {interval}")
    best, plain = (
        min(ratio.median for name, ratio in ratios.items() if fused or not PEERS[name]["fused"])
        for fused in (True, False)
    )
    print(f"  the best {best:.2f}, with Adam as it comes {plain:.2f}; goal {task.goal}", flush=True)


def print_peaks(task: Task) -> None:
    """Print the most memory that everybody takes."""
    print(f"\n{task}, the most memory, MB: of the steps, of the process")
    for name in (OURS, *PEERS):
        command = [sys.executable, __file__, "--peak", str(TASKS.index(task)), name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        of_steps, of_process = json.loads(done.stdout)
        print(f"  {name:30}{of_steps:9.0f}{of_process:9.0f}", flush=True)


def peak(number: str, name: str) -> tuple[float, float]:
    """Return the memory that steps take in this process at most, and the whole of it, in MB.

    The weights are drawn in float64, so the peak is counted from behind that.
    """
    if name != OURS:
        import torch

        torch.zeros(1)
    task = TASKS[int(number)]
    drawn = draw(task)
    before = memory("VmRSS")
    step = (
        our_step(our_model(task), drawn)
        if name == OURS
        else torch_step(torch_model(task), drawn, **PEERS[name])
    )
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
    for _ in range(PEAK_STEPS):
        step()
    return memory("VmHWM") - before, memory("VmHWM")


def memory(name: str) -> float:
    """Return a figure of this process in MB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{name}:\s*(\d+) kB", status, re.MULTILINE)
    assert found, os.uname()
    return int(found[1]) / 1e3


if __name__ == "__main__":
    main()
