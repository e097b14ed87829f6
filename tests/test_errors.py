"""Refused arguments: the exception, its words in every backend, and that nothing was written."""

import gc
import inspect
import operator
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import GATES, WRITEABLE_LAYOUTS, snapshot, values
from refusals import (
    BAD_LENGTHS,
    CALLS,
    FORWARDS,
    RECURRENCES,
    ROWS,
    VJPS,
    Arguments,
    function_of,
    names_the_argument,
    read_only,
)

# --- gather and scatter_add ----------------------------------------------------------------------


@dataclass(frozen=True)
class Refused:
    """A good call with some arguments changed; `message` is a regular expression."""

    call: str
    name: str
    error: type[Exception]
    message: str
    changes: Arguments = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.call}-{self.name}"

    def arguments(self) -> Arguments:
        return CALLS[self.call]() | self.changes


def index_message(value: int, position: str, table: str = "weight", least: int = -5) -> str:
    text = f"index {value}{position} is out of range for {table} with 5 rows"
    return re.escape(f"{text}: expected {least} <= index < 5")


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


INT64 = np.iinfo(np.int64)

# What comes, the position and the value in the message.
BAD_INDICES: dict[str, tuple[Any, str, int]] = {
    "first": ([5, 0], " at position 0", 5),
    "last": ([0, 5], " at position 1", 5),
    "negative": ([0, -6], " at position 1", -6),
    "first_of_two": ([0, 9, 7], " at position 1", 9),
    "matrix": ([[0, 1, 2, 7], [9, 0, 0, 0]], " at position (0, 3)", 7),
    "scalar": (7, "", 7),
    "int64_min": ([INT64.min], " at position 0", INT64.min),
    "int64_max": ([INT64.max], " at position 0", INT64.max),
    "uint64_2_63": (np.array([1, 2**63], np.uint64), " at position 1", 2**63),
    "uint64_max": (np.array([2**64 - 1], np.uint64), " at position 0", 2**64 - 1),
    "int8": (np.array([4, -128], np.int8), " at position 1", -128),
    "uint8": (np.array([4, 255], np.uint8), " at position 1", 255),
    "byte_swapped": (np.array([4, 6], ">i4"), " at position 1", 6),
    "strided": (np.array([4, 0, 6, 0])[::2], " at position 1", 6),
}
# What "raise" takes and "strict" does not.
NEGATIVE_INDICES: dict[str, tuple[Any, str, int]] = {
    "minus_one": ([0, -1], " at position 1", -1),
    "before_too_great": ([0, -1, 5], " at position 1", -1),
    "behind_too_great": ([0, 5, -1], " at position 1", 5),
    "negative_matrix": ([[0, 1], [-2, -3]], " at position (1, 0)", -2),
    "negative_scalar": (-5, "", -5),
    "negative_int8": (np.array([4, -5], np.int8), " at position 1", -5),
    "negative_byte_swapped": (np.array([4, -1], ">i4"), " at position 1", -1),
    "negative_strided": (np.array([4, 0, -1, 0])[::2], " at position 1", -1),
}
NOT_INTEGERS: dict[str, tuple[Any, str]] = {
    "float": ([0.0, 1.0], "float64"),
    "float_scalar": (1.0, "float64"),
    "empty_float_array": (np.zeros(0), "float64"),
    "bool": ([True, False], "bool"),
    "bool_mask": (np.ones(5, bool), "bool"),
    "string": (["0", "1"], "<U1"),
    "object": (np.array([0, 1], object), "object"),
    "complex": ([0j, 1j], "complex128"),
    "datetime": (np.zeros(2, "M8[s]"), r"datetime64[s]"),
}
BAD_UPDATES: dict[str, tuple[int, ...]] = {
    "rows": (3, 3),
    "columns": (2, 4),
    "axes": (1, 2, 3),
    "transposed": (3, 2),
    "empty": (0, 3),
}


