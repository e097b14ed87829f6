"""Files of arrays: what is read is what was written, aligned and mapped, and bad files are told."""

import contextlib
import errno
import importlib
import mmap
import os
import random
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import embedrnn as er
from embedrnn import _npz

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16",
          "M8[s]", "m8[ns]", ">f4", ">i8", "S5", "U3", ml_dtypes.bfloat16]  # fmt: skip
SHAPES = [(), (1,), (7,), (0,), (3, 0, 2), (5, 3), (2, 3, 4), (1000, 33)]


def drawn(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, shape).astype(dtype)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "arrays.npz"


def member_starts(path: Path) -> list[int]:
    """Return where the members of a file begin, behind their headers."""
    data, starts = path.read_bytes(), []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
            starts.append(info.header_offset + 30 + name + extra)
    return starts


# --- what was written --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_read_is_what_was_written(path: Path, dtype: Any) -> None:
    arrays = {f"a{i}": drawn(shape, dtype) for i, shape in enumerate(SHAPES)}
    arrays["fortran"] = np.asfortranarray(drawn((4, 3, 2), dtype))
    arrays["strided"] = drawn((4, 6), dtype)[::-1, ::2]
    _npz.save(path, arrays)
    found = _npz.load(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert_same(found[name], array)


def test_names_and_paths_of_every_kind(tmp_path: Path) -> None:
    arrays = {"weight_ih_l0": np.ones(3), "encoder.weight": np.ones(2), "Gewicht ä": np.ones(1)}
    for path in (tmp_path / "a.npz", str(tmp_path / "no ending ä")):
        _npz.save(path, arrays)
        assert {name: array.tolist() for name, array in _npz.load(path).items()} == {
            name: array.tolist() for name, array in arrays.items()
        }
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.npz", "no ending ä"]


def test_array_like_and_nothing(path: Path) -> None:
    _npz.save(path, {"list": [1.5, 2.5], "options": '{"a": 1}'})  # type: ignore[dict-item]
    found = _npz.load(path, ["list"])
    assert found["list"].tolist() == [1.5, 2.5]
    assert found["options"].item() == '{"a": 1}'
    _npz.save(path, {})
    assert _npz.load(path) == {}


def test_numpy_reads_it(path: Path) -> None:
    arrays = {"a": drawn((3, 4), "f4"), "b.c": drawn((5,), "i8"), "text": np.array("text")}
    _npz.save(path, arrays | {"half": drawn((2, 3), ml_dtypes.bfloat16)})
    with np.load(path) as file:
        found = dict(file)
    for name, array in arrays.items():
        assert_same(found[name], array)
    assert_same(found["half"], drawn((2, 3), ml_dtypes.bfloat16).view(np.uint16))
    assert found["dtypes"].tolist() == [["half", "bfloat16"]]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_a_file_of_numpy_is_read(path: Path) -> None:
    arrays = {"a": drawn((3, 4), "f4"), "b": drawn((5,), "i8"), "none": drawn((0, 2), "f4")}
    np.savez(path, **arrays)
    for name, array in _npz.load(path, arrays).items():
        assert_same(array, arrays[name])


@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_products_of_a_frozen_encoder_may_begin_anywhere(path: Path, dtype: Any) -> None:
    encoder = er.Encoder(er.Embedding(9, 4, rng=0), er.LSTM(4, 3, bidirectional=True, rng=0))
    frozen = encoder.freeze(dtype)
    frozen.save(path)
    arrays, (expected, _) = dict(np.load(path)), frozen([[3, 1, 4]])
    for length in range(1, 5):  # of a name, so that arrays begin anywhere
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x" * length, b"")
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array)
        output, _ = er.FrozenEncoder.load(path)([[3, 1, 4]])
        assert output.tobytes() == expected.tobytes()


def test_the_entry_of_dtypes_has_the_name_that_is_asked_for(path: Path) -> None:
    halves = {"w": drawn((3, 2), ml_dtypes.bfloat16), "dtypes": drawn((2,), "f4")}
    _npz.save(path, halves, dtypes="told")
    found = _npz.load(path, dtypes="told")
    assert list(found) == ["w", "dtypes"]
    assert_same(found["w"], halves["w"])


