"""Sequences of unequal length: lists and Arrow list arrays have the bits of offsets."""

import errno
import gc
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embedrnn as er
from cases import LAYERS, assert_same_bits
from embedrnn._check.arrow import Column, _address, _Stream, from_arrow
from embedrnn._check.sequences import _joined

Rows = list[list[Any]]  # of numbers, or of steps

IDS: Rows = [[3, 1], [], [4, 1, 0, 2], [-1]]
WEIGHTS: Rows = [[1.0, 2.0], [], [0.5, 4.0, 3.0, 2.0], [7.0]]
STEPS: Rows = [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [], [[0.5, 0.0, -1.0]]]


def integers(rows: Rows) -> list[np.ndarray]:
    return [np.array(row, int) for row in rows]


def floats(rows: Rows) -> list[np.ndarray]:
    return [np.array(row, np.float32) for row in rows]


def steps(rows: Rows) -> list[np.ndarray]:
    return [np.array(row, np.float32).reshape(-1, 3) for row in rows]


def objects(rows: list[Any]) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def arrow(rows: Rows, value: str, *, large: bool = False, width: int | None = None) -> Any:
    pa = pytest.importorskip("pyarrow")
    inner = getattr(pa, value)() if width is None else pa.list_(getattr(pa, value)(), width)
    return pa.array(rows, pa.large_list(inner) if large else pa.list_(inner))


def chunked(rows: Rows, *args: Any, **options: Any) -> Any:
    pa = pytest.importorskip("pyarrow")
    return pa.chunked_array([arrow(part, *args, **options) for part in (rows[:1], [], rows[1:])])


def sliced(rows: Rows, *args: Any, **options: Any) -> Any:
    """Return a slice, behind rows that hold a null."""
    beside = [None, [None] if "width" in options else [None, 1]]
    return arrow([*beside, *rows, *beside], *args, **options).slice(2, len(rows))


def polars(rows: Rows, value: str, width: int | None = None) -> Any:
    pl = pytest.importorskip("polars")
    number = getattr(pl, value)
    return pl.Series(rows, dtype=pl.List(number if width is None else pl.Array(number, width)))


def pandas(rows: Rows, *args: Any, **options: Any) -> Any:
    pd = pytest.importorskip("pandas")
    column = arrow(rows, *args, **options)
    return pd.Series(column, dtype=pd.ArrowDtype(column.type))


def pandas_objects(rows: list[Any]) -> Any:
    return pytest.importorskip("pandas").Series(objects(rows))


OF_IDS: dict[str, Callable[[Rows], Any]] = {
    "lists": list,
    "tuples": lambda rows: tuple(map(tuple, rows)),
    "arrays": integers,
    "int8_arrays": lambda rows: [np.array(row, np.int8) for row in rows],
    "empty_float_arrays": lambda rows: [np.array(row) for row in rows],
    "mixed": lambda rows: [rows[0], *integers(rows[1:])],
    "objects": objects,
    "pandas_objects": pandas_objects,
    "arrow": lambda rows: arrow(rows, "int64"),
    "arrow_large": lambda rows: arrow(rows, "int8", large=True),
    "arrow_int16": lambda rows: arrow(rows, "int16"),
    "arrow_sliced": lambda rows: sliced(rows, "int32"),
    "arrow_chunks": lambda rows: chunked(rows, "int64"),
    "polars": lambda rows: polars(rows, "Int32"),
    "pandas": lambda rows: pandas(rows, "int64"),
}
OF_WEIGHTS: dict[str, Callable[[Rows], Any]] = {
    "arrays": floats,
    "arrow": lambda rows: arrow(rows, "float32"),
    "polars": lambda rows: polars(rows, "Float32"),
}
OF_STEPS: dict[str, Callable[[Rows], Any]] = {
    "arrays": steps,
    "tuple": lambda rows: tuple(steps(rows)),
    "empty_lists": lambda rows: [
        array if array.size or b == 0 else [] for b, array in enumerate(steps(rows))
    ],
    "objects": lambda rows: objects(steps(rows)),
    "arrow": lambda rows: arrow(rows, "float32", width=3),
    "arrow_large": lambda rows: arrow(rows, "float32", width=3, large=True),
    "arrow_sliced": lambda rows: arrow([STEPS[0], *rows, None], "float32", width=3)[1:-1],
    "arrow_chunks": lambda rows: chunked(rows, "float32", width=3),
    "polars": lambda rows: polars(rows, "Float32", 3),
    "pandas": lambda rows: pandas(rows, "float32", width=3),
}


