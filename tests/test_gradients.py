"""Every gradient of rows and bags, for arguments of any size, dtype and layout.

What is expected is worked out in float64, one item at a time, from what the arrays hold once they
are laid out. Each check runs on ordinary memory, and on memory where a read out of bounds ends the
process.
"""

import itertools
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import (
    HALVES,
    INT_DTYPES,
    LAYOUTS,
    WRITEABLE_LAYOUTS,
    assert_same_bits,
    guarded,
    snapshot,
    writes_only,
)

DTYPES = (np.dtype(np.float32), np.dtype(np.float64), *HALVES)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (lambda wide: wide[:, :2], [1, 9, 17]),
        (lambda wide: wide[::-1, :2], [17, 9, 1]),
        (lambda wide: np.broadcast_to(wide[1, :2], (3, 2)), [9, 9, 9]),
        (lambda wide: wide[:, :2].repeat(2, axis=1)[:, ::2], [1, 9, 17]),
    ],
    ids=["some_columns", "flipped", "broadcast", "every_other_column"],
)
def test_gradient_of_weights_by_hand(backend: str, layout: Any, expected: list[float]) -> None:
    _, backward = er.embedding_bag_vjp(
        np.ones((3, 2)), [0, 1, 2], [0, 1, 2], per_sample_weights=np.ones(3)
    )
    of_weights = backward(layout(np.arange(12.0).reshape(3, 4))).per_sample_weights
    assert of_weights is not None
    assert of_weights.tolist() == expected


# --- where arguments lie -------------------------------------------------------------------------


def _inner_columns(array: np.ndarray) -> np.ndarray:
    """Lay out the rows within wider ones: each in one piece, with strangers on both sides."""
    view = np.full((*array.shape[:-1], array.shape[-1] + 2), 99, array.dtype)[..., 1:-1]
    view[...] = array
    return view


VIEWS = LAYOUTS | {"inner_columns": _inner_columns}
WRITEABLE_VIEWS = WRITEABLE_LAYOUTS | {"inner_columns": _inner_columns}
WRITTEN = ("into", "target")  # the arguments that are added to


def beside_a_guard(view: np.ndarray, before: bool) -> np.ndarray:
    """Copy what a view spans so that it ends at an unmapped page or begins behind one.

    The bytes between its elements are NaN to whoever adds them up. One more keeps a misaligned
    view so.
    """
    if view.size == 0:
        return guarded(view, before=before)
    reach = [(n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True)]
    odd = not view.flags.aligned
    span = np.full(sum(map(abs, reach)) + view.itemsize + odd, 0xFF, np.uint8)
    first = (odd and before) - sum(r for r in reach if r < 0)
    memory = guarded(span, before=before)
    moved = np.ndarray(view.shape, view.dtype, memory, first, view.strides)
    moved[...] = view
    moved.flags.writeable = view.flags.writeable
    return moved


# Where the page is that must not be read.
GUARDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda view: view,
    "end": lambda view: beside_a_guard(view, before=False),
    "start": lambda view: beside_a_guard(view, before=True),
}

guards = pytest.mark.parametrize("guard", ["end", "start"])

# --- what is expected ----------------------------------------------------------------------------

# Parts of the sum of magnitudes. A half is rounded twice where it is divided or added afterwards.
TOLERANCE = {"float32": 1e-5, "float64": 2e-14, "float16": 1.2e-3, "bfloat16": 1e-2}
SPACING = {"float16": 2**-24}  # of subnormal numbers: the other dtypes' are next to nothing


class Total:
    """A sum in float64, and the sum of the magnitudes, which the rounding is a part of."""

    def __init__(self, value: np.ndarray, size: np.ndarray | None = None) -> None:
        self.value = value.astype("f8")
        self.size = np.abs(self.value) if size is None else size

    def add(self, where: Any, term: np.ndarray) -> None:
        self.value[where] += term
        self.size[where] += np.abs(term)

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> "Total":
        return Total(function(self.value), function(self.size))

    def assert_near(self, actual: np.ndarray) -> None:
        assert actual.shape == self.value.shape
        error = np.abs(actual.astype("f8") - self.value)
        name = actual.dtype.name
        allowed = TOLERANCE[name] * self.size + SPACING.get(name, 0)
        assert (error <= allowed).all(), f"{actual}\nis not\n{self.value}"


