"""An echo state network: leaky units of random weights, of which only what reads them learns.

    python examples/echo_state.py
    pip install reservoirpy==0.4.2
    python examples/echo_state.py --compare

The package reservoirpy (Trouvain, Pedrelli, Dinh and Hinaut, 2020) takes a step of NumPy at a time.
Here such weights go through one call of `rnn_forward` with a leak: the same states, to the rounding
of float64. Most of the weights are zeros, which the package leaves out and we do not: with more
than some 500 units it is the faster of the two. What is learnt is the Mackey-Glass series, one step
ahead, by ridge regression.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import embedrnn as er
from packages import Pair, side_by_side

Array = npt.NDArray[np.float64]

LEAK, RADIUS, CONNECTED = 0.3, 0.9, 0.1
WASHOUT, RIDGE = 100, 1e-7


@dataclass
class Reservoir:
    """Random weights, of which the recurrent ones are mostly zeros."""

    weight_ih: Array
    weight_hh: Array
    bias: Array

    @classmethod
    def drawn(cls, units: int, rng: np.random.Generator) -> "Reservoir":
        """Draw weights whose echo of a signal dies away."""
        weight = rng.standard_normal((units, units)) * (rng.random((units, units)) < CONNECTED)
        weight *= RADIUS / np.abs(np.linalg.eigvals(weight)).max()
        return cls(rng.uniform(-1, 1, (units, 1)), weight, rng.uniform(-1, 1, units))

    def __call__(self, signal: Array) -> Array:
        """Return the states of all units behind each value, (T, units)."""
        states, _ = er.rnn_forward(
            signal[None, :, None], self.weight_ih, self.weight_hh, self.bias, leak=LEAK
        )
        of_one: Array = states[0]
        return of_one


def read_out(states: Array, wanted: Array) -> Array:
    """Return the weights of ridge regression."""
    square = states.T @ states + RIDGE * np.eye(states.shape[1])
    return np.asarray(np.linalg.solve(square, states.T @ wanted))


def mackey_glass(n: int, delay: int = 17) -> Array:
    """Return the values of a chaotic series, of the equation of a control of blood cells."""
    x = np.full(n + 20 * delay, 1.2)
    for t in range(delay, len(x) - 1):
        x[t + 1] = 0.9 * x[t] + 0.2 * x[t - delay] / (1 + x[t - delay] ** 10)
    return np.asarray(x[-n:] - x[-n:].mean())


def error_ahead(reservoir: Callable[[Array], Array], series: Array) -> float:
    """Return the error in the later half, relative to the spread, of what the former taught."""
    states, wanted = reservoir(series[:-1])[WASHOUT:], series[1 + WASHOUT :]
    half = len(wanted) // 2
    found = states[half:] @ read_out(states[:half], wanted[:half])
    return float(np.sqrt(np.mean((found - wanted[half:]) ** 2)) / np.std(wanted[half:]))


def package_code(reservoir: Reservoir, sparse: bool = True) -> Callable[[Array], Array]:
    """Return the package's reservoir of these weights, those of SciPy for many zeros."""
    from reservoirpy.nodes import Reservoir as Theirs
    from scipy.sparse import csr_array

    weight: Any = csr_array(reservoir.weight_hh) if sparse else reservoir.weight_hh
    node = Theirs(W=weight, Win=reservoir.weight_ih, bias=reservoir.bias, lr=LEAK)
    node.initialize(np.zeros((1, 1)))

    def run(signal: Array) -> Array:
        node.reset()
        states: Array = node.run(signal[:, None])
        return states

    return run


def pair(units: int, theirs: Callable[[Array], Array], ours: Reservoir, series: Array) -> Pair:
    """Return the states of a series by both."""
    what = f"{units} units, {len(series):,} steps"
    return Pair(what, partial(theirs, series), partial(ours, series), tolerance=1e-12)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write how well the series is known one step ahead."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--units", type=int, nargs="+", default=[100, 500], help="(default: 100 and 500)")
    add("--steps", type=int, default=2000, help="of the series (default: 2,000)")
    add("--compare", action="store_true", help="time the package's own code beside")
    options = parser.parse_args(arguments)
    rng, series = np.random.default_rng(0), mackey_glass(options.steps)
    drawn = {units: Reservoir.drawn(units, rng) for units in options.units}
    if options.compare:
        side_by_side(
            "reservoirpy", (pair(n, package_code(one), one, series) for n, one in drawn.items())
        )
        return
    for units, reservoir in drawn.items():
        error = error_ahead(reservoir, series)
        print(f"{units:5} units: an error of {error:.1e} of the series' spread")


if __name__ == "__main__":
    main()
