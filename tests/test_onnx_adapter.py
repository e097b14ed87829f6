"""Our operators in the reference evaluator of onnx: the package's own tests, and all attributes."""

import warnings
from typing import Any

import numpy as np
import pytest

from onnx_models import (
    FLOAT,
    GATES,
    INT32,
    branch,
    helper,
    model,
    node,
    node_cases,
    recurrent,
    run,
    tensors,
    weights,
)

onnx: Any = pytest.importorskip("onnx")
reference: Any = pytest.importorskip("onnx.reference")
adapter: Any = pytest.importorskip("embedrnn.adapters.onnx")

TOLERANCE = 1e-5
OPERATORS = {"RNN", "GRU", "LSTM", "Gather"}


def evaluator(the_model: Any) -> Any:
    return reference.ReferenceEvaluator(the_model, new_ops=adapter.OPS)


def ours(the_model: Any, **feed: np.ndarray) -> list[np.ndarray]:
    found: list[np.ndarray] = evaluator(the_model).run(None, feed)
    return found


def theirs(the_model: Any, **feed: np.ndarray) -> list[np.ndarray]:
    found: list[np.ndarray] = reference.ReferenceEvaluator(the_model).run(None, feed)
    return found


def assert_close(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for got, wanted in zip(actual, expected, strict=True):
        assert got.shape == wanted.shape
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=TOLERANCE, atol=TOLERANCE)


# --- the tests of the onnx package -------------------------------------------------------------


NODE_TESTS = {
    case.name: case
    for case in node_cases()
    if OPERATORS & {each.op_type for each in case.model.graph.node}
}


def test_the_tests_of_nodes_are_there() -> None:
    found = [each.op_type for case in NODE_TESTS.values() for each in case.model.graph.node
             if len(case.model.graph.node) == 1]  # fmt: skip
    counts = {op: found.count(op) for op in OPERATORS}
    assert min(counts.values()) >= 4, counts


@pytest.mark.parametrize("name", NODE_TESTS)
def test_nodes(name: str) -> None:
    case = NODE_TESTS[name]
    run_ours = evaluator(case.model)
    for inputs, outputs in case.data_sets:
        names = [value.name for value in case.model.graph.input]
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = run_ours.run(None, dict(zip(names, tensors(inputs), strict=True)))
        for got, wanted in zip(found, tensors(outputs), strict=True):
            assert got.shape == wanted.shape
            np.testing.assert_allclose(
                got.astype("f8"), wanted.astype("f8"), rtol=case.rtol, atol=max(case.atol, 1e-6)
            )


# --- every attribute and input -----------------------------------------------------------------

ATTRIBUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("RNN", {}),
    "relu": ("RNN", {"activations": ["Relu", "Relu"]}),
    "gru": ("GRU", {"linear_before_reset": 0}),
    "reset_after": ("GRU", {"linear_before_reset": 1}),
    "lstm": ("LSTM", {}),
    "lstm_default": ("LSTM", {"activations": ["Sigmoid", "Tanh", "Tanh"]}),
}


