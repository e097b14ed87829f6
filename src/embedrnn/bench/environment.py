"""What a measured figure depends on beside the code: recorded with every result."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import embedrnn as er

_PACKAGES = (
    "numpy", "torch", "keras", "jax", "onnx", "onnxruntime", "openvino", "scipy", "numba",
    "threadpoolctl",
)  # fmt: skip
_STEERING = ("EMBEDRNN_", "KERAS_", "OMP_", "OPENBLAS_", "MKL_", "NPY_", "KMP_")


def describe() -> dict[str, Any]:
    """Return the machine, the versions, the thread pools and the variables that steer them."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "embedrnn": er.config(),
        "thread_pools": _thread_pools(),
        "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(_STEERING)},
    }


def summary(environment: dict[str, Any]) -> str:
    """Return the machine and the versions in two lines."""
    config = environment["embedrnn"]
    versions = ", ".join(f"{name} {v}" for name, v in environment["versions"].items())
    return (
        f"{environment['cpu']}, {environment['cpus']} CPUs; Python {environment['python']}, "
        f"{versions}\n"
        f"embedrnn {config['version']}, {config['backend']} backend, ISA {config['isa']}; "
        f"OpenBLAS kernel {blas_kernel(environment)}"
    )


def blas_kernel(environment: dict[str, Any]) -> str:
    """Return which of its kernels OpenBLAS uses; a variable may hold it to an older one."""
    pools = environment["thread_pools"]
    found = {pool["architecture"] for pool in pools if "architecture" in pool}
    return ", ".join(sorted(found)) or "unknown"


def _thread_pools() -> list[dict[str, Any]]:
    if not find_spec("threadpoolctl"):
        return []
    import threadpoolctl

    pools: list[dict[str, Any]] = threadpoolctl.threadpool_info()
    return [{**pool, "filepath": Path(pool["filepath"]).name} for pool in pools]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
