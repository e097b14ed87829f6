"""Rules about what scikit-learn's estimators of ours are fitted to: rows of sequences."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedrnn._check.array_like import Array, as_array, require_unmasked
from embedrnn._check.arrays import is_float
from embedrnn._check.arrow import from_arrow
from embedrnn._check.bag import float_table
from embedrnn._check.options import not_negative, shown, size, whole
from embedrnn._check.ragged import Offsets, equal_rows, whole_numbers, with_last
from embedrnn._check.rows import index_error, integer_indices
from embedrnn._check.sequences import joined
from embedrnn._quiet import quiet


@dataclass(frozen=True)
class Rows:
    """Sequences one behind the other: ids, (N,), or features, (N, I), and where each begins."""

    values: Array
    offsets: Offsets

    @property
    def count(self) -> int:
        """How many sequences there are."""
        return self.offsets.size - 1

    def take(self, rows: Offsets) -> "Rows":
        """Return some of the sequences, in this order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate(([0], lengths.cumsum()))
        moved = np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return Rows(self.values[moved + np.arange(offsets[-1])], offsets)

    def without(self, token: int) -> "Rows":
        """Return the sequences without one id."""
        kept = self.values != token
        ends = np.concatenate(([0], kept.cumsum()))
        return Rows(self.values[kept], ends[self.offsets])


def ragged(x: Any) -> Rows | None:
    """Return what says itself where its sequences begin; None of what is an array, or none.

    That is a list of sequences, a column of an Arrow or a pandas table, an array of objects that
    are sequences, or the tuple (values, offsets).
    """
    require_unmasked("X", x)
    if isinstance(x, tuple):
        return _in_parts(x)
    if getattr(x, "ndim", 2) == 1 and str(getattr(x, "dtype", "")) == "object":
        x = list(x)  # of a table's column, by what it holds and not by its index
    if isinstance(x, list):
        found = joined("X", x)
        return _filled(Rows(found.values, found.offsets))
    column = None if isinstance(x, np.ndarray) else from_arrow("X", x)
    if column is None or (column.values.ndim == 1 and column.offsets is None):
        return None
    if column.offsets is None:
        return of_array(column.values)
    return _filled(Rows(column.values, column.offsets))


def of_array(array: Array) -> Rows:
    """Return the rows of an array, (B, T) or (B, T, I), as sequences that are equally long."""
    if array.ndim not in {2, 3}:
        raise ValueError(f"X must have shape (B, T) or (B, T, I), got {array.shape}")
    batch, time = array.shape[:2]
    return _filled(Rows(array.reshape(batch * time, *array.shape[2:]), equal_rows(batch, time)))


def _in_parts(parts: tuple[Any, ...]) -> Rows:
    if len(parts) != 2:
        raise ValueError(
            f"X must be (values, offsets) where it is a tuple, got {len(parts)} parts: give a list "
            "of sequences"
        )
    values = as_array("values", parts[0])
    if values.ndim not in {1, 2}:
        raise ValueError(f"values must have shape (N,) or (N, I), got {values.shape}")
    offsets = with_last(whole_numbers("offsets", parts[1]), len(values), "values")
    return _filled(Rows(values, offsets))


def _filled(rows: Rows) -> Rows:
    if rows.count == 0:
        raise ValueError("X has 0 sample(s): at least one sequence is required")
    return rows


def token_ids(rows: Rows, num_embeddings: int, padding_idx: Any) -> Rows:
    """Check sequences of ids of a table of so many rows, and return them without padding."""
    if rows.values.ndim != 1:
        raise ValueError(f"sequences of ids must have one axis each, got {rows.values.ndim} axes")
    starts = rows.offsets[:-1]
    ids = Rows(integer_indices(rows.values, starts, name="X"), rows.offsets)
    outside = (ids.values < 0) | (ids.values >= num_embeddings)
    if padding_idx is not None:  # whose number may be none of a row
        padding = whole("padding_idx", padding_idx)
        outside &= ids.values != padding
    if outside.any():
        bad = int(outside.argmax())
        raise index_error(ids.values, bad, "a table", num_embeddings, strict=True, starts=starts)
    return ids if padding_idx is None else ids.without(padding)


@quiet
def features(rows: Rows, dtype: np.dtype[Any], width: int | None, estimator: str) -> Rows:
    """Check sequences of features, so many at a step if that is known; return them as (N, I)."""
    values = rows.values
    if not is_float(values.dtype) and values.size:
        raise TypeError(
            f"X must hold floating-point numbers where num_embeddings is None, got {values.dtype}: "
            "give num_embeddings where they are ids, or astype(float) where they are features"
        )
    if values.ndim == 1:  # where all sequences are empty, nothing says how many there would be
        values = values.reshape(-1, 1 if values.size or width is None else width)
    if width is not None and values.shape[1] != width:  # in the words of scikit-learn
        raise ValueError(
            f"X has {values.shape[1]} features, but {estimator} is expecting {width} features as "
            "input"
        )
    return Rows(np.ascontiguousarray(values, dtype), rows.offsets)