def index_cases(call: str, table: str) -> list[Refused]:
    free = {"out": None} if call == "gather" else {"updates": np.float32(1)}
    out_of_range = [
        Refused(call, f"index_{name}", IndexError, f"^{index_message(value, at, table)}$",
                {"indices": indices} | free)
        for name, (indices, at, value) in BAD_INDICES.items()
    ]  # fmt: skip
    not_integers = [
        Refused(call, f"{name}_indices", TypeError,
                exactly(f"indices must be integers, got {got}"), {"indices": indices} | free)
        for name, (indices, got) in NOT_INTEGERS.items()
    ]  # fmt: skip
    none = Refused(call, "none_indices", TypeError,
                   exactly("indices must be array_like, got NoneType"),
                   {"indices": None} | free)  # fmt: skip
    return [*out_of_range, *not_integers, none]


def gather_cases() -> list[Refused]:
    def case(name: str, error: type[Exception], message: str, **changes: Any) -> Refused:
        return Refused("gather", name, error, message, changes)

    return [
        *index_cases("gather", "weight"),
        case("index_with_out", IndexError, index_message(5, " at position 1"), indices=[0, 5]),
        *(
            case(f"strict_{name}", IndexError,
                 f"^{index_message(value, at, least=0)}$", indices=indices, mode="strict", out=None)
            for name, (indices, at, value) in (BAD_INDICES | NEGATIVE_INDICES).items()
        ),
        case("strict_with_out", IndexError, index_message(-1, " at position 1", least=0),
             indices=[0, -1], mode="strict"),
        case("mode", ValueError, "mode must be .*got 'warp'", mode="warp"),
        case("weight_scalar", ValueError, "^weight must ", weight=np.float32(1)),
        case("out_shape", ValueError, exactly("out must have shape (2, 3), got (2, 4)"),
             out=np.zeros((2, 4), np.float32)),
        case("out_axes", ValueError, exactly("out must have shape (2, 3), got (3,)"),
             out=np.zeros(3, np.float32)),
        case("out_dtype", TypeError, exactly("out must be float32, got float64"),
             out=np.zeros((2, 3))),
        case("out_byte_order", TypeError, "^out must be float32, got >f4",
             out=np.zeros((2, 3), ">f4")),
        case("out_list", TypeError, "^out must be an ndarray, got list$", out=[[0, 0, 0]] * 2),
        case("out_read_only", ValueError, "^out .*read-only",
             out=read_only(np.full((2, 3), 7, np.float32))),
    ]  # fmt: skip


def scatter_add_cases() -> list[Refused]:
    def case(name: str, error: type[Exception], message: str, **changes: Any) -> Refused:
        return Refused("scatter_add", name, error, message, changes)

    bad_index = index_message(5, " at position 1", "target")
    return [
        *index_cases("scatter_add", "target"),
        *(
            case(f"index_into_{name}", IndexError, bad_index, target=target, indices=[0, 5],
                 updates=target.dtype.type(1))
            for name, target in {
                "int32": values((5, 3), "i4"), "float64": values((5, 3), "f8"),
                "float16": values((5, 3), "f2"), "vector": values((5,), "f4"),
                "cube": values((5, 2, 3), "f4"), "strided_cube": values((5, 2, 6), "f4")[..., ::2],
                "float64_updates": values((5, 3), "f4"),
            }.items()
        ),
        case("index_with_float64_updates", IndexError, bad_index, indices=[0, 5], updates=1.5),
        case("index_into_no_rows", IndexError, "index 1 at position 0 .* target with 0 rows",
             target=np.zeros((0, 3), np.float32), indices=[1, 0]),
        case("tuple", TypeError, "^indices .*tuple", indices=(0, 1)),
        case("tuple_of_arrays", TypeError, "^indices .*tuple",
             indices=(np.array([0, 1]), np.array([0, 1])), updates=1.0),
        case("target_list", TypeError, "^target must be an ndarray, got list$",
             target=[[0, 0, 0]] * 5),
        case("target_scalar", ValueError, "^target must ", target=np.zeros((), np.float32)),
        case("target_read_only", ValueError, "^target .*read-only",
             target=read_only(values((5, 3), "f4"))),
        *(
            case(f"updates_{name}", ValueError,
                 rf"^updates must .*\(2, 3\), got {re.escape(str(shape))}",
                 updates=np.zeros(shape, "f4"))
            for name, shape in BAD_UPDATES.items()
        ),
        case("updates_complex", TypeError, "", updates=np.ones((2, 3), complex)),
        case("updates_string", TypeError, "", updates="one"),
        case("updates_object", TypeError, "", updates=None),
    ]  # fmt: skip


