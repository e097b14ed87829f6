"""What the layers over the rows of a table share: the table, its norms, and its gradient."""

from _thread import allocate_lock  # threading takes a millisecond to import
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._grouping import group
from embedrnn.coalesce import RowGrad
from embedrnn.layers.layer import Array, Layer

_Result = TypeVar("_Result")

# Held where rows may be renormalised: nobody else then scales them again or reads them half scaled.
_renormalising = allocate_lock()

_EPS = 1e-7  # PyTorch's, for equal rows


class Table(Layer):
    """A table whose rows are looked up."""

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    dtype: np.dtype[Any]

    def __init__(self, options: dict[str, Any], rng: Any, weight: Array | None) -> None:
        if weight is None:
            weight = _initial(options, rng)
        else:  # somebody else's: copied only if this layer writes to it
            weight = weight.view() if options["max_norm"] is None else weight.copy()
        super().__init__(options, [("weight", weight)])

    @classmethod
    def from_pretrained(cls, weight: npt.ArrayLike, **options: Any) -> Self:
        """Return a layer over a table that is there already.

        Parameters
        ----------
        weight : array_like, shape (V, D), float32, float64, float16 or bfloat16
            The table. It is not copied if its rows are in one piece each, so that a `numpy.memmap`
            may be larger than memory, and what is written to it later shows; with `max_norm` it is.
        **options
            Those of the constructor but ``dtype`` and ``rng``. The row of `padding_idx` stays as it
            is.

        Raises
        ------
        TypeError, ValueError
            If the dtype or the shape is another, or an option is refused.

        Examples
        --------
        >>> import embedrnn as er
        >>> er.Embedding.from_pretrained([[1.0, 2.0], [3.0, 4.0]])([1, 1])
        array([[3., 4.],
               [3., 4.]])
        """
        table = _check.bag_table(weight)
        make: Any = cls
        layer: Self = make(*table.shape, dtype=table.dtype, _weight=table, **options)
        return layer

    @property
    def weight(self) -> Array:
        """The table, shape (V, D), read-only."""
        return self._weights.parameters["weight"]

    def _looked_up(self, indices: npt.ArrayLike, look: Callable[[], _Result]) -> _Result:
        """Return what a look-up gives when the norms of the rows that it reads are bounded."""
        if self.max_norm is None:
            return look()
        with _renormalising:
            found = look()  # which refuses what is wrong before anything is written
            return look() if self._renormalise(indices, self.max_norm) else found

    def _renormalise(self, indices: npt.ArrayLike, max_norm: float) -> bool:
        """Scale the rows of a greater norm down to it, each of them once."""
        table = self.weight
        rows = group(_check.integer_indices(indices).reshape(-1), self.num_embeddings).rows
        values = table[rows].astype(_check.sum_dtype(table.dtype))
        norms = np.linalg.norm(values, self.norm_type, axis=1)
        over = norms > max_norm
        scale = (max_norm / (norms[over].astype(np.float64) + _EPS)).astype(values.dtype)
        if scale.size:
            self._weights.overwrite("weight", rows[over], values[over] * scale[:, None])
        return bool(scale.size)

    def _kept(self, flat: Array) -> Any:
        """Return which of the indices have a gradient: those that are not padding."""
        if self.padding_idx is None:
            return slice(None)
        return (flat != self.padding_idx) & (flat != self.padding_idx - self.num_embeddings)

    def _by_frequency(self, grad: RowGrad, flat: Array) -> RowGrad:
        """Divide the gradient of each row by how often it is among the indices, if asked to."""
        if not self.scale_grad_by_freq:
            return grad
        counts = group(flat, self.num_embeddings).counts[:, None]
        sums = _check.sum_dtype(grad.values.dtype)
        values = grad.values.astype(sums, copy=False) / counts.astype(sums)
        return RowGrad(grad.indices, values.astype(grad.values.dtype, copy=False))


def _initial(options: dict[str, Any], rng: Any) -> Array:
    """Return rows of the standard normal distribution, that of padding 0."""
    dtype, shape = options["dtype"], (options["num_embeddings"], options["embedding_dim"])
    normal = np.random.default_rng(rng).standard_normal(shape, _check.sum_dtype(dtype))
    weight = normal.astype(dtype, copy=False)
    if options["padding_idx"] is not None:
        weight[options["padding_idx"]] = 0
    return weight
