"""The functions of adapters/autograd against central differences and our own gradients."""

import inspect
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import (
    HALVES,
    VARIANTS,
    BagCase,
    RnnCase,
    assert_same_bits,
    cell_arguments,
    values,
)

pytest.importorskip("autograd")
import autograd.numpy as anp
from autograd import grad, hessian, jacobian, make_jvp, make_vjp

from embedrnn._cells import CELLS
from embedrnn.adapters import autograd as ad

FUNCTIONS = [getattr(ad, name) for name in ad.__all__]
FLOATS = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h_0", "c_0", "leak", "weight_ch")
BAG_MODES = [
    ("sum", False), ("sum", True), ("mean", False), ("mean", True), ("sqrtn", True), ("max", False),
]  # fmt: skip


def differences(function: Any, at: np.ndarray) -> np.ndarray:
    """Return the gradient of a function by central differences."""
    found, step = np.zeros_like(at), 1e-6
    for i in np.ndindex(at.shape):
        moved = at.copy()
        moved[i] += step
        high = function(moved)
        moved[i] -= 2 * step
        found[i] = (high - function(moved)) / (2 * step)
    return found


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def flat(result: Any) -> list[Any]:
    """Return the arrays of an output, or of an output and one or two states."""
    if not isinstance(result, (tuple, list)):
        return [result]
    return [array for part in result for array in flat(part)]


def assert_gradients(function: Any, arguments: dict[str, np.ndarray]) -> None:
    """Check the gradients of some arguments, of all at once and of each alone.

    The loss takes every number of every output, in other amounts.
    """

    def loss(arguments: Any) -> Any:
        parts = flat_boxes(function(**{name: arguments[name] for name in given}))
        weights = [
            np.random.default_rng(3 + k).standard_normal(a.shape) for k, a in enumerate(parts)
        ]
        return sum(anp.sum(w * a + a**2) for w, a in zip(weights, parts, strict=True))

    given = list(arguments)
    together = grad(loss)(arguments)
    for name, array in arguments.items():

        def of_one(value: Any, name: str = name) -> Any:
            return loss({**arguments, name: value})

        np.testing.assert_allclose(together[name], differences(of_one, array), atol=1e-7)
        assert_same_bits(grad(of_one)(array), together[name])


def flat_boxes(result: Any) -> list[Any]:
    """Return what `flat` does of what autograd has put in boxes."""
    if hasattr(result, "shape"):
        return [result]
    return [array for part in result for array in flat_boxes(part)]


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_arguments_are_those_of_the_function_but_for_out(function: Any) -> None:
    named_for = inspect.signature(getattr(er, function.__name__)).parameters.values()
    expected = [(p.name, p.default, p.kind) for p in named_for if p.name != "out"]
    found = inspect.signature(function).parameters.values()
    assert [(p.name, p.default, p.kind) for p in found] == expected


def recurrent(cell: str) -> tuple[Any, Any, dict[str, Any]]:
    """Return our function of a cell, its vjp, and the option that asks for the cell."""
    name, variant = VARIANTS.get(cell, (cell, {}))
    return getattr(ad, f"{name}_forward"), getattr(er, f"{name}_vjp"), variant


