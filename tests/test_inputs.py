"""What other libraries hold is read where it lies: by DLPack, as Arrow arrays, as tensors."""

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import embedrnn as er
from cases import assert_same_bits, values
from embedrnn._check import as_array

TABLE = values((6, 4), np.float32)
FLAT = np.array([3, 0, 5, 1])
PAIRS = FLAT.reshape(2, 2)
STEPS = values((2, 3, 4), np.float32, seed=1)
SQUARE = np.eye(4, dtype=np.float32)


class Dlpack:
    """What speaks DLPack and nothing else; of an older version, without keywords."""

    def __init__(self, array: Any, *, old: bool = False, device: tuple[int, int] = (1, 0)) -> None:
        self._array, self._device = array, device
        if old:
            self.__dlpack__ = lambda stream=None: array.__dlpack__()

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._device


class ArrowArray:
    """What exports an Arrow array and nothing else."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self._column.__arrow_c_array__(requested_schema)


class ArrowStream:
    """What exports a stream of Arrow arrays and nothing else."""

    def __init__(self, column: Any) -> None:
        pa = pytest.importorskip("pyarrow")
        half = len(column) // 2
        self._column = pa.chunked_array([column[:half], column[half:]])

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._column.__arrow_c_stream__(requested_schema)


def arrow(array: np.ndarray) -> Any:
    """Return an Arrow array, whose lists of a fixed size are the other axes."""
    pa = pytest.importorskip("pyarrow")
    column = pa.array(array.ravel())
    for size in array.shape[:0:-1]:
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def tensor(array: np.ndarray) -> Any:
    torch = pytest.importorskip("torch")
    return torch.from_numpy(array.copy())


def polars(array: np.ndarray) -> Any:
    return pytest.importorskip("polars").Series(array)


def pandas(array: np.ndarray) -> Any:
    pd = pytest.importorskip("pandas")
    column = arrow(array)
    return pd.Series(column, dtype=pd.ArrowDtype(column.type))


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "dlpack": Dlpack,
    "old_dlpack": lambda array: Dlpack(array, old=True),
    "arrow": arrow,
    "arrow_array": lambda array: ArrowArray(arrow(array)),
    "arrow_stream": lambda array: ArrowStream(arrow(array)),
    "sliced": lambda array: arrow(np.concatenate([array[:1], array]))[1:],
    "tensor": tensor,
    "polars": polars,
    "pandas": pandas,
}
each_kind = pytest.mark.parametrize("kind", KINDS)

# Whatever takes an array, of one argument.
CALLS: dict[str, tuple[np.ndarray, Callable[[Any], Any]]] = {
    "gather.indices": (PAIRS, lambda ids: er.gather(TABLE, ids)),
    "gather.weight": (TABLE, lambda table: er.gather(table, FLAT)),
    "gather.axis": (TABLE, lambda table: er.gather(table, [1, 0], axis=1)),
    "scatter_add": (TABLE, lambda rows: er.scatter_add(np.zeros((6, 4), "f4"), range(6), rows)),
    "coalesce": (TABLE, lambda rows: er.coalesce([1, 0, 1, 2, 2, 0], rows).values),
    "embedding_bag.indices": (PAIRS, lambda ids: er.embedding_bag(TABLE, ids)),
    "embedding_bag.flat": (FLAT, lambda ids: er.embedding_bag(TABLE, ids, [0, 1])),
    "embedding_bag.offsets": (np.array([0, 1]), lambda at: er.embedding_bag(TABLE, FLAT, at)),
    "embedding_bag.lengths": (PAIRS[0], lambda n: er.embedding_bag(TABLE, FLAT[:3], lengths=n)),
    "embedding_bag.weight": (TABLE, lambda table: er.embedding_bag(table, PAIRS)),
    "embedding_bag.weights": (
        TABLE[0],
        lambda w: er.embedding_bag(TABLE, FLAT, [0, 1], per_sample_weights=w, mode="sum"),
    ),
    "embedding_bag_argmax": (TABLE, lambda table: er.embedding_bag_argmax(table, PAIRS)),
    "embedding_bag_vjp": (TABLE, lambda table: er.embedding_bag_vjp(table, PAIRS)[0]),
    "quantize_rows": (TABLE, lambda table: er.quantize_rows(table).rows),
    "Embedding": (PAIRS, er.Embedding(6, 4, rng=0)),
    "Embedding.from_pretrained": (TABLE, lambda table: er.Embedding.from_pretrained(table).weight),
    "EmbeddingBag": (PAIRS, er.EmbeddingBag(6, 4, rng=0)),
    "GRU": (STEPS, lambda x: er.GRU(4, 3, rng=0)(x)[0]),
    "LSTM.load_state_dict": (values((20, 4), np.float32), lambda w: loaded(w).weight_ih_l0),
    "GRU.state": (values((1, 2, 3), np.float32), lambda h: er.GRU(4, 3, rng=0)(STEPS, None, h)[0]),
    "rnn_forward": (STEPS, lambda x: er.rnn_forward(x, SQUARE, SQUARE)[0]),
    "rnn_forward.weight": (TABLE[:4], lambda w: er.rnn_forward(STEPS, w, SQUARE)[0]),
    "Encoder": (PAIRS, lambda ids: encoder()(ids)[0]),
    "Encoder.offsets": (np.array([0, 1, 4]), lambda at: encoder()(FLAT, offsets=at)[0]),
    "FrozenEncoder": (PAIRS, lambda ids: encoder().freeze()(ids)[0]),
    "unpad": (STEPS, lambda x: er.unpad(x, [3, 1])[1]),
}  # fmt: skip


def encoder() -> er.Encoder:
    return er.Encoder(er.Embedding(6, 4, rng=0), er.GRU(4, 3, rng=0))


def loaded(weight: Any) -> Any:
    layer = er.LSTM(4, 5, rng=0)
    layer.load_state_dict(layer.state_dict() | {"weight_ih_l0": weight})
    return layer


@each_kind
@pytest.mark.parametrize("call", CALLS)
def test_the_answer_is_that_to_an_array(call: str, kind: str) -> None:
    array, function = CALLS[call]
    assert_same_bits(np.asarray(function(KINDS[kind](array))), np.asarray(function(array)))


@each_kind
def test_sequences_of_them_are_ragged(backend: str, kind: str) -> None:
    make = KINDS[kind]
    layer, bag, encode = er.GRU(4, 3, rng=0), er.EmbeddingBag(6, 4, rng=0), encoder()
    for lengths in ((3, 2), (2, 2)):
        steps = [step[:n] for step, n in zip(STEPS, lengths, strict=True)]
        ids = [FLAT[:n] for n in lengths]
        assert_same_bits(layer([make(x) for x in steps])[0], layer(steps)[0])
        assert_same_bits(bag([make(x) for x in ids]), bag(ids))
        assert_same_bits(encode([make(x) for x in ids])[0], encode(ids)[0])
        assert_same_bits(er.pad([make(x) for x in steps])[0], er.pad(steps)[0])


# --- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [FLAT, TABLE, STEPS], ids=["flat", "table", "steps"])
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"arrow_stream"}))
def test_nothing_is_copied(kind: str, array: np.ndarray) -> None:
    given = KINDS[kind](array)
    first, second = as_array("x", given), as_array("x", given)
    assert np.shares_memory(first, second)
    if "dlpack" in kind:
        assert np.shares_memory(first, array)
    if kind == "tensor":
        assert first.ctypes.data == given.data_ptr()
    if kind == "arrow":
        assert first.ctypes.data == given.buffers()[-1].address


def test_tensors_of_halves_are_not_copied() -> None:
    torch: Any = pytest.importorskip("torch")
    for dtype in (torch.float16, torch.bfloat16):
        given = torch.ones(3, 4, dtype=dtype)
        found = as_array("x", given)
        assert found.ctypes.data == given.data_ptr()
        assert found.dtype == (np.float16 if dtype == torch.float16 else ml_dtypes.bfloat16)
        strided = as_array("x", given.T)
        assert strided.shape == (4, 3)
        assert strided.ctypes.data == given.data_ptr()


@pytest.mark.skip_under("asan", "tsan")
def test_a_large_table_takes_no_memory_of_its_size(run_python: Any) -> None:
    run_python(
        """
        import resource
        import numpy as np
        import embedrnn as er

        class Dlpack:
            def __init__(self, array):
                self._array = array
            def __dlpack__(self, **options):
                return self._array.__dlpack__(**options)
            def __dlpack_device__(self):
                return self._array.__dlpack_device__()

        table = Dlpack(np.ones((1 << 20, 48), np.float32))  # 192 MiB
        ids = Dlpack(np.arange(0, 1 << 20, 4096))
        er.gather(np.ones((2, 2)), [0])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        er.gather(table, ids)
        er.embedding_bag(table, ids, [0, 3])
        er.Embedding.from_pretrained(table)(ids)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
        assert grown < 32 << 20, grown
        """
    )


# --- refusals ----------------------------------------------------------------------------------


def refused(error: type[Exception], words: str, weight: Any, indices: Any = (0,)) -> None:
    with pytest.raises(error, match=words):
        er.gather(weight, indices)


def test_memory_of_another_device_is_refused() -> None:
    words = r"^weight must be in the memory of the CPU, got Dlpack on DLPack's device \(2, 1\)"
    refused(TypeError, words, Dlpack(TABLE, device=(2, 1)))
    pinned = Dlpack(TABLE, device=(3, 0))
    assert_same_bits(er.gather(pinned, FLAT), TABLE[FLAT])


def test_tensors_that_numpy_does_not_get() -> None:
    torch: Any = pytest.importorskip("torch")
    gradients = r"^weight must be array_like, got Tensor, .*: Can't call numpy\(\) on Tensor"
    for dtype in (torch.float32, torch.bfloat16):
        refused(TypeError, gradients, torch.ones(3, 4, dtype=dtype, requires_grad=True))
    weight = torch.nn.Parameter(torch.ones(3))
    refused(TypeError, gradients.replace("Tensor,", "Parameter,"), weight)
    for dtype in (torch.float32, torch.bfloat16):
        meta = torch.ones(3, 4, dtype=dtype, device="meta")
        refused(TypeError, "^weight must be array_like, got Tensor, .*: can't convert meta", meta)
    sparse = torch.eye(3).to_sparse()
    refused(TypeError, r".*: can't convert Sparse layout .* Tensor.to_dense\(\)", sparse)


def test_nulls_are_refused_where_they_are() -> None:
    pa, pl, pd = (pytest.importorskip(name) for name in ("pyarrow", "polars", "pandas"))
    words = "^indices must not have nulls, got one at position 1$"
    ids = [2, None, 0]
    for column in (pa.array(ids), ArrowArray(pa.array(ids)), ArrowStream(pa.array(ids)),
                   pl.Series(ids), pd.Series(ids, dtype="Int64"),
                   pd.Series(ids, dtype=pd.ArrowDtype(pa.int64())),
                   pa.array([2, None], pa.int64()), pa.array([9, *ids])[1:]):  # fmt: skip
        refused(ValueError, words, TABLE, column)
    rows = pa.array([[1.0, 2.0], [3.0, None]], pa.list_(pa.float32(), 2))
    refused(ValueError, r"^weight must not have nulls, got one at position \(1, 1\)$", rows)
    refused(ValueError, "^indices must not have nulls, got one at position 0$", TABLE, pa.nulls(2))


def test_lists_of_unequal_length_are_no_array() -> None:
    pa: Any = pytest.importorskip("pyarrow")
    words = "^indices must be one array, got sequences of unequal length: join them"
    for column in (pa.array([[1], [2, 3]]), ArrowArray(pa.array([[1], [2]]))):
        refused(ValueError, words, TABLE, column)


def shaped(array: np.ndarray, about: bytes) -> Any:
    """Return what exports an Arrow array of lists of a fixed size, and says this of the tensors."""
    pa: Any = pytest.importorskip("pyarrow")
    names = {"ARROW:extension:name": "arrow.fixed_shape_tensor", "ARROW:extension:metadata": about}
    storage = arrow(array.reshape(len(array), -1))

    class Exported:
        def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
            field = pa.field("", storage.type, metadata=names)
            return field.__arrow_c_schema__(), storage.__arrow_c_array__()[1]

    return Exported()


def test_tensors_of_arrow_have_their_axes() -> None:
    pa: Any = pytest.importorskip("pyarrow")
    ids = np.arange(24).reshape(4, 2, 3) % len(TABLE)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(ids)
    kind = pa.fixed_shape_tensor(pa.int64(), (2, 3), permutation=[1, 0])
    turned = pa.ExtensionArray.from_storage(kind, column.storage)
    np.testing.assert_array_equal(turned.to_numpy_ndarray(), ids.transpose(0, 2, 1))
    for expected, given in ((ids, column), (ids[1:], column[1:]), (ids, ArrowArray(column)),
                            (ids, ArrowStream(column)), (ids, pa.chunked_array([column])),
                            (ids[:0], column[:0]), (ids[:0], pa.chunked_array([], column.type)),
                            (ids.transpose(0, 2, 1), turned), (ids.reshape(4, 6), column.storage),
                            (ids, shaped(ids, b'{"shape": [2, 3]}'))):  # fmt: skip
        assert_same_bits(er.gather(TABLE, given), TABLE[expected])
    lists = pa.FixedSizeListArray.from_arrays(turned, 2)
    expected = ids.transpose(0, 2, 1).reshape(2, 2, 3, 2)
    assert_same_bits(er.gather(TABLE, lists), TABLE[expected])


@pytest.mark.parametrize(
    "about",
    [b"", b"[]", b"\xff", b'{"shape": [2, 2]}', b'{"shape": [-2, -3]}', b'{"shape": 6}',
     b'{"shape": ["a"]}', b'{"shape": [2, 3], "permutation": [0, 2]}'],
)  # fmt: skip
def test_tensors_of_arrow_that_do_not_fit_their_lists(about: bytes) -> None:
    words = f"^indices must have tensors of 6 numbers, got those of {re.escape(repr(about))}$"
    refused(ValueError, words, TABLE, shaped(np.zeros((4, 2, 3), int), about))


def test_other_types_of_arrow() -> None:
    pa: Any = pytest.importorskip("pyarrow")
    refused(TypeError, "^indices must be integers, got float64$", TABLE, pa.array([1.0]))
    refused(TypeError, "^indices must be integers, got bool$", TABLE, pa.array([True]))
    for column, text in ((pa.array(["a"]), "u"), (pa.array([True]), "b"),
                         (pa.array([1]).dictionary_encode(), "dictionary")):  # fmt: skip
        words = f"^indices must be numbers, got an array of Arrow's format '{text}'$"
        refused(TypeError, words, TABLE, ArrowArray(column))
    # What NumPy makes of it, where the column speaks to NumPy itself.
    assert_same_bits(er.gather(TABLE, pa.array([1, 2, 1]).dictionary_encode()), TABLE[[1, 2, 1]])
    assert er.gather(TABLE, pa.array([], pa.int64())).shape == (0, 4)
    assert er.gather(TABLE, pa.array([], pa.list_(pa.int64(), 3))).shape == (0, 3, 4)
