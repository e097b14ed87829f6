"""The end of the interpreter while daemon threads are inside calls: no signal, and nothing said.

Every test runs processes of its own, each of them EMBEDRNN_EXIT_REPEATS times.
"""

import os
import re
from typing import Any, NamedTuple

import pytest

from cases import CORE

pytestmark = pytest.mark.skipif(CORE is None, reason="the compiled core is not built")

# What can go wrong depends on who comes back for the GIL when: raise this to look for it.
REPEATS = int(os.environ.get("EMBEDRNN_EXIT_REPEATS", "1"))

# With one row, calls come back for the GIL all the time; with many, most of their time, up to a
# few milliseconds each, they are without it. The step of a layer has as many rows as make that so.
SIZES = {"small": 1, "big": 20_000}
SETUP = """
    import atexit, signal, sys, threading, time, types
    import numpy as np
    import embedrnn as er

    rng = np.random.default_rng(0)
    table = rng.standard_normal((1000, 64), np.float32)
    int8 = er.quantize_rows(table)
    ids = rng.integers(0, 1000, ROWS)
    updates = np.ones((ROWS, 64), np.float32)
    bags = ids.reshape(-1, min(ROWS, 20))
    weights, grad = np.ones(bags.shape, np.float32), updates[: len(bags)]
    x = np.ones((ROWS // 1000 + 1, ROWS // 500 + 1, 64), np.float32)
    one_gate = np.eye(64, dtype=np.float32)
    three_gates, four_gates = np.tile(one_gate, (3, 1)), np.tile(one_gate, (4, 1))
    layer = er.LSTM(64, 64)
"""

CALLS = {
    "gather": "er.gather(table, ids)",
    "gather_into_out": "er.gather(table, ids, out=np.empty_like(updates))",
    "gather_int8": "er.gather(int8, ids)",
    "scatter_add": "er.scatter_add(table.copy(), ids, updates)",
    "coalesce": "er.coalesce(ids, updates)",
    "bag_sum": "er.embedding_bag(table, bags)",
    "bag_sum_int8": "er.embedding_bag(int8, bags)",
    "bag_max": "er.embedding_bag(table, bags, mode='max')",
    "bag_max_vjp": "er.embedding_bag_vjp(table, bags, mode='max')[1](grad)",
    "bag_vjp": "er.embedding_bag_vjp(table, bags, per_sample_weights=weights)[1](grad)",
    "rnn_forward": "er.rnn_forward(x, one_gate, one_gate)",
    "gru_forward": "er.gru_forward(x, three_gates, three_gates)",
    "lstm_forward": "er.lstm_forward(x, four_gates, four_gates)",
    "layer": "layer(x)",
    "step": "layer.step(updates[: ROWS // 100 + 1])",
}

# The threads wait for one another, so that after a short delay all of them are in a first call.
START_TOGETHER = """
    def keep_calling(call):
        ready.wait()
        while True:
            call()

    ready = threading.Event()
    for call in calls:
        threading.Thread(target=keep_calling, args=(call,), daemon=True).start()
    time.sleep(0.01)
    ready.set()
    time.sleep(DELAY)
"""
START_ONE = "threading.Thread(target=calls[0], daemon=True).start()"


class Exit(NamedTuple):
    """How a process ends, and what it leaves: a status, and patterns of its two outputs."""

    code: str
    status: int = 0
    stdout: str = ""
    stderr: str = ""


TRACEBACK = r"Traceback \(most recent call last\):\n(  .*\n)+LookupError: the end\n"
EXITS = {
    "end_of_the_script": Exit(""),
    "sys_exit": Exit("sys.exit(0)"),
    "exception": Exit("raise LookupError('the end')", 1, "", TRACEBACK),
    "sys_exit_inside_a_call": Exit("""
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(0))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    while True:
        er.scatter_add(np.zeros(1), np.zeros(10**6, np.int8), 1.0)
    """),
    "end_of_another_thread": Exit("""
    def call_for_a_while():
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            layer(x)

    threading.Thread(target=call_for_a_while).start()
    """),
    "call_in_atexit": Exit("atexit.register(lambda: print(layer(x)[0].ndim))", stdout="3\n"),
    # The thread that ends the interpreter may call to the last, when all others are stopped.
    "call_of_a_finalizer": Exit(
        """
    class Last:
        def __del__(self):
            print(er.gather(table, [1]).ndim, layer(x)[0].ndim)

    sys.modules["last"] = types.ModuleType("last")
    sys.modules["last"].last = Last()
    """,
        stdout="2 3\n",
    ),
}

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
every_size = pytest.mark.parametrize("rows", SIZES.values(), ids=SIZES)


def leave(
    run_python: Any,
    calls: list[str],
    rows: int = 1,
    delay: float = 0.03,
    start: str = START_TOGETHER,
    end: Exit = EXITS["end_of_the_script"],
) -> None:
    """End a process in which a daemon thread makes each of these calls, and see how it ended."""
    constants = f"ROWS, DELAY = {rows}, {delay}"
    threads = f"calls = [{', '.join(f'lambda: {call}' for call in calls)}]"
    env = {"EMBEDRNN_NUM_THREADS": "4", "PYTHON_COLORS": "0"}
    for _ in range(REPEATS):
        done = run_python(constants, SETUP, threads, start, end.code, env=env, check=False)
        assert done.returncode == end.status, done.stderr
        assert re.fullmatch(end.stdout, done.stdout), done.stdout
        assert re.fullmatch(end.stderr, done.stderr), done.stderr


@every_call
@every_size
def test_end_while_threads_make_a_call(run_python: Any, call: str, rows: int) -> None:
    leave(run_python, [call] * 8, rows)


@pytest.mark.parametrize("end", EXITS.values(), ids=EXITS)
@every_size
def test_every_end_while_threads_make_every_call(run_python: Any, end: Exit, rows: int) -> None:
    leave(run_python, list(CALLS.values()), rows, end=end)


# What first calls set up for all later ones is half done then.
@every_call
@pytest.mark.parametrize("delay", [0, 0.0002])
def test_end_while_threads_make_a_first_call(run_python: Any, call: str, delay: float) -> None:
    leave(run_python, [call] * 8, delay=delay)


@every_call
def test_end_while_a_thread_starts(run_python: Any, call: str) -> None:
    leave(run_python, [call], start=START_ONE)