def flat(rows: Rows, dtype: Any) -> np.ndarray:
    return np.array([item for row in rows for item in row], dtype)


def lengths_of(rows: Rows) -> list[int]:
    return [len(row) for row in rows]


def offsets_of(rows: Rows) -> np.ndarray:
    return np.cumsum([0, *lengths_of(rows)])


# --- bags ----------------------------------------------------------------------------------------

TABLE = np.random.default_rng(0).standard_normal((5, 3), np.float32)
each_kind_of_ids = pytest.mark.parametrize("kind", OF_IDS)
each_kind_of_steps = pytest.mark.parametrize("kind", OF_STEPS)
each_mode = pytest.mark.parametrize("mode", ["sum", "mean", "max"])

ROWS: dict[str, Rows] = {
    "unequal": IDS,
    "equal": [[3, 1], [0, 2], [4, -1]],
    "one": [[2, 2, 0]],
    "empty_first": [[], [1], []],
}


@each_kind_of_ids
@each_mode
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_bags(backend: str, kind: str, mode: Any, rows: Rows) -> None:
    ids = OF_IDS[kind](rows)
    expected = er.embedding_bag(TABLE, flat(rows, int), lengths=lengths_of(rows), mode=mode)
    assert_same_bits(er.embedding_bag(TABLE, ids, mode=mode), expected)
    for options in ({}, {"include_last_offset": True}, {"max_norm": 100.0}):
        layer = er.EmbeddingBag.from_pretrained(TABLE, mode=mode, **options)
        assert_same_bits(layer(ids), expected)
        assert_same_bits(layer.vjp(ids)[0], expected)


@each_kind_of_ids
@pytest.mark.parametrize("weighted", OF_WEIGHTS)
def test_gradients_of_bags(backend: str, kind: str, weighted: str) -> None:
    ids, weights = OF_IDS[kind](IDS), OF_WEIGHTS[weighted](WEIGHTS)
    plain = {"lengths": lengths_of(IDS), "per_sample_weights": flat(WEIGHTS, np.float32)}
    wanted, of_arrays = er.embedding_bag_vjp(TABLE, flat(IDS, int), **plain)
    output, backward = er.embedding_bag_vjp(TABLE, ids, per_sample_weights=weights)
    assert_same_bits(output, wanted)
    assert_same_bits(er.embedding_bag(TABLE, ids, per_sample_weights=weights), wanted)
    ours, theirs = backward(wanted), of_arrays(wanted)
    assert_same_bits(ours.weight.values, theirs.weight.values)
    assert_same_bits(ours.weight.indices, theirs.weight.indices)
    assert_same_bits(ours.per_sample_weights, theirs.per_sample_weights)


def test_bags_of_equal_lengths_take_weights_of_either_form(backend: str) -> None:
    # Lists may happen to be equally long; Arrow's are ragged by their type.
    rows, weights = [[0, 1], [2, 3]], [[1.0, 2.0], [3.0, 4.0]]
    expected = er.embedding_bag(TABLE, rows, per_sample_weights=np.array(weights, "f4"))
    for ids in (rows, np.array(rows), arrow(rows, "int64")):
        for given_weights in (floats(weights), np.array(weights, "f4"), arrow(weights, "float32")):
            bags = er.embedding_bag(TABLE, ids, per_sample_weights=given_weights)
            assert_same_bits(bags, expected)


def test_lists_of_a_fixed_size_are_an_axis(backend: str) -> None:
    pa = pytest.importorskip("pyarrow")
    ids = pa.array([[0, 1], [2, 3], [4, 0]], pa.list_(pa.int64(), 2))
    for part in (ids, ids[1:]):
        rows = np.array(part.to_pylist())
        assert_same_bits(er.embedding_bag(TABLE, part), er.embedding_bag(TABLE, rows))
    layer, shape = er.GRU(3, 4, rng=0), pa.list_(pa.list_(pa.float32(), 3), 2)
    padded = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    output, _ = layer(pa.array(padded.tolist(), shape), [2, 1])
    assert_same_bits(output, layer(padded, [2, 1])[0])


def test_quantized_bags(backend: str) -> None:
    table = er.quantize_rows(TABLE)
    expected = er.embedding_bag(table, flat(IDS, int), lengths=lengths_of(IDS))
    assert_same_bits(er.embedding_bag(table, IDS), expected)


