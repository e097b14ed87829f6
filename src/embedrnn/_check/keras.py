"""Rules of what a layer of Keras may be to become one of ours; Keras itself is not imported."""

from collections.abc import Mapping
from typing import Any

from embedrnn._check.array_like import Array, as_array
from embedrnn._check.arrays import FLOATS

# Of each class of Keras: ours, and the activations that ours has.
_CLASSES = {
    "SimpleRNN": ("RNN", ("tanh", "relu")),
    "GRU": ("GRU", ("tanh",)),
    "LSTM": ("LSTM", ("tanh",)),
}
_MERGES = {"concat": "concat", "sum": "sum", "ave": "mean", "mul": "mul"}
# Where functions of Keras 2 and 3 are from.
_HOMES = {"keras", "tensorflow", "tf_keras"}
_EXPECTED = "a Keras SimpleRNN, GRU, LSTM, Bidirectional of one, or Embedding"

Options = dict[str, Any]


def recurrent(layer: Any) -> tuple[str, Options, list[Array]]:
    """Return the class of ours that a layer of Keras is, its options, and its weights."""
    name, config = type(layer).__name__, _config(layer)
    if name != "Bidirectional":
        ours, options = _one_way("layer", name, config, layer)
        return ours, options, _weights(layer)
    forward, backward = _directions(config)
    parts = [layer.forward_layer, layer.backward_layer]
    ours, options = _one_way("layer.forward_layer", *forward, parts[0])
    other, back = _one_way("layer.backward_layer", *backward, parts[1])
    if options.pop("reverse", False) or not back.pop("reverse", False):
        raise ValueError(
            "layer.forward_layer must have go_backwards False, and layer.backward_layer True"
        )
    if (ours, options) != (other, back) or _sizes(forward[1]) != _sizes(backward[1]):
        raise ValueError("layer must have two directions that differ in nothing but their weights")
    merge = config.get("merge_mode", "concat")
    if merge not in _MERGES:
        raise ValueError(f"layer must have a merge_mode of {_listed(_MERGES)}, got {merge!r}")
    # One by one: Keras 2 puts the weights of a direction that is frozen behind those of the other.
    return ours, options | {"merge": _MERGES[merge]}, _weights(*parts)


def table(layer: Any) -> Array:
    """Return the table of an Embedding of Keras."""
    _config(layer)
    weights = [as_array("weights", array) for array in layer.get_weights()]
    if len(weights) != 1 or weights[0].ndim != 2 or weights[0].dtype.kind in "iub":
        got = ", ".join(f"{array.dtype} {array.shape}" for array in weights) or "none"
        raise ValueError(
            "layer must be built, with one table of floating-point numbers (LoRA and quantized "
            f"tables cannot be converted), got arrays: {got}"
        )
    return weights[0]


def _config(layer: Any) -> Mapping[str, Any]:
    """Return what a layer was built with."""
    name = type(layer).__name__
    known = name in {*_CLASSES, "Bidirectional", "Embedding"}
    if not (known and hasattr(layer, "get_config") and hasattr(layer, "get_weights")):
        raise TypeError(f"layer must be {_EXPECTED}, got {name}")
    config: Mapping[str, Any] = layer.get_config()
    return config


def _directions(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the class and the options of each direction; the second may go without saying."""
    forward = config["layer"]
    backward = config.get("backward_layer")
    if backward is None:
        mirrored = {**forward["config"], "go_backwards": not _goes_backwards(forward["config"])}
        backward = {**forward, "config": mirrored}
    return [(one["class_name"], one["config"]) for one in (forward, backward)]


def _one_way(owner: str, name: str, config: Mapping[str, Any], layer: Any) -> tuple[str, Options]:
    """Return the class of ours and the options of a layer that is not a Bidirectional."""
    if name not in _CLASSES:
        raise TypeError(f"{owner} must be a SimpleRNN, GRU or LSTM, got {name}")
    ours, activations = _CLASSES[name]
    activation = _one_of(owner, "activation", config, layer, activations)
    options: Options = {}
    if ours == "RNN":
        options["nonlinearity"] = activation
    else:
        _one_of(owner, "recurrent_activation", config, layer, ("sigmoid",))
    if ours == "GRU":
        options["reset_after"] = bool(config.get("reset_after", False))
    if _goes_backwards(config):
        options["reverse"] = True
    return ours, options


def _one_of(
    owner: str, option: str, config: Mapping[str, Any], layer: Any, known: tuple[str, ...]
) -> str:
    """Return the name of an activation; a function of somebody else's may have the same name."""
    value, function = config.get(option), getattr(layer, option, None)
    home = (getattr(function, "__module__", None) or "keras").partition(".")[0]
    if isinstance(value, str) and value in known and home in _HOMES:
        return value
    got = repr(value) if home in _HOMES else f"{value!r} of {function.__module__}"
    raise ValueError(f"{owner} must have the {option} {_listed(known)}, got {got}")


def _listed(names: Any) -> str:
    return " or ".join(", ".join(map(repr, names)).rsplit(", ", 1))


def _goes_backwards(config: Mapping[str, Any]) -> bool:
    return bool(config.get("go_backwards", False))


def _sizes(config: Mapping[str, Any]) -> list[Any]:
    return [config.get(name) for name in ("units", "use_bias")]


def _weights(*layers: Any) -> list[Array]:
    """Return the weights of a layer or of two directions, which have none before they are built."""
    given = [one for layer in layers for one in layer.get_weights()]
    arrays = [as_array(f"weights[{i}]", one) for i, one in enumerate(given)]
    if not arrays:
        raise ValueError("layer must be built: call it once, or its build()")
    dtypes = {array.dtype for array in arrays}
    if len(dtypes) != 1 or not dtypes <= set(FLOATS):
        got = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"layer must have weights of float32 or float64, got {got}")
    return arrays
