"""The backend in use: the compiled module, or its NumPy twin, in a pure wheel or if asked for."""

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from embedrnn._sequences import Pool, Rows, TokenGrads, Tokens, Weights
from embedrnn._storage import Storage

_Array = npt.NDArray[Any]
_Indices = npt.NDArray[np.integer[Any]]
_Positions = npt.NDArray[np.int64]


class PackedCell(Protocol):
    """A recurrent cell with weights of its own: see the NumPy one for what it does."""

    def project(self, x: _Array, out: _Array) -> None: ...
    def new_tape(self, pairs: int, has_input: bool = True) -> Any:
        """Return room for what `forward` records of so many valid (row, step) pairs.

        Only the backend that made it reads it. It holds copies of all that `backward` needs, which
        does not change it: backward may be called any number of times, and the inputs may change.
        Tokens are no input of it.
        """

    def pays_distinct(self, pairs: int, distinct: int) -> bool:
        """Return whether so many tokens are worth to have distinct ones multiplied first."""

    def holds(
        self,
        cell: str,
        weight_ih: _Array,
        weight_hh: _Array,
        bias_ih: _Array | None,
        bias_hh: _Array | None,
        diagonal: _Array | None = None,
    ) -> bool:
        """Return whether `pack` would now give the same cell of these weights."""

    def forward(
        self,
        x: _Array | Tokens,
        rows: Rows,
        resets: _Array | None,
        initial: tuple[_Array | None, ...],
        reverse: bool,
        output: _Array | None,
        last: tuple[_Array, ...],
        at: int,
        tape: Any = None,
        pool: Pool | None = None,
    ) -> None: ...
    def backward(
        self,
        rows: Rows,
        resets: _Array | None,
        reverse: bool,
        tape: Any,
        grad_output: _Array | None,
        grad_last: tuple[_Array | None, ...],
        grad_x: _Array | TokenGrads | None,
        grad_initial: tuple[_Array | None, ...],
        grads: Weights,
        at: int,
    ) -> None: ...
    def step(
        self,
        x_t: _Array,
        states: tuple[_Array | None, ...],
        new_states: tuple[_Array, ...],
        at: int,
    ) -> None: ...


class Backend(Protocol):
    """What both backends do; their arguments have been checked.

    Functions on rows return -1, or the position of the first index out of range: then a target or
    an old output is as it was, and a new output holds nothing of use.
    """

    @property
    def asserts(self) -> bool: ...
    def isas(self) -> list[str]: ...
    def get_isa(self) -> str | None: ...
    def get_num_threads(self) -> int: ...
    def set_num_threads(self, n: int) -> None: ...
    def first_out_of_range(self, indices: _Indices, n_rows: int) -> int: ...
    def gather(
        self,
        weight: _Array,
        storage: Storage | None,
        indices: _Indices,
        mode: str,
        out: _Array,
        old_out: bool,
    ) -> int: ...
    def scatter_add(self, target: _Array, indices: _Indices, updates: _Array) -> int: ...
    def coalesce(
        self, indices: _Indices, updates: _Array, storage: Storage, n_rows: int
    ) -> tuple[int, _Positions, _Array]: ...
    def group_rows(
        self,
        indices: _Indices,
        n_rows: int,
        rows: _Positions,
        positions: _Positions,
        offsets: _Positions,
    ) -> tuple[int, int]: ...
    def number_rows(
        self, indices: _Indices, n_rows: int, rows: _Positions, numbers: _Positions
    ) -> tuple[int, int]: ...
    def without_row(
        self, indices: _Indices, offsets: _Positions, row: int, n_rows: int
    ) -> tuple[_Positions, _Positions]: ...
    def first_bad_offset(self, offsets: _Positions, items: int) -> int: ...
    def bag_sum(
        self,
        weight: _Array,
        storage: Storage,
        indices: _Indices,
        offsets: _Positions,
        per_sample_weights: _Array | None,
        mean: bool,
        out: _Array,
    ) -> int: ...
    def bag_max(
        self,
        weight: _Array,
        storage: Storage,
        indices: _Indices,
        offsets: _Positions,
        out: _Array,
        winners: _Positions | None,
    ) -> int: ...
    def bag_dot(
        self,
        weight: _Array,
        storage: Storage,
        indices: _Indices,
        offsets: _Positions,
        gradient: _Array,
        out: _Array,
    ) -> int: ...
    def bag_add(
        self,
        updates: _Array,
        indices: _Indices,
        offsets: _Positions,
        rows: _Positions,
        target: _Array,
        storage: Storage,
    ) -> None: ...
    def optim_step(
        self,
        rule: str,
        param: _Array,
        storage: Storage,
        states: Sequence[_Array],
        indices: _Indices | None,
        grad: _Array | None,
        coefficients: _Array,
        step: int,
        last: _Positions | None,
        rests: bool,
        seed: int | None,
    ) -> int: ...
    def pack(
        self,
        cell: str,
        weight_ih: _Array,
        weight_hh: _Array,
        bias_ih: _Array | None,
        bias_hh: _Array | None,
        diagonal: _Array | None = None,
    ) -> PackedCell: ...


