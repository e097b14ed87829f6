"""One thread count for every library in the process."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

import embedrnn as er


@contextmanager
def pinned(n: int) -> Iterator[None]:
    """Let embedrnn, the BLAS, OpenMP and PyTorch use `n` threads each.

    ONNX Runtime and OpenVINO take the number when a model is loaded. Without threadpoolctl the BLAS
    keeps its own number, which OPENBLAS_NUM_THREADS sets.
    """
    before = er.get_num_threads()
    with ExitStack() as stack:
        if find_spec("threadpoolctl"):
            import threadpoolctl

            stack.enter_context(threadpoolctl.threadpool_limits(n))
        if torch := sys.modules.get("torch"):
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(n)
        stack.callback(er.set_num_threads, before)
        er.set_num_threads(n)
        yield
