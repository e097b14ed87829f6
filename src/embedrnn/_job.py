"""The main job: ids, gather, recurrence, a gradient and scatter_add, in both backends."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._backend import use_backend
from embedrnn._corpus import Batch
from embedrnn.embedding import gather, scatter_add
from embedrnn.rnn import rnn_forward

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


class Pass(NamedTuple):
    """What one run computes, and the seconds of each operation."""

    embedded: Array  # (B, T, D)
    output: Array  # (B, T, H)
    grad_table: Array  # (V, D)
    seconds: dict[str, float]


def make_model(vocabulary: int) -> Model:
    """Draw parameters as PyTorch's layers do, but from a fixed seed."""
    rng = np.random.default_rng(0)
    bound = _WIDTH**-0.5

    def uniform(*shape: int) -> Array:
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    table = rng.standard_normal((vocabulary, _WIDTH), np.float32)
    return Model(table, uniform(_WIDTH, _WIDTH), uniform(_WIDTH, _WIDTH), uniform(_WIDTH))


def run(batch: Batch, model: Model) -> Pass:
    """Run the job once with the backend in use."""
    seconds = {}

    def timed(name: str, operation: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = operation()
        seconds[name] = time.perf_counter() - start
        return result

    embedded = timed("gather", lambda: gather(model.table, batch.ids))
    output, _ = timed(
        "rnn_forward",
        lambda: rnn_forward(
            embedded, model.weight_ih, model.weight_hh, model.bias, lengths=batch.lengths
        ),
    )
    # The gradient of sum(output**2) / 2 with respect to the embedded tokens, along the path through
    # each token's own step only (truncated to one step). It is 0 at padded steps, as the output is.
    grad_embedded = (output * (1 - output**2)) @ model.weight_ih
    grad_table = np.zeros_like(model.table)
    timed("scatter_add", lambda: scatter_add(grad_table, batch.ids, grad_embedded))
    return Pass(embedded, output, grad_table, seconds)


def compare(
    batch: Batch, backends: Iterable[str], rounds: Rounds
) -> tuple[dict[str, Pass], dict[str, dict[str, float]]]:
    """Run the backends in turns; return a pass of each and the median seconds of each operation."""
    model = make_model(batch.vocabulary)
    passes: dict[str, list[Pass]] = {name: [] for name in backends}
    for _ in rounds(range(_ROUNDS), "timing"):
        for name, done in passes.items():
            with use_backend(name):
                done.append(run(batch, model))
    medians = {
        name: {op: statistics.median(p.seconds[op] for p in done) for op in OPERATIONS}
        for name, done in passes.items()
    }
    return {name: done[-1] for name, done in passes.items()}, medians


def disagreement(a: Pass, b: Pass) -> str | None:
    """Name the first operation on which two passes differ beyond rounding, if there is one."""
    if not np.array_equal(a.embedded, b.embedded):
        return "gather"
    if not np.allclose(a.output, b.output, rtol=1e-4, atol=1e-5):
        return "rnn_forward"
    if not np.allclose(a.grad_table, b.grad_table, rtol=1e-4, atol=1e-4):
        return "scatter_add"
    return None
