"""The nodes of an ONNX file: of its graph, those nested in it, and the functions that it calls."""

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

from embedrnn.convert._onnx_tensors import Array, Files, name_of, read
from embedrnn.convert._protobuf import Malformed, Message

# The numbers of fields.
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODES, _GRAPH_TENSORS, _GRAPH_INPUTS = 1, 5, 11
_INPUTS, _OUTPUTS, _NAME, _OP, _ATTRIBUTES, _DOMAIN, _OVERLOAD = 1, 2, 3, 4, 5, 7, 8
_FUNCTION_NAME, _FUNCTION_INPUTS, _FUNCTION_NODES, _DEFAULTS = 1, 4, 7, 11
_FUNCTION_DOMAIN, _FUNCTION_OVERLOAD = 10, 13
_ATTRIBUTE_NAME, _TYPE, _REFERENCE = 1, 20, 21
_VALUE_NAME = 1
_GRAPH, _GRAPHS = 6, 11
# What an attribute's type says, as the number of the field that holds its value.
_FIELDS = {1: 2, 2: 3, 3: 4, 4: 5, 5: _GRAPH, 6: 7, 7: 8, 8: 9, 9: 10, 10: _GRAPHS}

# A file that is not broken has a few levels, and each node once for each call of its function.
_DEEPEST = 40
_MOST_NODES = 200_000


class Node(NamedTuple):
    """A node, by what it computes from what; "" stands for what is left out."""

    op: str
    domain: str
    overload: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Message]


class Graph:
    """A graph: what its names stand for, and what encloses it.

    `path` is what names of its nodes begin with. `bound` are the names of a function's inputs: what
    the caller gives, and in which graph; `given` are the attributes that it is called with.
    """

    def __init__(
        self,
        message: Message,
        parent: "Graph | None",
        path: str = "",
        *,
        fields: tuple[int, ...] = (_GRAPH_NODES, _GRAPH_TENSORS),
        bound: Mapping[str, tuple["Graph", str]] | None = None,
        given: Mapping[str, Message] | None = None,
    ) -> None:
        self.parent, self.path = parent, path
        self.bound, self.given = bound or {}, given or {}
        self.nodes = [_node(m) for m in message.messages(fields[0], "a node")]
        tensors = message.messages(fields[1], "a tensor") if len(fields) > 1 else []
        self.tensors = {name: tensor for tensor in tensors if (name := name_of(tensor))}
        for name, tensor in self.tensors.items():
            tensor.what = name
        self.makers = {
            name: (node, k) for node in self.nodes for k, name in enumerate(node.outputs) if name
        }
        inputs = message.messages(_GRAPH_INPUTS, "an input") if len(fields) > 1 else []
        self.inputs = {value.text(_VALUE_NAME) for value in inputs} - {""}


class Model:
    """A model, whose functions stand in for nodes of their names."""

    def __init__(self, files: Files) -> None:
        whole = Message(files.model, "the model")
        graph = whole.message(_MODEL_GRAPH, "the graph")
        if graph is None:
            raise Malformed("there is no graph in it")
        self.files = files
        self.graph = Graph(graph, None)
        functions = whole.messages(_MODEL_FUNCTIONS, "a function")
        self._functions = {
            (
                _domain(each.text(_FUNCTION_DOMAIN)),
                each.text(_FUNCTION_NAME),
                each.text(_FUNCTION_OVERLOAD),
            ): each
            for each in functions
        }

    def nodes(self) -> Iterator[tuple[Graph, Node]]:
        """Yield every node that computes something itself, and the graph that it is in."""
        visited = 0
        levels = [iter(self._below(self.graph))]
        while levels:
            graph, node = next(levels[-1], (None, None))
            if graph is None or node is None:
                levels.pop()
                continue
            visited += 1
            if visited > _MOST_NODES:
                raise Malformed(f"it has more than {_MOST_NODES:,} nodes, those of calls counted")
            inner = self._inner(graph, node)
            if inner and len(levels) == _DEEPEST:
                raise Malformed(f"its graphs are nested more than {_DEEPEST} deep")
            levels.append(pair for each in inner for pair in self._below(each))
            if not self.function_of(node):
                yield graph, node

    @staticmethod
    def _below(graph: Graph) -> Iterator[tuple[Graph, Node]]:
        return ((graph, node) for node in graph.nodes)

    def function_of(self, node: Node) -> Message | None:
        """Return the function that a node calls, if it calls one."""
        return self._functions.get((node.domain, node.op, node.overload))

    def _inner(self, graph: Graph, node: Node) -> list[Graph]:
        """Return the graphs that a node runs."""
        function = self.function_of(node)
        if function is not None:
            return [_called(function, graph, node, f"{graph.path}{shown(node)}/")]
        return [
            Graph(message, graph, graph.path, given=graph.given)
            for attribute in node.attributes.values()
            for number in (_GRAPH, _GRAPHS)
            for message in attribute.messages(number, "a graph")
        ]

    def attributes(self, graph: Graph, node: Node) -> dict[str, Any]:
        """Return the attributes of a node that are no graphs, by name."""
        resolved = {name: _resolved(graph, message) for name, message in node.attributes.items()}
        values = {
            name: _value(message, self.files)
            for name, message in resolved.items()
            if message is not None
        }
        return {name: value for name, value in values.items() if value is not None}


