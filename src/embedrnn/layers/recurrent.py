"""What the recurrent layers share: a stack, in one direction or two, run over time or stepped."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import Backend, PackedCell, current
from embedrnn._cells import Cell
from embedrnn._docs import RECURRENCE, documented
from embedrnn.layers.layer import Array, Layer, Shapes
from embedrnn.layers.layout import (
    GivenStates,
    Layout,
    States,
    with_batch_axis,
    without_batch_axis,
)
from embedrnn.layers.tape import RecurrentGrads, Tape
from embedrnn.packed import Packed


class Recurrent(Layer):
    """A stack of recurrent layers of one cell."""

    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    dropout: float
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
        dropout: float,
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
            "dropout": _check.below_one("dropout", dropout),
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
        resets: npt.ArrayLike | None = None,
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
        {offsets, resets}

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
            number or a list is null, lengths or offsets come with sequences, or resets with two
            directions.

        Notes
        -----
        Each row has the same bits alone and in any batch, whatever its padding holds. Weights are
        packed once, in the first call with each backend, and again when they are replaced.
        """
        below, layout = self._read(x, lengths, offsets, resets)
        return layout.results(*self._run(below, layout, state, self._cells()))

    @documented(RECURRENCE)
    def vjp(
        self,
        x: npt.ArrayLike | Packed,
        lengths: npt.ArrayLike | None = None,
        state: Any = None,
        *,
        offsets: npt.ArrayLike | None = None,
        resets: npt.ArrayLike | None = None,
        rng: Any = None,
    ) -> tuple[tuple[Any, Any], Callable[..., RecurrentGrads]]:
        """Return what a call gives, and its vector-Jacobian product: for training.

        Parameters
        ----------
        x, lengths, state, offsets, resets
            As of a call.
        rng : seed or numpy.random.Generator, optional
            Whatever `numpy.random.default_rng` takes, for what is dropped; None draws anew. Not
            used if `dropout` is 0 or there is one layer.

        Returns
        -------
        (output, state) : tuple
            What a call returns, with the same bits where nothing is dropped.
        {backward}
            It returns `RecurrentGrads`: of x in its form, of the state, and of every parameter by
            its name. Where `x` is Packed, `grad_output` may be Packed or its data; the `grad_state`
            of an LSTM is a tuple of two, either of which may be None.

        Raises
        ------
        TypeError, ValueError
            As a call does; of `backward`, if a gradient has another shape or dtype.

        Notes
        -----
        What a layer hands to the one above is dropped at padded steps too, so that what is drawn
        depends on the padding.

        See Also
        --------
        embedrnn.rnn_vjp, embedrnn.gru_vjp, embedrnn.lstm_vjp
            One layer in one direction, and the memory that each valid step takes.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> layer = er.LSTM(5, 7, num_layers=2, dropout=0.5, rng=0)
        >>> (output, state), backward = layer.vjp(np.ones((3, 4, 5), np.float32), rng=1)
        >>> grads = backward(np.ones_like(output)).parameters
        >>> layer.update({name: layer.state_dict()[name] - grads[name] for name in grads})
        """
        below, layout = self._read(x, lengths, offsets, resets)
        drops = self.dropout > 0 and self.num_layers > 1
        generator = _check.generator("rng", rng) if drops or rng is not None else None
        tape = Tape(
            self._cells(), layout.rows.pairs(below), self.dropout, generator if drops else None
        )
        results = layout.results(*self._run(below, layout, state, tape.cells, tape))
        steps = below.shape[:-1]

        def backward(grad_output: Any = None, grad_state: Any = None) -> RecurrentGrads:
            return self._back(tape, layout, steps, grad_output, grad_state)

        return results, backward

    def _read(
        self, x: Any, lengths: npt.ArrayLike | None, offsets: npt.ArrayLike | None, resets: Any
    ) -> tuple[Array, Layout]:
        """Return the checked input, and how its rows are laid out."""
        if type(x) is not np.ndarray or (x.ndim < 3 and (x.ndim < 2 or offsets is None)):
            if isinstance(x, Packed):
                _check.absent_where("x is Packed", lengths, offsets)
                return self._read_packed(x, resets)
            x, offsets = _check.sequences(x, lengths, offsets)
            if x.ndim == 2 and offsets is None and lengths is None:
                return self._read_alone(x, resets)
        axes = "BTI" if offsets is None else "NI"
        below = _check.layer_input("x", x, axes, self.input_size, self.dtype)
        rows = _check.rows_of(below, lengths, offsets)
        again = None if resets is None else self._resets(resets, below.shape[:-1])
        return below, Layout(rows, again)

    def _read_packed(self, x: Packed, resets: Any) -> tuple[Array, Layout]:
        """Read packed sequences, whose rows PyTorch sorts by length; states are not sorted."""
        call = _check.packed(x)
        data = _check.layer_input("data", call.data, "NI", self.input_size, self.dtype)
        return data, Layout(call.rows, self._resets(resets, data.shape[:-1]), call.order, x[1:])

    def _read_alone(self, x: Array, resets: Any) -> tuple[Array, Layout]:
        """Read one sequence without a batch axis."""
        below = _check.layer_input("x", x, "TI", self.input_size, self.dtype)
        again = self._resets(resets, below.shape[:-1])
        again = None if again is None else again[None]
        return below[None], Layout(_check.Rows(1, None), again, alone=True)

    def _resets(self, resets: Any, shape: tuple[int, ...]) -> Array | None:
        if resets is not None and self.bidirectional:
            raise ValueError(
                "resets must be None where there are two directions: what begins at a step in one "
                "ends at another in the other"
            )
        return _check.resets_of(resets, shape)

    def _run(
        self,
        below: Array,
        layout: Layout,
        state: Any,
        cells: Sequence[PackedCell],
        tape: Tape | None = None,
    ) -> tuple[Array, States]:
        """Run over all rows; with a tape, record the way and drop what training drops."""
        rows = layout.rows
        given, new = self._states(state, rows.batch, layout.alone)
        if layout.order is not None:
            given = layout.sorted(given)
        numbered = enumerate(cells)
        for layer in range(self.num_layers):
            if tape is not None and layer > 0:
                tape.drop(layer, below)
            shape = (*below.shape[:-1], self._directions, self.hidden_size)
            output = np.empty(shape, self.dtype)
            for reverse in range(self._directions):
                k, cell = next(numbered)
                cell.forward(
                    below, rows.lengths, rows.row_starts, rows.step_starts, layout.resets, given,
                    reverse == 1, output[..., reverse, :], new, k,
                    None if tape is None else tape.tapes[k],
                )  # fmt: skip
            below = output.reshape(*shape[:-2], self._directions * self.hidden_size)
        return below, new

    def _back(
        self,
        tape: Tape,
        layout: Layout,
        steps: tuple[int, ...],
        grad_output: Any,
        grad_state: Any,
    ) -> RecurrentGrads:
        """Walk back over what `_run` recorded, from the last layer to the first."""
        rows, hidden, width = layout.rows, self.hidden_size, self._directions * self.hidden_size
        grad = layout.cotangent(grad_output, (*steps, width), self.dtype)
        of_last, of_first = self._state_grads(layout, grad_state)
        shapes = self._shapes(self._given_options())
        parameters = {name: np.zeros(shape, self.dtype) for name, shape in shapes.items()}
        for layer in reversed(range(self.num_layers)):
            below = np.zeros((*steps, width if layer else self.input_size), self.dtype)
            for reverse, names in enumerate(_names(layer, self._directions)):
                k, first = layer * self._directions + reverse, reverse * hidden
                weight_ih, weight_hh, bias_ih, bias_hh = names
                tape.cells[k].backward(
                    rows.lengths, rows.row_starts, rows.step_starts, layout.resets, reverse == 1,
                    tape.tapes[k], None if grad is None else grad[..., first : first + hidden],
                    of_last, below, of_first,
                    (parameters[weight_ih], parameters[weight_hh], parameters.get(bias_ih),
                     parameters.get(bias_hh)), k,
                )  # fmt: skip
            tape.back_through_drop(layer, below)
            grad = below
        assert grad is not None
        return RecurrentGrads(*layout.results(grad, of_first), parameters)

    def _state_grads(self, layout: Layout, grad_state: Any) -> tuple[GivenStates, States]:
        """Return the checked gradients of the last states, and room for those of the first."""
        shape = (self.num_layers * self._directions, layout.rows.batch, self.hidden_size)
        given = _check.state_cotangents(
            self._cell, grad_state, (shape[0], shape[2]) if layout.alone else shape, self.dtype
        )
        given = with_batch_axis(given) if layout.alone else layout.sorted(given)
        return given, tuple(np.empty(shape, self.dtype) for _ in given)

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
        alone = below.ndim == 1
        if out is not None:
            shape = (*below.shape[:-1], self.hidden_size)
            _check.require_output("out", out, shape, self.dtype)
        if alone:
            below = below[None]
        given, new = self._states(state, below.shape[0], alone)
        for k, cell in enumerate(self._cells()):
            cell.step(below, given, new, k)
            below = new[0][k]
        if out is None:
            out = below[0].copy() if alone else below.copy()
        else:
            out[...] = below
        if alone:
            new = without_batch_axis(new)
        return out, new if len(new) > 1 else new[0]

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

    def _states(self, state: Any, n_rows: int, alone: bool) -> tuple[GivenStates, States]:
        """Return the checked states before the first step, and room for those behind the last."""
        shape, dtype = (self.num_layers * self._directions, n_rows, self.hidden_size), self.dtype
        given = _check.layer_state(
            self._cell, state, (shape[0], shape[2]) if alone else shape, dtype
        )
        if alone:
            given = with_batch_axis(given)
        new = []
        for _ in given:  # a comprehension would take as long as a step of a few units
            new.append(np.empty(shape, dtype))
        return given, tuple(new)


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
