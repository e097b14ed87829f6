"""Good calls to everything public, and the table of arguments that each of them refuses."""

import operator
import re
import tempfile
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

import embedrnn as er
from cases import LAYERS, RnnCase, cell_arguments, values

Arguments = dict[str, Any]

# A call, its changed arguments, of which the first is the bad one, the exception, and the words
# that its message begins with.
Row = tuple[str, Arguments, type[Exception], str]

# --- good calls ----------------------------------------------------------------------------------


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def gather_arguments() -> Arguments:
    out = np.full((2, 3), 7, np.float32)
    return {
        "weight": values((5, 3), "f4"),
        "indices": np.array([0, 1]),
        "out": out,
        "mode": "raise",
    }


def scatter_add_arguments() -> Arguments:
    updates = values((2, 3), "f4", seed=1)
    return {"target": values((5, 3), "f4"), "indices": np.array([0, 1]), "updates": updates}


def forward_arguments(cell: str) -> Arguments:
    arguments = cell_arguments(RnnCase("small", 3, 7, 2, 4), np.float32, cell)
    return arguments | {"out": np.full((3, 7, 4), 7, np.float32)}


def vjp_arguments(cell: str) -> Arguments:
    arguments = cell_arguments(RnnCase("small", 3, 7, 2, 4), np.float32, cell)
    return arguments | {"resets": np.arange(21).reshape(3, 7) % 4 == 0}


def cotangents(result: tuple[Any, Callable[..., Any]]) -> Arguments:
    """Return a backward of a recurrence, and gradients of all that came out."""
    (output, state), backward = result
    return {"self": backward, "grad_output": output, "grad_state": state}


def bag_arguments() -> Arguments:
    return {
        "weight": values((5, 3), "f4"),
        "indices": np.array([0, 1, 4]),
        "offsets": np.array([0]),
    }


def state_of(cell: str) -> Any:
    return (zeros(1, 3, 4), zeros(1, 3, 4)) if cell == "LSTM" else zeros(1, 3, 4)


def parameters_of(layer: Any) -> dict[str, np.ndarray]:
    """Return the parameters of a layer as arrays that can be written to."""
    return {name: array.copy() for name, array in layer.state_dict().items()}


def bounded(name: str, **others: Any) -> Any:
    """Return a layer that scales rows down: a look-up that is refused must not have done so."""
    options = others | ({"mode": "sum"} if name == "EmbeddingBag" else {})
    return getattr(er, name).from_pretrained(values((5, 3), "f4"), max_norm=0.1, **options)


def int8_layer(name: str) -> Any:
    return bounded(name).quantize()


def int8_arguments() -> Arguments:
    codes = zeros(5, 3, dtype=np.int8)
    return {"codes": codes, "scale": zeros(5) + 1, "offset": zeros(5)}


def backward_arguments(output: np.ndarray, backward: Callable[..., Any]) -> Arguments:
    return {"self": backward, "grad_output": np.zeros_like(output)}


def layer_calls(name: str, make: Callable[[], Any]) -> dict[str, Callable[[], Arguments]]:
    """Return the calls that every layer has."""
    return {
        f"{name}.load_state_dict": lambda: {"self": make(), "state_dict": parameters_of(make())},
        f"{name}.from_state_dict": lambda: {"state_dict": parameters_of(make())},
        f"{name}.update": lambda: {"self": make(), "parameters": parameters_of(make())},
    }


def recurrent_layer_calls(name: str) -> dict[str, Callable[[], Arguments]]:
    def make() -> Any:
        return getattr(er, name)(2, 4)

    return layer_calls(name, make) | {
        name: lambda: {"input_size": 2, "hidden_size": 4},
        f"{name}.__call__": lambda: {
            "self": make(), "x": zeros(3, 7, 2), "lengths": np.array([7, 0, 3]),
            "state": state_of(name),
        },
        f"{name}.step": lambda: {
            "self": make(), "x_t": zeros(3, 2), "state": state_of(name), "out": zeros(3, 4) + 7,
        },
        f"{name}.vjp": lambda: {
            "self": make(), "x": zeros(3, 7, 2), "lengths": np.array([7, 0, 3]),
            "state": state_of(name), "resets": np.ones((3, 7), bool),
        },
        f"{name}.vjp.backward": lambda: cotangents(make().vjp(zeros(3, 7, 2))),
    }  # fmt: skip


def table_layer_calls(name: str, **indices: Any) -> dict[str, Callable[[], Arguments]]:
    return layer_calls(name, lambda: bounded(name)) | {
        name: lambda: {"num_embeddings": 5, "embedding_dim": 3},
        f"{name}.from_pretrained": lambda: {"weight": values((5, 3), "f4")},
        f"{name}.__call__": lambda: {"self": bounded(name)} | indices,
        f"{name}.vjp": lambda: {"self": bounded(name)} | indices,
        f"{name}.vjp.backward": lambda: backward_arguments(*bounded(name).vjp(**indices)),
    }


def keras_layer(**options: Any) -> Any:
    """Return what answers as a layer of Keras does."""
    config = {"activation": "tanh", "recurrent_activation": "sigmoid"} | options
    weights = [zeros(2, 16), zeros(4, 16), zeros(16)]
    methods = {"get_config": lambda _: config, "get_weights": lambda _: weights}
    return type("LSTM", (), methods)()


def encoder(**options: Any) -> er.Encoder:
    """Return an encoder whose look-ups scale rows down, which one that is refused must not do."""
    return er.Encoder(bounded("Embedding", **options), er.GRU(3, 4, rng=0))


@cache
def file_of_encoder() -> Any:
    """Return a file that holds a frozen encoder, and goes when Python ends."""
    file = tempfile.NamedTemporaryFile(suffix=".npz")  # noqa: SIM115
    encoder().freeze().save(file.name)
    return file


def vocabulary(**options: Any) -> er.Vocabulary:
    return er.Vocabulary(["<pad>", "a", "b"], padding="<pad>", **options)


@cache
def file_of_words(binary: bool) -> Any:
    """Return a file of words, or of vectors of ours, that goes when Python ends."""
    file = tempfile.NamedTemporaryFile(suffix=".npz")  # noqa: SIM115
    if binary:
        er.vectors.save(file.name, vocabulary(), zeros(3, 2))
    else:
        vocabulary().save(file.name)
    return file


# A model of ONNX with a graph that has nothing in it: the field 7, of no bytes.
EMPTY_GRAPH = bytes([7 << 3 | 2, 0])


def onnx_node() -> er.convert.OnnxNode:
    weights = {"W": zeros(1, 12, 3), "R": zeros(1, 12, 4)}
    return er.convert.OnnxNode("GRU", "cell", "", {}, {"X": None, **weights})


def encoder_calls(name: str, make: Callable[[], Any]) -> dict[str, Callable[[], Arguments]]:
    """Return the calls that both kinds of encoders have."""
    return {
        f"{name}.__call__": lambda: encoder_arguments(make()),
        f"{name}.step": lambda: {
            "self": make(), "ids_t": np.array([1, 0, 4]), "state": state_of("GRU"),
        },
        f"{name}.encode": lambda: {"self": make(), "sequences": [[1, 2], [3]]},
    }  # fmt: skip


def encoder_arguments(self: Any) -> Arguments:
    ids = np.arange(21).reshape(3, 7) % 5
    return {"self": self, "ids": ids, "lengths": np.array([7, 0, 3]), "state": state_of("GRU")}


def row_grad() -> er.RowGrad:
    return er.RowGrad(np.array([0, 4]), values((2, 3), "f4"))


def optimizer(**options: Any) -> er.optim.SGD:
    """Return an optimiser with a state, which a step that is refused must not change."""
    return er.optim.SGD({"w": values((5, 3), "f4")}, momentum=0.9, **options)


# The recurrent functions, and the cell that each runs by default.
FORWARDS = {f"{name.lower()}_forward": cell for name, cell in LAYERS.items()}
VJPS = {f"{name.lower()}_vjp": cell for name, cell in LAYERS.items()}
RECURRENCES = FORWARDS | VJPS


def backward_of(call: str) -> Arguments:
    return cotangents(getattr(er, call)(**vjp_arguments(VJPS[call])))


# The arguments of a good call to each public function, class and method; a method has its object
# as `self`.
CALLS: dict[str, Callable[[], Arguments]] = {
    "gather": gather_arguments,
    "scatter_add": scatter_add_arguments,
    "coalesce": lambda: {
        "indices": np.array([0, 1]), "updates": values((2, 3), "f4"), "num_embeddings": 5,
    },
    "RowGrad.to_dense": lambda: {
        "self": er.RowGrad(np.array([1]), zeros(1, 2)), "num_embeddings": 3,
    },
    "RowGrad.astype": lambda: {"self": er.RowGrad(np.array([1]), zeros(1, 2)), "dtype": "f8"},
    "embedding_bag": bag_arguments,
    "embedding_bag_argmax": bag_arguments,
    "embedding_bag_vjp": bag_arguments,
    "embedding_bag_vjp.backward": lambda: {
        **backward_arguments(*er.embedding_bag_vjp(**bag_arguments())), "into": zeros(5, 3),
    },
    "quantize_rows": lambda: {"weight": values((5, 3), "f4"), "dtype": "int8"},
    "QuantizedRows": lambda: {"rows": zeros(5, 11, dtype=np.uint8)},
    "QuantizedRows.from_arrays": int8_arguments,
    "QuantizedRows.from_fused": lambda: {"rows": zeros(5, 11, dtype=np.uint8)},
    **{call: partial(forward_arguments, cell) for call, cell in FORWARDS.items()},
    **{call: partial(vjp_arguments, cell) for call, cell in VJPS.items()},
    **{f"{call}.backward": partial(backward_of, call) for call in VJPS},
    "Packed": lambda: {
        "data": zeros(5, 2), "batch_sizes": np.array([3, 2]),
        "sorted_indices": np.array([2, 0, 1]),
    },
    "pad": lambda: {"sequences": [np.array([3, 1]), np.array([4])], "value": 0, "side": "left"},
    "unpad": lambda: {"padded": zeros(3, 7, 2), "lengths": [7, 0, 3], "side": "left"},
    **{call: good for name in LAYERS for call, good in recurrent_layer_calls(name).items()},
    **table_layer_calls("Embedding", indices=np.array([0, 1, 4])),
    **table_layer_calls("EmbeddingBag", indices=np.array([0, 1, 4]), offsets=np.array([0])),
    "Encoder": lambda: {"embedding": er.Embedding(5, 3), "recurrent": er.GRU(3, 4)},
    **encoder_calls("Encoder", encoder),
    "Encoder.vjp": lambda: encoder_arguments(encoder()),
    "Encoder.vjp.backward": lambda: cotangents(encoder().vjp(np.ones((3, 7), int))),
    "Encoder.freeze": lambda: {"self": encoder()},
    **encoder_calls("FrozenEncoder", lambda: encoder().freeze()),
    "FrozenEncoder.load": lambda: {"path": file_of_encoder().name},
    "Vocabulary": lambda: {"tokens": ["a", "b"], "padding": "a", "unknown": "b"},
    "Vocabulary.from_counts": lambda: {
        "counts": {"a": 2, "b": 1}, "min_count": 1, "max_size": 5, "padding": "<pad>",
        "unknown": "<unk>", "special": ["<end>"],
    },
    "Vocabulary.from_sequences": lambda: {
        "sequences": [["a", "b"], ["b"]], "min_count": 1, "max_size": 5, "padding": "<pad>",
        "unknown": "<unk>", "special": ["<end>"],
    },
    "Vocabulary.ids": lambda: {"self": vocabulary(), "tokens": ["a", "b"]},
    "Vocabulary.encode": lambda: {
        "self": vocabulary(), "sequences": [["a", "b"], ["b"]], "padded": True,
    },
    "Vocabulary.decode": lambda: {
        "self": vocabulary(), "ids": np.array([[1, 2], [2, 0]]), "lengths": np.array([2, 1]),
    },
    "Vocabulary.load": lambda: {"path": file_of_words(binary=False).name, "padding": "<pad>"},
    "vectors.load": lambda: {
        "path": file_of_words(binary=True).name, "dtype": "f4", "limit": 3, "errors": "strict",
        "bad_lines": "raise", "progress": False,
    },
    "convert.from_onnx_weights": lambda: {
        "W": zeros(2, 16, 3), "R": zeros(2, 16, 4), "B": zeros(2, 32), "P": zeros(2, 12)
    },
    "convert.from_onnx": lambda: {"source": onnx_node()},
    "convert.load_onnx": lambda: {"source": EMPTY_GRAPH},
    "convert.load_onnx_initializers": lambda: {"source": EMPTY_GRAPH},
    "convert.to_onnx_weights": lambda: {"parameters": parameters_of(er.LSTM(2, 4))},
    "convert.from_keras": lambda: {"layer": keras_layer()},
    "convert.from_keras_weights": lambda: {"weights": [zeros(2, 12), zeros(4, 12), zeros(2, 12)]},
    "convert.to_keras_weights": lambda: {"parameters": parameters_of(er.LSTM(2, 4))},
    "convert.from_tf1_weights": lambda: {
        "variables": {"kernel": zeros(6, 16), "bias": zeros(16)}, "cell": "lstm",
    },
    "convert.from_coreml_weights": lambda: {
        "W_h": [zeros(4, 4)] * 4, "W_x": [zeros(4, 2)] * 4, "b": [zeros(4)] * 4,
    },
    "convert.from_flax_weights": lambda: {
        "params": {"i": {"kernel": zeros(2, 4), "bias": zeros(4)}, "h": {"kernel": zeros(4, 4)}},
    },
    "convert.from_cudnn_weights": lambda: {
        "params": zeros(16 * 8), "cell": "lstm", "input_size": 2, "hidden_size": 4,
    },
    **{
        f"optim.{name}": lambda: {"parameters": {"w": values((5, 3), "f4")}}
        for name in er.optim.__all__
    },
    "optim.SGD.step": lambda: {"self": optimizer(), "grads": {"w": row_grad()}},
    "optim.SGD.load_state_dict": lambda: {
        "self": optimizer(), "state_dict": optimizer().state_dict(),
    },
    "optim.SGD.catch_up": lambda: {"self": optimizer(catch_up=True), "rows": {"w": [0, 4]}},
    "clip_grad_norm": lambda: {"grads": {"w": values((5, 3), "f4"), "v": row_grad()},
                               "max_norm": 0.5},
    "set_num_threads": lambda: {"n": 1},
    "use_backend": lambda: {"name": "numpy"},
}  # fmt: skip


