"""Arrow arrays of numbers and of lists of them, read where they lie: no library is imported.

That is what Arrow's C data interface is for:
https://arrow.apache.org/docs/format/CDataInterface.html has the three structs below. The lists of a
tensor are of a fixed size too, and metadata tell its shape:
https://arrow.apache.org/docs/format/CanonicalExtensions.html#fixed-shape-tensor.
"""

import ctypes
import importlib
import math
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Offsets = npt.NDArray[np.int64]

# Lists with offsets, and the dtype of those; lists of a fixed size, which stands behind this.
_LISTS: dict[str, np.dtype[Any]] = {"+l": np.dtype(np.int32), "+L": np.dtype(np.int64)}
_FIXED = "+w:"
_TENSOR = b"arrow.fixed_shape_tensor"

# n is what lists hold that are all empty: its only value is null.
_NUMBERS: dict[str, np.dtype[Any]] = {
    "c": np.dtype(np.int8), "s": np.dtype(np.int16), "i": np.dtype(np.int32),
    "l": np.dtype(np.int64), "C": np.dtype(np.uint8), "S": np.dtype(np.uint16),
    "I": np.dtype(np.uint32), "L": np.dtype(np.uint64), "e": np.dtype(np.float16),
    "f": np.dtype(np.float32), "g": np.dtype(np.float64), "n": np.dtype(np.int64),
}  # fmt: skip


class _Schema(ctypes.Structure):
    format: bytes
    name: bytes
    metadata: int | None
    flags: int
    n_children: int
    children: Any
    dictionary: int | None
    release: Any
    private_data: int | None


class _Array(ctypes.Structure):
    length: int
    null_count: int
    offset: int
    n_buffers: int
    n_children: int
    buffers: Any
    children: Any
    dictionary: int | None
    release: Any
    private_data: int | None


class _Stream(ctypes.Structure):
    get_schema: Any
    get_next: Any
    get_last_error: Any
    release: Any
    private_data: int | None


_Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Fill = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_Say = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)

# A prototype of our own: the attributes of those in ctypes.pythonapi are everybody's.
_Get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
_get_pointer = _Get(("PyCapsule_GetPointer", ctypes.pythonapi))

_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.c_void_p),
    ("release", _Release),
    ("private_data", ctypes.c_void_p),
]
_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", _Release),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    ("get_schema", _Fill),
    ("get_next", _Fill),
    ("get_last_error", _Say),
    ("release", _Release),
    ("private_data", ctypes.c_void_p),
]


class _Owned:
    """A struct that a stream has filled for us, which is ours to release."""

    def __del__(self) -> None:
        struct: Any = self
        if struct.release:
            struct.release(ctypes.addressof(struct))


class _OwnSchema(_Owned, _Schema): ...


class _OwnArray(_Owned, _Array): ...


class _Layout(NamedTuple):
    """The type of an array: the formats of its lists, outermost first, and that of the numbers.

    Lists that all have the same size are axes: their `sizes` are those in memory, and `order` says
    which of them each axis is.
    """

    lists: list[str]
    dtype: np.dtype[Any]
    sizes: list[int]
    order: list[int]

    @property
    def ragged(self) -> bool:
        return bool(self.lists) and self.lists[0] in _LISTS


class _Chunk(NamedTuple):
    """An array, and what must live while it is read."""

    array: _Array
    owner: Any


class _Memory:
    """Numbers somewhere in memory, for as long as their owner lives; nobody writes to them."""

    def __init__(self, address: int, dtype: np.dtype[Any], count: int, owner: Any) -> None:
        self._owner = owner
        self.__array_interface__ = {
            "version": 3, "shape": (count,), "typestr": dtype.str, "data": (address, True),
        }  # fmt: skip


class Column(NamedTuple):
    """The numbers of an Arrow array, and where each of its lists begins and the last one ends.

    There are no `offsets` where lists are of a fixed size, which are axes, or where there are none.
    """

    values: Array
    offsets: Offsets | None


