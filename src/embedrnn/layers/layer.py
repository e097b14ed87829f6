"""What every layer is: named parameters that nobody writes to, and how they are replaced."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import Backend, PackedCell
from embedrnn._check import state as _check_state
from embedrnn._check.state import Fitting, Named
from embedrnn._checkpoint import StateDict, opened
from embedrnn.layers.lock import Lock
from embedrnn.quantized import QuantizedRows

Array = npt.NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]

# What a pickle of a layer holds; to be raised when that changes.
_PICKLE_FORMAT = 2

# What the representation leaves out.
_DEFAULTS = {
    "padding_idx": None,
    "max_norm": None,
    "norm_type": 2.0,
    "scale_grad_by_freq": False,
    "include_last_offset": False,
    "strict": False,
    "num_layers": 1,
    "bias": True,
    "dropout": 0.0,
    "bidirectional": False,
    "reverse": False,
    "merge": "concat",
    "nonlinearity": "tanh",
    "reset_after": True,
    "leak": None,
    "peepholes": False,
    "dtype": np.dtype(np.float32),
}


class IncompatibleKeys(NamedTuple):
    """The names that a layer and a state_dict do not share, as PyTorch has them.

    Attributes
    ----------
    missing_keys : list of str
        Of parameters that the state_dict does not hold, as they would stand there.
    unexpected_keys : list of str
        Of what the state_dict holds beside them under the prefix.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]


class Weights:
    """Parameters that only their layer writes to, beside what was packed of them.

    A layer with other parameters has another one of these: a call that runs meanwhile in another
    thread ends with those that it began with, and nothing packed can be stale.
    """

    def __init__(
        self, parameters: Mapping[str, Array], written_to: Mapping[str, Array] | None = None
    ) -> None:
        """Hold arrays. Those that have memory of their own are taken over, and read-only then."""
        # These views stay writeable when the arrays below them no longer are.
        new = {name: array.view() for name, array in parameters.items() if _is_own(array)}
        self._written_to = {**(written_to or {}), **new}
        self.parameters = {name: _read_only(array) for name, array in parameters.items()}
        self.packed: dict[Backend, Sequence[PackedCell]] = {}
        # Of a layer that looks rows up: the table as the functions on rows take it.
        self.table: Any = self.parameters.get("weight")
        if self.table is not None and self.table.dtype == np.uint8:
            self.table = QuantizedRows(self.table)

    def replaced(self, new: Mapping[str, Array]) -> "Weights":
        """Return these with other parameters in place of some, and nothing packed."""
        kept = {name: array for name, array in self._written_to.items() if name not in new}
        return Weights({**self.parameters, **new}, kept)

    def owned(self) -> "Weights":
        """Return what can be written to: these, or copies of what belongs to somebody else."""
        others = self.parameters.keys() - self._written_to.keys()
        copies = {name: self.parameters[name].copy() for name in others}
        return self.replaced(copies) if copies else self

    def written_to(self) -> Mapping[str, Array]:
        """Return the parameters, owned, as arrays that only their layer writes to in its lock."""
        return self._written_to


class _OthersWeights(Weights):
    """Parameters that somebody else writes to, looked at as they are: a call takes microseconds."""

    def __init__(self, parameters: Mapping[str, Array]) -> None:
        self.parameters = dict(parameters)
        self.packed = {}
        self.table = parameters.get("weight")
        self._written_to = {}


