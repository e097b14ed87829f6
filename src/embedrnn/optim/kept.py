"""What an optimiser keeps of one parameter, and how a step of it is made."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._backend import current
from embedrnn._check import optim as _check_optim
from embedrnn._quiet import quiet
from embedrnn.layers.layer import Array


@dataclass(frozen=True)
class Rule:
    """A rule as the backends know it.

    Attributes
    ----------
    name
        What the backends call it.
    states
        The names of the arrays that it keeps of a parameter, as PyTorch has them.
    coefficients
        How many numbers it is told of a step.
    idle
        Whether a step with a zero gradient never changes anything.
    rests
        Whether it changes nothing of a row that was never stepped.
    row_wise
        Whether the arrays have one number for each row.
    """

    name: str
    states: tuple[str, ...]
    coefficients: int
    idle: bool
    rests: bool
    row_wise: bool = False


class Kept:
    """The state of one parameter: zeros at first, which take no memory until they are touched."""

    def __init__(
        self, rule: Rule, like: Array, *, lagging: bool, rng: "np.random.Generator | None"
    ) -> None:
        self.shape, self.dtype = like.shape, like.dtype
        self.steps = 0
        self._rule = rule
        self._sums = _check.sum_dtype(like.dtype)
        self._storage = _check.storage_of(like.dtype)
        shape = _check_optim.as_stepped(like).shape
        self._states = {
            name: np.zeros(shape[:1] if rule.row_wise else shape, self._sums)
            for name in rule.states
        }
        self._last = np.zeros(shape[0], np.int64) if lagging else None
        # Of the steps that some row may lag behind; only the first so many rows count.
        self._history = np.empty((1, rule.coefficients), self._sums)
        self._known = 0
        by_chance = rng is not None and self._sums != self.dtype
        self._seed = int(rng.integers(2**63)) if rng is not None and by_chance else None

    def step(
        self, array: Array, grad: _check_optim.Gradient, coefficients: tuple[float, ...]
    ) -> None:
        """Make one step of the parameter, of rows of it or all."""
        self._note(coefficients)
        param = _check_optim.as_stepped(array)
        self._run(param, grad.indices, _check.apart(grad.values, param))

    def catch_up(self, array: Array, rows: npt.NDArray[np.int64] | None = None) -> None:
        """Bring distinct rows up to date, or all, behind which no step needs to be known."""
        if self._last is not None and self._known > 0:
            self._run(_check_optim.as_stepped(array), rows, None)
            if rows is None:
                self._known = 0

    @quiet
    def _note(self, coefficients: tuple[float, ...]) -> None:
        if self._last is None:
            self._known = 0
        if self._known == len(self._history):
            more = np.empty((max(1, self._known), self._rule.coefficients), self._sums)
            self._history = np.concatenate([self._history, more])
        self._history[self._known] = coefficients
        self._known += 1
        self.steps += 1

    def _run(
        self, param: Array, indices: npt.NDArray[np.integer[Any]] | None, grad: Array | None
    ) -> None:
        assert self._storage is not None  # it is that of floats
        bad = current().optim_step(
            self._rule.name, param, self._storage, tuple(self._states.values()), indices, grad,
            self._history[: self._known], self.steps, self._last, self._rule.rests, self._seed,
        )  # fmt: skip
        if bad >= 0:  # written to by another thread since it was checked
            assert indices is not None
            raise _check.index_error(indices, bad, "a parameter", len(param), strict=True)

    def state(self) -> dict[str, Any]:
        """Return numbers and read-only arrays by name."""
        arrays = {name: _read_only(array) for name, array in self._states.items()}
        if self._last is not None:
            arrays |= {
                "last_step": _read_only(self._last),
                "coefficients": self._history[: self._known].copy(),
            }
        seed = {} if self._seed is None else {"seed": self._seed}
        return {"step": self.steps, **arrays, **seed}

    def stored(self) -> dict[str, _check_optim.Stored]:
        """Return what each entry of the state is like."""
        like = {
            name: _check_optim.Stored(np.shape(value), np.asarray(value).dtype)
            for name, value in self.state().items()
        }
        if self._last is not None:
            like["coefficients"] = _check_optim.Stored((-1, self._rule.coefficients), self._sums)
        return like

    def load(self, state: dict[str, Array]) -> None:
        """Take over a checked state."""
        self.steps = int(state["step"])
        for name, array in self._states.items():
            array[...] = state[name]
        if self._last is not None:
            self._last[...] = state["last_step"]
            self._history = np.array(state["coefficients"], self._sums, order="C")
            self._known = len(self._history)
        if self._seed is not None:
            self._seed = int(state["seed"])


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view
