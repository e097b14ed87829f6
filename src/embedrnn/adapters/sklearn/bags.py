"""Bags of embeddings as a transformer."""

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from embedrnn._check import choice
from embedrnn._check import estimators as _check
from embedrnn._check.bag import BAG_MODES
from embedrnn._check.estimators import Rows
from embedrnn.adapters.sklearn.reading import generator, sequences
from embedrnn.bag import embedding_bag
from embedrnn.layers.bag import EmbeddingBag
from embedrnn.quantized import QuantizedRows


class BagOfEmbeddings(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn sequences of ids into vectors: the mean, the sum or the maximum of their embeddings.

    Nothing is learned: the table is given, as word vectors are, or drawn at random, where vectors
    are a random projection of the counts of ids.

    Parameters
    ----------
    num_embeddings : int, optional
        Rows of a table to draw. Where `table` is given: None, or the rows that it has.
    embedding_dim : int
        Columns of a table to draw; not read where `table` is given.
    table : array_like, shape (V, D), float32, float64, float16 or bfloat16, or QuantizedRows
        The table. It is not copied: what is written to it after `fit` shows in what `transform`
        returns. But `clone` copies it: give a search over parameters a small one, or the vectors
        that this makes. None draws one from a normal distribution.
    mode : {"mean", "sum", "sqrtn", "max"}
        What to make of the embeddings of a sequence, as `embedrnn.embedding_bag` has it.
    padding_idx : int, optional
        An id that is left out wherever it stands. It need not be a row of the table: -1 will do.
    dtype : float32 or float64
        Of a table to draw; not read where `table` is given.
    random_state : int, RandomState instance or None
        What a table is drawn with.

    Attributes
    ----------
    table_ : ndarray, shape (V, D), or QuantizedRows
        The table: the one that is given, or drawn.

    See Also
    --------
    embedrnn.embedding_bag : The definition.
    SequenceClassifier : Where the order of ids matters.

    Notes
    -----
    There is no `n_features_in_`: the width of a padded array is the length of its longest sequence,
    which is another one in another batch.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn.adapters.sklearn import BagOfEmbeddings
    >>> table = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
    >>> bags = BagOfEmbeddings(table=table, padding_idx=0)
    >>> bags.fit_transform([[1, 2], [2], []])
    array([[2., 3.],
           [3., 4.],
           [0., 0.]])
    >>> bags.transform(np.array([[1, 2], [2, 0]]))
    array([[2., 3.],
           [3., 4.]])
    """

    def __init__(
        self,
        num_embeddings: int | None = None,
        embedding_dim: int = 64,
        *,
        table: npt.ArrayLike | QuantizedRows | None = None,
        mode: Literal["mean", "sum", "sqrtn", "max"] = "mean",
        padding_idx: int | None = None,
        dtype: npt.DTypeLike = "float32",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.table = table
        self.mode = mode
        self.padding_idx = padding_idx
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Take the table, or draw one, and check the ids.

        Parameters
        ----------
        X : sequences of ids
            A list of sequences, equally long or not, empty ones too; an array of integers, shape
            (B, T), padded by `padding_idx`; a column of an Arrow table, of polars or of pandas; or
            the tuple (values, offsets).
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        IndexError
            If an id is none of a row, or negative; the message names its position.
        TypeError, ValueError
            If X holds no sequences of integers, or a parameter is refused.
        """
        choice("mode", self.mode, BAG_MODES)
        table = self._table()
        self._ids(X, table)
        self.table_ = table
        return self

    def transform(self, X: Any) -> Any:
        """Return a vector for each sequence.

        Parameters
        ----------
        X : sequences of ids
            As of `fit`.

        Returns
        -------
        ndarray, shape (B, D), dtype of the table, float32 for QuantizedRows
            0 for an empty sequence.

        Raises
        ------
        IndexError, TypeError, ValueError
            As `fit` does.
        """
        check_is_fitted(self)
        ids = self._ids(X, self.table_)
        return embedding_bag(
            self.table_, ids.values, ids.offsets, mode=self.mode, include_last_offset=True
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _table(self) -> Any:
        if isinstance(self.table, QuantizedRows):
            _check.require_rows(self.table.shape[0], self.num_embeddings)
            return self.table
        if self.table is not None:
            return _check.given_table(self.table, self.num_embeddings)
        n_rows, rng = _check.rows_to_draw(self.num_embeddings), generator(self.random_state)
        return EmbeddingBag(n_rows, self.embedding_dim, dtype=self.dtype, rng=rng).weight

    def _ids(self, x: Any, table: Any) -> Rows:
        return _check.token_ids(sequences(x, self), table.shape[0], self.padding_idx)

    @property
    def _n_features_out(self) -> int:
        width: int = self.table_.shape[1]
        return width
