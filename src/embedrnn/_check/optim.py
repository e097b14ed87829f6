"""Rules of the optimisers: their parameters, their gradients, and what they are told."""

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import (
    ANY_FLOAT,
    as_matrix,
    as_rows,
    behaved,
    in_one_piece,
    is_float,
    native,
    require_output,
    require_shape,
    sum_dtype,
)
from embedrnn._check.coalesce import require_rising
from embedrnn._check.layers import require_mapping
from embedrnn._check.options import below_one, not_negative, shown, whole
from embedrnn._check.rows import Indices, row_numbers

Rate = float | Callable[[int], float]


class Gradient(NamedTuple):
    """The gradient of a parameter as a matrix, of these of its rows; None: of all."""

    indices: Indices | None
    values: Array


class Stored(NamedTuple):
    """What one entry of an optimiser's state is like; -1 stands for any length of an axis."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


# --- what an optimiser is made of -----------------------------------------------------------------


def named(what: str, tree: Any) -> dict[str, Any]:
    """Return what nested mappings hold, by names joined with dots."""
    require_mapping(what, tree)
    found: dict[str, Any] = {}
    for name, leaf in _leaves(what, tree):
        if name in found:
            raise ValueError(f"{what} must have names that differ, got {shown(name)} twice")
        found[name] = leaf
    return found


def _leaves(what: str, tree: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if not isinstance(key, str):
            raise TypeError(f"{what} must have names that are strings, got {shown(key)}")
        if isinstance(value, Mapping):
            for name, leaf in _leaves(f"{what}[{key!r}]", value):
                yield f"{key}.{name}", leaf
        else:
            yield key, value


def require_steppable(name: str, array: Any) -> None:
    """Check an array of the caller's that is to be stepped in place."""
    require_output(name, array, None, None)
    if not (behaved(array) and _has_rows_apart(array)):
        raise ValueError(
            f"{name} must be aligned, in native byte order, and C-contiguous or a matrix with each "
            "row in one piece: it is stepped in place"
        )


def require_new_float(name: str, array: Array, others: Container[str]) -> None:
    """Check a parameter of the caller's or of a layer."""
    if name in others:
        raise ValueError(f"parameters must have names that differ, got {shown(name)} twice")
    if not is_float(array.dtype):
        raise TypeError(f"{name} must be {ANY_FLOAT}, got {array.dtype}")


def _has_rows_apart(array: Array) -> bool:
    """Whether an array is a matrix of rows in one piece each, none of which overlap."""
    if array.flags.c_contiguous:
        return True
    if array.ndim not in {1, 2}:
        return False
    row_bytes = array[:1].nbytes
    return (array.ndim == 1 or in_one_piece(array)) and abs(array.strides[0]) >= row_bytes


def as_stepped(array: Array) -> Array:
    """Return the view of a parameter that the backends step: its rows."""
    return as_matrix(array if array.ndim else array.reshape(1))


def learning_rate(rate: Rate, step: int) -> float:
    """Check the learning rate of a step, counted from 0."""
    return not_negative("lr", rate(step) if callable(rate) else rate)


def betas(value: Any) -> tuple[float, float]:
    """Check the two rates at which moments are forgotten."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"betas must be two numbers, got {shown(value)}")
    first, second = value
    return below_one("betas[0]", first), below_one("betas[1]", second)


# --- gradients ------------------------------------------------------------------------------------


def require_known(what: str, names: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Check that what is given is of parameters that there are."""
    for name in names:
        if name not in known:
            raise ValueError(
                f"{what} must name parameters, got {shown(name)}: there are "
                f"{shown(', '.join(known))}"
            )


def gradient(
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    indices: npt.ArrayLike | None,
    values: npt.ArrayLike,
) -> Gradient:
    """Check the gradient of a parameter of this shape and dtype."""
    label = f"grads[{name!r}]"
    rows = None if indices is None else _rising_rows(name, label, indices, shape)
    label = label if rows is None else f"{label}.values"
    array = as_array(label, values)
    require_shape(label, array, shape if rows is None else (rows.size, *shape[1:]))
    if native(array.dtype) not in (dtype, sum_dtype(dtype)):
        raise TypeError(f"{label} must be {dtype} as the parameter is, got {array.dtype}")
    return Gradient(rows, as_rows(as_stepped(array)))


def _rising_rows(name: str, label: str, indices: npt.ArrayLike, shape: tuple[int, ...]) -> Indices:
    """Check the rows of a RowGrad of a parameter of this shape."""
    rows = _row_numbers(f"{label}.", indices)
    if rows.ndim != 1:
        raise ValueError(f"{label}.indices must have one axis, got shape {rows.shape}")
    if not shape:
        raise ValueError(f"{label} must be an array: a scalar has no rows")
    require_rising(f"{label}.indices", rows, name, shape[0])
    return rows


def lagging_rows(name: str, shape: tuple[int, ...], indices: npt.ArrayLike) -> Indices:
    """Check indices, in any order and as often as may be, into a parameter of this shape."""
    if not shape:
        raise ValueError(f"rows must name parameters with rows, got the scalar {name}")
    return _row_numbers(f"rows[{name!r}]: ", indices)


def _row_numbers(where: str, indices: npt.ArrayLike) -> Indices:
    try:
        return row_numbers(indices)
    except TypeError as error:
        raise TypeError(f"{where}{error}") from None


# --- state ----------------------------------------------------------------------------------------


def optimizer_state(expected: Mapping[str, Stored], given: Any) -> dict[str, Array]:
    """Return the state of an optimiser, or raise an error that names what is wrong with it."""
    require_mapping("state_dict", given)
    missing = [name for name in expected if name not in given]
    unexpected = [str(name) for name in given if name not in expected]
    wrong = [f"missing {', '.join(missing)}"] if missing else []
    wrong += [f"unexpected {', '.join(unexpected)}"] if unexpected else []
    if wrong:
        raise ValueError(f"state_dict does not fit the optimiser: {'; '.join(wrong)}")
    return {name: _stored(name, given[name], like) for name, like in expected.items()}


def _stored(name: str, value: Any, like: Stored) -> Array:
    if like.shape == ():
        number = whole(name, value)
        if not 0 <= number <= np.iinfo(np.int64).max:
            raise ValueError(f"{name} must be in [0, 2**63), got {shown(number)}")
        return np.array(number)
    array = as_array(name, value)
    if native(array.dtype) != like.dtype:
        raise TypeError(f"{name} must be {like.dtype}, got {array.dtype}")
    sizes = zip(like.shape, array.shape, strict=False)
    if array.ndim != len(like.shape) or any(n not in {-1, m} for n, m in sizes):
        wanted = str(like.shape).replace("-1", "any")
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    return array


def require_steps(name: str, state: Mapping[str, Array]) -> None:
    """Check that no more steps of a parameter are known than there were."""
    steps, known = int(state[f"{name}.step"]), len(state.get(f"{name}.coefficients", ()))
    if known > steps:
        raise ValueError(f"{name}.coefficients must have {steps} rows or fewer, got {known}")
