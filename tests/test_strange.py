"""Strange arguments: each is answered as the plain array it stands for, or refused by its name."""

import copy
import functools
import inspect
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import embedrnn as er
from cases import CORE
from refusals import CALLS, Arguments, function_of, names_the_argument, read_only, zeros

# --- calls -----------------------------------------------------------------------------------

# What the good calls leave out, and what goes with it.
MORE: dict[str, tuple[str, Callable[[], Arguments]]] = {
    "embedding_bag of weighted rows": (
        "embedding_bag", lambda: {"per_sample_weights": zeros(3) + 1, "padding_idx": 1},
    ),
    "embedding_bag by lengths": (
        "embedding_bag", lambda: {"offsets": None, "lengths": np.array([1, 2])},
    ),
    "embedding_bag_vjp of weighted rows": (
        "embedding_bag_vjp", lambda: {"per_sample_weights": zeros(3) + 1},
    ),
    "EmbeddingBag.__call__ of weighted rows": (
        "EmbeddingBag.__call__", lambda: {"per_sample_weights": zeros(3) + 1},
    ),
    "Embedding.__call__ into an array": ("Embedding.__call__", lambda: {"out": zeros(3, 3)}),
    "gather of int8 rows": ("gather", lambda: {"weight": er.quantize_rows(zeros(5, 3) + 1)}),
    "scatter_add to halves": ("scatter_add", lambda: {"target": zeros(5, 3, dtype="f2")}),
    "scatter_add to objects": ("scatter_add", lambda: {"target": np.zeros((5, 3), object)}),
    "GRU.__call__ of ragged rows": (
        "GRU.__call__",
        lambda: {"x": zeros(5, 2), "lengths": None, "offsets": np.array([0, 2, 2, 5])},
    ),
    "gru_forward of ragged rows": (
        "gru_forward",
        lambda: {"x": zeros(5, 2), "lengths": None, "offsets": np.array([0, 2, 2, 5]), "out": None},
    ),
    "lstm_vjp of ragged rows": (
        "lstm_vjp",
        lambda: {
            "x": zeros(5, 2), "lengths": None, "offsets": np.array([0, 2, 2, 5]),
            "resets": np.ones(5, bool),
        },
    ),
    "GRU.vjp that drops": (
        "GRU.vjp",
        lambda: {"self": er.GRU(2, 4, 2, dropout=0.5), "state": zeros(2, 3, 4), "rng": 0},
    ),
}  # fmt: skip


def call_of(case: str) -> str:
    return MORE[case][0] if case in MORE else case


def arguments_of(case: str) -> Arguments:
    return CALLS[call_of(case)]() | (MORE[case][1]() if case in MORE else {})


Path = tuple[Any, ...]


def fields_of(grad: er.RowGrad) -> dict[str, np.ndarray]:
    return {"indices": grad.indices, "values": grad.values}


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, np.ndarray]]:
    """Yield where the arrays among arguments are, also those in a tuple or a dictionary."""
    if isinstance(value, np.ndarray):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from places(part, (*path, key))
    elif isinstance(value, er.RowGrad):
        yield from places(fields_of(value), path)
    elif isinstance(value, (list, tuple)):
        for position, part in enumerate(value):
            yield from places(part, (*path, position))


def replaced(value: Any, path: Path, new: Any) -> Any:
    """Return arguments with another thing in one place."""
    if not path:
        return new
    if isinstance(value, er.RowGrad):
        return er.RowGrad(**replaced(fields_of(value), path, new))
    part = replaced(value[path[0]], path[1:], new) if path[1:] else new
    if isinstance(value, Mapping):
        return {**value, path[0]: part}
    parts = [part if i == path[0] else item for i, item in enumerate(value)]
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


# --- strange arrays --------------------------------------------------------------------------


class Subclass(np.ndarray):
    """An array that is no more than one."""


class OnlyArray:
    """What NumPy can read, as a data frame's column."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._array, dtype) if copy else np.asarray(self._array, dtype)


class OnlyDlpack:
    """What speaks DLPack and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class Sparse:
    """What looks like a matrix of scipy.sparse."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.toarray = array.copy


class NoGradients:
    """A tensor that NumPy cannot have, as one of PyTorch with gradients."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self.ndim = array.shape, array.ndim

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


