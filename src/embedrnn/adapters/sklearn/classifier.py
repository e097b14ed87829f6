"""A recurrent classifier of sequences."""

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

from embedrnn import _check
from embedrnn._check import estimators as _check_estimators
from embedrnn._check.estimators import Rows
from embedrnn._check.layers import float_dtype
from embedrnn.adapters.sklearn import reading
from embedrnn.adapters.sklearn.model import Model, softmax
from embedrnn.adapters.sklearn.training import Cases, History, Training, optimizer, scores
from embedrnn.layers.embedding import Embedding
from embedrnn.layers.gru import GRU
from embedrnn.layers.lstm import LSTM
from embedrnn.layers.recurrent import Recurrent
from embedrnn.layers.rnn import RNN

Array = npt.NDArray[Any]

_CELLS: dict[str, Callable[..., Recurrent]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


class SequenceClassifier(ClassifierMixin, BaseEstimator):
    """Tell the class of sequences: an embedding, recurrent layers, and a softmax.

    Sequences are of ids, whose embeddings are learned, or with `num_embeddings` and `table` None of
    features, one or more at each step.

    Parameters
    ----------
    num_embeddings : int, optional
        How many ids there are. None reads features.
    embedding_dim : int
        Width of the embeddings; not read where `table` is given.
    hidden_size : int
        Units of each layer and direction.
    cell : {"lstm", "gru", "rnn"}
        The kind of recurrent layer.
    num_layers : int
        Recurrent layers, one above the other.
    bidirectional : bool
        Whether each layer also walks from the end of a sequence to its beginning.
    pool : {"last", "mean", "max"}
        What of the states of a sequence the softmax reads: those behind its last step, in each
        direction, or their mean or maximum over all steps.
    dropout : float
        The probability, in [0, 1), with which numbers are dropped in training, between layers and
        before the softmax.
    table : array_like, shape (V, D), optional
        Embeddings to begin with, as word vectors are. Read in `dtype`, and copied: what a caller
        does to it after `fit` changes nothing. Where `freeze` is True, a read-only array of this
        dtype, such as one that is mapped, is not copied and must stay as it is.
    freeze : bool
        Leave the embeddings as they begin.
    padding_idx : int, optional
        An id that is left out wherever it stands. It need not be a row of the table: -1 will do.
    optimizer : {"adam", "adamw", "adagrad", "sgd"} or callable
        One of `embedrnn.optim`, or what makes one: ``optimizer(parameters, lr=..., weight_decay=
        ...)``. Embeddings are stepped in those batches alone that name them.
    lr : float or callable
        The learning rate, or what returns it for the number of a step.
    weight_decay : float
        As the optimiser has it.
    clip_norm : float or None
        The greatest norm of the gradient of a batch, see `embedrnn.clip_grad_norm`.
    batch_size : int
        Sequences of a step.
    epochs : int
        How often each sequence is learned from.
    class_weight : dict, "balanced" or None
        What the loss of each class is multiplied with, as `compute_class_weight` of scikit-learn
        has it.
    early_stopping : bool
        Hold sequences out, end when their loss has not become less for some epochs, and keep what
        it was least with.
    validation_fraction : float
        The share that is held out, of each class, in (0, 1). Sequences of weight 0 are not counted,
        and are never held out.
    patience : int
        These epochs.
    dtype : float32 or float64
        Of all parameters and states.
    verbose : bool
        Write a line for each epoch.
    random_state : int, RandomState instance or None
        Where all chance comes from: an int makes a fit reproducible to the last bit.

    Attributes
    ----------
    classes_ : ndarray, shape (classes,)
        The labels.
    embedding_ : Embedding or None
    recurrent_ : LSTM, GRU or RNN
    output_weight_, output_bias_ : ndarray, shape (classes, features) and (classes,)
        The softmax.
    n_features_in_ : int
        Features of a step. Of ids there is none: the width of a padded array is the length of its
        longest sequence, which is another one in another batch.
    n_iter_ : int
        Epochs that were run.
    loss_curve_, validation_curve_ : list of float
        The mean loss of each epoch, and that of what was held out, if anything was.

    See Also
    --------
    embedrnn.Encoder : What runs the ids.
    BagOfEmbeddings : Where the order of ids does not matter.

    Notes
    -----
    Sequences are run without padding: neither it nor the company of longer ones shows in what is
    told of one.

    Examples
    --------
    >>> from embedrnn.adapters.sklearn import SequenceClassifier
    >>> X = [[1, 2], [2, 1], [1, 3, 2], [2, 3, 3, 1]] * 10
    >>> y = ["up", "down", "up", "down"] * 10
    >>> model = SequenceClassifier(4, 8, 16, lr=0.01, random_state=0).fit(X, y)
    >>> model.predict([[1, 3, 3, 3, 2], [2, 3, 1]])
    array(['up', 'down'], dtype='<U4')
    """

    def __init__(
        self,
        num_embeddings: int | None = None,
        embedding_dim: int = 64,
        hidden_size: int = 64,
        *,
        cell: Literal["lstm", "gru", "rnn"] = "lstm",
        num_layers: int = 1,
        bidirectional: bool = False,
        pool: Literal["last", "mean", "max"] = "last",
        dropout: float = 0.0,
        table: npt.ArrayLike | None = None,
        freeze: bool = False,
        padding_idx: int | None = None,
        optimizer: str | Callable[..., Any] = "adam",
        lr: float | Callable[[int], float] = 3e-3,
        weight_decay: float = 0.0,
        clip_norm: float | None = 1.0,
        batch_size: int = 32,
        epochs: int = 20,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 5,
        dtype: npt.DTypeLike = "float32",
        verbose: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.hidden_size = hidden_size
        self.cell = cell
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.pool = pool
        self.dropout = dropout
        self.table = table
        self.freeze = freeze
        self.padding_idx = padding_idx
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.batch_size = batch_size
        self.epochs = epochs
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.dtype = dtype
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn, from the beginning.

        Parameters
        ----------
        X : sequences
            Of ids: a list of sequences, equally long or not, empty ones too; an array of integers,
            shape (B, T), padded by `padding_idx`; a column of an Arrow table, of polars or of
            pandas; or the tuple (values, offsets).
            Of features: a list of arrays (T, I) or (T,); an array of shape (B, T, I), or (B, T) of
            one feature; a column of an Arrow table of lists of a fixed size; or the tuple.
        y : array_like, shape (B,)
            Labels: numbers or strings.
        sample_weight : array_like, shape (B,), optional
            What the loss of each sequence is multiplied with; of these the mean counts as 1.

        Returns
        -------
        self

        Raises
        ------
        IndexError
            If an id is none of a row, or negative; the message names its position.
        TypeError
            If ids are not integers, or features not floating-point numbers.
        ValueError
            If there are not as many labels as sequences, features are not finite, a parameter is
            refused, a class has too few sequences for some to be held out, or the loss became
            infinite.
        """
        rng = reading.generator(self.random_state)
        labels = reading.labels(y, self)
        classes, targets = np.unique(labels, return_inverse=True)
        embedding = self._embedding(rng)
        rows = self._rows(X, embedding, None)
        reading.require_as_many(rows, labels)
        weights = reading.weights(sample_weight, self.class_weight, labels)
        model = self._new_model(embedding, rows, classes.size, rng)
        cases = Cases(rows, targets, weights / weights.mean())
        cases, trial = self._divided(cases, classes, rng)
        epochs = _check.size("epochs", self.epochs)
        history = self._new_training(model, rng).run(cases, epochs, trial, **self._watched())
        return self._holding(model, classes, None, history)

    def partial_fit(
        self, X: Any, y: Any, classes: npt.ArrayLike | None = None, sample_weight: Any = None
    ) -> Self:
        """Learn on, from each of these sequences once: what does not fit memory comes in parts.

        Parameters
        ----------
        X, y
            As of `fit`.
        classes : array_like, optional
            All labels that there will be; the first call needs them, unless `fit` came before.
        sample_weight : array_like, shape (B,), optional
            What the loss of each sequence is multiplied with: here their mean is what it is.

        Returns
        -------
        self

        Raises
        ------
        IndexError, TypeError, ValueError
            As `fit` does; or if the classes are not those of the first call, or a label is none of
            them.

        Notes
        -----
        The state of the optimiser is kept from one call to the next, in pickles too. Nothing is
        held out: that is for `fit`.
        """
        before: Self | None = self if hasattr(self, "classes_") else None
        every = _check_estimators.classes_of(classes, before and before.classes_)
        _check_estimators.require_no_balance(self.class_weight)
        rng = reading.generator(self.random_state)
        labels = reading.labels(y, self)
        _check_estimators.require_known_labels(labels, every)
        embedding = before.embedding_ if before else self._embedding(rng)
        rows = self._rows(X, embedding, before and before.recurrent_)
        reading.require_as_many(rows, labels)
        weights = reading.weights(sample_weight, self.class_weight, labels)
        model = before._model if before else self._new_model(embedding, rows, every.size, rng)
        training = (before and before._training) or self._new_training(model, rng)
        cases = Cases(rows, every.searchsorted(labels), weights)
        history = training.run(cases, 1, None, **self._watched())
        if before:
            history = History(before.loss_curve_ + history.losses, before.validation_curve_)
        return self._holding(model, every, training, history)

    def decision_function(self, X: Any) -> Array:
        """Return the score of each class: the logarithm of its odds but for what all share.

        Parameters
        ----------
        X : sequences
            As of `fit`.

        Returns
        -------
        ndarray, shape (B, classes), or (B,) of two, float64
            Of two classes, the score of the second less that of the first.

        Raises
        ------
        IndexError, TypeError, ValueError
            As `fit` does.
        """
        found = self._scores(X)
        return found[:, 1] - found[:, 0] if found.shape[1] == 2 else found

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : sequences
            As of `fit`.

        Returns
        -------
        ndarray, shape (B, classes), float64

        Raises
        ------
        IndexError, TypeError, ValueError
            As `fit` does.
        """
        return softmax(self._scores(X))

    def predict(self, X: Any) -> Array:
        """Return the likeliest class of each sequence.

        Parameters
        ----------
        X : sequences
            As of `fit`.

        Returns
        -------
        ndarray, shape (B,), of the labels

        Raises
        ------
        IndexError, TypeError, ValueError
            As `fit` does.
        """
        found = self._scores(X).argmax(axis=1)
        labels: Array = self.classes_[found]
        return labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.num_embeddings is None and self.table is None:
            tags.input_tags.three_d_array = True
        else:
            tags.input_tags.categorical = True
            tags.input_tags.positive_only = True
        return tags

    def _scores(self, x: Any) -> Array:
        check_is_fitted(self)
        return scores(self._model, self._rows(x, self.embedding_, self.recurrent_))

    def _rows(self, x: Any, embedding: Embedding | None, layer: Recurrent | None) -> Rows:
        """Return sequences of ids, or of features for a layer that may be there already."""
        if embedding is not None:
            found = reading.sequences(x, self)
            return _check_estimators.token_ids(found, embedding.num_embeddings, self.padding_idx)
        if layer is None:
            return reading.features(x, float_dtype(self.dtype), self, None)
        return reading.features(x, layer.dtype, self, layer.input_size)

    def _embedding(self, rng: np.random.Generator) -> Embedding | None:
        if self.table is not None:
            table = _check_estimators.given_table(self.table, self.num_embeddings)
            # Without freeze, the first step makes a copy.
            own = _check.flag("freeze", self.freeze) and table.flags.writeable
            return Embedding.from_pretrained(table.astype(float_dtype(self.dtype), copy=own))
        if self.num_embeddings is None:
            return None
        return Embedding(self.num_embeddings, self.embedding_dim, dtype=self.dtype, rng=rng)

    def _new_model(
        self, embedding: Embedding | None, rows: Rows, classes: int, rng: np.random.Generator
    ) -> Model:
        _check.choice("cell", self.cell, tuple(_CELLS))
        _check.choice("pool", self.pool, ("last", "mean", "max"))
        width = rows.values.shape[1] if embedding is None else embedding.embedding_dim
        recurrent = _CELLS[self.cell](
            width, self.hidden_size, self.num_layers, dropout=self.dropout,
            bidirectional=self.bidirectional, dtype=self.dtype, rng=rng,
        )  # fmt: skip
        return Model(
            embedding, recurrent, classes, pool=self.pool, dropout=recurrent.dropout,
            freeze=_check.flag("freeze", self.freeze), rng=rng,
        )  # fmt: skip

    def _new_training(self, model: Model, rng: np.random.Generator) -> Training:
        steps = optimizer(self.optimizer, model, lr=self.lr, weight_decay=self.weight_decay)
        return Training(model, steps, rng, batch_size=self.batch_size, clip_norm=self.clip_norm)

    def _watched(self) -> dict[str, Any]:
        return {
            "patience": _check.size("patience", self.patience),
            "verbose": _check.flag("verbose", self.verbose),
        }

    def _divided(
        self, cases: Cases, classes: Array, rng: np.random.Generator
    ) -> tuple[Cases, Cases | None]:
        """Return what to learn from, and what is held out, where weights of 0 would say nothing."""
        if not _check.flag("early_stopping", self.early_stopping):
            return cases, None
        share = _check.inner_share("validation_fraction", self.validation_fraction)
        weighted, others = np.flatnonzero(cases.weights), np.flatnonzero(cases.weights == 0)
        targets = cases.targets[weighted]
        _check_estimators.require_divisible(targets, classes, share)
        kept, held_out = train_test_split(
            weighted, test_size=share, stratify=targets, random_state=int(rng.integers(2**31))
        )
        return cases.take(np.concatenate((kept, others))), cases.take(held_out)

    def _holding(
        self, model: Model, classes: Array, training: Training | None, history: History
    ) -> Self:
        """Return self with what was learned, and what is needed to learn on."""
        self.classes_, self._model, self._training = classes, model, training
        self.embedding_, self.recurrent_ = model.embedding, model.recurrent
        self.output_weight_, self.output_bias_ = model.output["weight"], model.output["bias"]
        self.loss_curve_, self.validation_curve_ = history
        self.n_iter_ = len(history.losses)
        self.__dict__.pop("n_features_in_", None)
        if model.embedding is None:
            self.n_features_in_ = model.recurrent.input_size
        return self
