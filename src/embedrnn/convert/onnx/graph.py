"""The nodes of an ONNX file: of its graph, those nested in it, and the functions that it calls."""

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

from embedrnn.convert.onnx.protobuf import Malformed, Message
from embedrnn.convert.onnx.tensors import Array, Files, name_of, read

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

# A file that is not broken has a few levels, and functions that are not called for ever.
_DEEPEST = 40
_MOST_CALLED = 100_000


class Node(NamedTuple):
    """A node, by what it computes from what; "" stands for what is left out."""

    op: str
    domain: str
    overload: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Message]


class Function(NamedTuple):
    """A function: the names of its inputs, its nodes, and attributes that a call may leave out."""

    inputs: list[str]
    nodes: list[Node]
    defaults: dict[str, Message]


class Graph:
    """A graph: what its names stand for, and what encloses it.

    `path` is what names of its nodes begin with. `bound` are the names of a function's inputs: what
    the caller gives, and in which graph; `given` are the attributes that it is called with, and in
    which graph each is written. A graph among them is run in the function, and knows its names
    before those of the caller, as if the function stood in the caller's place.
    """

    def __init__(
        self,
        nodes: list[Node],
        path: str,
        *,
        parent: "Graph | None" = None,
        bound: Mapping[str, tuple["Graph", str]] | None = None,
        given: "Mapping[str, Written] | None" = None,
    ) -> None:
        self.nodes, self.path, self.parent = nodes, path, parent
        self.bound, self.given = bound or {}, given or {}
        self.tensors: dict[str, Message] = {}
        self.inputs: set[str] = set()
        self.makers = {
            name: (node, k) for node in nodes for k, name in enumerate(node.outputs) if name
        }


Written = tuple[Graph, Message]


class Model:
    """A model, whose functions stand in for nodes of their names."""

    def __init__(self, files: Files) -> None:
        whole = Message(files.model, "the model")
        graph = whole.message(_MODEL_GRAPH, "the graph")
        if graph is None:
            raise Malformed("there is no graph in it")
        self.files = files
        self.graph = _graph(graph, None, "", {})
        functions = whole.messages(_MODEL_FUNCTIONS, "a function")
        self._functions = {_name(each): _function(each) for each in functions}

    def nodes(self) -> Iterator[tuple[Graph, Node]]:
        """Yield every node that computes something itself, and the graph that it is in."""
        called = 0
        levels = [_pairs([self.graph])]
        while levels:
            pair = next(levels[-1], None)
            if pair is None:
                levels.pop()
                continue
            called += pair[0].path != ""  # it is within a function
            if called > _MOST_CALLED:
                raise Malformed(f"it calls functions of more than {_MOST_CALLED:,} nodes")
            inner = self._inner(*pair)
            if self.function_of(pair[1]) is None:
                yield pair
            if inner and len(levels) == _DEEPEST:
                raise Malformed(f"its graphs are nested more than {_DEEPEST} deep")
            levels.append(_pairs(inner))

    def function_of(self, node: Node) -> Function | None:
        """Return the function that a node calls, if it calls one."""
        return self._functions.get((node.domain, node.op, node.overload))

    def _inner(self, graph: Graph, node: Node) -> list[Graph]:
        """Return the graphs that a node runs."""
        function = self.function_of(node)
        if function is not None:
            return [_called(function, graph, node, f"{graph.path}{shown(node)}/")]
        return [
            _graph(message, graph, graph.path, writer.given)
            for writer, attribute in _resolved(graph, node).values()
            for number in (_GRAPH, _GRAPHS)
            for message in attribute.messages(number, "a graph")
        ]

    def attributes(self, graph: Graph, node: Node) -> dict[str, Any]:
        """Return the attributes of a node that are no graphs, by name."""
        values = {
            name: _value(attribute, self.files)
            for name, (_, attribute) in _resolved(graph, node).items()
        }
        return {name: value for name, value in values.items() if value is not None}


def shown(node: Node) -> str:
    """Return what a node is called by: the name of its first output, if it has no other."""
    return node.name or next(filter(None, node.outputs), "") or node.op


def _pairs(graphs: list[Graph]) -> Iterator[tuple[Graph, Node]]:
    return ((graph, node) for graph in graphs for node in graph.nodes)


def _graph(
    message: Message, parent: Graph | None, path: str, given: Mapping[str, Written]
) -> Graph:
    """Return a graph, or one that is nested in another."""
    nodes = [_node(each) for each in message.messages(_GRAPH_NODES, "a node")]
    graph = Graph(nodes, path, parent=parent, given=given)
    for tensor in message.messages(_GRAPH_TENSORS, "a tensor"):
        if name := name_of(tensor):
            graph.tensors[name], tensor.what = tensor, name
    inputs = message.messages(_GRAPH_INPUTS, "an input")
    graph.inputs.update(filter(None, (value.text(_VALUE_NAME) for value in inputs)))
    return graph


def _function(message: Message) -> Function:
    nodes = [_node(each) for each in message.messages(_FUNCTION_NODES, "a node")]
    defaults = message.messages(_DEFAULTS, "an attribute")
    return Function(
        message.texts(_FUNCTION_INPUTS),
        nodes,
        {attribute.text(_ATTRIBUTE_NAME): attribute for attribute in defaults},
    )


def _name(function: Message) -> tuple[str, str, str]:
    """Return what nodes call a function by."""
    domain, name = function.text(_FUNCTION_DOMAIN), function.text(_FUNCTION_NAME)
    return _domain(domain), name, function.text(_FUNCTION_OVERLOAD)


def _called(function: Function, caller: Graph, node: Node, path: str) -> Graph:
    """Return the body of a function, for a node that calls it."""
    pairs = zip_longest(function.inputs, node.inputs, fillvalue="")
    bound = {name: (caller, actual) for name, actual in pairs if name}
    body = Graph(function.nodes, path, parent=caller, bound=bound)
    defaults = {name: (body, message) for name, message in function.defaults.items()}
    body.given = defaults | _resolved(caller, node)
    return body


def _node(message: Message) -> Node:
    attributes = message.messages(_ATTRIBUTES, "an attribute")
    return Node(
        message.text(_OP), _domain(message.text(_DOMAIN)), message.text(_OVERLOAD),
        message.text(_NAME), message.texts(_INPUTS), message.texts(_OUTPUTS),
        {attribute.text(_ATTRIBUTE_NAME): attribute for attribute in attributes},
    )  # fmt: skip


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _resolved(graph: Graph, node: Node) -> dict[str, Written]:
    """Return the attributes of a node, and where each is written: it may refer to a caller's."""
    found = {}
    for name, attribute in node.attributes.items():
        reference = attribute.text(_REFERENCE)
        if not reference:
            found[name] = graph, attribute
        elif reference in graph.given:
            found[name] = graph.given[reference]
    return found


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
