"""The training loop of the examples: steps, progress, checkpoints and the curve of the loss."""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import embedrnn as er
from model import Model, starting_with
from text import Example, Shuffled

_MAX_NORM = 1.0
_WARM_UP = 100


def add_options(parser: argparse.ArgumentParser, **defaults: float) -> None:
    """Add the options that all that train have; the sizes have these defaults."""
    add = parser.add_argument
    add("--text", nargs="+", type=Path, default=[], metavar="FILE",
        help="learn from these files (default: the docstrings of Python's standard library)",
    )  # fmt: skip
    for name, value in defaults.items():
        add(f"--{name}", type=type(value), default=value, help=f"(default: {value})")
    add("--checkpoint", type=Path, metavar="FILE",
        help="go on from this file if it is there, and save to it: a run that was ended on the way "
        "then has the bits of one that never was",
    )  # fmt: skip
    add("--save-every", type=int, default=200, metavar="STEPS", help="(default: 200)")
    add("--plot", type=Path, metavar="FILE", help="draw the loss, e.g. loss.png")


def learning_rate(highest: float, steps: int) -> Callable[[int], float]:
    """Return a schedule, as the optimisers take it: a rise, then half a wave of a cosine to 0."""

    def schedule(step: int) -> float:
        rise = min(1.0, (step + 1) / _WARM_UP)
        return highest * rise * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))

    return schedule


class Trainer:
    """A model on its way, and all that the rest of the way depends on."""

    def __init__(
        self, model: Model, examples: Sequence[Example], options: argparse.Namespace
    ) -> None:
        self.model = model
        self.losses: list[float] = []  # of each step; how many there are is the place in the data
        self._batches = Shuffled(examples, options.batch, options.seed)
        self._optimizer = er.optim.Adam(model.parts, learning_rate(options.rate, options.steps))
        self._rng = np.random.default_rng(options.seed)  # for what is dropped
        unimportant = {"checkpoint", "save_every", "plot", "samples", "temperature", "restore"}
        self._options = {k: str(v) for k, v in vars(options).items() if k not in unimportant}

    def step(self) -> int:
        """Make one step; return the number of words of its batch."""
        batch = self._batches[len(self.losses)]
        loss, grads = self.model.gradients(batch, self._rng)
        grads, _ = er.clip_grad_norm(grads, _MAX_NORM)
        self._optimizer.step(grads)
        self.losses.append(loss)
        return len(batch.words)

    def save(self, path: Path) -> None:
        """Write a checkpoint; a run that is killed meanwhile leaves the one before as it was."""
        state: dict[str, Any] = {
            **{f"model.{name}": array for name, array in self.model.state_dict().items()},
            **{f"optimizer.{name}": array for name, array in self._optimizer.state_dict().items()},
            "losses": np.array(self.losses),
            "rng": json.dumps(self._rng.bit_generator.state),
            "options": json.dumps(self._options),
        }
        beside = path.with_name(f"{path.name}.part")
        with beside.open("wb") as file:
            np.savez(file, **state)
        beside.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of a run with the same options."""
        with np.load(path) as file:
            arrays = dict(file)
        options = json.loads(str(arrays["options"]))
        if options != self._options:
            raise SystemExit(f"{path} is of a run with other options: {options}")
        self.model.load_state_dict(starting_with("model.", arrays))
        self._optimizer.load_state_dict(starting_with("optimizer.", arrays))
        self._rng.bit_generator.state = json.loads(str(arrays["rng"]))
        self.losses = arrays["losses"].tolist()


def train(trainer: Trainer, options: argparse.Namespace) -> None:
    """Make the steps that are left, and show how they go."""
    if options.checkpoint and options.checkpoint.exists():
        trainer.load(options.checkpoint)
    words, first, begin = 0, len(trainer.losses), time.perf_counter()
    bar: Any = tqdm(initial=first, total=options.steps, desc="training", unit="step", disable=None)
    with bar:
        while len(trainer.losses) < options.steps:
            words += trainer.step()
            rate = words / (time.perf_counter() - begin)
            loss = np.mean(trainer.losses[-50:])
            bar.set_postfix_str(f"loss {loss:.2f}, {rate:,.0f} words/s", refresh=False)
            bar.update()
            done = len(trainer.losses)
            if options.checkpoint and (done % options.save_every == 0 or done == options.steps):
                trainer.save(options.checkpoint)
    seconds = time.perf_counter() - begin
    if words:
        print(f"{words:,} words in {seconds:.0f} s, {words / seconds:,.0f} a second; "
              f"loss {np.mean(trainer.losses[-50:]):.3f}")  # fmt: skip
    if options.plot:
        plot(trainer.losses, options.plot)


def plot(losses: Sequence[float], path: Path) -> None:
    """Draw the loss of each step, and its mean over the 50 around it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5))
    axes = figure.subplots()
    around = min(50, len(losses))
    axes.plot(losses, color="0.8", linewidth=0.5)
    axes.plot(np.arange(around - 1, len(losses)) - around / 2,
              np.convolve(losses, np.ones(around) / around, "valid"))  # fmt: skip
    axes.set(xlabel="step", ylabel="cross entropy of a word")
    figure.tight_layout()
    figure.savefig(path)
