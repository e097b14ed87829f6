"""PyTorch's recurrent layers as ours: what they are, how sequences come to them, and one call."""

import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from embedrnn._backend import current
from embedrnn._sequences import Rows
from embedrnn.adapters.torch.recorded import Grads, Tensors
from embedrnn.adapters.torch.tensors import Array, Declined, array_of
from embedrnn.layers.gru import GRU
from embedrnn.layers.layout import Layout
from embedrnn.layers.lstm import LSTM
from embedrnn.layers.recurrent import Recurrent
from embedrnn.layers.rnn import RNN
from embedrnn.packed import Packed

_CELLS = {"RNN_TANH": RNN, "RNN_RELU": RNN, "GRU": GRU, "LSTM": LSTM}
_FUNCTIONS = {
    "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu, "GRU": torch.gru, "LSTM": torch.lstm,
}  # fmt: skip
_DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


class Kind(NamedTuple):
    """What a recurrent layer is: its `mode` as PyTorch calls it, and its sizes."""

    mode: str
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    bidirectional: bool

    @property
    def states(self) -> int:
        """Return how many states its cell has."""
        return 2 if self.mode == "LSTM" else 1

    @property
    def directions(self) -> int:
        """Return in how many directions it runs."""
        return 2 if self.bidirectional else 1


class Options(NamedTuple):
    """A layer of ours that has no weights, and the names and shapes of those it is to have."""

    kind: Kind
    layer: Recurrent
    shapes: dict[str, tuple[int, ...]]

    def over(self, tensors: Sequence[torch.Tensor]) -> Recurrent:
        """Return the layer over what these weights hold now; Declined if one does not fit."""
        dtype, weights = self.layer.dtype, [array_of(tensor) for tensor in tensors]
        for array, shape in zip(weights, self.shapes.values(), strict=True):
            if array.shape != shape or array.dtype != dtype:
                found = f"{array.dtype} of shape {array.shape}"
                raise Declined(f"weights must be {dtype}, one of shape {shape}, got {found}")
        return self.layer._over(dict(zip(self.shapes, weights, strict=True)))


@lru_cache(maxsize=256)
def options_of(kind: Kind, dtype: torch.dtype) -> Options:
    """Return the layer of ours that a kind of layer of PyTorch is in a dtype."""
    if dtype not in _DTYPES:
        raise Declined(f"x must be float32 or float64, got {dtype}")
    cell: Any = _CELLS[kind.mode]
    words: dict[str, Any] = {}
    if cell is RNN:
        words["nonlinearity"] = kind.mode.removeprefix("RNN_").lower()
    smallest = cell(
        1, 1, num_layers=kind.num_layers, bias=kind.bias, bidirectional=kind.bidirectional,
        dtype=_DTYPES[dtype], **words,
    )  # fmt: skip
    sizes = {"input_size": kind.input_size, "hidden_size": kind.hidden_size}
    options = smallest._given_options() | sizes
    return Options(kind, cell._made(options, {}), dict(cell._shapes(options)))


