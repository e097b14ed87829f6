"""Steps of optimisers: the rules, and which rows they step."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._numpy.rows import Indices, first_out_of_range
from embedrnn._numpy.storage import Array, widen
from embedrnn._quiet import quiet
from embedrnn._storage import Storage

_Words = npt.NDArray[np.uint32]

# --- The rules: from rows of a parameter, of its gradient and of its states, and the coefficients
# of the step in their order, the new parameter and the new states.


def _sgd(param: Array, grad: Array, lr: Any, decay: Any) -> tuple[Array, ...]:
    return (param - lr * _with_decay(grad, param, decay),)


def _momentum(
    param: Array, grad: Array, buffer: Array, lr: Any, decay: Any, momentum: Any, nesterov: Any
) -> tuple[Array, ...]:
    grad = _with_decay(grad, param, decay)
    buffer = momentum * buffer + grad
    return param - lr * (momentum * buffer + grad if nesterov else buffer), buffer


def _adagrad(
    param: Array, grad: Array, total: Array, lr: Any, decay: Any, eps: Any
) -> tuple[Array, ...]:
    grad = _with_decay(grad, param, decay)
    total = grad * grad + total
    return param - lr * (grad / (np.sqrt(total) + eps)), total


def _row_wise_adagrad(
    param: Array, grad: Array, total: Array, lr: Any, decay: Any, eps: Any
) -> tuple[Array, ...]:
    grad = _with_decay(grad, param, decay)
    total = total + _sum_of_squares(grad) / grad.dtype.type(grad.shape[1])
    return param - (lr / (np.sqrt(total) + eps))[:, None] * grad, total


def _adam(
    param: Array,
    grad: Array,
    mean: Array,
    square: Array,
    lr: Any,
    decay: Any,
    eps: Any,
    keep: Any,
    first: Any,
    second: Any,
    kept_of_second: Any,
) -> tuple[Array, ...]:
    grad = _with_decay(grad, param, decay)
    mean = first * (grad - mean) + mean
    square = (second * grad) * grad + kept_of_second * square
    return keep * param - lr * (mean / (np.sqrt(square) + eps)), mean, square


_RULES: dict[str, Callable[..., tuple[Array, ...]]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adagrad": _adagrad,
    "row_wise_adagrad": _row_wise_adagrad,
    "adam": _adam,
}


def _with_decay(grad: Array, param: Array, decay: Any) -> Array:
    """Return the gradient with that of an L2 penalty."""
    return decay * param + grad if decay else grad


def _sum_of_squares(rows: Array) -> Array:
    """Return the sum of squares of each row, in a fixed number of interleaved partial sums."""
    parts = 64 // rows.itemsize
    sums = np.zeros((len(rows), parts), rows.dtype)
    for first in range(0, rows.shape[1], parts):
        some = rows[:, first : first + parts]
        sums[:, : some.shape[1]] += some * some
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        sums = sums[:, :half] + sums[:, half:]
    return sums[:, 0]


# --- The step ------------------------------------------------------------------------------------


@quiet
def optim_step(
    rule: str,
    param: Array,
    storage: Storage,
    states: Sequence[Array],
    indices: Indices | None,
    grad: Array | None,
    coefficients: Array,
    step: int,
    last: npt.NDArray[np.int64] | None,
    rests: bool,
    seed: int | None,
) -> int:
    """Step rows of a parameter in place, all of them if there are no indices.

    `coefficients` has those of this step in its last row, and of steps before in those above. With
    `last`, the step that each row was last brought up to, a row first makes up for what it has
    missed, with zero gradients; `rests` says that this changes nothing of rows never stepped. With
    a seed, halves are rounded up or down by chance. Returns -1, or the first bad position.
    """
    if indices is None:
        indices = np.arange(len(param))
    bad = first_out_of_range(indices, len(param))
    if bad >= 0 or param.shape[1] == 0:
        return bad

    def take(rows: Indices, gradient: Array, at: int) -> None:
        old = widen(param[rows], storage)
        new, *kept = _RULES[rule](
            old, widen(gradient, storage), *(state[rows] for state in states),
            *coefficients[at - step - 1],
        )  # fmt: skip
        param[rows] = new if seed is None else _by_chance(new, rows, param.dtype, seed, at)
        for state, values in zip(states, kept, strict=True):
            state[rows] = values

    if last is not None:
        if grad is None and rests:  # as if they had not been named
            indices = indices[last[indices] > 0]
        known = step - len(coefficients) + 1
        first = max(known, int(last[indices].min(initial=step)) + 1)
        for missed in range(first, step + (grad is None)):
            due = indices[(last[indices] < missed) & ((last[indices] > 0) | (not rests))]
            take(due, np.zeros((due.size, param.shape[1]), coefficients.dtype), missed)
        last[indices] = step
    if grad is not None:
        take(indices, grad, step)
    return -1


# --- Halves that are rounded by chance -----------------------------------------------------------


def _by_chance(values: Array, rows: Indices, dtype: np.dtype[Any], seed: int, step: int) -> Array:
    """Round float32 up or down, so that the mean of what comes out is the value."""
    width = values.shape[1]
    elements = rows.astype(np.int64)[:, None] * width + np.arange(width)
    random = _random_bits(seed, step, elements)
    bits = values.view(np.uint32)
    sign, magnitude = bits >> 16 & 0x8000, bits & 0x7FFFFFFF
    if dtype == np.float16:
        part, is_small = random & 0x1FFF, magnitude < 0x38800000
        fraction = part.astype(np.float32) * np.float32(2.0**-13)
        small = np.where(is_small, np.abs(values), np.float32(0)) * np.float32(2.0**24)
        whole = (small + fraction).astype(np.uint32)
        rounded = np.where(is_small, whole, (magnitude - 0x38000000 + part) >> 13)
        rounded = np.where(magnitude < 0x47800000, rounded, 0x7C00)
        rounded = np.where(magnitude > 0x7F800000, 0x7E00, rounded) | sign
    else:
        nearest = values.astype(dtype).view(np.uint16)
        is_finite = magnitude < 0x7F800000
        rounded = np.where(is_finite, (bits + (random & 0xFFFF)) >> 16, nearest)
    return rounded.astype(np.uint16).view(dtype)


def _random_bits(seed: int, step: int, elements: npt.NDArray[np.int64]) -> _Words:
    """Return 32 random bits for each element: the same whoever asks, and in whatever order."""
    low, high = elements.astype(np.uint32), (elements >> 32).astype(np.uint32)
    key = _scrambled(_scrambled(_word(seed)) ^ _word(step)) + _word(seed >> 32)
    return _scrambled(low + high * _word(0x9E3779B9) + key)


def _word(number: int) -> _Words:
    return np.array([number & 0xFFFFFFFF], np.uint32)


def _scrambled(x: _Words) -> _Words:
    """Return the finalizer of MurmurHash3."""
    x = (x ^ _shifted(x, 16)) * _word(0x85EBCA6B)
    x = (x ^ _shifted(x, 13)) * _word(0xC2B2AE35)
    return x ^ _shifted(x, 16)


def _shifted(x: _Words, bits: int) -> _Words:
    return x >> np.uint32(bits)