def run_backward(self: Callable[..., Any], **arguments: Any) -> Any:
    return self(**arguments)


def run_packed(**fields: Any) -> Any:
    """Sequences are checked by the layer that they come to."""
    return er.RNN(2, 4, rng=0)(er.Packed(**fields))


def enter_backend(name: str) -> None:
    with er.use_backend(name):
        pass


def function_of(call: str) -> Callable[..., Any]:
    """Return what is called: mostly what has that name in embedrnn."""
    if call.endswith(".backward"):
        return run_backward
    others: dict[str, Callable[..., Any]] = {"Packed": run_packed, "use_backend": enter_backend}
    return others.get(call) or operator.attrgetter(call)(er)


# What a message may name in place of an argument: the part of it that is wrong.
PARTS = {
    "counts": "sequences",
    "ids": "index|row",
    "ids_t": "index",
    "mask": "lengths",
    "path": "cannot be (mapped|read)|No such file",
    "rows": "index",
    "grads": "index|values",
    "indices": "index",
    "name": "backend",
    "offsets": "offset",
    "parameters": "(weight|bias)_|^w ",
    "self": "index|step|int8 rows",
    "source": "No such file",
    "state": "[hc]_0",
    "state_dict": "weight|No such file",
    "variables": "kernel|bias",
}


def names_the_argument(argument: str, words: str) -> bool:
    return bool(re.search(rf"\b{argument}\b|{PARTS.get(argument, argument)}", words))


# --- refused arguments ---------------------------------------------------------------------------

UINT64_MAX = np.array([0, 2**64 - 1], np.uint64)
PACKED = er.Packed(zeros(5, 2), np.array([3, 2]))
BAD_LENGTHS: dict[str, tuple[Any, type[Exception], str]] = {
    "negative": ([3, -1, 2], ValueError, "lengths[1] must be between 0 and 7, got -1"),
    "too_long": ([3, 7, 9], ValueError, "lengths[2] must be between 0 and 7, got 9"),
    "first_of_two": ([8, 7, 9], ValueError, "lengths[0] must be between 0 and 7, got 8"),
    "int64_min": ([3, -(2**63), 0], ValueError,
                  f"lengths[1] must be between 0 and 7, got {-(2**63)}"),
    "uint64_max": (np.array([0, 0, 2**64 - 1], np.uint64), ValueError,
                   f"lengths[2] must be between 0 and 7, got {2**64 - 1}"),
    "int8": (np.array([0, 0, -1], np.int8), ValueError,
             "lengths[2] must be between 0 and 7, got -1"),
    "too_many": ([1, 2, 3, 4], ValueError, "lengths must have shape (3,), got (4,)"),
    "scalar": (3, ValueError, "lengths must have shape (3,), got ()"),
    "column": ([[1], [2], [3]], ValueError, "lengths must have shape (3,), got (3, 1)"),
    "float": ([1.0, 2.0, 3.0], TypeError, "lengths must be integers, got float64"),
    "bool": ([True, False, True], TypeError, "lengths must be integers, got bool"),
}  # fmt: skip


def gather_rows() -> list[Row]:
    """Look-ups in a table of int8 rows, which have checks of their own."""
    rows: list[Row] = [
        ("gather", {"indices": [0, 5]}, IndexError,
         "index 5 at position 1 is out of range for weight with 5 rows"),
        ("gather", {"indices": [0.0, 1.0]}, TypeError, "indices must be integers, got float64"),
        ("gather", {"mode": "warp"}, ValueError,
         "mode must be 'raise' or 'wrap' or 'clip' or 'strict', got 'warp'"),
        ("gather", {"indices": [4, -1], "mode": "strict"}, IndexError,
         "index -1 at position 1 is out of range for weight with 5 rows: expected 0 <= index < 5"),
        *(("gather", {"axis": axis}, ValueError,
           f"axis must be 0 where weight is QuantizedRows, got {axis}") for axis in (1, -1, None)),
        ("gather", {"axis": 2}, np.exceptions.AxisError, "axis must be in [-2, 2), got 2"),
        ("gather", {"out": [[0, 0, 0]] * 2}, TypeError, "out must be an ndarray, got list"),
        ("gather", {"out": zeros(2, 4)}, ValueError, "out must have shape (2, 3), got (2, 4)"),
        ("gather", {"out": masked(zeros(2, 3))}, TypeError, "out must be an array without a mask"),
        *(("gather", {"out": zeros(2, 3, dtype=dtype)}, TypeError,
           f"out must be float32, float16 or bfloat16, got {dtype}")
          for dtype in ("float64", ">f2", ">f4", "int16")),
        ("gather", {"out": zeros(2, 4, dtype="f2")}, ValueError,
         "out must have shape (2, 3), got (2, 4)"),
        *(("gather", {"out": read_only(zeros(2, 3, dtype=dtype))}, ValueError, "out is read-only")
          for dtype in ("f4", "f2")),
    ]  # fmt: skip
    quantized = {"weight": er.quantize_rows(zeros(5, 3))}
    return [(call, changes | quantized, error, words) for call, changes, error, words in rows]


def axis_rows() -> list[Row]:
    """Look-ups along other axes than the first, and axes that there are not."""
    columns: Arguments = {"axis": 1, "out": np.full((5, 2), 7, np.float32)}
    at_once = "is out of range for axis 1 of weight with 3 elements: expected"
    changed: list[tuple[Arguments, type[Exception], str]] = [
        ({"indices": [0, 3]}, IndexError, f"index 3 at position 1 {at_once} -3 <= index < 3"),
        ({"indices": [[-4, 9]], "out": None}, IndexError,
         f"index -4 at position (0, 0) {at_once} -3 <= index < 3"),
        ({"indices": UINT64_MAX}, IndexError, f"index {2**64 - 1} at position 1 {at_once}"),
        ({"indices": [0, -1], "mode": "strict"}, IndexError,
         f"index -1 at position 1 {at_once} 0 <= index < 3"),
        ({"indices": [1, 0], "weight": zeros(5, 0), "mode": "clip"}, IndexError,
         "index 1 at position 0 is out of range for axis 1 of weight with 0 elements: no index"),
        ({"indices": [0.0, 1.0]}, TypeError, "indices must be integers, got float64"),
        ({"mode": "warp"}, ValueError, "mode must be 'raise' or 'wrap' or 'clip' or 'strict', got"),
        ({"weight": None}, TypeError, "weight must be array_like, got NoneType"),
        ({"out": zeros(2, 3)}, ValueError, "out must have shape (5, 2), got (2, 3)"),
        ({"out": zeros(5, 2, dtype="f8")}, TypeError, "out must be float32, got float64"),
        ({"out": [[0, 0]] * 5}, TypeError, "out must be an ndarray, got list"),
        ({"out": read_only(zeros(5, 2))}, ValueError, "out is read-only"),
    ]  # fmt: skip
    no_axis: list[Row] = [
        *(("gather", {"axis": axis}, np.exceptions.AxisError,
           f"axis must be in [-2, 2), got {axis}: weight has 2 axes") for axis in (2, -3, 2**70)),
        ("gather", {"axis": 1, "weight": [1.0, 2.0]}, np.exceptions.AxisError,
         "axis must be in [-1, 1), got 1: weight has 1 axis"),
        ("gather", {"axis": 1.0}, TypeError, "axis must be an integer, got float"),
        ("gather", {"axis": "1"}, TypeError, "axis must be an integer, got str"),
        ("gather", {"axis": np.array([0, 1])}, TypeError, "axis must be an integer, got ndarray"),
        ("gather", {"weight": np.float32(1), "axis": -1}, ValueError,
         "weight must have at least one axis, got a scalar"),
        ("gather", {"out": zeros(2, 3), "axis": None}, ValueError,
         "out must have shape (2,), got (2, 3)"),
        ("gather", {"indices": [15, 0], "axis": None, "out": None}, IndexError,
         "index 15 at position 0 is out of range for weight with 15 "),
    ]  # fmt: skip
    # The changed arguments come first, and count.
    of_columns: list[Row] = [
        ("gather", changes | columns | changes, error, words) for changes, error, words in changed
    ]
    return [*of_columns, *no_axis]


def coalesce_rows() -> list[Row]:
    return [
        ("coalesce", {"indices": [0, 5]}, IndexError,
         "index 5 at position 1 is out of range for a table with 5 rows"),
        ("coalesce", {"indices": [[0, -6]], "updates": zeros(1, 2)}, IndexError,
         "index -6 at position (0, 1) is out of range for a table with 5 rows"),
        ("coalesce", {"indices": UINT64_MAX}, IndexError,
         f"index {2**64 - 1} at position 1 is out of range"),
        ("coalesce", {"indices": [3, -2], "num_embeddings": None}, IndexError,
         "index -2 at position 1 counts from the end of a table of unknown size"),
        ("coalesce", {"indices": [[0, -6]], "updates": zeros(1, 2), "num_embeddings": None},
         IndexError, "index -6 at position (0, 1) counts from the end"),
        ("coalesce", {"indices": [0.0, 1.0]}, TypeError, "indices must be integers, got float64"),
        ("coalesce", {"indices": [True, False]}, TypeError, "indices must be integers, got bool"),
        ("coalesce", {"indices": None}, TypeError, "indices must be array_like, got NoneType"),
        ("coalesce", {"indices": (0, 1)}, TypeError, "indices must be one array of row numbers"),
        ("coalesce", {"updates": zeros(3, 3)}, ValueError,
         "updates must have shape indices.shape + (...) = (2,) + (...), got (3, 3)"),
        ("coalesce", {"updates": 1.0}, ValueError, "updates must have shape"),
        ("coalesce", {"updates": [None, 1.0]}, TypeError, "updates must be numbers, got object"),
        ("coalesce", {"num_embeddings": -1}, ValueError,
         "num_embeddings must be 0 or more, got -1"),
        ("RowGrad.to_dense", {"self": er.RowGrad(np.array([7]), zeros(1, 2))}, IndexError,
         "index 7 at position 0 is out of range for a table with 3 rows"),
    ]  # fmt: skip


def strict_rows() -> list[Row]:
    """What is refused of negative indices where they do not count from the end."""
    bags = ["embedding_bag", "embedding_bag_argmax", "embedding_bag_vjp"]
    calls: list[tuple[str, str, Arguments]] = [
        ("scatter_add", "target", {"strict": True, "updates": np.float32(1)}),
        ("coalesce", "a table", {"strict": True, "updates": zeros(3, 2)}),
        *((call, "weight", {"strict": True}) for call in bags),
        *((f"{name}.{method}", "weight", {"self": bounded(name, strict=True)})
          for name in ("Embedding", "EmbeddingBag") for method in ("__call__", "vjp")),
    ]  # fmt: skip
    valid = "with 5 rows: expected 0 <= index < 5"
    no_offsets: Arguments = {"strict": True, "offsets": None}
    return [
        *((call, {"indices": indices} | strict, IndexError,
           f"index {indices[2]} at position 2 is out of range for {table} {valid}")
          for call, table, strict in calls for indices in ([0, 1, -1], [4, 0, 5], [4, 0, -5])),
        *((call, {"indices": [[0], [], [1, -2]]} | no_offsets, IndexError,
           f"index -2 at position (2, 1) is out of range for weight {valid}") for call in bags),
        *((call, {"indices": [0, -1, 4], "padding_idx": -1, "strict": True}, IndexError,
           f"index -1 at position 1 is out of range for weight {valid}") for call in bags),
        *((call, {"strict": value}, TypeError, f"strict must be True or False, got {value!r}")
          for call in ("scatter_add", "coalesce", *bags, "Embedding", "EmbeddingBag")
          for value in ("yes", None, 2)),
    ]  # fmt: skip


