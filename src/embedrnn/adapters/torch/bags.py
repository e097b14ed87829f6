"""PyTorch's embedding bags as ours."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from embedrnn.adapters.torch.recorded import Grads, Tensors
from embedrnn.adapters.torch.sparse import to_torch
from embedrnn.adapters.torch.tensors import Array, Declined, array_of
from embedrnn.bag import embedding_bag, embedding_bag_vjp
from embedrnn.coalesce import RowGrad

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class BagKind(NamedTuple):
    """The options of an embedding bag that are not about its inputs."""

    mode: str
    padding_idx: int | None = None
    sparse: bool = False


class Bags(NamedTuple):
    """What an embedding bag of PyTorch is called with."""

    indices: torch.Tensor
    offsets: torch.Tensor | None = None
    weights: torch.Tensor | None = None


class BagCall(NamedTuple):
    """A table, and bags of its rows: of `Call`. Its tensors are the table and, if any, weights."""

    kind: BagKind
    table: Array
    indices: Array
    offsets: Array | None
    weights: Array | None
    given: Bags
    include_last_offset: bool

    def forward(self) -> Tensors:
        """Return the bags."""
        bags = embedding_bag(self.table, self.indices, self.offsets, **self._options())
        return (torch.from_numpy(bags),)

    def vjp(self, needed: Sequence[bool]) -> tuple[Tensors, Callable[..., Grads]]:
        """Return the same, and the function to the gradients."""
        output, back = embedding_bag_vjp(self.table, self.indices, self.offsets, **self._options())
        n_rows = len(self.table)

        def backward(grad: Array) -> Grads:
            found = back(grad)
            of_table: Any = found.weight
            sparse = self.kind.sparse
            table = to_torch if sparse else _dense
            of_weights = found.per_sample_weights
            weights = [] if of_weights is None else [torch.from_numpy(of_weights)]
            return [table(of_table, n_rows), *weights]

        return (torch.from_numpy(output),), backward

    def in_torch(self, tensors: Sequence[torch.Tensor]) -> Tensors:
        """Return what PyTorch's own function makes of the tensors."""
        table, *weights = tensors
        bags: torch.Tensor = torch.nn.functional.embedding_bag(
            self.given.indices, table, self.given.offsets, None, 2.0, False, self.kind.mode,
            self.kind.sparse, weights[0] if weights else None, self.include_last_offset,
            self.kind.padding_idx,
        )  # fmt: skip
        return (bags,)

    def _options(self) -> dict[str, Any]:
        return {
            "mode": self.kind.mode,
            "padding_idx": self.kind.padding_idx,
            "per_sample_weights": self.weights,
        }


def _dense(grad: RowGrad, n_rows: int) -> torch.Tensor:
    return torch.from_numpy(grad.to_dense(n_rows))


def bag_call(kind: BagKind, weight: torch.Tensor, bags: Bags, include_last_offset: bool) -> BagCall:
    """Return a call, or Declined where PyTorch has an error, or a meaning of its own."""
    indices, offsets, weights = (None if part is None else array_of(part) for part in bags)
    table = array_of(weight)
    if indices is None or indices.ndim != (2 if offsets is None else 1) or not indices.size:
        raise Declined("indices must be (N,) with offsets, or (B, N), and some")
    if indices.dtype.kind != "i" or (weights is not None and kind.mode != "sum"):
        raise Declined("indices must be integers, and weights are those of a sum")
    if table.ndim != 2 or 0 in table.shape or table.dtype not in _DTYPES:
        raise Declined(f"weight must be a table of floats, got {table.dtype} of {table.shape}")
    if offsets is not None:
        offsets = _starts(offsets, len(indices), include_last_offset)
    if indices.min() < 0:  # which count from the end here
        raise Declined("indices must not be negative")
    return BagCall(kind, table, indices, offsets, weights, bags, include_last_offset)


def _starts(offsets: Array, n: int, include_last_offset: bool) -> Array:
    """Return where bags start. In PyTorch the last offset may leave out what is behind it."""
    if offsets.ndim != 1 or len(offsets) <= include_last_offset:
        raise Declined(f"offsets must be (B,), got {offsets.shape}")
    if include_last_offset and offsets[-1] != n:
        raise Declined("the last of the offsets must be the number of indices")
    return offsets[: len(offsets) - include_last_offset]
