"""What every layer is: named parameters that nobody writes to, and how they are replaced."""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn import _check

Array = npt.NDArray[Any]

# What the representation leaves out.
_DEFAULTS = {
    "padding_idx": None,
    "max_norm": None,
    "norm_type": 2.0,
    "scale_grad_by_freq": False,
    "include_last_offset": False,
    "num_layers": 1,
    "bias": True,
    "bidirectional": False,
    "nonlinearity": "tanh",
    "reset_after": True,
    "dtype": np.dtype(np.float32),
}


class Weights:
    """Parameters that never change, beside what was packed of them.

    A layer with other parameters has another one of these: a call that runs meanwhile in another
    thread ends with those that it began with, and nothing packed can be stale.
    """

    def __init__(self, parameters: Mapping[str, Array]) -> None:
        self.parameters = {name: _read_only(array) for name, array in parameters.items()}
        self.packed: dict[ModuleType, Sequence[Any]] = {}  # by backend

    def overwrite(self, name: str, rows: npt.NDArray[np.intp], values: Array) -> None:
        """Write rows of a parameter in place, which only its layer may do."""
        owner = self.parameters[name].base
        if not (isinstance(owner, np.ndarray) and owner.flags.owndata):  # the bytes of a pickle
            owner = self.parameters[name].copy()
            self.parameters[name] = _read_only(owner)
        owner.flags.writeable = True
        try:
            owner[rows] = values
        finally:
            owner.flags.writeable = False

    def __reduce__(self) -> tuple[Any, ...]:
        return Weights, (self.parameters,)


class Layer:
    """A layer: its options, as it was constructed with, and its parameters."""

    _options: tuple[str, ...]
    _weights: Weights

    def __init__(self, options: dict[str, Any], parameters: Iterable[tuple[str, Array]]) -> None:
        self._weights = Weights(dict(parameters))
        self._options = tuple(options)
        self.__dict__.update(options)

    def state_dict(self) -> dict[str, Array]:
        """Return the parameters by name: read-only arrays, which `update` leaves as they are.

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
        self._replace(state_dict, whole=True)

    def update(self, parameters: Mapping[str, npt.ArrayLike]) -> None:
        """Replace some parameters; otherwise as `load_state_dict`.

        Examples
        --------
        >>> import embedrnn as er
        >>> layer = er.GRU(5, 7)
        >>> layer.update({"bias_ih_l0": 0.9 * layer.bias_ih_l0})
        """
        self._replace(parameters, whole=False)

    def _replace(self, given: Mapping[str, npt.ArrayLike], *, whole: bool) -> None:
        held = self._weights.parameters
        new = _check.new_parameters(repr(self), held, given, whole=whole)
        self._weights = Weights(held | new)

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
        options = {name: getattr(self, name) for name in self._options}
        said = [str(options[name]) for name in self._options[:2]]
        said += [
            f"{name}={value}" if name == "dtype" else f"{name}={value!r}"
            for name, value in list(options.items())[2:]
            if name not in _DEFAULTS or value != _DEFAULTS[name]
        ]
        return f"{type(self).__name__}({', '.join(said)})"


def _read_only(array: Array) -> Array:
    """Return a view that cannot be made writeable, as the array's owner could be."""
    array.flags.writeable = False
    return array.view()
