"""No error state of NumPy changes a result, raises or shows a warning, in either backend."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import HALVES, WRITEABLE_LAYOUTS, assert_same_bits

BIG = np.float32(3e38)
TWICE = np.array([0, 0, 2, 2, 1])
# Rows 0 overflow, rows 2 are infinity - infinity, row 1 vanishes.
SUMMED = np.array([[BIG, 1], [BIG, 1e-45], [np.inf, 1], [-np.inf, np.nan], [1e-40, -1e-40]], "f4")


def full(shape: tuple[int, ...], number: Any, dtype: Any) -> np.ndarray:
    """Fill an array as np.full does, which in NumPy 2.0 shows the error state itself."""
    with np.errstate(all="ignore"):
        return np.full(shape, number, "f4").astype(dtype)


def scatter_add(dtype: Any, updates: np.ndarray, layout: str = "contiguous") -> list[Any]:
    target = WRITEABLE_LAYOUTS[layout](np.ones((3, 2)).astype(dtype))
    return [er.scatter_add(target, TWICE, updates)]


def bag(mode: Any, dtype: Any = "f4") -> list[Any]:
    table, options = SUMMED.astype(dtype), {"mode": mode, "offsets": np.array([0, 2])}
    output, backward = er.embedding_bag_vjp(table, TWICE, **options)
    grads = [backward(full((2, 2), x, dtype)) for x in (1e-45, 65504, BIG)]
    return [er.embedding_bag(table, TWICE, **options), output, *(g.weight.values for g in grads)]


def weighted_bag(dtype: Any) -> list[Any]:
    weights = np.array([6e4, 6e4, 1, 1, 1e-7], "f4")
    output, backward = er.embedding_bag_vjp(
        np.full((3, 2), 6e4, dtype), TWICE, [0, 3], per_sample_weights=weights
    )
    grads = backward(np.full((2, 2), 6e4, "f4"))
    return [output, grads.weight.values, grads.per_sample_weights]


def renormalised(make: Any, dtype: Any, p: float) -> list[Any]:
    layer = make.from_pretrained(SUMMED.astype(dtype), max_norm=1.0, norm_type=p)
    return [layer(np.arange(5)[None]), layer.weight]


def by_frequency(make: Any, dtype: Any) -> list[Any]:
    output, backward = make(3, 2, dtype=dtype, scale_grad_by_freq=True, rng=0).vjp([[0, 0, 1]])
    results = [backward(full(output.shape, x, dtype)) for x in (6e4, 1e-7)]
    return [output, *(getattr(grad, "weight", grad).values for grad in results)]


def lstm() -> list[Any]:
    layer = er.LSTM(2, 3, rng=0)
    output, states = layer(np.stack([SUMMED, -SUMMED]))
    return [output, *states]


def recurrent_vjp(cell: str) -> list[Any]:
    layer = getattr(er, cell)(2, 3, 2, dropout=0.5, rng=0)
    (output, _), backward = layer.vjp(np.stack([SUMMED, -SUMMED]), rng=1)
    grads = [backward(full(output.shape, x, output.dtype)) for x in (BIG, 1e-45, np.inf)]
    return [output, *(part for grad in grads for part in (grad.x, *grad.parameters.values()))]


def quantized(dtype: Any) -> list[Any]:
    rows = [[BIG, -BIG], [1e-40, -1e-45], [1, 1 + 1e-7], [0, 0]]
    table = er.quantize_rows(np.array(rows, dtype))
    return [table.rows, er.gather(table, [0, 1]), er.embedding_bag(table, [[0, 0, 1, 2]])]


def optimised(name: str, dtype: Any, rows: Any) -> list[Any]:
    """Step infinite, great and vanishing numbers, catching up and rounding by chance."""
    with np.errstate(all="ignore"):
        start = np.array([[1, BIG], [1e-40, 6e4], [np.inf, 0]], "f4").astype(dtype)
        grads = [grad.astype(dtype) for grad in (SUMMED[:3], SUMMED[2:], SUMMED[:3])]
    results = []
    for options in ({}, {"weight_decay": 0.5, "catch_up": True, "rng": 0}):
        p = start.copy()
        optimizer = getattr(er.optim, name)({"w": p}, lr=1e30, **options)
        for grad in grads:
            optimizer.step({"w": er.RowGrad(rows, grad[rows])})
        optimizer.catch_up()
        results += [p, *optimizer.state_dict().values()]
    return results


def clipped() -> list[Any]:
    grads = [SUMMED[:2], SUMMED[4:], np.full((1, 2), 6e4, "f2")]
    results = [er.clip_grad_norm(grads, most) for most in (1e-40, 1e30)]
    return [part for scaled, norm in results for part in (*scaled, norm)]


HALF = {"float16": "f2", "bfloat16": HALVES[1]}
CALLS: dict[str, Callable[[], list[Any]]] = {
    **{f"scatter_add_{d}": lambda d=d: scatter_add(d, SUMMED) for d in ("f4", "f8", "c8", ">f4")},
    **{f"scatter_add_{name}": lambda d=d: scatter_add(d, SUMMED) for name, d in HALF.items()},
    **{f"scatter_add_{layout}": lambda n=layout: scatter_add("f4", SUMMED, n)
       for layout in WRITEABLE_LAYOUTS},
    "scatter_add_narrowed": lambda: scatter_add("f4", np.array([[1e300, 1e-300]] * 5)),
    "scatter_add_narrowed_half": lambda: scatter_add("f2", np.array([[1e300, 1e-300]] * 5)),
    "coalesce": lambda: [er.coalesce(TWICE, SUMMED).values],
    "coalesce_complex": lambda: [er.coalesce(TWICE, SUMMED.astype("c8")).values],
    "coalesce_half": lambda: [er.coalesce(TWICE, np.full((5, 2), 6e4, "f2")).values],
    **{f"bag_{mode}": lambda m=mode: bag(m) for mode in ("sum", "mean", "max")},
    **{f"bag_{m}_{name}": lambda m=m, d=d: bag(m, d)
       for name, d in HALF.items() for m in ("sum", "mean", "max") if name == "bfloat16"},
    **{f"weighted_bag_{d}": lambda d=d: weighted_bag(d) for d in ("f4", "f2")},
    **{f"max_norm_{make.__name__}_{p}_{np.dtype(d).name}":
       lambda make=make, p=p, d=d: renormalised(make, d, p)
       for make in (er.Embedding, er.EmbeddingBag) for p in (2.0, 3.5, np.inf)
       for d in ("f4", "f8", HALVES[1])},
    **{f"by_frequency_{make.__name__}_{d}": lambda make=make, d=d: by_frequency(make, d)
       for make in (er.Embedding, er.EmbeddingBag) for d in ("f4", "f2")},
    **{f"optim_{name}_{np.dtype(d).name}":
       lambda name=name, d=d: optimised(name, d, np.array([0, 2]))
       for name in er.optim.__all__ for d in ("f4", "f8", *HALVES)},
    "clip_grad_norm": clipped,
    "lstm": lstm,
    **{f"{cell}_vjp": lambda cell=cell: recurrent_vjp(cell) for cell in ("RNN", "GRU", "LSTM")},
    "new_table": lambda: [er.Embedding(5000, 10, dtype="f2", rng=0).weight],
    **{f"quantize_rows_{d}": lambda d=d: quantized(d) for d in ("f4", "f8")},
}  # fmt: skip


@pytest.mark.parametrize("state", ["raise", "warn", "call"])
@pytest.mark.parametrize("name", CALLS)
def test_no_error_state_shows(backend: str, name: str, state: Any) -> None:
    with np.errstate(all="ignore"):
        expected = CALLS[name]()
    with np.errstate(all=state, call=lambda *_: pytest.fail("the caller's handler was called")):
        actual = CALLS[name]()
    for one, other in zip(actual, expected, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("dtype", ["f4", ">f4", "c8", "f2"])
def test_a_sum_that_overflows_ends(backend: str, dtype: str) -> None:
    target = np.ones((3, 2), dtype)
    most = np.finfo(target.real.dtype).max
    with np.errstate(all="raise"):
        er.scatter_add(target, [0, 0, 1], np.full((3, 2), most))
    assert np.isinf(target[0].real).all()
    assert (target[2] == 1).all()
