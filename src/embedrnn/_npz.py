"""Arrays in a file of numpy.savez that can be mapped into memory.

Each array begins at a multiple of 64 bytes: the header of its member has a field of padding, as
zipalign writes it, and the header of NumPy's own format has a multiple of 64. `numpy.load` reads
such a file as any other. What is bfloat16 is there as uint16, and an entry of the file says so.
"""

import importlib
import math
import os
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

Array = npt.NDArray[Any]
File = str | os.PathLike[str]

ALIGNMENT = 64
DTYPES = "dtypes"

# A member's header without its name; what zipfile adds to that for sizes of 64 bits; a field of
# padding, empty: its identifier, its size, and what is aligned to.
_HEADER = struct.Struct("<4s22xHH")
_SIZES = 20
_PADDING = struct.Struct("<HHH")
_PADDING_ID = 0xD935

_KINDS = frozenset("biufcmMSU")
_ENCRYPTED = 1


def save(path: File, arrays: Mapping[str, npt.ArrayLike], *, dtypes: str = DTYPES) -> None:
    """Write arrays, by name, to a file of this very name, in place of any that is there.

    The file takes its place when it is whole: whoever maps the one before goes on to read that, and
    an error leaves it. The entry `dtypes` tells those of bfloat16, and is there if there are any.

    Raises
    ------
    TypeError
        If an array is of a dtype that only a pickle could hold, or that NumPy does not know.
    ValueError
        If a name is that of the entry.
    """
    if dtypes in arrays:
        raise ValueError(
            f"{dtypes} is the name of the entry that tells dtypes, got it for an array"
        )
    given = {name: np.asanyarray(array) for name, array in arrays.items()}
    halves = [name for name, array in given.items() if array.dtype.name == "bfloat16"]
    members = given | {name: given[name].view(np.uint16) for name in halves}
    for name, array in members.items():
        if not _is_plain(array.dtype):
            raise TypeError(f"{name} must be numbers or text of a fixed size, got {array.dtype}")
    if halves:
        members[dtypes] = np.array([(name, "bfloat16") for name in halves])
    target = Path(path).resolve()  # where a link to a file leads, not the link
    beside = target.with_name(f"{target.name}.{os.urandom(4).hex()}.part")
    try:
        with beside.open("xb") as file:
            _write(file, members)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _write(file: IO[bytes], members: Mapping[str, Array]) -> None:
    zipfile: Any = importlib.import_module("zipfile")  # which not everybody needs
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            before = file.tell() + _HEADER.size + len(info.filename.encode()) + _SIZES
            padding = -(before + _PADDING.size) % ALIGNMENT
            info.extra = _PADDING.pack(_PADDING_ID, 2 + padding, ALIGNMENT) + bytes(padding)
            with archive.open(info, "w", force_zip64=True) as member:  # as large as it may be
                npy.write_array(member, array, allow_pickle=False)


def load(path: File, names: Collection[str] = (), *, dtypes: str = DTYPES) -> dict[str, Array]:
    """Return the arrays of a file by name, as read-only views of one `numpy.memmap`.

    Nothing is read but headers, and nothing is unpickled: checksums are not looked at. A file that
    `numpy.savez` wrote will do, but for its arrays, which need not be aligned.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is no such file, a member cannot be mapped, or one of `names` is not there.
    TypeError
        If there is bfloat16, and no ml_dtypes.
    """
    zipfile: Any = importlib.import_module("zipfile")
    with Path(path).open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        except (MemoryError, OSError):
            raise
        except Exception as error:  # zipfile has a wide choice of them
            _refuse(path, f"it is no .npz file, or not the whole of one: {error}")
        whole = np.memmap(file, np.uint8, "r")
        found = {
            info.filename.removesuffix(".npy"): _mapped(path, file, whole, info) for info in members
        }
    missing = [name for name in names if name not in found]
    if missing:
        _refuse(
            path, f"there is no {', '.join(missing)} in it, but {', '.join(found) or 'nothing'}"
        )
    entry = found.pop(dtypes, None)
    return found if entry is None else found | _halves(path, found, dtypes, entry)


def _mapped(path: File, file: IO[bytes], whole: Array, info: Any) -> Array:
    """Return a member as a view of the mapped file."""
    if info.compress_type != 0 or info.flag_bits & _ENCRYPTED:
        _refuse(path, f"{info.filename} is compressed or encrypted, and cannot be mapped")
    header = whole[max(0, info.header_offset) :][: _HEADER.size].tobytes()
    if len(header) < _HEADER.size or not header.startswith(b"PK\3\4"):
        _refuse(path, f"{info.filename} does not begin where it should")
    _, name, extra = _HEADER.unpack(header)
    begin = max(0, info.header_offset) + _HEADER.size + name + extra
    file.seek(begin)
    shape, fortran, dtype = _array_header(path, file, info.filename)
    if not _is_plain(dtype):
        _refuse(path, f"{info.filename} is of {dtype}, which cannot be mapped")
    first, end = file.tell(), begin + info.file_size
    if min(shape, default=0) < 0 or first + math.prod(shape) * dtype.itemsize != end:
        _refuse(path, f"{info.filename} has another size than its shape {shape} and {dtype} make")
    if end > len(whole):
        _refuse(path, f"it ends before {info.filename} does")
    array = whole[first:end].view(dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _array_header(
    path: File, file: IO[bytes], name: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        return read(file)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # so has NumPy
        _refuse(path, f"{name} does not have the header of an array: {error}")


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether a header of NumPy's format says all of a dtype."""
    return dtype.kind in _KINDS and dtype.isbuiltin != 2 and dtype.itemsize > 0


def _halves(path: File, found: Mapping[str, Array], name: str, entry: Array) -> dict[str, Array]:
    """Return those that the entry of dtypes tells as bfloat16, in that dtype."""
    bits = [array for array in found if found[array].dtype == np.uint16]
    told = entry.dtype.kind == "U" and entry.shape[1:] == (2,)
    halves = [array for array in bits if told and (entry[:, 0] == array).any()]
    if not told or len(halves) != len(entry) or not (entry[:, 1] == "bfloat16").all():
        _refuse(path, f"{name}.npy does not tell arrays of bfloat16 in it")
    try:
        bfloat16: npt.DTypeLike = importlib.import_module("ml_dtypes").bfloat16
    except ImportError:
        raise TypeError(f"{path} holds bfloat16, which NumPy has with ml_dtypes alone") from None
    return {array: found[array].view(bfloat16) for array in halves}


def _refuse(path: File, why: str) -> NoReturn:
    raise ValueError(f"{os.fspath(path)} cannot be mapped: {why}")
