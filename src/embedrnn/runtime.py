"""What runs the operations: backend, instruction set and threads."""

from typing import Any

from embedrnn import _check
from embedrnn._backend import core, current, current_name, use_backend
from embedrnn.version import __version__

__all__ = ["config", "get_num_threads", "set_num_threads", "use_backend"]

_MOST_THREADS = 1024  # as in cpp/runtime/threads.h


def config() -> dict[str, Any]:
    """Return what the operations run with.

    Returns
    -------
    dict
        ``version``; ``core``, "compiled", or "none:" and why, as in the pure-Python wheel;
        ``backend``, "native" or "numpy"; ``isa``, the instruction set in use, and
        ``isas``, those that this machine has, best first (None and empty for NumPy); ``threads``;
        ``asserts``, whether the compiled checks of a debug build are on.

    Examples
    --------
    >>> import embedrnn as er
    >>> sorted(er.config())
    ['asserts', 'backend', 'core', 'isa', 'isas', 'threads', 'version']
    """
    backend = current()
    return {
        "version": __version__,
        "core": core(),
        "backend": current_name(),
        "isa": backend.get_isa(),
        "isas": backend.isas(),
        "threads": backend.get_num_threads(),
        "asserts": backend.asserts,
    }


def get_num_threads() -> int:
    """Return how many threads a call may use.

    The default is ``EMBEDRNN_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the CPUs that this
    process may use, as its affinity and the quota of its container say, read at first use. The
    NumPy backend uses one.

    Raises
    ------
    ValueError
        If ``EMBEDRNN_NUM_THREADS`` is not a whole number from 1 to 1024.

    Examples
    --------
    >>> import embedrnn as er
    >>> er.get_num_threads() >= 1
    True
    """
    threads: int = current().get_num_threads()
    return threads


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use. Results do not depend on it, bit for bit.

    Parameters
    ----------
    n : int
        From 1 to 1024.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer, or out of range.

    Examples
    --------
    >>> import embedrnn as er
    >>> before = er.get_num_threads()
    >>> er.set_num_threads(1)
    >>> er.get_num_threads()
    1
    >>> er.set_num_threads(before)
    """
    count = _check.whole("n", n)
    if not 1 <= count <= _MOST_THREADS:
        raise ValueError(f"n must be a number of threads from 1 to {_MOST_THREADS}, got {count}")
    current().set_num_threads(count)
