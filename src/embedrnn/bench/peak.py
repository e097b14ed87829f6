"""The peak of the arithmetic unit and the rate of reads from the caches, by kernels in peak.c."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from timeit import repeat

import numpy as np

_SOURCE = Path(__file__).with_name("peak.c")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_REPEATS = 7
_ROUNDS = 1_000_000
_READ_BYTES = 512 << 20


@cache
def library() -> ctypes.CDLL | None:
    """Compile peak.c for this very machine, which the package itself never is; None if it fails."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "peak.so"
        flags = ["-O2", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        command = [compiler, *flags, "-o", str(path), str(_SOURCE)]
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode:
            return None
        loaded = ctypes.CDLL(str(path))
    loaded.multiply_add.argtypes = [ctypes.c_long]
    loaded.read_floats.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
    return loaded


def fma_flops(threads: int) -> float | None:
    """Return float32 operations a second, two to each multiplication with an addition."""
    peak = library()
    if peak is None:
        return None
    flops = 2 * _width(peak) * _ROUNDS * threads
    return flops / _best(threads, lambda _: peak.multiply_add(_ROUNDS))


def read_bytes(threads: int, cache_level: int) -> float | None:
    """Return bytes a second that all threads read, each from half of a cache of this level.

    Half of the third level may be more than this process gets of it: 8 MiB each at most.
    """
    peak = library()
    if peak is None:
        return None
    size = min(cache_bytes(cache_level) // 2, 8 << 20)
    n = size // 4 // _width(peak) * _width(peak)
    if n <= 0:
        return None
    sources = [_aligned(n) for _ in range(threads)]
    times = max(1, _READ_BYTES // (4 * n))

    def read(thread: int) -> None:
        peak.read_floats(sources[thread].ctypes.data, n, times)

    return 4 * n * times * threads / _best(threads, read)


def cache_bytes(level: int) -> int:
    """Return the size that Linux gives for a cache of the first CPU, or a usual one."""
    try:
        text = _CACHES.joinpath(f"index{level}", "size").read_text()
        return int(text.strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        return {2: 1 << 20, 3: 16 << 20}[level]


def _width(peak: ctypes.CDLL) -> int:
    """Return the floats of one round."""
    return int(ctypes.c_long.in_dll(peak, "chains").value) * int(
        ctypes.c_long.in_dll(peak, "lanes").value
    )


def _aligned(n: int) -> np.ndarray:
    whole = np.ones(n + 16, np.float32)
    return whole[-whole.ctypes.data % 64 // 4 :][:n]


def _best(threads: int, run: Callable[[int], object]) -> float:
    """Return the least seconds in which each thread runs once; ctypes lets go of the GIL."""
    with ThreadPoolExecutor(threads) as pool:
        return min(repeat(lambda: list(pool.map(run, range(threads))), number=1, repeat=_REPEATS))
