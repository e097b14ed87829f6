"""Rules of the layouts of Core ML, cuDNN, Flax and TensorFlow 1.

A direction is a list of weight_ih, weight_hh and, unless it has none, bias_ih, bias_hh, its gates
in the order of the library.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from embedrnn._check.array_like import Array
from embedrnn._check.arrays import numbers_of, require_numbers, require_shape
from embedrnn._check.convert import GATES
from embedrnn._check.layers import require_mapping
from embedrnn._check.options import choice, shown, size
from embedrnn._check.state import Named, Shape

_CELLS = {"rnn": GATES[1], "gru": GATES[3], "lstm": GATES[4]}

_PEEPHOLES = ("w_i_diag", "w_f_diag", "w_o_diag")
_GRU = ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias")


class Direction(NamedTuple):
    """What one direction of a layer has; the peepholes are those of the gates i, f, o."""

    arrays: list[Array]
    peepholes: Array | None = None


def gates_of(cell: Any) -> str:
    """Check the name of a cell, and return its gates."""
    choice("cell", cell, tuple(_CELLS))
    return _CELLS[cell]


# --- TensorFlow 1 ------------------------------------------------------------------------------


def tf1_variables(variables: Any, gates: str, prefix: Any) -> Direction:
    """Check the variables of a cell, transposed as ours are, and its two biases, one of them 0."""
    require_mapping("variables", variables)
    plain = {
        key.removesuffix(":0") if isinstance(key, str) else key: value
        for key, value in variables.items()
    }
    named = Named("variables", plain, prefix)
    names: tuple[str, ...] = _GRU if gates == GATES[3] else ("kernel", "bias")
    if gates == GATES[4] and any(name in named for name in _PEEPHOLES):
        names += _PEEPHOLES
    named.required(names)
    _require_alone(named, names)
    found = {name: named.array(name) for name in names}
    for name, array in found.items():
        require_numbers(named.full(name), array)
    kernel, bias = _kernel_and_bias(named, found, gates)
    hidden = kernel.shape[1] // len(gates)
    arrays = [kernel[:-hidden].T, kernel[-hidden:].T, bias, np.zeros_like(bias)]
    if _PEEPHOLES[0] not in found:
        return Direction(arrays)
    for name in _PEEPHOLES:
        require_shape(named.full(name), found[name], (hidden,))
    return Direction(arrays, np.concatenate([found[name] for name in _PEEPHOLES]))


def _require_alone(named: Named, names: Sequence[str]) -> None:
    """Check that there are no other variables but what optimisers and averages keep of these."""
    others = [
        named.full(name)
        for name in named.names()
        if name not in names and not name.startswith(tuple(f"{own}/" for own in names))
    ]
    if others:
        raise ValueError(
            f"variables has {', '.join(others)} beside those of the cell: its prefix tells them "
            "apart, and projections and layer normalisation have no place here"
        )


def _kernel_and_bias(named: Named, found: Mapping[str, Array], gates: str) -> tuple[Array, Array]:
    """Return the one kernel of all gates, shape (I + H, G*H), and their bias."""
    if "kernel" in found:
        _require_kernel(named.full("kernel"), found["kernel"], len(gates))
        require_shape(named.full("bias"), found["bias"], found["kernel"].shape[1:])
        return found["kernel"], found["bias"]
    candidate = found["candidate/kernel"]
    _require_kernel(named.full("candidate/kernel"), candidate, 1)
    rows, hidden = candidate.shape
    shapes = {
        "gates/kernel": (rows, 2 * hidden),
        "gates/bias": (2 * hidden,),
        "candidate/bias": (hidden,),
    }
    for name, shape in shapes.items():
        require_shape(named.full(name), found[name], shape)
    kernels, biases = ([found[f"{part}/{name}"] for part in ("gates", "candidate")]
                       for name in ("kernel", "bias"))  # fmt: skip
    return np.concatenate(kernels, axis=1), np.concatenate(biases)


def _require_kernel(name: str, kernel: Array, count: int) -> None:
    rows, cols = kernel.shape if kernel.ndim == 2 else (0, 0)
    if cols == 0 or cols % count or rows < cols // count:
        raise ValueError(f"{name} must have shape (I + H, {count}*H), got {kernel.shape}")


# --- Core ML -----------------------------------------------------------------------------------


def coreml_weights(W_h: Any, W_x: Any, b: Any, peep: Any, *, forget_bias: bool) -> Direction:
    """Check the weights of a layer; forget_bias makes the biases that there are not."""
    recurrent, inputs = _listed("W_h", W_h), _listed("W_x", W_x)
    count = len(recurrent)
    if count not in GATES:
        raise ValueError(f"W_h must be a list of 1, 3 or 4 matrices, got {count}")
    for name, given in (("peep", peep is not None), ("forget_bias", forget_bias)):
        if given and count != len(_CELLS["lstm"]):
            raise ValueError(f"{name} is for the four gates of an LSTM, got {count}")
    hidden = math.isqrt(recurrent[0].size)
    if hidden == 0:
        got = recurrent[0].shape
        raise ValueError(f"W_h[0] must have shape (H, H) with H 1 or more, got {got}")
    weight_hh = _joined("W_h", recurrent, count, hidden, hidden)
    weight_ih = _joined("W_x", inputs, count, hidden, inputs[0].size // hidden if inputs else 0)
    peepholes = None if peep is None else _joined("peep", _listed("peep", peep), 3, hidden)
    if b is None and not forget_bias:
        return Direction([weight_ih, weight_hh], peepholes)
    zeros = np.zeros(count * hidden, weight_hh.dtype)
    bias = zeros if b is None else _joined("b", _listed("b", b), count, hidden)
    return Direction([weight_ih, weight_hh, bias, zeros], peepholes)


def _listed(name: str, value: Any) -> list[Array]:
    """Check a list of arrays of numbers, one for each gate."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be a list of arrays, one for each gate, got {shown(value)}")
    return [numbers_of(f"{name}[{k}]", part) for k, part in enumerate(value)]


