"""Every operation has the bits that were recorded: a change of them is one that users notice.

``python tests/test_bits.py`` records them anew, for a change that is meant.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import (
    BAG_CASES,
    CORE,
    GATES,
    HALVES,
    ISAS,
    RNN_CASES,
    ROW_CASES,
    cell_arguments,
    run_cell,
    values,
    vjp_cell,
)

RECORDED = Path(__file__).with_suffix(".json")
FLOATS = ("float32", "float64", *(half.name for half in HALVES))


def gather(dtype: Any) -> Iterator[Any]:
    for case in ROW_CASES:
        yield er.gather(case.table(dtype), case.indices())


def scatter_add(dtype: Any) -> Iterator[Any]:
    for case in ROW_CASES:
        yield er.scatter_add(case.table(dtype), case.indices(), case.updates(dtype))


def coalesce(dtype: Any) -> Iterator[Any]:
    for case in ROW_CASES:
        yield from er.coalesce(case.indices(), case.updates(dtype), num_embeddings=case.n_rows)


def embedding_bag(dtype: Any) -> Iterator[Any]:
    for case in BAG_CASES:
        bags = case.table(dtype), case.indices(), case.offsets[:-1]
        for mode in ("sum", "mean", "max"):
            output, backward = er.embedding_bag_vjp(*bags, mode=mode)
            yield output
            yield from backward(output).weight
        weights = case.weights(dtype)
        output, backward = er.embedding_bag_vjp(*bags, per_sample_weights=weights)
        yield output
        yield backward(output).per_sample_weights


def quantized(dtype: Any) -> Iterator[Any]:
    for case in BAG_CASES:
        table = er.quantize_rows(case.table(dtype))
        yield er.gather(table, case.indices())
        yield er.embedding_bag(table, case.indices(), case.offsets[:-1])


def recurrence(cell: str) -> Callable[[Any], Iterator[Any]]:
    def run(dtype: Any) -> Iterator[Any]:
        for case in RNN_CASES:
            for reverse in (False, True):
                yield from run_cell(cell, cell_arguments(case, dtype, cell), reverse=reverse)

    return run


def gradients(cell: str) -> Callable[[Any], Iterator[Any]]:
    def run(dtype: Any) -> Iterator[Any]:
        for case in RNN_CASES:
            (output, state), backward = vjp_cell(cell, cell_arguments(case, dtype, cell))
            grads = backward(values(output.shape, dtype, seed=12), state)
            yield from (grad for grad in grads if grad is not None)

    return run


def steps(dtype: Any) -> Iterator[Any]:
    for layer in (er.RNN(5, 19, 2, rng=0, dtype=dtype), er.GRU(5, 19, 2, rng=0, dtype=dtype),
                  er.LSTM(5, 19, 2, rng=0, dtype=dtype)):  # fmt: skip
        for rows in (1, 2, 9):
            x = values((rows, 5), dtype)
            output, state = layer.step(x, layer.step(x)[1])
            yield output
            yield from state if isinstance(state, tuple) else (state,)


def optimisers(dtype: Any) -> Iterator[Any]:
    for name in er.optim.__all__:
        for options in ({}, {"weight_decay": 0.1, "catch_up": True, "rng": 0}):
            for case in ROW_CASES:
                p = case.table(dtype)
                if p.shape[0] == 0:
                    continue
                optimizer = getattr(er.optim, name)({"w": p}, lr=0.1, **options)
                grad = er.coalesce(case.indices(), case.updates(dtype), num_embeddings=case.n_rows)
                for given in (grad, case.table(dtype), grad):
                    optimizer.step({"w": given})
                yield p
                yield from optimizer.state_dict().values()


OPERATIONS: dict[str, tuple[Callable[[Any], Iterator[Any]], tuple[str, ...]]] = {
    "gather": (gather, (*FLOATS, "int16", "complex128")),
    "scatter_add": (scatter_add, (*FLOATS, "int16", "uint64")),
    "coalesce": (coalesce, (*FLOATS, "int16")),
    "embedding_bag": (embedding_bag, FLOATS),
    "quantized": (quantized, ("float32",)),
    **{cell: (recurrence(cell), ("float32", "float64")) for cell in GATES},
    **{f"{cell}_vjp": (gradients(cell), ("float32", "float64")) for cell in GATES},
    "steps": (steps, ("float32", "float64")),
    "optimisers": (optimisers, FLOATS),
}
CALLS = [(name, dtype) for name, (_, dtypes) in OPERATIONS.items() for dtype in dtypes]


def digest(name: str, dtype: str) -> str:
    """Return a hash of all that an operation gives, shapes and dtypes included."""
    half = next((half for half in HALVES if half.name == dtype), dtype)
    found = hashlib.sha256()
    for array in map(np.asarray, OPERATIONS[name][0](half)):
        found.update(f"{array.dtype} {array.shape} ".encode() + array.tobytes())
    return found.hexdigest()[:16]


def rounding(isa: str) -> str:
    """Return what the bits depend on: whether products and sums are rounded together."""
    return "apart" if isa == "baseline" else "fused"


@pytest.mark.parametrize(("name", "dtype"), CALLS)
def test_bits(native: str, name: str, dtype: str) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert digest(name, dtype) == recorded[rounding(native)][f"{name} {dtype}"]


def record() -> None:
    """Write what each kind of instruction set gives now."""
    assert CORE is not None
    found: dict[str, dict[str, str]] = {}
    for isa in ISAS:
        CORE.set_isa(isa)
        found[rounding(isa)] = {f"{name} {dtype}": digest(name, dtype) for name, dtype in CALLS}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
