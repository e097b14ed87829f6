from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

_Array: TypeAlias = npt.NDArray[Any]
_Indices: TypeAlias = npt.NDArray[np.integer[Any]]

__version__: str
asserts: bool

def isas() -> list[str]: ...
def get_isa() -> str: ...
def set_isa(name: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def exp(x: _Array, out: _Array) -> None: ...
def sigmoid(x: _Array, out: _Array) -> None: ...
def tanh(x: _Array, out: _Array) -> None: ...
def gather(weight: _Array, indices: _Indices, out: _Array, mode: str) -> int: ...
def scatter_add(target: _Array, indices: _Indices, updates: _Array) -> int: ...
def try_gather(weight: Any, indices: Any, out: Any, mode: Any) -> _Array | None: ...
def try_scatter_add(target: Any, indices: Any, updates: Any) -> bool: ...
def try_coalesce(
    indices: Any, updates: Any, num_embeddings: Any
) -> tuple[npt.NDArray[np.int64], _Array] | None: ...
def try_embedding_bag(
    weight: Any, quantized: bool, indices: Any, offsets: Any, mode: Any
) -> _Array | None: ...
def group_rows(
    indices: _Indices,
    n_rows: int,
    rows: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
) -> tuple[int, int]: ...
def bag_sum(
    weight: _Array,
    indices: _Indices,
    offsets: npt.NDArray[np.int64] | None,
    per_sample_weights: _Array | None,
    mean: bool,
    out: _Array,
) -> int: ...
def bag_max(
    weight: _Array,
    indices: _Indices,
    offsets: npt.NDArray[np.int64] | None,
    out: _Array,
    winners: npt.NDArray[np.int64] | None,
) -> int: ...
def bag_dot(
    weight: _Array,
    indices: _Indices,
    offsets: npt.NDArray[np.int64] | None,
    gradient: _Array,
    out: _Array,
) -> int: ...
def bag_add(
    updates: _Array,
    indices: _Indices,
    offsets: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    target: _Array,
) -> None: ...
def pack_rnn(
    weight_ih: _Array,
    weight_hh: _Array,
    bias_ih: _Array | None,
    bias_hh: _Array | None,
    nonlinearity: str,
) -> PackedCell: ...
def pack_gru(
    weight_ih: _Array,
    weight_hh: _Array,
    bias_ih: _Array | None,
    bias_hh: _Array | None,
    reset_after: bool,
) -> PackedCell: ...
def pack_lstm(
    weight_ih: _Array, weight_hh: _Array, bias_ih: _Array | None, bias_hh: _Array | None
) -> PackedCell: ...

@final
class PackedCell:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...  # a TypeError: pack_* make them
    def forward(
        self,
        x: _Array,
        lengths: npt.NDArray[np.int64] | None,
        h_0: _Array | None,
        c_0: _Array | None,
        reverse: bool,
        output: _Array,
        h_n: _Array,
        c_n: _Array | None,
    ) -> None: ...
    def step(
        self, x_t: _Array, h: _Array, c: _Array | None, h_out: _Array, c_out: _Array | None
    ) -> None: ...
