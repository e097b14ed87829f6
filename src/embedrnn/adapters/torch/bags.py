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
_INDICES = (np.dtype(np.int32), np.dtype(np.int64))


class Bags(NamedTuple):
    """What an embedding bag of PyTorch is called with, beside its table."""

    indices: torch.Tensor
    offsets: torch.Tensor | None = None
    weights: torch.Tensor | None = None


class BagForm(NamedTuple):
    """What a call of an embedding bag is, but for its tensors: of `Form`.

    Those are the table, weights of the indices if there are any, the indices, and offsets if there
    are any.
    """

    mode: str
    padding_idx: int | None = None
    include_last_offset: bool = False
    sparse: bool = False
    weighted: bool = False

    def over(self, tensors: Sequence[torch.Tensor]) -> "BagCall":
        """Return the call, or Declined where PyTorch has an error, or a meaning of its own."""
        table, indices, offsets, weights = (
            None if part is None else array_of(part) for part in self._named(tensors)
        )
        assert table is not None
        if indices is None or indices.ndim != (2 if offsets is None else 1) or not indices.size:
            raise Declined("indices must be (N,) with offsets, or (B, N), and some")
        if indices.dtype not in _INDICES or (weights is not None and self.mode != "sum"):
            raise Declined("indices must be int32 or int64, and weights are those of a sum")
        if self.sparse and self.mode == "max":
            raise Declined("the gradient of a max is not sparse")
        if table.ndim != 2 or 0 in table.shape or table.dtype not in _DTYPES:
            raise Declined(f"weight must be a table of floats, got {table.dtype} of {table.shape}")
        if offsets is not None:
            offsets = _starts(offsets, len(indices), self.include_last_offset)
        if indices.min() < 0:  # which count from the end here
            raise Declined("indices must not be negative")
        return BagCall(self, table, indices, offsets, weights)

    def in_torch(self, tensors: Sequence[torch.Tensor]) -> Tensors:
        """Return what PyTorch's own function makes of the tensors."""
        table, indices, offsets, weights = self._named(tensors)
        bags: torch.Tensor = torch.nn.functional.embedding_bag(
            indices, table, offsets, None, 2.0, False, self.mode, self.sparse, weights,
            self.include_last_offset, self.padding_idx,
        )  # fmt: skip
        return (bags,)

    def _named(self, tensors: Sequence[torch.Tensor]) -> tuple[Any, Any, Any, Any]:
        """Return the table, the indices, and the offsets and the weights or None."""
        table, *weights = tensors[: 1 + self.weighted]
        indices, *offsets = tensors[1 + self.weighted :]
        return table, indices, *(offsets or [None]), *(weights or [None])


def bag_tensors(table: torch.Tensor, bags: Bags) -> Tensors:
    """Return the tensors of a call in the order of its form."""
    given = (table, bags.weights, bags.indices, bags.offsets)
    return tuple(tensor for tensor in given if tensor is not None)


class BagCall(NamedTuple):
    """A table, and bags of its rows: of `Call`."""

    form: BagForm
    table: Array
    indices: Array
    offsets: Array | None
    weights: Array | None

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
            table = to_torch if self.form.sparse else _dense
            of_weights = found.per_sample_weights
            weights = [] if of_weights is None else [torch.from_numpy(of_weights)]
            return [table(of_table, n_rows), *weights]

        return (torch.from_numpy(output),), backward

    def _options(self) -> dict[str, Any]:
        return {
            "mode": self.form.mode,
            "padding_idx": self.form.padding_idx,
            "per_sample_weights": self.weights,
        }


def _dense(grad: RowGrad, n_rows: int) -> torch.Tensor:
    return torch.from_numpy(grad.to_dense(n_rows))


def _starts(offsets: Array, n: int, include_last_offset: bool) -> Array:
    """Return where bags start. In PyTorch the last offset may leave out what is behind it."""
    if offsets.ndim != 1 or len(offsets) <= include_last_offset:
        raise Declined(f"offsets must be (B,), got {offsets.shape}")
    if include_last_offset and offsets[-1] != n:
        raise Declined("the last of the offsets must be the number of indices")
    return offsets[: len(offsets) - include_last_offset]