def test_max_norm_bounds_the_rows_of_every_bag(backend: str) -> None:
    ids = integers(IDS)
    layers = [er.EmbeddingBag.from_pretrained(TABLE, max_norm=0.5) for _ in range(2)]
    expected = layers[0](np.concatenate(ids), lengths=lengths_of(IDS))
    assert_same_bits(layers[1](ids), expected)
    assert_same_bits(layers[1].weight, layers[0].weight)


@given(rows=st.lists(st.lists(st.integers(-5, 4), max_size=6), min_size=1, max_size=9))
def test_any_bags(core: Any, rows: Rows) -> None:
    expected = er.embedding_bag(TABLE, flat(rows, int), lengths=lengths_of(rows))
    for kind in ("lists", "arrays", "objects"):
        assert_same_bits(er.embedding_bag(TABLE, OF_IDS[kind](rows)), expected)


# --- recurrent layers ----------------------------------------------------------------------------

STEP_ROWS: dict[str, Rows] = {
    "unequal": STEPS,
    "equal": [STEPS[0], STEPS[0][::-1]],
    "one": [STEPS[0]],
    "empty": [[], []],
    "none": [],
}


@each_kind_of_steps
@pytest.mark.parametrize("rows", STEP_ROWS.values(), ids=STEP_ROWS)
def test_recurrences(backend: str, kind: str, rows: Rows) -> None:
    x = OF_STEPS[kind](rows)
    if not rows and isinstance(x, (list, tuple, np.ndarray)):
        pytest.skip("there is nothing in it that says how wide a step is")
    values = np.concatenate([np.zeros((0, 3), np.float32), *steps(rows)])
    for name in LAYERS:
        layer = getattr(er, name)(3, 4, rng=0)
        expected, wanted = layer(values, offsets=offsets_of(rows))
        output, state = layer(x)
        assert_same_bits(output, expected)
        np.testing.assert_array_equal(state, wanted)
        weights = [getattr(layer, f"{weight}_l0") for weight in ("weight_ih", "weight_hh")]
        function = getattr(er, f"{name.lower()}_forward")
        expected, wanted = function(values, *weights, offsets=offsets_of(rows), reverse=True)
        output, state = function(x, *weights, reverse=True)
        assert_same_bits(output, expected)
        np.testing.assert_array_equal(state, wanted)


def test_the_output_of_sequences_goes_where_it_is_told(backend: str) -> None:
    weights = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    values = np.concatenate(steps(STEPS))
    out = np.empty_like(values)
    output, _ = er.rnn_forward(steps(STEPS), *weights, out=out)
    assert output is out
    assert_same_bits(out, er.rnn_forward(values, *weights, offsets=offsets_of(STEPS))[0])


def test_a_list_of_arrays_is_ragged_and_nested_lists_are_an_array(backend: str) -> None:
    layer = er.GRU(3, 4, dtype=np.float64, rng=0)
    nested = [[[1.0, 2.0, 3.0]] * 2] * 3
    assert layer(nested)[0].shape == (3, 2, 4)
    assert layer([np.array(row) for row in nested])[0].shape == (6, 4)
    # So is a list of steps, and with offsets it is as ragged as an array is.
    assert layer([np.ones(3)] * 5, offsets=[0, 2, 5])[0].shape == (5, 4)


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 2], [], [3]], [[1.5], [2.5, -0.0]], [[], []], [], [[1], [2.5]], [[True], [2, 3]],
        [[2**63], [1]], [[2**70], [1, 2]], [[1], (2, 3)], [[1], np.array([2, 3])],
        [[np.int64(1)], [2, 3]], [[1], [[2], [3]]], [["a"], [1, 2]], [[None], [1, 2]],
    ],
    ids=str,
)  # fmt: skip
def test_lists_are_joined_as_their_arrays_are(rows: Any) -> None:
    def joined(given: Any) -> Any:
        try:
            values, offsets, _ = _joined("x", given, axes=1)
        except (TypeError, ValueError) as error:
            return str(error)
        return values.dtype, values.shape, values.tolist(), offsets.tolist()

    assert joined(rows) == joined([np.asarray(row) for row in rows])