# --- recurrent functions -------------------------------------------------------------------------


def operand_cases(call: str, cell: str) -> list[Refused]:
    """Return every array of a recurrent function in wrong shapes and in other dtypes."""
    g = 4 * GATES[cell]
    good: dict[str, tuple[int, ...]] = {
        "x": (3, 7, 2), "weight_ih": (g, 2), "weight_hh": (g, 4), "bias_ih": (g,),
        "bias_hh": (g,), "h_0": (3, 4), "out": (3, 7, 4),
    }  # fmt: skip
    bad: dict[str, list[tuple[int, ...]]] = {
        "weight_ih": [(g, 3), (g + 1, 2), (g,)], "weight_hh": [(g, 5), (g + 1, 4)],
        "bias_ih": [(g + 1,), (g, 1)], "bias_hh": [(g - 1,), ()],
        "h_0": [(3, 5), (4, 4), (1, 3, 4)], "out": [(3, 7, 5), (7, 3, 4), (3, 7)],
    }  # fmt: skip
    if cell == "lstm":
        good["c_0"], bad["c_0"] = good["h_0"], bad["h_0"]
    if call in VJPS:
        del good["out"], bad["out"]
    shapes = [
        Refused(call, f"{name}_{shape}", ValueError,
                rf"^{name} must have shape .*got {re.escape(str(shape))}$",
                {name: np.zeros(shape, np.float32)})
        for name in bad for shape in bad[name]
    ]  # fmt: skip
    dtypes = [
        Refused(call, f"{name}_{dtype}", TypeError,
                rf"^{name} must be float32.*got {np.dtype(dtype)}$",
                {name: np.zeros(shape, dtype)})
        for name, shape in good.items() for dtype in ("float64", "float16", "int32", "complex64")
        if (name, dtype) != ("x", "float64")
    ]  # fmt: skip
    return shapes + dtypes


def recurrence_cases(call: str, cell: str) -> list[Refused]:
    def case(name: str, error: type[Exception], message: str, **changes: Any) -> Refused:
        return Refused(call, name, error, message, changes)

    return [
        *operand_cases(call, cell),
        *(
            case(f"lengths_{name}", error, exactly(message), lengths=value)
            for name, (value, error, message) in BAD_LENGTHS.items()
        ),
        case("x_axes", ValueError, r"^x must .*got.* \(3, 7\)$", x=np.zeros((3, 7), np.float32)),
        case("weight_hh_axes", ValueError, "^weight_hh must ", weight_hh=np.zeros(4, np.float32)),
        case("first_other_dtype", TypeError, "^weight_ih must be float64",
             x=np.zeros((3, 7, 2)), **({} if call in VJPS else {"out": None})),
    ]  # fmt: skip


def out_cases(call: str) -> list[Refused]:
    return [
        Refused(call, "out_list", TypeError, "^out must be an ndarray, got list$", {"out": []}),
        Refused(call, "out_read_only", ValueError, "^out .*read-only",
                {"out": read_only(np.full((3, 7, 4), 7, np.float32))}),
    ]  # fmt: skip


# --- tests ---------------------------------------------------------------------------------------

REFUSED = [
    *gather_cases(),
    *scatter_add_cases(),
    *(refused for call, cell in RECURRENCES.items() for refused in recurrence_cases(call, cell)),
    *(refused for call in FORWARDS for refused in out_cases(call)),
    *(
        Refused(call, next(iter(changes)), error, f"^{re.escape(words)}", changes)
        for call, changes, error, words in ROWS
    ),
]


def refusal(function: Callable[..., Any], arguments: Arguments) -> tuple[type[Exception], str]:
    """Call, and return the exception without its traceback, which would hold the arguments."""
    try:
        function(**arguments)
    except Exception as error:
        return type(error), str(error)
    raise AssertionError("not refused")