class Live:
    """Packed weights of the last call whose gradients are still to come, for the next one to share.

    Each step of a decoder is a call of its own, and all of them are recorded before the first goes
    back: weights that stay as they are must not be packed, and held, for each.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, list[weakref.ref[Any]]] = (None, [])

    def share(self, layer: Recurrent) -> None:
        """Let a layer have these cells if they are what it would pack, or have its own here."""
        backend, references = self._last
        cells = [cell for reference in references if (cell := reference()) is not None]
        if not cells or backend is not current() or not layer._adopts(cells):
            self._last = current(), [weakref.ref(cell) for cell in layer._cells()]

    def __reduce__(self) -> tuple[type["Live"], tuple[()]]:
        """Have nothing in a copy or a pickle of the module."""
        return Live, ()


# How the sequences of a call come: what stands behind the weights among its tensors.
BATCH_FIRST = "batch first"  # (B, T, I), or (T, I), and nothing
TIME_FIRST = "time first"  # (T, B, I), or (T, I), and nothing
PADDED = "padded"  # (B, T, I), or (T, I), and lengths, or nothing
PACKED = "packed"  # (N, I), and batch_sizes, and sorted_indices, or nothing

Read = tuple[Array, Layout]


def _read_packed(layer: Recurrent, data: Array, *fields: Array) -> Read:
    """Read packed sequences where they are."""
    below, layout = layer._read_packed(Packed(data, *fields), None)
    if not below.size:
        raise Declined("there must be steps")
    return below, layout


def _read_padded(layer: Recurrent, x: Array, lengths: Array | None = None) -> Read:
    """Read sequences as our layers do."""
    return layer._read(x, lengths, None, None, None, "zero")


def _read_batch_first(layer: Recurrent, x: Array) -> Read:
    """Read sequences of one length."""
    shape = x.shape
    if x.size == 0 or shape[-1] != layer.input_size or x.ndim not in {2, 3}:
        raise Declined(f"x must have three axes, of {layer.input_size} features, got {shape}")
    if x.ndim == 2:
        return x[None], _plain_layout(1, shape[0], True)
    return x, _plain_layout(*shape[:2], False)


def _read_time_first(layer: Recurrent, x: Array) -> Read:
    """Read (T, B, I) as if it were packed, for the output to be (T, B, H) in one piece."""
    if x.ndim != 3 or min(x.shape[:2]) < 2:
        # Then to swap the axes moves nothing, here or in the output.
        return _read_batch_first(layer, x.swapaxes(0, 1) if x.ndim == 3 else x)
    if x.shape[2] != layer.input_size or x.size == 0:
        raise Declined(f"x must have shape (T, B, {layer.input_size}), got {x.shape}")
    steps, batch, width = x.shape
    return x.reshape(steps * batch, width), _time_first_layout(steps, batch)


_READERS: dict[str, Callable[..., Read]] = {
    BATCH_FIRST: _read_batch_first,
    TIME_FIRST: _read_time_first,
    PADDED: _read_padded,
    PACKED: _read_packed,
}

# Calls come in few shapes, and what reads a layout writes to nothing of it.


@lru_cache(maxsize=64)
def _plain_layout(batch: int, steps: int, alone: bool) -> Layout:
    return Layout(Rows(batch, None), (batch, steps), alone=alone)


@lru_cache(maxsize=64)
def _time_first_layout(steps: int, batch: int) -> Layout:
    starts = np.arange(0, steps * batch, batch)
    rows = Rows(batch, np.full(batch, steps), step_starts=starts)
    return Layout(rows, (steps * batch,))


class RecurrentForm(NamedTuple):
    """What a call of a recurrent layer is, but for its tensors: of `Form`.

    Those are the data of the sequences, so many `states` before the first step, the weights, and
    what says where the sequences are.
    """

    options: Options
    states: int
    sequences: str = PADDED
    live: Live | None = None

    def over(
        self, tensors: Sequence[torch.Tensor], layer: Recurrent | None = None
    ) -> "RecurrentCall":
        """Return the call on these tensors; of a layer that has the weights, if it is given."""
        tensor, states, weights, where = self._parts(tensors)
        if layer is None:
            layer = self.options.over(weights)
        data = array_of(tensor)
        below, layout = _READERS[self.sequences](layer, data, *map(array_of, where))
        return RecurrentCall(self, layer, below, layout, data.shape, tuple(map(array_of, states)))

    def in_torch(self, tensors: Sequence[torch.Tensor]) -> Tensors:
        """Return what PyTorch's own function makes of the tensors."""
        data, states, weights, where = self._parts(tensors)
        if self.sequences == PACKED:
            return self._packed_in_torch(data, states, weights, *where)
        if where:
            raise NotImplementedError(
                "there are no second derivatives where rows have lengths: PyTorch runs none"
            )
        alone = data.dim() == 2
        if alone:
            data, states = data[None], [part[:, None] for part in states]
        batch_first = alone or self.sequences != TIME_FIRST
        batch = data.shape[0 if batch_first else 1]
        hx = self._hx(states, data, batch)
        run: Any = _FUNCTIONS[self.options.kind.mode]
        output, *found = run(data, hx, weights, *self._last(), batch_first)
        if alone:
            output, found = output[0], [part[:, 0] for part in found]
        return output, *found

    def _parts(self, tensors: Sequence[torch.Tensor]) -> tuple[Any, Any, Any, Any]:
        """Return the data, the states, the weights, and what says where the sequences are."""
        first = 1 + self.states
        last = first + len(self.options.shapes)
        return tensors[0], tensors[1:first], tensors[first:last], tensors[last:]

    def _packed_in_torch(
        self,
        data: torch.Tensor,
        states: Sequence[torch.Tensor],
        weights: Sequence[torch.Tensor],
        batch_sizes: torch.Tensor,
        order: torch.Tensor | None = None,
    ) -> Tensors:
        if order is not None:
            states = [part.index_select(1, order) for part in states]
        hx = self._hx(states, data, int(batch_sizes[0]))
        run: Any = _FUNCTIONS[self.options.kind.mode]
        output, *found = run(data, batch_sizes, hx, weights, *self._last())
        if order is not None:
            back = torch.argsort(order)
            found = [part.index_select(1, back) for part in found]
        return output, *found

    def _hx(self, states: Sequence[torch.Tensor], data: torch.Tensor, batch: int) -> Any:
        """Return the states before the first step as PyTorch's functions take them."""
        kind = self.options.kind
        shape = (kind.num_layers * kind.directions, batch, kind.hidden_size)
        states = states or [data.new_zeros(shape)] * kind.states
        return tuple(states) if kind.states > 1 else states[0]

    def _last(self) -> tuple[Any, ...]:
        """Return the last options that PyTorch's functions take."""
        kind = self.options.kind
        return kind.bias, kind.num_layers, 0.0, False, kind.bidirectional