def bag_rows(call: str) -> list[Row]:
    """What the functions of bags and the calls of the layer have in common."""
    two_axes, no_offsets = {"indices": np.array([[0, 1, 4]])}, {"offsets": None}
    return [
        (call, {"indices": [0, 1, 5]}, IndexError,
         "index 5 at position 2 is out of range for weight with 5 rows"),
        (call, {"indices": [[0, 1], [-6, 0]]} | no_offsets, IndexError,
         "index -6 at position (1, 0) is out of range"),
        *((call, {"indices": [[0], [], [1, bad], [9]]} | no_offsets, IndexError,
           f"index {bad} at position (2, 1) is out of range") for bad in (5, -6, 2**70)),
        (call, {"indices": np.zeros((1, 1, 3), int)}, ValueError,
         "indices must have one or two axes, got shape (1, 1, 3)"),
        (call, {"indices": [0.0, 1.0, 2.0]}, TypeError, "indices must be integers, got float64"),
        (call, {"indices": None}, TypeError, "indices must be array_like, got NoneType"),
        (call, no_offsets, ValueError, "1-d indices need offsets or lengths, got neither"),
        (call, {"offsets": [0]} | two_axes, ValueError,
         "offsets must be None where each row of 2-d indices is a bag"),
        (call, {"offsets": [1, 2]}, ValueError, "offsets[0] must be 0, got 1"),
        (call, {"offsets": [0, 2, 1]}, ValueError,
         "offsets must not fall, got offsets[2] = 1 after 2"),
        (call, {"offsets": [0, 4]}, ValueError, "offsets[1] must be at most 3, got 4"),
        (call, {"offsets": []}, ValueError,
         "offsets must start at 0 where there are 3 indices, got none"),
        (call, {"offsets": [[0]]}, ValueError, "offsets must have one axis, got shape (1, 1)"),
        (call, {"offsets": [0.0]}, TypeError, "offsets must be integers, got float64"),
        (call, {"offsets": UINT64_MAX}, ValueError, "offsets must fit int64, got"),
        (call, {"lengths": [3]}, ValueError, "1-d indices need offsets or lengths, got both"),
        (call, {"lengths": [3]} | two_axes | no_offsets, ValueError,
         "lengths must be None where each row of 2-d indices is a bag"),
        (call, {"lengths": [4, -1]} | no_offsets, ValueError,
         "lengths[1] must not be negative, got -1"),
        (call, {"lengths": [2, 2]} | no_offsets, ValueError,
         "lengths must sum to the number of indices, 3, got 4"),
        (call, {"lengths": [2**62] * 4 + [3]} | no_offsets, ValueError,
         "lengths must sum to the number of indices, 3, got"),
        (call, {"lengths": 3} | no_offsets, ValueError, "lengths must have one axis, got shape ()"),
        (call, {"lengths": [3.0]} | no_offsets, TypeError, "lengths must be integers, got float64"),
        (call, {"lengths": UINT64_MAX} | no_offsets, ValueError, "lengths must fit int64, got"),
        (call, {"per_sample_weights": zeros(2)}, ValueError,
         "per_sample_weights must have shape (3,), got (2,)"),
        (call, {"per_sample_weights": zeros(3, dtype="f8")}, TypeError,
         "per_sample_weights must be float32 as weight is, got float64"),
    ]  # fmt: skip


def bag_function_rows(call: str) -> list[Row]:
    return [
        *bag_rows(call),
        (call, {"weight": zeros(5, 3, 2)}, ValueError,
         "weight must have shape (V, D) or (V,), got (5, 3, 2)"),
        (call, {"weight": None}, TypeError, "weight must be array_like, got NoneType"),
        (call, {"weight": zeros(5, 3, dtype=bool)}, TypeError,
         "weight must be float32, float64, float16 or bfloat16, got bool"),
        (call, {"weight": zeros(5, 3, dtype=int), "mode": "mean"}, TypeError,
         "weight must be float32, float64, float16 or bfloat16 for mode 'mean', got int64"),
        (call, {"mode": "min"}, ValueError,
         "mode must be 'sum' or 'mean' or 'sqrtn' or 'max', got 'min'"),
        (call, {"mode": None}, ValueError,
         "mode must be 'sum' or 'mean' or 'sqrtn' or 'max', got None"),
        (call, {"per_sample_weights": zeros(3), "mode": "max"}, ValueError,
         "per_sample_weights need mode 'sum', 'mean' or 'sqrtn', got 'max'"),
        (call, {"padding_idx": 5}, ValueError, "padding_idx must be in [-5, 5), got 5"),
        (call, {"padding_idx": -6}, ValueError, "padding_idx must be in [-5, 5), got -6"),
        (call, {"indices": [0, 1, -6], "padding_idx": 1}, IndexError,
         "index -6 at position 2 is out of range"),
        (call, {"offsets": [0, 2], "include_last_offset": True}, ValueError,
         "the last offset must be the number of indices, 3, got 2"),
        (call, {"offsets": [], "include_last_offset": True}, ValueError,
         "offsets must hold the last offset at least, got none"),
    ]  # fmt: skip


def gradient_rows(call: str, n_rows: int) -> list[Row]:
    return [
        (call, {"grad_output": zeros(n_rows, 4)}, ValueError,
         f"grad_output must have shape ({n_rows}, 3), got ({n_rows}, 4)"),
        (call, {"grad_output": None}, TypeError, "grad_output must be array_like, got NoneType"),
        (call, {"grad_output": zeros(n_rows, 3, dtype="f8")}, TypeError,
         "grad_output must be float32 as the "),
        (call, {"grad_output": zeros(n_rows, 3, dtype=int)}, TypeError,
         "grad_output must be float32 as the "),
    ]  # fmt: skip


def quantized_rows() -> list[Row]:
    codes = zeros(3, 20, dtype=np.uint8)
    not_rows = [None, [[0] * 9], codes[:, :7].copy(), codes.astype("i1"), codes[:, ::2], codes[0]]
    return [
        ("embedding_bag_vjp", {"weight": er.QuantizedRows(codes)}, TypeError,
         "weight must be an array: QuantizedRows have no gradient"),
        ("quantize_rows", {"weight": zeros(3)}, ValueError,
         "weight must have shape (V, D), got (3,)"),
        ("quantize_rows", {"weight": None}, TypeError, "weight must be array_like, got NoneType"),
        ("quantize_rows", {"weight": zeros(2, 3, dtype=int)}, TypeError,
         "weight must be float32, float64, float16 or bfloat16, got int64"),
        *(("quantize_rows", {"weight": [[0.0, 1.0], [bad, 0.0]]}, ValueError,
           "weight must be finite in float32, but row 1 is not") for bad in (np.nan, np.inf, 1e39)),
        ("quantize_rows", {"dtype": "int4"}, ValueError, "dtype must be 'int8', got 'int4'"),
        ("quantize_rows", {"dtype": None}, ValueError, "dtype must be 'int8', got None"),
        *(("QuantizedRows", {"rows": rows}, ValueError,
           "rows must be a C-contiguous array of uint8, shape (V, 8 + D)") for rows in not_rows),
        *int8_array_rows(),
        *fused_rows(),
    ]  # fmt: skip


def masked(array: np.ndarray) -> Any:
    return np.ma.masked_array(array)


def int8_array_rows() -> list[Row]:
    rows: list[tuple[Arguments, type[Exception], str]] = [
        ({"codes": zeros(5, dtype="i1")}, ValueError, "codes must have shape (V, D), got (5,)"),
        ({"codes": zeros(5, 3, 1, dtype="i1")}, ValueError, "codes must have shape (V, D), got (5"),
        *(({"codes": zeros(5, 3, dtype=dtype)}, TypeError, f"codes must be int8, got {dtype}")
          for dtype in ("uint8", "int64", "float32", "bool")),
        ({"codes": None}, TypeError, "codes must be array_like, got NoneType"),
        ({"codes": masked(zeros(5, 3, dtype="i1"))}, TypeError,
         "codes must be an array without a mask"),
        *((change, error, words) for name in ("scale", "offset") for change, error, words in (
            ({name: zeros(4)}, ValueError, f"{name} must have shape (5,), got (4,)"),
            ({name: zeros(5, 1)}, ValueError, f"{name} must have shape (5,), got (5, 1)"),
            ({name: 1.0}, ValueError, f"{name} must have shape (5,), got ()"),
            ({name: zeros(5, dtype="f8")}, TypeError, f"{name} must be float32, got float64"),
            ({name: zeros(5, dtype="i4")}, TypeError, f"{name} must be float32, got int32"),
            ({name: None}, TypeError, f"{name} must be array_like, got NoneType"),
            ({name: masked(zeros(5))}, TypeError, f"{name} must be an array without a mask"),
        )),
    ]  # fmt: skip
    return [("QuantizedRows.from_arrays", *row) for row in rows]


def fused_rows() -> list[Row]:
    past = zeros(2, 9, dtype=np.uint8)
    past[:, 1:] = np.array([[1, 1], [2e36, 3e38]], np.float32).view(np.uint8)
    rows: list[tuple[Any, type[Exception], str]] = [
        (zeros(9, dtype="u1"), ValueError, "rows must have shape (V, D + 8), got (9,)"),
        (zeros(5, 7, dtype="u1"), ValueError, "rows must have shape (V, D + 8), got (5, 7)"),
        (zeros(5, 9, dtype="i1"), TypeError, "rows must be uint8, got int8"),
        (zeros(5, 9), TypeError, "rows must be uint8, got float32"),
        (None, TypeError, "rows must be array_like, got NoneType"),
        (masked(zeros(5, 9, dtype="u1")), TypeError, "rows must be an array without a mask"),
        (past, ValueError, "rows[1] has an offset, bias + 128 * scale, that is too great for"),
    ]
    return [("QuantizedRows.from_fused", {"rows": bad}, *rest) for bad, *rest in rows]


def offsets_rows(call: str) -> list[Row]:
    """Ragged sequences, which the recurrent functions and layers check alike."""
    ragged = {"x": zeros(5, 2), "lengths": None}
    return [
        (call, {"offsets": [1, 5]} | ragged, ValueError, "offsets[0] must be 0, got 1"),
        (call, {"offsets": [0, 3, 2, 5]} | ragged, ValueError,
         "offsets must not fall, got offsets[2] = 2 after 3"),
        (call, {"offsets": [0, 2, 4]} | ragged, ValueError,
         "the last offset must be the number of steps, 5, got 4"),
        (call, {"offsets": []} | ragged, ValueError,
         "offsets must hold the last offset at least, got none"),
        (call, {"offsets": [[0, 5]]} | ragged, ValueError,
         "offsets must have one axis, got shape (1, 2)"),
        (call, {"offsets": [0.0, 5.0]} | ragged, TypeError,
         "offsets must be integers, got float64"),
        (call, {"offsets": UINT64_MAX} | ragged, ValueError, "offsets must fit int64, got"),
        (call, {"lengths": [5], "offsets": [0, 5], "x": zeros(5, 2)}, ValueError,
         "lengths must be None where there are offsets"),
        (call, {"x": zeros(3, 7, 2), "offsets": [0, 21]}, ValueError,
         "x must have shape (N, "),
    ]  # fmt: skip


def leak_rows(call: str) -> list[Row]:
    """One leak for every unit, which is a number in (0, 1], and arrays of other shapes."""
    return [
        *((call, {"leak": leak}, ValueError, f"leak must be in (0, 1], got {float(leak)}")
          for leak in (0, -1, 2, 1.5, np.nan, np.inf, np.float32(2), np.array(0.0), np.int64(-1))),
        *((call, {"leak": leak}, TypeError, f"leak must be a number, got {got}")
          for leak, got in ((True, True), (np.True_, True), (np.array(False), False), (1j, "1j"),
                            (np.complex64(1), "(1+0j)"), (np.array(None), None),
                            (np.array("0.5"), "'0.5'"))),
        (call, {"leak": "0.5"}, TypeError, "leak must be float32 as x is, got <U3"),
        (call, {"leak": zeros(5)}, ValueError, "leak must have shape (4,), got (5,)"),
        (call, {"leak": [0.5]}, TypeError, "leak must be float32 as x is, got float64"),
        (call, {"leak": np.array([0.5], np.float32)}, ValueError,
         "leak must have shape (4,), got (1,)"),
    ]  # fmt: skip


def resets_rows(call: str) -> list[Row]:
    """Where states begin anew, which the recurrent functions and layers check alike."""
    ragged = {"x": zeros(5, 2), "lengths": None, "offsets": [0, 2, 2, 5]}
    return [
        (call, {"resets": zeros(3, 6, dtype=bool)}, ValueError,
         "resets must have shape (3, 7), got (3, 6)"),
        (call, {"resets": True}, ValueError, "resets must have shape (3, 7), got ()"),
        (call, {"resets": zeros(3, 7, 1, dtype=bool)}, ValueError,
         "resets must have shape (3, 7), got (3, 7, 1)"),
        (call, {"resets": zeros(3, 7, dtype=bool)} | ragged, ValueError,
         "resets must have shape (5,), got (3, 7)"),
        *((call, {"resets": zeros(3, 7, dtype=dtype)}, TypeError,
           f"resets must be bool, got {dtype}")
          for dtype in ("int64", "uint8", "float32", "object")),
    ]  # fmt: skip


