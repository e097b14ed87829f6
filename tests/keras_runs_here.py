"""A plugin of pytest that runs the tests of Keras with its recurrent layers run here.

    pytest -p keras_runs_here FILES

It says how many calls ran here, and fails if none did: a file alone may have none.
"""

from typing import Any

import pytest

from embedrnn.adapters.keras import calls, install

_run = calls.run
_counts = {"here": 0, "by Keras": 0}


def counted(*arguments: Any) -> Any:
    result = _run(*arguments)
    _counts["by Keras" if result is None else "here"] += 1
    return result


calls.run = counted
install()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    said = ", ".join(f"{count} {where}" for where, count in _counts.items())
    terminalreporter.write_line(f"calls of recurrent layers: {said}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not _counts["here"]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
