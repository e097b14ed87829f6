"""What every layer is: named parameters that nobody writes to, and how they are replaced."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import Backend, PackedCell
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

    def load_state_dict(self, state_dict: Mapping[str, npt.ArrayLike]) -> None:
        """Replace all parameters.

        Parameters
        ----------
        state_dict : mapping of str to array_like
            Every parameter by its name, in its shape and dtype, as `state_dict` returns them; that
            of the `torch.nn` layer of the same sizes will do. The arrays are copied.

        Raises
        ------
        TypeError, ValueError
            If a name is missing or unexpected, or a shape or dtype is another. The message names
            all that is wrong, and nothing has changed.

        Examples
        --------
        >>> import embedrnn as er
        >>> one, other = er.GRU(5, 7, rng=1), er.GRU(5, 7, rng=2)
        >>> one.load_state_dict(other.state_dict())
        >>> bool((one.weight_hh_l0 == other.weight_hh_l0).all())
        True
        """
        self._replace("state_dict", state_dict, whole=True)

    def update(self, parameters: Mapping[str, npt.ArrayLike]) -> None:
        """Replace some parameters; otherwise as `load_state_dict`.

        Examples
        --------
        >>> import embedrnn as er
        >>> layer = er.GRU(5, 7)
        >>> layer.update({"bias_ih_l0": 0.9 * layer.bias_ih_l0})
        """
        self._replace("parameters", parameters, whole=False)

    def _given_options(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self._options}

    def _replace(self, what: str, given: Mapping[str, npt.ArrayLike], *, whole: bool) -> None:
        options = self._given_options()
        shapes, dtype = self._shapes(options), self._stored_in(options)
        fitting = _check.parameters(repr(self), shapes, dtype, given, what=what, whole=whole)
        new = {name: np.array(array, order="C") for name, array in fitting.items()}
        if new:
            with self._lock:
                self._weights = self._weights.replaced(new)

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
    fitting = _check.parameters(f"the pickled {name}", shapes, dtype, parameters)
    layer = cls._made(checked, dict(fitting))
    layer.__dict__.update(others)
    return layer


def _is_own(array: Array) -> bool:
    """Whether an array has memory of its own, which nobody else writes to."""
    return array.flags.owndata and array.flags.writeable


def _read_only(array: Array) -> Array:
    """Return a view that cannot be made writeable, as the array's owner could be."""
    array.flags.writeable = False
    return array.view()
