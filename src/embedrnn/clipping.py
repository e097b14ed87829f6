"""Gradients whose norm is bounded."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._quiet import quiet
from embedrnn.coalesce import RowGrad, norm_of

_Grads = TypeVar("_Grads")

_EPS = 1e-6  # PyTorch's


def clip_grad_norm(grads: _Grads, max_norm: float) -> tuple[_Grads, float]:
    """Scale gradients down so that the norm of all of them together is bounded.

    Parameters
    ----------
    grads : array_like, RowGrad, or mappings, tuples and lists of them
        Gradients in any floating-point dtypes, nested in any way; None is passed over.
    max_norm : float
        The greatest norm; more than 0.

    Returns
    -------
    clipped
        The gradients, nested as `grads` are, all times the same factor ``min(1, max_norm / (norm +
        1e-6))``. Those that are given are not written to, and are returned where that is 1.
    norm : float
        The square root of the sum of all squares, formed in float64 without overflow.

    Raises
    ------
    TypeError
        If something is no gradient in a floating-point dtype, or `max_norm` is no number.
    ValueError
        If `max_norm` is not positive.

    Notes
    -----
    The rule is that of `torch.nn.utils.clip_grad_norm_` [1]_, also where the norm is not finite: an
    infinite one makes zeros of what is finite and NaN of what is not, and NaN makes NaN of all. A
    training loop may look at `norm` and pass such a step over.

    References
    ----------
    .. [1] https://docs.pytorch.org/docs/stable/nn.html#utilities

    Examples
    --------
    >>> import numpy as np
    >>> import embedrnn as er
    >>> grads = {"bias": np.array([0.0, 3.0]), "table": er.coalesce([7], [[4.0]])}
    >>> clipped, norm = er.clip_grad_norm(grads, 1.0)
    >>> norm
    5.0
    >>> np.round(clipped["bias"], 4), np.round(clipped["table"].values, 4)
    (array([0. , 0.6]), array([[0.8]]))
    """
    most = _check.positive("max_norm", max_norm)
    norms: list[float] = []

    def measure(leaf: Any, values: npt.NDArray[Any]) -> Any:
        norms.append(norm_of(values))
        return leaf

    _mapped("grads", grads, measure)
    norm = norm_of(np.array(norms))
    share = most / (norm + _EPS)
    if share >= 1:
        return grads, norm

    def scale(leaf: Any, values: npt.NDArray[Any]) -> Any:
        scaled = _scaled(values, share)
        return RowGrad(leaf.indices, scaled) if isinstance(leaf, RowGrad) else scaled

    return _mapped("grads", grads, scale), norm


def _mapped(name: str, tree: Any, change: Callable[[Any, npt.NDArray[Any]], Any]) -> Any:
    """Return gradients nested as before, each of them, and its numbers, changed."""
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {key: _mapped(f"{name}[{key!r}]", part, change) for key, part in tree.items()}
    if isinstance(tree, (tuple, list)) and not _is_numbers(tree):
        parts = [_mapped(f"{name}[{i}]", part, change) for i, part in enumerate(tree)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if isinstance(tree, RowGrad):
        _, values = _check.row_grad(tree.indices, tree.values)
    else:
        values = _check.as_array(name, tree)
    _check.any_float(name, values.dtype)
    return change(tree, values)


def _is_numbers(tree: Any) -> bool:
    """Whether a list is an array written out."""
    return bool(tree) and all(isinstance(part, (int, float)) for part in tree)


@quiet
def _scaled(values: npt.NDArray[Any], share: float) -> npt.NDArray[Any]:
    sums = _check.sum_dtype(values.dtype)
    scaled: npt.NDArray[Any] = (values.astype(sums, copy=False) * sums.type(share)).astype(
        values.dtype, copy=False
    )
    return scaled