def mask_rows(call: str) -> list[Row]:
    """Padding anywhere, and what stands in its place, which the recurrent layers check alike."""
    every = zeros(3, 7, dtype=bool)
    absent: Arguments = {"lengths": None, "resets": None}
    good: Arguments = {"mask": every} | absent
    ragged: Arguments = {"mask": zeros(1, 5, dtype=bool), "x": zeros(5, 2)} | absent
    return [
        (call, {"lengths": [7, 0, 3], "mask": every, "resets": None}, ValueError,
         "lengths must be None where there is a mask"),
        (call, ragged | {"offsets": [0, 5]}, ValueError,
         "mask must be None where there are offsets"),
        (call, ragged | {"x": PACKED}, ValueError, "mask must be None where x is Packed"),
        (call, good | {"x": [zeros(7, 2)] * 3}, ValueError,
         "mask must be None where x is a list of sequences"),
        (call, good | {"resets": every}, ValueError, "mask must be None where there are resets"),
        *((call, good | {"mask": zeros(*shape, dtype=bool)}, ValueError,
           f"mask must have shape (3, 7), got {shape}")
          for shape in ((3, 6), (7, 3), (3,), (3, 7, 1), (0, 7), ())),
        *((call, good | {"mask": zeros(3, 7, dtype=dtype)}, TypeError,
           f"mask must be bool, got {dtype}") for dtype in ("int64", "uint8", "float32", "object")),
        (call, good | {"mask": [[True] * 7] * 2 + [[True]]}, ValueError,
         "mask must be one array, got sequences of unequal length"),
        (call, good | {"mask": masked(every)}, TypeError, "mask must be an array without a mask"),
        (call, {"x": zeros(7, 2)} | good, ValueError, "x must have shape (B, T, 2), got (7, 2)"),
        *((call, {"padding_fill": word}, ValueError,
           f"padding_fill must be 'zero' or 'repeat', got {word!r}")
          for word in ("last", "Zero", b"repeat", None, True, ["repeat"])),
        (call, {"padding_fill": np.array(["zero", "repeat"])}, ValueError,
         "padding_fill must be 'zero' or 'repeat', got an array of shape (2,)"),
    ]  # fmt: skip


def cotangent_rows(call: str, outer: tuple[int, ...], inner: tuple[int, ...]) -> list[Row]:
    """Gradients of what a recurrent function or layer gave, of these shapes."""
    few, f8 = zeros(*inner[:-1], 3), zeros(*inner, dtype="f8")
    state_shape = f"must have shape {inner}, got {few.shape}"
    rows: list[tuple[Arguments, type[Exception], str]] = [
        ({"grad_output": zeros(*outer[:-1], 5)}, ValueError,
         f"grad_output must have shape {outer}, got {(*outer[:-1], 5)}"),
        ({"grad_output": 1.0}, ValueError, f"grad_output must have shape {outer}, got ()"),
        ({"grad_output": zeros(*outer, dtype="f8")}, TypeError,
         "grad_output must be float32 as the output is, got float64"),
        ({"grad_output": zeros(*outer, dtype=int)}, TypeError,
         "grad_output must be float32 as the output is, got int64"),
    ]  # fmt: skip
    if call.upper().startswith("LSTM"):
        good, expected = zeros(*inner), "grad_state must be a tuple, for (h_n, c_n), got"
        rows += [
            ({"grad_state": good}, TypeError, f"{expected} ndarray"),
            ({"grad_state": (good,)}, TypeError, f"{expected} 1 of them"),
            ({"grad_state": (few, good)}, ValueError, f"grad_state[0] {state_shape}"),
            ({"grad_state": (None, few)}, ValueError, f"grad_state[1] {state_shape}"),
            ({"grad_state": (good, f8)}, TypeError,
             "grad_state[1] must be float32 as the output is, got float64"),
        ]  # fmt: skip
    else:
        rows += [
            ({"grad_state": few}, ValueError, f"grad_state {state_shape}"),
            ({"grad_state": f8}, TypeError,
             "grad_state must be float32 as the output is, got float64"),
        ]  # fmt: skip
    return [(call, *row) for row in rows]


def recurrence_rows() -> list[Row]:
    return [
        *(row for call in RECURRENCES for row in (*offsets_rows(call), *resets_rows(call))),
        *(row for call in VJPS
          for row in cotangent_rows(f"{call}.backward", (3, 7, 4), (3, 4))),
        *((call, {name: None}, TypeError, f"{name} must be array_like, got NoneType")
          for call in RECURRENCES for name in ("x", "weight_ih", "weight_hh")),
        *((call, {"nonlinearity": word}, ValueError,
           f"nonlinearity must be 'tanh' or 'relu', got {word!r}")
          for call in ("rnn_forward", "rnn_vjp") for word in ("sigmoid", None)),
        *(row for call in ("rnn_forward", "rnn_vjp") for row in leak_rows(call)),
        ("gru_vjp", {"reset_after": "no"}, TypeError,
         "reset_after must be True or False, got 'no'"),
    ]  # fmt: skip


def packed_rows() -> list[Row]:
    rows: list[tuple[Arguments, type[Exception], str]] = [
        ({"data": zeros(1, 5, 2)}, ValueError, "data must have shape (N, I), where N is the sum"),
        ({"data": None}, TypeError, "data must be array_like, got NoneType"),
        ({"data": zeros(5, 3)}, ValueError, "data must have shape (N, 2), got (5, 3)"),
        ({"data": zeros(5, 2, dtype="f8")}, TypeError,
         "data must be float32 as the layer is, got float64"),
        ({"batch_sizes": [2, 3]}, ValueError,
         "batch_sizes must be positive and never rise, got [2, 3]"),
        ({"batch_sizes": [5, 0]}, ValueError,
         "batch_sizes must be positive and never rise, got [5, 0]"),
        ({"batch_sizes": [2, 2]}, ValueError,
         "data must have shape (N, I), where N is the sum of batch_sizes, got (5, 2)"),
        ({"batch_sizes": [2**62] * 4 + [5]}, ValueError,
         "data must have shape (N, I), where N is the sum of batch_sizes, got (5, 2)"),
        ({"batch_sizes": None}, TypeError, "batch_sizes must be array_like, got NoneType"),
        ({"batch_sizes": [3.0, 2.0]}, TypeError, "batch_sizes must be integers, got float64"),
        ({"batch_sizes": UINT64_MAX}, ValueError, "batch_sizes must fit int64, got"),
        ({"sorted_indices": [0, 1, 1]}, ValueError,
         "sorted_indices must have each of the 3 rows once, got [0, 1, 1]"),
        ({"sorted_indices": [0, 1]}, ValueError,
         "sorted_indices must have each of the 3 rows once, got [0, 1]"),
        ({"sorted_indices": 0}, ValueError, "sorted_indices must have one axis, got shape ()"),
        ({"sorted_indices": [0.0, 1.0, 2.0]}, TypeError,
         "sorted_indices must be integers, got float64"),
    ]  # fmt: skip
    return [("Packed", *row) for row in rows]


def padding_rows() -> list[Row]:
    pairs, floats = [zeros(2, 3), zeros(1, 3)], [[0.5], [1.5, 2.5]]
    return [
        ("pad", {"sequences": 3}, TypeError, "sequences must be a list of them, got int"),
        ("pad", {"sequences": None}, TypeError, "sequences must be a list of them, got NoneType"),
        ("pad", {"sequences": [1, 2]}, ValueError, "sequences[0] must have shape (L,), got ()"),
        ("pad", {"sequences": [[1, 2], [], [[1]]]}, ValueError,
         "sequences[2] must have shape (L,), got (1, 1)"),
        ("pad", {"sequences": [*pairs, zeros(4, 2)]}, ValueError,
         "sequences[2] must have shape (T, 3), got (4, 2)"),
        ("pad", {"sequences": [zeros(1, 3, 4), zeros(2, 3)]}, ValueError,
         "sequences[1] must have shape (T, 3, 4), got (2, 3)"),
        ("pad", {"sequences": [[[1], [2, 3]]]}, ValueError,
         "sequences[0] must be one array, got sequences of unequal length"),
        *(("pad", {"value": value}, ValueError, f"value must fit int64, got {value!r}")
          for value in (0.5, np.nan, 2**63, None, "x", [0, 1])),
        *(("pad", {"value": kind(value)}, ValueError, f"value must fit int64, got {value!r}")
          for value in (0.5, np.inf, "x") for kind in (np.array, lambda x: np.array(x)[()])),
        ("pad", {"value": -1, "sequences": np.zeros((2, 1), np.uint8)}, ValueError,
         "value must fit uint8, got -1"),
        ("pad", {"value": 2, "sequences": [[True]]}, ValueError, "value must fit bool, got 2"),
        ("pad", {"value": 0, "sequences": [["one"]]}, ValueError, "value must fit <U3, got 0"),
        ("pad", {"value": "x", "sequences": floats}, ValueError, "value must fit float64, got 'x'"),
        ("unpad", {"padded": zeros(3)}, ValueError, "padded must have shape (B, T, ...), got (3,)"),
        ("unpad", {"padded": None}, TypeError, "padded must be array_like, got NoneType"),
        ("unpad", {"padded": [[1], [2, 3]]}, ValueError, "padded must be one array, got sequences"),
        *(("unpad", {"lengths": lengths}, error, words)
          for lengths, error, words in BAD_LENGTHS.values()),
        *((call, {"side": side}, ValueError, f"side must be 'right' or 'left', got {side!r}")
          for call in ("pad", "unpad") for side in ("both", None)),
    ]  # fmt: skip


def recurrent_option_rows(name: str) -> list[Row]:
    return [
        (name, {"input_size": -1}, ValueError, "input_size must be 0 or more, got -1"),
        (name, {"input_size": None}, TypeError, "input_size must be an integer, got NoneType"),
        (name, {"hidden_size": 0}, ValueError, "hidden_size must be 1 or more, got 0"),
        (name, {"hidden_size": 7.0}, TypeError, "hidden_size must be an integer, got float"),
        (name, {"num_layers": 0}, ValueError, "num_layers must be 1 or more, got 0"),
        (name, {"num_layers": "2"}, TypeError, "num_layers must be an integer, got str"),
        *((name, {"dropout": dropout}, ValueError, f"dropout must be in [0, 1), got {dropout}")
          for dropout in (1.0, -0.5, np.nan, np.inf)),
        (name, {"dropout": None}, TypeError, "dropout must be a number, got None"),
        (name, {"dropout": "0.5"}, TypeError, "dropout must be a number, got '0.5'"),
        (name, {"dropout": np.array([0.5])}, TypeError,
         "dropout must be a number, got an array of shape (1,)"),
        *((name, {"dropout": dropout}, TypeError, f"dropout must be a number, got {dropout}")
          for dropout in (False, np.False_, np.array(True))),
        *((name, {"num_layers": layers}, TypeError, f"num_layers must be an integer, got {kind}")
          for layers, kind in ((True, "bool"), (np.True_, "bool"), (np.array(True), "ndarray"),
                               (np.array([2]), "ndarray"))),
        *((name, {"merge": merge, "bidirectional": True}, ValueError,
           f"merge must be 'concat' or 'sum' or 'mean' or 'mul', got {merge!r}")
          for merge in ("ave", None, 1)),
        *((name, {"merge": merge} | others, ValueError,
           f"merge must be 'concat' where bidirectional is False, got {merge!r}")
          for merge in ("sum", "mean", "mul") for others in ({}, {"reverse": True})),
        (name, {"reverse": True, "bidirectional": True}, ValueError,
         "reverse must be False where bidirectional is True: one of two directions is reversed"),
        (name, {"reverse": 2}, TypeError, "reverse must be True or False, got 2"),
        (name, {"dtype": "f2"}, TypeError, "dtype must be float32 or float64, got float16"),
        (name, {"dtype": complex}, TypeError, "dtype must be float32 or float64, got complex128"),
        (name, {"dtype": "torch.half"}, TypeError,
         "dtype must be float32 or float64, got 'torch.half'"),
        *word_rows(name),
    ]  # fmt: skip


def word_rows(name: str) -> list[Row]:
    """Return PyTorch's words with other values than the ones that mean what is so anyway."""
    recurrent = name in LAYERS
    time_first = "batch_first must be True, got False: give time-first input as x.transpose(1, 0, 2"
    owner = name.removesuffix(".from_pretrained")
    return [
        (name, {"device": "cuda"}, ValueError, "device must be None or 'cpu', got 'cuda': NumPy"),
        (name, {"device": 0}, ValueError, "device must be None or 'cpu', got 0: NumPy"),
        (name, {"peephole": True}, TypeError, f"peephole is no option of {owner}"),
        *((name, changes, ValueError, words) for changes, words in (
            ({"batch_first": False}, time_first),
            ({"batch_first": 0.5}, "batch_first must be True, got 0.5: "),
            ({"proj_size": 3}, "proj_size must be 0, got 3: multiply weight_hr into"),
        ) if recurrent),
        *((name, changes, ValueError, words) for changes, words in (
            ({"sparse": False}, "sparse must be True, got False: a gradient is a RowGrad"),
            ({"freeze": False}, "freeze must be True, got False: parameters are read-only"),
        ) if not recurrent),
    ]  # fmt: skip