def case_of(
    name: str, direction: str, layout: int, given: tuple[str, ...]
) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a model of one node, and what it is fed: T 6, B 3, I 5, H 7."""
    op, attributes = ATTRIBUTES[name]
    directions = 1 + (direction == "bidirectional")
    if "activations" in attributes:
        once = attributes["activations"][: {"RNN": 1, "LSTM": 3}[op]]
        attributes = attributes | {"activations": once * directions}
    rng = np.random.default_rng(1)
    first = (lambda a: np.ascontiguousarray(a.swapaxes(0, 1))) if layout else (lambda a: a)
    feed = {"X": first(rng.uniform(-1, 1, (6, 3, 5)).astype("f4"))}
    if "sequence_lens" in given:
        feed["sequence_lens"] = np.array([6, 1, 4], "i4")
    for name_ in ("initial_h", "initial_c"):
        if name_ in given and not (name_ == "initial_c" and op != "LSTM"):
            feed[name_] = first(rng.uniform(-1, 1, (directions, 3, 7)).astype("f4"))
    arrays = weights(op, directions=directions)
    if "P" in given and op == "LSTM":
        arrays["P"] = rng.uniform(-1, 1, (directions, 21)).astype("f4")
    cell = node(op, [*feed, *arrays], direction=direction, layout=layout, **attributes)
    kinds = {key: INT32 if key == "sequence_lens" else FLOAT for key in feed}
    return model([cell], arrays, kinds, outputs=tuple(cell.output)), feed


GIVEN = {
    "x": (),
    "states": ("initial_h", "initial_c"),
    "one_state": ("initial_c",),
    "lengths": ("sequence_lens",),
    "all": ("sequence_lens", "initial_h", "initial_c"),
    "peepholes": ("P", "sequence_lens", "initial_h", "initial_c"),
}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_all_inputs_in_onnx_runtime(name: str, direction: str, given: str) -> None:
    the_model, feed = case_of(name, direction, 0, GIVEN[given])
    assert_close(ours(the_model, **feed), run(the_model, **feed))


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("given", ["x", "states", "peepholes"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("name", [name for name in ATTRIBUTES if name != "relu"])
def test_all_inputs_in_the_reference(
    name: str, direction: str, given: str, layout: int
) -> None:  # which has no lengths, and one way alone where batches come first
    asked = tuple(each for each in GIVEN[given] if each != "sequence_lens")
    the_model, feed = case_of(name, direction, layout, asked)
    assert_close(ours(the_model, **feed), theirs(the_model, **feed))


def test_batches_first_in_both_directions() -> None:
    arguments = ("lstm", "bidirectional")
    first, feed = case_of(*arguments, 1, GIVEN["all"])
    last, swapped = case_of(*arguments, 0, GIVEN["all"])
    y, *states = run(last, **swapped)
    expected = [y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in states)]
    assert_close(ours(first, **feed), expected)


@pytest.mark.parametrize("outputs", [["Y"], ["Y", "Y_h"], ["", "Y_h"], ["", "", "Y_c"]], ids=str)
def test_outputs_may_be_left_out(outputs: list[str]) -> None:
    arrays = weights("LSTM")
    cell = helper.make_node("LSTM", ["X", "W", "R", "B"], outputs, hidden_size=7)
    the_model = model([cell], arrays, outputs=tuple(filter(None, outputs)))
    x = np.random.default_rng(1).uniform(-1, 1, (6, 3, 5)).astype("f4")
    assert_close(ours(the_model, X=x), run(the_model, X=x))


def test_float64() -> None:
    arrays = {name: array.astype("f8") for name, array in weights("GRU").items()}
    the_model = recurrent("GRU", arrays)
    x = np.random.default_rng(1).uniform(-1, 1, (6, 3, 5))
    (found,) = ours(the_model, X=x)
    np.testing.assert_allclose(found, theirs(the_model, X=x)[0], rtol=0, atol=1e-14)


LEFT: dict[str, tuple[str, dict[str, Any]]] = {
    "affine": ("RNN", {"activations": ["Affine"], "activation_alpha": [0.5],
                       "activation_beta": [0.25]}),
    "clip": ("LSTM", {"clip": 0.1}),
    "input_forget": ("LSTM", {"input_forget": 1}),
    "activations": ("GRU", {"activations": ["HardSigmoid", "Tanh"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_what_layers_do_not_do_is_the_references(name: str) -> None:
    op, attributes = LEFT[name]
    the_model = recurrent(op, **attributes)
    x = np.random.default_rng(1).uniform(-1, 1, (6, 3, 5)).astype("f4")
    for got, wanted in zip(ours(the_model, X=x), theirs(the_model, X=x), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_halves_are_the_references() -> None:
    arrays = {name: array.astype("f2") for name, array in weights("GRU").items()}
    the_model = recurrent("GRU", arrays)
    x = np.random.default_rng(1).uniform(-1, 1, (6, 3, 5)).astype("f2")
    np.testing.assert_array_equal(ours(the_model, X=x)[0], theirs(the_model, X=x)[0])


def test_an_unknown_activation_is_refused_as_by_the_reference() -> None:
    with pytest.raises(RuntimeError, match="Unknown activation function 'Softsign'"):
        evaluator(recurrent("RNN", activations=["Softsign"]))


# --- weights that change -----------------------------------------------------------------------


def fed() -> tuple[Any, dict[str, np.ndarray]]:
    feed = {"X": np.random.default_rng(1).uniform(-1, 1, (6, 3, 5)).astype("f4"), **weights("GRU")}
    return model([node("GRU", list(feed))], {}, dict.fromkeys(feed, FLOAT)), feed


def test_weights_that_are_written_to_are_seen() -> None:
    the_model, feed = fed()
    run_ours = evaluator(the_model)
    before = run_ours.run(None, feed)[0].copy()
    for name in "WRB":
        feed[name] *= 2
        (found,) = run_ours.run(None, feed)
        assert_close([found], theirs(the_model, **feed))
        assert not np.array_equal(found, before)


def test_weights_below_a_read_only_view_are_seen() -> None:
    the_model, feed = fed()
    run_ours = evaluator(the_model)
    views = {name: array.view() for name, array in feed.items()}
    for view in views.values():
        view.flags.writeable = False
    run_ours.run(None, views)
    feed["W"] *= 2
    assert_close(run_ours.run(None, views), theirs(the_model, **feed))


def test_other_arrays_are_seen() -> None:
    the_model, feed = fed()
    run_ours = evaluator(the_model)
    for seed in range(3):
        constants = weights("GRU", seed=seed)
        for array in constants.values():
            array.flags.writeable = False
        found = run_ours.run(None, feed | constants)
        assert_close(found, theirs(the_model, **feed | constants))


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_initializers_are_packed_once(monkeypatch: pytest.MonkeyPatch, raw: bool) -> None:
    the_model = recurrent("GRU")
    if not raw:
        for tensor in the_model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            typed = helper.make_tensor(tensor.name, FLOAT, values.shape, values.ravel().tolist())
            tensor.CopyFrom(typed)
    made = []
    from_onnx = adapter.from_onnx
    monkeypatch.setattr(adapter, "from_onnx", lambda entry: made.append(entry) or from_onnx(entry))
    run_ours = evaluator(the_model)
    x = np.ones((6, 3, 5), "f4")
    first, *others = [run_ours.run(None, {"X": x})[0] for _ in range(3)]
    assert all(np.array_equal(first, other) for other in others)
    assert len(made) == (1 if raw else 3)


def test_attributes_that_change_are_seen() -> None:
    """As those in a function are, though to these the evaluator does not hand our operators."""
    x = np.random.default_rng(1).uniform(-1, 1, (6, 3, 5)).astype("f4")
    arrays = weights("GRU")
    for array in arrays.values():
        array.flags.writeable = False
    cell = adapter.GRU.create(4, 1, hidden_size=7)
    attributes = {name: getattr(cell, name) for name in cell.attributes_names_}
    for after in (0, 1, 0):
        found = cell._run(x, *arrays.values(), **attributes | {"linear_before_reset": after})
        assert_close([*found], [run(recurrent("GRU", linear_before_reset=after), X=x)[0]])


def test_nodes_in_the_branches_of_another() -> None:
    one, other = weights("GRU"), weights("GRU", seed=1)
    both = helper.make_node("If", ["which"], ["Y"], then_branch=branch("one", one),
                            else_branch=branch("other", {"R": other["R"]}))  # fmt: skip
    outside = {name: other[name] for name in "WB"}
    the_model = model([both], outside, {"X": FLOAT, "which": onnx.TensorProto.BOOL})
    run_ours = evaluator(the_model)
    for which in (True, False, True):
        feed = {"X": np.ones((6, 3, 5), "f4"), "which": np.array(which)}
        assert_close(run_ours.run(None, feed), run(the_model, **feed))


# --- rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("kind", ["i4", "i8"])
@pytest.mark.parametrize("dtype", ["f4", "f2", "i8", "?", "O"])
def test_gather(dtype: str, kind: str, axis: int) -> None:
    table = np.arange(12).reshape(4, 3).astype(str if dtype == "O" else dtype)
    for indices in (np.array([[0, -1], [2, 1]], kind), np.array(1, kind)):
        found = adapter.Gather.eval(table, indices, axis=axis)
        np.testing.assert_array_equal(found, table.take(indices, axis))
        assert found.dtype == table.dtype


def test_gather_of_a_number() -> None:
    found = adapter.Gather.eval(np.arange(3), np.array(1))
    assert isinstance(found, np.ndarray)
    assert (found, found.shape) == (1, ())


@pytest.mark.parametrize("op", GATES)
def test_no_more_than_these_are_replaced(op: str) -> None:
    assert [cls.__name__ for cls in adapter.OPS] == ["RNN", "GRU", "LSTM", "Gather"]
    assert {cls.op_domain for cls in adapter.OPS} == {""}
    assert op in {cls.__name__ for cls in adapter.OPS}
