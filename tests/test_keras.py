"""Keras's recurrent layers, run here and converted, on the NumPy backend and then on PyTorch's."""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedrnn as er

keras = pytest.importorskip("keras")

from embedrnn import convert  # noqa: E402
from embedrnn.adapters import keras as adapter  # noqa: E402
from embedrnn.adapters.keras import calls, installed, kept  # noqa: E402

# What NumPy says to Keras itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")

BACKEND = keras.config.backend()
layers, ops = keras.layers, keras.ops

B, T, I, H = 4, 7, 5, 6  # noqa: E741
VALID = np.arange(T)
LENGTHS = np.array([7, 3, 1, 5])[:, None]
MASKS = {
    "none": None,
    "right": VALID < LENGTHS,
    "left": VALID >= T - LENGTHS,
    "holes": np.random.default_rng(5).random((B, T)) < 0.5,
    "all masked": np.arange(B)[:, None] * VALID >= T,
    "all valid": np.ones((B, T), bool),
}
CELLS: dict[str, Callable[..., Any]] = {
    "LSTM": layers.LSTM,
    "GRU": layers.GRU,
    "GRU before": lambda *args, **kwargs: layers.GRU(*args, reset_after=False, **kwargs),
    "SimpleRNN": layers.SimpleRNN,
    "SimpleRNN relu": lambda *args, **kwargs: layers.SimpleRNN(*args, activation="relu", **kwargs),
}
each_cell = pytest.mark.parametrize("cell", CELLS)
each_mask = pytest.mark.parametrize("mask", MASKS)
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="this is the turn of another backend")


@pytest.fixture(autouse=True)
def _leave_keras_as_it_was() -> Iterator[None]:
    keras.utils.set_random_seed(0)
    yield
    adapter.uninstall()


def built(cell: str, dtype: Any = "float32", wrap: Any = None, **options: Any) -> Any:
    """Return a layer with biases that are not 0."""
    name = np.dtype(dtype).name
    layer = CELLS[cell](H, bias_initializer="random_normal", dtype=name, **options)
    layer = layer if wrap is None else wrap(layer)
    layer.build((B, T, I))
    # On the NumPy backend the first values are float32 whatever the dtype is.
    layer.set_weights(layer.get_weights())
    return layer


def sequences(dtype: Any = "float32") -> np.ndarray:
    return np.random.default_rng(1).standard_normal((B, T, I)).astype(dtype)


def states_of(cell: str, dtype: Any = "float32") -> list[Any]:
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal((B, H)).astype(dtype) for _ in range(1 + (cell == "LSTM"))]
    return [tensor(array) for array in arrays]


def tensor(array: np.ndarray) -> Any:
    """Return a tensor of the same dtype, which Keras would make a float32 one otherwise."""
    return ops.convert_to_tensor(array, dtype=array.dtype.name)


