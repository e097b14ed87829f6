"""The short way of plain arguments: taken where it should be, declined where it must be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import LAYOUTS, assert_same_bits, values

# Layouts that a kernel reads as they are.
PLAIN = {"contiguous", "read_only"}


def gather(core: Any, weight: Any, indices: Any) -> Any:
    return core.try_gather(weight, indices, None, "raise")


def gather_out(core: Any, weight: Any, indices: Any) -> Any:
    out = np.full((np.size(indices), *np.shape(weight)[1:]), 7, np.asarray(weight).dtype)
    taken = core.try_gather(weight, indices, out, "raise")
    assert taken is out or (taken is None and (out == 7).all())
    return taken


def scatter_add(core: Any, updates: Any, indices: Any) -> Any:
    target = np.ones((9, *np.shape(updates)[1:]), np.asarray(updates).dtype)
    taken = core.try_scatter_add(target, indices, updates)
    assert taken or (target == 1).all()
    return target if taken else None


def coalesce(core: Any, updates: Any, indices: Any) -> Any:
    taken = core.try_coalesce(indices, updates, 9)
    return None if taken is None else er.RowGrad(*taken).to_dense(9)


def embedding_bag(core: Any, weight: Any, indices: Any) -> Any:
    return core.try_embedding_bag(weight, False, indices, np.array([0, 4]), "mean")


# What each does with a (9, 3) array and nine indices; the same by the long way.
SHORT: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "gather": (gather, lambda a, i: er.gather(a.tolist(), i).astype(a.dtype)),
    "gather_out": (gather_out, lambda a, i: er.gather(a.tolist(), i).astype(a.dtype)),
    "scatter_add": (scatter_add, lambda a, i: er.scatter_add(np.ones_like(a), i.tolist(), a)),
    "coalesce": (
        coalesce,
        lambda a, i: er.coalesce(i.tolist(), a, num_embeddings=9).to_dense(9),
    ),
    "embedding_bag": (
        embedding_bag,
        lambda a, i: er.embedding_bag(a, i.tolist(), [0, 4], mode="mean"),
    ),
}
short = pytest.mark.parametrize("operation", SHORT)


@short
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("index_dtype", ["i4", "i8", "u2"])
def test_plain_arguments_are_taken(core: Any, operation: str, dtype: str, index_dtype: str) -> None:
    try_it, long_way = SHORT[operation]
    array, indices = values((9, 3), dtype), (np.arange(9) * 5 % 7).astype(index_dtype)
    assert_same_bits(try_it(core, array, indices), long_way(array, indices))


@short
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(core: Any, operation: str, layout: str) -> None:
    try_it, _ = SHORT[operation]
    array, indices = values((9, 3), "f4"), np.arange(9) * 5 % 7
    assert (try_it(core, LAYOUTS[layout](array), indices) is not None) == (layout in PLAIN)
    flat = {"fortran", "first_axes_exchanged", *PLAIN}  # of one axis, these change nothing
    assert (try_it(core, array, LAYOUTS[layout](indices)) is not None) == (layout in flat)


@short
@pytest.mark.parametrize(
    "indices",
    [
        [0] * 9,
        np.zeros(9),
        np.zeros(9, bool),
        np.full(9, 9),
        np.full(9, -10),
        None,
        np.zeros(9, "O"),
    ],
    ids=["list", "float", "bool", "past_the_end", "before_the_start", "none", "object"],
)
def test_other_indices_are_declined(core: Any, operation: str, indices: Any) -> None:
    assert SHORT[operation][0](core, values((9, 3), "f4"), indices) is None


@short
@pytest.mark.parametrize("dtype", ["O", "i4,f8", "S3", "M8[s]", ">f4"])
def test_other_dtypes_are_declined(core: Any, operation: str, dtype: str) -> None:
    array, indices = np.zeros((9, 3), dtype), np.arange(9)
    if operation == "gather_out":
        assert core.try_gather(array, indices, np.empty_like(array), "raise") is None
    elif operation == "scatter_add":
        assert not core.try_scatter_add(array.copy(), indices, array)
    else:
        assert SHORT[operation][0](core, array, indices) is None


def test_outputs_that_are_not_plain_are_declined(core: Any) -> None:
    table, ids = values((9, 3), "f4"), np.arange(4)
    fixed = np.zeros((4, 3), "f4")
    fixed.flags.writeable = False
    outputs = [np.zeros((4, 3)), np.zeros((3, 4), "f4"), np.zeros((3, 4), "f4").T, fixed]
    for out in [*outputs, table[1:5], table[:4], [[0.0] * 3] * 4]:
        assert core.try_gather(table, ids, out, "raise") is None
    for mode in ("wrap", "clip", "warp", None):
        assert core.try_gather(table, ids, None, mode) is None
    assert core.try_gather(table[:, 0].copy(), np.array(3), None, "raise") is None
    for target in (fixed, table[::2], table.astype("f8"), table.tolist()):
        assert not core.try_scatter_add(target, np.arange(3), np.ones((3, 3), "f4"))
    memory = values((40,), "f4")
    overlapping = memory[:20].reshape(5, 4), memory[8:20].reshape(3, 4)
    assert not core.try_scatter_add(overlapping[0], np.arange(3), overlapping[1])


@pytest.mark.parametrize("offsets", [[1], [0, 3, 2], [0, 5], [], [[0]], [0.0], None, "0"], ids=str)
def test_other_offsets_are_declined(core: Any, offsets: Any) -> None:
    bounds = np.array(offsets) if isinstance(offsets, list) else offsets
    table, ids = values((9, 3), "f4"), np.arange(4)
    assert core.try_embedding_bag(table, False, ids, bounds, "sum") is None
    assert core.try_embedding_bag(table, False, ids, np.array([0]), "max") is None


@pytest.mark.parametrize("size", [None, -1, 2**70, 9.0, "9"])
def test_other_table_sizes_are_declined(core: Any, size: Any) -> None:
    assert core.try_coalesce(np.arange(3), values((3, 2), "f4"), size) is None


def test_an_array_of_bytes_is_no_quantised_table(core: Any) -> None:
    with pytest.raises(TypeError, match=r"^weight must be float32, .*got uint8$"):
        er.embedding_bag(np.zeros((3, 12), "u1"), np.array([0]), np.array([0]))
