"""Tensors in a file of the safetensors format, read with NumPy alone.

A file begins with the length of a header in 8 bytes, little-endian, and the header in JSON: for
each tensor its dtype, its shape, and where its numbers begin and end behind the header, row after
row and little-endian [1]_. Nothing of it can be code. The numbers are mapped into memory.

.. [1] https://huggingface.co/docs/safetensors: Format
"""

import importlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
File = str | os.PathLike[str]
Entry = tuple[str, list[int], list[int]]  # the dtype, the shape, and where the numbers are

_LENGTH = np.dtype("<u8")
_MOST = 100_000_000  # bytes of a header, as the format allows

_BFLOAT16 = "BF16"
_DTYPES = {
    _BFLOAT16: "<u2",
    "BOOL": "?",
    **{f"{kind}{8 * size}": f"<{code}{size}"
       for kind, code in (("F", "f"), ("I", "i"), ("U", "u"))
       for size in (1, 2, 4, 8) if (kind, size) != ("F", 1)},
}  # fmt: skip


class SafeTensors(Mapping[str, Array]):
    """The tensors of a file by name: read-only views of one `numpy.memmap`.

    Of bfloat16 they are in the dtype of ml_dtypes, or with `widens` in float32, which holds the
    same numbers.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is no such file, or not the whole of one.
    TypeError
        When a tensor is asked for that has a dtype that NumPy lacks, as bfloat16 is without
        ml_dtypes.
    """

    def __init__(self, path: File, *, widens: bool = False) -> None:
        self._path, self._widens = path, widens
        if Path(path).stat().st_size < _LENGTH.itemsize:  # of which nothing can be mapped
            self._refuse("it ends within its first 8 bytes")
        whole = np.memmap(path, np.uint8, "r")
        length = int(whole[: _LENGTH.itemsize].view(_LENGTH)[0])
        if length > min(_MOST, len(whole) - _LENGTH.itemsize):
            self._refuse(f"it has {len(whole)} bytes, and a header of {length}")
        header, self._numbers = np.split(whole[_LENGTH.itemsize :], [length])
        self._entries = self._header(header.tobytes())
        for name in self._entries:
            self._require_place(name)
        self._require_all_placed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, name: str) -> Array:
        kind, shape, (begin, end) = self._entries[name]
        if kind not in _DTYPES:
            raise TypeError(f"{name} is of {kind}, which NumPy has not")
        array = self._numbers[begin:end].view(_DTYPES[kind]).reshape(shape)
        return self._halves(name, array) if kind == _BFLOAT16 else array

    def _header(self, text: bytes) -> dict[str, Entry]:
        json: Any = importlib.import_module("json")  # which not everybody needs
        try:
            found = json.loads(str(text, "utf-8"), object_pairs_hook=_once, parse_constant=_none)
            about = found.pop("__metadata__", None) or {}
            entries = {
                name: (entry["dtype"], entry["shape"], entry["data_offsets"])
                for name, entry in found.items()
            }
            whole = all(map(_is_entry, entries.values())) and _is_text(about)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            whole = False
        if not whole:
            self._refuse("it has no header of tensors")
        return entries

    def _require_place(self, name: str) -> None:
        """Check that a tensor lies within the file, and has the size that its shape makes."""
        kind, shape, (begin, end) = self._entries[name]
        if not begin <= end <= len(self._numbers):
            self._refuse(f"{name} does not lie within it")
        if kind in _DTYPES and end - begin != math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize:
            self._refuse(f"{name} has another size than its shape {tuple(shape)} and {kind} make")

    def _require_all_placed(self) -> None:
        """Check that tensors stand one behind the other, as the format demands, and nothing else.

        Bytes of several tensors, or of none, are those of another file, or of one that hides some.
        """
        end = 0
        for name, (_, _, (begin, behind)) in sorted(
            self._entries.items(), key=lambda item: item[1][2]
        ):
            if begin != end:
                self._refuse(f"{name} begins at byte {begin}, where those before end at {end}")
            end = behind
        if end != len(self._numbers):
            self._refuse(f"its tensors end at byte {end} of {len(self._numbers)}")

    def _halves(self, name: str, bits: Array) -> Array:
        if self._widens:
            return (bits.astype(np.uint32) << 16).view(np.float32)
        try:
            bfloat16: npt.DTypeLike = importlib.import_module("ml_dtypes").bfloat16
        except ImportError:
            said = f"{name} is of bfloat16, which NumPy has with ml_dtypes alone"
            raise TypeError(said) from None
        return bits.view(bfloat16)

    def _refuse(self, why: str) -> NoReturn:
        raise ValueError(f"{os.fspath(self._path)} cannot be read as safetensors: {why}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return what JSON has by name, each name once: of two, others may read the other."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _none(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _is_text(about: Any) -> bool:
    """Whether what a file says of itself is text by name."""
    return isinstance(about, dict) and all(isinstance(text, str) for text in about.values())


def _is_entry(entry: Any) -> bool:
    """Whether an entry of the header is of the types that it must be."""
    kind, shape, offsets = entry
    sizes = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2
    return (
        isinstance(kind, str)
        and sizes
        and all(type(number) is int and number >= 0 for number in (*shape, *offsets))
    )
