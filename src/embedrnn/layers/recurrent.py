"""What the recurrent layers share: a stack, in one direction or two, run over time or stepped."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import Backend, PackedCell, current
from embedrnn._cells import Cell
from embedrnn._docs import RECURRENCE, documented
from embedrnn.layers.layer import Array, Layer, Shapes
from embedrnn.packed import Packed

# One array for each state of the cell, or None for zeros.
_States = tuple[Array | None, ...]


class Recurrent(Layer):
    """A stack of recurrent layers of one cell."""

    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    bidirectional: bool

    _cell: Cell

    def __init__(self, rng: Any, others: dict[str, Any], **options: Any) -> None:
        _check.only_words(type(self).__name__, _check.RECURRENT_WORDS, others)
        checked = self._checked(**options)
        self._hold(checked, _initial(checked, self._shapes(checked), _check.generator("rng", rng)))

    def _hold(self, options: dict[str, Any], parameters: Mapping[str, Array]) -> None:
        self._cell = self._cell_of(options)
        self._directions = 1 + options["bidirectional"]
        super()._hold(options, parameters)

    @classmethod
    def _checked(
        cls,
        *,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        bidirectional: bool,
        dtype: npt.DTypeLike | None,
        **variant: Any,
    ) -> dict[str, Any]:
        inputs = _check.size("input_size", input_size, least=0)
        hidden = _check.size("hidden_size", hidden_size)
        _check.require_addressable("input_size and hidden_size", 4 * hidden, inputs + 2 * hidden)
        return {
            "input_size": inputs,
            "hidden_size": hidden,
            "num_layers": _check.size("num_layers", num_layers),
            "bias": _check.flag("bias", bias),
            "bidirectional": _check.flag("bidirectional", bidirectional),
            **cls._variant(**variant),
            "dtype": _check.float_dtype(dtype),
        }

    @staticmethod
    @abstractmethod
    def _variant(*_: Any, **options: Any) -> dict[str, Any]:
        """Check the options that a cell has beside those of every cell."""

    @staticmethod
    @abstractmethod
    def _cell_of(options: Mapping[str, Any]) -> Cell:
        """Return the cell of a layer with these options."""

    @classmethod
    def _shapes(cls, options: Mapping[str, Any]) -> Shapes:
        hidden, directions = options["hidden_size"], 1 + options["bidirectional"]
        rows = len(cls._cell_of(options).gates) * hidden
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(options["num_layers"]):
            width = options["input_size"] if layer == 0 else directions * hidden
            every = [(rows, width), (rows, hidden), (rows,), (rows,)]
            for names in _names(layer, directions):
                shapes |= dict(zip(names, every if options["bias"] else every[:2], strict=False))
        return shapes

    @documented(RECURRENCE)
    def __call__(
        self,
        x: npt.ArrayLike | Packed,
        lengths: npt.ArrayLike | None = None,
        state: Any = None,
        *,
        offsets: npt.ArrayLike | None = None,
    ) -> tuple[Any, Any]:
        """Run the layer over padded, ragged or packed sequences.

        Parameters
        ----------
        x : array_like, shape (B, T, input_size), dtype of the layer, or B sequences, or Packed
            Of any strides: a (T, B, I) array transposed costs no copy. What stands at padded steps
            is never read. Ragged with `offsets`, or as a list of arrays (T_b, input_size), equally
            long or not, or as an Arrow list array of fixed-size lists; or as PyTorch packs it. Of
            shape (T, input_size), with neither lengths nor offsets, it is one sequence.
        {lengths}
        state : array_like, shape (num_layers * directions, B, H), optional
            The state before the first step, in each layer one direction's after the other's; of an
            LSTM the tuple (h_0, c_0). Zeros if absent. Of one sequence it has no axis B.
        {offsets}

        Returns
        -------
        output : ndarray, shape (B, T, directions * H) or (N, directions * H), or Packed
            The last layer's state after each step, 0 at padded steps; both directions side by side,
            each in time order. Laid out as `x` is: (T, directions * H) of one sequence.
        state : ndarray, or a tuple of two, shaped as `state`
            After each row's last step.

        Raises
        ------
        TypeError
            If an array has another dtype, or the state of an LSTM is not a tuple.
        ValueError
            If a shape does not fit, a length is outside [0, T], offsets do not rise from 0 to N, a
            number or a list is null, or lengths or offsets come with sequences.

        Notes
        -----
        Each row has the same bits alone and in any batch, whatever its padding holds. Weights are
        packed once, in the first call with each backend, and again when they are replaced.
        """
        if type(x) is not np.ndarray or (x.ndim < 3 and (x.ndim < 2 or offsets is None)):
            if isinstance(x, Packed):
                _check.absent_where("x is Packed", lengths, offsets)
                return self._call_packed(x, state)
            x, offsets = _check.sequences(x, lengths, offsets)
            if x.ndim == 2 and offsets is None and lengths is None:
                return self._call_unbatched(x, state)
        axes = "BTI" if offsets is None else "NI"
        below = _check.layer_input("x", x, axes, self.input_size, self.dtype)
        return self._run(below, _check.rows_of(below, lengths, offsets), state)

    def _call_packed(self, x: Packed, state: Any) -> tuple[Packed, Any]:
        """Run over packed sequences, whose rows PyTorch sorts by length; states are not sorted."""
        call = _check.packed(x)
        data = _check.layer_input("data", call.data, "NI", self.input_size, self.dtype)
        output, last = self._run(data, call.rows, state, call.order)
        return x._replace(data=output), last

    def _call_unbatched(self, x: Array, state: Any) -> tuple[Array, Any]:
        """Run over one sequence without a batch axis."""
        below = _check.layer_input("x", x, "TI", self.input_size, self.dtype)
        output, last = self._run(below[None], _check.Rows(1, None), self._batch_of_one(state))
        return output[0], _without_batch(last)

    def _run(
        self, below: Array, rows: _check.Rows, state: Any, order: Array | None = None
    ) -> tuple[Array, Any]:
        """Run over all rows; `order` sorts the states as they are sorted."""
        given, new = self._states(state, rows.batch)
        if order is not None:
            given = tuple(None if part is None else part[:, order] for part in given)
        cells = enumerate(self._cells())
        for _ in range(self.num_layers):
            shape = (*below.shape[:-1], self._directions, self.hidden_size)
            output = np.empty(shape, self.dtype)
            for reverse in range(self._directions):
                k, cell = next(cells)
                into = output[..., reverse, :]
                cell.forward(
                    below, rows.lengths, rows.row_starts, rows.step_starts, None, given,
                    reverse == 1, into, new, k, None,
                )  # fmt: skip
            below = output.reshape(*shape[:-2], self._directions * self.hidden_size)
        if order is not None:
            for part in new:
                part[:, order] = part.copy()
        return below, new if len(new) > 1 else new[0]

    def step(
        self, x_t: npt.ArrayLike, state: Any = None, out: Array | None = None
    ) -> tuple[Array, Any]:
        """Run one time step, the next of a stream.

        Parameters
        ----------
        x_t : array_like, shape (B, input_size), dtype of the layer
            Of one sequence (input_size,); then nothing below has an axis B.
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
        if below.ndim == 1:
            return self._step_unbatched(below, state, out)
        n_rows = below.shape[0]
        if out is not None:
            _check.require_output("out", out, (n_rows, self.hidden_size), self.dtype)
        given, new = self._states(state, n_rows)
        for k, cell in enumerate(self._cells()):
            cell.step(below, given, new, k)
            below = new[0][k]
        if out is None:
            out = below.copy()
        else:
            out[...] = below
        return out, new if len(new) > 1 else new[0]

    def _step_unbatched(self, x_t: Array, state: Any, out: Array | None) -> tuple[Array, Any]:
        """Run one time step of one sequence without a batch axis."""
        if out is not None:
            _check.require_output("out", out, (self.hidden_size,), self.dtype)
        into = None if out is None else out[None]
        output, new = Recurrent.step(self, x_t[None], self._batch_of_one(state), into)
        return output[0] if out is None else out, _without_batch(new)

    def _cells(self) -> Sequence[PackedCell]:
        """Return the packed cells of the backend in use, one direction after another."""
        backend, weights = current(), self._weights
        cells = weights.packed.get(backend)
        if cells is None:
            # Two threads may both come here; the cells of the first are those of both.
            packed = self._packed(backend, weights.parameters)
            return weights.packed.setdefault(backend, packed)
        return cells

    def _packed(self, backend: Backend, parameters: Mapping[str, Array]) -> Sequence[PackedCell]:
        return [
            backend.pack(
                self._cell.name, parameters[weight_ih], parameters[weight_hh],
                parameters.get(bias_ih), parameters.get(bias_hh),
            )
            for layer in range(self.num_layers)
            for weight_ih, weight_hh, bias_ih, bias_hh in _names(layer, self._directions)
        ]  # fmt: skip

    def _states(self, state: Any, n_rows: int) -> tuple[_States, tuple[Array, ...]]:
        """Return the checked states before the first step, and room for those behind the last."""
        shape, dtype = (self.num_layers * self._directions, n_rows, self.hidden_size), self.dtype
        given = _check.layer_state(self._cell, state, shape, dtype)
        new = []
        for _ in given:  # a comprehension would take as long as a step of a few units
            new.append(np.empty(shape, dtype))
        return given, tuple(new)

    def _batch_of_one(self, state: Any) -> Any:
        """Return the state of one sequence without a batch axis, checked, with that axis."""
        if state is None:
            return None
        shape = (self.num_layers * self._directions, self.hidden_size)
        parts = [
            part[:, None]
            for part in _check.layer_state(self._cell, state, shape, self.dtype)
            if part is not None
        ]
        return parts if len(parts) > 1 else parts[0]


def _without_batch(state: Any) -> Any:
    return tuple(part[:, 0] for part in state) if isinstance(state, tuple) else state[:, 0]


def _names(layer: int, directions: int) -> Iterator[list[str]]:
    """Yield the names of each direction's parameters."""
    for suffix in ("", "_reverse")[:directions]:
        yield _check.parameter_names(layer, suffix)


def _initial(
    options: Mapping[str, Any], shapes: Shapes, rng: "np.random.Generator"
) -> dict[str, Array]:
    """Return parameters by name, uniform in [-H^-1/2, H^-1/2)."""
    bound = options["hidden_size"] ** -0.5
    return {
        name: rng.uniform(-bound, bound, shape).astype(options["dtype"])
        for name, shape in shapes.items()
    }
