"""What an ONNX file says as constants, behind the nodes that put them into another form.

A function here takes the attributes of a node, the number of its outputs, and its inputs, of which
None is left out. It returns its outputs, or None if what it is to do is not done here.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._quiet import quiet
from embedrnn.convert.onnx.graph import Graph, Model, Node, shown
from embedrnn.convert.onnx.protobuf import Malformed
from embedrnn.convert.onnx.tensors import BFLOAT16, DTYPES, read

Array = npt.NDArray[Any]
_Attributes = dict[str, Any]
_Folded = Sequence[Array] | None
_Place = tuple[Graph, str]

# What nodes may make of a file before it is refused, in bytes: a few times what is in it, and what
# small ones may say by a shape alone.
_MOST_BYTES, _MOST_TIMES = 2**28, 8


class Constants:
    """The constants of a model: those asked for, and what they are made from."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known: dict[_Place, Array | None] = {}
        self._made = 0

    def value(self, graph: Graph, name: str) -> Array | None:
        """Return an input of a node as an array; None if it is not constant."""
        wanted, begun = [_place(graph, name)], set[_Place]()
        while wanted:
            place = wanted[-1]
            missing = [p for p in self._needed(place) if p not in self._known]
            if place in self._known or not missing:
                self._learn(wanted.pop())
                continue
            begun.add(place)
            if not begun.isdisjoint(missing):
                raise Malformed(f"{place[1]} is computed from itself")
            wanted += missing
        return self._known[_place(graph, name)]

    def is_given(self, graph: Graph, name: str) -> bool:
        """Whether an input of a node is not left out, by it or by the caller of its function."""
        return bool(_place(graph, name)[1])

    def _needed(self, place: _Place) -> list[_Place]:
        """Return what has to be known before this is."""
        graph, name = place
        if name in graph.tensors or name not in graph.makers:
            return []
        node, _ = graph.makers[name]
        if not self._is_folded(node):
            return []
        return [each for each in _places(graph, node) if each[1]]

    def _is_folded(self, node: Node) -> bool:
        """Whether a node is an operator of ONNX that is folded, and no function of the model."""
        return node.op in _FOLDED and not node.domain and not self._model.function_of(node)

    def _learn(self, place: _Place) -> None:
        graph, name = place
        if place in self._known:
            return
        self._known[place] = None
        if name in graph.tensors:
            self._known[place] = read(graph.tensors[name], self._model.files)
        elif name in graph.makers:
            node, k = graph.makers[name]
            outputs = self._folded(graph, node)
            if outputs is not None and k < len(outputs):
                self._known[place] = outputs[k]

    def _folded(self, graph: Graph, node: Node) -> _Folded:
        """Return what a node makes of constants."""
        if not self._is_folded(node):
            return None
        places = _places(graph, node)
        values = [self._known[place] if place[1] else None for place in places]
        if any(value is None and name for value, (_, name) in zip(values, places, strict=True)):
            return None
        attributes = self._model.attributes(graph, node)
        try:
            size = _size(node.op, attributes, values)
            self._made += size
            if self._made > _MOST_BYTES + _MOST_TIMES * self._model.files.size:
                raise Malformed(f"{shown(node)} makes more of its constants than such a file does")
            return _run(node, attributes, values)
        except Malformed:
            raise
        except Exception as error:  # whatever a broken file leads to
            raise Malformed(f"{shown(node)} ({node.op}) does not fit its inputs: {error}") from None


@quiet
def _run(node: Node, attributes: _Attributes, values: Sequence[Array | None]) -> _Folded:
    return _FOLDED[node.op](attributes, len(node.outputs), *values)


def _places(graph: Graph, node: Node) -> list[_Place]:
    return [_place(graph, name) for name in node.inputs]


def _place(graph: Graph, name: str) -> _Place:
    """Return where a name gets its meaning: in the graph, around it, or where it is called.

    The name is "" of what is left out.
    """
    while True:
        if name in graph.tensors or name in graph.makers or name in graph.inputs:
            return graph, name
        if name in graph.bound:
            graph, name = graph.bound[name]
        elif graph.parent is not None:
            graph = graph.parent
        else:
            return graph, name


def _size(op: str, attributes: _Attributes, values: Sequence[Array | None]) -> int:
    """Return how many bytes a node makes at most, where it makes more than views."""
    given = [value for value in values if value is not None]
    if op in {"Cast", "DequantizeLinear"}:
        return 16 * given[0].size
    if op == "Gather":
        row: int = given[0].size // max(1, given[0].shape[attributes.get("axis", 0)])
        return row * given[1].size * given[0].itemsize
    if op in {"ConstantOfShape", "Expand"}:  # views, which others may write out
        return 8 * math.prod(_integers(given[-1])) * (given[0].size if op == "Expand" else 1)
    if op == "Concat" or (op == "Reshape" and not given[0].flags.c_contiguous):
        return sum(value.nbytes for value in given)
    return 0


