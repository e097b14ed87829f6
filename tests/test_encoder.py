"""Encoders: the bits of an embedding and of the layer above it, whatever the ids come in."""

import copy
import json
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import INT_DTYPES, LAYOUTS, allocates_less_than, assert_same_bits, flat, guarded
from embedrnn import _backend, _npz
from embedrnn._cells import CELLS
from embedrnn._sequences import Pool, Rows, Tokens
from encoders import (
    FORMS,
    HALVES,
    KINDS,
    LENGTHS,
    N_IDS,
    PADDED,
    PATHS,
    POOLS,
    SHARED,
    STACKS,
    TABLES,
    THREADS,
    Batch,
    assert_agree,
    assert_near,
    drawn,
    each_kind,
    each_stack,
    each_table,
    force,
    make,
    of_parts,
    pooled,
    shared,
    state_of,
)

# Beside output and states: outputs alone are what most callers drop.
OPTIONS: list[dict[str, Any]] = [{}, {"output": False}, *({"pool": pool} for pool in POOLS)]


def assert_called(
    backend: str, encoder: Any, batch: Batch, expected: list[np.ndarray], **call: Any
) -> None:
    """Check what a call over padded ids gives of outputs, pooled or not, against all outputs."""
    for options in OPTIONS:
        output, *states = flat(encoder(batch.garbage, batch.lengths, **call, **options))
        assert_agree(backend, states, expected[1:])
        if options.get("output") is False:
            assert output is None
        elif "pool" in options:
            assert_pooled(output, batch, expected, options["pool"])
        else:
            assert_agree(backend, [output], expected[:1])


def assert_pooled(actual: np.ndarray, batch: Batch, expected: list[np.ndarray], pool: str) -> None:
    """Check pooled vectors; a mean is summed in the order of the walk."""
    assert_near(actual, pooled(expected[0], batch, expected[1:], pool))


# --- the bits of the parts -----------------------------------------------------------------------