def shown(node: Node) -> str:
    """Return what a node is called by: the name of its first output, if it has no other."""
    return node.name or next(filter(None, node.outputs), "") or node.op


def _called(function: Message, caller: Graph, node: Node, path: str) -> Graph:
    """Return the body of a function, for a node that calls it."""
    pairs = zip_longest(function.texts(_FUNCTION_INPUTS), node.inputs, fillvalue="")
    bound = {name: (caller, actual) for name, actual in pairs if name}
    defaults = {
        attribute.text(_ATTRIBUTE_NAME): attribute
        for attribute in function.messages(_DEFAULTS, "an attribute")
    }
    given = {name: _resolved(caller, message) for name, message in node.attributes.items()}
    both = defaults | {name: message for name, message in given.items() if message is not None}
    return Graph(function, None, path, fields=(_FUNCTION_NODES,), bound=bound, given=both)


def _node(message: Message) -> Node:
    attributes = message.messages(_ATTRIBUTES, "an attribute")
    return Node(
        message.text(_OP), _domain(message.text(_DOMAIN)), message.text(_OVERLOAD),
        message.text(_NAME), message.texts(_INPUTS), message.texts(_OUTPUTS),
        {attribute.text(_ATTRIBUTE_NAME): attribute for attribute in attributes},
    )  # fmt: skip


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _resolved(graph: Graph, attribute: Message) -> Message | None:
    """Return what an attribute is in the body of a function, which may refer to the caller's."""
    reference = attribute.text(_REFERENCE)
    return graph.given.get(reference) if reference else attribute


def _value(attribute: Message, files: Files) -> Any:
    """Return the value of an attribute; None of a kind that is of no use here."""
    kind = attribute.integer(_TYPE)
    field = _FIELDS.get(kind, 0)
    if kind == 0:  # as the first versions wrote it
        field = next((number for number in _FIELDS.values() if number in attribute), 0)
    reader = _READERS.get(field)
    return None if reader is None else reader(attribute, field, files)


def _number(attribute: Message, field: int, _: Files) -> float:
    numbers = attribute.numbers(field, "<f4")
    return float(numbers[-1]) if len(numbers) else 0.0


def _tensor(attribute: Message, field: int, files: Files) -> Array | None:
    tensor = attribute.message(field, f"the tensor of {attribute.text(_ATTRIBUTE_NAME)}")
    return None if tensor is None else read(tensor, files)


# How a value is read, by the number of the field that holds it.
_READERS: dict[int, Callable[[Message, int, Files], Any]] = {
    2: _number,
    3: lambda attribute, field, _: attribute.integer(field),
    4: lambda attribute, field, _: attribute.text(field),
    5: _tensor,
    7: lambda attribute, field, _: attribute.numbers(field, "<f4").tolist(),
    8: lambda attribute, field, _: attribute.integers(field),
    9: lambda attribute, field, _: attribute.texts(field),
}
