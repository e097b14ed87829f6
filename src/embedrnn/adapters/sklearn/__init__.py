"""Estimators of scikit-learn: sequences of ids or features in, vectors or classes out.

They read sequences in whatever form they come: a list of them, equally long or not; a padded array;
a column of an Arrow table, of polars or of pandas; or the tuple (values, offsets), which is the
fastest, but which scikit-learn cannot divide into folds.
"""

from embedrnn.adapters.sklearn.bags import BagOfEmbeddings
from embedrnn.adapters.sklearn.classifier import SequenceClassifier

__all__ = ["BagOfEmbeddings", "SequenceClassifier"]


def __dir__() -> list[str]:
    return __all__