def recurrent_call_rows(call: str) -> list[Row]:
    """What calls of a recurrent layer and its vjp have in common."""
    dtype = "float32 as the layer is, got float64"
    two_directions = {"self": getattr(er, call.split(".", maxsplit=1)[0])(2, 4, bidirectional=True)}
    return [
        *offsets_rows(call),
        *resets_rows(call),
        *mask_rows(call),
        *state_rows(call),
        (call, {"resets": zeros(3, 7, dtype=bool)} | two_directions, ValueError,
         "resets must be None where there are two directions"),
        (call, {"resets": zeros(4, dtype=bool), "x": PACKED, "lengths": None}, ValueError,
         "resets must have shape (5,), got (4,)"),
        (call, {"resets": zeros(7, 1, dtype=bool), "x": zeros(7, 2), "lengths": None}, ValueError,
         "resets must have shape (7,), got (7, 1)"),
        (call, {"x": zeros(7, 2)}, ValueError, "x must have shape (B, T, 2), got (7, 2)"),
        (call, {"x": zeros(2)}, ValueError, "x must have shape (B, T, 2), got (2,)"),
        (call, {"x": zeros(7, 3), "lengths": None}, ValueError,
         "x must have shape (T, 2), got (7, 3)"),
        (call, {"x": zeros(3, 7, 3)}, ValueError, "x must have shape (B, T, 2), got (3, 7, 3)"),
        (call, {"x": None}, TypeError, "x must be array_like, got NoneType"),
        (call, {"x": zeros(3, 7, 2, dtype="f8")}, TypeError, f"x must be {dtype}"),
        *((call, {"lengths": lengths}, error, words)
          for lengths, error, words in BAD_LENGTHS.values()),
        (call, {"lengths": [2, 2, 1], "x": PACKED}, ValueError,
         "lengths must be None where x is Packed"),
        (call, {"offsets": [0, 2, 4, 5], "x": PACKED, "lengths": None}, ValueError,
         "offsets must be None where x is Packed"),
    ]  # fmt: skip


def recurrent_step_rows(name: str) -> list[Row]:
    step, dtype = f"{name}.step", "float32 as the layer is, got float64"
    return [
        *state_rows(step),
        (step, {"self": getattr(er, name)(2, 4, bidirectional=True)}, ValueError,
         "step needs a layer of one direction"),
        (step, {"self": getattr(er, name)(2, 4, reverse=True)}, ValueError,
         "step needs a layer that is not reverse: that one starts at the end"),
        (step, {"x_t": zeros(3, 7, 2)}, ValueError, "x_t must have shape (B, 2), got (3, 7, 2)"),
        (step, {"x_t": zeros(3, 3)}, ValueError, "x_t must have shape (B, 2), got (3, 3)"),
        (step, {"x_t": None}, TypeError, "x_t must be array_like, got NoneType"),
        (step, {"x_t": zeros(3, 2, dtype="f8")}, TypeError, f"x_t must be {dtype}"),
        (step, {"out": zeros(3, 5)}, ValueError, "out must have shape (3, 4), got (3, 5)"),
        (step, {"out": zeros(3, 4, dtype="f8")}, TypeError, "out must be float32, got float64"),
        (step, {"out": [[0] * 4] * 3}, TypeError, "out must be an ndarray, got list"),
        (step, {"out": read_only(zeros(3, 4))}, ValueError, "out is read-only"),
    ]  # fmt: skip


def state_rows(call: str) -> list[Row]:
    """The state is an array; that of an LSTM is a tuple of two, which have names of their own."""
    good, few, f8 = zeros(1, 3, 4), zeros(1, 2, 4), zeros(1, 3, 4, dtype="f8")
    if not call.startswith("LSTM"):
        return [
            (call, {"state": few}, ValueError, "state must have shape (1, 3, 4), got (1, 2, 4)"),
            (call, {"state": (good, good)}, ValueError, "state must have shape (1, 3, 4), got (2,"),
            (call, {"state": f8}, TypeError, "state must be float32 as the layer is, got float64"),
        ]
    not_two = "state must be a tuple (h_0, c_0), got "
    return [
        (call, {"state": good}, TypeError, f"{not_two}ndarray"),
        (call, {"state": (good,)}, TypeError, f"{not_two}1 of them"),
        (call, {"state": (few, good)}, ValueError, "h_0 must have shape (1, 3, 4), got (1, 2, 4)"),
        (call, {"state": (good, few)}, ValueError, "c_0 must have shape (1, 3, 4), got (1, 2, 4)"),
        (call, {"state": (good, f8)}, TypeError, "c_0 must be float32 as the layer is, got "),
        (call, {"state": (None, good)}, TypeError, "h_0 must be array_like, got NoneType"),
    ]


def int8_parameter_rows(name: str) -> list[Row]:
    layer = int8_layer(name)
    unfit = f"parameters do not fit {layer!r}: weight must "
    rows: list[tuple[Any, type[Exception], str]] = [
        (zeros(5, 3), ValueError, f"{unfit}have shape (5, 11), got (5, 3); weight must be uint8"),
        (zeros(5, 11, dtype="i1"), TypeError, f"{unfit}be uint8, got int8"),
        (er.quantize_rows(zeros(5, 4)), ValueError, f"{unfit}have shape (5, 11), got (5, 12)"),
    ]
    return [
        (f"{name}.{method}", {word: {"weight": weight}, "self": layer}, error, words)
        for method, word in (("load_state_dict", "state_dict"), ("update", "parameters"))
        for weight, error, words in rows
    ]


def parameter_rows(layer: Any, weight: str) -> list[Row]:
    """Replacing the parameters of a layer, one of which is called `weight`."""
    good, name = parameters_of(layer), type(layer).__name__
    update, load, make = (
        f"{name}.{call}" for call in ("update", "load_state_dict", "from_state_dict")
    )
    unfit, size = f"parameters do not fit {layer!r}: ", next(iter(layer._options))
    other_shape, other_dtype = good | {weight: zeros(1)}, good | {weight: good[weight].astype("f8")}
    rest = {key: array for key, array in good.items() if key != weight}
    shape = f"{unfit}{weight} must have shape {good[weight].shape}, got (1,)"
    dtype = f"{unfit}{weight} must be float32, got float64"
    return [
        (load, {"state_dict": rest}, ValueError, f"{unfit}missing {weight}"),
        (load, {"state_dict": other_shape}, ValueError, shape),
        (load, {"state_dict": other_dtype}, TypeError, dtype),
        (load, {"state_dict": good | {"weight_of_others": 0}}, ValueError,
         f"{unfit}unexpected weight_of_others"),
        (load, {"state_dict": {"a." + key: array for key, array in good.items()}}, ValueError,
         f"{unfit}missing {', '.join(good)}; unexpected a.{next(iter(good))}"),
        (load, {"state_dict": good, "prefix": "a."}, ValueError,
         f"{unfit}missing {', '.join('a.' + key for key in good)}; there are such names with the "
         "prefix ''"),
        (load, {"state_dict": good | {weight: zeros(1)}, "strict": False, "cast": True}, ValueError,
         shape),
        (load, {"state_dict": "model.pt"}, ValueError,
         "state_dict must be a mapping or the path of an .npz or .safetensors file, got 'model.pt"),
        (load, {"state_dict": "not-there.npz"}, FileNotFoundError, "[Errno 2] No such file"),
        *((call, {"prefix": 1}, TypeError, "prefix must be a str, got 1") for call in (load, make)),
        *((call, {"cast": 2}, TypeError, "cast must be True or False, got 2")
          for call in (load, make)),
        (load, {"strict": "no"}, TypeError, "strict must be True or False, got 'no'"),
        (make, {"state_dict": {}}, ValueError, "state_dict must have weight"),
        (make, {"state_dict": None}, TypeError,
         "state_dict must be a mapping of names, got NoneType"),
        (make, {size: 3, "state_dict": good}, TypeError,
         f"{size} of {name} is read from the parameters: leave it out"),
        (make, {"state_dict": other_shape}, ValueError,
         f"{weight} must have 2 axes, got shape (1,)"),
        (make, {"dtype": "what"}, TypeError, "dtype must be float32"),
        (update, {"parameters": other_shape}, ValueError, shape),
        (update, {"parameters": other_dtype}, TypeError, dtype),
        (update, {"parameters": good | {"weight_of_others": 0}}, ValueError,
         f"{unfit}unexpected weight_of_others"),
        (update, {"parameters": None}, TypeError,
         "parameters must be a mapping of names, got NoneType"),
    ]  # fmt: skip


def recurrent_layer_rows(name: str) -> list[Row]:
    return [
        *recurrent_option_rows(name),
        *recurrent_call_rows(f"{name}.__call__"),
        *recurrent_call_rows(f"{name}.vjp"),
        *recurrent_step_rows(name),
        *cotangent_rows(f"{name}.vjp.backward", (3, 7, 4), (1, 3, 4)),
        (f"{name}.vjp", {"rng": "a"}, TypeError,
         "rng must be what numpy.random.default_rng takes, got 'a'"),
        *parameter_rows(getattr(er, name)(2, 4), "weight_hh_l0"),
    ]  # fmt: skip


def table_option_rows(name: str) -> list[Row]:
    pretrained, floats = f"{name}.from_pretrained", "float32, float64, float16 or bfloat16"
    stored = er.quantize_rows(zeros(5, 3))
    return [
        (name, {"num_embeddings": -1}, ValueError, "num_embeddings must be 0 or more, got -1"),
        (name, {"num_embeddings": "5"}, TypeError, "num_embeddings must be an integer, got str"),
        (name, {"embedding_dim": -1}, ValueError, "embedding_dim must be 0 or more, got -1"),
        (name, {"embedding_dim": 2.5}, TypeError, "embedding_dim must be an integer, got float"),
        (name, {"dtype": "i4"}, TypeError,
         "dtype must be float32, float64, float16, bfloat16 or int8, got int32"),
        *((call, changes | int8, ValueError, words)
          for call, int8 in ((name, {"dtype": "i1"}), (pretrained, {"weight": stored}))
          for changes, words in (
            ({"max_norm": 1}, "max_norm must be None for int8 rows: quantize() a layer that has"),
            ({"scale_grad_by_freq": True}, "scale_grad_by_freq must be False for int8 rows"),
        )),
        (f"{name}.vjp", {"self": int8_layer(name)}, TypeError, "int8 rows have no gradient: take"),
        (name, {"_weight": zeros(4, 3)}, ValueError, "_weight must have shape (5, 3), got (4, 3)"),
        (name, {"_weight": zeros(5, 3, dtype="f8")}, TypeError,
         "_weight must be float32 as the layer is, got float64"),
        *word_rows(name),
        *word_rows(pretrained),
        (pretrained, {"dtype": "f4"}, TypeError, "dtype is that of weight: give weight.astype("),
        (pretrained, {"rng": 0}, TypeError, "rng is for a new table: leave it out for one"),
        (pretrained, {"weight": zeros(5)}, ValueError, "weight must have shape (V, D), got (5,)"),
        (pretrained, {"weight": None}, TypeError, "weight must be array_like, got NoneType"),
        (pretrained, {"weight": zeros(5, 3, dtype=int)}, TypeError,
         f"weight must be {floats}, got int64"),
        *((call, changes, error, words) for call in (name, pretrained)
          for changes, error, words in (
            ({"padding_idx": 5}, ValueError, "padding_idx must be in [-5, 5), got 5"),
            ({"padding_idx": -6}, ValueError, "padding_idx must be in [-5, 5), got -6"),
            ({"max_norm": 0}, ValueError, "max_norm must be positive, got 0.0"),
            ({"max_norm": np.nan}, ValueError, "max_norm must be positive, got nan"),
            ({"max_norm": "1x"}, TypeError, "max_norm must be a number, got '1x'"),
            ({"norm_type": -1}, ValueError, "norm_type must be positive, got -1.0"),
            ({"norm_type": None}, TypeError, "norm_type must be a number, got None"),
        )),
    ]  # fmt: skip


def embedding_rows() -> list[Row]:
    call, vjp, backward = "Embedding.__call__", "Embedding.vjp", "Embedding.vjp.backward"
    unbounded = {"self": er.Embedding(5, 3)}
    index = "index 5 at position 2 is out of range for weight with 5 rows"
    return [
        *table_option_rows("Embedding"),
        *parameter_rows(bounded("Embedding"), "weight"),
        *int8_parameter_rows("Embedding"),
        *gradient_rows(backward, 3),
        *((call, {"indices": [0, 1, 5], "out": zeros(3, 3)} | layer, IndexError, index)
          for layer in ({}, unbounded)),
        *((vjp, {"indices": [0, 1, 5]} | layer, IndexError, index) for layer in ({}, unbounded)),
        *((method, {"indices": indices}, TypeError, f"indices must be {expected}")
          for method in (call, vjp) for indices, expected in (
            ([0.0], "integers, got float64"), (None, "array_like, got NoneType"),
        )),
        *((call, changes | layer, error, words) for layer in ({}, unbounded)
          for changes, error, words in (
            ({"out": zeros(3, 4)}, ValueError, "out must have shape (3, 3), got (3, 4)"),
            ({"out": zeros(3, 3, dtype="f8")}, TypeError, "out must be float32, got float64"),
            ({"out": [[0] * 3] * 3}, TypeError, "out must be an ndarray, got list"),
            ({"out": read_only(zeros(3, 3))}, ValueError, "out is read-only"),
        )),
    ]  # fmt: skip