def _joined(name: str, arrays: Sequence[Array], count: int, *shape: int) -> Array:
    """Join so many arrays of a shape, each of which may be flat as in a file."""
    if len(arrays) != count:
        raise ValueError(f"{name} must be a list of {count} arrays, got {len(arrays)}")
    for k, array in enumerate(arrays):
        if array.shape not in (shape, (math.prod(shape),)):
            raise ValueError(
                f"{name}[{k}] must have shape {shape}, or as many numbers, got {array.shape}"
            )
    return np.concatenate([array.reshape(shape) for array in arrays])


# --- Flax --------------------------------------------------------------------------------------

# What holds the products of a cell with its input and with its state, of each gate or of all.
_FLAX = {("i", "h"): "n", ("dense_i", "dense_h"): None} | {
    (*(f"i{gate}" for gate in gates), *(f"h{gate}" for gate in gates)): gates
    for gates in (GATES[3], GATES[4])
}


def flax_params(params: Any) -> Direction:
    """Check the parameters of a cell, transposed as ours are."""
    require_mapping("params", params)
    # A keyword of Python cannot be the name of an attribute, as NNX has them.
    parts = {"if" if name == "if_" else name: part for name, part in params.items()}
    names = next((names for names in _FLAX if set(names) == parts.keys()), None)
    if names is None:
        listed = " or ".join(", ".join(each) for each in _FLAX)
        raise ValueError(f"params must be {listed}, got {', '.join(map(str, params)) or 'nothing'}")
    half, gates = len(names) // 2, _FLAX[names]
    (w_ih, b_ih), (w_hh, b_hh) = (_side(side, parts) for side in (names[:half], names[half:]))
    rows, hidden = w_hh.shape
    counts = [len(gates)] if gates else list(GATES)
    if hidden == 0 or rows not in [count * hidden for count in counts] or len(w_ih) != rows:
        g = " or ".join(map(str, counts))
        raise ValueError(
            f"params must have kernels of (I, {g} * H) numbers for the input and of (H, {g} * H) "
            f"for the state, got {w_ih.shape[::-1]} and {w_hh.shape[::-1]}"
        )
    if b_ih is None and b_hh is None:
        return Direction([w_ih, w_hh])
    zeros = np.zeros(rows, w_hh.dtype)
    return Direction([w_ih, w_hh, *(zeros if bias is None else bias for bias in (b_ih, b_hh))])


def _side(names: Sequence[str], parts: Mapping[str, Any]) -> tuple[Array, Array | None]:
    """Return the kernels of one side, one below another, and their biases, if there are any."""
    denses = [_dense(f"params[{name!r}]", parts[name]) for name in names]
    shape = denses[0][0].shape
    for name, (kernel, _) in zip(names, denses, strict=True):
        require_shape(f"params[{name!r}]['kernel']", kernel, shape)
    weight = np.concatenate([kernel.T for kernel, _ in denses])
    if all(bias is None for _, bias in denses):
        return weight, None
    zeros = np.zeros(shape[1], weight.dtype)
    return weight, np.concatenate([zeros if bias is None else bias for _, bias in denses])


def _dense(name: str, part: Any) -> tuple[Array, Array | None]:
    """Check what a Dense of Flax holds: a kernel (rows, cols), and perhaps a bias (cols,)."""
    require_mapping(name, part)
    if not {"kernel"} <= part.keys() <= {"kernel", "bias"}:
        raise ValueError(
            f"{name} must hold kernel and perhaps bias, got {', '.join(map(str, part))}"
        )
    kernel = numbers_of(f"{name}['kernel']", part["kernel"])
    if kernel.ndim != 2:
        raise ValueError(f"{name}['kernel'] must have 2 axes, got shape {kernel.shape}")
    if part.get("bias") is None:
        return kernel, None
    bias = numbers_of(f"{name}['bias']", part["bias"])
    require_shape(f"{name}['bias']", bias, kernel.shape[1:])
    return kernel, bias


# --- cuDNN -------------------------------------------------------------------------------------


class Stack(NamedTuple):
    """A flat array of parameters, and the shapes of those of each layer and direction in it."""

    params: Array
    shapes: list[list[Shape]]
    directions: int


def cudnn_params(
    params: Any, gates: str, input_size: Any, hidden_size: Any, num_layers: Any, *,
    directions: int, bias: bool,
) -> Stack:  # fmt: skip
    """Check that there are as many parameters as these sizes ask for."""
    inputs = size("input_size", input_size, least=0)
    hidden, layers = size("hidden_size", hidden_size), size("num_layers", num_layers)
    array = numbers_of("params", params).reshape(-1)
    rows, above = len(gates) * hidden, directions * hidden
    biases: list[Shape] = [(rows,)] * (2 if bias else 0)
    first: list[Shape] = [(rows, inputs), (rows, hidden), *biases]
    other: list[Shape] = [(rows, above), (rows, hidden), *biases]
    numbers = [sum(math.prod(shape) for shape in shapes) for shapes in (first, other)]
    expected = directions * (numbers[0] + (layers - 1) * numbers[1])
    if array.size != expected:
        raise ValueError(
            f"params must be {expected} numbers for input_size={inputs}, hidden_size={hidden} and "
            f"num_layers={layers}, got {array.size}"
        )
    shapes = [first] * directions + [other] * directions * (layers - 1)
    return Stack(array, shapes, directions)
