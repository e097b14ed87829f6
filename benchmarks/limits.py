"""What the machine can do, measured in the run whose results are held against it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from timeit import repeat

import numpy as np

from peak import fma_flops, read_bytes

_SGEMM_SIZE = 2048
_COPY_BYTES = 256 << 20  # far beyond any cache
_REPEATS = 5


@dataclass(frozen=True)
class Limits:
    """Bytes moved (read and written) or read from a cache, and float32 operations, in a second."""

    copy_bytes: float
    sgemm_flops: float
    fma_flops: float
    l2_bytes: float
    l3_bytes: float
    fma_measured: bool  # else there was no compiler, and sgemm and the copy stand in


def measure_limits(threads: int) -> Limits:
    """Time a large copy, NumPy's large float32 product, and the kernels of peak.c."""
    copy = 2 * _COPY_BYTES / _copy_seconds(threads)
    sgemm = 2 * _SGEMM_SIZE**3 / _sgemm_seconds()
    fma = fma_flops(threads)
    return Limits(
        copy_bytes=copy,
        sgemm_flops=sgemm,
        fma_flops=fma or sgemm,
        l2_bytes=read_bytes(threads, 2) or copy,
        l3_bytes=read_bytes(threads, 3) or copy,
        fma_measured=fma is not None,
    )


def _sgemm_seconds() -> float:
    """Use as many threads as the BLAS is limited to."""
    a, b = np.random.default_rng(0).standard_normal((2, _SGEMM_SIZE, _SGEMM_SIZE), np.float32)
    out = np.empty_like(a)
    return min(repeat(lambda: np.matmul(a, b, out=out), number=1, repeat=_REPEATS))


def _copy_seconds(threads: int) -> float:
    """Give each thread its part of the array; NumPy copies without the GIL."""
    source = np.ones(_COPY_BYTES, np.uint8)
    parts = list(zip(np.array_split(source, threads), _split_copy(source, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))

        return min(repeat(copy, number=1, repeat=_REPEATS))


def _split_copy(source: np.ndarray, threads: int) -> list[np.ndarray]:
    # Written once here, so that no page fault is timed.
    return np.array_split(source.copy(), threads)
