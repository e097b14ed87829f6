"""PyTorch's recurrent layers as ours: what they are, how sequences come to them, and one call."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

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

    def over(self, weights: list[Array]) -> Recurrent:
        """Return the layer over these weights; Declined if one does not fit."""
        dtype = self.layer.dtype
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


class Steps(NamedTuple):
    """Sequences as one of our layers reads them, and as PyTorch has them.

    `shape` is that of the tensor that has their numbers; `batch_sizes` and `order`, that is
    sorted_indices, are those of packed ones.
    """

    below: Array
    layout: Layout
    shape: tuple[int, ...]
    batch_first: bool = True
    batch_sizes: torch.Tensor | None = None
    order: torch.Tensor | None = None


def read_packed(
    layer: Recurrent,
    data: torch.Tensor,
    batch_sizes: torch.Tensor,
    order: torch.Tensor | None,
) -> Steps:
    """Read packed sequences where they are."""
    places = None if order is None else array_of(order)
    fields = Packed(array_of(data), array_of(batch_sizes), places)
    below, layout = layer._read_packed(fields, None)
    if not below.size:
        raise Declined("there must be steps")
    return Steps(below, layout, below.shape, False, batch_sizes, order)


def read_padded(layer: Recurrent, x: Array, lengths: Any = None) -> Steps:
    """Read sequences as our layers do: padded (B, T, I), or one alone, (T, I)."""
    below, layout = layer._read(x, lengths, None, None, None, "zero")
    return Steps(below, layout, x.shape)


def read_plain(layer: Recurrent, x: Array, batch_first: bool) -> Steps:
    """Read sequences of one length, (B, T, I) or (T, B, I), or (T, I)."""
    shape = x.shape
    if x.size == 0 or shape[-1] != layer.input_size or x.ndim not in {2, 3}:
        raise Declined(f"x must have shape (B, T, {layer.input_size}), got {shape}")
    if x.ndim == 2:
        return Steps(x[None], _plain_layout(1, shape[0], True), shape)
    if not batch_first:
        if min(shape[:2]) > 1:
            return _time_major(np.ascontiguousarray(x))
        x = x.swapaxes(0, 1)  # which moves nothing, here or in the output
    return Steps(x, _plain_layout(*x.shape[:2], False), shape, batch_first)


def _time_major(x: Array) -> Steps:
    """Read (T, B, I) as if it were packed, for the output to be (T, B, H) in one piece."""
    steps, batch, width = x.shape
    below = x.reshape(steps * batch, width)
    return Steps(below, _time_major_layout(steps, batch), x.shape, False)


# Calls come in few shapes, and what reads a layout writes to nothing of it.


@lru_cache(maxsize=64)
def _plain_layout(batch: int, steps: int, alone: bool) -> Layout:
    return Layout(Rows(batch, None), (batch, steps), alone=alone)


@lru_cache(maxsize=64)
def _time_major_layout(steps: int, batch: int) -> Layout:
    starts = np.arange(0, steps * batch, batch)
    rows = Rows(batch, np.full(batch, steps), step_starts=starts)
    return Layout(rows, (steps * batch,))


class RecurrentCall(NamedTuple):
    """A layer over its weights, called with sequences and a state: of `Call`.

    Its tensors are the data of the sequences, the states if there are any, and the weights.
    """

    kind: Kind
    layer: Recurrent
    sequences: Steps
    states: tuple[Array, ...]

    def forward(self) -> Tensors:
        """Return the output and the last states."""
        return self._tensors(*self.layer._run(*self.sequences[:2], self._state()))

    def vjp(self, needed: Sequence[bool]) -> tuple[Tensors, Callable[..., Grads]]:
        """Return the same, and the function to the gradients."""
        of_state = any(needed[1 : 1 + len(self.states)])
        result, back = self.layer._run_vjp(
            *self.sequences[:2], self._state(), of_x=needed[0], of_state=of_state
        )

        def backward(output: Array | None, *last: Array | None) -> Grads:
            if output is not None:
                steps = self.sequences.layout.steps[self.sequences.layout.alone :]
                output = output.reshape(*steps, output.shape[-1])
            of_last = last if self.kind.states > 1 else last[0]
            grads = back(output, None if all(part is None for part in last) else of_last)
            of_first = grads.state if self.kind.states > 1 else (grads.state,)
            of_x = None if grads.x is None else _data(grads.x).reshape(self.sequences.shape)
            found = (of_x, *of_first[: len(self.states)], *grads.parameters.values())
            return [None if grad is None else torch.from_numpy(grad) for grad in found]

        return self._tensors(*result), backward

    def in_torch(self, tensors: Sequence[torch.Tensor]) -> Tensors:
        """Return what PyTorch's own function makes of the tensors."""
        data, *others = tensors
        n, sequences = len(self.states), self.sequences
        rows = sequences.layout.rows
        if rows.lengths is not None and rows.step_starts is None:
            raise NotImplementedError(
                "there are no second derivatives where rows have lengths: PyTorch runs none"
            )
        states, weights = others[:n], others[n:]
        alone = sequences.layout.alone
        if alone:
            data, states = data[None], [part[:, None] for part in states]
        if not states:
            states = [self._zeros(data)] * self.kind.states
        if sequences.order is not None:
            states = [part.index_select(1, sequences.order) for part in states]
        hx = tuple(states) if self.kind.states > 1 else states[0]
        last = (self.kind.bias, self.kind.num_layers, 0.0, False, self.kind.bidirectional)
        run: Any = _FUNCTIONS[self.kind.mode]
        if sequences.batch_sizes is None:
            output, *found = run(data, hx, weights, *last, alone or sequences.batch_first)
        else:
            output, *found = run(data, sequences.batch_sizes, hx, weights, *last)
        if sequences.order is not None:
            back = torch.argsort(sequences.order)
            found = [part.index_select(1, back) for part in found]
        if alone:
            output, found = output[0], [part[:, 0] for part in found]
        return output, *found

    def _zeros(self, data: torch.Tensor) -> torch.Tensor:
        batch = self.sequences.layout.rows.batch
        n = self.kind.num_layers * self.kind.directions
        return data.new_zeros(n, batch, self.kind.hidden_size)

    def _state(self) -> Any:
        if not self.states:
            return None
        return self.states if self.kind.states > 1 else self.states[0]

    def _tensors(self, output: Any, state: Any) -> Tensors:
        """Return results as tensors, the output in the form of the input."""
        array, shape = _data(output), self.sequences.shape
        if array.shape[:-1] != shape[:-1]:
            array = array.reshape(*shape[:-1], array.shape[-1])
        if self.kind.states > 1:
            return torch.from_numpy(array), *map(torch.from_numpy, state)
        return torch.from_numpy(array), torch.from_numpy(state)


def _data(result: Any) -> Array:
    """Return the array of a result, which may be packed."""
    array: Array = result.data if isinstance(result, Packed) else result
    return array
