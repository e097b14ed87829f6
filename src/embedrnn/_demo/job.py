"""The main job: ids, gather, recurrence, a gradient and scatter_add, in both backends."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._backend import use_backend
from embedrnn._demo.corpus import Batch
from embedrnn.rnn import rnn_forward
from embedrnn.rows import gather, scatter_add

Array = npt.NDArray[Any]
Rounds = Callable[[range, str], Iterable[int]]

OPERATIONS = ("gather", "rnn_forward", "scatter_add")
_WIDTH = 128  # of an embedding and of the hidden state
_ROUNDS = 7


class Model(NamedTuple):
    """The parameters of the job."""

    table: Array  # (V, D)
    weight_ih: Array  # (H, D)
    weight_hh: Array  # (H, H)
    bias: Array  # (H,)


class Results(NamedTuple):
    """What a run computes."""

    embedded: Array  # (B, T, D)
    output: Array  # (B, T, H)
    grad_table: Array  # (V, D)


def make_model(vocabulary: int) -> Model:
    """Draw parameters as PyTorch's layers do, but from a fixed seed."""
    rng = np.random.default_rng(0)
    bound = _WIDTH**-0.5

    def uniform(*shape: int) -> Array:
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    table = rng.standard_normal((vocabulary, _WIDTH), np.float32)
    return Model(table, uniform(_WIDTH, _WIDTH), uniform(_WIDTH, _WIDTH), uniform(_WIDTH))


def make_results(batch: Batch, model: Model) -> Results:
    """Allocate the results of a run."""
    shape = (*batch.ids.shape, _WIDTH)
    return Results(np.zeros(shape, np.float32), np.zeros(shape, np.float32), model.table * 0)


def run(batch: Batch, model: Model, results: Results) -> dict[str, float]:
    """Run the job once with the backend in use; return the seconds of each operation.

    Results go to arrays that are there: the pages of fresh ones can cost more than an operation.
    """
    table, weight_ih, weight_hh, bias = model
    embedded, output, grad_table = results
    start = time.perf_counter()
    gather(table, batch.ids, out=embedded)
    gathered = time.perf_counter()
    rnn_forward(embedded, weight_ih, weight_hh, bias, lengths=batch.lengths, out=output)
    encoded = time.perf_counter()
    # The gradient of sum(output**2) / 2 with respect to the embedded tokens, along the path through
    # each token's own step only (truncated to one step). It is 0 at padded steps, as the output is.
    grad_embedded = (output * (1 - output**2)) @ weight_ih
    grad_table[...] = 0
    differentiated = time.perf_counter()
    scatter_add(grad_table, batch.ids, grad_embedded)
    scattered = time.perf_counter()
    times = (gathered - start, encoded - gathered, scattered - differentiated)
    return dict(zip(OPERATIONS, times, strict=True))


def disagreement(batch: Batch, model: Model, backends: Iterable[str]) -> str | None:
    """Name the first operation on which backends differ beyond rounding, if there is one."""
    runs = []
    for name in backends:
        runs.append(make_results(batch, model))
        with use_backend(name):
            run(batch, model, runs[-1])
    first, last = runs[0], runs[-1]
    if not np.array_equal(first.embedded, last.embedded):
        return "gather"
    if not np.allclose(first.output, last.output, rtol=1e-4, atol=1e-5):
        return "rnn_forward"
    if not np.allclose(first.grad_table, last.grad_table, rtol=1e-4, atol=1e-4):
        return "scatter_add"
    return None


def measure(
    batch: Batch, model: Model, backends: Iterable[str], rounds: Rounds
) -> dict[str, dict[str, float]]:
    """Run the backends in turns; return the median seconds of each operation of each."""
    results = make_results(batch, model)
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in backends}
    for _ in rounds(range(_ROUNDS), "timing"):
        for name, seconds in samples.items():
            with use_backend(name):
                seconds.append(run(batch, model, results))
    return {
        name: {op: statistics.median(s[op] for s in seconds) for op in OPERATIONS}
        for name, seconds in samples.items()
    }
