"""Named shapes, values and memory layouts: the one table from which all tests draw."""

import ctypes
import importlib
import importlib.util
import itertools
import mmap
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

import embedrnn as er
from embedrnn._cells import CELLS

_PROT_NONE = 0

# --- backends ----------------------------------------------------------------------------------


def _find_core() -> ModuleType | None:
    if importlib.util.find_spec("embedrnn._core") is None:
        return None
    return importlib.import_module("embedrnn._core")


CORE = _find_core()
ISAS: list[str] = CORE.isas() if CORE else []  # what this machine has, best first

# --- numbers -----------------------------------------------------------------------------------

INT_DTYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")

HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))

# One element, one less and one more than each vector width, and sizes that a model would have.
WIDTHS = (1, 3, 5, 15, 16, 17, 31, 33, 64, 100, 128, 300)


def values(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    """Numbers of very different size, so that the order of a sum shows in its bits."""
    rng = np.random.default_rng(seed)
    mantissa = rng.standard_normal(shape)
    if np.dtype(dtype).kind in "biu":
        return (mantissa * 1000).astype("i8").astype(dtype)
    span = 6 if np.dtype(dtype).itemsize == 2 else 20
    return np.ldexp(mantissa, rng.integers(-span, span, shape)).astype(dtype)


# --- rows of a table -------------------------------------------------------------------------

INDICES: dict[str, Callable[[int], np.ndarray]] = {
    "none": lambda v: np.zeros(0, np.int64),
    "none_3d": lambda v: np.zeros((2, 0, 3), np.int64),
    "scalar": lambda v: np.array(v - 1),
    "one": lambda v: np.array([v // 2]),
    "matrix": lambda v: np.random.default_rng(1).integers(-v, v, (3, 5)),
    "cube": lambda v: np.random.default_rng(2).integers(0, v, (2, 3, 4)),
    "duplicates": lambda v: np.random.default_rng(3).integers(0, v, 61) // 2,
    "all_equal": lambda v: np.full(37, v - 1),
    "ascending": np.arange,
    "descending": lambda v: np.arange(v)[::-1].copy(),
    "negative": lambda v: np.random.default_rng(4).integers(-v, 0, 29),
    "bounds": lambda v: np.array([0, -v, v - 1, -1]),
}


@dataclass(frozen=True)
class RowCase:
    """Indices of one kind into a table of shape (n_rows, *cols)."""

    name: str
    n_rows: int
    cols: tuple[int, ...]
    kind: str

    def __str__(self) -> str:
        return self.name

    def table(self, dtype: Any) -> np.ndarray:
        return values((self.n_rows, *self.cols), dtype, seed=5)

    def indices(self) -> np.ndarray:
        return INDICES[self.kind](self.n_rows)

    def updates(self, dtype: Any) -> np.ndarray:
        return values(self.indices().shape + self.cols, dtype, seed=6)


ROW_CASES = (
    *(RowCase(f"width_{width}", 7, (width,), "duplicates") for width in WIDTHS),
    *(RowCase(kind, 11, (17,), kind) for kind in INDICES),
    RowCase("one_row", 1, (5,), "bounds"),
    RowCase("vector", 11, (), "duplicates"),
    RowCase("vector_matrix", 11, (), "matrix"),
    RowCase("vector_scalar", 11, (), "scalar"),
    RowCase("table_3d", 5, (2, 9), "matrix"),
    RowCase("table_4d", 5, (2, 3, 2), "duplicates"),
    # Tables that leave the second-level cache: their rows are fetched ahead.
    RowCase("large_vector", 150_000, (), "duplicates"),
    RowCase("large_narrow", 12_000, (17,), "duplicates"),
    RowCase("large_wide", 700, (300,), "duplicates"),
    RowCase("no_columns", 5, (0,), "duplicates"),
    RowCase("no_columns_3d", 5, (3, 0), "matrix"),
    RowCase("no_rows", 0, (3,), "none"),
    RowCase("no_rows_3d", 0, (3,), "none_3d"),
    RowCase("no_rows_vector", 0, (), "none"),
)


# --- bags of rows ----------------------------------------------------------------------------

# How many items each bag has.
BAG_LENGTHS: dict[str, list[int]] = {
    "no_bags": [],
    "one_bag": [7],
    "one_empty": [0],
    "all_empty": [0, 0, 0],
    "one_each": [1] * 9,
    "ragged": [0, 3, 0, 0, 1, 12, 2, 0],
    "one_long": [1, 150, 2],
}


@dataclass(frozen=True)
class BagCase:
    """Bags of rows of a table (n_rows, width), their lengths of one kind."""

    name: str
    n_rows: int
    width: int
    kind: str

    def __str__(self) -> str:
        return self.name

    @property
    def lengths(self) -> np.ndarray:
        return np.array(BAG_LENGTHS[self.kind], np.int64)

    @property
    def offsets(self) -> np.ndarray:
        """Where each bag begins, and where the last one ends."""
        return np.concatenate(([0], self.lengths.cumsum()))

    def table(self, dtype: Any) -> np.ndarray:
        return np.random.default_rng(9).standard_normal((self.n_rows, self.width)).astype(dtype)

    def indices(self) -> np.ndarray:
        n = int(self.lengths.sum())
        return np.random.default_rng(10).integers(-self.n_rows, self.n_rows, n)

    def weights(self, dtype: Any) -> np.ndarray:
        return np.random.default_rng(11).standard_normal(self.lengths.sum()).astype(dtype)


BAG_CASES = (
    *(BagCase(f"width_{width}", 6, width, "ragged") for width in (0, *WIDTHS)),
    *(BagCase(kind, 11, 19, kind) for kind in BAG_LENGTHS),
    BagCase("one_row", 1, 5, "ragged"),
    BagCase("large_table", 12_000, 50, "one_long"),
    BagCase("no_rows", 0, 4, "all_empty"),
)


def reference_bag(
    rows: np.ndarray, offsets: np.ndarray, mode: str, weights: np.ndarray | None = None
) -> np.ndarray:
    """The definition, in float64, one bag at a time; `rows` has one for each item."""
    scaled = rows.astype("f8") * (1 if weights is None else weights.astype("f8")[:, None])
    out = np.zeros((len(offsets) - 1, rows.shape[1]))
    for b, (begin, end) in enumerate(itertools.pairwise(offsets)):
        if begin < end:
            out[b] = getattr(scaled[begin:end], mode)(axis=0)
    return out


# --- padded sequences ------------------------------------------------------------------------

LENGTHS: dict[str, Callable[[int, int], np.ndarray | None]] = {
    "no_lengths": lambda b, t: None,
    "zeros": lambda b, t: np.zeros(b, np.int64),
    "full": np.full,
    "equal": lambda b, t: np.full(b, t // 2),
    "one_long": lambda b, t: np.where(np.arange(b) == b // 2, t, min(t, 1)),
    "ascending": lambda b, t: np.arange(b) * t // max(b - 1, 1),
    "descending": lambda b, t: (np.arange(b) * t // max(b - 1, 1))[::-1].copy(),
    "random": lambda b, t: np.random.default_rng(7).integers(0, t + 1, b),
}


@dataclass(frozen=True)
class RnnCase:
    """One padded batch; everything behind a row's length is NaN, so that no case can read it."""

    name: str
    batch: int
    steps: int
    inputs: int
    hidden: int
    lengths: str = "random"
    optional: tuple[str, ...] = ("bias_ih", "bias_hh", "h_0")

    def __str__(self) -> str:
        return self.name

    def arguments(self, dtype: Any, gates: int = 1) -> dict[str, Any]:
        rng = np.random.default_rng(8)
        b, t, i, h = self.batch, self.steps, self.inputs, self.hidden
        bound = max(h, 1) ** -0.5

        def weight(*shape: int) -> np.ndarray:
            return rng.uniform(-bound, bound, shape).astype(dtype)

        x = rng.uniform(-1, 1, (b, t, i)).astype(dtype)
        lengths = LENGTHS[self.lengths](b, t)
        x[padding(lengths, b, t)] = np.nan
        g = gates * h
        arguments = {"x": x, "weight_ih": weight(g, i), "weight_hh": weight(g, h)}
        shapes = {"bias_ih": (g,), "bias_hh": (g,), "h_0": (b, h)}
        arguments |= {name: weight(*shapes[name]) for name in self.optional}
        return arguments | {"lengths": lengths}


# The number of gates of each cell.
GATES = {name: len(cell.gates) for name, cell in CELLS.items()}


def cell_arguments(case: RnnCase, dtype: Any, cell: str) -> dict[str, Any]:
    """Return the arguments of the case with the weights of every gate, and a cell state."""
    arguments = case.arguments(dtype, gates=GATES[cell])
    least = {"leak": 0.05, "weight_ch": -1}
    for name in CELLS[cell].parameters[4:]:
        shape = CELLS[cell].diagonals * case.hidden
        arguments[name] = np.random.default_rng(12).uniform(least[name], 1, shape).astype(dtype)
    if "h_0" in arguments:
        h_0, *others = CELLS[cell].initial
        arguments |= {name: arguments[h_0][::-1].copy() for name in others}
    return arguments


# The cells whose function has another name: that name, and the option that asks for the cell.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn_tanh": ("rnn", {"nonlinearity": "tanh"}),
    "rnn_relu": ("rnn", {"nonlinearity": "relu"}),
    "rnn_tanh_leaky": ("rnn", {"nonlinearity": "tanh"}),
    "rnn_relu_leaky": ("rnn", {"nonlinearity": "relu"}),
    "gru_reset_before": ("gru", {"reset_after": False}),
    "lstm_peephole": ("lstm", {}),
}


def packed_weights(cell: str, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """Return the parameters of a cell as backends take them."""
    return (*(arguments.get(name) for name in CELLS[cell].parameters), None)[:5]


# The recurrent layers, and the cell of each without options: the first in the table of cells.
LAYERS = {VARIANTS.get(cell, (cell,))[0].upper(): cell for cell in reversed(CELLS)}


def run_cell(cell: str, arguments: dict[str, Any], **options: Any) -> list[np.ndarray]:
    """Return the output and the final states of the function of a cell."""
    name, variant = VARIANTS.get(cell, (cell, {}))
    output, states = getattr(er, f"{name}_forward")(**arguments, **variant, **options)
    return [output, *(states if isinstance(states, tuple) else (states,))]


def vjp_cell(cell: str, arguments: dict[str, Any], **options: Any) -> Any:
    """Return what the vector-Jacobian product of the function of a cell returns."""
    name, variant = VARIANTS.get(cell, (cell, {}))
    return getattr(er, f"{name}_vjp")(**arguments, **variant, **options)


def flat(result: tuple[Any, Any]) -> list[np.ndarray]:
    """Return an output and its states, or the gradients of them, as one list."""
    output, states = result
    return [output, *(states if isinstance(states, tuple) else (states,))]


def padding(lengths: np.ndarray | None, batch: int, steps: int) -> np.ndarray:
    """True at the steps (B, T) that belong to no sequence."""
    if lengths is None:
        return np.zeros((batch, steps), bool)
    return np.arange(steps) >= np.asarray(lengths)[:, None]


# More pre-activations than are kept at a time.
TILED = RnnCase("tiled", 3, 120, 4, 300)

RNN_CASES = (
    RnnCase("tiny", 1, 1, 1, 1, "no_lengths", ()),
    RnnCase("empty_batch", 0, 3, 4, 5),
    RnnCase("no_steps", 3, 0, 4, 5),
    RnnCase("no_inputs", 3, 4, 0, 5),
    RnnCase("no_units", 3, 4, 5, 0),
    RnnCase("one_step", 5, 1, 4, 3),
    RnnCase("one_unit", 5, 4, 3, 1),
    RnnCase("one_sequence", 1, 13, 16, 33, "full"),
    RnnCase("no_bias", 4, 5, 3, 17, "random", ()),
    RnnCase("bias_ih", 4, 5, 3, 17, "random", ("bias_ih",)),
    RnnCase("bias_hh", 4, 5, 3, 17, "random", ("bias_hh", "h_0")),
    *(RnnCase(kind, 9, 7, 5, 17, kind) for kind in LENGTHS),
    RnnCase("wide", 13, 6, 100, 128),
    RnnCase("long", 2, 40, 31, 64),
    RnnCase("tall", 37, 3, 15, 100),
    TILED,
)


# What other libraries are asked for too: they refuse empty sequences.
ORACLE_CASES = (
    RnnCase("full", 4, 7, 5, 17, "no_lengths"),
    RnnCase("no_bias", 4, 7, 5, 17, "no_lengths", ("h_0",)),
    RnnCase("no_state", 4, 7, 5, 17, "no_lengths", ("bias_ih", "bias_hh")),
    RnnCase("one_step", 6, 1, 3, 33, "no_lengths"),
    RnnCase("lengths", 9, 8, 16, 33),
    RnnCase("descending", 9, 8, 3, 5, "descending"),
    RnnCase("one_long", 9, 8, 3, 5, "one_long"),
    RnnCase("wide", 7, 9, 100, 130),
)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _step(cell: str, x: np.ndarray, states: list[np.ndarray], w: list[Any]) -> list[np.ndarray]:
    """Return the states of one row behind a step, gate by gate."""
    w_ih, w_hh, b_ih, b_hh = (np.split(part, GATES[cell]) for part in w[:4])
    h = states[0]
    from_x = [weight @ x + bias for weight, bias in zip(w_ih, b_ih, strict=True)]
    from_h = [weight @ h + bias for weight, bias in zip(w_hh, b_hh, strict=True)]
    sums = [a + b for a, b in zip(from_x, from_h, strict=True)]
    if cell == "rnn_tanh":
        return [np.tanh(sums[0])]
    if cell == "rnn_relu":
        return [np.maximum(sums[0], 0)]
    if cell in {"rnn_tanh_leaky", "rnn_relu_leaky"}:
        (new,) = _step(cell.removesuffix("_leaky"), x, states, w)
        return [h + w[4] * (new - h)]
    if cell == "lstm_peephole":
        (i, f, g, o), (p_i, p_f, p_o) = sums, np.split(w[4], 3)
        c = _sigmoid(f + p_f * states[1]) * states[1] + _sigmoid(i + p_i * states[1]) * np.tanh(g)
        return [_sigmoid(o + p_o * c) * np.tanh(c), c]
    if cell == "lstm":
        i, f, g, o = sums
        c = _sigmoid(f) * states[1] + _sigmoid(i) * np.tanh(g)
        return [_sigmoid(o) * np.tanh(c), c]
    if cell in {"gru", "gru_reset_before"}:
        r, z = (_sigmoid(gate) for gate in sums[:2])
        reset = r * from_h[2] if cell == "gru" else w_hh[2] @ (r * h) + b_hh[2]
        return [(1 - z) * np.tanh(from_x[2] + reset) + z * h]
    raise NotImplementedError(cell)


def reference(cell: str, arguments: dict[str, Any], reverse: bool = False) -> list[np.ndarray]:
    """The definition, in float64, one row and one step at a time: the output and the states."""
    x, weight_hh = arguments["x"].astype("f8"), arguments["weight_hh"].astype("f8")
    (batch, steps, _), hidden = x.shape, weight_hh.shape[1]
    zeros = np.zeros(len(weight_hh))
    biases = [np.float64(arguments.get(name, zeros)) for name in ("bias_ih", "bias_hh")]
    diagonals = [np.float64(arguments[name]) for name in CELLS[cell].parameters[4:]]
    weights = [arguments["weight_ih"].astype("f8"), weight_hh, *biases, *diagonals]
    lengths, output = arguments.get("lengths"), np.zeros((batch, steps, hidden))
    resets, absent = arguments.get("resets"), np.zeros((batch, hidden))
    first = [np.array(arguments.get(name, absent), "f8") for name in CELLS[cell].initial]
    last = [state.copy() for state in first]
    for b in range(batch):
        valid = range(steps if lengths is None else int(lengths[b]))
        for t in reversed(valid) if reverse else valid:
            if resets is not None and resets[b, t]:
                for state, start in zip(last, first, strict=True):
                    state[b] = start[b]
            new = _step(cell, x[b, t], [state[b] for state in last], weights)
            for state, value in zip(last, new, strict=True):
                state[b] = value
            output[b, t] = new[0]
    return [output, *last]


# --- the same values laid out in another way ---------------------------------------------------


def _every_other(array: np.ndarray, axis: int) -> np.ndarray:
    shape = list(array.shape)
    shape[axis] *= 2
    where = [slice(None)] * array.ndim
    where[axis] = slice(None, None, 2)
    view = np.zeros(shape, array.dtype)[tuple(where)]
    view[...] = array
    return view


def _flipped(array: np.ndarray, axis: int) -> np.ndarray:
    return np.flip(np.flip(array, axis).copy(), axis)


def _first_axes_exchanged(array: np.ndarray) -> np.ndarray:
    if array.ndim < 2:
        return array.copy()
    return array.swapaxes(0, 1).copy().swapaxes(0, 1)


def _misaligned(array: np.ndarray) -> np.ndarray:
    moved = np.ndarray(array.shape, array.dtype, np.zeros(array.nbytes + 1, "u1"), offset=1)
    moved[...] = array
    return moved


def _read_only(array: np.ndarray) -> np.ndarray:
    fixed = array.copy()
    fixed.flags.writeable = False
    return fixed


# Each takes an array of one axis or more. All keep the values but "broadcast", which repeats the
# first row with a stride of zero: compare with a contiguous copy of what comes out.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda a: a.copy(),
    "every_other_row": lambda a: _every_other(a, 0),
    "every_other_column": lambda a: _every_other(a, -1),
    "rows_flipped": lambda a: _flipped(a, 0),
    "columns_flipped": lambda a: _flipped(a, -1),
    "first_axes_exchanged": _first_axes_exchanged,
    "fortran": lambda a: np.array(a, order="F"),
    "misaligned": _misaligned,
    "byte_swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "read_only": _read_only,
}
WRITEABLE_LAYOUTS = {k: v for k, v in LAYOUTS.items() if k not in {"broadcast", "read_only"}}


def guarded(array: np.ndarray, *, before: bool = False) -> np.ndarray:
    """Copy `array` so that it ends at an unmapped page or, if `before`, begins behind one."""
    page = mmap.PAGESIZE
    room = -(-max(array.nbytes, 1) // page) * page
    memory = mmap.mmap(-1, room + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    for edge in (start, start + page + room):
        if libc.mprotect(ctypes.c_void_p(edge), ctypes.c_size_t(page), _PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = page if before else page + room - array.nbytes
    moved = np.ndarray(array.shape, array.dtype, memory, offset=offset)
    moved[...] = array
    return moved


# --- comparisons -----------------------------------------------------------------------------


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Equal dtype, shape and bytes: -0.0 is not 0.0 and one NaN is not another."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    if actual.tobytes() != expected.tobytes():
        np.testing.assert_array_equal(actual, expected)
        raise AssertionError("equal values with different bits")


def assert_agree(backend: str, actual: np.ndarray, expected: np.ndarray) -> None:
    """Demand equal bits of the compiled core; a BLAS product depends on shape and layout."""
    if backend != "numpy":
        assert_same_bits(np.ascontiguousarray(actual), np.ascontiguousarray(expected))
    else:
        size = max(1.0, float(np.abs(expected).max(initial=0)))
        atol = 32 * np.finfo(actual.dtype).eps * size
        np.testing.assert_allclose(actual, expected, rtol=0, atol=atol, strict=True)


def assert_gradients(
    grads: Mapping[str, np.ndarray], loss: Callable[[str, np.ndarray], float]
) -> None:
    """Compare gradients in float64 with differences of a loss, of the fourth order.

    `loss` takes the name of what something is added to, and what that is.
    """
    for name, grad in grads.items():
        direction = np.random.default_rng(8).uniform(-1, 1, grad.shape)
        one, two = (
            loss(name, step * direction) - loss(name, -step * direction) for step in (1e-3, 2e-3)
        )
        expected = (8 * one - two) / 12e-3
        assert abs((grad * direction).sum() - expected) < 1e-8 * (1 + abs(expected)), name


def snapshot(arguments: dict[str, Any]) -> dict[str, bytes]:
    """Return the bytes of each array among `arguments`."""
    return {k: v.tobytes() for k, v in arguments.items() if isinstance(v, np.ndarray)}


@contextmanager
def allocates_less_than(n_bytes: int) -> Iterator[None]:
    """Check that NumPy never holds so many bytes more than at the start."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < n_bytes
    finally:
        tracemalloc.stop()


@contextmanager
def writes_only(view: np.ndarray) -> Iterator[None]:
    """Check that the memory around `view` keeps its bytes, whatever is written into `view`."""
    whole = view
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    before, start = whole.tobytes(), view.copy()
    yield
    written = view.copy()
    view[...] = start
    assert whole.tobytes() == before
    view[...] = written