class Layer(ABC):
    """A layer: its options, as it was constructed with, and its parameters.

    Threads may share one. A call ends with the parameters that it began with; those that replace
    parameters take turns, with each other, with the steps of an optimiser and with calls that scale
    rows down to `max_norm`. A call that runs during a step may see some numbers stepped and others
    not; the recurrent layers see their weights as they were packed before it.
    """

    dtype: np.dtype[Any]

    _options: tuple[str, ...]
    _weights: Weights
    _lock: Lock

    def _hold(self, options: dict[str, Any], parameters: Mapping[str, Array]) -> None:
        """Begin as a layer of checked options and of parameters that fit them."""
        self.__dict__.update(options)
        self._options = tuple(options)
        self._lock = Lock()
        weights = Weights(parameters)
        self._weights = weights.owned() if self._writes(options) else weights

    @classmethod
    def _made(cls, options: dict[str, Any], parameters: Mapping[str, Array]) -> Self:
        """Return a layer of checked options and of parameters that fit them, which it takes."""
        layer = cls.__new__(cls)
        layer._hold(options, parameters)
        return layer

    def _over(self, parameters: Mapping[str, Array]) -> Self:
        """Return a layer of the same options over parameters of somebody else's, without a copy.

        They must fit. It is for a call, or for more as long as nobody writes to them: what is
        packed of them is packed in the first.
        """
        layer = object.__new__(type(self))
        layer.__dict__.update(self.__dict__, _weights=_OthersWeights(parameters))
        return layer

    @staticmethod
    def _writes(options: Mapping[str, Any]) -> bool:
        """Whether calls of a layer with these options write to its parameters."""
        return options.get("max_norm") is not None

    @classmethod
    @abstractmethod
    def _checked(cls, *_: Any, **options: Any) -> dict[str, Any]:
        """Check what a layer is constructed with, and return it by name."""

    @staticmethod
    @abstractmethod
    def _shapes(options: Mapping[str, Any]) -> Shapes:
        """Return the shape of each parameter of a layer with these options."""

    @staticmethod
    def _stored_in(options: Mapping[str, Any]) -> np.dtype[Any]:
        """Return the dtype of each parameter of a layer with these options."""
        dtype: np.dtype[Any] = options["dtype"]
        return dtype

    def state_dict(self) -> dict[str, Array]:
        """Return the parameters by name: read-only arrays, which `update` leaves as they are.

        The steps of an optimiser show in them: copy them for a checkpoint.

        Examples
        --------
        >>> import embedrnn as er
        >>> {name: array.shape for name, array in er.RNN(5, 7, bias=False).state_dict().items()}
        {'weight_ih_l0': (7, 5), 'weight_hh_l0': (7, 7)}
        """
        return dict(self._weights.parameters)

    @classmethod
    def from_state_dict(
        cls,
        state_dict: StateDict,
        prefix: str = "",
        *,
        cast: bool = False,
        dtype: npt.DTypeLike | None = None,
        **options: Any,
    ) -> Self:
        """Return a layer of the sizes of these parameters, and with them.

        Parameters
        ----------
        state_dict, prefix, cast
            As of `load_state_dict`.
        dtype : dtype, optional
            Of the layer: that of its parameters if absent, and float32 for those that a layer
            cannot have, which need `cast`.
        **options
            Those of the constructor that parameters do not tell, as `dropout`, the `reset_after` of
            a GRU, the `nonlinearity` of an RNN, or the `padding_idx` of a table.

        Raises
        ------
        OSError, TypeError, ValueError
            As `load_state_dict` and the constructor do, or if an option is given that parameters
            tell: the sizes, `num_layers`, `bias`, `bidirectional`, `peepholes` and `leak`.

        Examples
        --------
        >>> import embedrnn as er
        >>> model = {"embed.weight": [[1.0, 2.0]] * 9, "cell.weight_ih": [[1.0, 2.0]] * 12,
        ...          "cell.weight_hh": [[1.0, 2.0, 3.0]] * 12}
        >>> er.Embedding.from_state_dict(model, "embed."), er.LSTM.from_state_dict(model, "cell.")
        (Embedding(9, 2, dtype=float64), LSTM(2, 3, bias=False, dtype=float64))
        """
        cast = _check.flag("cast", cast)
        with opened(state_dict, widens=cast) as given:
            named = cls._named("state_dict", given, prefix, widens=cast)
            told, found = cls._told(named)
            _check_state.untold(cls.__name__, told, options)
            make: Any = cls
            dtype = found if dtype is None else dtype
            layer: Self = make(**told, dtype=dtype, **options, _bare=True)
            layer._replace(named, cast=cast)
        return layer

    def load_state_dict(
        self, state_dict: StateDict, prefix: str = "", strict: bool = True, cast: bool = False
    ) -> IncompatibleKeys:
        """Replace all parameters.

        Parameters
        ----------
        state_dict : mapping of str to array_like, or str or os.PathLike
            Every parameter by its name, in its shape and dtype, as `state_dict` returns them; that
            of the `torch.nn` layer of the same sizes will do, and for one layer in one direction
            that of a cell, such as `torch.nn.LSTMCell`. The arrays are copied. Of a path, what the
            file holds: ``.npz``, of which nothing is unpickled, or ``.safetensors``, which takes
            no other package. Nothing is read of it but these parameters.
        prefix : str
            What their names begin with, as in ``"encoder.lstm."``; other names are ignored.
        strict : bool
            Whether every parameter must be there, and nothing else with this prefix. Otherwise
            those are replaced that are there, which must be one at least.
        cast : bool
            Whether parameters of another floating-point dtype (float32, float64, float16, bfloat16)
            are converted to that of the layer. What is narrowed is rounded to the nearest: float64
            to float32 keeps 24 bits of 53, float16 11 and bfloat16 8, and what is too small becomes
            0. What is widened keeps its value.

        Returns
        -------
        IncompatibleKeys
            The names in `missing_keys` and in `unexpected_keys`: lists, empty if strict.

        Raises
        ------
        OSError
            If a file cannot be read.
        TypeError, ValueError
            If a name is missing or unexpected, or a shape or dtype is another, or a number is too
            great for the dtype; or if a name tells that `weight_norm`, a weight drop or a
            projection is at work. The message names all that is wrong, and nothing has changed.

        Examples
        --------
        >>> import embedrnn as er
        >>> one, other = er.GRU(5, 7, rng=1), er.GRU(5, 7, rng=2)
        >>> _ = one.load_state_dict(other.state_dict())
        >>> bool((one.weight_hh_l0 == other.weight_hh_l0).all())
        True
        >>> model = {"gru.bias_hh_l0": [0.0] * 21, "output.weight": [[1.0] * 7]}
        >>> one.load_state_dict(model, "gru.", strict=False, cast=True).missing_keys
        ['gru.weight_ih_l0', 'gru.weight_hh_l0', 'gru.bias_ih_l0']
        """
        strict, cast = _check.flag("strict", strict), _check.flag("cast", cast)
        with opened(state_dict, widens=cast) as given:
            named = self._named("state_dict", given, prefix, widens=cast)
            found = self._replace(named, whole=strict, extra=not strict, cast=cast)
        return IncompatibleKeys(found.missing, found.unexpected)

    def update(self, parameters: Mapping[str, npt.ArrayLike]) -> None:
        """Replace some parameters; otherwise as `load_state_dict`.

        Examples
        --------
        >>> import embedrnn as er
        >>> layer = er.GRU(5, 7)
        >>> layer.update({"bias_ih_l0": 0.9 * layer.bias_ih_l0})
        """
        self._replace(self._named("parameters", parameters), whole=False)

    def _given_options(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self._options}

    @staticmethod
    def _stored(value: Any) -> Any:
        """Return a parameter as a layer stores it."""
        return value

    @classmethod
    def _named(cls, what: str, given: Any, prefix: str = "", *, widens: bool = False) -> Named:
        return Named(what, given, prefix, widens=widens, stored=cls._stored)

    @classmethod
    @abstractmethod
    def _told(cls, named: Named) -> tuple[dict[str, Any], npt.DTypeLike | None]:
        """Return the options that parameters tell, and the dtype if it is one of such a layer."""

    def _replace(
        self, named: Named, *, whole: bool = True, extra: bool = False, cast: bool = False
    ) -> Fitting:
        options = self._given_options()
        shapes, dtype = self._shapes(options), self._stored_in(options)
        fitting = _check_state.parameters(
            repr(self), shapes, dtype, named, whole=whole, extra=extra, cast=cast
        )
        new = {name: np.array(array, order="C") for name, array in fitting.arrays.items()}
        if new:
            with self._lock:
                self._weights = self._weights.replaced(new)
        return fitting

    @contextmanager
    def _stepped(self) -> Iterator[Mapping[str, Array]]:
        """Give an optimiser the parameters to step in place, under the lock.

        What belongs to somebody else is copied before. Behind the step the layer has the same
        arrays, with nothing packed of them.
        """
        with self._lock:
            weights = self._weights = self._weights.owned()
            try:
                yield weights.written_to()
            finally:
                self._weights = weights.replaced({})

    def __reduce__(self) -> tuple[Any, ...]:
        options = self._given_options()
        others = {
            name: value
            for name, value in self.__dict__.items()
            if not name.startswith("_") and name not in options
        }
        parameters = self.state_dict()
        if self._writes(options):
            with self._lock:  # for no row to be half scaled in the copy
                parameters = {name: array.copy() for name, array in self.state_dict().items()}
        return _unpickled, (type(self), _PICKLE_FORMAT, options, parameters, others)

    def __setstate__(self, state: Any) -> None:
        raise ValueError(
            f"this {type(self).__name__} was pickled before pickles had a format: have the version "
            "that did it save the state_dict, and load_state_dict it here"
        )

    def __getattr__(self, name: str) -> Any:
        # A private name can only be missing while a copy is under construction.
        if not name.startswith("_") and name in self._weights.parameters:
            return self._weights.parameters[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and (name in self._weights.parameters or name in self._options):
            raise AttributeError(f"{name} is read-only: parameters are replaced by update()")
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._weights.parameters]

    def __repr__(self) -> str:
        options = self._given_options()
        said = [str(options[name]) for name in self._options[:2]]
        said += [
            f"{name}={value}" if name == "dtype" else f"{name}={value!r}"
            for name, value in list(options.items())[2:]
            if name not in _DEFAULTS or value != _DEFAULTS[name]
        ]
        return f"{type(self).__name__}({', '.join(said)})"


def _unpickled(
    cls: type[Layer],
    version: int,
    options: Mapping[str, Any],
    parameters: Mapping[str, Array],
    others: Mapping[str, Any],
) -> Layer:
    """Return a layer from a pickle, which may hold anything, or a copy of one."""
    name = cls.__name__
    if version != _PICKLE_FORMAT:
        raise ValueError(
            f"a {name} of pickle format {version!r} cannot be loaded, only one of {_PICKLE_FORMAT}"
        )
    checked = cls._checked(**options)
    shapes, dtype = cls._shapes(checked), cls._stored_in(checked)
    named = Named("parameters", parameters)
    fitting = _check_state.parameters(f"the pickled {name}", shapes, dtype, named)
    layer = cls._made(checked, fitting.arrays)
    layer.__dict__.update(others)
    return layer


def _is_own(array: Array) -> bool:
    """Whether an array has memory of its own, which nobody else writes to."""
    return array.flags.owndata and array.flags.writeable


def _read_only(array: Array) -> Array:
    """Return a view that cannot be made writeable, as the array's owner could be."""
    array.flags.writeable = False
    return array.view()