def embedding_bag_layer_rows() -> list[Row]:
    of_maxima = {"self": er.EmbeddingBag(5, 3, mode="max")}
    return [
        *table_option_rows("EmbeddingBag"),
        *parameter_rows(bounded("EmbeddingBag"), "weight"),
        *int8_parameter_rows("EmbeddingBag"),
        *gradient_rows("EmbeddingBag.vjp.backward", 1),
        *bag_rows("EmbeddingBag.__call__"),
        *bag_rows("EmbeddingBag.vjp"),
        *((call, {"per_sample_weights": zeros(3)} | of_maxima, ValueError,
           "per_sample_weights need mode 'sum', 'mean' or 'sqrtn', got 'max'")
          for call in ("EmbeddingBag.__call__", "EmbeddingBag.vjp")),
        *((call, changes, ValueError, words)
          for call in ("EmbeddingBag", "EmbeddingBag.from_pretrained") for changes, words in (
            ({"mode": "min"}, "mode must be 'sum' or 'mean' or 'sqrtn' or 'max', got 'min'"),
            ({"scale_grad_by_freq": True, "mode": "max"},
             "scale_grad_by_freq must be False where mode is 'max'"),
        )),
    ]  # fmt: skip


def encoder_call_rows(call: str, frozen: bool) -> list[Row]:
    """What calls of encoders and the vjp have in common, but for the options of the layers."""

    def made(**options: Any) -> Any:
        return encoder(**options).freeze() if frozen else encoder(**options)

    flat: Arguments = {"lengths": None, "offsets": [0, 2, 2, 5]}
    listed: Arguments = {"ids": [[1], [2, 3], []], "lengths": None}
    padded: Arguments = {"self": made(padding_idx=0), "lengths": None}
    valid, at = zeros(3, 7, dtype=bool), "is out of range for weight with 5 rows: expected"
    ids = encoder_arguments(None)["ids"]
    bad: list[tuple[Any, str, Arguments]] = [
        (ids + 1, "index 5 at position (0, 4)", {}),
        (ids - np.arange(7), "index -6 at position (2, 6)", {"lengths": None}),
        ([1, 2, 3, 4, 9], "index 9 at position 4", flat),
        ([[1], [], [2, -7]], "index -7 at position (2, 1)", {"lengths": None}),
        ([[1, 2], [3, 8], [7, 7]], "index 8 at position (1, 1)", {"lengths": None}),
        (ids + 4, "index 5 at position (2, 2)", {"mask": np.arange(21).reshape(3, 7) == 16,
                                                 "lengths": None}),
    ]  # fmt: skip
    changed: list[tuple[Arguments, type[Exception], str]] = [
        *(({"ids": i} | options, IndexError, f"{words} {at} -5 <= index < 5")
          for i, words, options in bad),
        ({"ids": ids - 1, "self": made(strict=True)}, IndexError,
         f"index -1 at position (0, 0) {at} 0 <= index < 5"),
        ({"ids": ids * 1.0}, TypeError, "ids must be integers, got float64"),
        ({"ids": ids > 1}, TypeError, "ids must be integers, got bool"),
        ({"ids": None}, TypeError, "ids must be array_like, got NoneType"),
        ({"ids": [[0.5], [1.0, 2.0]], "lengths": None}, TypeError, "ids must be integers, got flo"),
        ({"ids": ids[None], "lengths": None}, ValueError,
         "ids must have shape (B, T), got (1, 3, 7)"),
        ({"ids": ids[0]}, ValueError, "ids must have shape (B, T), got (7,)"),
        ({"ids": 3, "lengths": None}, ValueError, "ids must have shape (B, T), got ()"),
        ({"ids": ids} | flat, ValueError,
         "ids must have shape (N,) where there are offsets, got (3, 7)"),
        ({"ids": [[[1]], [[2, 3]]], "lengths": None}, ValueError, "ids[0] must have shape (L,), "),
        *(({"lengths": lengths}, error, words) for lengths, error, words in BAD_LENGTHS.values()),
        ({"lengths": [1, 2, 0]} | listed | {"lengths": [1, 2, 0]}, ValueError,
         "lengths must be None where ids is a list of sequences"),
        ({"offsets": [0, 1, 3, 3]} | listed, ValueError,
         "offsets must be None where ids is a list of sequences"),
        ({"mask": valid} | listed, ValueError,
         "mask must be None where ids is a list of sequences"),
        ({"lengths": [5], "offsets": [0, 5], "ids": ids[0, :5]}, ValueError,
         "lengths must be None where there are offsets"),
        ({"mask": valid, "lengths": None, "offsets": [0, 7], "ids": ids[0]}, ValueError,
         "mask must be None where there are offsets"),
        ({"mask": valid}, ValueError, "lengths must be None where there is a mask"),
        ({"mask": valid[:2], "lengths": None}, ValueError, "mask must have shape (3, 7), got (2, "),
        ({"mask": ids, "lengths": None}, TypeError, "mask must be bool, got int64"),
        ({"mask": ids.tolist(), "lengths": None}, TypeError, "mask must be bool, got int64"),
        ({"offsets": [0, 2, 4], "lengths": None, "ids": ids[0, :5]}, ValueError,
         "the last offset must be the number of steps, 5, got 4"),
        ({"offsets": [0, 3, 2, 5], "lengths": None, "ids": ids[0, :5]}, ValueError,
         "offsets must not fall, got offsets[2] = 2 after 3"),
        ({"offsets": [], "lengths": None, "ids": ids[0, :5]}, ValueError,
         "offsets must hold the last offset at least, got none"),
        ({"ids": ids} | padded, ValueError, "row 0 of ids begins with padding, 0: pad on the "),
        ({"ids": np.array([[1, 0, 2]])} | padded, ValueError,
         "row 0 of ids has padding, 0, at step 1 and other ids behind it: give lengths, or "),
        ({"ids": [[1, 2], [3, 0]]} | padded, ValueError,
         "row 1 of ids has padding, 0, at step 1: ragged sequences need none; give an array "),
        ({"ids": ids} | padded | {"lengths": [7, 7, 7]}, ValueError,
         "row 0 of ids begins with padding, 0: pad on the right, or give mask=ids != 0"),
        ({"output": None}, TypeError, "output must be True or False, got None"),
        ({"output": 2}, TypeError, "output must be True or False, got 2"),
        *(({"pool": pool}, ValueError,
           f"pool must be 'mean' or 'max' or 'last', got {pool!r}") for pool in ("sum", 1, True)),
        ({"padding_fill": "last"}, ValueError,
         "padding_fill must be 'zero' or 'repeat', got 'last'"),
    ]  # fmt: skip
    return [*state_rows(call), *((call, *row) for row in changed)]


def encoder_rows() -> list[Row]:
    lstm = {"recurrent": er.LSTM(3, 4, dtype="f8")}
    two = er.Encoder(bounded("Embedding"), er.GRU(3, 4, bidirectional=True))
    last = er.Encoder(bounded("Embedding"), er.GRU(3, 4, reverse=True))
    backward = "Encoder.vjp.backward"
    return [
        ("Encoder", {"embedding": er.EmbeddingBag(5, 3)}, TypeError,
         "embedding must be an Embedding, got EmbeddingBag"),
        ("Encoder", {"embedding": values((5, 3), "f4")}, TypeError,
         "embedding must be an Embedding, got ndarray"),
        ("Encoder", {"recurrent": er.Embedding(3, 4)}, TypeError,
         "recurrent must be an RNN, a GRU or an LSTM, got Embedding"),
        ("Encoder", {"recurrent": None}, TypeError,
         "recurrent must be an RNN, a GRU or an LSTM, got NoneType"),
        ("Encoder", {"recurrent": er.GRU(4, 4)}, ValueError,
         "recurrent must read the 3 features of embedding, got input_size=4"),
        ("Encoder", lstm, TypeError,
         "recurrent must be float32, as rows of float32 are read, got float64"),
        ("Encoder", lstm | {"embedding": er.Embedding(5, 3, dtype="f2")}, TypeError,
         "recurrent must be float32, as rows of float16 are read, got float64"),
        ("Encoder", lstm | {"embedding": int8_layer("Embedding")}, TypeError,
         "recurrent must be float32, as rows of int8 are read, got float64"),
        ("Encoder", {"recurrent": er.GRU(3, 4), "embedding": er.Embedding(5, 3, dtype="f8")},
         TypeError, "recurrent must be float64, as rows of float64 are read, got float32"),
        *encoder_call_rows("Encoder.__call__", frozen=False),
        *encoder_call_rows("Encoder.vjp", frozen=False),
        *encoder_call_rows("FrozenEncoder.__call__", frozen=True),
        *((f"{name}.step", changes, error, words)
          for name, self, back in (("Encoder", two, last),
                                   ("FrozenEncoder", two.freeze(), last.freeze()))
          for changes, error, words in (
            ({"self": self}, ValueError, "step needs a layer of one direction"),
            ({"self": back}, ValueError, "step needs a layer that is not reverse"),
            ({"ids_t": [[1, 2, 3]]}, ValueError, "ids_t must have shape (B,) or (), got (1, 3)"),
            ({"ids_t": [1.0, 2.0, 3.0]}, TypeError, "ids_t must be integers, got float64"),
            ({"ids_t": None}, TypeError, "ids_t must be array_like, got NoneType"),
            ({"ids_t": [1, 5, 2]}, IndexError, "index 5 at position 1 is out of range for weight "),
            ({"ids_t": -6, "state": None}, IndexError, "index -6 is out of range for weight with "),
            ({"state": zeros(1, 2, 4)}, ValueError,
             "state must have shape (1, 3, 4), got (1, 2, 4)"),
            ({"state": zeros(1, 3, 4), "ids_t": 1}, ValueError,
             "state must have shape (1, 4), got (1, 3, 4)"),
            ({"state": zeros(1, 3, 4, dtype="f8")}, TypeError,
             "state must be float32 as the layer is, got float64"),
          )),
        *((f"{name}.encode", changes, error, words) for name in ("Encoder", "FrozenEncoder")
          for changes, error, words in (
            ({"sequences": 3}, TypeError, "sequences must be "),
            ({"batch_tokens": 0}, ValueError, "batch_tokens must be 1 or more, got 0"),
            ({"batch_tokens": 1.5}, TypeError, "batch_tokens must be an integer, got float"),
            ({"pool": "sum"}, ValueError, "pool must be 'mean' or 'max' or 'last', got 'sum'"),
            ({"progress": "yes"}, TypeError, "progress must be True or False, got 'yes'"),
          )),
        ("Encoder.vjp", {"self": er.Encoder(int8_layer("Embedding"), er.GRU(3, 4))}, TypeError,
         "int8 rows have no gradient: take"),
        ("Encoder.vjp", {"rng": "a"}, TypeError,
         "rng must be what numpy.random.default_rng takes, got 'a'"),
        *cotangent_rows(backward, (3, 7, 4), (1, 3, 4)),
        (backward, {"grad_output": zeros(3, 4),
                    "self": encoder().vjp(np.ones((3, 7), int), output=False)[1]}, ValueError,
         "grad_output must be None where output is False"),
        (backward, {"grad_output": zeros(3, 7, 4),
                    "self": encoder().vjp(np.ones((3, 7), int), pool="max")[1]}, ValueError,
         "grad_output must have shape (3, 4), got (3, 7, 4)"),
        *(("Encoder.freeze", {"dtype": dtype}, TypeError,
           f"dtype must be float32, float16 or bfloat16 {got}") for dtype, got in (
            ("f8", "where the layer is float32, got float64"),
            ("i1", "where the layer is float32, got int8"),
          )),
        ("Encoder.freeze", {"dtype": "torch.half"}, TypeError,
         "dtype must be float32, float16 or bfloat16, got 'torch.half'"),
        ("Encoder.freeze", {"dtype": "f2", "self": er.Encoder(
            er.Embedding(5, 3, dtype="f8"), er.GRU(3, 4, dtype="f8"))}, TypeError,
         "dtype must be float64 where the layer is float64, got float16"),
        ("FrozenEncoder.load", {"path": 3}, TypeError,
         "path must be a str or an os.PathLike, got int"),
        ("FrozenEncoder.load", {"path": "/no/such/file"}, FileNotFoundError,
         "[Errno 2] No such file or directory: '/no/such/file'"),
        ("FrozenEncoder.load", {"path": __file__}, ValueError,
         f"{__file__} cannot be mapped: it is no .npz file"),
    ]  # fmt: skip


