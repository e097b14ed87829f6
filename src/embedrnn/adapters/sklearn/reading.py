"""What estimators are given, with the words of scikit-learn where something is wrong with it."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import (
    assert_all_finite,
    check_array,
    check_consistent_length,
    check_random_state,
)
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from embedrnn._check import estimators as _check
from embedrnn._check.estimators import Rows

Array = npt.NDArray[Any]


def sequences(x: Any, estimator: Any) -> Rows:
    """Return sequences of anything."""
    found = _check.ragged(x)
    if found is None:
        array = check_array(x, allow_nd=True, estimator=estimator, input_name="X")
        found = _check.of_array(array)
    return found


def features(x: Any, dtype: np.dtype[Any], estimator: Any, width: int | None) -> Rows:
    """Return sequences of features in the dtype of a layer: so many, if that is known."""
    name = type(estimator).__name__
    found = _check.features(sequences(x, estimator), dtype, width, name)
    assert_all_finite(found.values, estimator_name=name, input_name="X")
    return found


def labels(y: Any, estimator: Any) -> Array:
    """Return labels of classes."""
    found: Array = validate_data(estimator, X="no_validation", y=y)
    check_classification_targets(found)
    return found


def require_as_many(rows: Rows, y: Array) -> None:
    """Check that there is a label for each sequence."""
    check_consistent_length(rows.offsets[1:], y)


def weights(sample_weight: Any, class_weight: Any, y: Array) -> Array:
    """Return the weight of each sequence in the loss."""
    found = np.ones(len(y))
    if sample_weight is not None:
        found = check_array(
            sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
        )
    found = _check.case_weights(found, len(y))
    if class_weight is None:
        return found
    by_class = _check.class_weights(class_weight)
    of_classes = compute_sample_weight(class_weight if by_class is None else by_class, y)
    return _check.weights_of_both(found, of_classes)


def generator(random_state: Any) -> np.random.Generator:
    """Return the source of all chance in a fit, drawn as scikit-learn means `random_state`."""
    words = check_random_state(random_state).randint(0, 2**32, size=4, dtype=np.uint32)
    return np.random.default_rng(words)
