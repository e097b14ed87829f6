"""Keras, on the backend of the process, with its recurrent layers run here and without."""

import os
from functools import partial
from importlib.util import find_spec
from typing import Any

from embedrnn.bench.peers import OURS, Contestant, contestant_of
from embedrnn.bench.workloads import Array
from stacks import StackedModel

contestant = contestant_of("keras")

# Keras reads it when it is imported. Its NumPy backend imports JAX.
os.environ.setdefault("KERAS_BACKEND", "torch" if find_spec("torch") else "numpy")


def _model(work: StackedModel) -> Any:
    """Return a model with the same weights in every call."""
    import keras

    keras.utils.set_random_seed(0)
    cell = getattr(keras.layers, work.cell.upper())
    model = keras.Sequential([
        keras.layers.Embedding(work.n_rows, work.hidden, mask_zero=True),
        *(cell(work.hidden, return_sequences=True) for _ in range(work.n_layers)),
    ])  # fmt: skip
    model.build(work.ids.shape)
    return model


def run_model(here: bool, work: StackedModel, _threads: int) -> Contestant:
    """Run the model; what takes turns in one process is which of the two runs a layer."""
    from keras import ops

    from embedrnn.adapters.keras import calls, install

    install()
    model, ids = _model(work), ops.convert_to_tensor(work.ids)
    ours = calls.run

    def run() -> Any:
        vars(calls)["run"] = ours if here else _never
        try:
            return model(ids)
        finally:
            vars(calls)["run"] = ours

    def answer(got: Any) -> Array:
        valid: Array = ops.convert_to_numpy(got)[work.ids != 0]
        return valid

    return Contestant(run, answer)


def _never(*_: Any) -> None:
    """Leave a call to Keras."""


if find_spec("torch") or find_spec("jax"):
    for _operation in ("keras_gru", "keras_lstm"):
        contestant(_operation, OURS)(partial(run_model, True))
        contestant(_operation, "Keras")(partial(run_model, False))