def test_arrow_is_read_where_it_lies() -> None:
    column = arrow(STEPS, "float32", width=3)
    found = from_arrow("x", column)
    assert isinstance(found, Column)
    assert found.values.ctypes.data == column.values.values.buffers()[1].address
    assert not found.values.flags.writeable
    expected = np.concatenate(steps(STEPS))
    del column
    gc.collect()
    np.testing.assert_array_equal(found.values, expected)


def test_arrow_is_released() -> None:
    pa = pytest.importorskip("pyarrow")
    before = pa.total_allocated_bytes()
    in_place = (lambda: arrow(STEPS, "float32", width=3),
                lambda: pa.chunked_array([arrow(STEPS, "float32", width=3)]))  # fmt: skip
    for make in in_place:
        found = from_arrow("x", make())
        assert pa.total_allocated_bytes() > before
        del found
        gc.collect()
        assert pa.total_allocated_bytes() == before
    joined = from_arrow("x", chunked(STEPS, "float32", width=3))
    gc.collect()
    assert pa.total_allocated_bytes() == before
    del joined


def test_what_is_no_column_of_lists_is_an_array(backend: str) -> None:
    pa, pd, pl = (pytest.importorskip(name) for name in ("pyarrow", "pandas", "polars"))
    ids = [0, 1, 4]
    expected = er.embedding_bag(TABLE, ids, [0, 2])
    for column in (pa.array(ids), pa.chunked_array([ids]), pl.Series(ids), pd.Series(ids),
                   pd.Series(ids, dtype=pd.ArrowDtype(pa.int64()))):  # fmt: skip
        assert_same_bits(er.embedding_bag(TABLE, column, [0, 2]), expected)
    layer, values = er.GRU(3, 4, dtype=np.float64, rng=0), np.ones((5, 3))
    expected, _ = layer(values, offsets=[0, 2, 5])
    for table in (pd.DataFrame(values), pl.DataFrame(values)):
        assert_same_bits(layer(table, offsets=[0, 2, 5])[0], expected)


def test_a_stream_that_fails(backend: str) -> None:
    capsule = chunked(IDS, "int64").__arrow_c_stream__()
    stream = _Stream.from_address(_address(capsule, b"arrow_array_stream"))
    stream.get_next = type(stream.get_next)(lambda *_: errno.EIO)
    stream.get_last_error = type(stream.get_last_error)(lambda _: None)

    class Column:
        def __arrow_c_stream__(self) -> Any:
            return capsule

    with pytest.raises(ValueError, match=r"^indices could not be read: Input/output error$"):
        er.embedding_bag(TABLE, Column())  # type: ignore[arg-type]


# --- refusals ------------------------------------------------------------------------------------


def refused(error: type[Exception], message: str, call: Callable[..., Any], *args: Any,
            **kwargs: Any) -> None:  # fmt: skip
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call(*args, **kwargs)


def bag(indices: Any, **options: Any) -> None:
    er.embedding_bag(TABLE, indices, **options)


def vjp(indices: Any, **options: Any) -> None:
    er.embedding_bag_vjp(TABLE, indices, **options)


def layer_of_bags(indices: Any, padding_idx: int | None = None, **options: Any) -> None:
    options_of_layer: Any = {"mode": "sum", "padding_idx": padding_idx}
    er.EmbeddingBag.from_pretrained(TABLE, **options_of_layer)(indices, **options)


def vjp_of_layer(indices: Any, padding_idx: int | None = None, **options: Any) -> None:
    er.EmbeddingBag.from_pretrained(TABLE, padding_idx=padding_idx).vjp(indices, **options)


def maxima(indices: Any, **options: Any) -> None:
    er.embedding_bag_argmax(TABLE, indices, **options)


each_bag = pytest.mark.parametrize("call", [bag, vjp, layer_of_bags, vjp_of_layer])


@each_bag
def test_refused_bags(backend: str, call: Any) -> None:
    for name in ("offsets", "lengths"):
        given_twice = f"{name} must be None where indices is a list of sequences"
        refused(ValueError, given_twice, call, IDS, **{name: [0]})
    refused(ValueError, "indices[1] must have shape (L,), got (1, 1)", call, [[1], [[2]]])
    refused(ValueError, "indices[0] must have shape (L,), got ()", call, [1, [2, 3]])
    nested = "indices[1] must be one array, got sequences of unequal length: "
    refused(ValueError, nested + "join them, as numpy.concatenate does", call, [[1], [[2], [3, 4]]])
    refused(TypeError, "indices must be integers, got float64", call, [[1], [2.5, 1.0]])