def unaligned(array: np.ndarray) -> np.ndarray:
    if array.dtype.hasobject:
        return array
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def memmap(array: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    return mapped


def masked(array: np.ndarray) -> np.ndarray:
    return np.ma.array(array, mask=np.arange(array.size).reshape(array.shape) % 2)


# What stands for the array it is made of.
SAME: dict[str, Callable[[np.ndarray], Any]] = {
    "subclass": lambda array: array.view(Subclass),
    "matrix": lambda array: array.view(np.matrix) if array.ndim == 2 else array,
    "read_only": read_only,
    "byte_swapped": lambda array: array.astype(array.dtype.newbyteorder("S")),
    "unaligned": unaligned,
    "memmap": memmap,
    "array": OnlyArray,
    "dlpack": OnlyDlpack,
}
# What an error may be about, or an array of another dtype, which some arguments may have.
PERHAPS: dict[str, Callable[[np.ndarray], Any]] = {
    "list": lambda array: array.tolist(),
    "object": lambda array: array.astype(object),
    "float64": lambda array: array.astype(np.float64),
}
# What an error may be about, or an array of another shape.
OTHER_SHAPES: dict[str, Callable[[np.ndarray], Any]] = {
    "no_rows": lambda array: array[:0],
    "scalar": lambda array: array.ravel()[:1].reshape(()),
    "more_axes": lambda array: array[None, None],
}
# What is no array of numbers at all.
NEVER: dict[str, Callable[[np.ndarray], Any]] = {
    "masked": masked,
    "masked_rows": lambda array: list(masked(np.stack([array, array]))),
    "ragged": lambda array: [[0, 1], [0], [[1]]],
    "sparse": Sparse,
    "gradients": NoGradients,
    "strings": lambda array: array.astype("U5"),
    "string": lambda array: "01",
    "bytes": lambda array: array.astype("S5"),
    "long_strings": lambda array: array.astype("U5").astype(np.dtypes.StringDType()),
    "dates": lambda array: np.zeros(array.shape, "M8[s]"),
    "structured": lambda array: array.astype([("a", array.dtype), ("b", array.dtype)]),
    "dictionary": lambda array: dict(enumerate(array)),
    "set": lambda array: {0, 1},
    "generator": iter,
    "layer": lambda array: er.GRU(2, 4),
    "type": lambda array: np.ndarray,
    "ellipsis": lambda array: ...,
}
# What may be written to, and what is constructed of its very memory: an array, or nothing.
ARRAYS_ONLY = {"out", "target", "into", "rows"}


@dataclass
class Answer:
    """What a call gave, or how it failed, and what its arguments then held."""

    results: list[tuple[Path, np.ndarray]]
    error: Exception | None
    warned: list[str]


def plain(value: Any) -> Any:
    """Return results as tuples, dictionaries and arrays."""
    if isinstance(value, er.QuantizedRows):
        return value.rows
    if hasattr(value, "state_dict"):
        return value.state_dict()
    return value


def answer(function: Callable[..., Any], arguments: Arguments) -> Answer:
    result, error = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(**arguments)
        except Exception as raised:
            error = raised
    kept = {name: plain(value) for name, value in arguments.items()}
    held = [(path, np.array(array)) for path, array in places([plain(result), kept])]
    return Answer(held, error, [str(warning.message) for warning in caught])


def bytes_of(arguments: Arguments) -> list[tuple[Path, bytes]]:
    return [(path, array.view(np.ndarray).tobytes()) for path, array in places(arguments)]


def equal(one: Answer, other: Answer) -> bool:
    """Whether two calls have given the same numbers, and left the same."""
    mine, others = dict(one.results), dict(other.results)
    return all(
        np.array_equal(mine[path], others[path], equal_nan=mine[path].dtype.kind == "f")
        for path in mine.keys() & others.keys()
    )


def label(path: Path) -> str:
    """Return what a message calls the thing at a place: a parameter by its own name."""
    named = [part for part in path if isinstance(part, str)]
    fields = {("self", 0): "indices", ("self", 1): "values"}
    return fields.get(path) or named[-1]


def fault(case: str, path: Path, strange: Any, *, may_pass: bool, any_name: bool) -> str | None:
    """Return what is wrong about the refusal of an argument, None if nothing is."""
    arguments = replaced(arguments_of(case), path, strange)
    before = bytes_of(arguments)
    got = answer(function_of(call_of(case)), arguments)
    if got.warned:
        return f"warned {got.warned}"
    if got.error is None:
        return None if may_pass else "was accepted"
    message = str(got.error)
    if not isinstance(got.error, (TypeError, ValueError, IndexError, OSError)):
        return repr(got.error)
    if bytes_of(arguments) != before:
        return "wrote something"
    names = [label(path)]
    if any_name:
        names += [*arguments, "indices", "values"]
    if any(names_the_argument(name, message) for name in names) or "parameters do not" in message:
        return None
    return f"said {message!r}"


def difference(case: str, path: Path, make: Callable[[np.ndarray], Any]) -> str | None:
    """Return what is wrong about an answer that should be that to a plain array."""
    arguments = arguments_of(case)
    if (case, *path) == ("gather", "weight"):
        del arguments["out"]  # which must be of the very dtype, byte order included
    array = dict(places(arguments))[path]
    twin = replaced(copy.deepcopy(arguments), path, array.copy())
    strange = make(array.copy())
    got = answer(function_of(call_of(case)), replaced(arguments, path, strange))
    expected = answer(function_of(call_of(case)), twin)
    if got.error is not None:
        return repr(got.error)
    return None if equal(got, expected) and not got.warned else "another answer"


@functools.cache
def every_place() -> list[tuple[str, Path, np.ndarray]]:
    return [
        (case, path, array)
        for case in [*CALLS, *MORE]
        for path, array in places(arguments_of(case))
    ]  # fmt: skip


def strange_cases(table: dict[str, Callable[[np.ndarray], Any]]) -> Any:
    return pytest.mark.parametrize("make", table.values(), ids=table)


@pytest.fixture(params=["numpy", pytest.param("native", marks=pytest.mark.native)])
def either(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on each backend, once: that arguments are strange shows in no kernel."""
    if request.param == "native" and CORE is None:
        pytest.skip("the compiled core is not built")
    with er.use_backend(request.param):
        yield request.param


def described(found: Iterable[tuple[str, Path, str | None]]) -> list[str]:
    return [f"{case} {path}: {wrong}" for case, path, wrong in found if wrong is not None]


@strange_cases(SAME)
def test_the_same_answer(either: str, make: Callable[[np.ndarray], Any]) -> None:
    assert described(
        (case, path, difference(case, path, make))
        for case, path, _ in every_place()
        if path[0] not in ARRAYS_ONLY and not (case.startswith("optim.") and "parameters" in path)
    ) == []  # fmt: skip


@strange_cases(SAME | PERHAPS | OTHER_SHAPES)
def test_an_answer_or_a_named_error(either: str, make: Callable[[np.ndarray], Any]) -> None:
    assert described(
        (case, path, fault(case, path, make(array.copy()), may_pass=True, any_name=True))
        for case, path, array in every_place()
    ) == []  # fmt: skip


@strange_cases(NEVER)
def test_refused_by_name(either: str, make: Callable[[np.ndarray], Any]) -> None:
    def wrong(case: str, path: Path, array: np.ndarray) -> str | None:
        strange = make(array.copy())
        # What is copied only may be of any dtype, if the rest is too.
        copied = case in {"pad", "unpad"} or (case, path) == ("gather", ("weight",))
        any_dtype = copied and type(strange) is np.ndarray
        nested = (case == "clip_grad_norm" and isinstance(strange, dict)) or (
            case.startswith("optim.") and "parameters" in path and isinstance(strange, er.GRU)
        )
        return fault(case, path, strange, may_pass=any_dtype or nested, any_name=any_dtype)

    every = ((case, path, wrong(case, path, array)) for case, path, array in every_place())
    assert described(every) == []


# --- strange options -------------------------------------------------------------------------

MANY = 2**62
OPTIONS: dict[str, Any] = {
    "array": np.array([1, 2]),
    "strings": np.array(["sum", "raise"]),
    "masked": np.ma.array(1, mask=True),
    "object": np.array([1, None], object),
    "scalar": np.array(1.5),
    "string": "strange",
    "bytes": b"1",
    "fraction": 1.5,
    "many": MANY,
    "huge": 10**400,
    "unspeakable": 10**5000,
    "minus_huge": -(10**400),
    "nan": np.nan,
    "complex": 1j,
    "list": [1],
    "dictionary": {},
    "layer": er.GRU(2, 4),
    "type": int,
    "sparse": Sparse(np.zeros((2, 2))),
    "none": None,
}

# Other arguments follow them: offsets ask for two axes of x, a layer for parameters of its names,
# an axis for another shape of out.
OTHERS = {"offsets", "layer", "axis"}


@functools.cache
def every_option() -> list[tuple[str, str]]:
    """Return every argument of every call, but for those that are arrays in the good ones."""
    found = []
    for case in [*CALLS, *MORE]:
        arguments, function = arguments_of(case), function_of(call_of(case))
        named = inspect.signature(function).parameters.values()
        names = {p.name for p in named if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}}
        if call_of(case).endswith("from_pretrained"):
            make = function_of(call_of(case).split(".")[0])
            names |= {*inspect.signature(make).parameters} - {"num_embeddings", "embedding_dim"}
            names -= {"dtype", "rng", "_weight"}
        arrays = {path[0] for path, _ in places(arguments)} | {"weight"}
        found += [(case, name) for name in sorted(names | {*arguments}) if name not in arrays]
    return [(case, name) for case, name in found if name not in {"self", "cls", "_weight"}]


@pytest.mark.parametrize("strange", OPTIONS.values(), ids=OPTIONS)
def test_options_are_taken_or_refused_by_name(either: str, strange: Any) -> None:
    assert described(
        (case, (name,), fault(case, (name,), strange, may_pass=True, any_name=name in OTHERS))
        for case, name in every_option()
        if not (name == "num_layers" and strange is MANY)  # as many parameters
    ) == []  # fmt: skip


# --- tensors ---------------------------------------------------------------------------------


class Tensor:
    """A tensor as PyTorch's, of a dtype that NumPy lacks."""

    dtype = "torch.bfloat16"

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError("Got unsupported ScalarType BFloat16")

    def view(self, dtype: Any) -> Any:
        return types.SimpleNamespace(numpy=lambda: self._array.view(dtype))


def test_tensors_of_bfloat16_are_those_of_ml_dtypes(
    either: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(int16=np.int16))
    table = np.arange(6, dtype=ml_dtypes.bfloat16).reshape(3, 2)
    rows = er.gather(Tensor(table), [2, 0])
    assert rows.dtype == table.dtype
    assert rows.tolist() == [[4, 5], [0, 1]]
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(TypeError, match=r"^weight is of bfloat16, which NumPy has with ml_dtypes"):
        er.gather(Tensor(table), [2, 0])


def test_what_numpy_cannot_read_is_said_with_its_reason(either: str) -> None:
    with pytest.raises(TypeError, match=r"^updates must be array_like, got NoGradients, .*: Can't"):
        er.coalesce([0], NoGradients(np.zeros(1)))
    with pytest.raises(TypeError, match=r"^weight must be array_like, got Sparse: .*toarray\(\)"):
        er.gather(Sparse(np.eye(2)), [0])


def test_what_is_masked_is_not_shown(either: str) -> None:
    hidden = np.ma.array([[1.0, 99.0]], mask=[[0, 1]])
    for table in (hidden, [hidden[0]], (hidden[0],)):
        with pytest.raises(TypeError, match=r"^weight must be an array without a mask.*filled\(\)"):
            er.gather(table, [0])


# --- objects ---------------------------------------------------------------------------------


def test_tables_of_objects_have_the_rules_of_all_tables(either: str) -> None:
    table = np.array(["x", None, ("z",)], object)
    assert er.gather(table, [2, -3]).tolist() == [("z",), "x"]
    assert er.gather(table, 2) == ("z",)
    far = np.array([4, 2**64 - 1], np.uint64)
    assert er.gather(table, far, mode="wrap").tolist() == [None, "x"]
    with pytest.raises(IndexError, match=r"^index 3 at position 1 is out of range for weight"):
        er.gather(table, [0, 3])
    with pytest.raises(TypeError, match=r"^indices must be integers, got bool"):
        er.gather(table, [True, False, True])
    with pytest.raises(ValueError, match=r"^mode must be 'raise'"):
        er.gather(table, [0], mode="warp")
    out = np.zeros(2, object)
    assert er.gather(table, [1, 0], out=out) is out
    assert out.tolist() == [None, "x"]


def test_objects_that_do_not_add_leave_the_target_alone(either: str) -> None:
    target = np.array([1, 2], object)
    assert er.scatter_add(target, [1, 1], [3, 0.5]).tolist() == [1, 5.5]
    with pytest.raises(TypeError, match=r"^updates cannot be added to target: .*NoneType"):
        er.scatter_add(target, [0, 1], [10, None])
    assert target.tolist() == [1, 5.5]
