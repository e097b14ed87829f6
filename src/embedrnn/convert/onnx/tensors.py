"""The tensors of an ONNX file, as views of the file or of those beside it."""

import math
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn.convert.onnx.protobuf import Malformed, Message

Array = npt.NDArray[Any]

_DIMS, _DTYPE, _SEGMENT, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 3, 8, 9, 13, 14
_FLOATS, _INT32S, _INT64S, _DOUBLES, _UINT64S = 4, 5, 7, 10, 11
_KEY, _VALUE = 1, 2

BFLOAT16 = 16
# The dtypes that NumPy has, by number, little-endian as they are stored, and the field that holds
# their values where those are not raw. bfloat16 is read by its bits.
DTYPES = {
    1: ("<f4", _FLOATS), 2: ("u1", _INT32S), 3: ("i1", _INT32S), 4: ("<u2", _INT32S),
    5: ("<i2", _INT32S), 6: ("<i4", _INT32S), 7: ("<i8", _INT64S), 9: ("?", _INT32S),
    10: ("<f2", _INT32S), 11: ("<f8", _DOUBLES), 12: ("<u4", _UINT64S), 13: ("<u8", _UINT64S),
    14: ("<c8", _FLOATS), 15: ("<c16", _DOUBLES), BFLOAT16: ("<u2", _INT32S),
}  # fmt: skip


class Files:
    """The bytes of a model, and of the files beside it that hold tensors."""

    def __init__(self, model: Any, folder: Path | None) -> None:
        self.model = memoryview(model).cast("B")
        self._folder = folder
        self._others: dict[str, memoryview] = {}

    @property
    def size(self) -> int:
        """Return how many bytes there are in all that was opened."""
        return len(self.model) + sum(map(len, self._others.values()))

    def beside(self, tensor: str, entries: dict[str, str]) -> memoryview:
        """Return the bytes that a tensor has in a file of its own."""
        location = entries.get("location", "")
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        except ValueError:
            raise Malformed(f"{tensor} has an offset or a length that is no integer") from None
        data = self._other(tensor, location)
        end = len(data) if length < 0 else offset + length
        if not 0 <= offset <= end <= len(data):
            raise Malformed(f"{location} ends before {tensor} does")
        return data[offset:end]

    def _other(self, tensor: str, location: str) -> memoryview:
        if self._folder is None:
            raise Malformed(f"{tensor} is in a file of its own, {location}: give the model's path")
        paths = PurePosixPath(location), PureWindowsPath(location)
        if not location or any(p.is_absolute() or p.drive or ".." in p.parts for p in paths):
            raise Malformed(f"{tensor} is in a file outside the model's folder: {location!r}")
        if location not in self._others:
            try:
                self._others[location] = mapped(self._folder / location)
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                raise Malformed(
                    f"{tensor} is in {location!r}, which cannot be read: {why}"
                ) from None
        return self._others[location]


def mapped(path: str | os.PathLike[str]) -> memoryview:
    """Return the bytes of a file, mapped into memory."""
    with Path(path).open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # which cannot be mapped
            return memoryview(b"")
        whole: Any = np.memmap(file, np.uint8, "r")
        return memoryview(whole)


def name_of(tensor: Message) -> str:
    """Return the name of a tensor."""
    return tensor.text(_NAME)


def read(tensor: Message, files: Files) -> Array | None:
    """Return a tensor, read-only; None if NumPy has no such dtype. bfloat16 comes as float32."""
    code = tensor.integer(_DTYPE)
    if code not in DTYPES:
        return None
    if _SEGMENT in tensor:
        raise Malformed(f"{tensor.what} is in segments")
    dtype, field = np.dtype(DTYPES[code][0]), DTYPES[code][1]
    shape = tuple(tensor.integers(_DIMS))
    raw = _raw(tensor, files)
    values = _typed(tensor, dtype, field) if raw is None else _whole(tensor, raw, dtype)
    if min(shape, default=0) < 0 or math.prod(shape) != values.size:
        raise Malformed(f"{tensor.what} has {values.size} numbers, and the shape {shape}")
    try:
        if code == BFLOAT16:
            array = _widened(values).reshape(shape)
        else:
            array = values.astype(dtype.newbyteorder("="), copy=False).reshape(shape)
    except ValueError:  # of no numbers, with axes that are longer than any memory
        raise Malformed(f"{tensor.what} has the shape {shape}") from None
    array.flags.writeable = False
    return array


def _raw(tensor: Message, files: Files) -> memoryview | None:
    if tensor.integer(_LOCATION) != 1:
        return tensor.blob(_RAW)
    entries = tensor.messages(_EXTERNAL, f"what says where {tensor.what} is")
    return files.beside(tensor.what, {e.text(_KEY): e.text(_VALUE) for e in entries})


def _whole(tensor: Message, raw: memoryview, dtype: np.dtype[Any]) -> Array:
    if len(raw) % dtype.itemsize:
        raise Malformed(f"{tensor.what} ends within a number")
    return np.frombuffer(raw, dtype)


def _typed(tensor: Message, dtype: np.dtype[Any], field: int) -> Array:
    """Return values from the field for those of this dtype, of which complex ones have two."""
    if field in {_FLOATS, _DOUBLES}:
        values = tensor.numbers(field, "<f4" if field == _FLOATS else "<f8")
        if dtype.kind != "c":
            return values
        return _whole(tensor, memoryview(values.tobytes()), dtype)
    words = tensor.words(field)
    if dtype.kind == "f":  # halves, by their bits
        return words.astype("<u2").view(dtype)
    return words.astype(dtype)


def _widened(bits: Array) -> Array:
    """Return bfloat16 as float32, whose upper half it is."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