@pytest.mark.parametrize("call", [bag, vjp, layer_of_bags, vjp_of_layer, maxima])
@pytest.mark.parametrize("padding_idx", [None, 1])
@each_kind_of_ids
def test_a_bad_index_is_named_by_its_bag_and_its_place(
    backend: str, call: Any, kind: str, padding_idx: int | None
) -> None:
    for rows, place in (
        ([[1, 2], [5]], (1, 0)),
        ([[], [1, 5], [1], []], (1, 1)),
        ([[1, 1, 1], [], [], [1, 1, -6], [9]], (3, 2)),
        ([[1], [2], [7]], (2, 0)),
    ):
        bad = rows[place[0]][place[1]]
        message = re.escape(f"index {bad} at position {place} is out of range for weight with 5")
        with pytest.raises(IndexError, match=f"^{message}"):
            call(OF_IDS[kind](rows), padding_idx=padding_idx)


@each_bag
def test_refused_weights(backend: str, call: Any) -> None:
    other = "per_sample_weights must have the lengths that the bags of indices have"
    refused(ValueError, other, call, IDS, per_sample_weights=floats(WEIGHTS[::-1]))
    flat_ones = "per_sample_weights must be sequences as indices are, got shape (7,)"
    refused(ValueError, flat_ones, call, IDS, per_sample_weights=np.ones(7, "f4"))
    flat_ids = "indices must be sequences as per_sample_weights are, got shape (7,)"
    refused(ValueError, flat_ids, call, flat(IDS, int), lengths=lengths_of(IDS),
            per_sample_weights=floats(WEIGHTS))  # fmt: skip
    dtype = "per_sample_weights must be float32 as weight is, got float64"
    refused(TypeError, dtype, call, IDS, per_sample_weights=WEIGHTS)


@each_bag
def test_refused_columns_of_ids(backend: str, call: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    null = "indices must not have nulls, got one at position "
    refused(ValueError, null + "1", call, pa.array([[1], None, [2]]))
    refused(ValueError, null + "(2, 1)", call, pa.array([[1], [], [2, None]]))
    many = pa.array([[1]] * 20 + [[2, None]])
    refused(ValueError, null + "(17, 1)", call, many[3:])
    call(many[3:-1])
    refused(ValueError, null + "(21, 1)", call, pa.chunked_array([[[1]], many]))
    refused(ValueError, null + "(1, 0)", call, pa.array([[], [None]]))
    call(pa.array([[], []]))
    twice = "lengths must be None where indices is an Arrow list array"
    refused(ValueError, twice, call, pa.array(IDS), lengths=[1])
    refused(TypeError, "indices must be integers, got float64", call, pa.array([[1.0]]))
    strings = "indices must be lists of numbers, got those of Arrow's format 'u'"
    refused(TypeError, strings, call, pa.array([["a"]]))
    words = pa.array(["a", "b"]).dictionary_encode()
    encoded = pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()), words)
    coded = "indices must be lists of numbers, got those of Arrow's format 'dictionary'"
    refused(TypeError, coded, call, encoded)


X = np.zeros((2, 3), np.float32)
WEIGHT_IH, WEIGHT_HH = np.zeros((4, 3), np.float32), np.zeros((4, 4), np.float32)


def function(x: Any, **options: Any) -> None:
    er.rnn_forward(x, WEIGHT_IH, WEIGHT_HH, **options)


def layer(x: Any, **options: Any) -> None:
    er.RNN(3, 4)(x, **options)


each_recurrence = pytest.mark.parametrize("call", [function, layer])


@each_recurrence
def test_refused_sequences(backend: str, call: Any) -> None:
    for name in ("lengths", "offsets"):
        twice = f"{name} must be None where x is a list of sequences"
        refused(ValueError, twice, call, [X, X], **{name: [0, 1]})
    refused(ValueError, "x[1] must have shape (T, 3), got (2, 2)", call, [X, X[:, :2]])
    refused(ValueError, "x[1] must have shape (T, 3), got (3,)", call, [X, X[0]])
    refused(ValueError, "x[0] must have shape (T, I), got (3,)", call, [X[0], X])
    unequal = "x must be one array, got sequences of unequal length: "
    instead = "give a list of arrays, or one array and offsets"
    refused(ValueError, unequal + instead, call, [X.tolist(), X[:1].tolist()])