@each_kind
@each_stack
@pytest.mark.parametrize("path", PATHS)
def test_a_call_has_the_bits_of_its_parts(
    backend: str,
    dtype: Any,
    kind: str,
    num_layers: int,
    bidirectional: bool,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, batch = make(kind, num_layers, bidirectional, dtype=dtype), drawn()
    force(monkeypatch, encoder, path)
    for state in (None, state_of(encoder, 5)):
        expected = of_parts(encoder, batch.ids, batch.lengths, state)
        assert_called(backend, encoder, batch, expected, state=state)
        assert encoder.last_run() == (16, len(set(batch.flat)), path)


@each_table
@each_kind
@pytest.mark.parametrize("path", PATHS)
def test_every_table(
    backend: str, kind: str, table: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, dtype = TABLES[table]
    encoder, batch = make(kind, 1, True, table=stored, dtype=dtype), drawn()
    force(monkeypatch, encoder, path)
    assert_called(backend, encoder, batch, of_parts(encoder, batch.ids, batch.lengths))


@pytest.mark.parametrize("table", ["float32", "float16"])
@pytest.mark.parametrize("layout", ["every_other_row", "rows_flipped", "misaligned", "read_only"])
def test_tables_that_are_somebody_elses(backend: str, table: str, layout: str) -> None:
    rows = LAYOUTS[layout](np.random.default_rng(1).standard_normal((11, 10)).astype(table))
    encoder = er.Encoder(er.Embedding.from_pretrained(rows), er.GRU(10, 9, rng=0))
    batch = drawn()
    expected = of_parts(encoder, batch.ids, batch.lengths)
    assert_agree(backend, flat(encoder(batch.ids, batch.lengths)), expected)


@each_stack
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_ids(backend: str, num_layers: int, bidirectional: bool, form: str) -> None:
    encoder, batch = make("gru", num_layers, bidirectional, padding_idx=0), drawn()
    state = state_of(encoder, 5)
    output, *states = of_parts(encoder, batch.ids, batch.lengths, state)
    ids, options = FORMS[form](batch)
    expected = output if form in PADDED else output[batch.valid]
    assert_agree(backend, flat(encoder(ids, state=state, **options)), [expected, *states])
    for pool in POOLS:
        vectors, *last = flat(encoder(ids, state=state, pool=pool, **options))
        assert_pooled(vectors, batch, [output, *states], pool)
        assert_agree(backend, last, states)


@each_kind
@each_stack
def test_one_sequence_alone(backend: str, kind: str, num_layers: int, bidirectional: bool) -> None:
    encoder, ids = make(kind, num_layers, bidirectional, padding_idx=0), np.array([3, 1, 2, 4, 1])
    state = state_of(encoder, 1)
    alone = flat((0, state))[1:]
    alone = [part[:, 0] for part in alone]
    output, *states = of_parts(encoder, ids[None], None, state)
    given_state = tuple(alone) if len(alone) > 1 else alone[0]
    expected = [output[0], *(part[:, 0] for part in states)]
    for form in (ids, ids.tolist(), ids.astype("u2")):
        assert_agree(backend, flat(encoder(form, state=given_state)), expected)
    for pool in POOLS:
        vector, *last = flat(encoder(ids, state=given_state, pool=pool))
        one = Batch(ids[None], np.array([5]))
        assert_pooled(vector[None], one, [output, *states], pool)
        assert_agree(backend, last, expected[1:])
    nothing, *last = flat(encoder(ids, state=given_state, output=False))
    assert nothing is None
    assert_agree(backend, last, expected[1:])


def test_lists_are_ragged_whether_they_are_equally_long_or_not(backend: str) -> None:
    encoder = make("gru", padding_idx=0)
    assert encoder([[3, 1], [4, 1]])[0].shape == (4, 9)
    assert encoder([[3, 1], [4]])[0].shape == (3, 9)
    with pytest.raises(ValueError, match=r"^row 1 of ids has padding, 0, at step 1: ragged "):
        encoder([[3, 1], [4, 0]])
    assert encoder(np.array([[3, 1], [4, 0]]))[0].shape == (2, 2, 9)
    assert encoder([[3, 1], [4, 0]], [2, 1])[0].shape == (2, 2, 9)
    assert encoder([[3, 1], [4, 0]], mask=[[True, True], [True, False]])[0].shape == (2, 2, 9)


@pytest.mark.parametrize("path", [*PATHS, "frozen"])
@pytest.mark.parametrize("work", SHARED)
def test_threads_do_not_show(
    native: str, path: str, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, batch = shared(work)
    encoder, pool = make("lstm", 1, True, sizes=sizes), "max" if path == "steps" else "mean"
    er.set_num_threads(1)
    expected = of_parts(encoder, batch.ids, batch.lengths)
    vectors = encoder(batch.ids, batch.lengths, pool=pool)[0]
    force(monkeypatch, encoder, path)
    for threads in THREADS:
        er.set_num_threads(threads)
        model = encoder.freeze() if path == "frozen" else encoder
        found = flat(model(batch.ids, batch.lengths))
        for actual, wanted in zip(found, expected, strict=True):
            assert_same_bits(actual, wanted)
        assert_same_bits(model(batch.ids, batch.lengths, pool=pool)[0], vectors)


def test_both_paths_pool_the_same_bits(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, batch = make("gru", 2, True), drawn()
    found = {}
    for path in PATHS:
        force(monkeypatch, encoder, path)
        found[path] = [encoder(batch.ids, batch.lengths, pool=pool)[0] for pool in POOLS]
    for one, other in zip(*found.values(), strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("distinct", [47, 48, 49, 97])
def test_products_are_made_some_rows_at_a_time(
    native: str, distinct: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make("lstm", sizes=(100, 17, 33), table="float16")
    ids = np.random.default_rng(3).permutation(np.tile(np.arange(distinct), 3)).reshape(3, -1)
    expected = of_parts(encoder, ids)
    for path in PATHS:
        force(monkeypatch, encoder, path)
        for actual, wanted in zip(flat(encoder(ids)), expected, strict=True):
            assert_same_bits(actual, wanted)
    for actual, wanted in zip(flat(encoder.freeze()(ids)), expected, strict=True):
        assert_same_bits(actual, wanted)


# --- the cost rule -------------------------------------------------------------------------------


def run_of(encoder: Any, steps: int, tokens: int) -> Any:
    """Return the report on so many steps of so many distinct ids."""
    encoder(np.arange(steps) % tokens)
    return encoder.last_run()


def test_distinct_ids_are_multiplied_once_where_that_pays(native: str) -> None:
    # A product that is read again costs as much as 8 of its 16 multiplications.
    encoder = make("gru", sizes=(100, 16, 9))
    assert encoder.last_run() is None
    assert run_of(encoder, 40, 19) == (40, 19, "distinct")
    assert run_of(encoder, 40, 20) == (40, 20, "steps")
    assert run_of(encoder, 1, 1) == (1, 1, "steps")
    narrow = make("gru", sizes=(100, 8, 9))
    assert run_of(narrow, 90, 1).path == "steps"
    wide = make("gru", sizes=(100, 800, 9))
    assert run_of(wide, 90, 90).path == "steps"
    assert run_of(wide, 90, 89).path == "distinct"


def test_products_of_too_many_ids_are_not_kept(core: Any) -> None:
    cell = core.pack("rnn_tanh", np.zeros((4096, 64), "f4"), np.zeros((4096, 4096), "f4"), None,
                     None)  # fmt: skip
    most = (1 << 28) // (4 * 4096)
    assert cell.pays_distinct(10 * most, most)
    assert not cell.pays_distinct(10 * most, most + 1)


@pytest.mark.specification
def test_the_specification_has_a_rule_of_its_own() -> None:
    with er.use_backend("numpy"):
        encoder = make("gru", sizes=(100, 16, 9))
        assert run_of(encoder, 40, 20) == (40, 20, "distinct")
        assert run_of(encoder, 40, 21) == (40, 21, "steps")


def test_the_last_run_is_that_of_any_call(backend: str) -> None:
    encoder = make("gru", padding_idx=0)
    encoder(np.array([[3, 1, 4, 0], [1, 0, 0, 0]]), pool="max")
    assert encoder.last_run()[:2] == (4, 3)
    encoder.step([1, 1, 1, 2])
    assert encoder.last_run()[:2] == (4, 2)
    encoder.vjp(np.array([[3, 3, 0]]))
    assert encoder.last_run()[:2] == (2, 1)
    with pytest.raises(IndexError):
        encoder([[99]])
    assert encoder.last_run()[:2] == (2, 1)
    frozen = encoder.freeze()
    assert frozen.last_run() is None
    frozen([[3, 1], [1]])
    assert frozen.last_run() == (3, 2, "frozen")
    encoder([[], []])
    assert encoder.last_run()[:2] == (0, 0)


# --- masks and padding ---------------------------------------------------------------------------

HOLES = np.random.default_rng(6).random((6, 8)) < 0.6
HOLES[0], HOLES[1], HOLES[2] = False, True, np.arange(8) > 3


def masked_parts(
    encoder: Any, ids: np.ndarray, mask: np.ndarray, state: Any, fill: str
) -> list[np.ndarray]:
    """Return what the parts make of each row's valid ids, spread out by the definition."""
    lists = [row[valid] for row, valid in zip(ids, mask, strict=True)]
    counts = mask.sum(axis=1)
    dense = np.zeros((len(ids), max(counts)), int)
    for b, row in enumerate(lists):
        dense[b, : len(row)] = row
    packed, *states = of_parts(encoder, dense, counts, state)
    output = np.zeros((*ids.shape, packed.shape[2]), packed.dtype)
    for b in range(len(ids)):
        seen = 0
        for t in range(ids.shape[1]):
            seen += mask[b, t]
            if mask[b, t] or (fill == "repeat" and seen):
                output[b, t] = packed[b, seen - 1]
    return [output, *states]


@each_kind
@each_stack
@pytest.mark.parametrize("fill", ["zero", "repeat"])
def test_masked_steps_hold_the_state(
    backend: str, kind: str, num_layers: int, bidirectional: bool, fill: str
) -> None:
    encoder = make(kind, num_layers, bidirectional, padding_idx=0)
    ids = np.random.default_rng(5).integers(1, N_IDS, HOLES.shape)
    garbage, state = np.where(HOLES, ids, -(10**6)), state_of(encoder, 6)
    expected = masked_parts(encoder, ids, HOLES, state, fill)
    found = flat(encoder(garbage, state=state, mask=HOLES, padding_fill=fill))
    assert_agree(backend, found, expected)
    x = encoder.embedding(ids)
    x[~HOLES] = np.nan
    layer = encoder.recurrent(x, state=state, mask=HOLES, padding_fill=fill)
    assert_agree(backend, flat(layer), expected)
    lists = [row[valid] for row, valid in zip(ids, HOLES, strict=True)]
    for pool in POOLS:
        ours, *states = flat(encoder(garbage, state=state, mask=HOLES, pool=pool))
        listed, *others = flat(encoder(lists, state=state, pool=pool))
        assert_agree(backend, [ours, *states], [listed, *others])


@each_stack
def test_padded_outputs_may_repeat(backend: str, num_layers: int, bidirectional: bool) -> None:
    encoder, batch = make("lstm", num_layers, bidirectional, padding_idx=0), drawn()
    mask = {"mask": batch.valid}
    expected = flat(encoder(batch.ids, padding_fill="repeat", **mask))
    for options in ({}, {"lengths": batch.lengths}):
        assert_agree(backend, flat(encoder(batch.ids, padding_fill="repeat", **options)), expected)
        assert_agree(backend, flat(encoder.freeze()(batch.ids, padding_fill="repeat", **options)),
                     expected)  # fmt: skip
    for b, n in enumerate(LENGTHS):
        behind = expected[0][b, n:]
        assert_same_bits(behind, np.broadcast_to(expected[0][b, n - 1] * (n > 0), behind.shape))


def test_ids_that_mean_padding_in_any_way(backend: str) -> None:
    encoder = make("gru", padding_idx=-1)  # which is the last row
    assert encoder.embedding.padding_idx == 10
    expected = flat(encoder([[3, 1, 4], [5], []], pool="mean"))
    for ids in ([[3, 1, 4], [5, 10, 10], [10, 10, 10]], [[3, 1, 4], [5, -1, -1], [-1, 10, -1]]):
        assert_agree(backend, flat(encoder(np.array(ids), pool="mean")), expected)
    strict = make("gru", padding_idx=-1, strict=True)
    assert_agree(backend, flat(strict(np.array(ids_of_padding(10)), pool="mean")), expected)
    with pytest.raises(IndexError, match=r"^index -1 at position \(1, 1\) is out of range"):
        strict(np.array(ids_of_padding(-1)))


def ids_of_padding(padding: int) -> list[list[int]]:
    return [[3, 1, 4], [5, padding, padding]] + [[padding] * 3] * (padding > 0)


MISPLACED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "inside": ([[3, 1, 4], [3, 0, 4]], {},
               "row 1 of ids has padding, 0, at step 1 and other ids behind it: give lengths, or "
               "mask=ids != 0 to leave such steps out"),
    "left": ([[0, 3, 4], [3, 1, 4]], {},
             "row 0 of ids begins with padding, 0: pad on the right, or give mask=ids != 0 in the "
             "place of lengths"),
    "left_with_lengths": ([[3, 1, 4], [0, 0, 4]], {"lengths": [3, 3]},
                          "row 1 of ids begins with padding, 0: pad on the right, or give "),
    "left_from_the_end": ([[3, 1, 4], [-11, 3, 4]], {}, "row 1 of ids begins with padding, 0: "),
    "the_first_such_row": ([[1, 0, 4, 4], [0, 3, 4, 0]], {}, "row 0 of ids has padding, 0, at "),
}  # fmt: skip


@pytest.mark.parametrize("how", MISPLACED)
def test_padding_in_other_places_is_refused(backend: str, how: str) -> None:
    ids, options, message = MISPLACED[how]
    encoder = make("gru", padding_idx=0)
    for model in (encoder, encoder.freeze()):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            model(np.array(ids), **options)


def test_padding_where_lengths_say_that_it_is_none(backend: str) -> None:
    encoder = make("gru", padding_idx=0)
    for ids, lengths in (([[3, 0, 4]], [3]), ([[0, 0, 0]], [2]), ([[0, 5, 5]], [0])):
        expected = of_parts(encoder, np.array(ids), lengths)
        assert_agree(backend, flat(encoder(np.array(ids), lengths)), expected)


# --- pooled vectors ------------------------------------------------------------------------------


def test_pools_by_hand(backend: str, dtype: Any) -> None:
    # Sums of what came: 1, 3 and 6 of three ids that stand for 1, 2 and 3.
    embedding = er.Embedding.from_pretrained(np.arange(4, dtype=dtype)[:, None])
    layer = er.RNN(1, 1, nonlinearity="relu", dtype=dtype, bidirectional=True, bias=False)
    layer.load_state_dict({name: np.ones((1, 1), dtype) for name in layer.state_dict()})
    encoder, ids = er.Encoder(embedding, layer), [[1, 2, 3], [], [2]]
    expected = {"mean": [[10 / 3, 14 / 3], [0, 0], [2, 2]], "max": [[6, 6], [0, 0], [2, 2]],
                "last": [[6, 6], [0, 0], [2, 2]]}  # fmt: skip
    for pool in POOLS:
        output, states = encoder(ids, pool=pool)
        np.testing.assert_allclose(output, expected[pool], rtol=1e-6)
        assert output.dtype == dtype
        assert states.ravel().tolist() == [6, 0, 2, 6, 0, 2]


@each_kind
def test_not_a_number_is_pooled(backend: str, kind: str) -> None:
    table = np.random.default_rng(1).standard_normal((11, 10)).astype("f4")
    table[7] = np.nan
    encoder = er.Encoder(er.Embedding.from_pretrained(table), make(kind, 1, True).recurrent)
    rows = [[3, 1, 7, 4], [3, 1, 4], [7], []]
    for pool in POOLS:
        for output, _ in (encoder(rows, pool=pool), encoder.freeze()(rows, pool=pool)):
            assert np.isnan(output[[0, 2]]).all()
            assert np.isfinite(output[[1, 3]]).all()


def test_the_greatest_may_be_negative(backend: str) -> None:
    encoder = make("rnn_tanh")
    encoder.recurrent.update({"bias_ih_l0": np.full(9, -30, np.float32)})
    output, _ = encoder([[1, 2], [], [3]], pool="max")
    assert output.tolist() == [[-1] * 9, [0] * 9, [-1] * 9]


def test_a_row_without_ids_has_the_state_that_was_given(backend: str) -> None:
    encoder = make("lstm", 2, True)
    h_0, c_0 = state_of(encoder, 3)
    output, (h_n, c_n) = encoder([[], [3], []], state=(h_0, c_0), pool="last")
    for b in (0, 2):
        assert_same_bits(h_n[:, b], h_0[:, b])
        assert_same_bits(c_n[:, b], c_0[:, b])
        assert_same_bits(output[b], h_0[2:, b].ravel())
    for pool in ("mean", "max"):
        assert not encoder([[], [3], []], state=(h_0, c_0), pool=pool)[0][[0, 2]].any()


# --- any ids at all ------------------------------------------------------------------------------


@given(
    kind=st.sampled_from(sorted(KINDS)),
    stack=st.sampled_from(STACKS),
    table=st.sampled_from(sorted(TABLES)),
    sizes=st.tuples(st.integers(1, 12), st.integers(0, 20), st.integers(1, 20)),
    rows=st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=6), max_size=6),
    form=st.sampled_from(["lists", "offsets", "lengths", "mask"]),
    path=st.sampled_from([*PATHS, None, "frozen"]),
    bias=st.booleans(),
    data=st.data(),
)
def test_any_ids(
    backend: str,
    kind: str,
    stack: tuple[int, bool],
    table: str,
    sizes: tuple[int, int, int],
    rows: list[list[int]],
    form: str,
    path: str | None,
    bias: bool,
    data: st.DataObject,
) -> None:
    stored, dtype = TABLES[table]
    encoder = make(kind, *stack, sizes=sizes, table=stored, dtype=dtype, layer={"bias": bias})
    n_ids = sizes[0]
    lists = [np.array([i % (2 * n_ids) - n_ids for i in row], int) for row in rows]
    lengths = np.array([len(row) for row in lists], int)
    time = max(lengths, default=0) + data.draw(st.integers(0, 2))
    ids, dense = np.full((len(rows), time), 10**6), np.zeros((len(rows), time), int)
    mask = np.zeros((len(rows), time), bool)
    for b, row in enumerate(lists):
        where = np.arange(time)
        if form == "mask":
            where = np.array(sorted(data.draw(st.permutations(range(time)))[: len(row)]), int)
        ids[b, where[: len(row)]], mask[b, where[: len(row)]] = row, True
        dense[b, : len(row)] = row
    output, *states = of_parts(encoder, dense, lengths)
    calls: dict[str, tuple[Any, dict[str, Any]]] = {
        "lists": (lists, {}),
        "offsets": (np.concatenate([np.zeros(0, int), *lists]),
                    {"offsets": np.concatenate(([0], lengths.cumsum()))}),
        "lengths": (ids, {"lengths": lengths}),
        "mask": (ids, {"mask": mask}),
    }  # fmt: skip
    given_ids, options = calls[form]
    if not rows and form == "lists":
        return  # [] is one sequence without ids
    inside = np.arange(time) < lengths[:, None]
    with pytest.MonkeyPatch.context() as patch:
        model = encoder.freeze() if path == "frozen" else encoder
        if path in PATHS:
            force(patch, encoder, path)
        found, *last = flat(model(given_ids, **options))
        assert_agree(backend, last, states)
        where = mask if form == "mask" else inside
        steps = found if form in ("lists", "offsets") else found[where]
        assert_agree(backend, [steps], [output[inside]])
        if form in ("lengths", "mask"):
            assert found.shape == (len(rows), time, output.shape[2])
            assert np.count_nonzero(found) == np.count_nonzero(steps)
        for pool in POOLS:
            vectors, _ = model(given_ids, pool=pool, **options)
            assert_pooled(vectors, Batch(dense, lengths), [output, *states], pool)


SHAPES: dict[str, tuple[Any, tuple[int, int, int]]] = {
    "equal": (np.full((3, 4), 2), (5, 4, 3)),
    "distinct": (np.arange(12).reshape(3, 4), (12, 4, 3)),
    "no_rows": (np.zeros((0, 4), int), (5, 4, 3)),
    "no_steps": (np.zeros((3, 0), int), (5, 4, 3)),
    "nothing": (np.zeros((0, 0), int), (5, 4, 3)),
    "one_id": (np.zeros((3, 4), int), (1, 4, 3)),
    "no_ids": (np.zeros((3, 0), int), (0, 4, 3)),
    "no_features": (np.arange(12).reshape(3, 4) % 5, (5, 0, 3)),
    "one_feature": (np.arange(12).reshape(3, 4) % 5, (5, 1, 3)),
    "one_unit": (np.arange(12).reshape(3, 4) % 5, (5, 4, 1)),
    "one_of_all": (np.zeros((1, 1), int), (1, 1, 1)),
    "negative": (np.arange(12).reshape(3, 4) % 5 - 5, (5, 4, 3)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_odd_shapes(backend: str, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, sizes = SHAPES[shape]
    for kind, stack in (("lstm", (1, True)), ("gru_reset_before", (2, False))):
        encoder = make(kind, *stack, sizes=sizes)
        expected = of_parts(encoder, ids)
        assert_agree(backend, flat(encoder.freeze()(ids)), expected)
        for path in PATHS:
            force(monkeypatch, encoder, path)
            assert_agree(backend, flat(encoder(ids)), expected)
            for pool in POOLS:
                batch = Batch(ids, np.full(*ids.shape))
                assert_pooled(encoder(ids, pool=pool)[0], batch, expected, pool)


@pytest.mark.parametrize("dtype", INT_DTYPES)
def test_every_integer_dtype(backend: str, dtype: str) -> None:
    encoder, ids = make("gru", sizes=(200, 10, 9)), np.arange(60).reshape(3, 20) * 2
    if dtype[0] == "i":
        ids -= 60
    expected = of_parts(encoder, ids)
    assert_agree(backend, flat(encoder(ids.astype(dtype))), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ids_of_every_layout(backend: str, layout: str) -> None:
    encoder, batch = make("gru", padding_idx=0), drawn()
    ids, lengths = LAYOUTS[layout](batch.garbage), LAYOUTS[layout](batch.lengths)
    if layout == "broadcast":
        lengths = np.full(5, 3)
    plain = Batch(np.ascontiguousarray(ids).astype(int), np.asarray(lengths).astype(int))
    expected = of_parts(encoder, np.where(plain.valid, plain.ids, 0), plain.lengths)
    assert_agree(backend, flat(encoder(ids, lengths)), expected)
    mask = LAYOUTS[layout](plain.valid) if layout != "byte_swapped" else plain.valid
    if layout != "broadcast":
        assert_agree(backend, flat(encoder(ids, mask=mask)), expected)


# --- refused ids ---------------------------------------------------------------------------------

OUT_OF_RANGE = "is out of range for weight with 11 rows: expected"
BAD_IDS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "padded": ([[1, 2, 3], [4, 11, 6]], {"lengths": [3, 2]}, "index 11 at position (1, 1)"),
    "behind_an_empty_row": ([[9, 9], [4, 11]], {"lengths": [0, 2]}, "index 11 at position (1, 1)"),
    "whole": (np.array([[1, 2, 3], [4, -12, 6]]), {}, "index -12 at position (1, 1)"),
    "inferred": (np.array([[1, 2, 3], [11, 0, 0]]), {}, "index 11 at position (1, 0)"),
    "offsets": ([1, 2, 3, 11], {"offsets": [0, 3, 4]}, "index 11 at position 3"),
    "lists": ([[1, 2], [], [4, 5, -99]], {}, "index -99 at position (2, 2)"),
    "equal_lists": ([[1, 2], [4, 55]], {}, "index 55 at position (1, 1)"),
    "arrays": ([np.array([1, 2]), np.array([4, 2**62])], {}, f"index {2**62} at position (1, 1)"),
    "alone": ([1, 2, 77], {}, "index 77 at position 2"),
    "mask": (np.array([[99, 99, 1], [99, 4, 88]]),
             {"mask": np.array([[False, False, True], [False, True, True]])},
             "index 88 at position (1, 2)"),
    "first_of_two": ([[1, 2], [4, 55, 66], [77]], {}, "index 55 at position (1, 1)"),
    "uint64": (np.array([[1, 2**64 - 1]], np.uint64), {}, f"index {2**64 - 1} at position (0, 1)"),
}  # fmt: skip


@pytest.mark.parametrize("how", BAD_IDS)
def test_an_id_out_of_range_is_named_by_its_place(backend: str, how: str) -> None:
    ids, options, message = BAD_IDS[how]
    encoder = make("gru", padding_idx=0)
    for call in (encoder, encoder.freeze(), encoder.vjp):
        with pytest.raises(IndexError, match=f"^{re.escape(f'{message} {OUT_OF_RANGE} -11 <= ')}"):
            call(ids, **options)


def test_a_strict_embedding_refuses_negative_ids(backend: str) -> None:
    encoder = make("gru", strict=True)
    for model in (encoder, encoder.freeze()):
        for ids, place in ((np.array([[1, 2], [3, -1]]), "(1, 1)"), ([1, -2], "1"),
                           ([[1], [2, -1]], "(1, 1)")):  # fmt: skip
            words = re.escape(f"at position {place} {OUT_OF_RANGE} 0 <= ")
            with pytest.raises(IndexError, match=rf"^index -\d {words}"):
                model(ids)
        with pytest.raises(IndexError, match=r"^index -1 at position 1 is .* 0 <= index < 11$"):
            model.step([1, -1])
        with pytest.raises(IndexError, match=r"^index -3 is out of range .* 0 <= index < 11$"):
            model.step(-3)
        assert model([[1, 2], [3]])[0].shape == (3, 9)


# --- steps ---------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("num_layers", [1, 2])
@each_table
def test_steps_have_the_bits_of_a_call(
    backend: str, kind: str, num_layers: int, table: str
) -> None:
    stored, dtype = TABLES[table]
    encoder = make(kind, num_layers, table=stored, dtype=dtype)
    ids = np.random.default_rng(0).integers(-N_IDS, N_IDS, (4, 5))
    expected, *last = flat(encoder(ids))
    for model in (encoder, encoder.freeze()):
        state, alone = None, None
        for t in range(5):
            output, state = model.step(ids[:, t].astype("i2"), state)
            assert_agree(backend, [output], [expected[:, t]])
            one, alone = model.step(int(ids[2, t]), alone)
            assert_agree(backend, [one], [expected[2, t]])
        assert_agree(backend, flat((0, state))[1:], last)
        assert_agree(backend, flat((0, alone))[1:], [part[:, 2] for part in last])
        nothing, state = model.step([])
        assert nothing.shape == (0, 9)
        assert flat((0, state))[1].shape == (num_layers, 0, 9)


def test_a_step_leaves_the_state_that_it_was_given(backend: str) -> None:
    encoder = make("lstm", 2)
    state = state_of(encoder, 3)
    before = [part.copy() for part in state]
    encoder.step([1, 2, 3], state)
    for part, was in zip(state, before, strict=True):
        assert_same_bits(part, was)


# --- streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [None, *POOLS])
@pytest.mark.parametrize("batch_tokens", [1, 20, 10_000])
def test_a_stream_has_the_results_of_single_calls(
    backend: str, pool: Any, batch_tokens: int
) -> None:
    encoder = make("gru", 1, True, padding_idx=0)
    rng = np.random.default_rng(4)
    rows = [rng.integers(1, 11, n) - 11 * rng.integers(0, 2, n) for n in rng.integers(0, 9, 30)]
    for model in (encoder, encoder.freeze()):
        found = list(model.encode(iter(rows), batch_tokens=batch_tokens, pool=pool))
        assert_agree(backend, found, [model(row, pool=pool)[0] for row in rows])


def test_a_stream_that_ends_in_an_error(backend: str) -> None:
    encoder = make("gru")

    def items() -> Iterator[list[int]]:
        yield [1, 2]
        yield [3]
        raise OSError("the disk is gone")

    stream = encoder.encode(items(), pool="max")
    assert [next(stream).shape for _ in range(2)] == [(9,)] * 2
    with pytest.raises(OSError, match=r"^the disk is gone$"):
        next(stream)

    stream = encoder.encode([[1, 2], [3], [4, 99], [5]])
    assert [len(next(stream)) for _ in range(2)] == [2, 1]
    with pytest.raises(IndexError, match=r"^index 99 at position .* is out of range") as caught:
        next(stream)
    assert caught.value.__notes__ == ["It comes from sequences[2], alone in a batch."]


def test_a_stream_is_read_as_it_is_needed(backend: str) -> None:
    encoder, read = make("gru"), []

    def endless() -> Iterator[list[int]]:
        while True:
            read.append(1)
            yield [1, 2, 3]

    stream = encoder.encode(endless(), batch_tokens=6, pool="last")
    assert not read
    next(stream)
    assert len(read) < 100
    stream.close()


# --- frozen encoders -----------------------------------------------------------------------------


@each_kind
@each_stack
@each_table
def test_frozen_has_the_bits_of_the_encoder(
    backend: str, kind: str, num_layers: int, bidirectional: bool, table: str
) -> None:
    stored, dtype = TABLES[table]
    batch = drawn()
    for bias in (True, False):
        encoder = make(kind, num_layers, bidirectional, table=stored, dtype=dtype,
                       layer={"bias": bias})  # fmt: skip
        state = state_of(encoder, 5)
        expected = flat(encoder(batch.ids, batch.lengths, state))
        assert_called(backend, encoder.freeze(), batch, expected, state=state)


def rounded_twin(encoder: Any, half: Any) -> Any:
    """Return an encoder whose embedding has the rounded products, read by an identity.

    What the layer then adds to a product of the recurrence is what is not in the products.
    """
    layer, cell = encoder.recurrent, CELLS[encoder.recurrent._stack.cell.name]
    gates, hidden = len(cell.gates), layer.hidden_size
    width = gates * hidden
    parameters = {name: array.copy() for name, array in layer.state_dict().items()}
    outer = width - cell.inner * hidden
    x = encoder.embedding.weight.astype("f8")
    products = x @ parameters["weight_ih_l0"].T.astype("f8") + parameters["bias_ih_l0"]
    products[:, :outer] += parameters["bias_hh_l0"][:outer]
    table = products.astype("f4").astype(half).astype("f4")
    parameters["bias_ih_l0"][...] = 0
    parameters["bias_hh_l0"][:outer] = 0
    parameters["weight_ih_l0"] = np.eye(width, dtype="f4")
    name, variant = KINDS[cell.name]
    twin = getattr(er, name)(width, hidden, rng=0, **variant)
    twin.load_state_dict(parameters)
    return er.Encoder(er.Embedding.from_pretrained(table), twin)


@each_kind
@pytest.mark.parametrize("half", HALVES)
def test_frozen_halves_are_what_rounded_products_give(backend: str, kind: str, half: str) -> None:
    encoder, batch = make(kind), drawn()
    frozen = encoder.freeze(HALVES[half])
    with er.use_backend("numpy"):
        expected = flat(rounded_twin(encoder, HALVES[half])(batch.ids, batch.lengths))
    for actual, wanted in zip(flat(frozen(batch.garbage, batch.lengths)), expected, strict=True):
        # A product that float32 and float64 round to two sides of a half makes a last bit of it.
        size = float(ml_dtypes.finfo(HALVES[half]).eps)
        assert np.mean(np.abs(actual - wanted)) < size / 50
    assert frozen.nbytes == encoder.freeze().nbytes // 2
    assert frozen._products[0].dtype == HALVES[half]


@each_kind
def test_frozen_products_are_those_of_the_definition(backend: str, kind: str, dtype: Any) -> None:
    encoder = make(kind, 1, True, dtype=dtype)
    cell, weights = CELLS[kind], encoder.recurrent.state_dict()
    outer = (len(cell.gates) - cell.inner) * 9
    for suffix, found in zip(("", "_reverse"), encoder.freeze()._products, strict=True):
        expected = encoder.embedding.weight.astype("f8") @ weights[f"weight_ih_l0{suffix}"].T
        expected += weights[f"bias_ih_l0{suffix}"]
        expected[:, :outer] += weights[f"bias_hh_l0{suffix}"][:outer]
        assert_near(found, expected.astype(dtype))


def test_products_of_many_rows_are_made_some_at_a_time(backend: str) -> None:
    encoder = make("gru", sizes=(4100, 3, 2))
    ids = np.array([[0, 4095, 4096, 4097, 4099]])
    assert_agree(backend, flat(encoder.freeze()(ids)), of_parts(encoder, ids))


@pytest.mark.parametrize("stored", [None, "float32", np.float16, "bfloat16", ml_dtypes.bfloat16])
@each_stack
def test_frozen_says_what_it_is(stored: Any, num_layers: int, bidirectional: bool) -> None:
    frozen = make("lstm", num_layers, bidirectional).freeze(stored)
    size = 4 if stored in (None, "float32") else 2
    assert frozen.nbytes == 11 * (1 + bidirectional) * 4 * 9 * size
    name = "float32" if size == 4 else "float16" if stored is np.float16 else "bfloat16"
    assert repr(frozen) == f"FrozenEncoder(11 ids, LSTM(hidden_size=9), {name})"


def test_repr() -> None:
    encoder = make("gru")
    assert repr(encoder) == "Encoder(Embedding(11, 10), GRU(10, 9))"


def test_later_changes_do_not_reach_what_is_frozen(backend: str) -> None:
    encoder, batch = make("gru", 2, True), drawn()
    frozen = encoder.freeze()
    expected = flat(frozen(batch.ids, batch.lengths))
    for layer in (encoder.embedding, encoder.recurrent):
        layer.update({name: 2 * array for name, array in layer.state_dict().items()})
    optimizer = er.optim.SGD({"gru": encoder.recurrent}, lr=0.5)
    grads = {name: np.ones_like(a) for name, a in encoder.recurrent.state_dict().items()}
    optimizer.step({"gru": grads})
    for actual, wanted in zip(flat(frozen(batch.ids, batch.lengths)), expected, strict=True):
        assert_same_bits(actual, wanted)
    changed = flat(encoder(batch.ids, batch.lengths))
    assert not np.array_equal(changed[0], expected[0])
    assert_agree(backend, flat(encoder.freeze()(batch.ids, batch.lengths)), changed)


def test_changes_of_the_layers_reach_the_encoder(backend: str) -> None:
    encoder, ids = make("gru"), [[3, 1, 4]]
    before = encoder(ids)[0]
    encoder.embedding.update({"weight": 2 * encoder.embedding.weight})
    between = encoder(ids)[0]
    assert not np.array_equal(before, between)
    encoder.recurrent.update({"bias_ih_l0": 2 * encoder.recurrent.bias_ih_l0})
    assert not np.array_equal(encoder(ids)[0], between)
    assert_agree(backend, flat(encoder(np.array(ids))), of_parts(encoder, np.array(ids)))


def test_rows_are_bounded_as_they_are_looked_up(backend: str) -> None:
    encoder, other = make("gru", max_norm=0.5), make("gru", max_norm=0.5)
    ids = np.array([[3, 1, 4, 1]])
    assert_agree(backend, flat(encoder(ids)), of_parts(other, ids))
    assert_same_bits(encoder.embedding.weight, other.embedding.weight)
    assert (np.linalg.norm(encoder.embedding.weight, axis=1) > 0.6).any()
    encoder.step([7])
    other.embedding([7])
    assert_same_bits(encoder.embedding.weight, other.embedding.weight)
    every = np.arange(N_IDS)
    assert_agree(backend, flat(make("gru", max_norm=0.5).freeze()(every[None])),
                 of_parts(make("gru", max_norm=0.5), every[None]))  # fmt: skip


# --- files ---------------------------------------------------------------------------------------


@each_kind
@each_stack
@pytest.mark.parametrize("stored", ["float32", "float64", "float16", "bfloat16"])
def test_what_was_saved_comes_back(
    backend: str, tmp_path: Path, kind: str, num_layers: int, bidirectional: bool, stored: str
) -> None:
    dtype = "float64" if stored == "float64" else "float32"
    encoder = make(kind, num_layers, bidirectional, dtype=dtype, padding_idx=0, strict=True)
    frozen, batch, path = encoder.freeze(stored), drawn(), tmp_path / "encoder.npz"
    frozen.save(path)
    loaded = er.FrozenEncoder.load(str(path))
    assert repr(loaded) == repr(frozen)
    assert loaded.nbytes == frozen.nbytes
    for actual, wanted in zip(flat(loaded(batch.ids)), flat(frozen(batch.ids)), strict=True):
        assert_same_bits(actual, wanted)
    with pytest.raises(IndexError, match="expected 0 <= index < 11"):
        loaded([[-1]])
    with pytest.raises(ValueError, match=r"^row 0 of ids begins with padding, 0"):
        loaded(np.array([[0, 1]]))
    for part in loaded._products:
        assert isinstance(part.base, np.memmap) or isinstance(part, np.memmap)
        assert part.ctypes.data % 64 == 0
        assert not part.flags.writeable
    again = tmp_path / "again.npz"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()


def test_a_loaded_encoder_outlives_its_file(backend: str, tmp_path: Path) -> None:
    encoder, path, ids = make("gru"), tmp_path / "encoder.npz", [[3, 1, 4], [1]]
    encoder.freeze().save(path)
    loaded = er.FrozenEncoder.load(path)
    make("lstm", 2).freeze("float16").save(path)  # in its place
    assert_agree(backend, flat(loaded(ids)), flat(encoder.freeze()(ids)))
    path.unlink()
    assert_agree(backend, flat(loaded(ids)), flat(encoder.freeze()(ids)))
    with pytest.raises(FileNotFoundError):
        er.FrozenEncoder.load(path)


def test_a_path_is_text(tmp_path: Path) -> None:
    frozen = make("gru").freeze()
    for path in (3, b"encoder.npz", None, ["encoder.npz"]):
        words = f"^path must be a str or an os.PathLike, got {type(path).__name__}$"
        for call in (frozen.save, er.FrozenEncoder.load):
            with pytest.raises(TypeError, match=words):
                call(path)
    with pytest.raises(FileNotFoundError):
        frozen.save(tmp_path / "folder" / "encoder.npz")
    assert not list(tmp_path.iterdir())


def about_with(**changes: Any) -> Callable[[dict[str, np.ndarray]], None]:
    """Return what changes the entry of a file that says what the encoder is."""

    def change(arrays: dict[str, np.ndarray]) -> None:
        about = json.loads(bytes(arrays["about"])) | changes
        about = {name: value for name, value in about.items() if value is not ...}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)

    return change


def put(**arrays: Any) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda found: found.update({name: np.asarray(a) for name, a in arrays.items()})


def text(words: bytes) -> Callable[[dict[str, np.ndarray]], None]:
    return put(about=np.frombuffer(words, np.uint8))


NO_ENCODER = "PATH holds no frozen encoder"
PRODUCTS = np.zeros((11, 27), np.float32)
# What is changed in the file of a GRU of 9 units and 11 ids, and the error.
DAMAGED: dict[str, tuple[Callable[[dict[str, np.ndarray]], Any], str]] = {
    "other_arrays": (lambda a: a.pop("about"), "PATH cannot be mapped: there is no about in it, "),
    "newer": (about_with(format=2),
              "PATH holds a frozen encoder of format 2, only 1 can be loaded"),
    "older": (about_with(format="0"), "PATH holds a frozen encoder of format '0', only 1 can be "),
    "no_format": (about_with(format=...), NO_ENCODER),
    "no_options": (about_with(options=...), NO_ENCODER),
    "no_layer": (about_with(layer=...), NO_ENCODER),
    "no_padding": (about_with(padding_idx=...), NO_ENCODER),
    "other_layer": (about_with(layer="Transformer"), NO_ENCODER),
    "list_of_layers": (about_with(layer=["GRU"]), NO_ENCODER),
    "strict": (about_with(strict="yes"), NO_ENCODER),
    "padding_text": (about_with(padding_idx="0"), NO_ENCODER),
    "padding_fraction": (about_with(padding_idx=0.0), NO_ENCODER),
    "padding_beyond": (about_with(padding_idx=11),
                       "PATH must have a padding_idx in [0, 11), got 11"),
    "padding_negative": (about_with(padding_idx=-1),
                         "PATH must have a padding_idx in [0, 11), got -1"),
    "no_text": (text(b"\xff\xfe{"), NO_ENCODER),
    "no_json": (text(b"encoder"), NO_ENCODER),
    "a_list": (text(b"[1]"), NO_ENCODER),
    "a_number": (text(b"1"), NO_ENCODER),
    "deep": (text(b"[" * 100_000), NO_ENCODER),
    "no_products": (lambda a: a.pop("products"),
                    "PATH must hold products of 27 numbers for each direction"),
    "one_direction": (about_with(options={
        "input_size": 0, "hidden_size": 9, "num_layers": 1, "bias": True, "dropout": 0.0,
        "bidirectional": True, "reset_after": True, "dtype": "float32"}),
        "PATH must hold products of 27 numbers for each direction"),
    "narrow": (put(products=PRODUCTS[:, :26]), "PATH must hold products of 27 numbers for each"),
    "vector": (put(products=PRODUCTS[0]), "PATH must hold products of 27 numbers for each"),
    "cube": (put(products=PRODUCTS[None]), "PATH must hold products of 27 numbers for each"),
    "float64": (put(products=PRODUCTS.astype("f8")),
                "dtype must be float32, float16 or bfloat16 where the layer is float32, got float"),
    "integers": (put(products=PRODUCTS.astype("i4")),
                 "dtype must be float32, float16 or bfloat16 where the layer is float32, got int3"),
    "swapped": (put(products=PRODUCTS.astype(">f4")),
                "PATH must hold products row after row, in native byte order"),
    "fortran": (put(products=np.asfortranarray(PRODUCTS)),
                "PATH must hold products row after row, in native byte order"),
    "no_weight": (lambda a: a.pop("weight_hh_l0"),
                  "parameters do not fit the encoder in PATH: missing weight_hh_l0"),
    "more_weights": (put(weight_io_l0=PRODUCTS),
                     "parameters do not fit the encoder in PATH: unexpected weight_io_l0"),
    "other_weight": (put(weight_hh_l0=PRODUCTS),
                     "parameters do not fit the encoder in PATH: weight_hh_l0 must have shape "),
    "weight_dtype": (put(weight_hh_l0=np.zeros((27, 9))),
                     "parameters do not fit the encoder in PATH: weight_hh_l0 must be float32, "),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGED)
def test_a_file_that_is_not_what_it_was_is_refused(tmp_path: Path, how: str) -> None:
    change, message = DAMAGED[how]
    path = tmp_path / "encoder.npz"
    make("gru").freeze().save(path)
    arrays = {name: np.array(array) for name, array in _npz.load(path).items()}
    change(arrays)
    np.savez(path, **arrays)
    start = re.escape(message.replace("PATH", str(path)))
    with pytest.raises((TypeError, ValueError), match=f"^{start}"):
        er.FrozenEncoder.load(path)


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.npz"
    make("gru").freeze().save(path)
    whole = path.read_bytes()
    for n in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match="cannot be mapped"):
            er.FrozenEncoder.load(path)


@pytest.mark.parametrize("stored", ["float32", "float64", "float16"])
def test_what_numpy_wrote_is_read(backend: str, tmp_path: Path, stored: str) -> None:
    # Its arrays need not be aligned.
    encoder = make("gru", dtype="float64" if stored == "float64" else "float32")
    frozen, path, ids = encoder.freeze(stored), tmp_path / "encoder.npz", [[3, 1, 4], [1]]
    frozen.save(path)
    arrays = {name: np.array(array) for name, array in _npz.load(path).items()}
    np.savez(path, **arrays)
    assert any(array.ctypes.data % 64 for array in _npz.load(path).values())
    loaded = er.FrozenEncoder.load(path)
    for actual, wanted in zip(flat(loaded(ids)), flat(frozen(ids)), strict=True):
        assert_same_bits(actual, wanted)


# --- copies --------------------------------------------------------------------------------------

COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda encoder: pickle.loads(pickle.dumps(encoder)),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_copies(backend: str, tmp_path: Path, how: str, stored: str) -> None:
    encoder, batch, path = make("lstm", 2, True, padding_idx=0), drawn(), tmp_path / "e.npz"
    frozen = encoder.freeze(stored)
    frozen.save(path)
    for model in (encoder, frozen, er.FrozenEncoder.load(path)):
        expected = flat(model(batch.ids))
        other = COPIES[how](model)
        assert repr(other) == repr(model)
        for actual, wanted in zip(flat(other(batch.ids)), expected, strict=True):
            assert_same_bits(actual, wanted)
    changed = COPIES[how](encoder)
    changed.recurrent.update({"bias_ih_l0": 2 * encoder.recurrent.bias_ih_l0})
    same = np.array_equal(changed(batch.ids)[0], encoder(batch.ids)[0])
    assert same == (how == "copy")  # whose layers are shared


def test_frozen_encoders_are_made_by_encoders() -> None:
    with pytest.raises(TypeError, match=r"^Encoder.freeze\(\) and FrozenEncoder.load\(\) make "):
        er.FrozenEncoder()


# --- threads of the caller -----------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [False, True])
def test_threads_share_an_encoder(backend: str, frozen: bool) -> None:
    encoder = make("lstm", 2, sizes=(50, 16, 20), max_norm=2.0)
    model, name = encoder.freeze() if frozen else encoder, er.config()["backend"]
    batches = [drawn(np.array([4, 9, 0, 2]), 50, seed) for seed in range(8)]
    expected = [flat(copy.deepcopy(model)(batch.ids, batch.lengths)) for batch in batches]
    start = threading.Barrier(8)

    def work(k: int) -> None:
        with er.use_backend(name):  # which is chosen for each thread
            start.wait()
            for _ in range(10):
                found = flat(model(batches[k].ids, batches[k].lengths))
                for actual, wanted in zip(found, expected[k], strict=True):
                    assert_same_bits(actual, wanted)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, k) for k in range(8)]:
            done.result()


# --- memory --------------------------------------------------------------------------------------


def test_nothing_of_the_size_of_the_rows_is_allocated(backend: str) -> None:
    batch, time, features = 16, 64, 256
    encoder = make("gru", sizes=(50, features, 4))
    ids = np.random.default_rng(0).integers(0, 50, (batch, time))
    rows = batch * time * features * 4
    lengths = np.full(batch, time)
    for model in (encoder, encoder.freeze()):
        for options in OPTIONS:
            model(ids, lengths, **options)
            with allocates_less_than(rows // 4):
                model(ids, lengths, **options)
    with allocates_less_than(rows // 3):
        encoder.freeze()


PEAK = """
    import resource
    import numpy as np
    import embedrnn as er

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

    def check(sizes, batch, time, limit, **options):
        n, features, hidden = sizes
        embedding = er.Embedding(n, features, rng=0)
        encoder = er.Encoder(embedding, er.LSTM(features, hidden, rng=0))
        models = [encoder, encoder.freeze()]
        ids = np.random.default_rng(0).integers(0, n, (batch, time))
        for model in models:
            model(ids[:, :2], **options)
            before = peak()
            model(ids, **options)
            assert peak() - before < limit, (peak() - before, limit)

    er.set_num_threads(1)
"""


@pytest.mark.native
@pytest.mark.skip_under("asan", "tsan")
def test_the_core_allocates_nothing_of_the_size_of_rows_or_products(run_python: Any) -> None:
    # Rows of 2 KB: 64 MB of them. Products of 4 KB, as much: half of all distinct, which are 1 MB.
    run_python(
        PEAK,
        """
        check((64, 512, 8), 64, 500, 16 << 20)
        check((64, 512, 8), 64, 500, 16 << 20, pool="mean")
        check((9000, 512, 8), 64, 500, 16 << 20, output=False)
        check((256, 4, 256), 32, 500, 16 << 20, pool="max")
        """,
        env={"EMBEDRNN_BACKEND": "native"},
        timeout=60,
    )


# --- memory that belongs to somebody else --------------------------------------------------------


FUSED = ("int8", "frozen")  # which there is not


def tokens_for(table: np.ndarray, storage: str, path: str, before: bool) -> Tokens:
    """Return tokens of two rows, of 2 and of 3 steps, with guards beside every array."""
    rows, numbers = np.array([len(table) - 1, 0, 1]), np.array([0, 1, 2, 1, 0])
    arrays = (guarded(a, before=before) for a in (table, rows, numbers, np.array([0, 2])))
    table, rows, numbers, starts = arrays
    return Tokens(table, storage, rows, numbers, starts, path)


@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
@pytest.mark.parametrize(
    ("storage", "path"),
    [(name, path) for name in TABLES for path in (*PATHS, "frozen") if (name, path) != FUSED],
)
def test_stays_inside_its_arrays(backend: str, storage: str, path: str, before: bool) -> None:
    rng, (stored, dtype) = np.random.default_rng(0), TABLES[storage]
    for size in (*range(1, 10), 15, 16, 17, 33, 65):
        for features, hidden in ((size, 3), (3, size)):
            n = 4 * hidden
            shapes = ((n, features), (n, hidden), (n,), (n,))
            weights = [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]
            table = rng.standard_normal((4, n if path == "frozen" else features))
            if storage == "int8":
                table = er.quantize_rows(table.astype("f4")).rows
            else:
                table = table.astype(stored)
            cell = _backend.current().pack("lstm", *weights)
            x = tokens_for(table, storage, path, before)
            output = guarded(np.full((2, 5, hidden), np.nan, dtype), before=before)
            vectors = guarded(np.full((2, hidden), np.nan, dtype), before=before)
            last = tuple(
                guarded(np.full((1, 2, hidden), np.nan, dtype), before=before) for _ in range(2)
            )
            times = guarded(np.array([0, 4, 1, 2, 3]), before=before)
            lengths = guarded(np.array([2, 3]), before=before)
            starts = guarded(np.array([0, 2]), before=before)
            rows = Rows(2, lengths, starts, times=times)
            cell.forward(x, rows, None, (None, None), size % 3 == 0, output, last, 0, None,
                         Pool("mean" if size % 2 else "max", vectors))  # fmt: skip
            assert np.isfinite(output).all()
            assert np.isfinite(vectors).all()
            assert not output[0, 1:4].any()
            assert not output[1, [0, 4]].any()
            assert output[0, 4].any()
            assert_same_bits(last[0][0, 0], output[0, 0 if size % 3 == 0 else 4])


@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
def test_projecting_stays_inside_its_arrays(backend: str, dtype: Any, before: bool) -> None:
    for size in (1, 3, 15, 16, 17, 33, 64, 100):
        for n, features, hidden in ((size, 3, 5), (5, size, 3), (5, 3, size)):
            weights = [np.ones(s, dtype) for s in ((3 * hidden, features), (3 * hidden, hidden))]
            cell = _backend.current().pack("gru", *weights, None, None)
            x = guarded(np.ones((n, features), dtype), before=before)
            out = guarded(np.full((n, 3 * hidden), np.nan, dtype), before=before)
            cell.project(x, out)
            assert (out == features).all()


# --- what the core refuses -----------------------------------------------------------------------

BIAS = np.zeros(21, np.float32)
TABLE = np.zeros((5, 3), np.float32)
GOOD: dict[str, Any] = {
    "table": TABLE,
    "storage": "float32",
    "rows": np.array([0, 4]),
    "numbers": np.array([0, 1, 1]),
    "starts": np.array([0, 2]),
    "path": "steps",
}
FAR = 2**63 - 1
# What is changed in good tokens, and the argument that the core names.
BAD_TOKENS: dict[str, tuple[dict[str, Any], str]] = {
    "number": ({"numbers": np.array([0, 2, 1])}, "numbers"),
    "negative_number": ({"numbers": np.array([0, -1, 1])}, "numbers"),
    "no_rows": ({"rows": np.zeros(0, int)}, "numbers"),
    "row": ({"rows": np.array([0, 5])}, "rows"),
    "negative_row": ({"rows": np.array([-1, 4])}, "rows"),
    "start": ({"starts": np.array([0, 3])}, "starts"),
    "negative_start": ({"starts": np.array([-1, 2])}, "starts"),
    "far_start": ({"starts": np.array([0, FAR])}, "starts"),
    "few_starts": ({"starts": np.array([0])}, "starts"),
    "few_numbers": ({"numbers": np.array([0, 1])}, "starts"),
    "number_dtype": ({"numbers": np.array([0, 1, 1], np.int32)}, "numbers"),
    "number_strides": ({"numbers": np.array([0, 0, 1, 0, 1, 0])[::2]}, "numbers"),
    "no_numbers": ({"numbers": None}, "tokens"),
    "wide": ({"table": np.zeros((5, 4), np.float32)}, "table"),
    "narrow": ({"table": np.zeros((5, 2), np.float32)}, "table"),
    "vector": ({"table": np.zeros(5, np.float32)}, "table"),
    "strides": ({"table": np.zeros((3, 5), np.float32).T}, "table"),
    "too_exact": ({"table": TABLE.astype("f8"), "storage": "float64"}, "table"),
    "storage": ({"storage": "float16"}, "storage"),
    "unknown_storage": ({"storage": "int4"}, "storage"),
    "int8": ({"table": np.zeros((5, 10), np.uint8), "storage": "int8"}, "table"),
    "frozen": ({"path": "frozen"}, "table"),
}  # fmt: skip


def run_core(core: Any, changes: dict[str, Any], *layout: Any, **options: Any) -> None:
    cell = core.pack("gru", np.zeros((21, 3), "f4"), np.zeros((21, 7), "f4"), None, None)
    rows = Rows(2, *(layout or (np.array([2, 1]), np.array([0, 2]))))
    output = options.get("output", np.zeros((3, 7), np.float32))
    last = (np.zeros((1, 2, 7), np.float32),)
    cell.forward(Tokens(**(GOOD | changes)), rows, None, (None,), False, output, last, 0,
                 options.get("tape"), options.get("pool"))  # fmt: skip


@pytest.mark.parametrize("how", BAD_TOKENS)
def test_the_core_refuses_tokens_beyond_their_arrays(core: Any, how: str) -> None:
    changes, name = BAD_TOKENS[how]
    run_core(core, {})
    for output in (np.zeros((3, 7), np.float32), None):
        with pytest.raises(ValueError, match=rf"^{name} must "):
            run_core(core, changes, output=output)


def test_the_core_refuses_times_that_do_not_rise(core: Any) -> None:
    padded, lengths, starts = np.zeros((2, 4, 7), np.float32), np.array([2, 1]), np.array([0, 2])

    def run(times: Any, row_starts: Any = starts, counts: Any = lengths) -> None:
        run_core(core, {}, counts, row_starts, None, np.array(times), output=padded)

    run([0, 3, 2])
    for times in ([1, 1, 2], [2, 1, 0], [0, 4, 2], [-1, 3, 2], [0, 3, FAR], [0, 3, -1]):
        with pytest.raises(ValueError, match=r"^times must rise below T$"):
            run(times)
    for row_starts in ([0, 3], [-1, 2], [0, FAR], [2, 2]):
        with pytest.raises(ValueError, match=r"^row_starts must begin rows that stay within"):
            run([0, 3, 2], np.array(row_starts))
    with pytest.raises(ValueError, match=r"^times must come with row_starts alone$"):
        run([0, 3, 2], None)
    with pytest.raises(ValueError, match=r"^(times|row_starts|lengths) must "):
        run([0, 3, 2], starts, None)
    with pytest.raises(ValueError, match=r"^lengths must "):
        run([0, 3, 2], starts, np.array([2, -1]))


def test_the_core_refuses_outputs_of_other_sizes(core: Any) -> None:
    good = np.zeros((2, 7), np.float32)
    run_core(core, {}, pool=Pool("mean", good))
    for bad in (good[:1], good[:, :6], good.astype("f8"), np.zeros((7, 2), "f4").T, good[0]):
        with pytest.raises(ValueError, match=r"^pool must "):
            run_core(core, {}, pool=Pool("max", bad))
    for bad in (good, np.zeros((3, 6), "f4"), np.zeros((3, 7))):
        with pytest.raises(ValueError, match=r"^(output|row_starts) must "):
            run_core(core, {}, output=bad)
    for tape in (np.zeros((3, 1), "f4"), np.zeros((2, 64), "f4")):
        with pytest.raises(ValueError, match=r"^tape must "):
            run_core(core, {}, tape=tape)
    cell = core.pack("gru", np.zeros((21, 3), "f4"), np.zeros((21, 7), "f4"), None, None)
    x, out = np.zeros((4, 3), "f4"), np.zeros((4, 21), "f4")
    cell.project(x, out)
    for bad_x, bad_out in ((x[:, :2], out), (x, out[:3]), (x, out[:, :20]), (x.astype("f8"), out),
                           (np.zeros((3, 4), "f4").T, out), (x, out.astype("f8")),
                           (x[0], out)):  # fmt: skip
        with pytest.raises(ValueError, match=r"^(x|out) must "):
            cell.project(bad_x, bad_out)
