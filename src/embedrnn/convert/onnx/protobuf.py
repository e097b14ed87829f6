"""The wire format of protocol buffers: the fields of a message, by their numbers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10
_WORD = 2**64


class Malformed(ValueError):
    """What is read is not what it should be; whoever knows its name tells that too."""


class Message:
    """A message, split into fields. What is long is a view of the memory that it came in."""

    def __init__(self, data: memoryview, what: str) -> None:
        self.what = what
        self._fields: dict[int, list[tuple[int, Any]]] = {}
        for number, wire, value in _fields(data, what):
            self._fields.setdefault(number, []).append((wire, value))

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def blobs(self, number: int) -> list[memoryview]:
        """Return the values of a field of bytes, none of which is copied."""
        return [value for _, value in self._of(number, _BYTES)]

    def blob(self, number: int) -> memoryview | None:
        """Return the value of a field of bytes: the last, as protocol buffers have it."""
        found = self.blobs(number)
        return found[-1] if found else None

    def texts(self, number: int) -> list[str]:
        """Return the values of a field of text."""
        try:
            return [str(value, "utf-8") for value in self.blobs(number)]
        except UnicodeDecodeError:
            raise Malformed(f"field {number} of {self.what} is not UTF-8") from None

    def text(self, number: int) -> str:
        """Return the value of a field of text, "" if there is none."""
        found = self.texts(number)
        return found[-1] if found else ""

    def messages(self, number: int, what: str) -> list["Message"]:
        """Return the messages of a field that is repeated."""
        return [Message(value, what) for value in self.blobs(number)]

    def message(self, number: int, what: str) -> "Message | None":
        """Return the message of a field: where there are several, they are parts of one."""
        parts = self.blobs(number)
        if not parts:
            return None
        return Message(parts[0] if len(parts) == 1 else memoryview(b"".join(parts)), what)

    def integer(self, number: int, default: int = 0) -> int:
        """Return the value of a field of an integer, signed."""
        found = self._of(number, _VARINT)
        return _signed(found[-1][1]) if found else default

    def integers(self, number: int) -> list[int]:
        """Return the values of a repeated field of integers, signed, packed or not."""
        values: list[int] = self.words(number).view(np.int64).tolist()
        return values

    def words(self, number: int) -> npt.NDArray[np.uint64]:
        """Return the values of a repeated field of integers, packed or not, by their 64 bits."""
        parts = [
            _varints(value, self.what) if wire == _BYTES else np.array([value], np.uint64)
            for wire, value in self._of(number, _VARINT, _BYTES)
        ]
        return _joined(parts, np.dtype(np.uint64))

    def numbers(self, number: int, dtype: str) -> Array:
        """Return the values of a repeated field of floating-point numbers, packed or not."""
        kind = np.dtype(dtype)
        wire = _FIXED64 if kind.itemsize == _SIZES[_FIXED64] else _FIXED32
        blobs = [value for _, value in self._of(number, wire, _BYTES)]
        if any(len(value) % kind.itemsize for value in blobs):
            raise Malformed(f"field {number} of {self.what} ends within a number")
        return _joined([np.frombuffer(value, kind) for value in blobs], kind)

    def _of(self, number: int, *wires: int) -> list[tuple[int, Any]]:
        found = self._fields.get(number, [])
        if any(wire not in wires for wire, _ in found):
            raise Malformed(f"field {number} of {self.what} is of another type")
        return found


def _fields(data: memoryview, what: str) -> Iterator[tuple[int, int, Any]]:
    """Yield the number of each field, how it is written, and its value."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at, what)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == _VARINT:
            value, at = _varint(data, at, what)
        elif wire in {_BYTES, *_SIZES}:
            size = _SIZES.get(wire)
            if size is None:
                size, at = _varint(data, at, what)
            if size > end - at:
                raise Malformed(f"{what} ends within field {number}")
            value, at = data[at : at + size], at + size
        else:
            raise Malformed(f"{what} has a field of an unknown kind, {wire}")
        if not 0 < number < 2**29:
            raise Malformed(f"{what} has a field of the number {number}")
        yield number, wire, value


def _varint(data: memoryview, at: int, what: str) -> tuple[int, int]:
    """Return an integer, and where the next field begins."""
    value = 0
    for k, octet in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (octet & 127) << 7 * k
        if octet < 128:
            return value % _WORD, at + k + 1
    raise Malformed(f"{what} ends within an integer, or holds one that is too long")


def _varints(data: memoryview, what: str) -> npt.NDArray[np.uint64]:
    """Return integers that stand one behind the other, byte by byte of all of them."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 128)
    begins = np.concatenate([np.zeros(1, np.intp), ends + 1])
    sizes = ends + 1 - begins[:-1]
    longest = int(sizes.max(initial=0))
    if longest > _LONGEST_VARINT or begins[-1] != len(octets):
        raise Malformed(f"{what} ends within an integer, or holds one that is too long")
    values = np.zeros(len(ends), np.uint64)
    for k in range(longest):
        some = np.flatnonzero(sizes > k)
        septets = (octets[begins[some] + k] & 127).astype(np.uint64)
        values[some] |= septets << np.uint64(7 * k)
    return values


def _joined(parts: list[Array], dtype: np.dtype[Any]) -> Array:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _signed(word: int) -> int:
    return word - _WORD if word >= _WORD // 2 else word