def arrays_of(value: Any, name: str = "arguments") -> Iterator[tuple[str, np.ndarray]]:
    """Yield every array in the arguments, those that a layer holds included, and its name."""
    if isinstance(value, er.QuantizedRows):
        value = value.rows
    elif isinstance(value, er.Encoder):
        value = (value.embedding.state_dict(), value.recurrent.state_dict())
    elif hasattr(value, "state_dict"):
        value = value.state_dict()
    if isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from arrays_of(part, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for position, part in enumerate(value):
            yield from arrays_of(part, f"{name}[{position}]")


def references(arguments: Arguments) -> dict[str, int]:
    return {name: sys.getrefcount(array) for name, array in arrays_of(arguments)}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_refused(backend: str, case: Refused) -> None:
    function, arguments = function_of(case.call), case.arguments()
    before, held = snapshot(dict(arrays_of(arguments))), references(arguments)
    error, message = refusal(function, arguments)
    assert issubclass(error, case.error)
    assert re.search(case.message, message), message
    assert snapshot(dict(arrays_of(arguments))) == before
    if references(arguments) != held:
        gc.collect()
        assert references(arguments) == held
    with er.use_backend("numpy"):
        assert refusal(function, case.arguments()) == (error, message)


def test_the_messages_name_the_arguments() -> None:
    assert [row for row in ROWS if not names_the_argument(next(iter(row[1])), row[3])] == []


# Results, which hold whatever they are constructed with.
UNCHECKED = {"BagGrads", "EncoderGrads", "GRUGrads", "LSTMGrads", "LastRun", "RNNGrads",
             "PaddedIds", "RaggedIds", "RecurrentGrads", "RowGrad", "convert.OnnxNode",
             "convert.OnnxWeights", "vectors.Vectors"}  # fmt: skip
# What would write files with the names that are tried.
UNCHECKED |= {"FrozenEncoder.save", "Vocabulary.save", "vectors.save"}


def public_calls() -> Iterator[str]:
    """Yield the name of every public function, class and method that takes arguments."""
    for name in er.__all__:
        owner = getattr(er, name)
        members = getattr(owner, "__all__", [])  # of a module
        if inspect.isclass(owner):
            own = set(dir(owner)) - set(dir(tuple))
            members = [member for member in own if member == "__call__" or member[0] != "_"]
        for call in (name, *(f"{name}.{member}" for member in members)):
            function = operator.attrgetter(call)(er)
            if callable(function) and set(inspect.signature(function).parameters) - {"self"}:
                yield call


def test_everything_public_has_refused_arguments() -> None:
    assert set(public_calls()) - UNCHECKED <= {case.call for case in REFUSED}
    assert set(CALLS) == {case.call for case in REFUSED}


@pytest.mark.parametrize("mode", ["raise", "wrap", "clip", "strict"])
def test_no_row_to_gather(backend: str, mode: Any) -> None:
    out = np.full((2, 3), 7, np.float32)
    with pytest.raises(
        IndexError, match="index 1 at position 0 is out of range for weight with 0 rows"
    ):
        er.gather(np.zeros((0, 3), np.float32), [1, 0], out=out, mode=mode)
    assert (out == 7).all()


@pytest.mark.parametrize("layout", WRITEABLE_LAYOUTS)
def test_a_bad_index_leaves_every_layout_alone(backend: str, layout: str) -> None:
    array = WRITEABLE_LAYOUTS[layout](values((5, 4, 3), "f4"))
    before = array.tobytes()
    for part in (array[:, 0, 0], array[:, 0], array):
        with pytest.raises(IndexError, match="for target with 5 rows"):
            er.scatter_add(part, [4, 0, 5], 1.0)
        with pytest.raises(IndexError, match="for weight with 5 rows"):
            er.gather(np.zeros_like(part), [0, 1, 2, 3, 5], out=part)
        assert array.tobytes() == before


@pytest.mark.parametrize("n", [0, -1, -(2**70), 1025, 2**30, 2**70])
def test_set_num_threads_refuses_numbers_out_of_range(backend: str, n: int) -> None:
    before = er.get_num_threads()
    with pytest.raises(ValueError, match=rf"from 1 to 1024, got {n}"):
        er.set_num_threads(n)
    assert er.get_num_threads() == before


@pytest.mark.parametrize("n", [2.0, "2", None, [2]])
def test_set_num_threads_refuses_what_is_no_integer(backend: str, n: Any) -> None:
    before = er.get_num_threads()
    with pytest.raises(TypeError):
        er.set_num_threads(n)
    assert er.get_num_threads() == before


@pytest.mark.parametrize("call", CALLS)
def test_the_unchanged_call_is_accepted(backend: str, call: str) -> None:
    function_of(call)(**CALLS[call]())