def test_the_same_arrays_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _npz.save(tmp_path / name, {"x": drawn((3, 4), "f4")})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# --- how it is mapped --------------------------------------------------------------------------


def test_members_begin_at_multiples_of_64(path: Path) -> None:
    arrays = {"n" * n + "ä" * (n % 3): drawn((n,), "u1") for n in range(1, 70)}
    _npz.save(path, arrays)
    assert len(member_starts(path)) == 69
    assert [start % 64 for start in member_starts(path)] == [0] * 69
    for array in _npz.load(path).values():
        assert array.ctypes.data % 64 == 0


def test_fields_of_padding_are_well_formed(path: Path) -> None:
    _npz.save(path, {"n" * n: drawn((n,), "u1") for n in range(1, 70)})
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind, size, alignment = struct.unpack_from("<HHH", info.extra)
            assert (kind, alignment) == (0xD935, 64)
            assert size == len(info.extra) - 4
            assert not any(info.extra[6:])


@pytest.mark.parametrize("dtype", ["f4", ml_dtypes.bfloat16], ids=str)
def test_arrays_are_mapped_and_read_only(path: Path, dtype: Any) -> None:
    _npz.save(path, {"x": drawn((1000, 33), dtype), "y": drawn((5, 3), dtype)})
    found = _npz.load(path)
    for array in found.values():
        assert isinstance(array, np.memmap)
        assert isinstance(array._mmap, mmap.mmap)
        assert not array.flags.writeable
        assert not array.flags.owndata
        with pytest.raises(ValueError, match=r"cannot set WRITEABLE"):
            array.flags.writeable = True
    with path.open("r+b") as file:  # what the file holds from now on shows
        file.seek(path.read_bytes().index(drawn((1000, 33), dtype).tobytes()))
        file.write(b"\xff\xff\xff\xff")
    assert np.isnan(found["x"][0, :1].astype("f4")).all()


def test_who_maps_a_file_keeps_it_when_it_is_replaced(path: Path) -> None:
    _npz.save(path, {"x": np.ones(5000)})
    before = _npz.load(path)["x"]
    _npz.save(path, {"x": np.zeros(5000)})
    assert before.sum() == 5000
    assert _npz.load(path)["x"].sum() == 0


def test_a_link_goes_on_to_lead_to_the_file(tmp_path: Path, path: Path) -> None:
    _npz.save(path, {"x": np.ones(1)})
    link = tmp_path / "link.npz"
    link.symlink_to(path)
    _npz.save(link, {"x": np.zeros(1)})
    assert link.is_symlink()
    assert _npz.load(path)["x"].tolist() == [0]


def test_files_of_more_than_4_gb_have_sizes_of_64_bits(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if sizes of 32 bits ended at 1,000: a member that was not told would raise."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    arrays = {name: drawn((1000, 3), "f4") for name in "abc"}
    _npz.save(path, arrays)
    with zipfile.ZipFile(path) as archive:
        assert [info.extract_version for info in archive.infolist()] == [45] * 3
    assert all(start % 64 == 0 for start in member_starts(path))
    for found in (_npz.load(path), np.load(path)):
        for name, array in arrays.items():
            assert_same(found[name], array)


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.array([None]), "object"),
        (np.zeros(2, "i4,f4"), "[('f0', '<i4'), ('f1', '<f4')]"),
        (np.zeros(2, ml_dtypes.float8_e4m3fn), "float8_e4m3fn"),
        (np.zeros(2, np.dtypes.StringDType()), "StringDType()"),
    ],
    ids=["object", "structured", "float8", "strings"],
)
def test_dtypes_that_a_header_does_not_tell_are_refused(path: Path, array: Any, got: str) -> None:
    _npz.save(path, {"x": np.ones(3)})
    message = f"^x must be numbers or text of a fixed size, got {re.escape(got)}$"
    with pytest.raises(TypeError, match=message):
        _npz.save(path, {"y": np.zeros(3), "x": array})
    assert list(_npz.load(path)) == ["x"]


