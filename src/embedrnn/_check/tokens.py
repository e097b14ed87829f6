"""Rules of token ids: in which forms they come, which of them are padding, and where they stand."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn._check.ragged import (
    Offsets,
    Ragged,
    absent_where,
    equal_rows,
    lengths_of,
    mask_of,
    ragged_rows,
    rows_of,
    rows_of_mask,
)
from embedrnn._check.rows import Indices, index_error, integer_indices
from embedrnn._check.sequences import numbers
from embedrnn._sequences import Rows


class Ids(NamedTuple):
    """The valid ids of sequences, row after row, and how their steps are laid out.

    `offsets` say where the ids of each row begin among them, and the last ones end. `steps` are the
    axes of arrays that have a row for each step; one sequence that came `alone` has no batch axis.
    `listed` says that the ids came as sequences, each with places of its own.
    """

    tokens: Indices
    offsets: Offsets
    rows: Rows
    steps: tuple[int, ...]
    alone: bool = False
    listed: bool = False

    @classmethod
    def of_steps(cls, tokens: Indices, alone: bool) -> "Ids":
        """Return one id for each row."""
        bounds = np.arange(tokens.size + 1)
        return cls(tokens, bounds, ragged_rows(bounds), tokens.shape, alone)

    @property
    def ragged(self) -> Rows:
        """Return the rows as they stand among the valid ids."""
        return ragged_rows(self.offsets)

    def error(self, position: int, table: str, n_rows: int, *, strict: bool = False) -> IndexError:
        """Return the error for the valid id at a flat position, which says where it came from."""
        if len(self.steps) == 1 and not self.listed:  # ragged by offsets
            tokens = self.tokens.reshape(()) if self.alone else self.tokens
            return index_error(tokens, position, table, n_rows, strict=strict)
        if self.rows.times is None:
            starts = None if self.alone else self.offsets[:-1]
            return index_error(self.tokens, position, table, n_rows, strict=strict, starts=starts)
        row = int(self.offsets.searchsorted(position, side="right")) - 1
        moved = np.zeros((row + 1, int(self.rows.times[position]) + 1), self.tokens.dtype)
        moved[-1, -1] = self.tokens[position]
        return index_error(moved, moved.size - 1, table, n_rows, strict=strict)


def ids(
    value: Any,
    lengths: npt.ArrayLike | None,
    offsets: npt.ArrayLike | None,
    mask: npt.ArrayLike | None,
    padding_idx: int | None,
    n_rows: int | None,
) -> Ids:
    """Return checked ids of sequences. Without lengths, those of padded ones follow from padding.

    Padding also counts from the end of a table of `n_rows`, unless that is None. A list that holds
    sequences is ragged also where they happen to be equally long, unless lengths or a mask are
    given: the shape of the output must not depend on the data.
    """
    found = numbers("ids", value, apart=lengths is None and mask is None)
    if isinstance(found, Ragged):
        absent_where(f"ids is {found.source}", lengths, offsets, mask)
        bounds = found.offsets
        tokens = integer_indices(found.values, bounds[:-1], name="ids")
        _refuse_padding(tokens, bounds, padding_idx, n_rows)
        return Ids(tokens, bounds, ragged_rows(bounds), tokens.shape, listed=True)
    tokens = integer_indices(found if found.size else value, name="ids")
    if offsets is not None:
        _require_axes(tokens, 1)
        rows = rows_of(tokens.shape, lengths, offsets, mask)
        assert rows.row_starts is not None
        bounds = np.append(rows.row_starts, tokens.size)
        _refuse_padding(tokens, bounds, padding_idx, n_rows)
        return Ids(tokens, bounds, rows, tokens.shape)
    if tokens.ndim == 1 and lengths is None and mask is None:
        return _padded(tokens[None], None, None, padding_idx, n_rows)._replace(alone=True)
    _require_axes(tokens, 2)
    return _padded(tokens, lengths, mask, padding_idx, n_rows)


def _padded(
    tokens: Indices,
    lengths: npt.ArrayLike | None,
    mask: npt.ArrayLike | None,
    padding_idx: int | None,
    n_rows: int | None,
) -> Ids:
    batch, time = tokens.shape
    if mask is not None:
        absent_where("there is a mask", lengths)
        valid = mask_of(mask, (batch, time))
        rows = rows_of_mask(valid)
        assert rows.row_starts is not None
        assert rows.times is not None
        bounds = np.append(rows.row_starts, rows.times.size)
        return Ids(tokens[valid], bounds, rows, (batch, time))
    if lengths is not None:
        counts = lengths_of(lengths, batch, time)
        _refuse_left_padding(tokens, counts, padding_idx, n_rows)
    elif padding_idx is not None:
        counts = _without_padding(tokens, padding_idx, n_rows)
    else:
        rows = Rows(batch, np.full(batch, time))
        return Ids(tokens.reshape(-1), equal_rows(batch, time), rows, (batch, time))
    valid = np.arange(time) < counts[:, None]
    bounds = np.concatenate(([0], counts.cumsum()))
    return Ids(tokens[valid], bounds, Rows(batch, counts), (batch, time))


def _refuse_padding(
    tokens: Indices, bounds: Offsets, padding_idx: int | None, n_rows: int | None
) -> None:
    """Refuse padding in sequences that need none."""
    if padding_idx is None:
        return
    found = _is_padding(tokens, padding_idx, n_rows)
    if not found.any():
        return
    position = int(found.argmax())
    row = int(bounds.searchsorted(position, side="right")) - 1
    raise ValueError(
        f"row {row} of ids has padding, {padding_idx}, at step {position - int(bounds[row])}: "
        "ragged sequences need none; give an array (B, T), or lengths, where there is some"
    )


def _without_padding(tokens: Indices, padding_idx: int, n_rows: int | None) -> Offsets:
    """Return how many ids of each row stand before its padding, where there are no others."""
    valid = ~_is_padding(tokens, padding_idx, n_rows)
    counts: Offsets = valid.sum(axis=1)
    time = tokens.shape[1]
    ends = np.where(counts > 0, time - valid[:, ::-1].argmax(axis=1), 0) if time else counts
    wrong = ends != counts
    if wrong.any():
        row = int(wrong.argmax())
        step = int(valid[row].argmin())
        if step == 0:
            raise _left_padding(row, padding_idx)
        raise ValueError(
            f"row {row} of ids has padding, {padding_idx}, at step {step} and other ids behind it: "
            f"give lengths, or mask=ids != {padding_idx} to leave such steps out"
        )
    return counts


def _refuse_left_padding(
    tokens: Indices, counts: Offsets, padding_idx: int | None, n_rows: int | None
) -> None:
    """Refuse rows that begin with padding where their lengths say that they begin with ids."""
    if padding_idx is None or tokens.size == 0:
        return
    for row in np.flatnonzero(_is_padding(tokens[:, 0], padding_idx, n_rows) & (counts > 0)):
        # Nothing but padding is what some make of an empty text.
        if not _is_padding(tokens[row], padding_idx, n_rows).all():
            raise _left_padding(int(row), padding_idx)


def _left_padding(row: int, padding_idx: int) -> ValueError:
    return ValueError(
        f"row {row} of ids begins with padding, {padding_idx}: pad on the right, or give "
        f"mask=ids != {padding_idx} in the place of lengths"
    )


def _is_padding(tokens: Indices, padding_idx: int, n_rows: int | None) -> npt.NDArray[np.bool_]:
    """Return where ids name the row of padding, of so many counted from the end as well."""
    result: npt.NDArray[np.bool_] = tokens == padding_idx
    if n_rows is not None and tokens.dtype.kind == "i":
        result |= tokens == padding_idx - n_rows
    return result


def step_ids(value: npt.ArrayLike) -> tuple[Indices, bool]:
    """Return the ids of one step, (B,), and whether that is of one sequence alone."""
    array = integer_indices(value, name="ids_t")
    if array.ndim > 1:
        raise ValueError(f"ids_t must have shape (B,) or (), got {array.shape}")
    return array.reshape(-1), array.ndim == 0


def _require_axes(tokens: Indices, axes: int) -> None:
    if tokens.ndim != axes:
        shape = "(N,) where there are offsets" if axes == 1 else "(B, T)"
        raise ValueError(f"ids must have shape {shape}, got {tokens.shape}")