def layout_rows() -> list[Row]:
    tf1, coreml, flax, cudnn = (
        f"convert.from_{name}_weights" for name in ("tf1", "coreml", "flax", "cudnn")
    )
    return [
        (tf1, {"variables": None}, TypeError, "variables must be a mapping of names, got NoneType"),
        (tf1, {"variables": {"kernel": zeros(6, 16)}}, ValueError, "variables must have bias"),
        (tf1, {"variables": {"kernel": zeros(6, 16, dtype="U1"), "bias": zeros(16)}}, TypeError,
         "kernel must be numbers, got <U1"),
        *((call, {"cell": cell}, ValueError, "cell must be 'rnn' or 'gru' or 'lstm', got ")
          for call in (tf1, cudnn) for cell in ("LSTM", None)),
        (tf1, {"prefix": 1}, TypeError, "prefix must be a str, got 1"),
        (tf1, {"forget_bias": np.nan}, ValueError, "forget_bias must be finite, got nan"),
        (tf1, {"forget_bias": "1"}, TypeError, "forget_bias must be a number, got '1'"),
        (coreml, {"forget_bias": 2}, TypeError, "forget_bias must be True or False, got 2"),
        *((call, {"layer": layer}, error, f"layer must be {words}")
          for call in (tf1, coreml, flax)
          for layer, error, words in (("(", TypeError, "an integer, got str"),
                                      (-1, ValueError, "0 or more, got -1"))),
        *((call, {"reverse": "no"}, TypeError, "reverse must be True or False, got 'no'")
          for call in (tf1, coreml, flax)),
        *((coreml, {name: value}, TypeError, f"{name} must be a list of arrays, one for each gate")
          for name in ("W_h", "W_x", "b", "peep") for value in (zeros(4, 4), "a", 1)),
        (coreml, {"W_x": [zeros(4, 2), None, 0, 0]}, TypeError,
         "W_x[1] must be array_like, got NoneType"),
        (flax, {"params": []}, TypeError, "params must be a mapping of names, got list"),
        (flax, {"params": {"i": zeros(2, 4), "h": zeros(4, 4)}}, TypeError,
         "params['i'] must be a mapping of names, got ndarray"),
        (flax, {"params": {"i": {"kernel": ["a"]}, "h": {"kernel": zeros(4, 4)}}}, TypeError,
         "params['i']['kernel'] must be numbers, got <U1"),
        (cudnn, {"params": zeros(127)}, ValueError,
         "params must be 128 numbers for input_size=2, hidden_size=4 and num_layers=1, got 127"),
        (cudnn, {"params": None}, TypeError, "params must be array_like, got NoneType"),
        (cudnn, {"hidden_size": 0}, ValueError, "hidden_size must be 1 or more, got 0"),
        (cudnn, {"input_size": 1.5}, TypeError, "input_size must be an integer, got float"),
        (cudnn, {"num_layers": -1}, ValueError, "num_layers must be 1 or more, got -1"),
        (cudnn, {"bidirectional": 2}, TypeError, "bidirectional must be True or False, got 2"),
        (cudnn, {"bias": "no"}, TypeError, "bias must be True or False, got 'no'"),
    ]  # fmt: skip


def word_list_rows() -> list[Row]:
    every = {
        "Vocabulary": "tokens",
        "Vocabulary.from_counts": "counts",
        "Vocabulary.from_sequences": "sequences[0]",
        "Vocabulary.encode": "sequences[0]",
    }
    return [
        ("Vocabulary", {"tokens": "ab"}, TypeError, "tokens must be a sequence of tokens, got str"),
        ("Vocabulary", {"tokens": 3}, TypeError, "tokens must be a sequence of tokens, got int"),
        ("Vocabulary", {"tokens": ["a", "b", "a"]}, ValueError,
         "tokens must be distinct, got 'a' at 0 and 2"),
        *((call, {name.partition("[")[0]: {1: 2} if name == "counts" else
                  [1] if call == "Vocabulary" else [[1]]}, TypeError,
           f"{name}[0] must be a str, got 1") for call, name in every.items()),
        *(("Vocabulary", {name: value}, error, f"{name} must be {words}")
          for name in ("padding", "unknown")
          for value, error, words in (("c", ValueError, "one of the tokens, got 'c'"),
                                      (0, TypeError, "a str, got 0"))),
        ("Vocabulary.from_counts", {"counts": ["a"]}, TypeError,
         "counts must be a mapping of tokens, got list"),
        ("Vocabulary.from_counts", {"counts": {"a": 1.5}}, TypeError,
         "counts['a'] must be an integer, got float"),
        *((f"Vocabulary.{call}", changes, error, words)
          for call in ("from_counts", "from_sequences")
          for changes, error, words in (
              ({"min_count": 1.5}, TypeError, "min_count must be an integer, got float"),
              ({"max_size": 2}, ValueError, "max_size must be 3 or more, got 2"),
              ({"padding": 1}, TypeError, "padding must be a str, got 1"),
              ({"special": ["<pad>"]}, ValueError,
               "padding, unknown and special must be distinct, got '<pad>' at 0 and 2"),
          )),
        *((f"Vocabulary.{call}", {"sequences": sequences}, TypeError, words)
          for call in ("from_sequences", "encode")
          for sequences, words in (
              (3, "sequences must be lists of tokens, got int"),
              (["ab"], "sequences[0] must be a sequence of tokens, got str: split it, or give"),
          )),
        ("Vocabulary.encode", {"sequences": [["a"], ["b", "c"]]}, ValueError,
         "sequences[1] has 'c' at step 1, which is no token of this vocabulary"),
        ("Vocabulary.ids", {"tokens": ["a", "c"]}, ValueError,
         "tokens has 'c' at step 1, which is no token of this vocabulary, and none stands for"),
        ("Vocabulary.ids", {"tokens": "ab"}, TypeError, "tokens must be a sequence of tokens, got"),
        ("Vocabulary.encode", {"padded": 2}, TypeError, "padded must be True or False, got 2"),
        ("Vocabulary.encode", {"padded": True, "self": er.Vocabulary(["a", "b"])}, ValueError,
         "padded=True needs a vocabulary with a token for padding"),
        ("Vocabulary.decode", {"ids": [[1, 3], [0, 0]]}, IndexError,
         "index 3 at position (0, 1) is out of range for tokens with 3 rows"),
        ("Vocabulary.decode", {"ids": [[1, -1], [0, 0]]}, IndexError,
         "index -1 at position (0, 1) is out of range for tokens with 3 rows"),
        ("Vocabulary.decode", {"ids": [[1.5, 0.0]] * 2}, TypeError,
         "ids must be integers, got float64"),
        ("Vocabulary.load", {"path": 3}, TypeError, "path must be a str or an os.PathLike, got"),
        ("Vocabulary.load", {"path": "/no/such/file"}, FileNotFoundError, "[Errno 2] No such file"),
        ("Vocabulary.load", {"path": file_of_words(binary=True).name}, ValueError,
         f"{file_of_words(binary=True).name} cannot be read: it is not in UTF-8"),
        ("vectors.load", {"path": 3}, TypeError, "path must be a str or an os.PathLike, got int"),
        ("vectors.load", {"path": "/no/such/file"}, FileNotFoundError, "[Errno 2] No such file"),
        ("vectors.load", {"path": __file__}, ValueError, f"{__file__} cannot be read: "),
        ("vectors.load", {"dtype": "i4"}, TypeError,
         "dtype must be float32, float64, float16 or bfloat16, got int32"),
        ("vectors.load", {"limit": -1}, ValueError, "limit must be 0 or more, got -1"),
        ("vectors.load", {"limit": "1"}, TypeError, "limit must be an integer, got str"),
        ("vectors.load", {"errors": "none"}, ValueError, "errors must be 'strict' or 'replace'"),
        ("vectors.load", {"bad_lines": "warn"}, ValueError,
         "bad_lines must be 'raise' or 'skip', got 'warn'"),
        ("vectors.load", {"binary": 1}, TypeError, "binary must be True, False or None, got int"),
        ("vectors.load", {"padding": 3}, TypeError, "padding must be a str, got 3"),
        ("vectors.load", {"unknown": 3}, TypeError, "unknown must be a str, got 3"),
        ("vectors.load", {"cache": 3}, TypeError, "cache must be a str or an os.PathLike, got int"),
        ("vectors.load", {"progress": 3}, TypeError, "progress must be True or False, got 3"),
    ]  # fmt: skip


def conversion_rows() -> list[Row]:
    onnx, keras = "convert.from_onnx_weights", "convert.from_keras_weights"
    lstm = parameters_of(er.LSTM(2, 4))
    rest = {key: array for key, array in lstm.items() if key != "weight_hh_l0"}
    return [
        (onnx, {"W": zeros(4, 3)}, ValueError, "W must have shape (D, G*H, I) with D 1 or 2, got"),
        (onnx, {"W": None}, TypeError, "W must be array_like, got NoneType"),
        (onnx, {"W": zeros(2, 5, 3)}, ValueError, "W must have shape (2, 16, 3), got (2, 5, 3)"),
        (onnx, {"R": zeros(4, 4)}, ValueError, "R must have shape (D, G*H, H), got (4, 4)"),
        (onnx, {"R": zeros(1, 4, 4)}, ValueError, "R must have shape (2, 4, 4), got (1, 4, 4)"),
        (onnx, {"P": zeros(2, 8)}, ValueError, "P must have shape (2, 12), got (2, 8)"),
        (onnx, {"P": zeros(2, 12), "W": zeros(2, 12, 3), "R": zeros(2, 12, 4), "B": None},
         ValueError, "P must be None where R is not that of an LSTM, got shape (2, 12)"),
        *((call, {"source": 3}, TypeError,
           "source must be a path, bytes or an onnx.ModelProto, got int")
          for call in ("convert.from_onnx", "convert.load_onnx", "convert.load_onnx_initializers")),
        *((call, {"source": b""}, ValueError, "source cannot be read: there is no graph in it")
          for call in ("convert.load_onnx", "convert.load_onnx_initializers")),
        ("convert.from_onnx", {"name": "gru"}, ValueError,
         "name must be that of a node, got 'gru': the model has GRU 'cell'"),
        ("convert.from_onnx", {"name": None, "source": EMPTY_GRAPH}, ValueError,
         "name must be that of a node, got None: the model has no RNN, GRU, LSTM or Gather"),
        ("convert.from_onnx", {"reset_after": "yes"}, TypeError,
         "reset_after must be True or False, got 'yes'"),
        ("convert.from_onnx", {"reset_after": True, "source": onnx_node()._replace(op="RNN")},
         ValueError, "reset_after must be None for an RNN, got True"),
        (onnx, {"R": zeros(2, 8, 4)}, ValueError, "R must have shape (G*H, H) with G 1, 3 or 4"),
        (onnx, {"B": zeros(2, 4)}, ValueError, "B must have shape (2, 32), got (2, 4)"),
        ("convert.from_keras", {"layer": None}, TypeError,
         "layer must be a Keras SimpleRNN, GRU, LSTM, Bidirectional of one, or Embedding, got"),
        ("convert.from_keras", {"layer": keras_layer(activation="relu")}, ValueError,
         "layer must have the activation 'tanh', got 'relu'"),
        (keras, {"weights": [zeros(4, 12), zeros(4, 12)] * 2}, ValueError,
         "weights may be those of two directions or of two layers"),
        (keras, {"bidirectional": True}, ValueError,
         "bidirectional must be False or None where weights has one direction"),
        (keras, {"bidirectional": 2}, TypeError, "bidirectional must be True or False, got"),
        (keras, {"weights": []}, ValueError, "weights must be 2 or 3 arrays"),
        (keras, {"weights": [zeros(2, 12)] * 5}, ValueError, "weights must be 2 or 3 arrays"),
        (keras, {"weights": [zeros(2, 9), zeros(4, 12)]}, ValueError,
         "weights[0] must have shape (2, 12), got (2, 9)"),
        (keras, {"weights": [zeros(2, 12), zeros(4, 9)]}, ValueError,
         "weights[1] must have shape (H, G*H) with G 1, 3 or 4, got (4, 9)"),
        (keras, {"weights": [None, None]}, TypeError,
         "weights[0] must be array_like, got NoneType"),
        (keras, {"weights": [zeros(2, 12), zeros(4, 12), zeros(12)]}, ValueError,
         "weights[2] must have shape (2, 12) as reset_after is True, got (12,)"),
        *((call, {"parameters": parameters}, ValueError, words)
          for call in ("convert.to_onnx_weights", "convert.to_keras_weights")
          for parameters, words in (
            ({}, "parameters must have weight_ih_l0, weight_hh_l0"),
            (rest, "parameters must have weight_hh_l0"),
            (lstm | {"weight_hr_l0": zeros(3, 4)},
             "parameters has weight_hr_l0, which other layouts cannot hold"),
            (lstm | {"weight_ih_l0": zeros(15, 2)},
             "weight_ih_l0 must have shape (16, 2), got (15, 2)"),
            (lstm | {"weight_hh_l0": zeros(4, 16)},
             "weight_hh_l0 must have shape (G*H, H) with G 1, 3 or 4, got (4, 16)"),
            (lstm | {"bias_ih_l0": zeros(4)}, "bias_ih_l0 must have shape (16,), got (4,)"),
        )),
        *((call, {"parameters": lstm, "layer": 1}, ValueError,
           "parameters must have weight_ih_l1, weight_hh_l1")
          for call in ("convert.to_onnx_weights", "convert.to_keras_weights")),
    ]  # fmt: skip


