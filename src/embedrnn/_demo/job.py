"""The main job: ids to states and their gradients, gather and scatter_add, in both backends."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._backend import use_backend
from embedrnn._demo.corpus import Batch
from embedrnn.layers import RNN, Embedding
from embedrnn.layers.encoder import Encoder
from embedrnn.rows import gather, scatter_add

Array = npt.NDArray[Any]
Rounds = Callable[[range, str], Iterable[int]]

OPERATIONS = ("gather", "scatter_add", "Encoder", "vjp")
_WIDTH = 128  # of an embedding and of the hidden state
_ROUNDS = 7


class Results(NamedTuple):
    """What a run computes."""

    embedded: Array  # (B, T, D)
    summed: Array  # (V, D)
    output: Array  # (B, T, H)
    grad_table: Array  # (V, D)


def make_model(vocabulary: int) -> Encoder:
    """Draw an embedding, whose row 0 is that of padding, and a recurrent layer."""
    embedding = Embedding(vocabulary, _WIDTH, padding_idx=0, rng=0)
    return Encoder(embedding, RNN(_WIDTH, _WIDTH, rng=1))


def run(batch: Batch, model: Encoder, room: Array) -> tuple[dict[str, float], Results]:
    """Run the job once with the backend in use; return the seconds of each operation.

    Rows go to an array that is there: the pages of a fresh one can cost more than copying them. The
    gradient is that of the sum of the squares of all outputs.
    """
    table = model.embedding.weight
    summed = np.zeros_like(table)
    times = [time.perf_counter()]

    def done() -> None:
        times.append(time.perf_counter())

    gather(table, batch.ids, out=room)
    done()
    scatter_add(summed, batch.ids, room)
    done()
    output, _ = model(batch.ids, batch.lengths)
    done()
    (again, _), backward = model.vjp(batch.ids, batch.lengths)
    grads = backward(again)
    done()
    seconds = dict(zip(OPERATIONS, np.diff(times).tolist(), strict=True))
    return seconds, Results(room, summed, output, grads.weight.to_dense(len(table)))


def make_room(batch: Batch) -> Array:
    """Allocate what rows are gathered into."""
    return np.zeros((*batch.ids.shape, _WIDTH), np.float32)


def disagreement(batch: Batch, model: Encoder, backends: Iterable[str]) -> str | None:
    """Name the first operation on which backends differ beyond rounding, if there is one."""
    runs = []
    for name in backends:
        with use_backend(name):
            runs.append(run(batch, model, make_room(batch))[1])
    first, last = runs[0], runs[-1]
    if not np.array_equal(first.embedded, last.embedded):
        return "gather"
    if not np.array_equal(first.summed, last.summed):
        return "scatter_add"
    if not np.allclose(first.output, last.output, rtol=1e-4, atol=1e-5):
        return "Encoder"
    if not np.allclose(first.grad_table, last.grad_table, rtol=1e-4, atol=1e-3):
        return "vjp"
    return None


def measure(
    batch: Batch, model: Encoder, backends: Iterable[str], rounds: Rounds
) -> dict[str, dict[str, float]]:
    """Run the backends in turns; return the median seconds of each operation of each."""
    room = make_room(batch)
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in backends}
    for _ in rounds(range(_ROUNDS), "timing"):
        for name, seconds in samples.items():
            with use_backend(name):
                seconds.append(run(batch, model, room)[0])
    return {
        name: {op: statistics.median(s[op] for s in seconds) for op in OPERATIONS}
        for name, seconds in samples.items()
    }
