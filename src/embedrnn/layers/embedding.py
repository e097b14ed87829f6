"""The embedding layer."""

from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._docs import TABLE, documented
from embedrnn.coalesce import RowGrad, coalesce
from embedrnn.layers.layer import Array
from embedrnn.layers.table import Table
from embedrnn.rows import gather


@documented(TABLE)
class Embedding(Table):
    """A table of embeddings, as `torch.nn.Embedding`.

    Parameters
    ----------
    {num_embeddings, embedding_dim}
    padding_idx : int, optional
        A row that has no gradient; a new table has zeros there. Negative ones count from the end.
        Looked up it is a row as any other.
    {max_norm, norm_type}
    scale_grad_by_freq : bool
        Divide each row's gradient by the number of times that it was looked up.
    {dtype, rng, strict, **others}

    Attributes
    ----------
    {weight}

    Raises
    ------
    TypeError, ValueError
        If a size is not an integer or too small, `padding_idx` is no row, `max_norm` or `norm_type`
        is not positive, or the dtype is another.

    See Also
    --------
    embedrnn.gather : The look-up itself.
    embedrnn.coalesce : Its gradient.

    Examples
    --------
    >>> import embedrnn as er
    >>> layer = er.Embedding(10, 3, padding_idx=0, rng=0)
    >>> layer([[1, 2], [4, 0]]).shape
    (2, 2, 3)
    >>> layer(0)
    array([0., 0., 0.], dtype=float32)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        *,
        dtype: npt.DTypeLike | None = None,
        rng: Any = None,
        strict: bool = False,
        _weight: npt.ArrayLike | None = None,
        **others: Any,
    ) -> None:
        super().__init__(
            rng, _weight, others, num_embeddings=num_embeddings, embedding_dim=embedding_dim,
            padding_idx=padding_idx, max_norm=max_norm, norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq, dtype=dtype, strict=strict,
        )  # fmt: skip

    @classmethod
    def _checked(cls, **options: Any) -> dict[str, Any]:
        return _check.table_options(**options)

    def __call__(self, indices: npt.ArrayLike, *, out: Array | None = None) -> Array:
        """Copy rows of the table.

        Parameters
        ----------
        indices : array_like of any integer dtype, shape (...)
            Negative ones count from the end, unless the layer is strict.
        out : ndarray, shape ``indices.shape + (D,)``, dtype of the layer, optional
            Where to put the rows; float32, float16 or bfloat16 for those of int8.

        Returns
        -------
        ndarray, shape ``indices.shape + (D,)``

        Raises
        ------
        IndexError, TypeError, ValueError
            As `embedrnn.gather`; nothing is written then.
        """
        mode: Literal["raise", "strict"] = "strict" if self.strict else "raise"
        if self.max_norm is None:  # a few rows take less than the way round
            return cast("Array", gather(self.weight, indices, out=out, mode=mode))
        rows: Array = self._looked_up(
            indices, lambda table: gather(table, indices, out=out, mode=mode)
        )
        return rows

    def vjp(self, indices: npt.ArrayLike) -> tuple[Array, Callable[[npt.ArrayLike], RowGrad]]:
        """Copy rows of the table, and return its vector-Jacobian product with them.

        Parameters
        ----------
        indices : array_like of any integer dtype, shape (...)

        Returns
        -------
        output : ndarray, shape ``indices.shape + (D,)``
        backward : callable
            ``backward(grad_output)`` takes the gradient of `output`, of its shape and dtype; that
            of halves may be float32. It returns that of the table as a `RowGrad`: distinct rows,
            rising, without the padding row, each the sum of its gradients in index order.

        Raises
        ------
        IndexError, TypeError, ValueError
            As a call does, or if the rows are int8.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> output, backward = er.Embedding(10, 2, padding_idx=0).vjp([7, 0, 7])
        >>> backward(np.ones((3, 2), np.float32))
        RowGrad(indices=array([7]), values=array([[2., 2.]], dtype=float32))
        """
        self._require_gradient()
        ids = np.array(_check.integer_indices(indices))  # which backward reads again
        output, flat = self(ids), ids.reshape(-1)

        def backward(grad_output: npt.ArrayLike) -> RowGrad:
            gradient = _check.row_gradient(grad_output, output.shape, self.dtype)
            if self.scale_grad_by_freq:  # which has to be summed without rounding
                gradient = gradient.astype(_check.sum_dtype(self.dtype), copy=False)
            kept = self._kept(flat)
            rows = gradient.reshape(flat.size, self.embedding_dim)[kept]
            grad = coalesce(flat[kept], rows, num_embeddings=self.num_embeddings)
            return self._finished(grad, flat[kept])

        return output, backward
