"""The embedding bag layer."""

from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn.bag import BagGrads, embedding_bag, embedding_bag_vjp
from embedrnn.coalesce import RowGrad
from embedrnn.layers.layer import Array
from embedrnn.layers.table import Table


class EmbeddingBag(Table):
    """A table of embeddings that come in bags, as `torch.nn.EmbeddingBag`.

    Parameters
    ----------
    num_embeddings : int
        Rows of the table, V.
    embedding_dim : int
        Columns of the table, D.
    mode : {"mean", "sum", "max"}
        What to make of the rows of a bag.
    padding_idx : int, optional
        A row to leave out wherever it is named; a new table has zeros there. Negative ones count
        from the end.
    max_norm : float, optional
        The greatest norm that a row may have: those named are scaled down to it, in place, which
        the arrays that a `state_dict` has given show too.
    norm_type : float
        The p of that norm; `numpy.inf` for the greatest magnitude.
    scale_grad_by_freq : bool
        Divide each row's gradient by the number of times that it was named in all bags. Not for the
        maximum.
    include_last_offset : bool
        Whether offsets, of shape (B + 1,), end with the number of indices.
    dtype : float32, float64, float16 or bfloat16 (of ml_dtypes)
    rng : seed or numpy.random.Generator, optional
        Whatever `numpy.random.default_rng` takes; a new table is drawn from the standard normal
        distribution, as PyTorch's.

    Attributes
    ----------
    weight : ndarray, shape (V, D)
        The table, read-only.

    Raises
    ------
    TypeError, ValueError
        As of `Embedding`, or if the mode is none of the three.

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

    mode: Literal["sum", "mean", "max"]
    include_last_offset: bool

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        mode: Literal["sum", "mean", "max"] = "mean",
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        include_last_offset: bool = False,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
        _weight: Array | None = None,
    ) -> None:
        options = _check.table_options(
            num_embeddings, embedding_dim, padding_idx=padding_idx, max_norm=max_norm,
            norm_type=norm_type, scale_grad_by_freq=scale_grad_by_freq, dtype=dtype,
        )  # fmt: skip
        _check.choice("mode", mode, ("sum", "mean", "max"))
        if mode == "max" and options["scale_grad_by_freq"]:
            raise ValueError("scale_grad_by_freq must be False where mode is 'max'")
        options |= {"mode": mode, "include_last_offset": bool(include_last_offset)}
        super().__init__(options, rng, _weight)

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
        indices : array_like of any integer dtype, shape (N,) or (B, L)
            The rows of all bags, one bag after another; of two axes, each row is a bag.
        offsets : array_like of any integer dtype, shape (B,), optional
            For 1-d indices: where each bag begins.
        per_sample_weights : array_like, shape of `indices`, dtype of the layer, optional
            What to multiply each row with; for sums only.
        lengths : array_like of any integer dtype, shape (B,), optional
            In place of offsets: how many indices each bag has.

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
            lambda: embedding_bag(
                self.weight, indices, offsets, per_sample_weights=per_sample_weights,
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
            ``backward(grad_output)`` takes the gradient of `output`, of its shape and dtype, and
            returns `BagGrads`: ``weight``, a `RowGrad` without the padding row, and
            ``per_sample_weights``, None if there are none.

        Raises
        ------
        IndexError, TypeError, ValueError
            As a call does.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> output, backward = er.EmbeddingBag(10, 2).vjp([[7, 3], [7, 7]])
        >>> backward(np.ones((2, 2), np.float32)).weight
        RowGrad(indices=array([3, 7]), values=array([[0.5, 0.5],
               [1.5, 1.5]], dtype=float32))
        """
        ids = np.array(_check.integer_indices(indices))  # which backward reads again
        output, gradients = self._looked_up(
            ids,
            lambda: embedding_bag_vjp(
                self.weight, ids, offsets, per_sample_weights=per_sample_weights,
                lengths=lengths, **self._bag_options(),
            ),
        )  # fmt: skip

        def backward(grad_output: npt.ArrayLike) -> BagGrads:
            grads, flat = gradients(grad_output), ids.reshape(-1)
            grad = cast("RowGrad", grads.weight)
            return grads._replace(weight=self._by_frequency(grad, flat[self._kept(flat)]))

        return output, backward

    def _bag_options(self) -> dict[str, Any]:
        names = ("mode", "padding_idx", "include_last_offset")
        return {name: getattr(self, name) for name in names}
