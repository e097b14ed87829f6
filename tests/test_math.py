"""exp, sigmoid and tanh of the compiled core: worst error, special values, and every lane alike."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from cases import CORE, assert_same_bits, guarded

# In units in the last place, over the whole range, subnormal results included.
WORST_ERROR = 2.0
WORST_ERROR_WITHOUT_FMA = 2.5

FUNCTIONS = ("exp", "sigmoid", "tanh")
function = pytest.mark.parametrize("name", FUNCTIONS)


def evaluate(name: str, x: np.ndarray) -> np.ndarray:
    out = np.full_like(x, 7)
    getattr(CORE, name)(x, out)
    return out


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """Return the value in a wider type, that of `x` on entry."""
    if name == "exp":
        return np.exp(x)
    if name == "tanh":
        return np.tanh(x)
    # Either form is exact to a few units on its own side of zero.
    small = np.exp(-np.abs(x))
    return np.where(x > 0, 1, small) / (1 + small)


def edges(dtype: Any) -> np.ndarray:
    """Return the numbers where an implementation may change its path, and their neighbours."""
    info = np.finfo(dtype)
    limits = [np.log(info.max), -np.log(info.tiny), -np.log(info.smallest_subnormal)]
    halves = np.arange(1, 40) * np.log(2) / 2
    marks = [0.0, info.smallest_subnormal, info.tiny, info.eps, 1.0, 9.0, 9.1, 19.0, 19.1, 88.0,
             709.0, *limits, *halves, info.max]  # fmt: skip
    near = np.array(marks).astype(dtype)
    up, down = np.nextafter(near, dtype(np.inf)), np.nextafter(near, dtype(-np.inf))
    return np.concatenate([near, up[np.isfinite(up)], down])


@cache
def samples(dtype: Any) -> np.ndarray:
    """Return numbers spread evenly over the range of the results, and over all magnitudes."""
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    count = 400_000 if dtype is np.float32 else 100_000
    reach = -1.02 * np.log(float(info.smallest_subnormal))
    even = rng.uniform(-reach, reach, count)
    magnitudes = np.exp2(rng.uniform(info.minexp - info.nmant, 10, count))
    x = np.concatenate([even, magnitudes, edges(dtype)]).astype(dtype)
    return np.concatenate([x, -x])


@cache
def exact_samples(name: str, dtype: Any) -> np.ndarray:
    wide = np.float64 if dtype is np.float32 else np.longdouble
    with np.errstate(over="ignore", under="ignore"):
        return exact(name, samples(dtype).astype(wide))


@function
def test_worst_error(native: str, dtype: Any, name: str) -> None:
    wide = exact_samples(name, dtype)
    if np.finfo(wide.dtype).nmant <= np.finfo(dtype).nmant:
        pytest.skip("no wider type to compare with here")
    actual = evaluate(name, samples(dtype))
    with np.errstate(over="ignore", under="ignore"):
        rounded = wide.astype(dtype)
    overflows = np.isinf(rounded)
    # Where the exact value overflows by a hair the largest number would be as near.
    np.testing.assert_array_equal(actual[overflows], np.inf)
    unit = np.abs(np.spacing(rounded[~overflows])).astype(wide.dtype)
    error = np.abs(actual[~overflows].astype(wide.dtype) - wide[~overflows]) / unit
    worst = np.argmax(error)
    bound = WORST_ERROR_WITHOUT_FMA if native == "baseline" else WORST_ERROR
    assert error[worst] <= bound, samples(dtype)[~overflows][worst]


SPECIAL = {
    "exp": {np.nan: np.nan, np.inf: np.inf, -np.inf: 0.0, 0.0: 1.0, 1e4: np.inf, -1e4: 0.0},
    "sigmoid": {np.nan: np.nan, np.inf: 1.0, -np.inf: 0.0, 0.0: 0.5, 1e4: 1.0, -1e4: 0.0},
    "tanh": {np.nan: np.nan, np.inf: 1.0, -np.inf: -1.0, 0.0: 0.0, 1e4: 1.0, -1e4: -1.0},
}


@function
def test_special_values_in_every_lane(native: str, dtype: Any, name: str) -> None:
    special = np.array(list(SPECIAL[name]), dtype)
    expected = np.array(list(SPECIAL[name].values()), dtype)
    for size in range(1, 70):
        for shift in range(len(special)):
            x = np.resize(np.roll(special, shift), size)
            wanted = np.resize(np.roll(expected, shift), size)
            np.testing.assert_array_equal(evaluate(name, x), wanted)


def test_tanh_keeps_the_sign_and_the_smallest_numbers(native: str, dtype: Any) -> None:
    info = np.finfo(dtype)
    small = np.array([0.0, info.smallest_subnormal, 9 * info.smallest_subnormal, info.tiny], dtype)
    assert_same_bits(evaluate("tanh", small), small)
    assert_same_bits(evaluate("tanh", -small), -small)


@function
def test_bounds(native: str, dtype: Any, name: str) -> None:
    low, high = {"exp": (0, np.inf), "sigmoid": (0, 1), "tanh": (-1, 1)}[name]
    values = evaluate(name, samples(dtype))
    assert low <= values.min()
    assert values.max() <= high


def test_tanh_is_odd(native: str, dtype: Any) -> None:
    x = samples(dtype)
    assert_same_bits(evaluate("tanh", -x), -evaluate("tanh", x))


@function
def test_lanes_and_tail_are_alike(native: str, dtype: Any, name: str) -> None:
    x = np.random.default_rng(0).permutation(samples(dtype))[:131]
    alone = np.concatenate([evaluate(name, x[i : i + 1]) for i in range(len(x))])
    for start in range(0, 131):
        assert_same_bits(evaluate(name, x[start:].copy()), alone[start:])


@function
@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
def test_stays_inside_its_arrays(native: str, dtype: Any, name: str, before: bool) -> None:
    for size in range(131):
        x = guarded(np.linspace(-9, 9, size).astype(dtype), before=before)
        out = guarded(np.zeros(size, dtype), before=before)
        getattr(CORE, name)(x, out)
        assert_same_bits(out, evaluate(name, x.copy()))