def from_arrow(name: str, value: Any) -> Column | None:
    """Return what an Arrow array holds; None if the value is none, or not one of numbers.

    Nothing is copied of an array in one chunk.
    """
    if not _is_column(value):
        return None
    try:
        layout, chunks = _opened(name, value)
    except ImportError:  # pandas exports its columns with the help of pyarrow
        return None
    if layout is None:
        return None
    parts: list[Column] = []
    rows = 0
    for chunk in chunks:
        parts.append(_read(name, layout, chunk, rows))
        rows += chunk.array.length
    every = [part.values for part in parts] or [np.empty((0, *layout.sizes), layout.dtype)]
    values = every[0] if len(every) == 1 else np.concatenate(every)
    values = values.transpose(0, *(1 + axis for axis in layout.order))
    if not layout.ragged:
        return Column(values, None)
    lengths = [np.diff(part.offsets) for part in parts if part.offsets is not None]
    return Column(values, np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum())


def _is_column(value: Any) -> bool:
    """Whether this is a column of Arrow's: no table, and no column of a NumPy dtype."""
    exports = hasattr(value, "__arrow_c_array__") or hasattr(value, "__arrow_c_stream__")
    return (
        exports
        and len(getattr(value, "shape", (0,))) == 1
        and not isinstance(getattr(value, "dtype", None), np.dtype)
    )


def _opened(name: str, value: Any) -> tuple[_Layout | None, Iterator[_Chunk]]:
    """Return the type of a column and its chunks."""
    if hasattr(value, "__arrow_c_array__"):
        schema, capsule = value.__arrow_c_array__()
        struct = _Schema.from_address(_address(schema, b"arrow_schema"))
        layout = _layout(name, struct, alone=not hasattr(value, "__array__"))
        array = _Array.from_address(_address(capsule, b"arrow_array"))
        return layout, iter([_Chunk(array, capsule)])
    capsule = value.__arrow_c_stream__()
    stream = _Stream.from_address(_address(capsule, b"arrow_array_stream"))
    filled = _OwnSchema()
    _fill(name, stream, stream.get_schema, filled)
    layout = _layout(name, filled, alone=not hasattr(value, "__array__"))
    return layout, _chunks(name, stream, capsule)


def _chunks(name: str, stream: _Stream, _capsule: Any) -> Iterator[_Chunk]:
    """Yield what comes from a stream, which lives as long as its capsule."""
    while True:
        array = _OwnArray()
        _fill(name, stream, stream.get_next, array)
        if not array.release:
            return
        yield _Chunk(array, array)


def _fill(name: str, stream: _Stream, get: Any, struct: ctypes.Structure) -> None:
    error = get(ctypes.addressof(stream), ctypes.addressof(struct))
    if error:
        said = stream.get_last_error(ctypes.addressof(stream)) or os.strerror(error).encode()
        raise ValueError(f"{name} could not be read: {said.decode(errors='replace')}")


def _address(capsule: Any, kind: bytes) -> int:
    address: int = _get_pointer(capsule, kind)
    return address


def _layout(name: str, schema: _Schema, *, alone: bool) -> _Layout | None:
    """Check the type of an array; None if NumPy may know it, unless Arrow's way is the only one."""
    schemas = list(_nested(schema))
    *lists, number = map(_format, schemas)
    if not lists and number not in _NUMBERS:
        if alone:
            raise TypeError(f"{name} must be numbers, got an array of Arrow's format {number!r}")
        return None
    if any(text in _LISTS for text in lists[1:]):
        raise TypeError(
            f"{name} must be an Arrow list array of numbers or of fixed-size lists, got lists of "
            "lists: cast the inner ones to their size"
        )
    if number not in _NUMBERS:
        raise TypeError(f"{name} must be lists of numbers, got those of Arrow's format {number!r}")
    sizes: list[int] = []
    order: list[int] = []
    for fixed in (schema for schema in schemas if _format(schema).startswith(_FIXED)):
        shape, axes = _shape(name, fixed)
        order += [len(sizes) + axis for axis in axes]
        sizes += shape
    return _Layout(lists, _NUMBERS[number], sizes, order)


def _nested(schema: _Schema) -> Iterator[_Schema]:
    """Yield the type of an array, that of what its lists hold, and so on."""
    while True:
        yield schema
        text = _format(schema)
        if text not in _LISTS and not text.startswith(_FIXED):
            return
        schema = schema.children[0].contents


def _format(schema: _Schema) -> str:
    return "dictionary" if schema.dictionary else schema.format.decode()