def test_the_name_of_the_entry_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"^dtypes is the name of the entry"):
        _npz.save(path, {"dtypes": np.ones(3)})
    assert not path.exists()


def test_an_error_on_the_way_leaves_the_file_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _npz.save(path, {"x": np.ones(3)})

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left"):
        _npz.save(path, {"x": np.zeros(3)})
    assert _npz.load(path)["x"].tolist() == [1, 1, 1]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def refused(path: Path, message: str, *names: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} cannot be mapped: {message}"):
        _npz.load(path, names)


def test_a_name_that_is_missing(path: Path) -> None:
    _npz.save(path, {"a": np.ones(3), "b": np.ones(3)})
    refused(path, "there is no c, d in it, but a, b$", "a", "c", "d")
    _npz.save(path, {})
    refused(path, "there is no c in it, but nothing$", "c")


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _npz.load(path)


def test_members_that_cannot_be_mapped(path: Path) -> None:
    np.savez_compressed(path, x=np.ones(3))
    refused(path, r"x\.npy is compressed or encrypted")
    np.savez(path, x=np.array([None]), allow_pickle=True)
    refused(path, r"x\.npy is of object, which cannot be mapped$")
    np.savez(path, x=np.zeros(3, "i4,f4"))
    refused(path, r"x\.npy is of \[\('f0'")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"no array")
    refused(path, r"x\.npy does not have the header of an array: ")


@pytest.mark.parametrize("shape", [(4,), (2,), (3, 0), (-1, -3), (2**62, 2**62)], ids=str)
def test_a_shape_of_another_size(path: Path, shape: tuple[int, ...]) -> None:
    with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(24))
    refused(path, r"x\.npy has another size than its shape")


@pytest.mark.parametrize("entry", [np.ones(3), np.array([["x", "bfloat16"]]),
                                   np.array([["y", "bfloat16"]]), np.array([["u", "float8"]]),
                                   np.array(["u", "bfloat16"])])  # fmt: skip
def test_an_entry_of_dtypes_that_tells_something_else(path: Path, entry: np.ndarray) -> None:
    np.savez(path, x=np.ones(3, "f4"), u=np.ones(3, "u2"), dtypes=entry)
    refused(path, r"dtypes\.npy does not tell arrays of bfloat16 in it$")


def test_bfloat16_without_ml_dtypes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _npz.save(path, {"x": drawn((3,), ml_dtypes.bfloat16)})
    load = importlib.import_module

    def absent(name: str) -> Any:
        if name == "ml_dtypes":
            raise ImportError
        return load(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(TypeError, match=r"holds bfloat16, which NumPy has with ml_dtypes alone$"):
        _npz.load(path)


def test_a_file_that_is_cut_short(path: Path) -> None:
    _npz.save(path, {"x": drawn((50, 3), "f4"), "y": drawn((5, 3), ml_dtypes.bfloat16)})
    data = path.read_bytes()
    for length in range(0, len(data), 17):
        path.write_bytes(data[:length])
        refused(path, r"it is no \.npz file, or not the whole of one: ")


def test_a_file_with_wrong_bytes_is_read_or_refused(path: Path) -> None:
    """Wrong numbers in headers are told; wrong numbers in arrays nobody can tell."""
    _npz.save(path, {"x": drawn((5, 3), "f4"), "y": drawn((5, 3), ml_dtypes.bfloat16)})
    data, draw = path.read_bytes(), random.Random(3)
    for _ in range(1000):
        wrong = bytearray(data)
        for at in draw.sample(range(len(data)), draw.randint(1, 3)):
            wrong[at] = draw.choice([0, 1, 0x7F, 0xFF, wrong[at] ^ 1 << draw.randint(0, 7)])
        path.write_bytes(wrong)
        with contextlib.suppress(ValueError):
            for array in _npz.load(path).values():
                array.tobytes()
