"""The measuring engine: contestants take turns in one process, and only paired times are compared.

On a shared machine the clock, the caches and the neighbours change from second to second. Times of
different runs cannot be compared; times taken within the same few milliseconds can, so each sample
holds one time of every contestant, and what is reported is the median of the ratios of samples.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from timeit import Timer
from typing import Any

import numpy as np

from embedrnn.bench.workloads import Array

_RESAMPLES = 2000
_FEWEST = 7  # samples: of fewer, an interval says next to nothing
# A pool of threads goes on looking for work after its turn, libgomp's for about 4 ms, on a core
# that the next contestant needs: some took twice as long.
_PAUSE_SECONDS = 0.01


@dataclass(frozen=True)
class Ratio:
    """The median of paired ratios, with its 95 % bootstrap interval."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """The wider half of the interval, relative to the median."""
        return max(self.high - self.median, self.median - self.low) / self.median


def measure(
    runs: Mapping[str, Callable[[], Any]],
    samples: int,
    min_time: float,
    *,
    warm_up: bool = True,
    until: float = math.inf,
) -> dict[str, Array]:
    """Return the seconds one call takes, (samples,) for each name.

    A sample lasts `min_time` seconds or more for each contestant, in as many calls as that needs.
    The order rotates, so that no one always follows the same one. Without `warm_up` nothing is run
    before a sample, which where a call takes seconds would take them and change nothing. Behind
    the time `until` of time.monotonic() a few samples are enough.
    """
    timers = {name: Timer(run) for name, run in runs.items()}
    calls = {name: calls_for(timer, min_time) for name, timer in timers.items()}
    names = list(runs)
    seconds: dict[str, Array] = {name: np.empty(samples) for name in names}
    for sample in range(samples):
        if sample >= _FEWEST and time.monotonic() > until:
            return {name: taken[:sample] for name, taken in seconds.items()}
        first = sample % len(names)
        for name in names[first:] + names[:first]:
            seconds[name][sample] = seconds_of_call(timers[name], calls[name], warm_up)
    return seconds


def paired_ratio(peer: Array, ours: Array) -> Ratio:
    """Return how many times as long the peer took, sample by sample."""
    ratios = peer / ours
    picks = np.random.default_rng(0).integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[picks], axis=1), [0.025, 0.975])
    return Ratio(float(np.median(ratios)), float(low), float(high))


def calls_for(timer: Timer, min_time: float) -> int:
    """Warm up, and return how many calls fill a sample."""
    calls, seconds = 1, timer.timeit(1)
    while seconds < min_time:
        # A first call may pay for page faults or a lazy initialisation: trust longer runs only.
        calls = max(2 * calls, math.ceil(min(100.0, min_time / seconds) * calls))
        seconds = timer.timeit(calls)
    return max(1, math.ceil(calls * min_time / seconds))


def seconds_of_call(timer: Timer, calls: int, warm_up: bool = True) -> float:
    """Take one sample."""
    time.sleep(_PAUSE_SECONDS)
    if warm_up:  # the caches hold the data of the contestant before, and the cores have slept
        timer.timeit(1 + calls // 4)
    return timer.timeit(calls) / calls
