"""What the layers over the rows of a table share: the table, its norms, and its gradient."""

from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current
from embedrnn._check.state import Named
from embedrnn._grouping import group
from embedrnn._quiet import quiet
from embedrnn._storage import INT8_HEADER
from embedrnn.coalesce import RowGrad, rounded
from embedrnn.layers.layer import Array, Layer, Shapes, Weights
from embedrnn.quantized import QuantizedRows, quantize_rows

_Result = TypeVar("_Result")

# The options that a call reads; the others are for training.
_READ = ("padding_idx", "mode", "include_last_offset", "strict")

_EPS = 1e-7  # PyTorch's, for equal rows


class Table(Layer):
    """A table whose rows are looked up."""

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    strict: bool

    def __init__(self, rng: Any, weight: Any, others: dict[str, Any], **options: Any) -> None:
        bare = others.pop("_bare", False)
        _check.only_words(type(self).__name__, _check.TABLE_WORDS, others)
        checked = self._checked(**options)
        if bare:
            self._hold(checked, {})
            return
        if weight is None:
            weight = _initial(checked, rng)
        else:  # a view of what is somebody else's, who may go on writing to it
            shape, dtype = self._shapes(checked)["weight"], self._stored_in(checked)
            weight = _check.given_table(stored(weight), shape, dtype).view()
        self._hold(checked, {"weight": weight})

    @staticmethod
    def _shapes(options: Mapping[str, Any]) -> Shapes:
        header = INT8_HEADER if options["dtype"] == _check.INT8 else 0
        return {"weight": (options["num_embeddings"], header + options["embedding_dim"])}

    @staticmethod
    def _stored_in(options: Mapping[str, Any]) -> np.dtype[Any]:
        return np.dtype(np.uint8) if options["dtype"] == _check.INT8 else Layer._stored_in(options)

    @classmethod
    def from_pretrained(
        cls, weight: npt.ArrayLike | QuantizedRows, freeze: bool = True, **options: Any
    ) -> Self:
        """Return a layer over a table that is there already.

        Parameters
        ----------
        weight : array_like, shape (V, D), float32, float64, float16 or bfloat16, or QuantizedRows
            The table. It is not copied if its rows are in one piece each, so that a `numpy.memmap`
            may be larger than memory, and what is written to it later shows; with `max_norm` it is.
            A layer of QuantizedRows is for inference: see `quantize`.
        freeze : True
            A layer's parameters are read-only, and no other value has a meaning.
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
        dtype, table = _check.INT8, weight
        if not isinstance(table, QuantizedRows):
            table = _check.as_rows(_check.float_table(table))
            dtype = table.dtype
        words = {name: options[name] for name in _check.PRETRAINED_WORDS if name in options}
        _check.only_words(cls.__name__, _check.PRETRAINED_WORDS, words | {"freeze": freeze})
        make: Any = cls
        layer: Self = make(*table.shape, dtype=dtype, _weight=table, **options)
        return layer

    def quantize(self) -> Self:
        """Return a layer over the table as `quantize_rows` rounds it, for inference.

        Returns
        -------
        Embedding or EmbeddingBag
            One of dtype int8 with the options that a call reads. It gives float32, and its `weight`
            is a `QuantizedRows`; a `state_dict` holds the ``rows`` of that. Its `vjp` is refused.

        Raises
        ------
        TypeError
            If the table is of int8 rows already.
        ValueError
            If the table is not finite in float32.

        Notes
        -----
        With `max_norm`, all rows of this layer are scaled down to it, as if each were looked up.

        Examples
        --------
        >>> import embedrnn as er
        >>> layer = er.Embedding.from_pretrained([[0.0, 51.0, 255.0], [2.0, 2.0, 2.0]]).quantize()
        >>> layer
        Embedding(2, 3, dtype=int8)
        >>> layer([1, 0])
        array([[  2.,   2.,   2.],
               [  0.,  51., 255.]], dtype=float32)
        """
        table = self._looked_up(np.arange(self.num_embeddings), quantize_rows)
        kept = {name: getattr(self, name) for name in _READ if name in self._options}
        return self.from_pretrained(table, **kept)

    @property
    def weight(self) -> Array | Any:
        """The table, shape (V, D), read-only; QuantizedRows where the dtype is int8."""
        return self._weights.table

    @staticmethod
    def _stored(value: Any) -> Any:
        return stored(value)

    @classmethod
    def _told(cls, named: Named) -> tuple[dict[str, Any], npt.DTypeLike | None]:
        table = named.told(("weight",), axes=2)["weight"]
        (rows, cols), dtype = table.shape, table.dtype
        if dtype == np.uint8:
            return _sizes(rows, max(0, cols - INT8_HEADER)), _check.INT8
        return _sizes(rows, cols), dtype if _check.is_float(dtype) else None

    def _require_gradient(self) -> None:
        if self.dtype == _check.INT8:
            raise TypeError(
                "int8 rows have no gradient: take that of the layer that was quantized, update it, "
                "and quantize() it again"
            )

    def _looked_up(self, indices: npt.ArrayLike, look: Callable[[Any], _Result]) -> _Result:
        """Return look(table), with the norms of the rows that it reads bounded.

        The lock keeps others from scaling these rows again, from reading them half scaled, and from
        replacing the table meanwhile.
        """
        if self.max_norm is None:
            return look(self.weight)
        with self._lock:
            weights = self._weights
            table = weights.parameters["weight"]
            found = look(table)  # which refuses what is wrong before anything is written
            return look(table) if self._renormalise(weights, indices, self.max_norm) else found

    def _renormalise(self, weights: Weights, indices: npt.ArrayLike, max_norm: float) -> bool:
        """Scale the rows of a greater norm down to it, each of them once."""
        rows = group(_check.bags(indices).indices, self.num_embeddings, "weight").rows
        over, values = _bounded(weights.parameters["weight"][rows], max_norm, self.norm_type)
        if len(values):
            weights.written_to()["weight"][rows[over]] = values
        return bool(len(values))

    def _kept(self, flat: Array) -> Any:
        """Return which of the indices have a gradient: those that are not padding."""
        if self.padding_idx is None:
            return slice(None)
        whole = np.array([0, flat.size])
        kept, _ = current().without_row(flat, whole, self.padding_idx, self.num_embeddings)
        return kept

    def _finished(self, grad: RowGrad, flat: Array) -> RowGrad:
        """Return sums in the dtype of the table, each over how often its row is named if asked to.

        A half is rounded once, behind the division: the sum alone may be too great for it.
        """
        if self.scale_grad_by_freq:
            counts = group(flat, self.num_embeddings, "weight").counts[:, None]
            grad = RowGrad(grad.indices, _divided(grad.values, counts))
        return rounded(grad, self.dtype)


def _sizes(rows: int, cols: int) -> dict[str, Any]:
    return {"num_embeddings": rows, "embedding_dim": cols}


def stored(weight: Any) -> Any:
    """Return a table as a layer stores it."""
    return weight.rows if isinstance(weight, QuantizedRows) else weight


@quiet
def _divided(sums: Array, counts: Array) -> Array:
    shares: Array = sums / counts.astype(sums.dtype)
    return shares


@quiet
def _bounded(rows: Array, max_norm: float, p: float) -> tuple[npt.NDArray[np.bool_], Array]:
    """Return which rows have a greater norm, and those scaled down to it.

    The norms are those of rows over their greatest magnitude, in float64: no power overflows, nor
    do all of a row vanish.
    """
    values = rows.astype(np.float64)
    most = np.abs(values).max(axis=1, initial=0)
    most[~(np.isfinite(most) & (most > 0))] = 1
    parts, bound = values / most[:, None], max_norm / most
    norms = np.linalg.norm(parts, p, axis=1)
    # As the table is summed, lest a row that was scaled down before be so for a last bit.
    sums = _check.sum_dtype(rows.dtype)
    over = norms.astype(sums) > bound.astype(sums)
    scale = max_norm / (norms[over] + _EPS / most[over])
    return over, (parts[over] * scale[:, None]).astype(rows.dtype)


@quiet
def _initial(options: dict[str, Any], rng: Any) -> Array:
    """Return rows of the standard normal distribution, that of padding 0."""
    dtype, shape = options["dtype"], (options["num_embeddings"], options["embedding_dim"])
    quantized = dtype == _check.INT8
    dtype = np.dtype(np.float32) if quantized else dtype
    normal = _check.generator("rng", rng).standard_normal(shape, _check.sum_dtype(dtype))
    weight = normal.astype(dtype, copy=False)
    if options["padding_idx"] is not None:
        weight[options["padding_idx"]] = 0
    return quantize_rows(weight).rows if quantized else weight
