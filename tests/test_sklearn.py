"""The estimators of scikit-learn, against its own checks, PyTorch and finite differences."""

import io
import pickle
from contextlib import redirect_stdout
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import embedrnn as er

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from embedrnn._check.estimators import Rows
from embedrnn.adapters.sklearn import BagOfEmbeddings, SequenceClassifier
from embedrnn.adapters.sklearn.model import Model, cross_entropy

TABLE = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0], [-1.0, 8.0]])

# --- the checks of scikit-learn ----------------------------------------------------------------

NO_WIDTH = "a padded array is as wide as its longest sequence, which is no number of features"
WIDTHS = {
    "check_n_features_in": NO_WIDTH,
    "check_n_features_in_after_fitting": NO_WIDTH,
}
# The rest of these checks is passed: see test_checks_but_for_widths.
WIDTHS_TOO = {
    "check_classifiers_train": NO_WIDTH,
    "check_estimators_partial_fit_n_features": NO_WIDTH,
}
FLOATS = "it gives numbers that are no ids, or refuses to have them refused by a TypeError"
NEGATIVE = "a negative id is an IndexError, as every id that is none of a row"
IDS = WIDTHS | {
    "check_dtype_object": FLOATS,
    "check_estimators_dtypes": FLOATS,
    "check_fit_non_negative": FLOATS,
    "check_positive_only_tag_during_fit": NEGATIVE,
}
IDS_OF_CLASSES = IDS | WIDTHS_TOO | {
    "check_class_weight_classifiers": FLOATS,
    "check_classifiers_one_label_sample_weights": FLOATS,
    "check_decision_proba_consistency": FLOATS,
    "check_sample_weight_equivalence_on_dense_data": FLOATS,
    "check_sample_weights_not_overwritten": FLOATS,
}  # fmt: skip
INTEGERS = "it gives integers, which are refused as features: they would be ids by mistake"
FEATURES = WIDTHS | WIDTHS_TOO | {
    "check_classifier_data_not_an_array": INTEGERS,
    "check_estimators_dtypes": INTEGERS,
    "check_sample_weights_not_an_array": INTEGERS,
    "check_sample_weights_pandas_series": INTEGERS,
    "check_sample_weights_shape": INTEGERS,
    "check_sample_weight_equivalence_on_dense_data": "a batch of fewer sequences is another batch",
}  # fmt: skip

SMALL = {"hidden_size": 12, "lr": 0.02, "epochs": 10}
ESTIMATORS = [
    (BagOfEmbeddings(30, 3), IDS | {"check_transformer_general": NO_WIDTH}),
    (SequenceClassifier(30, 6, **SMALL), IDS_OF_CLASSES),
    (SequenceClassifier(**SMALL), FEATURES),
]


def expected_failures(estimator: Any) -> dict[str, str]:
    return next(e for kept, e in ESTIMATORS if repr(kept) == repr(estimator))


@parametrize_with_checks(
    [estimator for estimator, _ in ESTIMATORS], expected_failed_checks=expected_failures
)
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


