"""How the outputs of two directions become one, where they do not stand side by side."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from embedrnn._quiet import quiet
from embedrnn.layers.layer import Array

MergeMode = Literal["concat", "sum", "mean", "mul"]


class Merge(NamedTuple):
    """A way to make one of two outputs, and back.

    `join` puts it into its last argument, which may be one of both. `back` returns the gradients of
    both from that of the one; where `keeps` is True, it reads both again.
    """

    join: Callable[[Sequence[Array], Array], None]
    back: Callable[[Array, Sequence[Array]], tuple[Array, Array]]
    keeps: bool


@quiet
def _sum(both: Sequence[Array], out: Array) -> None:
    np.add(both[0], both[1], out=out)


def _of_sum(grad: Array, _: Sequence[Array]) -> tuple[Array, Array]:
    return grad, grad


@quiet
def _mean(both: Sequence[Array], out: Array) -> None:
    np.add(both[0], both[1], out=out)
    np.divide(out, out.dtype.type(2), out=out)


@quiet
def _of_mean(grad: Array, _: Sequence[Array]) -> tuple[Array, Array]:
    half = grad / grad.dtype.type(2)
    return half, half


@quiet
def _product(both: Sequence[Array], out: Array) -> None:
    np.multiply(both[0], both[1], out=out)


@quiet
def _of_product(grad: Array, both: Sequence[Array]) -> tuple[Array, Array]:
    one, other = both
    return grad * other, grad * one


# By the names that `_check` knows, but for "concat", which makes nothing of them.
MERGES: Mapping[str, Merge] = {
    "sum": Merge(_sum, _of_sum, keeps=False),
    "mean": Merge(_mean, _of_mean, keeps=False),
    "mul": Merge(_product, _of_product, keeps=True),
}
