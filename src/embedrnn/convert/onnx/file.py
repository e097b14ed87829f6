"""ONNX files, read with NumPy alone: the recurrent layers and the tables in them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from embedrnn import _check
from embedrnn._check import onnx as _rules
from embedrnn.convert.onnx.folding import Constants
from embedrnn.convert.onnx.graph import Graph, Model, Node, shown
from embedrnn.convert.onnx.protobuf import Malformed
from embedrnn.convert.onnx.tensors import Files, mapped, read

Array = npt.NDArray[Any]

_RECURRENT = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
# The names of inputs in their order. The last is no layer of ours: it is named, and not passed by.
_INPUTS = {
    "RNN": _RECURRENT[:6],
    "GRU": _RECURRENT[:6],
    "LSTM": _RECURRENT,
    "Gather": ["data", "indices"],
    "DynamicQuantizeLSTM": [*_RECURRENT, "W_scale", "W_zero_point", "R_scale", "R_zero_point"],
}


class OnnxNode(NamedTuple):
    """A node of an ONNX file that `from_onnx` makes a layer of.

    Attributes
    ----------
    op : str
        "RNN", "GRU", "LSTM", or "Gather" from a table; also "DynamicQuantizeLSTM", which
        `from_onnx` refuses.
    name : str
        The node's, or that of its first output where it has none. Of a node in the body of a
        function it begins with that of the call.
    domain : str
        "" if the operator is one of ONNX itself.
    attributes : dict
        Those that the file has, by name: numbers, text, lists of them, or arrays.
    inputs : dict
        Those that the node is given, by their names in ONNX (X, W, R, B, sequence_lens, initial_h,
        initial_c and P; data and indices): a read-only array where the file says it, None where it
        is computed as the model runs, or of a dtype that NumPy lacks.

    Examples
    --------
    >>> import numpy as np
    >>> from embedrnn import convert
    >>> zeros = np.zeros((1, 3, 1), np.float32)
    >>> convert.OnnxNode("GRU", "gru", "", {"hidden_size": 1}, {"X": None, "W": zeros}).state
    """

    op: str
    name: str
    domain: str
    attributes: dict[str, Any]
    inputs: dict[str, Array | None]

    @property
    def state(self) -> Any:
        """What to call the layer with as its state: None if the file says none, or zeros.

        An array of shape (directions, B, H), of an LSTM a tuple of two. A state that the model
        computes is None here and in `inputs`.
        """
        return _rules.initial_state(self)


def load_onnx(source: Any) -> list[OnnxNode]:
    """Read the recurrent layers and the embeddings of an ONNX file, without the onnx package.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        A file is mapped into memory: weights are views of it, also those that it has in files
        beside it (``external_data``), and nothing but what is asked for is read. Do not write to
        these files meanwhile.

    Returns
    -------
    list of OnnxNode
        Every RNN, GRU and LSTM, and every Gather from a constant table of two axes: of the graph,
        in its order, of the graphs nested in nodes (If, Loop, Scan), and of functions, once for
        each call.

    Raises
    ------
    OSError
        If the file cannot be opened.
    TypeError
        If `source` is something else.
    ValueError
        If it is no ONNX file, or not the whole of one, or a tensor is in a file that is not there.

    Notes
    -----
    Weights may stand behind nodes that only put them into another form: Cast, Concat, Constant,
    ConstantOfShape, DequantizeLinear, Expand, Gather, Identity, Reshape, Slice, Split, Squeeze,
    Transpose and Unsqueeze. Those in bfloat16 are widened to float32, which has them all.

    See Also
    --------
    from_onnx : A layer with these weights.
    load_onnx_initializers : All other weights.

    Examples
    --------
    >>> from embedrnn import convert
    >>> convert.load_onnx(b"")
    Traceback (most recent call last):
    ValueError: source cannot be read: there is no graph in it
    """
    with _reading(source) as files:
        model = Model(files)
        constants = Constants(model)
        return [
            entry
            for graph, node in model.nodes()
            if node.op in _INPUTS and (entry := _entry(model, constants, graph, node)) is not None
        ]


def load_onnx_initializers(source: Any) -> dict[str, Array]:
    r"""Read the weights of an ONNX file by name: those around its recurrent layers.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        As of `load_onnx`.

    Returns
    -------
    dict of ndarrays
        The initializers of the graph, read-only views of the file, without those nested in nodes.
        Those of a dtype that NumPy lacks are left out; bfloat16 is widened to float32.

    Raises
    ------
    OSError, TypeError, ValueError
        As of `load_onnx`.

    Examples
    --------
    >>> from embedrnn import convert
    >>> tensor = b"\x08\x01\x10\x01\x42\x01b\x4a\x04\0\0\x80\x3f"  # b = [1.0]
    >>> graph = b"\x2a" + bytes([len(tensor)]) + tensor
    >>> convert.load_onnx_initializers(b"\x3a" + bytes([len(graph)]) + graph)
    {'b': array([1.], dtype=float32)}
    """
    with _reading(source) as files:
        tensors = Model(files).graph.tensors
        arrays = {name: read(tensor, files) for name, tensor in tensors.items()}
        return {name: array for name, array in arrays.items() if array is not None}


@contextmanager
def _reading(source: Any) -> Iterator[Files]:
    """Give the bytes of a model, and say of which it is that what is wrong in it is wrong."""
    files, name = _opened(source)
    try:
        yield files
    except Malformed as error:
        raise ValueError(f"{name} cannot be read: {error}") from None


def _opened(source: Any) -> tuple[Files, str]:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return Files(mapped(path), path.parent), str(path)
    if hasattr(source, "SerializeToString") and hasattr(source, "graph"):  # a ModelProto
        source = source.SerializeToString()
    _check.instance("source", source, "a path, bytes or an onnx.ModelProto", bytes)
    return Files(source, None), "source"


def _entry(model: Model, constants: Constants, graph: Graph, node: Node) -> OnnxNode | None:
    """Return what is told of a node; None of a Gather that takes no rows of a table."""
    inputs = {
        known: constants.value(graph, name)
        for known, name in zip(_INPUTS[node.op], node.inputs, strict=False)
        if constants.is_given(graph, name)
    }
    if node.op == "Gather" and not _is_table(inputs):
        return None
    attributes = model.attributes(graph, node)
    return OnnxNode(node.op, f"{graph.path}{shown(node)}", node.domain, attributes, inputs)


def _is_table(inputs: dict[str, Array | None]) -> bool:
    data = inputs.get("data")
    is_table = data is not None and data.ndim == 2 and data.dtype.kind == "f"
    return is_table and inputs.get("indices") is None
