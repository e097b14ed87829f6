"""Fixtures: every backend and every instruction set of this machine, and clean processes."""

import os
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import numpy as np
import pytest

import embedrnn as er
from cases import CORE, ISAS

# Keras reads it when it is imported, and takes TensorFlow otherwise.
os.environ.setdefault("KERAS_BACKEND", "numpy")

# A test draws new examples on a developer's machine; a failure in CI must come again.
_HYPOTHESIS = {
    "deadline": None,  # the first call of an instruction set is slower than the others
    "max_examples": 60,
    "suppress_health_check": [hypothesis.HealthCheck.function_scoped_fixture],
}
hypothesis.settings.register_profile("default", **_HYPOTHESIS)
hypothesis.settings.register_profile("ci", **_HYPOTHESIS, derandomize=True)
# For a long run: pytest --hypothesis-profile=thorough.
hypothesis.settings.register_profile("thorough", **_HYPOTHESIS | {"max_examples": 10_000})
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


NATIVE = [pytest.param(isa, marks=pytest.mark.native, id=f"native-{isa}") for isa in ISAS]


def sanitizer() -> str:
    """Return "asan" or "tsan" if that run-time library was loaded before Python, else ""."""
    preload = os.environ.get("LD_PRELOAD", "")
    return next((name for name in ("asan", "tsan") if name in preload), "")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "native: needs the compiled core")
    config.addinivalue_line("markers", "specification: runs on the NumPy backend alone")
    config.addinivalue_line("markers", "slow: takes a second or more")
    config.addinivalue_line(
        "markers", "skip_under(*names): cannot work under these sanitizers (asan, tsan)"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    names = [name for mark in item.iter_markers("skip_under") for name in mark.args]
    if sanitizer() in names:
        pytest.skip(f"cannot work under {sanitizer()}")
    if CORE is None and item.get_closest_marker("native"):
        pytest.skip("the compiled core is not built")


def _allowed_skips() -> list[str] | None:
    """Return the patterns of the reasons to skip; None if any will do, as on a developer's machine.

    See allowed-skips.toml.
    """
    groups = os.environ.get("EMBEDRNN_ALLOWED_SKIPS")
    if groups is None:
        return None
    text = Path(__file__).with_name("allowed-skips.toml").read_text(encoding="utf-8")
    return [reason for name in ("always", *groups.split()) for reason in tomllib.loads(text)[name]]


ALLOWED_SKIPS = _allowed_skips()


def _fail_other_skips(report: Any) -> Any:
    """Turn a skip for a reason that is not allowed into a failure, of a test or of a whole file."""
    if ALLOWED_SKIPS is None or not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if not any(fnmatchcase(reason, pattern) for pattern in ALLOWED_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: tests/allowed-skips.toml has no such reason: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _fail_other_skips((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _fail_other_skips((yield))


@contextmanager
def _running_native(isa: str) -> Iterator[None]:
    assert CORE is not None
    before, threads = CORE.get_isa(), CORE.get_num_threads()
    with er.use_backend("native"):
        CORE.set_isa(isa)
        try:
            yield
        finally:
            CORE.set_isa(before)
            CORE.set_num_threads(threads)


SPECIFICATION = pytest.param(None, marks=pytest.mark.specification, id="numpy")


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Let a test draw the same numbers of PyTorch, if that is here, whichever tests ran before."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(params=[SPECIFICATION, *NATIVE])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on the NumPy backend, then with each instruction set of this machine."""
    if request.param is None:
        with er.use_backend("numpy"):
            yield "numpy"
    else:
        with _running_native(request.param):
            yield f"native-{request.param}"


@pytest.fixture(params=NATIVE)
def native(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test with each instruction set, for what only the compiled core promises."""
    with _running_native(request.param):
        yield request.param


@pytest.fixture
def core() -> Iterator[ModuleType]:
    """Run the test once, with the best instruction set: for what does not depend on it."""
    if CORE is None:
        pytest.skip("the compiled core is not built")
    with _running_native(ISAS[0]):
        yield CORE


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run pieces of code, one after another, in a fresh interpreter that imports the same package.

    The variables that steer embedrnn are cleared, then set from `env`. With `check`, the default,
    the process must exit with 0.
    """
    source = str(Path(er.__file__).parents[1])

    def run(
        *code: str,
        options: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        timeout: float = 30,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        steering = ("EMBEDRNN_", "OMP_NUM_THREADS")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(steering)}
        path = os.pathsep.join(filter(None, [source, inherited.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, *options, "-c", "\n".join(map(textwrap.dedent, code))],
            env=inherited | {"PYTHONPATH": path} | (env or {}),
            timeout=timeout * (10 if sanitizer() else 1),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    return run
