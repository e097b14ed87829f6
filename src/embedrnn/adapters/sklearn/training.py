"""The training loop of a classifier."""

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._check import estimators as _check_estimators
from embedrnn._check.estimators import Rows
from embedrnn.adapters.sklearn.model import Model, cross_entropy
from embedrnn.clipping import clip_grad_norm
from embedrnn.optim import SGD, Adagrad, Adam, AdamW
from embedrnn.optim.optimizer import Optimizer

Array = npt.NDArray[Any]

_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam, "adamw": AdamW, "adagrad": Adagrad, "sgd": SGD,
}  # fmt: skip

# Sequences that are run at once where nothing is learned: their states are what takes memory.
_BATCH = 1024


class Cases(NamedTuple):
    """Sequences, the number of the class of each, and its weight in the loss."""

    rows: Rows
    targets: Array
    weights: Array

    def take(self, which: Array) -> "Cases":
        """Return some of them, in this order."""
        return Cases(self.rows.take(which), self.targets[which], self.weights[which])


class History(NamedTuple):
    """The mean loss of each epoch, of the cases learned from and of those it was tried on."""

    losses: list[float]
    trials: list[float]


def optimizer(kind: Any, model: Model, **options: Any) -> Optimizer:
    """Return the optimiser of a name, or what a caller's function makes."""
    if not callable(kind):
        _check.choice("optimizer", kind, tuple(_OPTIMIZERS))
        kind = _OPTIMIZERS[kind]
    made: Optimizer = kind(model.parts, **options)
    return made


def scores(model: Model, rows: Rows) -> Array:
    """Return the score of each class of each sequence, some sequences at a time."""
    every = np.arange(rows.count)
    parts = [every[first : first + _BATCH] for first in range(0, rows.count, _BATCH)]
    return np.concatenate([model.scores(rows.take(part)) for part in parts])


class Training:
    """A model on its way: an optimiser, and all chance."""

    def __init__(
        self,
        model: Model,
        steps: Optimizer,
        rng: np.random.Generator,
        *,
        batch_size: int,
        clip_norm: float | None,
    ) -> None:
        self._model, self._optimizer, self._rng = model, steps, rng
        self._batch_size = _check.size("batch_size", batch_size)
        self._clip_norm = None if clip_norm is None else _check.positive("clip_norm", clip_norm)

    def epoch(self, cases: Cases) -> float:
        """Learn from each case once, in another order each time; return the mean loss.

        Batches are ragged and need no padding: to put cases of about one length together saved a
        tenth of the time at most.
        """
        order, total = self._rng.permutation(cases.rows.count), 0.0
        for first in range(0, order.size, self._batch_size):
            batch = cases.take(order[first : first + self._batch_size])
            loss, grads = self._model.gradients(*batch, self._rng)
            if self._clip_norm is not None:
                grads, _ = clip_grad_norm(grads, self._clip_norm)
            self._optimizer.step(grads)
            total += loss * batch.rows.count
        return total / order.size

    def run(
        self, cases: Cases, epochs: int, trial: Cases | None, *, patience: int, verbose: bool
    ) -> History:
        """Learn for some epochs.

        Where there are cases to try the model on, only until so many epochs have not made the loss
        of those any less; the parameters are then those that it was least with.
        """
        history, best, kept = History([], []), 0, self._model.copy_of_parameters()
        for number in range(1, epochs + 1):
            begin = time.perf_counter()
            history.losses.append(self.epoch(cases))
            _check_estimators.require_finite_loss(history.losses[-1], number)
            if trial is not None:
                history.trials.append(self._loss(trial))
                if history.trials[-1] < min(history.trials[:-1], default=np.inf):
                    best, kept = number, self._model.copy_of_parameters()
            if verbose:
                _report(history, epochs, time.perf_counter() - begin)
            if trial is not None and number - best >= patience:
                break
        if trial is not None:
            self._model.restore(kept)
        return history

    def _loss(self, cases: Cases) -> float:
        return cross_entropy(scores(self._model, cases.rows), cases.targets, cases.weights)[0]


def _report(history: History, epochs: int, seconds: float) -> None:
    trial = f", held out {history.trials[-1]:.4f}" if history.trials else ""
    sys.stdout.write(
        f"epoch {len(history.losses)} of {epochs}: loss {history.losses[-1]:.4f}{trial} "
        f"({seconds:.2f} s)\n"
    )
    sys.stdout.flush()