def assert_row_grad(grad: Any, rows: np.ndarray, total: Total) -> None:
    """Check that these rows, and no others, have their part of the total."""
    assert_same_bits(grad.indices, np.unique(rows))
    total.map(lambda sums: sums[grad.indices]).assert_near(grad.values)


def row_numbers(indices: np.ndarray, n_rows: int) -> np.ndarray:
    return indices.ravel().astype("i8") % max(n_rows, 1)


def not_padding(rows: np.ndarray, padding: int | None, n_rows: int) -> np.ndarray:
    return np.array([padding is None or row != padding % n_rows for row in rows], bool)


# --- what is drawn -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arguments:
    """What all calls draw; the seed stands for the numbers."""

    n_rows: int
    dtype: np.dtype
    index_dtype: str
    padding: int | None
    few: bool
    layouts: dict[str, str]
    seed: int

    def rows_for(self, items: int) -> int:
        """Return the rows of the table: one at least if any is to be looked up."""
        return max(self.n_rows, min(items, 1))

    def padding_idx(self, n_rows: int) -> int | None:
        """Return the row left out, counted from either end, or None if the table has none."""
        return None if self.padding is None or not n_rows else self.padding % (2 * n_rows) - n_rows

    def maker(self, guard: str) -> "Maker":
        return Maker(self, GUARDS[guard], np.random.default_rng(self.seed))


