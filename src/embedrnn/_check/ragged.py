"""Rules of rows of unequal length, one behind the other: where each of them begins."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from embedrnn._backend import current
from embedrnn._check.array_like import Array, as_array, own_copy
from embedrnn._check.arrays import require_shape
from embedrnn._sequences import Rows

Offsets = npt.NDArray[np.int64]


class _PackedFields(Protocol):
    """Sequences as PyTorch packs them."""

    @property
    def data(self) -> Any: ...
    @property
    def batch_sizes(self) -> Any: ...
    @property
    def sorted_indices(self) -> Any: ...


class Ragged(NamedTuple):
    """Rows one behind the other, (N, ...), where they begin and end, and in what they came."""

    values: Array
    offsets: Offsets
    source: str


class PackedRows(NamedTuple):
    """Checked packed sequences, and what sorts the states as their rows are."""

    data: npt.NDArray[Any]
    rows: Rows
    order: Offsets | None


def rows_of(
    shape: tuple[int, ...],
    lengths: npt.ArrayLike | None,
    offsets: npt.ArrayLike | None,
    mask: npt.ArrayLike | None = None,
) -> Rows:
    """Check how the rows of padded sequences, or of ragged ones, are laid out in this shape."""
    if offsets is not None:
        absent_where("there are offsets", lengths, mask=mask)
        bounds = with_last(whole_numbers("offsets", offsets), shape[0], "steps")
        return ragged_rows(bounds)
    batch, time = shape[:2]
    if mask is not None:
        absent_where("there is a mask", lengths)
        return rows_of_mask(mask_of(mask, (batch, time)))
    return Rows(batch, None if lengths is None else lengths_of(lengths, batch, time))


def ragged_rows(bounds: Offsets) -> Rows:
    """Return rows one behind the other, by where each begins and the last one ends."""
    return Rows(bounds.size - 1, np.diff(bounds), bounds[:-1])


def mask_of(mask: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Check which steps of padded rows are valid."""
    array = own_copy("mask", mask)
    require_shape("mask", array, shape)
    if array.dtype != bool and array.size:
        raise TypeError(f"mask must be bool, got {array.dtype}")
    return array.astype(bool, copy=False)


def rows_of_mask(mask: npt.NDArray[np.bool_]) -> Rows:
    """Return padded rows whose valid steps may stand anywhere."""
    lengths = np.count_nonzero(mask, axis=1)
    times = np.ascontiguousarray(mask.nonzero()[1])
    starts = lengths.cumsum() - lengths
    return Rows(len(mask), lengths, starts, times=times)


def lengths_of(lengths: npt.ArrayLike, batch: int, time: int) -> Offsets:
    """Check how many steps of each padded row are valid."""
    array = own_copy("lengths", lengths)
    require_shape("lengths", array, (batch,))
    if array.dtype.kind not in "iu" and batch:
        raise TypeError(f"lengths must be integers, got {array.dtype}")
    outside = (array < 0) | (array > time)
    if outside.any():
        first = int(outside.argmax())
        raise ValueError(f"lengths[{first}] must be between 0 and {time}, got {array[first]}")
    return array.astype(np.int64, copy=False)


