"""Bags whose sum is divided by a norm of their weights: weighted means, and sums over a root."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._backend import current
from embedrnn._check.arrays import sum_dtype
from embedrnn._check.bag import Bag
from embedrnn._quiet import quiet

_Reals = npt.NDArray[np.floating[Any]]


class Norms(NamedTuple):
    """What the weights of bags were divided by, and how it changes with each of them."""

    inverse: npt.NDArray[np.float64]  # one over the norm, a bag; 0 where the norm is
    slopes: npt.NDArray[np.float64]  # the derivative of the norm, an item


def is_normalised(mode: str, per_sample_weights: Any) -> bool:
    """Whether a mode divides by more than the number of rows, which the backends do themselves."""
    return mode == "sqrtn" or (mode == "mean" and per_sample_weights is not None)


@quiet
def normalised(call: Bag, mode: str) -> tuple[Bag, Norms]:
    """Return bags of which the sum is what the mode asks for: their weights are divided already.

    The mean divides by the sum of the weights, "sqrtn" by the root of the sum of their squares. The
    norms are float64, so that the squares of float32 neither overflow nor vanish.
    """
    given = call.per_sample_weights
    weights = np.ones(call.indices.size) if given is None else given.astype(np.float64)
    if mode == "mean":
        inverse, slopes = _inverse(_sums(weights, call, None)), np.ones_like(weights)
        shares = weights * inverse[call.bag_of]
    else:
        inverse = _inverse(np.sqrt(_sums(weights, call, weights)))
        shares = slopes = weights * inverse[call.bag_of]
    own = shares.astype(sum_dtype(call.out.dtype))
    return call._replace(per_sample_weights=own), Norms(inverse, slopes)


@quiet
def through_norms(products: _Reals, call: Bag, norms: Norms) -> _Reals:
    """Return the gradient of the weights, from that of the divided ones.

    Each weight changes its own row's share, and by the norm the shares of all rows of its bag.
    """
    wide = products.astype(np.float64)
    assert call.per_sample_weights is not None
    shares = call.per_sample_weights.astype(np.float64)
    of_bags = _sums(wide, call, shares)
    grad: _Reals = (wide - of_bags[call.bag_of] * norms.slopes) * norms.inverse[call.bag_of]
    return grad.astype(products.dtype)


def _sums(numbers: _Reals, call: Bag, weights: _Reals | None) -> npt.NDArray[np.float64]:
    """Sum one number for each item over its bag, with weights: in the order of a bag of rows."""
    sums = np.empty((call.offsets.size - 1, 1))
    places = np.arange(numbers.size)  # of which none is out of range
    current().bag_sum(numbers[:, None], "float64", places, call.offsets, weights, False, sums)
    return sums[:, 0]


def _inverse(norms: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms != 0)