@dataclass(frozen=True)
class Maker:
    """Makes the arrays of a call, each where it is to lie."""

    drawn: Arguments
    guard: Callable[[np.ndarray], np.ndarray]
    rng: np.random.Generator

    def place(self, name: str, array: np.ndarray) -> np.ndarray:
        layout = VIEWS[self.drawn.layouts[name]]
        return self.guard(layout(array) if array.ndim else array)

    def floats(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        """Numbers of different size, or a few different ones, so that many are equal."""
        if self.drawn.few:
            signs = 4 * self.rng.integers(0, 2, shape) - 2
            array = self.rng.integers(-3, 4, shape) / signs
        else:
            array = np.ldexp(self.rng.standard_normal(shape), self.rng.integers(-3, 2, shape))
        return self.place(name, np.asarray(array).astype(dtype or self.drawn.dtype))

    def indices(self, shape: tuple[int, ...], n_rows: int, *, negative: bool = True) -> np.ndarray:
        dtype = self.drawn.index_dtype
        first = -n_rows if negative and dtype[0] == "i" else 0
        numbers = self.rng.integers(first, max(n_rows, 1), shape)
        return self.place("indices", np.asarray(numbers).astype(dtype))


def often(usual: Any, others: Collection[Any]) -> st.SearchStrategy[Any]:
    """Return what is a third of the time one value, that which has short ways of its own.

    It draws once; a union of strategies draws twice, and drawing is what takes the time here.
    """
    return st.sampled_from([usual] * (len(others) // 2) + list(others))


def fields(*names: str) -> dict[str, st.SearchStrategy[Any]]:
    """Return what the fields of `Arguments` are drawn from, with a layout for each array named."""
    views = {name: WRITEABLE_VIEWS if name in WRITTEN else VIEWS for name in names}
    layouts = {name: often("contiguous", choices) for name, choices in views.items()}
    return {
        "n_rows": st.integers(0, 12),
        "dtype": st.sampled_from(DTYPES),
        "index_dtype": st.sampled_from(INT_DTYPES),
        "padding": often(None, range(24)),
        "few": st.booleans(),
        "layouts": st.fixed_dictionaries(layouts),
        "seed": st.integers(0, 2**32 - 1),
    }


# --- bags ----------------------------------------------------------------------------------------

LAYER_OPTIONS = ("mode", "padding_idx", "include_last_offset")


def layer_vjp(arguments: dict[str, Any], **options: Any) -> Any:
    """Call the vjp of a layer with the arguments of embedding_bag_vjp."""
    call = dict(arguments)
    options |= {name: call.pop(name) for name in LAYER_OPTIONS if name in call}
    return er.EmbeddingBag.from_pretrained(call.pop("weight"), **options).vjp(**call)


def parts(rows: np.ndarray, mode: str, weights: np.ndarray) -> np.ndarray:
    """Return how much of each element of the rows of a bag goes into its output."""
    if mode != "max":
        each = weights / max(len(rows), 1) if mode == "mean" else weights
        return np.repeat(each[:, None], rows.shape[1], axis=1)
    part = np.zeros_like(rows)
    if len(rows):  # argmax gives the first of equal ones
        part[rows.argmax(axis=0), np.arange(rows.shape[1])] = 1
    return part


class BagTotals:
    """What the bags and their gradients come to; `named` are the rows that have a gradient."""

    def __init__(self, bounds: list[int], gradient: np.ndarray, arguments: dict[str, Any]) -> None:
        self.table, self.gradient = arguments["weight"].astype("f8"), gradient.astype("f8")
        n_rows, padding = len(self.table), arguments["padding_idx"]
        rows = row_numbers(arguments["indices"], n_rows)
        kept = not_padding(rows, padding, n_rows)
        weights = arguments.get("per_sample_weights", np.ones(rows.size)).ravel().astype("f8")
        self.weighted = "per_sample_weights" in arguments
        self.named = rows[kept]
        self.output = Total(np.zeros(gradient.shape))
        self.of_table = Total(np.zeros(self.table.shape))
        self.of_weights = Total(np.zeros((rows.size, gradient.shape[1])))
        for bag, (begin, end) in enumerate(itertools.pairwise(bounds)):
            items = begin + np.flatnonzero(kept[begin:end])
            bag_parts = parts(self.table[rows[items]], arguments["mode"], weights[items])
            for item, part in zip(items, bag_parts, strict=True):
                self.add(bag, item, rows[item], part)

    def add(self, bag: int, item: int, row: int, part: np.ndarray) -> None:
        self.output.add(bag, part * self.table[row])
        self.of_table.add(row, part * self.gradient[bag])
        if self.weighted:
            self.of_weights.add(item, self.table[row] * self.gradient[bag])


def by_frequency(total: Total, rows: np.ndarray) -> Total:
    """Divide the total of each row by how often it is named."""
    counts = np.bincount(rows, minlength=len(total.value))[:, None]
    return total.map(lambda sums: sums / np.maximum(counts, 1))


@dataclass(frozen=True)
class Bags(Arguments):
    """A call of embedding_bag_vjp or the layer's, and one of the function that it returns."""

    cols: int
    lengths: list[int]
    form: str
    mode: str
    wide: bool
    function: str

    def bags(self, maker: Maker) -> tuple[dict[str, Any], list[int]]:
        """Return the arguments that tell the bags, where each begins and where the last ends."""
        if self.form == "rows":
            length = max(self.lengths, default=0)
            return {}, [bag * length for bag in range(len(self.lengths) + 1)]
        ends = [*itertools.accumulate(self.lengths, initial=0)]
        whole = {"lengths": self.lengths, "offsets": ends[:-1], "all_offsets": ends}[self.form]
        moved = maker.place("bounds", np.array(whole, self.index_dtype))
        numbers = moved.tolist()
        if self.form == "lengths":
            return {"lengths": moved}, [*itertools.accumulate(numbers, initial=0)]
        if self.form == "all_offsets":
            return {"offsets": moved, "include_last_offset": True}, numbers
        last = [numbers[-1] + self.lengths[-1]] if numbers else [0]
        return {"offsets": moved}, numbers + last

    @property
    def wide_dtype(self) -> np.dtype:
        """What halves are summed in, which gradients and weights of them may come in."""
        return np.dtype(np.float32) if self.wide and self.dtype in HALVES else self.dtype

    def arguments(self, maker: Maker) -> tuple[dict[str, Any], list[int]]:
        where, bounds = self.bags(maker)
        n_bags, items = len(bounds) - 1, bounds[-1]
        shape = (n_bags, items // max(n_bags, 1)) if self.form == "rows" else (items,)
        n_rows = self.rows_for(items)
        arguments = where | {
            "weight": maker.floats("table", (n_rows, self.cols)),
            "indices": maker.indices(shape, n_rows),
            "mode": self.mode.removeprefix("weighted "),
            "padding_idx": self.padding_idx(n_rows),
        }
        if self.mode == "weighted sum":
            arguments["per_sample_weights"] = maker.floats("weights", shape, self.wide_dtype)
        return arguments, bounds

    @property
    def scaled(self) -> bool:
        return self.function == "layer by frequency" and self.mode != "max"

    def check(self, guard: str = "none") -> None:
        maker = self.maker(guard)
        arguments, bounds = self.arguments(maker)
        gradient = maker.floats("gradient", (len(bounds) - 1, self.cols), self.wide_dtype)
        before = snapshot(arguments | {"gradient": gradient})
        if self.function.startswith("layer"):
            output, backward = layer_vjp(arguments, scale_grad_by_freq=self.scaled)
        else:
            output, backward = er.embedding_bag_vjp(**arguments)
        grads, expected = backward(gradient), BagTotals(bounds, gradient, arguments)
        self.check_grads(output, grads, expected, arguments)
        if self.function == "into":
            self.check_into(maker, backward, gradient, expected)
        assert snapshot(arguments | {"gradient": gradient}) == before

    def check_grads(
        self, output: np.ndarray, grads: Any, expected: BagTotals, arguments: dict[str, Any]
    ) -> None:
        assert output.dtype == grads.weight.values.dtype == self.dtype
        expected.output.assert_near(output)
        total, named = expected.of_table, expected.named
        assert_row_grad(grads.weight, named, by_frequency(total, named) if self.scaled else total)
        of_weights = grads.per_sample_weights
        if self.mode != "weighted sum":
            assert of_weights is None
            return
        assert of_weights.dtype == self.dtype
        assert of_weights.shape == arguments["indices"].shape
        expected.of_weights.map(lambda products: products.sum(axis=1)).assert_near(
            of_weights.ravel()
        )

    def check_into(self, maker: Maker, backward: Any, gradient: Any, expected: BagTotals) -> None:
        into = maker.floats("into", expected.table.shape)
        total = Total(into)
        total.add(..., expected.of_table.value)
        total.size += expected.of_table.size
        with writes_only(into):
            assert backward(gradient, into=into).weight is into
        total.assert_near(into)


BAG_ARRAYS = ("table", "indices", "bounds", "weights", "gradient", "into")
FORMS = ("offsets", "lengths", "rows", "all_offsets")
MODES = ("sum", "weighted sum", "mean", "max")

BAGS = st.builds(
    Bags,
    **fields(*BAG_ARRAYS),
    cols=st.integers(0, 70),
    lengths=st.lists(st.integers(0, 6), max_size=20),
    form=st.sampled_from(FORMS),
    mode=st.sampled_from(MODES),
    wide=st.booleans(),
    function=st.sampled_from(["embedding_bag_vjp", "into", "layer", "layer by frequency"]),
)

# --- rows ----------------------------------------------------------------------------------------


def row_totals(start: np.ndarray, rows: np.ndarray, updates: np.ndarray) -> Total:
    """Add the updates to the rows they belong to, one item at a time."""
    total, tail = Total(start), start.shape[1:]
    for row, update in zip(rows, updates.astype("f8").reshape(rows.size, *tail), strict=True):
        total.add(row, update)
    return total


@dataclass(frozen=True)
class Rows(Arguments):
    """A call of what adds up the gradients of rows that a gather gave."""

    shape: list[int]
    tail: list[int]
    updates_dtype: np.dtype
    spread: int
    function: str

    def check(self, guard: str = "none") -> None:
        maker, n_rows = self.maker(guard), self.rows_for(math.prod(self.shape))
        getattr(self, self.function)(maker, n_rows)

    def coalesce(self, maker: Maker, n_rows: int) -> None:
        known = self.padding is None
        indices = maker.indices((*self.shape,), n_rows, negative=known)
        updates = maker.floats("updates", (*self.shape, *self.tail))
        before = indices.tobytes(), updates.tobytes()
        grad = er.coalesce(indices, updates, num_embeddings=n_rows if known else None)
        assert (indices.tobytes(), updates.tobytes()) == before
        rows = row_numbers(indices, n_rows)
        assert grad.values.dtype == self.dtype
        assert_row_grad(grad, rows, row_totals(np.zeros((n_rows, *self.tail)), rows, updates))

    def scatter_add(self, maker: Maker, n_rows: int) -> None:
        indices = maker.indices((*self.shape,), n_rows)
        target = maker.floats("target", (n_rows, *self.tail))
        shape = (*self.shape, *self.tail)
        updates = maker.floats("updates", shape[self.spread :], self.updates_dtype)
        before = indices.tobytes(), updates.tobytes()
        each = np.broadcast_to(updates, shape)
        total = row_totals(target, row_numbers(indices, n_rows), each)
        with writes_only(target):
            assert er.scatter_add(target, indices, updates) is target
        assert (indices.tobytes(), updates.tobytes()) == before
        total.assert_near(target)

    def embedding(self, maker: Maker, n_rows: int) -> None:
        width, padding, scaled = math.prod(self.tail), self.padding_idx(n_rows), self.spread > 0
        weight = maker.floats("table", (n_rows, width))
        layer = er.Embedding.from_pretrained(weight, padding_idx=padding, scale_grad_by_freq=scaled)
        indices = maker.indices((*self.shape,), n_rows)
        output, backward = layer.vjp(indices)
        rows = row_numbers(indices, n_rows)
        expected = weight.astype(self.dtype)[rows].reshape(*self.shape, width)
        assert_same_bits(output, expected)
        gradient = maker.floats("updates", output.shape)
        before = gradient.tobytes()
        grad = backward(gradient)
        assert gradient.tobytes() == before
        kept = not_padding(rows, padding, n_rows)
        updates = gradient.reshape(rows.size, width)[kept]
        total = row_totals(np.zeros((n_rows, width)), rows[kept], updates)
        assert grad.values.dtype == self.dtype
        assert_row_grad(grad, rows[kept], by_frequency(total, rows[kept]) if scaled else total)


ROW_ARRAYS = ("table", "indices", "updates", "target")
FUNCTIONS = ("coalesce", "scatter_add", "embedding")

ROWS = st.builds(
    Rows,
    **fields(*ROW_ARRAYS),
    shape=st.lists(st.integers(0, 4), max_size=3),
    tail=st.lists(st.integers(0, 70), max_size=1) | st.lists(st.integers(0, 8), max_size=2),
    updates_dtype=st.sampled_from(DTYPES),
    spread=st.integers(0, 3),
    function=st.sampled_from(FUNCTIONS),
)

# --- each argument in each layout ----------------------------------------------------------------


def plain(*names: str, **more: Any) -> dict[str, Any]:
    """Return the fields of `Arguments` with nothing unusual, and those given."""
    common = {"n_rows": 11, "dtype": DTYPES[0], "index_dtype": "i8", "padding": None, "few": False}
    return common | {"seed": 1, "layouts": dict.fromkeys(names, "contiguous")} | more


PLAIN_BAGS = plain(*BAG_ARRAYS, cols=19, lengths=[3, 0, 1, 5], wide=False, function="into")
PLAIN_ROWS = plain(*ROW_ARRAYS, shape=[3, 4], tail=[19], updates_dtype=DTYPES[0], spread=0)
PLAIN = {
    **{f"bags {mode}": Bags(**PLAIN_BAGS, form="offsets", mode=mode) for mode in MODES},
    **{f"bags by {form}": Bags(**PLAIN_BAGS, form=form, mode="mean") for form in FORMS[1:]},
    **{f"rows {function}": Rows(**PLAIN_ROWS, function=function) for function in FUNCTIONS},
    "rows vector": Rows(**PLAIN_ROWS | {"shape": [12], "tail": []}, function="scatter_add"),
    "rows list": Rows(**PLAIN_ROWS | {"shape": [12]}, function="coalesce"),
}


@guards
@pytest.mark.parametrize("layout", VIEWS)
def test_each_layout_of_each_argument(backend: str, layout: str, guard: str) -> None:
    for call in PLAIN.values():
        for name in call.layouts:
            if layout in WRITEABLE_VIEWS or name not in WRITTEN:
                replace(call, layouts=call.layouts | {name: layout}).check(guard)


# --- any arguments at all ------------------------------------------------------------------------

CALLS = {"bags": BAGS, "rows": ROWS}

calls = pytest.mark.parametrize("calls", CALLS)


@calls
@given(data=st.data())
def test_definition(backend: str, calls: str, data: st.DataObject) -> None:
    data.draw(CALLS[calls]).check()


@calls
@guards
@given(data=st.data())
def test_stays_inside_its_arrays(native: str, calls: str, guard: str, data: st.DataObject) -> None:
    data.draw(CALLS[calls]).check(guard)
