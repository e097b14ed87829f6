"""Rules of the layouts that the weights of recurrent layers come in.

A direction is a list of weight_ih, weight_hh and, unless it has none, bias_ih, bias_hh.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn._cells import CELLS
from embedrnn._check.array_like import Array, require_unmasked
from embedrnn._check.arrays import numbers_of, require_shape
from embedrnn._check.layers import parameter_names, require_mapping
from embedrnn._check.options import flag, size

# The cells that other libraries have too. The number of gates is all that a weight tells of its
# cell.
GATES = {len(CELLS[name].gates): CELLS[name].gates for name in ("rnn_tanh", "gru", "lstm")}
# The name of the peepholes of an LSTM, of the gates i, f, o, which few libraries have.
PEEPHOLES = CELLS["lstm_peephole"].parameters[-1]
_LISTED = " or ".join(", ".join(map(str, GATES)).rsplit(", ", 1))  # 1, 3 or 4


def parameters_and_peepholes(
    parameters: Mapping[Any, npt.ArrayLike], layer: int
) -> tuple[list[list[Array]], list[Array]]:
    """Check the parameters of one layer of a stack, and return its directions and peepholes."""
    require_mapping("parameters", parameters)
    suffixes = ("", "_reverse")
    names = [f"{PEEPHOLES}_l{layer_number(layer)}{suffix}" for suffix in suffixes]
    rest = {name: array for name, array in parameters.items() if name not in names}
    directions = parameters_of(rest, layer)
    given = {name: numbers_of(name, parameters[name]) for name in names if name in parameters}
    rows, hidden = directions[0][1].shape
    for name, array in given.items():
        if rows != 4 * hidden:
            raise ValueError(f"parameters has {name}, which only an LSTM has")
        require_shape(name, array, (3 * hidden,))
    wanted = names[: len(directions)] if given else []
    if list(given) != wanted:
        raise ValueError(f"parameters must have {' and '.join(wanted)}, got {', '.join(given)}")
    return directions, list(given.values())


def parameters_of(parameters: Mapping[Any, npt.ArrayLike], layer: int) -> list[list[Array]]:
    """Check the parameters of one layer of a stack, and return its directions."""
    require_mapping("parameters", parameters)
    layer = layer_number(layer)
    pattern = re.compile(rf"\w+_l{layer}(_reverse)?")
    mine = {k for k in parameters if isinstance(k, str) and pattern.fullmatch(k)}
    bias = any(name.startswith("bias") for name in mine)
    suffixes = ["", "_reverse"] if any(name.endswith("_reverse") for name in mine) else [""]
    names = [parameter_names(layer, suffix)[: 4 if bias else 2] for suffix in suffixes]
    missing = [name for direction in names for name in direction if name not in mine]
    if missing:
        raise ValueError(f"parameters must have {', '.join(missing)}")
    extra = sorted(mine.difference(*names))
    if extra:
        raise ValueError(f"parameters has {', '.join(extra)}, which other layouts cannot hold")
    directions = [[numbers_of(name, parameters[name]) for name in direction] for direction in names]
    rows, hidden = _recurrent_shape(names[0][1], directions[0][1], transposed=False)
    inputs = directions[0][0].shape[-1:]
    shapes = [(rows, *inputs), (rows, hidden), (rows,), (rows,)]
    for direction, arrays in zip(names, directions, strict=True):
        for name, array, shape in zip(direction, arrays, shapes, strict=False):
            require_shape(name, array, shape)
    return directions


def onnx_weights(
    W: npt.ArrayLike, R: npt.ArrayLike, B: npt.ArrayLike | None, P: npt.ArrayLike | None
) -> tuple[list[list[Array]], Array]:
    """Check the weights of an ONNX node, and return its directions, and the peepholes of each."""
    w, r = numbers_of("W", W), numbers_of("R", R)
    if w.ndim != 3 or w.shape[0] not in {1, 2}:
        raise ValueError(f"W must have shape (D, G*H, I) with D 1 or 2, got {w.shape}")
    if r.ndim != 3:
        raise ValueError(f"R must have shape (D, G*H, H), got {r.shape}")
    rows, hidden = _recurrent_shape("R", r, transposed=False)
    require_shape("R", r, (w.shape[0], rows, hidden))
    require_shape("W", w, (w.shape[0], rows, w.shape[2]))
    peepholes = _onnx_peepholes(P, w.shape[0], rows, hidden)
    if B is None:
        return [list(pair) for pair in zip(w, r, strict=True)], peepholes
    b = numbers_of("B", B)
    require_shape("B", b, (w.shape[0], 2 * rows))
    return [list(four) for four in zip(w, r, b[:, :rows], b[:, rows:], strict=True)], peepholes


def _onnx_peepholes(P: npt.ArrayLike | None, directions: int, rows: int, hidden: int) -> Array:
    if P is None:
        return np.empty((0, 3 * hidden))
    p = numbers_of("P", P)
    if rows != 4 * hidden:
        raise ValueError(f"P must be None where R is not that of an LSTM, got shape {p.shape}")
    require_shape("P", p, (directions, 3 * hidden))
    return p


def keras_weights(
    weights: Any, reset_after: bool, bidirectional: bool | None = None
) -> list[list[list[Array]]]:
    """Check weights of Keras, and return the directions of each layer, transposed as ours are."""
    reset_after = flag("reset_after", reset_after)
    require_unmasked("weights", weights)
    if not isinstance(weights, (Sequence, np.ndarray)) or isinstance(weights, (str, bytes)):
        raise TypeError(f"weights must be a list of arrays, got {type(weights).__name__}")
    arrays = [numbers_of(f"weights[{i}]", array) for i, array in enumerate(weights)]
    if len(arrays) not in {2, 3, 4, 6}:
        raise ValueError(
            "weights must be 2 or 3 arrays (kernel, recurrent_kernel, bias), or twice as many of "
            f"two directions or two layers, got {len(arrays)}"
        )
    size = len(arrays) // 2 if len(arrays) > 3 else len(arrays)
    rows, hidden = _recurrent_shape("weights[1]", arrays[1], transposed=True)
    inputs = arrays[0].shape[0] if arrays[0].ndim else 0
    both = _two_directions(arrays[size:], inputs, hidden, bidirectional)
    widths = [inputs, inputs if both else hidden]
    for position, array in enumerate(arrays):
        _require_keras_shape(position, size, array, (rows, hidden, widths), reset_after)
    directions = [
        [kernel.T, recurrent.T, *(_two_biases(bias[0]) if bias else ())]
        for kernel, recurrent, *bias in (arrays[:size], arrays[size:])[: len(arrays) // size]
    ]
    return [directions] if both else [[direction] for direction in directions]


def _two_directions(
    second: Sequence[Array], inputs: int, hidden: int, bidirectional: bool | None
) -> bool:
    """Return whether the second half of the weights is another direction, or the layer above."""
    if bidirectional is not None:
        both = flag("bidirectional", bidirectional)
        if both and not second:
            raise ValueError("bidirectional must be False or None where weights has one direction")
        return both
    if second and inputs == hidden:
        raise ValueError(
            "weights may be those of two directions or of two layers, whose shapes are the same as "
            "I is H: give bidirectional=True or bidirectional=False"
        )
    above = len(second) > 0 and second[0].ndim > 0 and second[0].shape[0] == hidden
    return len(second) > 0 and not above


def _require_keras_shape(
    position: int, size: int, array: Array, sizes: tuple[int, int, list[int]], reset_after: bool
) -> None:
    """Check one of the weights; `sizes` are the rows, H, and what each half of them reads."""
    rows, hidden, widths = sizes
    gru = rows == 3 * hidden
    shapes: list[tuple[int, ...]] = [(widths[position // size], rows), (hidden, rows)]
    shapes.append((2, rows) if gru and reset_after else (rows,))
    shape = shapes[position % size]
    if array.shape != shape:
        why = f" as reset_after is {reset_after}" if gru and position % size == 2 else ""
        raise ValueError(f"weights[{position}] must have shape {shape}{why}, got {array.shape}")


def layer_number(layer: Any) -> int:
    """Check which layer of a stack is meant."""
    return size("layer", layer, least=0)


def _two_biases(bias: Array) -> Sequence[Array]:
    return list(bias) if bias.ndim == 2 else [bias, np.zeros_like(bias)]


def _recurrent_shape(name: str, array: Array, *, transposed: bool) -> tuple[int, int]:
    """Return the rows G*H and the hidden size H of a recurrent weight, which tells the cell."""
    shape = array.shape[-2:][::-1] if transposed else array.shape[-2:]
    if len(shape) == 2 and shape[1] and shape[0] in [gates * shape[1] for gates in GATES]:
        return shape
    expected = "(H, G*H)" if transposed else "(G*H, H)"
    raise ValueError(f"{name} must have shape {expected} with G {_LISTED}, got {array.shape}")
