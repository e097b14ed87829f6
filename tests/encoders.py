"""What the tests of encoders have in common: kinds of them, batches of ids, and comparisons."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import embedrnn as er
from cases import assert_same_bits, flat

# Every cell, by its layer and the option that asks for it.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn_tanh": ("RNN", {}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
    "rnn_tanh_leaky": ("RNN", {"leak": 0.3}),
    "gru": ("GRU", {}),
    "gru_reset_before": ("GRU", {"reset_after": False}),
    "lstm": ("LSTM", {}),
    "lstm_peephole": ("LSTM", {"peepholes": True}),
}
STACKS = [(1, False), (1, True), (2, False), (2, True)]
POOLS = ("mean", "max", "last")
THREADS = (1, 2, 3, 8)
PATHS = ("steps", "distinct")
HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}

# What a table may hold, and the dtype of the layer that reads it.
TABLES: dict[str, tuple[Any, str]] = {
    "float32": ("float32", "float32"),
    "float64": ("float64", "float64"),
    "float16": ("float16", "float32"),
    "bfloat16": (ml_dtypes.bfloat16, "float32"),
    "int8": ("int8", "float32"),
}

each_kind = pytest.mark.parametrize("kind", KINDS)
each_stack = pytest.mark.parametrize(("num_layers", "bidirectional"), STACKS)
each_table = pytest.mark.parametrize("table", TABLES)

LENGTHS = np.array([3, 7, 0, 5, 1])
# What threads share: the units of each step of a few rows, of which one is of a single step; rows,
# each thread some of its own; and the products of distinct ids before them.
SHARED: dict[str, tuple[tuple[int, int, int], np.ndarray]] = {
    "units": ((200, 64, 160), np.array([50, 0, 37])),
    "units_of_one_step": ((60, 512, 640), np.ones(5, int)),
    "rows": ((200, 120, 160), np.random.default_rng(2).integers(0, 13, 40)),
}
N_IDS = 11


def make(
    kind: str = "lstm",
    num_layers: int = 1,
    bidirectional: bool = False,
    *,
    sizes: tuple[int, int, int] = (N_IDS, 10, 9),
    dtype: Any = np.float32,
    table: Any = None,
    layer: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Return an encoder of so many ids, features and units, its table in a dtype of its own."""
    name, variant = KINDS[kind]
    n_ids, features, hidden = sizes
    embedding = er.Embedding(n_ids, features, dtype=dtype if table is None else table, rng=1,
                             **options)  # fmt: skip
    recurrent = getattr(er, name)(features, hidden, num_layers, bidirectional=bidirectional,
                                  dtype=dtype, rng=2, **variant, **(layer or {}))  # fmt: skip
    return er.Encoder(embedding, recurrent)


def force(monkeypatch: pytest.MonkeyPatch, encoder: Any, path: str) -> None:
    """Let input products of this encoder's cells come about on a path whatever it costs."""
    cell = type(encoder.recurrent._cells()[0])
    monkeypatch.setattr(cell, "pays_distinct", lambda *_: path == "distinct")


@dataclass(frozen=True)
class Batch:
    """Padded ids, (B, T): from 1 on where they are valid, and 0 behind."""

    ids: np.ndarray
    lengths: np.ndarray

    @property
    def valid(self) -> np.ndarray:
        return np.arange(self.ids.shape[1]) < self.lengths[:, None]

    @property
    def flat(self) -> np.ndarray:
        return self.ids[self.valid]

    @property
    def offsets(self) -> np.ndarray:
        return np.concatenate(([0], self.lengths.cumsum()))

    @property
    def rows(self) -> list[np.ndarray]:
        return [row[:n] for row, n in zip(self.ids, self.lengths, strict=True)]

    @property
    def garbage(self) -> np.ndarray:
        """The ids with what is no id at all behind the rows."""
        return np.where(self.valid, self.ids, 10**6)


def shared(work: str) -> tuple[tuple[int, int, int], Batch]:
    """Return the sizes of an LSTM and a batch that more than two threads share."""
    sizes, lengths = SHARED[work]
    return sizes, drawn(lengths, sizes[0])


def drawn(lengths: np.ndarray = LENGTHS, n_ids: int = N_IDS, seed: int = 0) -> Batch:
    time = int(lengths.max(initial=0))
    ids = np.random.default_rng(seed).integers(1, n_ids, (len(lengths), time))
    return Batch(np.where(np.arange(time) < lengths[:, None], ids, 0), lengths)


