"""What the machine can do, measured in the run whose results are held against it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from timeit import repeat

import numpy as np

from embedrnn.bench.peak import fma_flops, read_bytes

_SGEMM_SIZE = 2048
_COPY_BYTES = 256 << 20  # far beyond any cache
_REPEATS = 5

NAMES = {
    "copy_bytes": "copy",
    "sgemm_flops": "sgemm",
    "fma_flops": "FMA peak",
    "l2_bytes": "L2 reads",
    "l3_bytes": "L3 reads",
}


@dataclass(frozen=True)
class Limits:
    """Bytes moved (read and written) or read from a cache, and float32 operations, in a second."""

    copy_bytes: float
    sgemm_flops: float
    fma_flops: float
    l2_bytes: float
    l3_bytes: float
    fma_measured: bool  # else there was no compiler, and sgemm and the copy stand in

    def name(self, limit: str) -> str:
        """Say what one of the fields above was measured with."""
        if self.fma_measured:
            return NAMES[limit]
        return NAMES["sgemm_flops" if limit.endswith("flops") else "copy_bytes"]

    def line(self, threads: int) -> str:
        """Say what the machine can do with so many threads."""
        figures = [
            f"copy {self.copy_bytes / 1e9:.1f} GB/s",
            f"sgemm {self.sgemm_flops / 1e9:.1f} GFLOP/s",
        ]
        if self.fma_measured:
            figures += [
                f"FMA peak {self.fma_flops / 1e9:.1f} GFLOP/s",
                f"reads {self.l2_bytes / 1e9:.1f} GB/s from L2, {self.l3_bytes / 1e9:.1f} from L3",
            ]
        return f"{threads} thread{'s' * (threads > 1)}: {', '.join(figures)}"


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