def recurrent_arguments(cell: str, dtype: Any = "f8") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments that have gradients, and the others."""
    arguments = cell_arguments(RnnCase("small", 4, 5, 3, 2), np.dtype(dtype), cell)
    arguments["x"] = normal(4, 5, 3).astype(dtype)  # no NaN: the tests move the padding too
    floats = {name: arguments.pop(name) for name in FLOATS if name in arguments}
    return floats, arguments


RESETS = np.random.default_rng(2).random((4, 5)) < 0.3
RECURRENT_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"lengths": None},
    "lengths": {"lengths": [5, 0, 3, 1]},
    "reverse": {"lengths": [5, 0, 3, 1], "reverse": True},
    "resets": {"lengths": [5, 0, 3, 1], "resets": RESETS},
    "reverse_resets": {"lengths": [5, 0, 3, 1], "resets": RESETS, "reverse": True},
}
each_cell = pytest.mark.parametrize("cell", CELLS)


@each_cell
@pytest.mark.parametrize("options", RECURRENT_OPTIONS.values(), ids=RECURRENT_OPTIONS)
def test_recurrences_by_differences(core: Any, cell: str, options: dict[str, Any]) -> None:
    function, _, variant = recurrent(cell)
    floats, _ = recurrent_arguments(cell)
    assert_gradients(lambda **some: function(**some, **variant, **options), floats)


@each_cell
def test_ragged_recurrences_by_differences(core: Any, cell: str) -> None:
    function, _, variant = recurrent(cell)
    floats, _ = recurrent_arguments(cell)
    floats["x"] = floats["x"].reshape(20, 3)[:9]
    options = {"offsets": [0, 5, 5, 8, 9], **variant}
    assert_gradients(lambda **some: function(**some, **options), floats)


@each_cell
def test_recurrences_without_what_is_optional(core: Any, cell: str) -> None:
    function, _, variant = recurrent(cell)
    floats, _ = recurrent_arguments(cell)
    some = {name: floats[name] for name in ("x", "weight_ih", "weight_hh")}
    assert_gradients(lambda **some: function(**some, **variant), some)


@each_cell
def test_recurrences_have_the_bits_of_the_vjp(backend: str, dtype: Any, cell: str) -> None:
    function, vjp, variant = recurrent(cell)
    floats, options = recurrent_arguments(cell, dtype)
    result, backward = vjp(**floats, **options, **variant)
    pull_back, found = make_vjp(lambda some: function(**some, **options, **variant))(floats)
    for actual, expected in zip(flat(found), flat(result), strict=True):
        assert_same_bits(actual, expected)
    outer = np.ones_like(result[0])
    state = result[1]  # the states themselves stand for the gradients of them
    grads, expected = pull_back((outer, state)), backward(outer, state)
    for name in floats:
        assert_same_bits(grads[name], getattr(expected, name))


@pytest.mark.parametrize(("mode", "weighted"), BAG_MODES)
@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_bags_by_differences(core: Any, mode: str, weighted: bool, padding_idx: int | None) -> None:
    case = BagCase("small", 5, 3, "ragged")
    floats = {"weight": case.table("f8")}
    if weighted:
        floats["per_sample_weights"] = np.abs(case.weights("f8")) + 0.5  # sums are not near 0
    options = {"lengths": case.lengths, "mode": mode, "padding_idx": padding_idx}
    assert_gradients(
        lambda **some: ad.embedding_bag(indices=case.indices(), **some, **options), floats
    )


def test_bags_of_rows_and_of_a_vector(core: Any) -> None:
    indices = np.array([[0, 2, -1], [1, 1, 4]])
    floats = {"weight": normal(5), "per_sample_weights": normal(2, 3, seed=1)}
    assert_gradients(lambda **some: ad.embedding_bag(indices=indices, **some), floats)


@pytest.mark.parametrize("dtype", ["f4", "f8", *HALVES], ids=str)
@pytest.mark.parametrize(("mode", "weighted"), BAG_MODES)
def test_bags_have_the_values_of_the_vjp(
    backend: str, dtype: Any, mode: Any, weighted: bool
) -> None:
    case = BagCase("small", 5, 3, "ragged")
    table, arguments = case.table(dtype), {"lengths": case.lengths, "mode": mode}
    if weighted:
        arguments["per_sample_weights"] = np.abs(case.weights(dtype)) + np.dtype(dtype).type(1)
    output, backward = er.embedding_bag_vjp(table, case.indices(), **arguments)
    pull_back, found = make_vjp(lambda w: ad.embedding_bag(w, case.indices(), **arguments))(table)
    assert_same_bits(found, output)
    grads = backward(output)
    assert np.array_equal(pull_back(output), grads.weight.to_dense(5))
    assert pull_back(output).dtype == table.dtype


@pytest.mark.parametrize("axis", [0, 1, -1, None])
@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
@pytest.mark.parametrize("shape", [(), (4,), (0,), (2, 3)], ids=str)
def test_gather_by_differences(core: Any, axis: Any, mode: Any, shape: tuple[int, ...]) -> None:
    table = normal(3, 4, 2)
    n_rows = table.size if axis is None else table.shape[axis]
    bound = n_rows if mode == "raise" else 3 * n_rows
    indices = np.random.default_rng(1).integers(-bound, bound, shape)
    assert_gradients(
        lambda **some: ad.gather(**some, indices=indices, axis=axis, mode=mode), {"weight": table}
    )


@pytest.mark.parametrize("dtype", ["f4", "f8", "c16", *HALVES], ids=str)
def test_gather_has_the_values_of_coalesce(backend: str, dtype: Any) -> None:
    table, ids = values((5, 3), dtype), np.array([[4, 0, -1], [2, 2, 0]])
    pull_back, rows = make_vjp(lambda w: ad.gather(w, ids))(table)
    assert_same_bits(rows, er.gather(table, ids))
    updates = values((2, 3, 3), dtype, seed=1)
    found = pull_back(updates)
    assert found.dtype == table.dtype
    assert np.array_equal(found, er.coalesce(ids, updates, num_embeddings=5).to_dense(5))


# --- within other code --------------------------------------------------------------------------


def test_a_model_learns(core: Any) -> None:
    """A gather, an LSTM and a bag learn whether 1 stands in the first half of a sequence."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 9, 64)
    ids = rng.integers(0, 4, (64, 8))
    wanted = np.array([1 in row[: n // 2] for row, n in zip(ids, lengths, strict=True)], float)
    scale = {
        "table": (4, 5),
        "w_ih": (24, 5),
        "w_hh": (24, 6),
        "b": (24,),
        "out": (6,),
        "bag": (4,),
    }
    model = {name: rng.normal(0, 0.5, shape) for name, shape in scale.items()}

    def loss(model: Any) -> Any:
        x = ad.gather(model["table"], ids)
        _, (h_n, _) = ad.lstm_forward(x, model["w_ih"], model["w_hh"], model["b"], lengths=lengths)
        score = anp.dot(h_n, model["out"]) + ad.embedding_bag(model["bag"], ids, mode="mean")
        return anp.mean(anp.log1p(anp.exp(-(2 * wanted - 1) * score)))

    first, gradient = loss(model), grad(loss)
    for _ in range(250):
        step = gradient(model)
        model = {name: value - 2 * step[name] for name, value in model.items()}
    assert first > 0.5
    assert loss(model) < 0.1


def test_code_behind_may_be_of_another_dtype(core: Any) -> None:
    wide = np.float64(1.5)

    def loss(weight: Any) -> Any:
        rows, ones = ad.gather(weight, [0, 1, 1]), np.ones((6, 2), weight.dtype)
        output, h_n = ad.gru_forward(rows[None], ones, ones)
        bags = ad.embedding_bag(weight, [[0, 1]])
        return anp.sum(output * wide) + anp.sum(h_n * wide) + anp.sum((rows + bags) * wide)

    weight = normal(2, 2)
    found = grad(loss)(weight.astype("f4"))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, grad(loss)(weight), rtol=1e-5)


def test_one_call_has_one_pass_each_way(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    packed = type(core.pack("lstm", *(np.ones(s, "f8") for s in [(4, 1), (4, 1)]), None, None))
    for name in ("forward", "backward"):
        monkeypatch.setattr(packed, name, counted(getattr(packed, name), name, calls))
    x, weight = np.ones((1, 2, 1)), np.ones((4, 1))
    arguments = (x, weight, weight, np.ones(4), np.ones(4))
    grad(lambda some: anp.sum(ad.lstm_forward(*some)[0]))(arguments)
    assert calls == ["forward", "backward"]


def counted(method: Any, name: str, calls: list[str]) -> Any:
    def call(*arguments: Any) -> Any:
        calls.append(name)
        return method(*arguments)

    return call


def test_jacobians_call_the_gradient_again(core: Any) -> None:
    x, weights = normal(2, 3, 2), (normal(3, 2, seed=1), normal(3, 3, seed=2))
    found = jacobian(lambda x: ad.rnn_forward(x, *weights)[1])(x)
    for i in np.ndindex(2, 3):
        expected = differences(lambda x, i=i: er.rnn_forward(x, *weights)[1][i], x)
        np.testing.assert_allclose(found[i], expected, atol=1e-8)


def test_second_derivatives_of_gather(core: Any) -> None:
    table = normal(3, 2)

    def loss(table: Any) -> Any:
        return anp.sum(ad.gather(table, [2, 0, 2, -4], mode="wrap") ** 3)

    counts = np.array([1.0, 0, 3])[:, None]
    expected = np.diag((6 * counts * table).ravel()).reshape(3, 2, 3, 2)
    np.testing.assert_allclose(hessian(loss)(table), expected)


def test_a_constant_in_place_of_what_is_differentiated(core: Any) -> None:
    ids, table = [0, 1], np.ones((2, 3), "f4")
    assert_same_bits(ad.gather(table, ids), er.gather(table, ids))
    quantized = er.quantize_rows(table)
    assert_same_bits(ad.gather(quantized, ids), er.gather(quantized, ids))
    assert_same_bits(ad.embedding_bag(quantized, [ids]), er.embedding_bag(quantized, [ids]))
    rows = [np.ones((n, 3)) for n in (2, 1)]  # of a list, the weights alone have gradients
    of_weight = grad(lambda w: anp.sum(ad.rnn_forward(rows, w, np.zeros((4, 4)))[0]))(
        np.zeros((4, 3))
    )
    assert_same_bits(of_weight, np.full((4, 3), 3.0))


# --- what is refused ----------------------------------------------------------------------------

ONE = np.ones((1, 1))
FOUR = np.ones((4, 1))  # the weights of an LSTM of one unit


def of_sum(function: Any, at: Any, *others: Any, **options: Any) -> Any:
    """Return the gradient of the sum of the first output of a function, with its first argument."""
    return grad(lambda first: anp.sum(flat_boxes(function(first, *others, **options))[0]))(at)


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "index": (lambda: of_sum(ad.gather, np.ones((2, 3)), [0, 2]), IndexError,
              "^index 2 at position 1 is out of range for weight with 2 rows"),
    "mode": (lambda: of_sum(ad.gather, np.ones((2, 3)), [0], mode="warp"), ValueError,
             "^mode must be 'raise' or"),
    "bag": (lambda: of_sum(ad.embedding_bag, np.ones((2, 3)), [[-3]]), IndexError,
            r"^index -3 at position \(0, 0\) is out of range for weight with 2 rows"),
    "lengths": (lambda: of_sum(ad.rnn_forward, np.ones((1, 2, 1)), ONE, ONE, lengths=[3]),
                ValueError, r"^lengths\[0\] must be between 0 and 2, got 3$"),
    "shape": (lambda: of_sum(ad.gru_forward, np.ones((1, 2, 1)), np.ones((3, 2)), np.ones((3, 1))),
              ValueError, r"^weight_ih must have shape \(3, 1\), got \(3, 2\)"),
    "dtype": (lambda: of_sum(ad.lstm_forward, np.ones((1, 2, 1), "f4"), FOUR, FOUR), TypeError,
              "^weight_ih must be float32"),
    "table in a list": (lambda: of_sum(ad.gather, [1.0, 2.0], [0]), TypeError,
                        "^weight must be an ndarray where it is differentiated, got list$"),
    "integers": (lambda: of_sum(ad.gather, np.ones((2, 3), int), [0]), TypeError,
                 "^weight must be of floating-point numbers where it is differentiated, got int64"),
    "sequences in a list": (lambda: of_sum(ad.rnn_forward, [np.ones((2, 1))], ONE, ONE), TypeError,
                            "^x must be an ndarray where it is differentiated, got list$"),
    "one leak of all units": (
        lambda: grad(lambda a: anp.sum(ad.rnn_forward(np.ones((1, 2, 1)), ONE, ONE, leak=a)[0]))(
            np.array(0.5)),
        ValueError, r"^leak must have an axis where it is differentiated, got shape \(\)$"),
    "int8 rows": (lambda: grad(lambda w: anp.sum(ad.embedding_bag(
                      er.quantize_rows(ONE), [[0]], per_sample_weights=w)))(ONE.astype("f4")),
                  TypeError, "^weight must be an array: QuantizedRows have no gradient"),
    "indices": (lambda: grad(lambda i: anp.sum(ad.gather(ONE, i)))(np.zeros(1)), TypeError,
                "^indices must be"),
    "lengths that are differentiated": (
        lambda: grad(lambda n: anp.sum(ad.rnn_forward(np.ones((1, 2, 1)), ONE, ONE, lengths=n)[0]))(
            np.ones(1)), TypeError, "^lengths must be"),
    "gradient": (lambda: make_vjp(lambda x: ad.rnn_forward(x, ONE, ONE))(np.ones((1, 2, 1)))[0](
                     (np.ones((1, 3, 1)), ONE)),
                 ValueError, r"^grad_output must have shape \(1, 2, 1\), got \(1, 3, 1\)$"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_errors_name_the_argument(backend: str, call: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("power", [1, 2])
def test_second_derivatives_of_the_others_are_refused(core: Any, power: int) -> None:
    """Also where the gradient that comes in is a constant: what it is multiplied by is none."""
    weight = np.ones((1, 1))

    def of_rnn(weight: Any) -> Any:
        return anp.sum(ad.rnn_forward(np.ones((1, 2, 1)), weight, weight)[0] ** power)

    def of_bag(weight: Any) -> Any:
        return anp.sum(ad.embedding_bag(weight, [[0]]) ** power)

    for loss, name in ((of_rnn, "rnn_forward"), (of_bag, "embedding_bag")):
        with pytest.raises(NotImplementedError, match=f"VJP of the gradients of {name} "):
            hessian(loss)(weight)
        with pytest.raises(NotImplementedError, match=f"JVP of {name} "):
            make_jvp(loss)(weight)(weight)