def _shape(name: str, schema: _Schema) -> tuple[list[int], list[int]]:
    """Return the axes that a list of a fixed size is, one or those of a tensor, and their order."""
    size, told = _size(_format(schema)), _metadata(schema)
    if told.get(b"ARROW:extension:name") != _TENSOR:
        return [size], [0]
    text = told.get(b"ARROW:extension:metadata", b"")
    json: Any = importlib.import_module("json")  # which not everybody needs
    try:
        about = json.loads(text)
        shape = list(about["shape"])
        order = about.get("permutation") or list(range(len(shape)))
        whole = math.prod(shape) == size and min(shape, default=0) >= 0
        whole = whole and sorted(order) == list(range(len(shape)))
    except (ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise ValueError(f"{name} must have tensors of {size} numbers, got those of {text!r}")
    return shape, order


def _metadata(schema: _Schema) -> dict[bytes, bytes]:
    """Return the metadata of a type: their number, then each name and value behind its length."""
    if not schema.metadata:
        return {}
    at = schema.metadata

    def octets(count: int) -> bytes:
        nonlocal at
        at += count
        return ctypes.string_at(at - count, count)

    def number() -> int:
        return int.from_bytes(octets(4), sys.byteorder)

    return {octets(number()): octets(number()) for _ in range(number())}


def _size(text: str) -> int:
    return int(text.removeprefix(_FIXED))


def _read(name: str, layout: _Layout, chunk: _Chunk, rows_before: int) -> Column:
    """Return the numbers of a chunk, and where each of its lists begins among them.

    `begin` and `end` bound what is used of an array: it may be a slice, and so may what its lists
    hold.
    """
    array, begin, end = chunk.array, 0, chunk.array.length
    inside: list[Offsets | int] = []
    for text in layout.lists:
        _require_no_null(name, array, begin, end, inside, rows_before)
        begin, end = begin + array.offset, end + array.offset
        if text in _LISTS:
            bounds = _offsets(array, _LISTS[text], begin, end, chunk.owner)
            begin, end = int(bounds[0]), int(bounds[-1])
            inside.append(bounds - begin)
        else:
            begin, end = begin * _size(text), end * _size(text)
            inside.append(_size(text))
        array = array.children[0].contents
    _require_no_null(name, array, begin, end, inside, rows_before)
    numbers = _buffer(array, layout.dtype, begin + array.offset, end + array.offset, chunk.owner)
    offsets = inside[0] if inside and not isinstance(inside[0], int) else None
    rows = chunk.array.length if offsets is None else int(offsets[-1])
    return Column(numbers.reshape(rows, *layout.sizes), offsets)


def _offsets(array: _Array, dtype: np.dtype[Any], begin: int, end: int, owner: Any) -> Offsets:
    """Return where each list begins, and where the last one ends."""
    if begin == end:  # there may be no buffer then
        return np.zeros(1, np.int64)
    return _buffer(array, dtype, begin, end + 1, owner).astype(np.int64)


def _buffer(array: _Array, dtype: np.dtype[Any], begin: int, end: int, owner: Any) -> Array:
    """Return a part of what an array holds, where it lies."""
    if begin == end:
        return np.empty(0, dtype)
    return np.asarray(_Memory(array.buffers[1], dtype, end, owner))[begin:]


def _require_no_null(
    name: str,
    array: _Array,
    begin: int,
    end: int,
    inside: list[Offsets | int],
    rows_before: int,
) -> None:
    """Check that no item is missing; `inside` are the lists around them, outermost first."""
    null = _first_null(array, begin, end)
    if null is None:
        return
    place: tuple[int, ...] = ()
    for lists in reversed(inside):
        if isinstance(lists, int):
            null, within = divmod(null, lists)
        else:
            row = int(np.searchsorted(lists, null, side="right")) - 1
            null, within = row, null - int(lists[row])
        place = (within, *place)
    at = (null + rows_before, *place)
    raise ValueError(f"{name} must not have nulls, got one at position {at if place else at[0]}")


def _first_null(array: _Array, begin: int, end: int) -> int | None:
    """Return how many items before the first null are not, or None if there is no null."""
    if begin == end or array.null_count == 0:
        return None
    if not array.n_buffers:  # of the type of nulls
        return 0
    if not array.buffers[0]:
        return None
    first, stop = begin + array.offset, end + array.offset
    octets = np.asarray(_Memory(array.buffers[0], np.dtype(np.uint8), -(-stop // 8), None))
    valid = np.unpackbits(octets[first // 8 :], bitorder="little")[first % 8 :][: end - begin]
    return None if valid.all() else int(valid.argmin())
