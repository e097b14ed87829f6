"""What the recurrent layers share: a stack, in one direction or two, run over time or stepped."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import Backend, PackedCell, current
from embedrnn._cells import Cell
from embedrnn._check import state as _check_state
from embedrnn._check.state import Named
from embedrnn._docs import RECURRENCE, documented
from embedrnn._sequences import Rows
from embedrnn.layers.layer import Array, Layer, Shapes
from embedrnn.layers.layout import Layout, PaddingFill, without_batch_axis
from embedrnn.layers.merging import MERGES
from embedrnn.layers.stack import Stack
from embedrnn.layers.tape import RecurrentGrads, Tape
from embedrnn.packed import Packed


class Told(NamedTuple):
    """An option, and its values where certain parameters are there and where they are not."""

    name: str
    present: Any
    absent: Any


class Recurrent(Layer):
    """A stack of recurrent layers of one cell."""

    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    dropout: float
    bidirectional: bool
    reverse: bool
    merge: str

    # Of the parameters that not every layer has, by how their names begin: what they tell.
    _optional: ClassVar[Mapping[str, Told]] = {"bias_ih": Told("bias", present=True, absent=False)}

    _stack: Stack

    def __init__(self, rng: Any, others: dict[str, Any], **options: Any) -> None:
        bare = others.pop("_bare", False)
        _check.only_words(type(self).__name__, _check.RECURRENT_WORDS, others)
        checked = self._checked(**options)
        shapes = {} if bare else self._shapes(checked)
        self._hold(checked, _initial(checked, shapes, _check.generator("rng", rng)))

    def _hold(self, options: dict[str, Any], parameters: Mapping[str, Array]) -> None:
        self._stack = self._stack_of(options)
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
        reverse: bool = False,  # which a pickle or a file of before does not say
        merge: str = "concat",
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
            **_check.directions(bidirectional, reverse, merge),
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
    def _stack_of(cls, options: Mapping[str, Any]) -> Stack:
        both = options["bidirectional"]
        return Stack(
            cls._cell_of(options), options["num_layers"],
            (False, True) if both else (options["reverse"],), MERGES.get(options["merge"]),
            options["hidden_size"], options["dtype"],
        )  # fmt: skip

    @classmethod
    def _shapes(cls, options: Mapping[str, Any]) -> Shapes:
        stack = cls._stack_of(options)
        rows, hidden = len(stack.cell.gates) * stack.hidden, stack.hidden
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(stack.num_layers):
            width = options["input_size"] if layer == 0 else stack.width
            biases = [(rows,), (rows,)] if options["bias"] else [(), ()]
            every = [(rows, width), (rows, hidden), *biases, (stack.cell.diagonals * hidden,)]
            for names in stack.names(layer):
                shapes |= {n: shape for n, shape in zip(names, every, strict=False) if shape}
        return shapes

    @classmethod
    def _told(cls, named: Named) -> tuple[dict[str, Any], npt.DTypeLike | None]:
        stems = ("weight_ih", "weight_hh", "bias_hh", *cls._optional)
        present, layers, both_ways = _check_state.recurrent_names(named.names(), stems)
        weight_ih, weight_hh = named.told(("weight_ih_l0", "weight_hh_l0"), axes=2).values()
        told = {
            "input_size": weight_ih.shape[1],
            "hidden_size": weight_hh.shape[1],
            "num_layers": layers,
            "bidirectional": both_ways,
        }
        for stem, option in cls._optional.items():
            told[option.name] = option.present if stem in present else option.absent
        return told, _check.dtype_like(weight_hh.dtype)

    @documented(RECURRENCE)
    def __call__(
        self,
        x: npt.ArrayLike | Packed,
        lengths: npt.ArrayLike | None = None,
        state: Any = None,
        *,
        offsets: npt.ArrayLike | None = None,
        resets: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        padding_fill: PaddingFill = "zero",
    ) -> tuple[Any, Any]:
        """Run the layer over padded, ragged or packed sequences.

        Parameters
        ----------
        x : array_like, shape (B, T, input_size), dtype of the layer, or B sequences, or Packed
            Of any strides: a (T, B, I) array transposed costs no copy. What stands at padded steps
            is never read. Ragged with `offsets`, or as a list of arrays (T_b, input_size), equally
            long or not, or as an Arrow list array of fixed-size lists; or as PyTorch packs it. Of
            shape (T, input_size), without lengths, offsets and a mask, it is one sequence.
        {lengths}
        state : array_like, shape (num_layers * directions, B, H), optional
            The state before the first step, in each layer one direction's after the other's; of an
            LSTM the tuple (h_0, c_0). Zeros if absent. Of one sequence it has no axis B.
        {offsets, resets}
        {mask, padding_fill}

        Returns
        -------
        output : ndarray, shape (B, T, directions * H) or (N, directions * H), or Packed
            The last layer's state after each step, 0 at padded steps unless they repeat; both
            directions side by side, or H wide where they are merged, each in time order. Laid out
            as `x` is: (T, directions * H) of one sequence.
        state : ndarray, or a tuple of two, shaped as `state`
            After each row's last step.

        Raises
        ------
        TypeError
            If an array has another dtype, or the state of an LSTM is not a tuple.
        ValueError
            If a shape does not fit, a length is outside [0, T], offsets do not rise from 0 to N, a
            number or a list is null, lengths, offsets or a mask come with sequences, or resets with
            two directions or a mask.

        Notes
        -----
        Each row has the same bits alone and in any batch, whatever its padding holds. Weights are
        packed once, in the first call with each backend, and again when they are replaced.
        """
        below, layout = self._read(x, lengths, offsets, resets, mask, padding_fill)
        return self._run(below, layout, state)

    def _run(self, below: Array, layout: Layout, state: Any) -> tuple[Any, Any]:
        """Run over what has been read."""
        sources = (below,) * self._stack.directions
        outputs = self._stack.run(self._cells(), sources, layout, state)
        return layout.outputs(outputs.steps, outputs.states)

    @documented(RECURRENCE)
    def vjp(
        self,
        x: npt.ArrayLike | Packed,
        lengths: npt.ArrayLike | None = None,
        state: Any = None,
        *,
        offsets: npt.ArrayLike | None = None,
        resets: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        padding_fill: PaddingFill = "zero",
        rng: Any = None,
    ) -> tuple[tuple[Any, Any], Callable[..., RecurrentGrads]]:
        """Return what a call gives, and its vector-Jacobian product: for training.

        Parameters
        ----------
        x, lengths, state, offsets, resets, mask, padding_fill
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
        below, layout = self._read(x, lengths, offsets, resets, mask, padding_fill)
        return self._run_vjp(below, layout, state, rng)

    def _run_vjp(
        self,
        below: Array,
        layout: Layout,
        state: Any,
        rng: Any = None,
        *,
        of_x: bool = True,
        of_state: bool = True,
    ) -> tuple[tuple[Any, Any], Callable[..., RecurrentGrads]]:
        """Run over what has been read, and back, to x and to the state if that is wanted."""
        tape = self._tape(layout.rows.pairs(below.shape), rng)
        stack, shape = self._stack, below.shape
        outputs = stack.run(tape.cells, (below,) * stack.directions, layout, state, tape)

        def backward(grad_output: Any = None, grad_state: Any = None) -> RecurrentGrads:
            grad = layout.cotangent(grad_output, stack.width, self.dtype)
            of_last = stack.state_cotangents(layout, grad_state)
            # Rows without lengths are as long as an array of steps says.
            says = of_x or (grad is None and layout.rows.lengths is None)
            grad_x, parameters = np.zeros(shape, self.dtype) if says else None, self._zeros()
            sources = (grad_x,) * stack.directions
            grad_first = stack.back(
                tape, layout, grad, of_last, sources, parameters, of_state=of_state
            )
            return RecurrentGrads(*layout.results(grad_x, grad_first), parameters)

        return layout.outputs(outputs.steps, outputs.states), backward

    def _read(
        self,
        x: Any,
        lengths: npt.ArrayLike | None,
        offsets: npt.ArrayLike | None,
        resets: Any,
        mask: npt.ArrayLike | None,
        padding_fill: PaddingFill,
    ) -> tuple[Array, Layout]:
        """Return the checked input, and how its rows are laid out."""
        repeats = _check.repeats_padding(padding_fill)
        if type(x) is not np.ndarray or (x.ndim < 3 and (x.ndim < 2 or offsets is None)):
            if isinstance(x, Packed):
                _check.absent_where("x is Packed", lengths, offsets, mask)
                return self._read_packed(x, resets)
            x, offsets = _check.sequences(x, lengths, offsets, mask)
            if x.ndim == 2 and offsets is None and lengths is None and mask is None:
                return self._read_alone(x, resets)
        axes = "BTI" if offsets is None else "NI"
        below = _check.layer_input("x", x, axes, self.input_size, self.dtype)
        steps = below.shape[:-1]
        rows = _check.rows_of(steps, lengths, offsets, mask)
        if resets is None:
            return below, Layout(rows, steps, repeats=repeats)
        _check.absent_where("there are resets", mask=mask)
        return below, Layout(rows, steps, self._resets(resets, steps), repeats=repeats)

    def _read_packed(self, x: Packed, resets: Any) -> tuple[Array, Layout]:
        """Read packed sequences, whose rows PyTorch sorts by length; states are not sorted."""
        call = _check.packed(x)
        data = _check.layer_input("data", call.data, "NI", self.input_size, self.dtype)
        steps = data.shape[:-1]
        return data, Layout(call.rows, steps, self._resets(resets, steps), call.order, x[1:])

    def _read_alone(self, x: Array, resets: Any) -> tuple[Array, Layout]:
        """Read one sequence without a batch axis."""
        below = _check.layer_input("x", x, "TI", self.input_size, self.dtype)
        again = self._resets(resets, below.shape[:-1])
        again = None if again is None else again[None]
        return below[None], Layout(Rows(1, None), (1, len(below)), again, alone=True)

    def _resets(self, resets: Any, shape: tuple[int, ...]) -> Array | None:
        if resets is not None and self.bidirectional:
            raise ValueError(
                "resets must be None where there are two directions: what begins at a step in one "
                "ends at another in the other"
            )
        return _check.resets_of(resets, shape)

    def _tape(self, pairs: int, rng: Any, *, has_input: bool = True) -> Tape:
        """Return a tape for so many valid steps; whether it has the inputs of the first layer."""
        drops = self.dropout > 0 and self.num_layers > 1
        generator = _check.generator("rng", rng) if drops or rng is not None else None
        cells, first = self._cells(), self._stack.directions
        tapes = [cell.new_tape(pairs, has_input or k >= first) for k, cell in enumerate(cells)]
        return Tape(cells, tapes, self.dropout, generator if drops else None)

    def _zeros(self) -> dict[str, Array]:
        """Return zeros to add the gradients of the parameters to."""
        shapes = self._shapes(self._given_options())
        return {name: np.zeros(shape, self.dtype) for name, shape in shapes.items()}

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
            If a shape does not fit, `out` is read-only, or the layer is bidirectional or reverse.

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
        if self.bidirectional or self.reverse:
            _check.require_stream(self.bidirectional, self.reverse)
        below = _check.layer_input("x_t", x_t, "BI", self.input_size, self.dtype)
        alone = below.ndim == 1
        if out is not None:
            shape = (*below.shape[:-1], self.hidden_size)
            _check.require_output("out", out, shape, self.dtype)
        if alone:
            below = below[None]
        given, new = self._stack.states(state, below.shape[0], alone)
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

    def _adopts(self, cells: Sequence[PackedCell]) -> bool:
        """Take packed cells of the backend in use for its own, if they are what it would pack."""
        name, every = self._stack.cell.name, list(self._stack.every(self._weights.parameters))
        fit = len(cells) == len(every) and all(
            cell.holds(name, *weights) for cell, weights in zip(cells, every, strict=True)
        )
        if fit:
            self._weights.packed[current()] = cells
        return fit

    def _packed(self, backend: Backend, parameters: Mapping[str, Array]) -> Sequence[PackedCell]:
        name = self._stack.cell.name
        return [backend.pack(name, *weights) for weights in self._stack.every(parameters)]


def _initial(
    options: Mapping[str, Any], shapes: Shapes, rng: "np.random.Generator"
) -> dict[str, Array]:
    """Return parameters by name, uniform in [-H^-1/2, H^-1/2)."""
    bound = options["hidden_size"] ** -0.5
    return {
        name: rng.uniform(-bound, bound, shape).astype(options["dtype"])
        for name, shape in shapes.items()
    }