class AnyWidth:
    """Without the validation of widths, which such tags spare an estimator."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation, tags.requires_fit = True, False
        return tags


class BagsOfAnyWidth(AnyWidth, BagOfEmbeddings):
    pass


class ClassifierOfAnyWidth(AnyWidth, SequenceClassifier):
    pass


@pytest.mark.parametrize("sizes", [(30, 6), ()], ids=["ids", "features"])
def test_checks_but_for_widths(sizes: tuple[int, ...]) -> None:
    classifier = ClassifierOfAnyWidth(*sizes, **SMALL)
    estimator_checks.check_classifiers_train("classifier", classifier)
    if sizes:
        estimator_checks.check_transformer_general("bags", BagsOfAnyWidth(30, 3))


def test_tags() -> None:
    ids, features = (get_tags(e).input_tags for e in (SequenceClassifier(3), SequenceClassifier()))
    assert ids.categorical
    assert ids.positive_only
    assert features.three_d_array
    assert not features.categorical
    assert not ids.three_d_array


# --- bags --------------------------------------------------------------------------------------


def test_bags_are_those_of_the_function() -> None:
    rows = [[1, 2], [3], [], [2, 2, 1]]
    for mode in ("mean", "sum", "sqrtn", "max"):
        bags = BagOfEmbeddings(table=TABLE, mode=mode).fit(rows)
        assert np.array_equal(bags.transform(rows), er.embedding_bag(TABLE, rows, mode=mode))


def test_sequences_in_every_form_are_the_same() -> None:
    rows = [[1, 2], [3], [2, 2, 1]]
    padded = np.array([[1, 2, -1], [-1, 3, -1], [2, 2, 1]])
    objects = np.empty(3, object)
    objects[:] = [np.array(row) for row in rows]
    parts = np.array([1, 2, 3, 2, 2, 1]), np.array([0, 2, 3, 6])
    bags = BagOfEmbeddings(table=TABLE, padding_idx=-1).fit(rows)
    expected = bags.transform(rows)
    for form in (padded, padded.tolist(), objects, parts, [np.array(row) for row in rows]):
        assert np.array_equal(bags.transform(form), expected)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_columns_of_tables(library: str) -> None:
    module = pytest.importorskip(library)
    rows = [[1, 2], [3], [], [2, 2, 1]]
    column = module.array(rows) if library == "pyarrow" else module.Series(rows)
    bags = BagOfEmbeddings(table=TABLE)
    assert np.array_equal(bags.fit_transform(column), bags.fit_transform(rows))
    if library == "pandas":
        bags.set_output(transform="pandas")
        shuffled = column.iloc[[2, 0]]
        frame = bags.transform(shuffled)
        assert frame.columns.tolist() == ["bagofembeddings0", "bagofembeddings1"]
        assert frame.index.tolist() == [2, 0]
        assert frame.to_numpy().tolist() == [[0.0, 0.0], [2.0, 3.0]]


def test_a_drawn_table_comes_again_and_is_of_the_sizes() -> None:
    one, same, other = (BagOfEmbeddings(9, 5, random_state=seed).fit([[1]]) for seed in (0, 0, 1))
    tables = [bags.table_ for bags in (one, same, other)]
    assert tables[0].shape == (9, 5)
    assert tables[0].dtype == np.float32
    assert np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])
    wide = BagOfEmbeddings(9, 5, dtype="float64").fit_transform([[1]])
    assert wide.dtype == np.float64


def test_tables_of_other_storage() -> None:
    quantized = er.quantize_rows(TABLE.astype(np.float32))
    for table in (quantized, TABLE.astype(np.float16)):
        bags = clone(BagOfEmbeddings(table=table, num_embeddings=4))
        assert np.allclose(bags.fit_transform([[1, 2]]), [[2.0, 3.0]], atol=0.05)
        assert bags.get_feature_names_out().tolist() == ["bagofembeddings0", "bagofembeddings1"]


def test_a_given_table_is_held_once() -> None:
    table = np.zeros((1000, 100))
    bags = BagOfEmbeddings(table=table).fit([[1]])
    assert bags.table_ is table
    assert len(pickle.dumps(bags)) < 1.1 * table.nbytes


def test_bags_before_a_classifier_in_a_grid_search() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 20, n).tolist() for n in rng.integers(1, 9, 60)]
    y = [max(row) > 15 for row in rows]
    pipeline = make_pipeline(BagOfEmbeddings(20, 16, random_state=0), LogisticRegression())
    search = GridSearchCV(pipeline, {"bagofembeddings__mode": ["mean", "max"]}, cv=2)
    assert search.fit(rows, y).best_score_ > 0.7


# --- learning ----------------------------------------------------------------------------------


def ordered(n: int, seed: int = 0) -> tuple[list[list[int]], list[str]]:
    """Return sequences with 1 and 2 in them, and which of the two comes first."""
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for _ in range(n):
        row = rng.integers(3, 10, rng.integers(2, 9)).tolist()
        first, second = sorted(rng.choice(len(row), 2, replace=False))
        flip = int(rng.integers(2))
        row[first], row[second] = (1, 2) if flip else (2, 1)
        rows.append(row)
        labels.append("one" if flip else "two")
    return rows, labels


ROWS, LABELS = ordered(300)
LEARNER = SequenceClassifier(10, 8, 16, lr=0.02, epochs=12, random_state=0)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_order_is_learned_which_bags_cannot(cell: str, pool: str) -> None:
    model = clone(LEARNER).set_params(cell=cell, pool=pool, bidirectional=pool == "max", epochs=20)
    unseen = ordered(200, seed=1)
    assert model.fit(ROWS, LABELS).score(*unseen) > 0.95
    assert model.classes_.tolist() == ["one", "two"]
    assert model.loss_curve_[-1] < 0.3 < model.loss_curve_[0]
    bags = make_pipeline(BagOfEmbeddings(10, 32, random_state=0), LogisticRegression())
    assert bags.fit(ROWS, LABELS).score(*unseen) < 0.7


def test_features_are_learned_from() -> None:
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(n, 2)).astype(np.float32) for n in rng.integers(1, 9, 200)]
    y = np.array([int(x[0, 0] > 0) + int(x[0, 1] > 0) for x in series])
    model = SequenceClassifier(hidden_size=24, cell="gru", lr=0.02, random_state=0)
    assert model.fit(series, y).score(series, y) > 0.9
    assert model.n_features_in_ == 2
    assert model.embedding_ is None
    with pytest.raises(ValueError, match="X has 3 features, but SequenceClassifier is expecting 2"):
        model.predict(np.zeros((1, 4, 3)))


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
@pytest.mark.parametrize("form", ["(B, T, I)", "(B, T)"])
def test_arrays_of_features_are_lists_of_them(pool: str, form: str) -> None:
    shape = (40, 5, 2) if form == "(B, T, I)" else (40, 5)
    x = np.random.default_rng(0).normal(size=shape)
    model = SequenceClassifier(hidden_size=6, epochs=1, pool=pool, random_state=0)
    expected = model.fit(x, np.arange(40) % 3).predict_proba(x)
    assert np.array_equal(model.fit(list(x), np.arange(40) % 3).predict_proba(list(x)), expected)


def test_the_same_seed_gives_the_same_bits_at_any_number_of_threads() -> None:
    model = clone(LEARNER).set_params(dropout=0.3, num_layers=2, early_stopping=True, epochs=3)
    threads, found = er.get_num_threads(), []
    try:
        for count in (1, 2):
            er.set_num_threads(count)
            found.append(clone(model).fit(ROWS, LABELS).decision_function(ROWS))
    finally:
        er.set_num_threads(threads)
    assert np.array_equal(*found)
    other = clone(model).set_params(random_state=1).fit(ROWS, LABELS).decision_function(ROWS)
    assert not np.array_equal(found[0], other)


def test_probabilities_scores_and_labels_agree() -> None:
    y = [len(row) % 3 for row in ROWS]
    model = clone(LEARNER).set_params(epochs=2).fit(ROWS, y)
    scores, odds = model.decision_function(ROWS), model.predict_proba(ROWS)
    assert scores.shape == odds.shape == (300, 3)
    assert np.allclose(odds.sum(axis=1), 1, rtol=1e-15)
    assert np.allclose(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), odds)
    assert np.array_equal(model.predict(ROWS), odds.argmax(axis=1))
    binary = clone(model).fit(ROWS, LABELS)
    margin = binary.decision_function(ROWS)
    assert margin.shape == (300,)
    assert np.allclose(1 / (1 + np.exp(-margin)), binary.predict_proba(ROWS)[:, 1])


def test_company_and_padding_make_no_difference() -> None:
    model = clone(LEARNER).set_params(epochs=1, padding_idx=0).fit(ROWS, LABELS)
    together = model.decision_function(ROWS)
    alone = np.concatenate([model.decision_function([row]) for row in ROWS[:9]])
    assert np.allclose(alone, together[:9], rtol=1e-12)
    width = max(map(len, ROWS))
    left = np.array([[0] * (width - len(row)) + row for row in ROWS])
    assert np.array_equal(model.decision_function(left), together)


def test_searches_and_folds_over_lists() -> None:
    search = GridSearchCV(LEARNER, {"cell": ["gru", "rnn"]}, cv=2, error_score="raise")
    assert search.fit(ROWS, LABELS).best_score_ > 0.8
    width = max(map(len, ROWS))
    padded = np.array([row + [-1] * (width - len(row)) for row in ROWS])
    model = clone(LEARNER).set_params(padding_idx=-1, cell="gru")
    assert cross_val_score(model, padded, LABELS, cv=2, error_score="raise").min() > 0.8


def test_empty_sequences() -> None:
    model = (
        clone(LEARNER).set_params(epochs=30).fit([[], [1], []] * 20, ["none", "some", "none"] * 20)
    )
    assert model.predict([[], [1]]).tolist() == ["none", "some"]


def test_empty_sequences_of_features() -> None:
    model = SequenceClassifier(hidden_size=4, epochs=1)
    model.fit([[], np.ones((2, 3), np.float32), np.empty((0, 3), np.float32)], [0, 1, 0])
    assert model.n_features_in_ == 3
    assert len(model.predict([[], []])) == 2
    assert clone(model).fit([[], []], [0, 1]).n_features_in_ == 1


def test_early_stopping_keeps_what_was_best() -> None:
    noise = np.random.default_rng(0).integers(0, 2, 300)
    options = {"early_stopping": True, "epochs": 60, "patience": 3, "validation_fraction": 0.3}
    model = clone(LEARNER).set_params(**options).fit(ROWS, noise)
    assert len(model.validation_curve_) == model.n_iter_ < 60
    best = int(np.argmin(model.validation_curve_))
    assert model.n_iter_ == best + 1 + 3
    shorter = clone(model).set_params(epochs=best + 1).fit(ROWS, noise)
    assert np.array_equal(shorter.decision_function(ROWS), model.decision_function(ROWS))


def test_what_has_no_weight_is_never_held_out() -> None:
    """Otherwise a loss over weights of 0 alone would end the training at once."""
    weights = np.repeat([1.0, 0.0], [20, 280])
    for seed in range(16):
        model = clone(LEARNER).set_params(early_stopping=True, epochs=2, random_state=seed)
        assert min(model.fit(ROWS, LABELS, sample_weight=weights).validation_curve_) > 0


def test_a_class_without_weight_need_not_be_held_out() -> None:
    weights = np.where(np.array(LABELS) == "one", 1.0, 0.0)
    model = clone(LEARNER).set_params(early_stopping=True, epochs=2)
    assert model.fit(ROWS, LABELS, sample_weight=weights).classes_.tolist() == ["one", "two"]
    model.set_params(class_weight={"one": 1.0, "two": 0})
    assert min(model.fit(ROWS, LABELS).validation_curve_) > 0


def test_parts_are_learned_from_one_after_another() -> None:
    model = clone(LEARNER)
    for _ in range(12):
        for first in range(0, 300, 100):
            part = slice(first, first + 100)
            model.partial_fit(ROWS[part], LABELS[part], classes=["two", "one"])
            model = pickle.loads(pickle.dumps(model))
    assert model.n_iter_ == 36
    assert model.score(*ordered(200, seed=1)) > 0.95
    whole = clone(LEARNER).fit(ROWS, LABELS)
    before = whole.decision_function(ROWS)
    assert not np.array_equal(whole.partial_fit(ROWS, LABELS).decision_function(ROWS), before)


def test_weights_of_parts_are_not_scaled_to_those_of_each_part() -> None:
    model = clone(LEARNER).set_params(class_weight={"one": 3.0, "two": 1.0}, lr=1e-9)
    losses = []
    for label in ("one", "two"):
        model.partial_fit([[1]] * 32, [label] * 32, classes=["one", "two"])
        losses.append(model.loss_curve_[-1] / -np.log(model.predict_proba([[1]])[0, len(losses)]))
    assert np.allclose(losses, [3.0, 1.0], rtol=1e-4)


def test_a_given_table_is_learned_on_or_left_as_it_is() -> None:
    table = np.random.default_rng(0).normal(size=(10, 8))
    kept = table.copy()
    learned = clone(LEARNER).set_params(table=table, epochs=1)
    frozen = clone(learned).set_params(freeze=True).fit(ROWS, LABELS)
    learned.fit(ROWS, LABELS)
    assert np.array_equal(table, kept)
    assert np.array_equal(frozen.embedding_.weight, table.astype(np.float32))
    assert not np.array_equal(learned.embedding_.weight, table.astype(np.float32))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("freeze", [True, False])
def test_what_becomes_of_a_table_after_fit_changes_nothing(freeze: bool, dtype: str) -> None:
    table = np.random.default_rng(0).normal(size=(10, 8)).astype(dtype)
    model = clone(LEARNER).set_params(freeze=freeze, dtype=dtype, epochs=1)
    before = model.set_params(table=table).fit(ROWS, LABELS).predict_proba(ROWS)
    assert not np.shares_memory(table, model.embedding_.weight)
    table[...] = 0
    assert np.array_equal(model.predict_proba(ROWS), before)


def test_a_read_only_table_is_held_once_where_it_is_left_as_it_is() -> None:
    table = np.random.default_rng(0).normal(size=(10, 8)).astype("f4")
    table.flags.writeable = False
    model = clone(LEARNER).set_params(freeze=True, epochs=1).set_params(table=table)
    assert np.shares_memory(model.fit(ROWS, LABELS).embedding_.weight, table)


def test_weights_of_classes_and_sequences() -> None:
    rows, y = [[1]] * 90 + [[2]] * 10, [0] * 90 + [1] * 10
    by_class = clone(LEARNER).set_params(epochs=1, lr=1e-9, class_weight="balanced").fit(rows, y)
    weights = np.where(np.array(y) == 1, 9.0, 1.0)
    by_case = clone(by_class).set_params(class_weight=None).fit(rows, y, sample_weight=weights)
    assert np.isclose(by_class.loss_curve_[0], by_case.loss_curve_[0])
    heavy = clone(LEARNER).fit([[1]] * 100, y, sample_weight=weights**2)
    assert heavy.predict([[1]]).tolist() == [1]
    assert clone(LEARNER).fit([[1]] * 100, y).predict([[1]]).tolist() == [0]


@pytest.mark.parametrize(
    "optimizer", ["adamw", "adagrad", "sgd", partial(er.optim.SGD, momentum=0.9)]
)
def test_optimisers(optimizer: Any) -> None:
    model = clone(LEARNER).set_params(
        optimizer=optimizer, lr=lambda step: 0.1, weight_decay=1e-4, epochs=3, clip_norm=None
    )
    losses = model.fit(ROWS, LABELS).loss_curve_
    assert losses[-1] < losses[0]


def test_progress_is_written() -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        clone(LEARNER).set_params(epochs=2, early_stopping=True, verbose=True).fit(ROWS, LABELS)
    lines = out.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert ", held out 0." in lines[0]


def test_pickles_tell_the_same() -> None:
    model = clone(LEARNER).set_params(epochs=1).fit(ROWS, LABELS)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(ROWS), model.predict_proba(ROWS))


# --- refusals ----------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], Any, Any, type[Exception], str]] = [
    ({}, [[1, 10]], ["a"], IndexError, r"index 10 at position \(0, 1\) is out of range"),
    ({}, [[1], [], [-1]], ["a"] * 3, IndexError, r"index -1 at position \(2, 0\) is out of range"),
    ({"padding_idx": -1}, [[-1, -2]], ["a"], IndexError, r"index -2 at position \(0, 1\)"),
    ({}, [[1.5]], ["a"], TypeError, "X must be integers, got float64"),
    ({}, [["word"]], ["a"], TypeError, "X must be integers"),
    ({}, [[1], [2]], ["a"], ValueError, "inconsistent numbers of samples"),
    ({}, [], [], ValueError, "0 sample"),
    ({}, [1, 2], ["a", "b"], ValueError, r"X\[0\] must have shape \(L,\)"),
    ({}, [np.ones((2, 2), int)], ["a"], ValueError, "ids must have one axis"),
    ({}, (np.ones(3, int), [0, 4]), ["a"], ValueError, "must be at most 3"),
    ({}, ([1], [0, 1], 3), ["a"], ValueError, r"X must be \(values, offsets\)"),
    ({"num_embeddings": None}, [[1, 2]], ["a"], TypeError, "give num_embeddings where they are"),
    ({"num_embeddings": None}, [[1.0, np.nan]], ["a"], ValueError, "X contains NaN"),
    ({"table": TABLE}, [[1]], ["a"], ValueError, "num_embeddings must be the 4 rows of table"),
    ({"table": [[1, 2]]}, [[1]], ["a"], TypeError, "table must be float32"),
    ({"table": er.quantize_rows(TABLE)}, [[1]], ["a"], TypeError, "table must be array_like"),
    ({}, np.ma.masked_equal([[1, 2]], 2), ["a"], TypeError, "X must be an array without a mask"),
    ({"cell": "elman"}, [[1]], ["a"], ValueError, "cell must be 'lstm' or 'gru' or 'rnn'"),
    ({"pool": "sum"}, [[1]], ["a"], ValueError, "pool must be 'last' or 'mean' or 'max'"),
    ({"optimizer": "newton"}, [[1]], ["a"], ValueError, "optimizer must be 'adam'"),
    ({"epochs": 0}, [[1]], ["a"], ValueError, "epochs must be 1 or more"),
    ({"clip_norm": 0}, [[1]], ["a"], ValueError, "^clip_norm must be positive, got 0.0$"),
    ({"clip_norm": np.nan}, [[1]], ["a"], ValueError, "^clip_norm must be positive, got nan$"),
    ({"dropout": True}, [[1]], ["a"], TypeError, "^dropout must be a number, got True$"),
    ({"lr": 1e9, "weight_decay": 1e9, "optimizer": "sgd"}, [[1], [2]], ["a", "b"], ValueError,
     "the loss of epoch . must be finite, got nan: lower lr"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "x", "y", "error", "message"), REFUSED)
def test_refusals(options: Any, x: Any, y: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        clone(LEARNER).set_params(**options).fit(x, y)


@pytest.mark.parametrize("share", [2.0, 1.0, 0.0, -0.1, np.nan, np.inf, 1, 30, np.float32(1.5)])
def test_refusals_of_shares(share: float) -> None:
    model = clone(LEARNER).set_params(early_stopping=True, validation_fraction=share)
    words = rf"^validation_fraction must be in \(0, 1\), got {float(share)}$"
    with pytest.raises(ValueError, match=words):
        model.fit(ROWS, LABELS)
    for kind in (True, "0.1", None):
        model.set_params(validation_fraction=kind)
        with pytest.raises(TypeError, match=r"^validation_fraction must be a number, got "):
            model.fit(ROWS, LABELS)


def test_refusals_of_what_is_too_few_to_hold_some_out() -> None:
    model = clone(LEARNER).set_params(early_stopping=True, epochs=1)
    rows, y = [[1]] * 9, ["a"] * 5 + ["b"] * 4
    for share, held_out in ((0.1, 1), (0.9, 9)):
        words = (
            "validation_fraction must leave one of each of the 2 classes at least, both held out "
            f"and not, got {share}, which is {held_out} of 9 sequences"
        )
        model.set_params(validation_fraction=share)
        with pytest.raises(ValueError, match=f"^{words}$"):
            model.fit(rows, y)
    words = "2 sequences or more of each class, not counting those whose weight is 0, got 1 of 'b'$"
    model.set_params(validation_fraction=0.5)
    with pytest.raises(ValueError, match=f"^early_stopping needs {words}"):
        model.fit(rows, ["a"] * 8 + ["b"])
    with pytest.raises(ValueError, match=f"^early_stopping needs {words}"):
        model.fit(rows, y, sample_weight=[1.0] * 5 + [0, 0, 0, 2.0])
    for share in (0.2, 0.5, 0.77):  # two of nine are enough, held out or kept
        assert model.set_params(validation_fraction=share).fit(rows, y).n_iter_ == 1


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_refusals_of_weights_of_classes(method: str) -> None:
    def learn(weights: Any, sample_weight: Any = None) -> None:
        options = {"classes": ["one", "two"]} if method == "partial_fit" else {}
        model = clone(LEARNER).set_params(class_weight=weights)
        getattr(model, method)(ROWS, LABELS, sample_weight=sample_weight, **options)

    for bad in (np.nan, -1.0, np.inf, np.float32(-2)):
        words = rf"^class_weight\['two'\] must be finite and 0 or more, got {float(bad)}$"
        for label in ("two", np.str_("two")):
            with pytest.raises(ValueError, match=words):
                learn({"one": 1, label: bad})
    for kind in (True, None, "1"):
        with pytest.raises(TypeError, match=r"^class_weight\['two'\] must be a number, got "):
            learn({"one": 1, "two": kind})
    with pytest.raises(ValueError, match=r"^class_weight must be a dict.* or None"):
        learn([1, 2])
    with pytest.raises(ValueError, match=r"^class_weight must be a dict.* or None.*, got 'even'"):
        learn("even")
    with pytest.raises(ValueError, match=r"^the product of sample_weight and class_weight must"):
        learn({"one": 0, "two": 1}, np.array(LABELS) == "one")
    with pytest.raises(ValueError, match=r"^the product of sample_weight and class_weight must"):
        learn({"one": 1e300, "two": 1}, np.full(300, 1e300))


def test_labels_are_shown_as_they_are_written() -> None:
    with pytest.raises(ValueError, match=r"^y must hold labels .*\['a', 'b'\], got 'z'$"):
        clone(LEARNER).partial_fit([[1], [2]], ["a", "z"], classes=["a", "b"])
    with pytest.raises(ValueError, match=r"^y must hold labels .*\[1, 2\], got 3$"):
        clone(LEARNER).partial_fit([[1], [2]], [1, 3], classes=[1, 2])


def test_refusals_of_bags() -> None:
    with pytest.raises(ValueError, match="num_embeddings or table must be given, got neither"):
        BagOfEmbeddings().fit([[1]])
    with pytest.raises(ValueError, match="num_embeddings must be the 4 rows of table, got 5"):
        BagOfEmbeddings(5, table=er.quantize_rows(TABLE)).fit([[1]])
    with pytest.raises(ValueError, match="mode must be"):
        BagOfEmbeddings(table=TABLE, mode="min").fit([[1]])
    with pytest.raises(ValueError, match=r"table must have shape \(V, D\)"):
        BagOfEmbeddings(table=[1.0]).fit([[1]])
    with pytest.raises(IndexError, match=r"index 4 at position \(1, 0\)"):
        BagOfEmbeddings(table=TABLE).fit([[1], [4]])
    with pytest.raises(NotFittedError):
        BagOfEmbeddings(table=TABLE).transform([[1]])
    with pytest.raises(NotFittedError):
        LEARNER.predict([[1]])


def test_refusals_of_parts() -> None:
    model = clone(LEARNER)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        model.partial_fit(ROWS, LABELS)
    with pytest.raises(ValueError, match="y must hold labels of classes"):
        model.partial_fit(ROWS, LABELS, classes=["one", "three"])
    model.partial_fit(ROWS, LABELS, classes=["one", "two"])
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(ROWS, LABELS, classes=["one", "three"])
    with pytest.raises(ValueError, match="class_weight must be a dict or None in partial_fit"):
        model.set_params(class_weight="balanced").partial_fit(ROWS, LABELS)


@pytest.mark.parametrize("weights", [[0.0, 0.0], [-1.0, 2.0], [1.0], [1e308, 1e308]])
def test_refusals_of_weights(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="sample_weight"):
        clone(LEARNER).fit([[1], [2]], [0, 1], sample_weight=weights)


# --- gradients ---------------------------------------------------------------------------------

IDS_OF_ROWS = Rows(np.array([1, 2, 3, 1, 4, 2]), np.array([0, 2, 2, 3, 6]))
TARGETS, WEIGHTS = np.array([0, 2, 1, 2]), np.array([1.0, 0.5, 2.0, 0.5])


def small_model(pool: Any, *, ids: bool, freeze: bool = False) -> tuple[Model, Rows]:
    rng = np.random.default_rng(0)
    embedding = er.Embedding(5, 3, dtype="float64", rng=0) if ids else None
    layer = er.LSTM(3, 4, 2, bidirectional=True, dtype="float64", rng=1)
    model = Model(embedding, layer, 3, pool=pool, dropout=0.0, freeze=freeze, rng=rng)
    if ids:
        return model, IDS_OF_ROWS
    return model, Rows(rng.normal(size=(6, 3)), IDS_OF_ROWS.offsets)


def dense(grad: Any) -> Any:
    return grad.to_dense(5) if isinstance(grad, er.RowGrad) else grad


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
@pytest.mark.parametrize("ids", [True, False], ids=["ids", "features"])
def test_gradients_are_finite_differences(pool: str, ids: bool) -> None:
    model, rows = small_model(pool, ids=ids)
    rng = np.random.default_rng(0)

    def loss() -> float:
        return cross_entropy(model.scores(rows), TARGETS, WEIGHTS)[0]

    found, grads = model.gradients(rows, TARGETS, WEIGHTS, rng)
    assert np.isclose(found, loss())
    assert grads.keys() == model.parts.keys()
    for part, of_part in grads.items():
        for name, found_grad in of_part.items():
            grad = dense(found_grad)
            shift = 1e-6 * rng.normal(size=grad.shape)
            slope = moved_loss(model, part, name, shift, loss) / 2
            assert np.isclose(slope, np.sum(grad * shift), rtol=1e-4, atol=1e-12), (part, name)


def moved_loss(model: Model, part: str, name: str, shift: Any, loss: Any) -> float:
    """Return the loss with a parameter moved forth, less that with it moved back."""
    owner = model.parts[part]
    array = (owner if part == "output" else owner.state_dict())[name].copy()
    losses = []
    for moved in (array + shift, array - shift, array):
        if part == "output":
            owner[name][...] = moved
        else:
            owner.update({name: moved})
        losses.append(loss())
    return losses[0] - losses[1]


def test_gradients_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    model, rows = small_model("mean", ids=True)
    _, grads = model.gradients(rows, TARGETS, WEIGHTS, np.random.default_rng(0))
    embedding = torch.nn.Embedding(5, 3, dtype=torch.float64)
    lstm = torch.nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True, dtype=torch.float64)
    output = torch.nn.Linear(8, 3, dtype=torch.float64)
    for module, part in ((embedding, model.embedding), (lstm, model.recurrent)):
        module.load_state_dict({k: torch.tensor(v) for k, v in part.state_dict().items()})
    output.load_state_dict({k: torch.tensor(v) for k, v in model.output.items()})
    bounds = rows.offsets
    ids = [torch.tensor(rows.values[a:b]) for a, b in pairwise(bounds)]
    pooled = [
        lstm(embedding(i))[0].mean(dim=0) if len(i) else torch.zeros(8, dtype=torch.float64)
        for i in ids
    ]
    losses = torch.nn.functional.cross_entropy(
        output(torch.stack(pooled)), torch.tensor(TARGETS), reduction="none"
    )
    (losses * torch.tensor(WEIGHTS)).mean().backward()
    for module, name in ((embedding, "embedding"), (lstm, "recurrent"), (output, "output")):
        for key, parameter in module.named_parameters():
            grad = dense(grads[name][key])
            assert np.allclose(grad, parameter.grad.numpy(), rtol=1e-9, atol=1e-12), (name, key)


def test_a_frozen_table_has_no_gradient() -> None:
    model, rows = small_model("last", ids=True, freeze=True)
    _, grads = model.gradients(rows, TARGETS, WEIGHTS, np.random.default_rng(0))
    assert grads.keys() == model.parts.keys() == {"recurrent", "output"}


def test_great_scores_have_a_finite_loss() -> None:
    loss, grad = cross_entropy(
        np.array([[1e300, -1e300], [0.0, 1e4]]), np.array([0, 0]), np.ones(2)
    )
    assert loss == 5e3
    assert grad.tolist() == [[0.0, 0.0], [-0.5, 0.5]]