def runtime_rows() -> list[Row]:
    return [
        *(("set_num_threads", {"n": n}, ValueError,
           f"n must be a number of threads from 1 to 1024, got {n}") for n in (0, -1, 1025, 2**70)),
        *(("use_backend", {"name": name}, ValueError,
           f"backend must be 'native' or 'numpy', got {got}")
          for name, got in (("cuda", "'cuda'"), (None, "NoneType"), (1, "int"))),
    ]  # fmt: skip


def strange_rows() -> list[Row]:
    """Arguments that NumPy or Python would refuse in their own words, or take."""
    backward, most = "embedding_bag_vjp.backward", 2**63 - 1
    return [
        *(("gather", {"indices": indices, "out": None}, IndexError,
           f"index {2**64}{at} is out of range: indices must fit 64 bits")
          for indices, at in (([0, 2**64], " at position 1"), ([[2**64]], " at position (0, 0)"),
                              (2**64, ""))),
        ("gather", {"weight": None}, TypeError, "weight must be array_like, got NoneType"),
        ("gather", {"mode": np.array(["raise"])}, ValueError, "mode must be 'raise' or 'wrap'"),
        *(("scatter_add", {"updates": updates}, TypeError,
           f"updates must be of a dtype to add to a target of float32, got {updates.dtype}")
          for updates in (zeros(2, 3, dtype="M8[s]"), zeros(2, 3, dtype="U1"),
                          zeros(2, 3, dtype="i4,f4"), zeros(2, 3, dtype="O"))),
        ("scatter_add", {"target": zeros(5, 3, dtype="M8[s]")}, TypeError,
         "updates must be of a dtype to add to a target of datetime64[s], got float32"),
        *(("coalesce", {"updates": updates}, TypeError, f"updates must be numbers, got {got}")
          for updates, got in ((["a", "b"], "<U1"), (zeros(2, dtype="m8[s]"), "timedelta64[s]"))),
        ("coalesce", {"num_embeddings": 2**63}, ValueError,
         f"num_embeddings must be at most {most}, got {2**63}"),
        ("coalesce", {"num_embeddings": 1.5}, TypeError,
         "num_embeddings must be an integer, got float"),
        *(("coalesce", {"indices": np.array([0, index], np.uint64), "num_embeddings": None},
           IndexError, f"index {index} at position 1 is out of range for any table with {most}")
          for index in (most, 2**63, 2**64 - 1)),
        ("RowGrad.astype", {"dtype": int}, TypeError,
         "dtype must be float32, float64, float16 or bfloat16, got int64"),
        ("RowGrad.astype", {"dtype": "what"}, TypeError,
         "dtype must be float32, float64, float16 or bfloat16, got 'what'"),
        ("RowGrad.to_dense", {"num_embeddings": 2.0}, TypeError,
         "num_embeddings must be an integer, got float"),
        ("RowGrad.to_dense", {"num_embeddings": -1}, ValueError,
         "num_embeddings must be 0 or more, got -1"),
        ("RowGrad.to_dense", {"num_embeddings": 2**62}, ValueError,
         "num_embeddings and the rows must make arrays that memory can address"),
        (backward, {"into": [[0.0]]}, TypeError, "into must be an ndarray, got list"),
        (backward, {"into": read_only(zeros(5, 3))}, ValueError, "into is read-only"),
        (backward, {"into": zeros(5, 3, dtype=int)}, TypeError,
         "into must be float32 as weight is, got int64"),
        ("embedding_bag", {"padding_idx": 1.5}, TypeError,
         "padding_idx must be an integer, got float"),
        ("embedding_bag", {"include_last_offset": np.array([1, 0])}, TypeError,
         "include_last_offset must be True or False, got an array of shape (2,)"),
        ("set_num_threads", {"n": 2.0}, TypeError, "n must be an integer, got float"),
        ("lstm_forward", {"reverse": np.array([1, 0])}, TypeError,
         "reverse must be True or False, got an array of shape (2,)"),
        ("GRU", {"bias": "no"}, TypeError, "bias must be True or False, got 'no'"),
        *((name, {"dtype": "nonsense"}, TypeError, "dtype must be float32")
          for name in ("GRU", "Embedding")),
        *((name, {"rng": "a"}, TypeError,
           "rng must be what numpy.random.default_rng takes, got 'a'")
          for name in ("GRU", "Embedding")),
        ("GRU", {"hidden_size": 2**62}, ValueError,
         "input_size and hidden_size must make arrays that memory can address"),
        ("Embedding", {"num_embeddings": 2**62}, ValueError,
         "num_embeddings and embedding_dim must make arrays that memory can address"),
        ("Embedding", {"max_norm": 10**400}, ValueError, "max_norm must fit a float, got 1000"),
        ("GRU.load_state_dict", {"state_dict": None}, TypeError,
         "state_dict must be a mapping of names, got NoneType"),
        *((call, {"parameters": None}, TypeError,
           "parameters must be a mapping of names, got NoneType")
          for call in ("convert.to_onnx_weights", "convert.to_keras_weights")),
        ("convert.to_onnx_weights", {"parameters": {1: zeros(4)}}, ValueError,
         "parameters must have weight_ih_l0"),
        *((call, {"layer": layer}, error, f"layer must be {words}")
          for call in ("convert.to_onnx_weights", "convert.to_keras_weights",
                       "convert.from_onnx_weights", "convert.from_keras_weights")
          for layer, error, words in (("(", TypeError, "an integer, got str"),
                                      (-1, ValueError, "0 or more, got -1"))),
        ("convert.from_keras_weights", {"weights": None}, TypeError,
         "weights must be a list of arrays, got NoneType"),
        ("convert.from_onnx_weights", {"W": zeros(2, 4, 3, dtype="U1")}, TypeError,
         "W must be numbers, got <U1"),
    ]  # fmt: skip


def optimizer_rows() -> list[Row]:
    every: list[Row] = [
        (f"optim.{name}", changes, error, words)
        for name in er.optim.__all__
        for changes, error, words in (
            ({"parameters": {"w": [1.0]}}, TypeError, "w must be an ndarray, got list"),
            ({"parameters": {"w": zeros(2, dtype=int)}}, TypeError, "w must be float32, float64, "),
            ({"parameters": {"w": read_only(zeros(2))}}, ValueError, "w is read-only"),
            ({"parameters": {"a": {"w": zeros(2)}, "a.w": zeros(2)}}, ValueError,
             "parameters must have names that differ, got 'a.w' twice"),
            ({"parameters": {"w": {1: zeros(2)}}}, TypeError,
             "parameters['w'] must have names that are strings, got 1"),
            ({"lr": -1}, ValueError, "lr must be finite and 0 or more, got -1.0"),
            ({"lr": np.inf}, ValueError, "lr must be finite and 0 or more, got inf"),
            ({"lr": "1"}, TypeError, "lr must be a number, got '1'"),
            ({"lr": True}, TypeError, "lr must be a number, got True"),
            ({"lr": np.timedelta64(1, "s")}, TypeError, "lr must be a number, got 1 seconds"),
            ({"weight_decay": np.nan}, ValueError, "weight_decay must be finite and 0 or more"),
            ({"catch_up": 2}, TypeError, "catch_up must be True or False, got 2"),
            ({"rng": "a"}, TypeError, "rng must be what numpy.random.default_rng takes, got 'a'"),
        )
    ]  # fmt: skip
    bad_rows: list[tuple[list[Any], type[Exception], str]] = [
        ([0, 5], IndexError, "index 5 at position 1 is out of range for w with 5 rows"),
        ([-1, 4], IndexError, "index -1 at position 0 is out of range for w with 5 rows"),
        ([4, 4], ValueError, "grads['w'].indices must be distinct and rising"),
        ([4, 0], ValueError, "grads['w'].indices must be distinct and rising"),
        ([0.0, 4.0], TypeError, "grads['w'].indices must be integers, got float64"),
    ]
    return [
        *every,
        *((f"optim.{name}", {"eps": 0}, ValueError, "eps must be positive, got 0.0")
          for name in er.optim.__all__ if name != "SGD"),
        *((f"optim.{name}", {"betas": betas}, error, words)
          for name in ("Adam", "AdamW")
          for betas, error, words in (
              (0.9, TypeError, "betas must be two numbers, got 0.9"),
              ((0.9, 1.0), ValueError, "betas[1] must be in [0, 1), got 1.0"),
          )),
        ("optim.SGD", {"momentum": 1.0}, ValueError, "momentum must be in [0, 1), got 1.0"),
        ("optim.SGD", {"nesterov": True}, ValueError, "nesterov needs a momentum above 0, got 0"),
        *(("optim.SGD.step", {"grads": {"w": er.RowGrad(np.array(rows), zeros(2, 3))}}, error,
           words) for rows, error, words in bad_rows),
        ("optim.SGD.step", {"grads": {"w": zeros(5, 2)}}, ValueError,
         "grads['w'] must have shape (5, 3), got (5, 2)"),
        ("optim.SGD.step", {"grads": {"w": zeros(5, 3, dtype="f8")}}, TypeError,
         "grads['w'] must be float32 as the parameter is, got float64"),
        ("optim.SGD.step", {"grads": {"v": zeros(5, 3)}}, ValueError,
         "grads must name parameters, got 'v': there are 'w'"),
        ("optim.SGD.step", {"grads": zeros(5, 3)}, TypeError,
         "grads must be a mapping of names, got ndarray"),
        ("optim.SGD.catch_up", {"rows": {"w": [0, 5]}}, IndexError,
         "index 5 at position 1 is out of range for w with 5 rows"),
        ("optim.SGD.catch_up", {"rows": {"w": [0.5]}}, TypeError,
         "rows['w']: indices must be integers, got float64"),
        ("optim.SGD.catch_up", {"rows": [0]}, TypeError,
         "rows must be a mapping of names, got list"),
        ("optim.SGD.load_state_dict", {"state_dict": {"step": 1}}, ValueError,
         "state_dict does not fit the optimiser: missing w.step, w.momentum_buffer"),
        ("clip_grad_norm", {"max_norm": True}, TypeError, "max_norm must be a number, got True"),
        ("clip_grad_norm", {"max_norm": 0}, ValueError, "max_norm must be positive, got 0.0"),
        ("clip_grad_norm", {"grads": {"a": [zeros(2, dtype=int)]}}, TypeError,
         "grads['a'][0] must be float32, float64, float16 or bfloat16, got int64"),
        ("clip_grad_norm", {"grads": er.RowGrad(np.array([1]), zeros(2, 3))}, ValueError,
         "values must have shape (1,) + (...), got (2, 3)"),
    ]  # fmt: skip


ROWS: list[Row] = [
    *strange_rows(),
    *gather_rows(),
    *axis_rows(),
    *coalesce_rows(),
    *strict_rows(),
    *bag_function_rows("embedding_bag"),
    *(
        row
        for row in bag_function_rows("embedding_bag_argmax")
        if not {"mode", "per_sample_weights"} & row[1].keys()
    ),
    ("embedding_bag_argmax", {"weight": zeros(5, 3, dtype=int)}, TypeError,
     "weight must be float32, float64, float16 or bfloat16 for mode 'max', got int64"),
    *bag_function_rows("embedding_bag_vjp"),
    *gradient_rows("embedding_bag_vjp.backward", 1),
    ("embedding_bag_vjp.backward", {"into": zeros(5, 4)}, ValueError,
     "into must have shape (5, 3), got (5, 4)"),
    *quantized_rows(),
    *recurrence_rows(),
    *packed_rows(),
    *padding_rows(),
    *(row for name in LAYERS for row in recurrent_layer_rows(name)),
    ("RNN", {"nonlinearity": "elu"}, ValueError,
     "nonlinearity must be 'tanh' or 'relu', got 'elu'"),
    *(("RNN", {"leak": leak}, ValueError, f"leak must be in (0, 1], got {float(leak)}")
      for leak in (0, -1, 2, np.nan, np.float32(1.5), np.array(0.0))),
    ("RNN", {"leak": True}, TypeError, "leak must be a number, got True"),
    ("RNN", {"leak": [0.5]}, TypeError, "leak must be a number, got [0.5]"),
    ("GRU", {"nonlinearity": "tanh"}, TypeError, "nonlinearity is for RNN alone: the gates of"),
    ("LSTM", {"nonlinearity": "relu"}, TypeError, "nonlinearity is for RNN alone: the gates of"),
    ("RNN", {"reset_after": True}, TypeError, "reset_after is for GRU alone: RNN and LSTM have"),
    ("LSTM", {"reset_after": False}, TypeError, "reset_after is for GRU alone: RNN and LSTM have"),
    *embedding_rows(),
    *embedding_bag_layer_rows(),
    *encoder_rows(),
    *word_list_rows(),
    *conversion_rows(),
    *layout_rows(),
    *optimizer_rows(),
    *runtime_rows(),
]  # fmt: skip