class RecurrentCall(NamedTuple):
    """A layer over its weights, called with sequences of data of some shape, and a state."""

    form: RecurrentForm
    layer: Recurrent
    below: Array
    layout: Layout
    shape: tuple[int, ...]
    states: tuple[Array, ...]

    def forward(self) -> Tensors:
        """Return the output and the last states."""
        return self._tensors(*self.layer._run(self.below, self.layout, self._state()))

    def vjp(self, needed: Sequence[bool]) -> tuple[Tensors, Callable[..., Grads]]:
        """Return the same, and the function to the gradients."""
        if self.form.live is not None:
            self.form.live.share(self.layer)
        n, layout, shape = len(self.states), self.layout, self.shape
        result, back = self.layer._run_vjp(
            self.below, layout, self._state(), of_x=needed[0], of_state=any(needed[1 : 1 + n])
        )

        def backward(output: Array | None, *last: Array | None) -> Grads:
            if output is not None:
                output = output.reshape(*layout.steps[layout.alone :], output.shape[-1])
            of_last = last if len(last) > 1 else last[0]
            grads = back(output, None if all(part is None for part in last) else of_last)
            of_first = grads.state if len(last) > 1 else (grads.state,)
            of_x = None if grads.x is None else _data(grads.x).reshape(shape)
            found = (of_x, *of_first[:n], *grads.parameters.values())
            return [None if grad is None else torch.from_numpy(grad) for grad in found]

        return self._tensors(*result), backward

    def _state(self) -> Any:
        if not self.states:
            return None
        return self.states if len(self.states) > 1 else self.states[0]

    def _tensors(self, output: Any, state: Any) -> Tensors:
        """Return results as tensors, the output in the form of the input."""
        array, shape = _data(output), self.shape
        if array.shape[:-1] != shape[:-1]:
            array = array.reshape(*shape[:-1], array.shape[-1])
        if isinstance(state, tuple):
            return torch.from_numpy(array), *map(torch.from_numpy, state)
        return torch.from_numpy(array), torch.from_numpy(state)


def _data(result: Any) -> Array:
    """Return the array of a result, which may be packed."""
    array: Array = result.data if isinstance(result, Packed) else result
    return array
