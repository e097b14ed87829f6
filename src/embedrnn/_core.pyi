from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from embedrnn._sequences import Pool, Rows, TokenGrads, Tokens, Weights
from embedrnn._storage import Storage

_Array: TypeAlias = npt.NDArray[Any]
_Indices: TypeAlias = npt.NDArray[np.integer[Any]]

__version__: str
asserts: bool

def isas() -> list[str]: ...
def get_isa() -> str: ...
def set_isa(name: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def quota_cpus(root: str) -> int: ...
def fail_in_workers(seconds: int) -> None: ...
def exp(x: _Array, out: _Array) -> None: ...
def sigmoid(x: _Array, out: _Array) -> None: ...
def tanh(x: _Array, out: _Array) -> None: ...
def plain_gather(weight: Any, indices: Any, out: Any, mode: Any) -> _Array | None: ...
def plain_scatter_add(target: Any, indices: Any, updates: Any) -> bool: ...
def plain_bag(
    weight: Any,
    int8_rows: bool,
    indices: Any,
    offsets: Any,
    lengths: Any,
    mode: Any,
    per_sample_weights: Any,
    include_last_offset: Any,
) -> tuple[Storage, npt.NDArray[np.int64], _Array] | None: ...
def plain_coalesce(indices: Any, updates: Any, num_embeddings: Any) -> Storage | None: ...
def first_out_of_range(indices: _Indices, n_rows: int) -> int: ...
def gather(
    weight: _Array,
    storage: Storage | None,
    indices: _Indices,
    mode: str,
    out: _Array,
    old_out: bool,
) -> int: ...
def scatter_add(target: _Array, indices: _Indices, updates: _Array) -> int: ...
def coalesce(
    indices: _Indices, updates: _Array, storage: Storage, n_rows: int
) -> tuple[int, npt.NDArray[np.int64], _Array]: ...
def group_rows(
    indices: _Indices,
    n_rows: int,
    rows: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
) -> tuple[int, int]: ...
def number_rows(
    indices: _Indices,
    n_rows: int,
    rows: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int64],
) -> tuple[int, int]: ...
def without_row(
    indices: npt.NDArray[np.integer[Any]], offsets: npt.NDArray[np.int64], row: int, n_rows: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]: ...
def first_bad_offset(offsets: npt.NDArray[np.int64], items: int) -> int: ...
def bag_sum(
    weight: _Array,
    storage: Storage,
    indices: _Indices,
    offsets: npt.NDArray[np.int64],
    per_sample_weights: _Array | None,
    mean: bool,
    out: _Array,
) -> int: ...
def bag_max(
    weight: _Array,
    storage: Storage,
    indices: _Indices,
    offsets: npt.NDArray[np.int64],
    out: _Array,
    winners: npt.NDArray[np.int64] | None,
) -> int: ...
def bag_dot(
    weight: _Array,
    storage: Storage,
    indices: _Indices,
    offsets: npt.NDArray[np.int64],
    gradient: _Array,
    out: _Array,
) -> int: ...
def bag_add(
    updates: _Array,
    indices: _Indices,
    offsets: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    target: _Array,
    storage: Storage,
) -> None: ...
def optim_step(
    rule: str,
    param: _Array,
    storage: Storage,
    states: Sequence[_Array],
    indices: _Indices | None,
    grad: _Array | None,
    coefficients: _Array,
    step: int,
    last: npt.NDArray[np.int64] | None,
    rests: bool,
    seed: int | None,
) -> int: ...
def pack(
    cell: str,
    weight_ih: _Array,
    weight_hh: _Array,
    bias_ih: _Array | None,
    bias_hh: _Array | None,
    diagonal: _Array | None = None,
) -> PackedCell: ...

@final
class PackedCell:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...  # a TypeError: pack makes them
    def project(self, x: _Array, out: _Array) -> None: ...
    def new_tape(self, pairs: int, has_input: bool = ...) -> _Array: ...
    def pays_distinct(self, pairs: int, distinct: int) -> bool: ...
    def holds(
        self,
        cell: str,
        weight_ih: _Array,
        weight_hh: _Array,
        bias_ih: _Array | None,
        bias_hh: _Array | None,
        diagonal: _Array | None = ...,
    ) -> bool: ...
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
        tape: _Array | None = ...,
        pool: Pool | None = ...,
    ) -> None: ...
    def backward(
        self,
        rows: Rows,
        resets: _Array | None,
        reverse: bool,
        tape: _Array,
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