def _constant(attributes: _Attributes, _n: int) -> _Folded:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if name in attributes:
            kind = np.float32 if "float" in name else np.int64
            value = attributes[name]
            return [value if name == "value" else np.array(value, kind)]
    return None


def _constant_of_shape(attributes: _Attributes, _n: int, shape: Array) -> _Folded:
    value = attributes.get("value", np.zeros(1, np.float32))
    return [np.broadcast_to(value.reshape(()), _integers(shape))]


def _expand(_a: _Attributes, _n: int, x: Array, shape: Array) -> _Folded:
    return [np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(_integers(shape))))]


def _identity(_a: _Attributes, _n: int, x: Array) -> _Folded:
    return [x]


def _cast(attributes: _Attributes, _n: int, x: Array) -> _Folded:
    to = attributes["to"]
    if to not in DTYPES or to == BFLOAT16:
        return None
    return [x.astype(np.dtype(DTYPES[to][0]).newbyteorder("="), copy=False)]


def _unsqueeze(attributes: _Attributes, _n: int, x: Array, axes: Array | None = None) -> _Folded:
    return [np.expand_dims(x, _axes(attributes, axes) or ())]


def _squeeze(attributes: _Attributes, _n: int, x: Array, axes: Array | None = None) -> _Folded:
    return [np.squeeze(x, _axes(attributes, axes))]


def _axes(attributes: _Attributes, axes: Array | None) -> tuple[int, ...] | None:
    """Return axes, which were attributes before they were inputs."""
    given = attributes.get("axes") if axes is None else _integers(axes)
    return None if given is None else tuple(given)


def _concat(attributes: _Attributes, _n: int, *parts: Array) -> _Folded:
    return [np.concatenate(parts, attributes["axis"])]


def _transpose(attributes: _Attributes, _n: int, x: Array) -> _Folded:
    return [x.transpose(attributes.get("perm"))]


def _reshape(attributes: _Attributes, _n: int, x: Array, shape: Array | None = None) -> _Folded:
    sizes = attributes["shape"] if shape is None else _integers(shape)
    if not attributes.get("allowzero", 0):
        sizes = [size or x.shape[k] for k, size in enumerate(sizes)]
    return [x.reshape(sizes)]


def _slice(
    attributes: _Attributes, _n: int, x: Array, starts: Array | None = None,
    ends: Array | None = None, axes: Array | None = None, steps: Array | None = None,
) -> _Folded:  # fmt: skip
    first, behind = (
        attributes[name] if given is None else _integers(given)
        for name, given in (("starts", starts), ("ends", ends))
    )
    along = _axes(attributes, axes)
    along = tuple(range(len(first))) if along is None else along
    strides = [1] * len(first) if steps is None else _integers(steps)
    cuts = [slice(None)] * x.ndim
    for axis, start, end, stride in zip(along, first, behind, strides, strict=True):
        # Back from before the axis is from its first, not from nowhere.
        begin = max(start, -x.shape[axis]) if stride < 0 else start
        cuts[axis] = slice(begin, end, stride)
    return [x[tuple(cuts)]]


def _split(attributes: _Attributes, n: int, x: Array, sizes: Array | None = None) -> _Folded:
    axis = attributes.get("axis", 0)
    given = attributes.get("split") if sizes is None else _integers(sizes)
    if given is None:  # as equal as may be, the last the smallest
        each = -(-x.shape[axis] // n)
        given = [each] * (n - 1)
        given.append(x.shape[axis] - sum(given))
    if len(given) != n or sum(given) != x.shape[axis] or min(given) < 0:
        raise ValueError(f"an axis of {x.shape[axis]} is no {n} parts of {given}")
    return np.split(x, np.cumsum(given)[:-1], axis)


def _gather(attributes: _Attributes, _n: int, x: Array, indices: Array) -> _Folded:
    return [np.take(x, indices, attributes.get("axis", 0))]


def _dequantize(
    attributes: _Attributes, _n: int, x: Array, scale: Array, zero: Array | None = None
) -> _Folded:
    if attributes.get("block_size", 0) or attributes.get("output_dtype", 0):
        return None
    if scale.size == 1:
        scale, zero = scale.reshape(()), None if zero is None else zero.reshape(())
    if scale.ndim:
        shape = [1] * x.ndim
        shape[attributes.get("axis", 1)] = scale.size
        scale, zero = scale.reshape(shape), None if zero is None else zero.reshape(shape)
    codes = x.astype(scale.dtype) if zero is None else (x.astype(np.int64) - zero)
    return [(codes * scale).astype(scale.dtype, copy=False)]


def _integers(array: Array) -> list[int]:
    values: list[int] = array.reshape(-1).astype(np.int64, casting="safe").tolist()
    return values


_FOLDED: dict[str, Callable[..., _Folded]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": _dequantize,
    "Expand": _expand,
    "Gather": _gather,
    "Identity": _identity,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
