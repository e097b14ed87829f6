"""Rules of the nodes of ONNX files that layers are made of: what their attributes may ask for."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import in_range
from embedrnn._check.options import flag, instance, shown

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
# What the gates and the candidate go through, in one direction.
_ACTIVATIONS = {"GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"]}
DIRECTIONS = ("forward", "reverse", "bidirectional")

_SHARED = ("activations", "direction", "hidden_size", "layout", "output_sequence")
_FLAGS = {"layout": (0, 1), "linear_before_reset": (0, 1), "input_forget": (0,)}
_OWN = {"RNN": (), "GRU": ("linear_before_reset",), "LSTM": ("input_forget",)}


def is_ours(op: str, attributes: Mapping[str, Any]) -> bool:
    """Whether cells here do what these attributes of a recurrent node ask for."""
    return unfit(op, attributes) is None


def unfit(op: str, attributes: Mapping[str, Any]) -> str | None:
    """Return the name of an attribute that asks for what no cell here does."""
    direction = attributes.get("direction", "forward")
    if not isinstance(direction, str) or direction not in DIRECTIONS:
        return "direction"
    directions = 1 + (direction == "bidirectional")
    if not _are_ours(op, attributes.get("activations", []), directions):
        return "activations"
    for name, value in attributes.items():
        known = name in _SHARED or name in _OWN[op]
        if not (known or (isinstance(value, list) and not value)):
            return name
        if name in _FLAGS and not (isinstance(value, int) and value in _FLAGS[name]):
            return name
    return None


def _are_ours(op: str, activations: Any, directions: int) -> bool:
    names = activation_names(activations)
    if op == "RNN":  # ONNX's default has two of them, whatever the direction
        return not names or (set(names) in ({"tanh"}, {"relu"}) and directions <= len(names) <= 2)
    return not names or names == _ACTIVATIONS[op] * directions


def activation_names(activations: Any) -> list[str]:
    """Return the names of activations in lower case, as ONNX reads them."""
    given = activations if isinstance(activations, (list, tuple)) else [activations]
    return [str(name).lower() for name in given]


def nonlinearity(attributes: Mapping[str, Any]) -> str:
    """Return that of an RNN whose attributes fit."""
    return (activation_names(attributes.get("activations", [])) or ["tanh"])[0]


def recurrent_options(node: Any, reset_after: Any, *, begins: bool) -> dict[str, Any]:
    """Check a node, and return the options of the layer that does what it does.

    `begins` says that the layer is to begin from zeros, as no caller is told of anything else.
    """
    _require_known(node)
    name = unfit(node.op, node.attributes)
    if name is not None:
        value = shown(node.attributes[name])
        _refuse(node, f"has {name} = {value}, which no layer here does")
    of_cell = _of_cell(node, reset_after)
    w, r = (_constant(node, name) for name in "WR")
    gates, direction = _GATES[node.op], node.attributes.get("direction", "forward")
    directions, hidden = 1 + (direction == "bidirectional"), r.shape[-1] if r.ndim == 3 else 0
    if w.ndim != 3 or r.shape != (directions, gates * hidden, hidden) or not hidden:
        _refuse(
            node, f"must have W and R of shapes ({directions}, {gates}*H, I) and ({directions}, "
            f"{gates}*H, H) as its direction is {direction}, got {w.shape} and {r.shape}",
        )  # fmt: skip
    if node.attributes.get("hidden_size", hidden) != hidden:
        given = shown(node.attributes["hidden_size"])
        _refuse(node, f"has hidden_size = {given}, and an R of {hidden}")
    if begins:
        _require_zeros(node)
    options: dict[str, Any] = {"input_size": w.shape[2], "hidden_size": hidden}
    options |= {"bias": "B" in node.inputs, "dtype": _dtype(node, "W", w)}
    if direction != "forward":
        options["bidirectional" if directions == 2 else "reverse"] = True
    return options | of_cell


def _of_cell(node: Any, reset_after: Any) -> dict[str, Any]:
    """Return the options that a cell has beside those of every cell."""
    if node.op == "GRU":
        asked = bool(node.attributes.get("linear_before_reset", 0))
        return {"reset_after": asked if reset_after is None else flag("reset_after", reset_after)}
    if reset_after is not None:
        raise ValueError(f"reset_after must be None for an {node.op}, got {shown(reset_after)}")
    if node.op == "RNN":
        return {"nonlinearity": nonlinearity(node.attributes)}
    return {"peepholes": True} if "P" in node.inputs else {}


def recurrent_weights(
    node: Any, dtype: np.dtype[Any]
) -> tuple[Array, Array, Array | None, Array | None]:
    """Return W, R and what there is of B and P, in the dtype of the layer."""

    def numbers(name: str) -> Array:
        array = _constant(node, name)
        _dtype(node, name, array)
        return _in_range(node, name, array, dtype)

    b, p = (numbers(name) if name in node.inputs else None for name in "BP")
    return numbers("W"), numbers("R"), b, p


def table_of(node: Any, reset_after: Any) -> Array:
    """Check a Gather, and return the table that it takes rows of."""
    _require_known(node)
    if reset_after is not None:
        raise ValueError(f"reset_after must be None for a Gather, got {shown(reset_after)}")
    table = _constant(node, "data")
    for name, value in node.attributes.items():
        if name != "axis" or value not in (0, -table.ndim):
            _refuse(node, f"has {name} = {shown(value)}, which no layer here does")
    return table


def initial_state(node: Any) -> Any:
    """Return the state that a node begins from where it is constant, and not all zeros."""
    names = ("initial_h", "initial_c")
    known = {name: as_array(name, a) for name in names if (a := node.inputs.get(name)) is not None}
    if not any(array.any() for array in known.values()):
        return None
    dtype, swapped = _dtype(node, "W", _constant(node, "W")), node.attributes.get("layout", 0) == 1
    for name, array in known.items():
        fit = _in_range(node, name, array, dtype).copy()
        known[name] = fit.swapaxes(0, 1) if swapped else fit
    if node.op != "LSTM":
        return known["initial_h"]
    (some, *_) = known.values()
    h, c = (known.get(name, np.zeros_like(some)) for name in names)
    return h, c


def chosen(nodes: Sequence[Any], name: Any) -> Any:
    """Return the node of a name, or the only one there is."""
    if name is not None:
        instance("name", name, "a str or None", str)
    found = [node for node in nodes if name is None or node.name == name]
    if len(found) == 1:
        return found[0]
    if found and name is not None:
        raise ValueError(
            f"name must be that of one node, got {shown(name)}, that of {len(found)}: give one of "
            "those that load_onnx returns"
        )
    listed = ", ".join(f"{node.op} {node.name!r}" for node in nodes)
    there = f"the model has {listed}" if nodes else "the model has no RNN, GRU, LSTM or Gather"
    raise ValueError(f"name must be that of a node, got {shown(name)}: {there}")


def _require_known(node: Any) -> None:
    if node.domain or node.op not in {*_GATES, "Gather"}:
        domain = f" of {node.domain}" if node.domain else ""
        _refuse(node, f"is the operator {node.op}{domain}, none of ONNX's RNN, GRU, LSTM, Gather")


def _require_zeros(node: Any) -> None:
    for name in ("initial_h", "initial_c", "sequence_lens"):
        array = node.inputs.get(name)  # of a file
        if array is not None and (array.any() or name == "sequence_lens"):
            _refuse(
                node, f"has constant {name}, which a layer is called with: give what load_onnx "
                "returns, whose `state` and `inputs` have them",
            )  # fmt: skip


def _constant(node: Any, name: str) -> Array:
    array = node.inputs.get(name)
    if array is None:
        why = "computes" if name in node.inputs else "has no"
        _refuse(node, f"{why} {name}, which must be constant in the file")
    return as_array(name, array)


def _dtype(node: Any, name: str, array: Array) -> np.dtype[Any]:
    """Return the dtype in which numbers are summed: float32 of halves."""
    if array.dtype.kind != "f":
        _refuse(node, f"must have {name} of floating-point numbers, got {array.dtype}")
    return np.dtype(np.float64 if array.dtype.itemsize == 8 else np.float32)


def _in_range(node: Any, name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    return in_range(f"{name} of {node.op} {node.name!r}", array, dtype)


def _refuse(node: Any, what: str) -> NoReturn:
    raise ValueError(f"{node.op} {node.name!r} {what}")