def test_refused_packed(backend: str) -> None:
    message = "x must be an array or sequences, got packed ones: give a layer Packed(*x)"
    refused(TypeError, message, function, er.Packed(X, np.array([2])))


@each_recurrence
def test_refused_columns_of_steps(backend: str, call: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    of_steps = pa.list_(pa.list_(pa.float32(), 3))
    null = "x must not have nulls, got one at position "
    refused(ValueError, null + "(1, 0, 2)", call, pa.array([[], [[1, 2, None]]], of_steps))
    refused(ValueError, null + "(0, 1)", call, pa.array([[[1, 2, 3], None]], of_steps))
    twice = "offsets must be None where x is an Arrow list array"
    refused(ValueError, twice, call, pa.array(STEPS, of_steps), offsets=[0, 3])
    nested = "x must be an Arrow list array of numbers or of fixed-size lists, got lists of lists: "
    refused(TypeError, nested + "cast the inner ones to their size", call, pa.array(STEPS))


UNEQUAL: Any = [[1.0], [2.0, 3.0]]
ONE = np.ones((1, 1), np.float32)
ELSEWHERE: dict[str, Callable[[], Any]] = {
    "indices of gather": lambda: er.gather(TABLE, [[1], [2, 3]]),
    "indices of scatter_add": lambda: er.scatter_add(TABLE.copy(), [[1], [2, 3]], 1.0),
    "indices of coalesce": lambda: er.coalesce([[1], [2, 3]], 1.0),
    "indices of Embedding": lambda: er.Embedding(5, 3)([[1], [2, 3]]),
    "weight of gather": lambda: er.gather(UNEQUAL, [0]),
    "weight of embedding_bag": lambda: er.embedding_bag(UNEQUAL, [[0]]),
    "weight of from_pretrained": lambda: er.Embedding.from_pretrained(UNEQUAL),
    "updates of scatter_add": lambda: er.scatter_add(TABLE.copy(), [0, 1], UNEQUAL),
    "updates of coalesce": lambda: er.coalesce([0, 1], UNEQUAL),
    "offsets of embedding_bag": lambda: er.embedding_bag(TABLE, [0], UNEQUAL),
    "lengths of embedding_bag": lambda: er.embedding_bag(TABLE, [0], lengths=UNEQUAL),
    "grad_output of embedding_bag_vjp": lambda: er.embedding_bag_vjp(TABLE, [[0]])[1](UNEQUAL),
    "grad_output of Embedding": lambda: er.Embedding(5, 3).vjp([0])[1](UNEQUAL),
    "weight_ih of rnn_forward": lambda: er.rnn_forward(ONE[None], UNEQUAL, ONE),
    "weight_hh of rnn_forward": lambda: er.rnn_forward(ONE[None], ONE, UNEQUAL),
    "h_0 of rnn_forward": lambda: er.rnn_forward(ONE[None], ONE, ONE, h_0=UNEQUAL),
    "lengths of rnn_forward": lambda: er.rnn_forward(ONE[None], ONE, ONE, lengths=UNEQUAL),
    "offsets of rnn_forward": lambda: er.rnn_forward(ONE, ONE, ONE, offsets=UNEQUAL),
    "x_t of step": lambda: er.RNN(1, 1).step(UNEQUAL),
    "state of RNN": lambda: er.RNN(1, 1)(ONE[None], state=UNEQUAL),
    "weight_ih_l0 of update": lambda: er.RNN(1, 1).update({"weight_ih_l0": UNEQUAL}),
    "data of Packed": lambda: er.RNN(1, 1)(er.Packed(UNEQUAL, np.ones(1, int))),
    "weight_ih_l0 of to_onnx_weights": lambda: er.convert.to_onnx_weights({"weight_ih_l0": UNEQUAL,
                                                           "weight_hh_l0": ONE}),
    "weights[0] of from_keras_weights": lambda: er.convert.from_keras_weights([UNEQUAL, ONE]),
    "W of from_onnx_weights": lambda: er.convert.from_onnx_weights(UNEQUAL, ONE[None]),
}  # fmt: skip


@pytest.mark.parametrize("what", ELSEWHERE)
def test_unequal_rows_are_refused_by_name_where_an_array_must_be(backend: str, what: str) -> None:
    name = what.partition(" ")[0]
    message = f"{name} must be one array, got sequences of unequal length: join them, as"
    with pytest.raises(ValueError, match=f"^{re.escape(message)} numpy.concatenate does$"):
        ELSEWHERE[what]()
