"""What every optimiser does with parameters and gradients, whatever its rule."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._check import optim as _check_optim
from embedrnn._grouping import group
from embedrnn.coalesce import RowGrad
from embedrnn.layers.layer import Array, Layer
from embedrnn.layers.lock import Lock
from embedrnn.optim.kept import Kept, Rule


class _Arrays:
    """Arrays of the caller's, in the place of a layer."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays

    def state_dict(self) -> Mapping[str, Array]:
        return self._arrays

    def _stepped(self) -> AbstractContextManager[Mapping[str, Array]]:
        return nullcontext(self._arrays)


class Optimizer(ABC):
    """Steps parameters in place, by one rule."""

    def __init__(
        self, rule: Rule, parameters: Any, lr: _check_optim.Rate, catch_up: bool, rng: Any
    ) -> None:
        if not callable(lr):
            _check_optim.learning_rate(lr, 0)
        lagging = _check.flag("catch_up", catch_up) and not rule.idle
        chance = None if rng is None else _check.generator("rng", rng)
        self.lr = lr
        self._lock = Lock()
        self._steps = 0
        self._places = list(_places(parameters))
        self._kept: dict[str, Kept] = {}
        for owner, keys in self._places:
            arrays = owner.state_dict()
            for name, key in keys.items():
                _check_optim.require_new_float(name, arrays[key], self._kept)
                self._kept[name] = Kept(rule, arrays[key], lagging=lagging, rng=chance)
        for owner, _ in self._places:
            with owner._stepped():  # which copies what belongs to somebody else
                pass

    @abstractmethod
    def _coefficients(self, lr: float, step: int) -> tuple[float, ...]:
        """Return what the rule is told of a step of a parameter, counted from 1."""

    def step(self, grads: Mapping[str, Any]) -> None:
        """Step each parameter that has a gradient.

        Parameters
        ----------
        grads : mapping of str to array_like or RowGrad
            The gradient of each parameter to step, by the same names, in mappings nested as those
            of the parameters are: an array of its shape, or a `RowGrad` of some of its rows. In its
            dtype; that of halves may be float32.

        Raises
        ------
        IndexError
            If a row is out of range.
        TypeError, ValueError
            If a name is none of a parameter, a shape or dtype is not that of the parameter, rows
            are not distinct and rising, or `lr` returns no learning rate. The message names the
            parameter, and nothing has changed.

        Notes
        -----
        A step that Ctrl-C ends, or whose process is forked in it, is one that some rows have made
        and others have not. Python threads that step one optimiser take turns.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> parameters = {"table": np.ones((4, 2)), "head": {"bias": np.ones(3)}}
        >>> optimizer = er.optim.SGD(parameters, lr=0.5)
        >>> optimizer.step({"table": er.coalesce([1, 1], [[0.0, 1.0]] * 2)})
        >>> optimizer.step({"head": {"bias": np.array([1.0, 0.0, 0.0])}})
        >>> parameters["table"][1], parameters["head"]["bias"]
        (array([1., 0.]), array([0.5, 1. , 1. ]))
        """
        with self._lock:
            lr = _check_optim.learning_rate(self.lr, self._steps)
            checked = self._checked(grads)
            self._steps += 1
            for owner, keys in self._places:
                mine = [name for name in keys if name in checked]
                if mine:
                    with owner._stepped() as arrays:
                        for name in mine:
                            kept = self._kept[name]
                            coefficients = self._coefficients(lr, kept.steps + 1)
                            kept.step(arrays[keys[name]], checked[name], coefficients)

    def _checked(self, grads: Mapping[str, Any]) -> dict[str, _check_optim.Gradient]:
        given = _check_optim.named("grads", grads)
        _check_optim.require_known("grads", given, self._kept)
        found = {}
        for name, grad in given.items():
            rows, values = grad if isinstance(grad, RowGrad) else (None, grad)
            kept = self._kept[name]
            found[name] = _check_optim.gradient(name, kept.shape, kept.dtype, rows, values)
        return found

    def catch_up(self, rows: Mapping[str, Any] | None = None) -> None:
        """Bring rows up to date that `catch_up` has let lag behind; otherwise nothing.

        Parameters
        ----------
        rows : mapping of str to array_like of any integer dtype, optional
            Rows of parameters, by their names, in any order and as often as may be; all rows of all
            parameters if absent.

        Raises
        ------
        IndexError, TypeError, ValueError
            If a name is none of a parameter, or rows are not integers or out of range. Nothing has
            changed then.

        Notes
        -----
        What is looked up before it has caught up is not what dense steps would have made of it:
        give the rows of a batch before its look-up, and call this for all when training ends or
        before the whole is read. It takes as long as what was missed. For all, it also forgets the
        coefficients of the steps so far.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> table = np.ones((4, 1))
        >>> optimizer = er.optim.AdamW({"table": table}, lr=0.5, weight_decay=0.5, catch_up=True)
        >>> for _ in range(2):
        ...     optimizer.step({"table": er.coalesce([3], [[0.0]])})
        >>> optimizer.catch_up({"table": [0, 0, 1]})
        >>> table.ravel().tolist()
        [0.5625, 0.5625, 1.0, 0.5625]
        >>> optimizer.catch_up()
        >>> table.ravel().tolist()
        [0.5625, 0.5625, 0.5625, 0.5625]
        """
        with self._lock:
            everything: dict[str, npt.NDArray[np.int64] | None] = dict.fromkeys(self._kept)
            named = everything if rows is None else self._distinct(rows)
            for owner, keys in self._places:
                mine = [name for name in keys if name in named]
                if mine:
                    with owner._stepped() as arrays:
                        for name in mine:
                            self._kept[name].catch_up(arrays[keys[name]], named[name])

    def _distinct(self, rows: Mapping[str, Any]) -> dict[str, npt.NDArray[np.int64] | None]:
        given = _check_optim.named("rows", rows)
        _check_optim.require_known("rows", given, self._kept)
        found: dict[str, npt.NDArray[np.int64] | None] = {}
        for name, indices in given.items():
            shape = self._kept[name].shape
            checked = _check_optim.lagging_rows(name, shape, indices)
            found[name] = group(checked, shape[0], name).rows
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return what a run needs to go on, beside the parameters: numbers and arrays by name.

        Returns
        -------
        dict of str to int or ndarray
            What `numpy.savez` stores. The arrays are read-only, and later steps show in them.

        See Also
        --------
        embedrnn.Embedding.state_dict : The parameters of a layer.
        """
        with self._lock:
            every = {
                f"{name}.{key}": value
                for name, kept in self._kept.items()
                for key, value in kept.state().items()
            }
            return {"step": self._steps, **every}

    def load_state_dict(self, state_dict: Mapping[str, npt.ArrayLike]) -> None:
        """Go on from where another optimiser of the same kind and parameters was.

        A run that goes on so has the bits of one that was never ended.

        Parameters
        ----------
        state_dict : mapping of str to array_like
            As `state_dict` returns it, or `numpy.load` what was stored of it. Copied.

        Raises
        ------
        TypeError, ValueError
            If a name is missing or unexpected, or a number, shape or dtype does not fit. The
            message names it, and nothing has changed.

        Examples
        --------
        >>> import numpy as np
        >>> import embedrnn as er
        >>> weight = np.ones(2)
        >>> first, second = (er.optim.Adam({"weight": weight}) for _ in range(2))
        >>> first.step({"weight": [1.0, 2.0]})
        >>> second.load_state_dict(first.state_dict())
        >>> list(second.state_dict())
        ['step', 'weight.step', 'weight.exp_avg', 'weight.exp_avg_sq']
        """
        with self._lock:
            like = {
                f"{name}.{key}": stored
                for name, kept in self._kept.items()
                for key, stored in kept.stored().items()
            }
            number = _check_optim.Stored((), np.dtype(np.int64))
            found = _check_optim.optimizer_state({"step": number, **like}, state_dict)
            for name in self._kept:
                _check_optim.require_steps(name, found)
            self._steps = int(found["step"])
            for name, kept in self._kept.items():
                kept.load({key: found[f"{name}.{key}"] for key in kept.stored()})


def _places(parameters: Any) -> Iterator[tuple[Layer | _Arrays, dict[str, str]]]:
    """Yield who holds parameters, and the name of each there by its name here."""
    if isinstance(parameters, Layer):
        yield parameters, {key: key for key in parameters.state_dict()}
        return
    arrays: dict[str, Array] = {}
    for name, leaf in _check_optim.named("parameters", parameters).items():
        if isinstance(leaf, Layer):
            yield leaf, {f"{name}.{key}": key for key in leaf.state_dict()}
        else:
            _check_optim.require_steppable(name, leaf)
            arrays[name] = np.asarray(leaf)
    yield _Arrays(arrays), {name: name for name in arrays}
