"""ONNX models to read and run: graphs of one recurrent node, and what may stand around it."""

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

onnx: Any = pytest.importorskip("onnx")
helper: Any = onnx.helper
FLOAT, INT32, INT64 = (getattr(onnx.TensorProto, kind) for kind in ("FLOAT", "INT32", "INT64"))
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}

Arrays = dict[str, np.ndarray]


def weights(
    op: str, inputs: int = 5, hidden: int = 7, directions: int = 1, seed: int = 0
) -> Arrays:
    """Return W, R and B of a node."""
    rng, rows = np.random.default_rng(seed), GATES[op] * hidden
    shapes = {"W": (rows, inputs), "R": (rows, hidden), "B": (2 * rows,)}
    return {
        name: rng.uniform(-0.5, 0.5, (directions, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def node(op: str, given: list[str], name: str = "cell", hidden: int = 7, **attributes: Any) -> Any:
    """Return a node with these inputs in their places, those of other names left out."""
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    inputs = [known if known in given else "" for known in order[: 6 if op != "LSTM" else 8]]
    while not inputs[-1]:
        inputs.pop()
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    return helper.make_node(op, inputs, outputs, name=name, hidden_size=hidden, **attributes)


def model(
    nodes: list[Any], constants: Arrays, inputs: dict[str, Any] | None = None, *,
    outputs: tuple[str, ...] = ("Y",), opset: int = 14, functions: Any = (),
) -> Any:  # fmt: skip
    """Return a model of these nodes, whose constants are initialisers."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(name, kind, None)
            for name, kind in (inputs or {"X": FLOAT}).items()
        ],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    if functions:
        opsets.append(helper.make_opsetid("here", 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def recurrent(op: str, constants: Arrays | None = None, **attributes: Any) -> Any:
    """Return a model of one node."""
    directions = 1 + (attributes.get("direction") == "bidirectional")
    arrays = weights(op, directions=directions) if constants is None else constants
    return model([node(op, ["X", *arrays], **attributes)], arrays)


def branch(name: str, arrays: Arrays) -> Any:
    """Return a graph of a GRU of this name, to be nested in a node; it has these of its weights."""
    inner = node("GRU", ["X", "W", "R", "B"], name=name)
    values = [onnx.numpy_helper.from_array(array, given) for given, array in arrays.items()]
    outputs = [helper.make_tensor_value_info(inner.output[0], FLOAT, None)]
    return helper.make_graph([inner], name, [], outputs, values)


def runner(the_model: Any) -> Callable[..., list[np.ndarray]]:
    """Return what runs a model by ONNX Runtime."""
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(
        the_model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return lambda **feed: session.run(None, feed)


def run(the_model: Any, **feed: np.ndarray) -> list[np.ndarray]:
    """Run a model by ONNX Runtime."""
    return runner(the_model)(**feed)


@cache
def node_cases() -> list[Any]:
    """Return the tests of nodes that the onnx package has."""
    module = pytest.importorskip("onnx.backend.test.case.node")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return list(module.collect_testcases(None))


def tensors(values: Any) -> Iterator[np.ndarray]:
    """Yield the tensors of such a test as arrays."""
    for value in values:
        yield onnx.numpy_helper.to_array(value) if hasattr(value, "dims") else np.asarray(value)
