"""What the recurrent layers share: a stack, in one direction or two, run over time or stepped."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current
from embedrnn.layers.layer import Array, Layer

# What stands beside the hidden states of each layer and direction, if not the cell states.
_NO_CELL_STATE = repeat(None)


class Recurrent(Layer, ABC):
    """A stack of recurrent layers; the cell says how many gates and which states it has."""

    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    bidirectional: bool
    dtype: np.dtype[Any]

    _gates: ClassVar[int]
    _has_cell_state: ClassVar[bool] = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        bias: bool,
        bidirectional: bool,
        dtype: npt.DTypeLike,
        rng: Any,
        **options: Any,
    ) -> None:
        sizes = {
            "input_size": _check.size("input_size", input_size, least=0),
            "hidden_size": _check.size("hidden_size", hidden_size),
            "num_layers": _check.size("num_layers", num_layers),
        }
        flags = {"bias": bool(bias), "bidirectional": bool(bidirectional)}
        options = sizes | flags | options | {"dtype": _check.float_dtype(dtype)}
        self._directions = 1 + flags["bidirectional"]
        super().__init__(options, _initial(options, self._gates, np.random.default_rng(rng)))

    def __call__(
        self, x: npt.ArrayLike, lengths: npt.ArrayLike | None = None, state: Any = None
    ) -> tuple[Array, Any]:
        """Run the layer over a padded batch.

        Parameters
        ----------
        x : array_like, shape (B, T, input_size), dtype of the layer
            Of any strides: a (T, B, I) array transposed costs no copy. What stands at padded steps
            is never read.
        lengths : array_like of any integer dtype, shape (B,), optional
            Valid steps of each row, in [0, T] and any order; T if absent.
        state : array_like, shape (num_layers * directions, B, H), optional
            The state before the first step, in each layer one direction's after the other's; of an
            LSTM the tuple (h_0, c_0). Zeros if absent.

        Returns
        -------
        output : ndarray, shape (B, T, directions * H)
            The last layer's state after each step, 0 at padded steps; both directions side by side,
            each in time order.
        state : ndarray, or a tuple of two, shaped as `state`
            After each row's last step.

        Raises
        ------
        TypeError
            If an array has another dtype, or the state of an LSTM is not a tuple.
        ValueError
            If a shape does not fit, or a length is outside [0, T].

        Notes
        -----
        Each row has the same bits alone and in any batch, whatever its padding holds. Weights are
        packed once, in the first call with each backend, and again when they are replaced.
        """
        below = _check.layer_input("x", x, "BTI", self.input_size, self.dtype)
        n_rows, time, _ = below.shape
        valid = None if lengths is None else _check.lengths_of(lengths, n_rows, time)
        h_0, c_0, h_n, c_n = self._states(state, n_rows)
        parts = zip(self._cells(), h_0, c_0, h_n, c_n, strict=False)
        for _ in range(self.num_layers):
            output = np.empty((n_rows, time, self._directions, self.hidden_size), self.dtype)
            for reverse in range(self._directions):
                cell, h, c, h_out, c_out = next(parts)
                cell.forward(below, valid, h, c, reverse == 1, output[:, :, reverse], h_out, c_out)
            below = output.reshape(n_rows, time, self._directions * self.hidden_size)
        return below, (h_n, c_n) if self._has_cell_state else h_n

    def step(
        self, x_t: npt.ArrayLike, state: Any = None, out: Array | None = None
    ) -> tuple[Array, Any]:
        """Run one time step, the next of a stream.

        Parameters
        ----------
        x_t : array_like, shape (B, input_size), dtype of the layer
        state : array_like, shape (num_layers, B, H), optional
            As the last step or call returned it, of an LSTM a tuple of two; zeros if absent.
        out : ndarray, shape (B, H), dtype of the layer, optional
            Where to put the output. May overlap the inputs, as if they had been copied before.

        Returns
        -------
        output : ndarray, shape (B, H)
            The last layer's hidden state; `out` if that is given.
        state : ndarray, or a tuple of two, shaped as `state`
            A fresh one: what was given stays as it was.

        Raises
        ------
        TypeError
            If an array has another dtype, or the state of an LSTM is not a tuple.
        ValueError
            If a shape does not fit, `out` is read-only, or the layer is bidirectional.

        Notes
        -----
        Steps have the bits of one call over the same sequence.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> layer, x, state = er.LSTM(5, 7), np.ones((1, 3, 5), np.float32), None
        >>> for t in range(3):
        ...     output, state = layer.step(x[:, t], state)
        >>> bool((output == layer(x)[0][:, -1]).all())
        True
        """
        if self.bidirectional:
            raise ValueError("step needs a layer of one direction: the other starts at the end")
        below = _check.layer_input("x_t", x_t, "BI", self.input_size, self.dtype)
        n_rows = below.shape[0]
        if out is not None:
            _check.require_output("out", out, (n_rows, self.hidden_size), self.dtype)
        h_0, c_0, h_n, c_n = self._states(state, n_rows)
        # A keyword of zip would cost as much as a small array.
        for cell, h, c, h_out, c_out in zip(self._cells(), h_0, c_0, h_n, c_n):  # noqa: B905
            cell.step(below, h, c, h_out, c_out)
            below = h_out
        if out is None:
            out = below.copy()
        else:
            out[...] = below
        return out, (h_n, c_n) if self._has_cell_state else h_n

    @abstractmethod
    def _pack(self, backend: ModuleType, *weights: Array | None) -> Any:
        """Return the packed cell of weight_ih, weight_hh, bias_ih and bias_hh."""

    def _cells(self) -> Sequence[Any]:
        """Return the packed cells of the backend in use, one direction after another."""
        backend, weights = current(), self._weights
        cells: Sequence[Any] | None = weights.packed.get(backend)
        if cells is None:
            # Two threads may both come here; the cells of the first are those of both.
            packed = self._packed(backend, weights.parameters)
            return weights.packed.setdefault(backend, packed)
        return cells

    def _packed(self, backend: ModuleType, parameters: Mapping[str, Array]) -> Sequence[Any]:
        return [
            self._pack(backend, *(parameters.get(name) for name in names))
            for layer in range(self.num_layers)
            for names in _names(layer, self._directions)
        ]

    def _states(self, state: Any, n_rows: int) -> tuple[Array, Any, Array, Any]:
        """Return the checked h_0 and c_0, and room for h_n and c_n."""
        shape, dtype = (self.num_layers * self._directions, n_rows, self.hidden_size), self.dtype
        h_n = np.empty(shape, dtype)
        if not self._has_cell_state:
            zeros = state is None
            h_0 = np.zeros(shape, dtype) if zeros else _check.operand("state", state, shape, dtype)
            return h_0, _NO_CELL_STATE, h_n, _NO_CELL_STATE
        if state is None:
            state = np.zeros(shape, dtype), np.zeros(shape, dtype)
        return *_check.lstm_state(state, shape, dtype), h_n, np.empty(shape, dtype)


def _names(layer: int, directions: int) -> Iterator[list[str]]:
    """Yield the names of each direction's parameters."""
    for suffix in ("", "_reverse")[:directions]:
        yield _check.parameter_names(layer, suffix)


def _initial(
    options: Mapping[str, Any], gates: int, rng: "np.random.Generator"
) -> Iterator[tuple[str, Array]]:
    """Yield parameters by name, uniform in [-H^-1/2, H^-1/2)."""
    hidden, directions = options["hidden_size"], 1 + options["bidirectional"]
    bound, rows = hidden**-0.5, gates * hidden
    for layer in range(options["num_layers"]):
        width = options["input_size"] if layer == 0 else directions * hidden
        shapes = [(rows, width), (rows, hidden), (rows,), (rows,)]
        for names in _names(layer, directions):
            for name, shape in list(zip(names, shapes, strict=True))[: 4 if options["bias"] else 2]:
                yield name, rng.uniform(-bound, bound, shape).astype(options["dtype"])
