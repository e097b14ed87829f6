"""The recognisers: a call that needs no check is handed on as the check would have done it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import HALVES, LAYOUTS, values
from embedrnn import _check

# Layouts of a matrix that kernels read as they are, and of a vector of indices.
ROWS = set(LAYOUTS) - {"misaligned", "byte_swapped"}
FLAT = {"contiguous", "read_only", "fortran", "first_axes_exchanged"}
WHOLE_ROWS = {"contiguous", "read_only", "every_other_row", "rows_flipped", "broadcast"}


def same(given: Any, checked: Any) -> bool:
    """Whether a checked array is the given one, or a fresh one like it."""
    return bool(given.shape == checked.shape and given.dtype == checked.dtype)


def gather(core: Any, weight: Any, indices: Any) -> bool:
    rows = core.plain_gather(weight, indices, None, "raise")
    if rows is None:
        return False
    call = _check.gather(weight, indices, None, "raise")
    assert call.weight is weight
    assert call.indices is indices
    return call.storage is None and same(rows, call.out)


def gather_out(core: Any, weight: Any, indices: Any) -> bool:
    out = np.full((np.size(indices), *np.shape(weight)[1:]), 7, np.asarray(weight).dtype)
    if core.plain_gather(weight, indices, out, "clip") is None:
        return False
    call = _check.gather(weight, indices, out, "clip")
    return call.weight is weight and call.indices is indices and call.buffer is out


def scatter_add(core: Any, updates: Any, indices: Any) -> bool:
    target = np.ones((9, *np.shape(updates)[1:]), np.asarray(updates).dtype)
    if not core.plain_scatter_add(target, indices, updates):
        return False
    call = _check.scatter_add(target, indices, updates, False)
    assert call.indices is indices
    return np.shares_memory(call.updates, updates) and same(updates, call.updates)


def coalesce(core: Any, updates: Any, indices: Any) -> bool:
    storage = core.plain_coalesce(indices, updates, 9)
    if storage is None:
        return False
    call = _check.coalesce(indices, updates, 9, False)
    assert call.updates is updates
    return call.indices is indices and call.storage == storage


def plain_bag(core: Any, weight: Any, indices: Any, **options: Any) -> Any:
    given = {"offsets": None, "lengths": None, "mode": "sum", "per_sample_weights": None,
             "include_last_offset": False, "int8_rows": False}  # fmt: skip
    return core.plain_bag(weight, indices=indices, **{**given, **options})


def embedding_bag(core: Any, weight: Any, indices: Any) -> bool:
    plain = plain_bag(core, weight, indices, offsets=np.array([0, 4]), mode="mean")
    if plain is None:
        return False
    storage, offsets, out = plain
    call = _check.bag(weight, _check.bags(indices), np.array([0, 4]), "mean", None, False, False)
    assert call.weight is weight
    assert call.storage == storage
    assert offsets.tolist() == call.offsets.tolist()
    return same(out, call.out)


# Which calls are recognised, by the layout of the (9, 3) array that each is given.
PLAIN: dict[str, tuple[Callable[[Any, Any, Any], bool], set[str]]] = {
    "gather": (gather, ROWS),
    "gather_out": (gather_out, ROWS),
    "scatter_add": (scatter_add, ROWS),
    "coalesce": (coalesce, {"contiguous", "read_only"}),
    "embedding_bag": (embedding_bag, WHOLE_ROWS),
}
operations = pytest.mark.parametrize("operation", PLAIN)


@operations
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("index_dtype", ["i4", "i8", "u2"])
def test_plain_arguments(core: Any, operation: str, dtype: str, index_dtype: str) -> None:
    array, indices = values((9, 3), dtype), (np.arange(9) * 5 % 7).astype(index_dtype)
    assert PLAIN[operation][0](core, array, indices)


@operations
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(core: Any, operation: str, layout: str) -> None:
    recognised, layouts = PLAIN[operation]
    array, indices = values((9, 3), "f4"), np.arange(9) * 5 % 7
    assert recognised(core, LAYOUTS[layout](array), indices) == (layout in layouts)
    assert recognised(core, array, LAYOUTS[layout](indices)) == (layout in FLAT)


@operations
@pytest.mark.parametrize(
    "indices",
    [[0] * 9, np.zeros(9), np.zeros(9, bool), None, np.zeros(9, "O")],
    ids=["list", "float", "bool", "none", "object"],
)
def test_other_indices(core: Any, operation: str, indices: Any) -> None:
    assert not PLAIN[operation][0](core, values((9, 3), "f4"), indices)


@operations
@pytest.mark.parametrize("dtype", ["O", "i4,f8", "S3", "M8[s]", ">f4"])
def test_other_dtypes(core: Any, operation: str, dtype: str) -> None:
    assert not PLAIN[operation][0](core, np.zeros((9, 3), dtype), np.arange(9))


def test_outputs_that_are_not_plain(core: Any) -> None:
    table, ids = values((9, 3), "f4"), np.arange(4)
    fixed = np.zeros((4, 3), "f4")
    fixed.flags.writeable = False
    windows = np.lib.stride_tricks.sliding_window_view(np.zeros(6, "f4"), 3, writeable=True)
    outputs = [np.zeros((4, 3)), np.zeros((3, 4), "f4"), fixed, windows]
    for out in [*outputs, table[1:5], table[:4], [[0.0] * 3] * 4]:
        assert core.plain_gather(table, ids, out, "raise") is None
    for mode in ("warp", "", None, "strict"):
        assert core.plain_gather(table, ids, None, mode) is None
    assert core.plain_gather(table[:, 0], np.array(3), None, "raise") is None
    for target in (fixed, windows, table.astype("f8"), table.tolist()):
        assert not core.plain_scatter_add(target, np.arange(3), np.ones((3, 3), "f4"))
    memory = values((40,), "f4")
    overlapping = memory[:20].reshape(5, 4), memory[8:20].reshape(3, 4)
    assert not core.plain_scatter_add(overlapping[0], np.arange(3), overlapping[1])


def strided(memory: np.ndarray, data: st.DataObject) -> np.ndarray:
    """Return a matrix of any strides within a piece of memory."""
    shape = tuple(data.draw(st.integers(1, 4)) for _ in range(2))
    strides = tuple(data.draw(st.integers(-6, 6)) for _ in range(2))
    least = sum(min(0, (n - 1) * step) for n, step in zip(shape, strides, strict=True))
    start = data.draw(st.integers(-least, -least + 30))
    item = memory.itemsize
    return np.lib.stride_tricks.as_strided(
        memory[start:], shape, tuple(step * item for step in strides)
    )


@given(st.data())
def test_what_is_written_shares_memory_with_nothing(data: st.DataObject) -> None:
    core: Any = er._backend._core
    if core is None:
        pytest.skip("the compiled core is not built")
    memory = np.arange(100, dtype="f4")
    target, updates = strided(memory, data), strided(memory, data)
    if core.plain_scatter_add(target, np.zeros(len(updates), "i8"), updates):
        assert not np.shares_memory(target, updates)
        assert np.unique(target).size == target.size  # each element of the memory is another


@pytest.mark.parametrize("offsets", [[1], [0, 3, 2], [0, 5], [], [[0]], [0.0], None, "0"], ids=str)
def test_other_offsets(core: Any, offsets: Any) -> None:
    bounds = np.array(offsets) if isinstance(offsets, list) else offsets
    table, ids = values((9, 3), "f4"), np.arange(4)
    assert plain_bag(core, table, ids, offsets=bounds) is None
    assert plain_bag(core, table, ids, offsets=np.array([0]), mode="product") is None


BAGS: dict[str, dict[str, Any]] = {
    "offsets": {"offsets": np.array([0, 1])},
    "offsets of int32": {"offsets": np.array([0, 1], "i4")},
    "offsets with the last": {"offsets": np.array([0, 4]), "include_last_offset": True},
    "lengths": {"lengths": np.array([1, 0, 3])},
    "no bags": {"offsets": np.array([0]), "include_last_offset": True, "indices": np.arange(0)},
    "rows": {"indices": np.arange(4).reshape(2, 2)},
    "weights": {"offsets": np.array([0]), "per_sample_weights": np.ones(4, "f4")},
    "mean": {"offsets": np.array([0]), "mode": "mean"},
}


@pytest.mark.parametrize("bags", BAGS)
@pytest.mark.parametrize("dtype", ["f4", "f2", *HALVES], ids=str)
def test_plain_bags_are_those_of_the_check(core: Any, bags: str, dtype: Any) -> None:
    options = {"indices": np.arange(4), **BAGS[bags]}
    table, ids = values((9, 3), dtype), options.pop("indices")
    storage, offsets, out = plain_bag(core, table, ids, **options)
    read = {name: options.get(name) for name in ("offsets", "lengths", "per_sample_weights")}
    rest = {"mode": "sum", "padding_idx": None, "include_last_offset": False, "strict": False}
    rest |= options
    call = _check.bag(
        table, _check.bags(ids, **read), read["offsets"],
        **{name: value for name, value in rest.items() if name not in read},
    )  # fmt: skip
    assert storage == call.storage
    assert offsets.tolist() == call.offsets.tolist()
    # Of our own: another thread may write to the caller's once they are checked.
    for name in {"offsets", "lengths"} & options.keys():
        assert not np.shares_memory(offsets, options[name])
    assert same(out, call.out)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"offsets": np.array([0]), "lengths": np.array([4])},
        {"lengths": np.array([5, -1])},
        {"lengths": np.array([3])},
        {"lengths": np.array([2**62, 2**62, 2**62, 2**62, 4])},
        {"offsets": np.array([0, 3]), "include_last_offset": True},
        {"offsets": np.array([], "i8"), "include_last_offset": True},
        {"offsets": np.array([0]), "per_sample_weights": np.ones(4)},
        {"offsets": np.array([0]), "per_sample_weights": np.ones(3, "f4")},
        {"offsets": np.array([0]), "per_sample_weights": np.ones(4, "f4"), "mode": "mean"},
        {"offsets": np.array([0]), "per_sample_weights": [1.0] * 4},
    ],
    ids=repr,
)
def test_other_bags(core: Any, options: dict[str, Any]) -> None:
    assert plain_bag(core, values((9, 3), "f4"), np.arange(4), **options) is None


@pytest.mark.parametrize("size", [None, -1, 2**70, 9.0, "9"])
def test_other_table_sizes(core: Any, size: Any) -> None:
    assert core.plain_coalesce(np.arange(3), values((3, 2), "f4"), size) is None


def test_an_array_of_bytes_is_no_quantised_table(core: Any) -> None:
    sums = er.embedding_bag(np.ones((3, 12), "u1"), np.array([0, 1]), np.array([0]))
    assert (sums.dtype, sums.tolist()) == (np.uint8, [[2] * 12])


def test_int8_rows(core: Any) -> None:
    table = er.quantize_rows(values((9, 3), "f4"))
    options = {"offsets": np.array([0, 1]), "mode": "max", "int8_rows": True}
    storage, offsets, out = plain_bag(core, table.rows, np.arange(4), **options)
    assert (storage, offsets.tolist(), out.shape) == ("int8", [0, 1, 4], (2, 3))
    assert out.dtype == np.float32