def rows_to_draw(num_embeddings: Any) -> int:
    """Check how many rows a table is to have that is not given."""
    if num_embeddings is None:
        raise ValueError("num_embeddings or table must be given, got neither")
    return size("num_embeddings", num_embeddings)


def given_table(table: Any, num_embeddings: Any) -> Array:
    """Check a table that is given: it has as many rows as are said, if that is said."""
    found = float_table(table, "table")
    require_rows(len(found), num_embeddings)
    return found


def require_rows(n_rows: int, num_embeddings: Any) -> None:
    """Check that a table has as many rows as are said, if that is said."""
    if num_embeddings is not None and size("num_embeddings", num_embeddings) != n_rows:
        raise ValueError(f"num_embeddings must be the {n_rows} rows of table, got {num_embeddings}")


@quiet
def case_weights(weights: Array, count: int) -> Array:
    """Check a weight for each sequence."""
    if weights.shape != (count,):
        raise ValueError(
            f"sample_weight must have shape ({count},), one for each sequence, got {weights.shape}"
        )
    if (weights < 0).any():
        first = int((weights < 0).argmax())
        raise ValueError(f"sample_weight[{first}] must not be negative, got {weights[first]}")
    return _with_sum("sample_weight", weights)


@quiet
def weights_of_both(sample_weight: Array, of_classes: Array) -> Array:
    """Return the product of the weights of sequences, and of their classes."""
    return _with_sum("the product of sample_weight and class_weight", sample_weight * of_classes)


def _with_sum(name: str, weights: Array) -> Array:
    """Check weights whose mean others are divided by."""
    total = weights.sum()
    if not 0 < total < math.inf:
        raise ValueError(f"{name} must have a sum that is finite and not zero, got {total}")
    return weights


def class_weights(given: Any) -> dict[Any, float] | None:
    """Check the weights of classes; None of those that are to be balanced."""
    if isinstance(given, str) and given == "balanced":
        return None
    if not isinstance(given, Mapping):
        raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {shown(given)}")
    return {
        label: not_negative(f"class_weight[{shown(label)}]", weight)
        for label, weight in given.items()
    }


def require_divisible(targets: Array, classes: Array, share: float) -> None:
    """Check that of sequences with these classes some of each class can be held out, and kept.

    They are divided as scikit-learn does, which rounds up what is held out.
    """
    counts = np.bincount(targets, minlength=classes.size)
    counts, classes = counts[counts > 0], classes[counts > 0]
    if counts.min() < 2:
        label = shown(classes[counts.argmin()])
        raise ValueError(
            "early_stopping needs 2 sequences or more of each class, not counting those whose "
            f"weight is 0, got 1 of {label}"
        )
    held_out = math.ceil(share * targets.size)
    if not classes.size <= held_out <= targets.size - classes.size:
        raise ValueError(
            f"validation_fraction must leave one of each of the {classes.size} classes at least, "
            f"both held out and not, got {share}, which is {held_out} of {targets.size} sequences"
        )


def require_finite_loss(loss: float, epoch: int) -> None:
    """Check that training has not diverged."""
    if not np.isfinite(loss):
        raise ValueError(f"the loss of epoch {epoch} must be finite, got {loss}: lower lr")


def require_known_labels(labels: Array, classes: Array) -> None:
    """Check that every label is one of the classes."""
    unknown = np.setdiff1d(labels, classes)
    if unknown.size:
        raise ValueError(
            f"y must hold labels of classes {classes.tolist()}, got {shown(unknown[0])}"
        )


def classes_of(given: Any, known: Array | None) -> Array:
    """Return the classes of all calls of partial_fit, which the first one says."""
    if known is None and given is None:
        raise ValueError("classes must be given in the first call of partial_fit")
    if given is None:
        assert known is not None
        return known
    classes: Array = np.unique(as_array("classes", given))
    if known is not None and not np.array_equal(classes, known):
        raise ValueError(
            f"classes must be those of the first call, {known.tolist()}, got {classes.tolist()}"
        )
    return classes


def require_no_balance(class_weight: Any) -> None:
    """Check the weights of classes where not all labels are known."""
    if isinstance(class_weight, str):
        raise ValueError(
            f"class_weight must be a dict or None in partial_fit, got {shown(class_weight)}: how "
            "often each class comes is not known"
        )