def results(layer: Any, x: Any, mask: Any = None, **options: Any) -> list[np.ndarray]:
    if mask is not None:
        options["mask"] = ops.convert_to_tensor(mask)
    got = layer(tensor(x), **options)
    return [ops.convert_to_numpy(one) for one in keras.tree.flatten(got)]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record of every call of a layer whether it runs here."""
    record: list[bool] = []
    run = calls.run

    def recorded(*arguments: Any) -> Any:
        result = run(*arguments)
        record.append(result is not None)
        return result

    monkeypatch.setattr(calls, "run", recorded)
    return record


def assert_same(layer: Any, taken: list[bool], run: Callable[[], list[np.ndarray]]) -> None:
    """Compare with and without the hook; `run` must not depend on what it was before."""
    expected = run()
    adapter.install()
    actual = run()
    assert taken
    assert all(taken), layer
    for got, want in zip(actual, expected, strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6)


@each_cell
@each_mask
def test_what_keras_gives(taken: list[bool], dtype: Any, cell: str, mask: str) -> None:
    x, h_0 = sequences(dtype), states_of(cell, dtype)
    for backwards, every, initial in ((0, 1, 0), (1, 1, 1), (0, 0, 1), (1, 0, 0)):
        adapter.uninstall()
        layer = built(
            cell, dtype, go_backwards=bool(backwards), return_sequences=bool(every),
            return_state=True,
        )  # fmt: skip
        options = {"initial_state": h_0} if initial else {}
        assert_same(layer, taken, lambda: results(layer, x, MASKS[mask], **options))  # noqa: B023


@each_cell
def test_float64_is_not_rounded(dtype: Any, cell: str) -> None:
    """A float64 layer gives what a layer of ours does; Keras rounds its products to float32."""
    layer, x = built(cell, dtype, return_sequences=True, return_state=True), sequences(dtype)
    ours = convert.from_keras(layer)
    adapter.install()
    got, *states = results(layer, x, MASKS["holes"])
    output, last = ours(x, mask=MASKS["holes"], padding_fill="repeat")
    np.testing.assert_array_equal(got, output)
    for one, other in zip(states, last if isinstance(last, tuple) else [last], strict=True):
        np.testing.assert_array_equal(one, other[0])


@on_torch
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_float64_is_that_of_pytorch(cell: str) -> None:
    import torch

    layer, x = built(cell, "float64", return_sequences=True, return_state=True), sequences("f8")
    module = getattr(torch.nn, cell)(I, H, batch_first=True, dtype=torch.float64)
    parameters = convert.from_keras_weights(layer.get_weights())
    module.load_state_dict({name: torch.from_numpy(array) for name, array in parameters.items()})
    output, last = module(torch.from_numpy(x))
    adapter.install()
    got, *states = results(layer, x)
    np.testing.assert_allclose(got, output.detach().numpy(), rtol=0, atol=1e-12)
    for one, other in zip(states, last if cell == "LSTM" else [last], strict=True):
        np.testing.assert_allclose(one, other[0].detach().numpy(), rtol=0, atol=1e-12)


@each_cell
@pytest.mark.parametrize("mask", ["none", "right", "holes"])
def test_bidirectional(taken: list[bool], cell: str, mask: str) -> None:
    x, merge = sequences(), {"none": "ave", "right": "concat", "holes": None}[mask]
    for every in (False, True):
        adapter.uninstall()
        layer = built(
            cell, return_sequences=every, return_state=True,
            wrap=lambda one: layers.Bidirectional(one, merge_mode=merge),
        )  # fmt: skip
        assert_same(layer, taken, lambda: results(layer, x, MASKS[mask]))  # noqa: B023


@each_cell
def test_stateful(taken: list[bool], cell: str) -> None:
    layer, x = built(cell, stateful=True, return_sequences=True), sequences()

    def run() -> list[np.ndarray]:
        layer.reset_state()
        return [*results(layer, x), *results(layer, x, MASKS["holes"])]

    assert_same(layer, taken, run)


@each_cell
@pytest.mark.parametrize("unroll", [False, True])
def test_options_of_speed(taken: list[bool], cell: str, unroll: bool) -> None:
    options = {} if cell.startswith("SimpleRNN") else {"implementation": 1}
    layer = built(cell, unroll=unroll, use_bias=False, **options)
    assert_same(layer, taken, lambda: results(layer, sequences()))


@each_cell
def test_zeros_at_masked_steps(taken: list[bool], cell: str) -> None:
    layer = built(cell, return_sequences=True, zero_output_for_mask=True)
    assert_same(layer, taken, lambda: results(layer, sequences(), MASKS["holes"]))


def test_a_model_of_several_layers(taken: list[bool]) -> None:
    model = keras.Sequential([
        layers.Embedding(50, I, mask_zero=True),
        layers.LSTM(H, return_sequences=True),
        layers.Bidirectional(layers.GRU(H, return_sequences=True)),
        layers.SimpleRNN(H),
        layers.Dense(2),
    ])  # fmt: skip
    ids = np.random.default_rng(3).integers(1, 50, (B, T)) * MASKS["right"]
    model(ids)
    taken.clear()
    assert_same(model, taken, lambda: [model.predict(ids, verbose=0)])


@each_cell
def test_dropout_in_training(taken: list[bool], cell: str) -> None:
    layer = built(cell, dropout=0.5, seed=3)

    def run() -> list[np.ndarray]:
        layer.cell.seed_generator.state.assign(np.array([3, 0], "uint32"))
        return results(layer, sequences(), training=True)

    if BACKEND == "torch":
        import torch

        with torch.no_grad():
            assert_same(layer, taken, run)
    else:
        assert_same(layer, taken, run)


# --- weights -----------------------------------------------------------------------------------


@each_cell
def test_other_weights_are_seen(taken: list[bool], cell: str) -> None:
    layer, x = built(cell), sequences()
    adapter.install()
    seen = [results(layer, x)[0]]
    layer.set_weights([weight / 2 for weight in layer.get_weights()])
    seen.append(results(layer, x)[0])
    layer.cell.recurrent_kernel.assign(layer.cell.recurrent_kernel / 2)
    seen.append(results(layer, x)[0])
    value = layer.cell.kernel.value
    (value.detach().numpy() if BACKEND == "torch" else value)[0, 0] += 1  # behind Keras's back
    seen.append(results(layer, x)[0])
    assert all(taken)
    adapter.uninstall()
    np.testing.assert_allclose(results(layer, x)[0], seen[-1], rtol=2e-6, atol=1e-6)
    for one, other in itertools.combinations(seen, 2):
        assert abs(one - other).max() > 1e-4


def test_the_same_weights_are_packed_once() -> None:
    layer, x = built("LSTM"), sequences()
    adapter.install()
    results(layer, x)
    ours = kept._kept[layer.cell].layer
    results(layer, x)
    assert kept._kept[layer.cell].layer is ours
    adapter.uninstall()
    assert not kept._kept


def test_another_activation_is_another_layer(taken: list[bool]) -> None:
    layer, x = built("SimpleRNN"), sequences()
    adapter.install()
    results(layer, x)
    layer.cell.activation = keras.activations.relu
    got = results(layer, x)[0]
    adapter.uninstall()
    np.testing.assert_allclose(got, results(layer, x)[0], rtol=2e-6, atol=1e-6)
    assert taken == [True, True]


# --- what Keras does itself --------------------------------------------------------------------


class OtherCell(layers.LSTMCell):  # type: ignore[misc,name-defined]
    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        output, new = super().call(inputs, states, training=training)
        return 2 * output, new


def with_other_cell() -> Any:
    layer = layers.LSTM(H)
    layer.cell = OtherCell(H)
    return layer


LEFT: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "activation": (lambda: layers.LSTM(H, activation="relu"), {}),
    "activation of a SimpleRNN": (lambda: layers.SimpleRNN(H, activation="elu"), {}),
    "no activation": (lambda: layers.GRU(H, activation=None), {}),
    "recurrent activation": (lambda: layers.GRU(H, recurrent_activation="hard_sigmoid"), {}),
    "unroll with a mask": (lambda: layers.GRU(H, unroll=True), {"mask": MASKS["right"]}),
    "use_cudnn": (lambda: layers.LSTM(H, use_cudnn=False), {}),
    "mixed precision": (lambda: layers.LSTM(H, dtype="mixed_bfloat16"), {}),
    "half precision": (lambda: layers.LSTM(H, dtype="float16", recurrent_initializer="zeros"), {}),
    "recurrent dropout": (lambda: layers.LSTM(H, recurrent_dropout=0.5), {"training": True}),
    "dropout of each gate": (lambda: layers.SimpleRNN(H, dropout=1.0), {"training": True}),
    "another cell": (with_other_cell, {}),
    "a mask of numbers": (lambda: layers.LSTM(H), {"mask": MASKS["right"].astype("int32")}),
}


@pytest.mark.parametrize("name", LEFT)
def test_left_to_keras(taken: list[bool], name: str) -> None:
    make, options = LEFT[name]
    layer = make()
    x = sequences()
    layer.build(x.shape)
    adapter.install()
    try:
        results(layer, x, **options)
    except RuntimeError as error:  # PyTorch has no half-precision products on every CPU
        assert "not implemented" in str(error)  # noqa: PT017
    assert taken == [False]


def test_integers_are_left_to_keras(taken: list[bool]) -> None:
    layer, x = built("LSTM"), np.ones((B, T, I), "int32")
    expected = results(layer, x)
    adapter.install()
    np.testing.assert_array_equal(results(layer, x), expected)
    assert taken == [False]


def test_inputs_stay_as_they_are() -> None:
    layer = built("LSTM", return_sequences=True, return_state=True)
    x, mask, h_0 = sequences(), MASKS["holes"].copy(), states_of("LSTM")
    before = [x.copy(), mask.copy(), *(ops.convert_to_numpy(one).copy() for one in h_0)]
    adapter.install()
    results(layer, x, mask, initial_state=h_0)
    after = [x, mask, *(ops.convert_to_numpy(one) for one in h_0)]
    for one, other in zip(after, before, strict=True):
        np.testing.assert_array_equal(one, other)


# --- to install --------------------------------------------------------------------------------


def test_installing_twice_is_installing_once() -> None:
    before = {layer: vars(layer).get("inner_loop") for layer in installed._LAYERS}
    for _ in range(2):
        adapter.install()
    during = {layer: vars(layer).get("inner_loop") for layer in installed._LAYERS}
    assert all(during[layer] is not before[layer] for layer in before)
    for _ in range(2):
        adapter.uninstall()
    assert {layer: vars(layer).get("inner_loop") for layer in installed._LAYERS} == before


def test_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras, "__version__", "3.4.1")
    with pytest.raises(RuntimeError, match=r"^Keras must be one of 3.5 to 3.\d+, got 3.4.1$"):
        adapter.install()
    monkeypatch.setattr(keras, "__version__", "4.0.0")
    with pytest.warns(RuntimeWarning, match=r"known to work with Keras 3.5 to .*, got 4.0.0"):
        adapter.install()


def test_another_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match=r"^Keras must run on its backend 'numpy' or 'torch', "):
        adapter.install()


def test_another_way_of_calling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers.GRU, "inner_loop", lambda self, x: x)
    with pytest.raises(RuntimeError, match=r"^GRU.inner_loop of Keras must have the parameters "):
        adapter.install()
    assert not installed._before


# --- gradients ---------------------------------------------------------------------------------


def gradients(layer: Any, mask: Any, *, last_alone: bool) -> list[np.ndarray]:
    """Return those of a sum of squares, of the sequences, the states and the weights."""
    import torch

    cell = type(layer).__name__
    x = torch.from_numpy(sequences("float64")).requires_grad_()
    states = [one.clone().requires_grad_() for one in states_of(cell, "float64")]
    mask = None if mask is None else torch.from_numpy(mask)
    output, *last = layer(x, initial_state=states, mask=mask)
    weights = [variable.value for variable in layer.trainable_variables]
    loss = sum((one**2).sum() for one in (last if last_alone else [output, *last]))
    return [one.numpy() for one in torch.autograd.grad(loss, [x, *states, *weights])]


@on_torch
@each_cell
@each_mask
def test_gradients(taken: list[bool], cell: str, mask: str) -> None:
    for last_alone in (False, True):
        adapter.uninstall()
        layer = built(
            cell, "float64", return_sequences=not last_alone, return_state=True,
            go_backwards=last_alone, use_bias=not last_alone,
        )  # fmt: skip
        expected = gradients(layer, MASKS[mask], last_alone=last_alone)
        adapter.install()
        actual = gradients(layer, MASKS[mask], last_alone=last_alone)
        for got, want in zip(actual, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert all(taken)


@on_torch
def test_training_is_the_same() -> None:
    x, y = sequences(), np.random.default_rng(8).standard_normal((B, H)).astype("f4")

    def losses() -> Any:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([layers.LSTM(H, return_sequences=True), layers.GRU(H)])
        model.compile("adam", "mse")
        return model.fit(x, y, epochs=5, verbose=0).history["loss"]

    expected = losses()
    adapter.install()
    np.testing.assert_allclose(losses(), expected, rtol=1e-5)
    assert expected[-1] < expected[0]


@on_torch
def test_second_derivatives_are_refused() -> None:
    import torch

    layer = built("LSTM", "float64")
    adapter.install()
    x = torch.from_numpy(sequences("float64")).requires_grad_()
    (grad,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    assert grad.requires_grad
    with pytest.raises(RuntimeError, match=r"have no derivatives: uninstall\(\) "):
        (grad.sum() + x.sum()).backward()


@on_torch
def test_what_is_written_to_before_the_way_back_is_noticed() -> None:
    import torch

    layer = built("LSTM", "float64")
    adapter.install()
    x = torch.from_numpy(sequences("float64")).requires_grad_() * 1.0
    loss = layer(x).sum()
    x.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@on_torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_transforms_are_left_to_keras(taken: list[bool]) -> None:
    import torch

    layer, x = built("GRU", "float64"), torch.from_numpy(sequences("float64"))
    with torch.no_grad():
        expected = torch.func.jvp(layer, (x,), (x,))
        adapter.install()
        actual = torch.func.jvp(layer, (x,), (x,))
        traced = torch.jit.trace(layer, (x,), check_trace=False)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(traced(2 * x), layer(2 * x), rtol=1e-6, atol=1e-6)
    assert taken == [False, False, True]


# --- layers ------------------------------------------------------------------------------------

CONVERTED = {
    "LSTM": er.LSTM, "GRU": er.GRU, "GRU before": er.GRU, "SimpleRNN": er.RNN,
    "SimpleRNN relu": er.RNN,
}  # fmt: skip


def assert_converted(layer: Any, outputs: Callable[[Any], Any] = lambda y: y) -> Any:
    """Compare a layer of ours, with what it gives otherwise, with one of Keras that returns all."""
    ours, x = convert.from_keras(layer), sequences(layer.get_weights()[0].dtype)
    for mask in MASKS.values():
        expected, *states = results(layer, x, mask)
        output, last = ours(x, mask=mask, padding_fill="repeat")
        np.testing.assert_allclose(outputs(output), expected, rtol=2e-6, atol=1e-6)
        for got, want in zip(_all_states(ours, last), states, strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6)
    return ours


def _all_states(ours: Any, last: Any) -> list[np.ndarray]:
    """Return the states in the order of Keras: one direction's after the other's."""
    parts = last if isinstance(last, tuple) else (last,)
    return [part[k] for k in range(len(parts[0])) for part in parts]


@each_cell
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_layer(dtype: Any, cell: str, use_bias: bool) -> None:
    layer = built(cell, dtype, return_sequences=True, return_state=True, use_bias=use_bias)
    ours = assert_converted(layer)
    assert type(ours) is CONVERTED[cell]
    assert (ours.input_size, ours.hidden_size, ours.bias) == (I, H, use_bias)
    assert ours.dtype == dtype


@each_cell
def test_a_layer_that_goes_backwards(cell: str) -> None:
    layer = built(cell, return_sequences=True, return_state=True, go_backwards=True)
    ours, x = convert.from_keras(layer), sequences()
    assert ours.reverse
    output, last = ours(x)
    expected, *states = results(layer, x)
    np.testing.assert_allclose(output[:, ::-1], expected, rtol=2e-6, atol=1e-6)
    for got, want in zip(_all_states(ours, last), states, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6)


@each_cell
@pytest.mark.parametrize("merge", ["concat", "sum", "ave", "mul"])
def test_two_directions(cell: str, merge: str) -> None:
    layer = built(
        cell, return_sequences=True, return_state=True,
        wrap=lambda one: layers.Bidirectional(one, merge_mode=merge),
    )  # fmt: skip
    ours, x = convert.from_keras(layer), sequences()
    assert ours.merge == {"ave": "mean"}.get(merge, merge)
    for mask in MASKS.values():
        expected, *states = results(layer, x, mask)
        output, last = ours(x, mask=mask)  # a Bidirectional has zeros at masked steps
        np.testing.assert_allclose(output, expected, rtol=2e-6, atol=1e-6)
        for got, want in zip(_all_states(ours, last), states, strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"dropout": 0.5}, {"recurrent_dropout": 0.5}, {"unroll": True}, {"stateful": True},
     {"return_state": False}, {"return_sequences": False}, {"implementation": 1},
     {"use_cudnn": False}, {"zero_output_for_mask": True}],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_options_that_change_no_number(options: dict[str, Any]) -> None:
    layer = built("LSTM", **{"return_sequences": True} | options)
    ours, x = convert.from_keras(layer), sequences()
    output, _ = ours(x)
    expected = results(layer, x)[0]
    np.testing.assert_allclose(
        output if expected.ndim == 3 else output[:, -1], expected, rtol=2e-6, atol=1e-6
    )


@pytest.mark.parametrize("frozen", ["forward_layer", "backward_layer"])
def test_a_frozen_direction(monkeypatch: pytest.MonkeyPatch, frozen: str) -> None:
    layer = built("GRU", wrap=layers.Bidirectional)
    parts = [layer.forward_layer, layer.backward_layer]
    getattr(layer, frozen).trainable = False
    expected = convert.from_keras(layer)
    # Keras 2 has the weights that are trained first, in whatever direction they are.
    parts.sort(key=lambda part: part.trainable, reverse=True)
    weights = [array for part in parts for array in part.get_weights()]
    monkeypatch.setattr(layer, "get_weights", lambda: weights)
    found = convert.from_keras(layer)
    for name, array in expected.state_dict().items():
        np.testing.assert_array_equal(found.state_dict()[name], array)


@pytest.mark.parametrize("table_dtype", ["float32", "float64", "float16"])
def test_an_embedding(table_dtype: str) -> None:
    layer, ids = layers.Embedding(9, 3, mask_zero=True, dtype=table_dtype), np.arange(9)[::-1]
    layer.build()
    layer.set_weights(layer.get_weights())
    ours = convert.from_keras(layer)
    assert type(ours) is er.Embedding
    np.testing.assert_array_equal(ours(ids), results(layer, ids)[0])
    layer.set_weights([np.zeros((9, 3))])
    assert ours(ids).any()  # a copy


def two_different(**options: Any) -> Any:
    return layers.Bidirectional(
        layers.LSTM(H), backward_layer=layers.LSTM(**{"units": H, "go_backwards": True} | options)
    )


def tanh(x: Any) -> Any:
    return 2 * x


def lora() -> Any:
    layer = layers.Embedding(9, 3)
    layer.build()
    layer.enable_lora(2)
    return layer


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no layer": (lambda: np.ones(3), TypeError,
                 "layer must be a Keras SimpleRNN, GRU, LSTM, Bidirectional of one, or Embedding, "
                 "got ndarray"),
    "a class": (lambda: layers.Dense(3), TypeError, "layer must be .* got Dense"),
    "a stack of cells": (lambda: layers.RNN([layers.LSTMCell(3)]), TypeError,
                         "layer must be .* got RNN"),
    "activation": (lambda: layers.LSTM(H, activation="relu"), ValueError,
                   "layer must have the activation 'tanh', got 'relu'"),
    "activation of a SimpleRNN": (lambda: layers.SimpleRNN(H, activation="elu"), ValueError,
                                  "layer must have the activation 'tanh' or 'relu', got 'elu'"),
    "no activation": (lambda: layers.GRU(H, activation=None), ValueError,
                      "layer must have the activation 'tanh', got 'linear'"),
    "recurrent activation": (
        lambda: layers.GRU(H, recurrent_activation="hard_sigmoid"), ValueError,
        "layer must have the recurrent_activation 'sigmoid', got 'hard_sigmoid'"),
    "a function of that name": (lambda: layers.LSTM(H, activation=tanh), ValueError,
                                r"layer must have the activation 'tanh', got 'tanh' of \S+$"),
    "not built": (lambda: layers.LSTM(H), ValueError, "layer must be built: call it once"),
    "not built in two directions": (lambda: layers.Bidirectional(layers.LSTM(H)), ValueError,
                                    "layer must be built: call it once"),
    "no merging": (lambda: layers.Bidirectional(layers.LSTM(H), merge_mode=None), ValueError,
                   "layer must have a merge_mode of 'concat', 'sum', 'ave' or 'mul', got None"),
    "the first goes backwards": (
        lambda: layers.Bidirectional(layers.LSTM(H, go_backwards=True),
                                     backward_layer=layers.LSTM(H)),
        ValueError, "layer.forward_layer must have go_backwards False, and layer.backward_layer"),
    "two sizes": (lambda: two_different(units=H + 1), ValueError,
                  "layer must have two directions that differ in nothing but their weights"),
    "one bias": (lambda: two_different(use_bias=False), ValueError,
                 "layer must have two directions that differ in nothing but their weights"),
    "activation of one": (lambda: two_different(activation="relu"), ValueError,
                          "layer.backward_layer must have the activation 'tanh', got 'relu'"),
    "a direction": (lambda: layers.Bidirectional(layers.RNN(layers.LSTMCell(3))), TypeError,
                    "layer.forward_layer must be a SimpleRNN, GRU or LSTM, got RNN"),
    "an embedding not built": (lambda: layers.Embedding(9, 3), ValueError,
                               "layer must be built, with one table .* got arrays: none"),
    "LoRA": (lora, ValueError, "layer must be built, with one table .* got arrays: float32"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_are_refused(name: str) -> None:
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=f"^{message}"):
        convert.from_keras(make())


def test_a_quantized_table_is_refused() -> None:
    layer = layers.Embedding(9, 3)
    layer.build()
    layer.quantize("int8")
    with pytest.raises(ValueError, match=r"one table of floating-point numbers .*int8"):
        convert.from_keras(layer)


def test_weights_of_half_precision_are_refused() -> None:
    layer = built("LSTM", "float16", recurrent_initializer="zeros")
    with pytest.raises(TypeError, match=r"weights of float32 or float64, got float16$"):
        convert.from_keras(layer)


# --- the other backend -------------------------------------------------------------------------


@pytest.mark.skipif(BACKEND == "torch", reason="this is the turn of another backend")
@pytest.mark.slow
def test_all_of_this_on_pytorch() -> None:
    pytest.importorskip("torch")
    source = str(Path(er.__file__).parents[1])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=os.environ
        | {"KERAS_BACKEND": "torch", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)
