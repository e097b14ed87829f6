"""The embedding bag layer."""

from collections.abc import Callable
from typing import Any, Literal

import numpy.typing as npt

from embedrnn import _check
from embedrnn._check.bag import BAG_MODES
from embedrnn._docs import TABLE, documented
from embedrnn.bag import BagGrads, bag_vjp_in_sums, embedding_bag
from embedrnn.layers.layer import Array
from embedrnn.layers.table import Table


@documented(TABLE)
class EmbeddingBag(Table):
    """A table of embeddings that come in bags, as `torch.nn.EmbeddingBag`.

    Parameters
    ----------
    {num_embeddings, embedding_dim}
    {max_norm, norm_type}
    scale_grad_by_freq : bool
        Divide each row's gradient by the number of times that it was named in all bags. Not for the
        maximum.
    mode : {"mean", "sum", "sqrtn", "max"}
        What to make of the rows of a bag, as `embedding_bag` has it.
    padding_idx : int, optional
        A row to leave out wherever it is named; a new table has zeros there. Negative ones count
        from the end.
    {include_last_offset, dtype, rng, strict, **others}

    Attributes
    ----------
    {weight}

    Raises
    ------
    TypeError, ValueError
        As of `Embedding`, or if the mode is none of the four.

    See Also
    --------
    embedrnn.embedding_bag : The definition.

    Examples
    --------
    >>> import embedrnn as er
    >>> layer = er.EmbeddingBag.from_pretrained([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> layer([0, 2, 1], offsets=[0, 2])
    array([[3., 4.],
           [3., 4.]])
    """

    mode: Literal["sum", "mean", "sqrtn", "max"]
    include_last_offset: bool

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: Literal["sum", "mean", "sqrtn", "max"] = "mean",
        *,
        padding_idx: int | None = None,
        include_last_offset: bool = False,
        dtype: npt.DTypeLike | None = None,
        rng: Any = None,
        strict: bool = False,
        _weight: npt.ArrayLike | None = None,
        **others: Any,
    ) -> None:
        super().__init__(
            rng, _weight, others, num_embeddings=num_embeddings, embedding_dim=embedding_dim,
            padding_idx=padding_idx, max_norm=max_norm, norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq, dtype=dtype, mode=mode,
            include_last_offset=include_last_offset, strict=strict,
        )  # fmt: skip

    @classmethod
    def _checked(cls, *, mode: str, include_last_offset: bool, **options: Any) -> dict[str, Any]:
        checked = _check.table_options(**options)
        _check.choice("mode", mode, BAG_MODES)
        last = _check.flag("include_last_offset", include_last_offset)
        if mode == "max" and checked["scale_grad_by_freq"]:
            raise ValueError("scale_grad_by_freq must be False where mode is 'max'")
        return checked | {"mode": mode, "include_last_offset": last}

    @documented(TABLE)
    def __call__(
        self,
        indices: npt.ArrayLike,
        offsets: npt.ArrayLike | None = None,
        per_sample_weights: npt.ArrayLike | None = None,
        *,
        lengths: npt.ArrayLike | None = None,
    ) -> Array:
        """Sum, average or maximise bags of rows.

        Parameters
        ----------
        {indices, offsets}
        per_sample_weights : array_like, shape of `indices`, dtype of the layer, optional
            What to multiply each row with; not for a maximum. float32 of int8 rows.
        {lengths}

        Returns
        -------
        ndarray, shape (B, D)
            An empty bag gives 0.

        Raises
        ------
        IndexError, TypeError, ValueError
            As `embedrnn.embedding_bag`; nothing is written then.
        """
        return self._looked_up(
            indices,
            lambda table: embedding_bag(
                table, indices, offsets, per_sample_weights=per_sample_weights,
                lengths=lengths, **self._bag_options(),
            ),
        )  # fmt: skip

    def vjp(
        self,
        indices: npt.ArrayLike,
        offsets: npt.ArrayLike | None = None,
        per_sample_weights: npt.ArrayLike | None = None,
        *,
        lengths: npt.ArrayLike | None = None,
    ) -> tuple[Array, Callable[[npt.ArrayLike], BagGrads]]:
        """Return what a call gives, and its vector-Jacobian product.

        Parameters
        ----------
        indices, offsets, per_sample_weights, lengths
            As of a call.

        Returns
        -------
        output : ndarray, shape (B, D)
        backward : callable
            ``backward(grad_output)`` takes the gradient of `output`, of its shape and dtype; that
            of halves may be float32. It returns `BagGrads`: ``weight``, a `RowGrad` without the
            padding row, and ``per_sample_weights``, None if there are none.

        Raises
        ------
        IndexError, TypeError, ValueError
            As a call does, or if the rows are int8.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> output, backward = er.EmbeddingBag(10, 2).vjp([[7, 3], [7, 7]])
        >>> backward(np.ones((2, 2), np.float32)).weight
        RowGrad(indices=array([3, 7]), values=array([[0.5, 0.5],
               [1.5, 1.5]], dtype=float32))
        """
        self._require_gradient()
        bags = _check.bags(indices, offsets, lengths, per_sample_weights).copied()
        ids = bags.indices
        output, sums = self._looked_up(
            ids, lambda table: bag_vjp_in_sums(table, bags, offsets, **self._bag_options())
        )

        def backward(grad_output: npt.ArrayLike) -> BagGrads:
            (grad, of_weights), flat = sums(grad_output), ids.reshape(-1)
            return BagGrads(self._finished(grad, flat[self._kept(flat)]), of_weights)

        return output, backward

    def _bag_options(self) -> dict[str, Any]:
        names = ("mode", "padding_idx", "include_last_offset", "strict")
        return {name: getattr(self, name) for name in names}