def resets_of(resets: npt.ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    """Check before which steps the state is the initial one again; backward reads them later."""
    if resets is None:
        return None
    array = own_copy("resets", resets)
    require_shape("resets", array, shape)
    if array.dtype != bool and array.size:
        raise TypeError(f"resets must be bool, got {array.dtype}")
    return array.astype(bool, copy=False)


def packed(sequences: _PackedFields) -> PackedRows:
    """Check sequences as PyTorch packs them."""
    data = as_array("data", sequences.data)
    sizes = whole_numbers("batch_sizes", sequences.batch_sizes)
    if (sizes < 1).any() or (sizes[1:] > sizes[:-1]).any():
        raise ValueError(f"batch_sizes must be positive and never rise, got {sizes.tolist()}")
    if data.ndim != 2 or (sizes > data.shape[0]).any() or sizes.sum() != data.shape[0]:
        raise ValueError(
            f"data must have shape (N, I), where N is the sum of batch_sizes, got {data.shape}"
        )
    batch = int(sizes[0]) if sizes.size else 0
    lengths = np.searchsorted(-sizes, -np.arange(batch), side="left").astype(np.int64)
    starts = np.concatenate(([0], sizes.cumsum()[:-1])) if sizes.size else sizes
    rows = Rows(batch, lengths, step_starts=starts)
    if sequences.sorted_indices is None:
        return PackedRows(data, rows, None)
    order = whole_numbers("sorted_indices", sequences.sorted_indices)
    if not np.array_equal(np.sort(order), np.arange(batch)):
        raise ValueError(
            f"sorted_indices must have each of the {batch} rows once, got {order.tolist()}"
        )
    return PackedRows(data, rows, order)


def absent_where(reason: str, lengths: Any = None, offsets: Any = None, mask: Any = None) -> None:
    """Check that nothing else says how long rows are whose lengths are known."""
    for name, given in (("lengths", lengths), ("offsets", offsets), ("mask", mask)):
        if given is not None:
            raise ValueError(f"{name} must be None where {reason}")


def equal_rows(rows: int, length: int) -> Offsets:
    """Return where each row of a matrix begins, and the last one ends."""
    if length == 0:
        return np.zeros(rows + 1, np.int64)
    return np.arange(0, (rows + 1) * length, length)


def with_last(offsets: Offsets, n: int, items: str) -> Offsets:
    """Check offsets that end with the number of items."""
    if offsets.size == 0:
        raise ValueError("offsets must hold the last offset at least, got none")
    _require_rising(offsets, n)
    if offsets[-1] != n:
        raise ValueError(f"the last offset must be the number of {items}, {n}, got {offsets[-1]}")
    return offsets


def without_last(offsets: Offsets, n: int, items: str) -> Offsets:
    """Check offsets that begin rows of which the last goes on to the end; return it with them."""
    if offsets.size == 0 and n:
        raise ValueError(f"offsets must start at 0 where there are {n} {items}, got none")
    _require_rising(offsets, n)
    return np.append(offsets, n)


def from_lengths(lengths: Offsets, n: int, items: str) -> Offsets:
    """Check how many items each row has, and return where each begins and the last one ends."""
    if (lengths < 0).any():
        first = int((lengths < 0).argmax())
        raise ValueError(f"lengths[{first}] must not be negative, got {lengths[first]}")
    if (lengths > n).any() or lengths.sum() != n:
        total = sum(lengths.tolist())  # which may not fit int64
        raise ValueError(f"lengths must sum to the number of {items}, {n}, got {total}")
    return np.concatenate(([0], lengths.cumsum()))


def whole_numbers(name: str, numbers: Any) -> Offsets:
    """Check integers of one axis, and return a copy of our own in int64."""
    array = own_copy(name, numbers)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {array.shape}")
    if array.dtype.kind not in "iu":
        if array.size or isinstance(numbers, np.ndarray):
            raise TypeError(f"{name} must be integers, got {array.dtype}")
        array = array.astype(np.int64)
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must fit int64, got {array.max()}")
    return array.astype(np.int64, copy=False)


def _require_rising(offsets: Offsets, n: int) -> None:
    """Check that offsets rise from 0 to at most n."""
    bad = current().first_bad_offset(offsets, n)
    if bad < 0:
        return
    if bad == 0:
        raise ValueError(f"offsets[0] must be 0, got {offsets[0]}")
    if offsets[bad] > n:
        raise ValueError(f"offsets[{bad}] must be at most {n}, got {offsets[bad]}")
    raise ValueError(
        f"offsets must not fall, got offsets[{bad}] = {offsets[bad]} after {offsets[bad - 1]}"
    )