class Recogniser(Protocol):
    """What the compiled module knows at a glance: calls on rows that need no check.

    None and False stand for a call that has to be looked at.
    """

    def plain_gather(self, weight: Any, indices: Any, out: Any, mode: Any) -> _Array | None:
        """Return the rows to fill."""

    def plain_scatter_add(self, target: Any, indices: Any, updates: Any) -> bool: ...
    def plain_bag(
        self,
        weight: Any,
        int8_rows: bool,
        indices: Any,
        offsets: Any,
        lengths: Any,
        mode: Any,
        per_sample_weights: Any,
        include_last_offset: Any,
    ) -> tuple[Storage, _Positions, _Array] | None:
        """Return the storage of the table, the offsets with the last one, and the bags to fill."""

    def plain_coalesce(self, indices: Any, updates: Any, num_embeddings: Any) -> Storage | None:
        """Return the storage of the updates."""


class _Core(Backend, Recogniser, Protocol):
    """The compiled module."""


class _NothingIsPlain:
    """The recogniser where nothing is compiled: every call is checked."""

    def plain_gather(self, *_: Any) -> None: ...
    def plain_scatter_add(self, *_: Any) -> bool:
        return False

    def plain_bag(self, *_: Any) -> None: ...
    def plain_coalesce(self, *_: Any) -> None: ...


if TYPE_CHECKING:
    from embedrnn import _core as _core_stub
    from embedrnn import _numpy as _numpy_module

    _both: tuple[Backend, Backend] = (_numpy_module, _core_stub)

_CORE = "embedrnn._core"
# What a pure-Python wheel has in its place: see pyproject.toml.
_PURE = "embedrnn._pure"


def _found(module_name: str) -> Any:
    """Import a module; None only if there is none. Any other failure is raised."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        return None


_core: _Core | None = _found(_CORE)
_is_pure = _core is None and _found(_PURE) is not None


def _numpy() -> Backend:
    """Import the NumPy twin, which few need who have the compiled module."""
    return cast("Backend", importlib.import_module("embedrnn._numpy"))


# These stand in for the checks, whatever the backend.
_recogniser: Recogniser = _core or _NothingIsPlain()
plain_gather = _recogniser.plain_gather
plain_scatter_add = _recogniser.plain_scatter_add
plain_bag = _recogniser.plain_bag
plain_coalesce = _recogniser.plain_coalesce


def module(name: str, asked_by: str = "backend") -> Backend:
    """Return the module of a backend by its name, "native" or "numpy"."""
    known: object = name
    if not isinstance(known, str) or known not in {"native", "numpy"}:
        got = repr(known) if isinstance(known, str) else type(known).__name__
        raise ValueError(f"{asked_by} must be 'native' or 'numpy', got {got}")
    if known == "numpy":
        return _numpy()
    if _core is None:
        raise ImportError("the native backend was asked for, but embedrnn._core is not installed")
    return _core


def _default() -> Backend:
    name = os.environ.get("EMBEDRNN_BACKEND")
    if name:
        return module(name, "EMBEDRNN_BACKEND")
    if _core is None and not _is_pure:
        raise ImportError(
            f"{_CORE}, the compiled module, is missing from this installation: install embedrnn "
            "again for this Python, or do without it by EMBEDRNN_BACKEND=numpy"
        )
    return _core or _numpy()


_DEFAULT = _default()
_selected: ContextVar[Backend] = ContextVar("embedrnn_backend", default=_DEFAULT)

current = _selected.get


def core() -> str:
    """Return whether the compiled module is here, and if not, why."""
    if _core is not None:
        return "compiled"
    return "none: pure-Python wheel" if _is_pure else "none: missing from this installation"


def current_name() -> str:
    """Return the name of the backend in use."""
    return "native" if current() is _core else "numpy"


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Use a backend for the calls made inside the ``with`` block, in this thread or task only.

    Parameters
    ----------
    name : {"native", "numpy"}
        The compiled kernels, or their NumPy specification.

    Raises
    ------
    ValueError
        If the name is another.
    ImportError
        If the compiled kernels are not installed.

    Examples
    --------
    >>> import embedrnn as er
    >>> with er.use_backend("numpy"):
    ...     er.config()["backend"]
    'numpy'
    """
    token = _selected.set(module(name))
    try:
        yield
    finally:
        _selected.reset(token)