def state_of(encoder: Any, batch: int, seed: int = 3) -> Any:
    """Return a state before the first step."""
    layer = encoder.recurrent
    shape = (layer.num_layers * (1 + layer.bidirectional), batch, layer.hidden_size)
    rng = np.random.default_rng(seed)
    parts = tuple(rng.uniform(-1, 1, shape).astype(layer.dtype) for _ in layer._stack.cell.states)
    return parts if len(parts) > 1 else parts[0]


def of_parts(encoder: Any, ids: np.ndarray, *args: Any, **options: Any) -> list[np.ndarray]:
    """Return what the two layers make of ids, one after the other."""
    x = encoder.embedding(ids).astype(encoder.recurrent.dtype, copy=False)
    return flat(encoder.recurrent(x, *args, **options))


def pooled(output: np.ndarray, batch: Batch, states: list[np.ndarray], pool: str) -> np.ndarray:
    """Return one vector of each row of padded outputs, (B, T, width)."""
    width = output.shape[2]
    if pool == "last":
        directions = width // states[0].shape[2]
        return np.concatenate(list(states[0][-directions:]), axis=1)
    found = np.zeros((len(output), width), output.dtype)
    for b, n in enumerate(batch.lengths):
        if n:
            row = output[b, :n]
            found[b] = row.max(axis=0) if pool == "max" else row.astype("f8").mean(axis=0)
    return found


def assert_near(actual: np.ndarray, expected: np.ndarray, factor: float = 64) -> None:
    """Compare sums of products: their rounding goes by the greatest of them."""
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    atol = factor * float(ml_dtypes.finfo(actual.dtype).eps) * size
    np.testing.assert_allclose(actual.astype("f8"), expected.astype("f8"), rtol=0, atol=atol)


def assert_agree(backend: str, actual: Any, expected: Any) -> None:
    """Demand equal bits of the compiled core; a BLAS product depends on shape and layout."""
    for got, wanted in zip(actual, expected, strict=True):
        if backend == "numpy":
            assert_near(got, wanted)
        else:
            assert_same_bits(np.ascontiguousarray(got), np.ascontiguousarray(wanted))


def arrow(rows: list[np.ndarray], *, large: bool = False) -> Any:
    pa = pytest.importorskip("pyarrow")
    return pa.array(rows, pa.large_list(pa.int32()) if large else pa.list_(pa.int64()))


def objects(rows: list[Any]) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


# What gives an encoder the rows of a batch, by whether outputs come padded.
Form = Callable[[Batch], tuple[Any, dict[str, Any]]]
PADDED: dict[str, Form] = {
    "lengths": lambda b: (b.garbage, {"lengths": b.lengths}),
    "lengths_of_lists": lambda b: (b.garbage.tolist(), {"lengths": b.lengths.tolist()}),
    "uint8_lengths": lambda b: (b.garbage, {"lengths": b.lengths.astype("u1")}),
    "inferred": lambda b: (b.ids, {}),
    "inferred_int8": lambda b: (b.ids.astype("i1"), {}),
    "inferred_uint8": lambda b: (b.ids.astype("u1"), {}),
    "inferred_from_the_end": lambda b: (np.where(b.valid, b.ids, -N_IDS), {}),
    "mask": lambda b: (b.garbage, {"mask": b.valid}),
    "strided": lambda b: (np.repeat(b.garbage, 2, axis=1)[:, ::2], {"lengths": b.lengths}),
    "time_first": lambda b: (b.garbage.T.copy().T, {"lengths": b.lengths}),
}
RAGGED: dict[str, Form] = {
    "offsets": lambda b: (b.flat, {"offsets": b.offsets}),
    "int32_offsets": lambda b: (b.flat.astype("u2"), {"offsets": b.offsets.astype("i4")}),
    "arrays": lambda b: (b.rows, {}),
    "lists": lambda b: ([row.tolist() for row in b.rows], {}),
    "tuple": lambda b: (tuple(row.astype("i4") for row in b.rows), {}),
    "objects": lambda b: (objects(b.rows), {}),
    "arrow": lambda b: (arrow(b.rows), {}),
    "arrow_large": lambda b: (arrow(b.rows, large=True), {}),
}
FORMS = PADDED | RAGGED
