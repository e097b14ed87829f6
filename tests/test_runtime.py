"""Backends, instruction sets, threads, processes and interrupts."""

import contextlib
import contextvars
import gc
import itertools
import math
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from cases import CORE, ISAS, RnnCase, assert_same_bits, values

needs_core = pytest.mark.skipif(CORE is None, reason="the compiled core is not built")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
no_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
THREADS = (1, 2, 3, 8)

# Enough work to be divided among threads, and enough indices for more than one block of them.
BIG_ROWS, BIG_COLS = 150_000, 64
BIG_TABLE = values((5000, BIG_COLS), "f4")
BIG_IDS = np.random.default_rng(0).integers(-5000, 5000, BIG_ROWS)
BIG_UPDATES = values((BIG_ROWS, BIG_COLS), "f4", seed=1)
BIG_INT8 = er.quantize_rows(np.random.default_rng(2).standard_normal((5000, BIG_COLS)))
BIG_VECTOR_UPDATES = values((1_000_000,), "f8", seed=1)
BIG_RNN = RnnCase("big", 64, 32, 64, 64).arguments(np.float32)
ONE_SEQUENCE = RnnCase("one", 1, 300, 256, 256, "full").arguments(np.float32)

Operation = Callable[[], tuple[np.ndarray, ...]]


def big_gather() -> tuple[np.ndarray, ...]:
    return (er.gather(BIG_TABLE, BIG_IDS),)


def big_scatter_add() -> tuple[np.ndarray, ...]:
    return (er.scatter_add(BIG_TABLE[:500].copy(), BIG_IDS % 500 // 3, BIG_UPDATES),)


def big_vector_scatter_add() -> tuple[np.ndarray, ...]:
    target, indices = BIG_TABLE.ravel()[:3000].copy(), np.arange(1_000_000) % 2999
    return (er.scatter_add(target, indices, BIG_VECTOR_UPDATES),)


def big_half_scatter_add() -> tuple[np.ndarray, ...]:
    target, updates = np.ones((500, BIG_COLS), np.float16), np.sin(BIG_UPDATES)
    return (er.scatter_add(target, BIG_IDS % 500 // 3, updates),)


def big_coalesce() -> tuple[np.ndarray, ...]:
    return tuple(er.coalesce(BIG_IDS, BIG_UPDATES, num_embeddings=5000))


def big_coalesce_of_one_row() -> tuple[np.ndarray, ...]:
    wide = BIG_UPDATES.reshape(-1, 4 * BIG_COLS)
    return tuple(er.coalesce(np.zeros(len(wide), int), wide))


def big_embedding_bag() -> tuple[np.ndarray, ...]:
    lengths = np.arange(BIG_ROWS // 100) % 200
    return (er.embedding_bag(BIG_TABLE, BIG_IDS[: lengths.sum()], lengths=lengths),)


def big_maximum() -> tuple[np.ndarray, ...]:
    return (er.embedding_bag(BIG_TABLE, BIG_IDS.reshape(-1, 30), mode="max"),)


def big_int8_gather() -> tuple[np.ndarray, ...]:
    return (er.gather(BIG_INT8, BIG_IDS),)


def big_rnn_forward() -> tuple[np.ndarray, ...]:
    return er.rnn_forward(**BIG_RNN)


def big_one_sequence() -> tuple[np.ndarray, ...]:
    return er.rnn_forward(**ONE_SEQUENCE)


ROW_OPERATIONS = (
    big_gather,
    big_scatter_add,
    big_vector_scatter_add,
    big_half_scatter_add,
    big_coalesce,
    big_coalesce_of_one_row,
    big_embedding_bag,
    big_maximum,
    big_int8_gather,
)
OPERATIONS = (*ROW_OPERATIONS, big_rnn_forward, big_one_sequence)
operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda f: f.__name__)

# For code that runs in a process of its own.
BIG_CALLS = """
    import numpy as np
    import embedrnn as er

    def big_calls():
        rng = np.random.default_rng(0)
        ids = rng.integers(0, 500, 60_000)
        table = rng.standard_normal((500, 64), np.float32)
        rows = er.gather(table, ids)
        sums = er.scatter_add(np.zeros_like(table), ids, rows)
        x = rows[:2048].reshape(64, 32, 64)
        weight = table[:64] / 8
        output, h_n = er.rnn_forward(x, weight, weight, lengths=np.arange(64) // 2)
        return b"".join(a.tobytes() for a in (rows, sums, output, h_n))
"""


# --- threads -----------------------------------------------------------------------------------


@operation
def test_threads_do_not_show_in_the_bits(core: Any, operation: Operation) -> None:
    er.set_num_threads(1)
    expected = operation()
    for threads in THREADS[1:]:
        er.set_num_threads(threads)
        for actual, wanted in zip(operation(), expected, strict=True):
            assert_same_bits(actual, wanted)


@pytest.mark.parametrize("operation", ROW_OPERATIONS, ids=lambda f: f.__name__)
def test_big_calls_have_the_bits_of_numpy(core: Any, operation: Operation) -> None:
    with er.use_backend("numpy"):
        expected = operation()
    assert_same_bits(operation()[0], expected[0])


@operation
def test_fused_multiply_add_gives_the_same_bits_everywhere(operation: Operation) -> None:
    fused = [isa for isa in ISAS if isa != "baseline"]
    if len(fused) < 2:
        pytest.skip("needs two instruction sets with fused multiply-add")
    before, results = er.config()["isa"], []
    assert CORE is not None
    with er.use_backend("native"):
        for isa in fused:
            CORE.set_isa(isa)
            results.append(operation())
    CORE.set_isa(before)
    for actual, wanted in zip(results[1], results[0], strict=True):
        assert_same_bits(actual, wanted)


def test_number_of_threads(backend: str) -> None:
    for n in (1, 3, np.int64(2)):
        er.set_num_threads(n)
        assert er.get_num_threads() == (1 if backend == "numpy" else n)
        assert er.config()["threads"] == er.get_num_threads()


BAD_IDS = {
    "first": [0],
    "last": [BIG_ROWS - 1],
    "middle": [BIG_ROWS // 2],
    "two": [BIG_ROWS // 3, BIG_ROWS - 7],
    "all": range(BIG_ROWS),
}


@pytest.mark.parametrize("where", BAD_IDS.values(), ids=BAD_IDS)
@pytest.mark.parametrize("threads", THREADS)
def test_a_bad_index_in_any_chunk_writes_nothing(core: Any, where: Any, threads: int) -> None:
    er.set_num_threads(threads)
    indices = np.arange(BIG_ROWS) % 500
    indices[list(where)] = 500
    table, out = np.ones((500, BIG_COLS), np.float32), np.full((BIG_ROWS, BIG_COLS), 7, np.float32)
    message = rf"^index 500 at position {where[0]} is out of range"
    with pytest.raises(IndexError, match=message):
        er.gather(table, indices, out=out)
    with pytest.raises(IndexError, match=message):
        er.scatter_add(table, indices, out)
    assert (out == 7).all()
    assert (table == 1).all()
    er.gather(table, indices % 500, out=out)
    assert (out == 1).all()


def test_python_threads_at_once(backend: str) -> None:
    expected = [operation() for operation in OPERATIONS]
    contexts = [contextvars.copy_context() for _ in range(8)]
    start = threading.Barrier(8)

    def work(i: int) -> list[tuple[np.ndarray, ...]]:
        start.wait(timeout=60)
        return [OPERATIONS[(i + k) % len(OPERATIONS)]() for k in range(2)]

    with ThreadPoolExecutor(8) as executor:
        futures = [executor.submit(context.run, work, i) for i, context in enumerate(contexts)]
    for i, future in enumerate(futures):
        for k, results in enumerate(future.result()):
            for actual, wanted in zip(results, expected[(i + k) % len(OPERATIONS)], strict=True):
                assert_same_bits(actual, wanted)


def test_setting_threads_while_another_thread_computes(core: Any) -> None:
    expected = big_rnn_forward()
    with ThreadPoolExecutor(1) as executor:
        context = contextvars.copy_context()
        future = executor.submit(context.run, lambda: [big_rnn_forward() for _ in range(20)])
        for threads in itertools.cycle(THREADS):
            er.set_num_threads(threads)
            big_gather()
            if future.done():
                break
    for result in future.result():
        for actual, wanted in zip(result, expected, strict=True):
            assert_same_bits(actual, wanted)


@pytest.mark.skip_under("tsan")  # it is a race, of the caller's making
@pytest.mark.parametrize("threads", [1, 2])
def test_indices_that_change_during_a_call(core: Any, threads: int) -> None:
    er.set_num_threads(threads)
    ids, offsets = np.zeros(60_000, np.int64), np.arange(0, 60_000, 10)
    table, updates = np.ones((7, 8), np.float32), np.ones((60_000, 8), np.float32)
    out, int8 = np.empty_like(updates), er.quantize_rows(table)
    done = threading.Event()

    def spoil() -> None:
        places = itertools.cycle([5, 30_000, 59_999])
        while not done.is_set():
            place = next(places)
            ids[place], ids[place] = 10**12, 0  # one write after the other

    spoiler = threading.Thread(target=spoil)
    spoiler.start()
    try:
        for _ in range(30):
            with contextlib.suppress(IndexError):
                assert (er.gather(table, ids) == 1).all()
            with contextlib.suppress(IndexError):
                assert (er.embedding_bag(table, ids, offsets) == 10).all()
            with contextlib.suppress(IndexError):
                er.scatter_add(np.zeros((7, 8), np.float32), ids, updates)
            with contextlib.suppress(IndexError):
                assert (er.gather(table, ids, out=out) == 1).all()
            assert (er.gather(table, ids, mode="clip") == 1).all()
            with contextlib.suppress(IndexError):
                assert (er.gather(int8, ids) == 1).all()
            with contextlib.suppress(IndexError):
                assert (er.embedding_bag(table, ids, offsets, mode="max") == 1).all()
            with contextlib.suppress(IndexError):
                er.coalesce(ids, updates, num_embeddings=7)
    finally:
        done.set()
        spoiler.join()


# Arrays of which each is an argument of a call without the GIL, and that call, which takes it from
# a dictionary: True if the result is right, whatever the number of rows.
ZEROS, ONES = np.zeros(20_000, np.int64), np.ones((20_000, 64), np.float32)
IDENTITY = np.eye(64, dtype=np.float32)
HELD: dict[str, tuple[np.ndarray, Callable[[dict[str, np.ndarray]], Any]]] = {
    "table": (ONES[:500], lambda held: (er.gather(held["array"], ZEROS) == 1).all()),
    "indices": (ZEROS, lambda held: (er.gather(ONES[:500], held["array"]) == 1).all()),
    "out": (ONES, lambda held: (er.gather(ONES[:500], ZEROS, out=held["array"]) == 1).all()),
    "target": (
        ONES[:500] * 0,
        lambda held: er.scatter_add(held["array"], ZEROS, ONES)[0, 0] % len(ZEROS) == 0,
    ),
    "updates": (
        ONES,
        lambda held: (er.scatter_add(ONES[:3] * 0, ZEROS, held["array"])[0] == len(ZEROS)).all(),
    ),
    "bags": (
        ZEROS.reshape(-1, 10),
        lambda held: (er.embedding_bag(ONES[:500], held["array"]) == 10).all(),
    ),
    "sequences": (
        ONES.reshape(200, 100, 64)[:40],
        lambda held: (er.rnn_forward(held["array"], IDENTITY, 0 * IDENTITY)[0][:40] > 0.7).all(),
    ),
    "weights": (
        IDENTITY,
        lambda held: (
            er.rnn_forward(ONES.reshape(200, 100, 64)[:40], held["array"], 0 * IDENTITY)[0] > 0.7
        ).all(),
    ),
}
every_held = pytest.mark.parametrize(("array", "call"), HELD.values(), ids=HELD)
both_threads = pytest.mark.parametrize("threads", [1, 2])


def call_while(call: Callable[[], Any], meanwhile: Callable[[], bool]) -> None:
    """Call in another thread, which has to be right, until what goes on meanwhile has said enough.

    Ten times at least, and for 20 seconds at most.
    """
    end, enough = time.monotonic() + 20, False

    def keep_calling() -> None:
        calls = 0
        while (calls < 10 or not enough) and time.monotonic() < end:
            assert call()
            calls += 1

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(contextvars.copy_context().run, keep_calling)
        while not future.done():
            enough = meanwhile() or enough
    future.result()
    assert enough


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="NumPy counts the references to an array that it resizes under the GIL only",
)
@every_held
@both_threads
def test_no_array_is_resized_during_a_call(
    core: Any, array: np.ndarray, call: Any, threads: int
) -> None:
    er.set_num_threads(threads)
    held = {"array": array.copy()}
    sizes = itertools.cycle([(2 * len(array), *array.shape[1:]), array.shape])

    def is_refused() -> bool:
        try:
            held["array"].resize(next(sizes), refcheck=True)
        except ValueError:
            return True
        return False

    def is_right() -> bool:
        while True:
            # Between two calls it may become longer than the other arguments call for.
            with contextlib.suppress(ValueError):
                return call(held)
            time.sleep(0.001)  # in which it may become shorter again

    call_while(is_right, is_refused)


@every_held
@both_threads
def test_an_array_let_go_during_a_call_lives_on(
    core: Any, array: np.ndarray, call: Any, threads: int
) -> None:
    er.set_num_threads(threads)
    held, replaced = {"array": array.copy()}, itertools.count(1)

    def replace() -> bool:
        held["array"] = array.copy()
        np.full_like(array, 999)  # where the old one was, if nothing holds that
        return next(replaced) > 10

    call_while(lambda: call(held), replace)


# What new_threads() gives are those of the pool.
NEW_THREADS = """
    import os, threading, time

    def threads():
        return {int(thread) for thread in os.listdir("/proc/self/task")}

    first = threading.Thread(target=int)  # beside which a sanitizer starts one of its own
    first.start()
    first.join()
    time.sleep(0.1)  # it may still be there for a moment
    before = threads()

    def new_threads():
        return threads() - before
"""


@needs_core
@linux_only
def test_workers_start_when_needed_and_sleep_when_idle(run_python: Any) -> None:
    code = """
        er.set_num_threads(1)
        big_calls()
        assert not new_threads()
        er.set_num_threads(4)
        er.gather(np.zeros((3, 2)), [1])
        assert not new_threads(), "a small call started threads"
        big_calls()
        assert len(new_threads()) == 3, new_threads()
        burnt = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - burnt < 0.1
    """
    run_python(BIG_CALLS, NEW_THREADS, code)


@needs_core
@linux_only
@pytest.mark.skip_under("asan", "tsan")  # which block and start as they like
def test_workers_take_the_signals_of_their_own_faults_alone(run_python: Any) -> None:
    code = """
        import signal

        def blocked(thread):
            with open(f"/proc/self/task/{thread}/status") as status:
                bits = next(int(line.split()[1], 16) for line in status if line[:6] == "SigBlk")
            return {number for number in range(1, 65) if bits >> number - 1 & 1}

        ours = blocked(threading.get_native_id())
        er.set_num_threads(4)
        big_calls()
        assert len(new_threads()) == 3
        faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
        asked = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1}
        for worker in new_threads():
            assert asked <= blocked(worker), "a signal may come to a worker"
            assert not faults & blocked(worker)
        assert blocked(threading.get_native_id()) == ours
    """
    run_python(BIG_CALLS, NEW_THREADS, code)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"EMBEDRNN_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "5,2"}, 5),
        ({"OMP_NUM_THREADS": " 1"}, 1),
        ({"OMP_NUM_THREADS": "\t4 , 2"}, 4),
        ({"EMBEDRNN_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
        ({"EMBEDRNN_NUM_THREADS": "", "OMP_NUM_THREADS": "2"}, 2),
    ],
    ids=str,
)
@needs_core
def test_threads_from_the_environment(run_python: Any, env: dict[str, str], expected: int) -> None:
    done = run_python("import embedrnn as er; print(er.get_num_threads())", env=env)
    assert int(done.stdout) == expected


@pytest.mark.parametrize("text", ["0", "-1", "two", "2.5", "3x", " ", "99999999999999999999"])
@needs_core
def test_a_bad_number_of_threads_in_the_environment(run_python: Any, text: str) -> None:
    code = """
        import embedrnn as er
        try:
            er.get_num_threads()
        except ValueError as error:
            print(error)
    """
    done = run_python(code, env={"EMBEDRNN_NUM_THREADS": text})
    assert "EMBEDRNN_NUM_THREADS must be" in done.stdout
    assert f"'{text}'" in done.stdout


@needs_core
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
def test_threads_follow_the_cpus_of_the_process(run_python: Any) -> None:
    code = """
        import os
        import embedrnn as er

        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(er.get_num_threads())
    """
    assert int(run_python(code).stdout) == 1


# The lines of /proc/self/cgroup and /proc/self/mountinfo, and the files of the hierarchies.
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "33 32 0:29 {} /sys/fs/cgroup/cpu rw master:9 - cgroup cgroup rw,cpu,cpuacct"
QUOTAS: dict[str, tuple[int, str, str, dict[str, str]]] = {
    "own_group": (2, "0::/a/b", V2_MOUNT, {"a/b/cpu.max": "150000 100000"}),
    "group_around": (
        1,
        "0::/a/b",
        V2_MOUNT,
        {"a/cpu.max": "50000 100000", "a/b/cpu.max": "900000 100000"},
    ),
    "own_namespace": (3, "0::/", V2_MOUNT, {"cpu.max": "300000 100000"}),
    "no_limit": (0, "0::/a", V2_MOUNT, {"a/cpu.max": "max 100000", "cpu.max": "max"}),
    "not_ours": (0, "0::/a", V2_MOUNT, {"ab/cpu.max": "100000 100000"}),
    "no_files": (0, "0::/a", V2_MOUNT, {}),
    "version_1": (
        5,
        "4:cpu,cpuacct:/job\n3:cpuset:/other\n0::/",
        V1_MOUNT.format("/"),
        {"cpu/job/cpu.cfs_quota_us": "410000", "cpu/job/cpu.cfs_period_us": "100000"},
    ),
    "version_1_in_a_container": (
        1,
        "4:cpuacct,cpu:/docker/f00",
        V1_MOUNT.format("/docker/f00"),
        {"cpu/cpu.cfs_quota_us": "1000", "cpu/cpu.cfs_period_us": "100000"},
    ),
    "version_1_without": (
        0,
        "4:cpu:/job",
        V1_MOUNT.format("/"),
        {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"},
    ),
    "both": (
        2,
        "4:cpu:/\n0::/a",
        V1_MOUNT.format("/") + "\n" + V2_MOUNT.replace("cgroup rw", "cgroup/unified rw"),
        {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"},
    ),
    "nonsense": (0, "x\n::\n0::", "1 2 - cgroup2\n-\n" + V2_MOUNT, {"cpu.max": "-5 0"}),
}


@pytest.mark.parametrize(("cpus", "groups", "mounts", "files"), QUOTAS.values(), ids=QUOTAS)
def test_the_quota_of_a_container(
    core: Any, tmp_path: Path, cpus: int, groups: str, mounts: str, files: dict[str, str]
) -> None:
    named = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    named |= {
        "proc/self/cgroup": groups,
        "proc/self/mountinfo": "1 1 8:1 / / rw - ext4 x rw\n" + mounts,
    }
    for name, text in named.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    assert core.quota_cpus(str(tmp_path)) == cpus


def test_no_container(core: Any, tmp_path: Path) -> None:
    assert core.quota_cpus(str(tmp_path)) == 0


@needs_core
@linux_only
def test_workers_leave_the_callers_cpu_to_it(run_python: Any) -> None:
    code = """
        cpus = os.sched_getaffinity(0)
        er.set_num_threads(3)
        big_calls()
        workers = new_threads()
        assert len(workers) == 2
        where = [os.sched_getaffinity(worker) for worker in workers]
        for some in where:
            assert some <= cpus and len(some) == max(1, len(cpus) - 1), where
        os.sched_setaffinity(0, {min(cpus)})
        big_calls()
        assert all(os.sched_getaffinity(worker) for worker in workers)
    """
    run_python(BIG_CALLS, NEW_THREADS, code)


@needs_core
@linux_only
def test_one_sequence_takes_no_more_threads_than_cpus(run_python: Any) -> None:
    code = """
        er.set_num_threads(16)
        er.rnn_forward(np.ones((1, 500, 256)), np.eye(256), np.eye(256))
        assert len(new_threads()) < len(os.sched_getaffinity(0)), new_threads()
    """
    run_python("import numpy as np\nimport embedrnn as er", NEW_THREADS, code)


@pytest.mark.slow
@needs_core
@linux_only
@pytest.mark.skip_under("asan", "tsan")
def test_one_sequence_does_not_wait_for_a_cpu_that_others_have(run_python: Any) -> None:
    # A call that waits for another thread at each of 2,000 steps would take a second or more.
    code = """
        import os, subprocess, sys, time
        import numpy as np
        import embedrnn as er

        cpus = os.sched_getaffinity(0)
        spin = [sys.executable, "-c", "while True: pass"]
        call = lambda: er.gru_forward(x, weight, weight)[0].tobytes()
        x, weight = np.ones((1, 2000, 128), "f4"), np.ones((384, 128), "f4") / 384

        def seconds(threads):
            er.set_num_threads(threads)
            start = time.perf_counter()
            assert call() == expected
            return time.perf_counter() - start

        expected = call()
        others = [subprocess.Popen(spin) for _ in range(2 * len(cpus))]
        try:
            time.sleep(0.3)
            alone, team = ([seconds(n) for _ in range(9)] for n in (1, 2))
        finally:
            for other in others:
                other.kill()
        assert sorted(team)[4] < 4 * sorted(alone)[4], (alone, team)
    """
    run_python(code, timeout=60)


@pytest.mark.slow
@pytest.mark.skip_under("asan", "tsan")
def test_no_fight_with_blas_threads(core: Any) -> None:
    if er.get_num_threads() < 2:
        pytest.skip("needs two CPUs")
    matrix = values((256, 256), "f4")
    table, indices = values((30_000, 64), "f4"), np.arange(30_000)[::-1].copy()
    out = np.empty_like(table)

    def multiply() -> None:
        matrix @ matrix

    def gather() -> None:
        er.gather(table, indices, out=out)

    def seconds(*parts: Callable[[], None]) -> float:
        start = time.perf_counter()
        for _ in range(30):
            for part in parts:
                part()
        return time.perf_counter() - start

    rounds = [(seconds(multiply), seconds(gather), seconds(multiply, gather)) for _ in range(5)]
    product, copy, in_turn = map(min, zip(*rounds, strict=True))
    assert in_turn <= 3 * (product + copy)


# --- backends and instruction sets ---------------------------------------------------------------


def test_config(backend: str) -> None:
    config = er.config()
    assert set(config) == {
        "asserts", "backend", "core", "isa", "isas", "threads", "version"
    }  # fmt: skip
    assert (config["core"] == "compiled") == (CORE is not None)
    name, _, isa = backend.partition("-")
    assert (config["backend"], config["isa"]) == (name, isa or None)
    assert config["isas"] == (ISAS if name == "native" else [])
    assert config["threads"] >= 1
    assert config["version"] == er.__version__
    assert isinstance(config["asserts"], bool)


def test_use_backend_nests_and_ends_with_its_block() -> None:
    before = er.config()["backend"]
    with er.use_backend("numpy"):
        assert er.config()["backend"] == "numpy"
        if CORE is not None:
            with er.use_backend("native"):
                assert er.config()["backend"] == "native"
            assert er.config()["backend"] == "numpy"
        with pytest.raises(KeyError), er.use_backend("numpy"):
            raise KeyError
    assert er.config()["backend"] == before


def test_use_backend_is_for_one_thread(core: Any) -> None:
    inside: list[str] = []
    with er.use_backend("numpy"):
        thread = threading.Thread(target=lambda: inside.append(er.config()["backend"]))
        thread.start()
        thread.join()
    with ThreadPoolExecutor(1) as executor:
        assert inside == [executor.submit(lambda: er.config()["backend"]).result()]


@needs_core
def test_forced_isa(run_python: Any, native: str) -> None:
    code = "import embedrnn as er; print(er.config()['isa'])"
    assert run_python(code, env={"EMBEDRNN_ISA": native}).stdout.strip() == native


@needs_core
@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2 ", "neon", "avx512"])
def test_unknown_or_unsupported_isa_is_an_import_error(run_python: Any, name: str) -> None:
    if name in ISAS:
        pytest.skip("this machine has it")
    done = run_python("import embedrnn", env={"EMBEDRNN_ISA": name}, check=False)
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError")
    for part in ("EMBEDRNN_ISA", f"'{name}'", *ISAS):
        assert part in message


def test_set_isa_refuses_unknown_names(core: Any) -> None:
    before = core.get_isa()
    with pytest.raises(ValueError, match="'sse9'"):
        core.set_isa("sse9")
    assert core.get_isa() == before


NO_CORE = "import sys; sys.modules['embedrnn._core'] = None\n"
NO_PURE = "sys.modules['embedrnn._pure'] = None\n"
PURE = "import types; sys.modules['embedrnn._pure'] = types.ModuleType('embedrnn._pure')\n"
BROKEN_CORE = """
import importlib.abc, importlib.machinery, sys

class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name == "embedrnn._core":
            return importlib.machinery.ModuleSpec(name, self)
    def exec_module(self, module):
        import no_such_dependency

sys.meta_path.insert(0, Broken())
"""
PRINT_BACKEND = "import embedrnn as er; print(er.config()['backend'])"


def test_a_core_that_is_missing_is_an_error(run_python: Any) -> None:
    done = run_python(NO_CORE, NO_PURE, PRINT_BACKEND, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "ImportError: embedrnn._core, the compiled module, is missing" in last
    assert "EMBEDRNN_BACKEND=numpy" in last


@pytest.mark.parametrize(
    ("marker", "asked_for", "core"),
    [
        (PURE, "", "none: pure-Python wheel"),
        (NO_PURE, "numpy", "none: missing from this installation"),
    ],
    ids=["pure", "asked-for"],
)
def test_numpy_stands_in_for_a_core(
    run_python: Any, marker: str, asked_for: str, core: str
) -> None:
    env = {"EMBEDRNN_BACKEND": asked_for}
    done = run_python(NO_CORE, marker, PRINT_BACKEND, "print(er.config()['core'])", env=env)
    assert done.stdout.splitlines() == ["numpy", core]


def test_an_absent_core_is_an_error_if_asked_for(run_python: Any) -> None:
    done = run_python(NO_CORE + PRINT_BACKEND, env={"EMBEDRNN_BACKEND": "native"}, check=False)
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert "embedrnn._core" in done.stderr.strip().splitlines()[-1]


def test_a_core_that_fails_to_import_is_an_error(run_python: Any) -> None:
    done = run_python(BROKEN_CORE + PRINT_BACKEND, check=False)
    assert done.returncode == 1
    assert "no_such_dependency" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["numpy", pytest.param("native", marks=needs_core)])
def test_backend_from_the_environment(run_python: Any, name: str) -> None:
    assert run_python(PRINT_BACKEND, env={"EMBEDRNN_BACKEND": name}).stdout.strip() == name


def test_unknown_backend_in_the_environment(run_python: Any) -> None:
    done = run_python(PRINT_BACKEND, env={"EMBEDRNN_BACKEND": "cuda"}, check=False)
    assert done.returncode == 1
    assert "'cuda'" in done.stderr.strip().splitlines()[-1]


# --- processes ---------------------------------------------------------------------------------

# A child that hangs is killed, and ends this process too, whatever its other threads do.
STATUS_OF = """
    import os, time

    def status_of(child, seconds):
        deadline = time.monotonic() + seconds
        while (done := os.waitpid(child, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, 9)
                os.write(2, b"the child hangs")
                os._exit(4)
            time.sleep(0.005)
        return done[1]
"""
FORK = """
    import sys, threading

    def keep_calling():
        while not stop.is_set():
            big_calls()

    expected, stop = big_calls(), threading.Event()
    worker = threading.Thread(target=keep_calling)
    if BUSY:
        worker.start()
    for _ in range(4):
        child = os.fork()
        if child == 0:
            same = big_calls() == expected
            workers = len(os.listdir("/proc/self/task")) - 1 if WORKERS else 0
            os._exit(0 if same and workers == WORKERS else 3)
        assert status_of(child, 10) == 0
    stop.set()
    assert big_calls() == expected
"""

# Python 3.12 warns of what these tests are about: a fork while other threads run.
NO_FORK_WARNING = ("-W", "ignore::DeprecationWarning")


@no_fork
@pytest.mark.parametrize("threads", ["1", "8"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_fork_after_use(run_python: Any, threads: str, busy: bool) -> None:
    # In the child the pool is a fresh one, with threads of its own.
    workers = int(threads) - 1 if CORE is not None and sys.platform == "linux" else 0
    run_python(
        BIG_CALLS,
        STATUS_OF,
        f"BUSY, WORKERS = {busy}, {workers}",
        FORK,
        options=NO_FORK_WARNING,
        env={"EMBEDRNN_NUM_THREADS": threads},
    )


# Calls that are long enough for a signal to come in the middle.
FORKED_CALLS = {
    "gather": "er.gather(row, np.zeros(2 * 10**4, np.int8))",
    "scatter_add": "er.scatter_add(np.zeros((9, 256)), ids, np.ones(256))",
    "sequences": "er.rnn_forward(np.ones((64, 60, 256)), weight, weight)[0]",
    "one_sequence": "er.rnn_forward(np.ones((1, 4_000, 256)), weight, weight)[0]",
}
FORK_IN_A_HANDLER = """
    import signal

    weight, row, ids = np.eye(256) / 2, np.ones((1, 1024)), np.arange(10**6) % 9
    expected, answer = big_calls(), call()
    child = None

    def handler(*_):
        global child
        child = os.fork()
        if child == 0 and FIRST_OF_ALL_ANOTHER_CALL and big_calls() != expected:
            os._exit(3)

    signal.signal(signal.SIGALRM, handler)
    for _ in range(2):
        child = None
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            while child is None:  # a fast machine may be between two calls
                same = np.array_equal(call(), answer)
        except RuntimeError as error:
            assert child == 0 and THREADS > 1 and "forked inside this call" in str(error), error
            same = True
        if child == 0:
            os._exit(0 if same and big_calls() == expected else 4)
        assert same
        assert status_of(child, 20) == 0
"""


@no_fork
@needs_core
@pytest.mark.parametrize("call", FORKED_CALLS.values(), ids=FORKED_CALLS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("another", [False, True], ids=["", "and_another_call"])
def test_a_fork_in_a_signal_handler(
    run_python: Any, call: str, threads: int, another: bool
) -> None:
    options = f"THREADS, FIRST_OF_ALL_ANOTHER_CALL = {threads}, {another}"
    run_python(
        BIG_CALLS,
        STATUS_OF,
        f"call = lambda: {call}",
        options,
        FORK_IN_A_HANDLER,
        options=NO_FORK_WARNING,
        env={"EMBEDRNN_NUM_THREADS": str(threads)},
        timeout=60,
    )


# A call in a handler finds the pool busy with the call that it interrupts, on the same thread.
@needs_core
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer here")
@pytest.mark.skip_under("asan", "tsan")  # where the five rounds take minutes
@pytest.mark.parametrize("call", FORKED_CALLS.values(), ids=FORKED_CALLS)
def test_a_call_in_a_signal_handler(run_python: Any, call: str) -> None:
    code = """
        import signal

        weight, row, ids = np.eye(256) / 2, np.ones((1, 1024)), np.arange(10**6) % 9
        expected, answer, done = big_calls(), call(), 0

        def handler(*_):
            global done
            assert big_calls() == expected
            done += 1

        signal.signal(signal.SIGALRM, handler)
        for n in range(1, 6):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            while done < n:  # a fast machine may be between two calls
                assert np.array_equal(call(), answer)
    """
    run_python(BIG_CALLS, f"call = lambda: {call}", code, env={"EMBEDRNN_NUM_THREADS": "2"})


# A look-up that scales rows, and what happens while it computes their norms.
LOOK_UP = """
    import os, sys, threading, time
    import numpy as np
    import embedrnn as er

    class Norm:
        "numpy.linalg.norm, which does something else first, once."

        def __init__(self, meanwhile):
            self.norm, self.meanwhile = np.linalg.norm, [meanwhile]

        def __call__(self, *args, **kwargs):
            if self.meanwhile:
                self.meanwhile.pop()()
            return self.norm(*args, **kwargs)

    def new_layer():
        return er.Embedding.from_pretrained(np.full((3, 7), 3.0), max_norm=1.0)

    layer, expected = new_layer(), new_layer()([0, 1])
"""
IN_A_LOOK_UP = {
    "another_in_a_signal_handler": """
        def handler():
            assert np.array_equal(layer([0, 1]), expected)

        np.linalg.norm = Norm(handler)
    """,
    "an_update_in_a_signal_handler": """
        new = np.full((3, 7), 9.0)
        np.linalg.norm = Norm(lambda: layer.update({"weight": new}))
    """,
    "a_fork_in_a_signal_handler": """
        def fork():
            global child
            child = os.fork()

        child = None
        np.linalg.norm = Norm(fork)
    """,
}


@no_fork
@pytest.mark.parametrize("meanwhile", IN_A_LOOK_UP.values(), ids=IN_A_LOOK_UP)
def test_a_look_up_that_is_interrupted(run_python: Any, meanwhile: str) -> None:
    code = """
        assert np.array_equal(layer([0, 1]), expected)
        if "new" in globals():
            assert np.array_equal(layer.weight, new)
        elif "child" in globals():
            assert np.array_equal(layer([0, 1]), expected)
            if child == 0:
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    """
    run_python(LOOK_UP, meanwhile, code, timeout=20)


@no_fork
@pytest.mark.parametrize("seconds", [0.1, 1.5])
def test_a_fork_during_a_look_up_leaves_no_layer_locked(run_python: Any, seconds: float) -> None:
    code = f"""
        inside = threading.Event()

        def wait():
            inside.set()
            time.sleep({seconds})

        np.linalg.norm = Norm(wait)
        worker = threading.Thread(target=layer, args=([0, 1],))
        worker.start()
        inside.wait()
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(layer([0, 1]), expected) else 3)
        assert status_of(child, 10) == 0
        worker.join()
        assert np.array_equal(layer([0, 1]), expected)
    """
    run_python(LOOK_UP, STATUS_OF, code, options=NO_FORK_WARNING)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(run_python: Any, method: str) -> None:
    code = f"""
        import multiprocessing

        big_calls()
        context = multiprocessing.get_context({method!r})
        arguments = np.ones((64, 32, 64)), np.eye(64), np.eye(64) / 2
        output, _ = er.rnn_forward(*arguments)
        with context.Pool(2) as pool:
            calls = [pool.apply_async(er.rnn_forward, arguments) for _ in range(4)]
            for call in calls:
                assert np.array_equal(call.get(20)[0], output)
    """
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    run_python(BIG_CALLS, code, options=NO_FORK_WARNING)


EXITS = {
    "after_a_call": "big_calls(); sys.exit(0)",
    "in_atexit": "import atexit; atexit.register(big_calls)",
    "daemon_thread_in_a_call": """
    def keep_calling():
        while True:
            er.rnn_forward(np.ones((64, 500, 64)), np.eye(64), np.eye(64))

    threading.Thread(target=keep_calling, daemon=True).start()
    time.sleep(0.3)
    sys.exit(0)
    """,
}


@needs_core
@pytest.mark.parametrize("code", EXITS.values(), ids=EXITS)
@pytest.mark.parametrize("options", [(), ("-X", "dev")], ids=["plain", "dev"])
def test_exit_with_a_live_pool(run_python: Any, code: str, options: tuple[str, ...]) -> None:
    start = "import sys, threading, time\nbig_calls()"
    env = {"EMBEDRNN_NUM_THREADS": "4"}
    run_python(BIG_CALLS, start, code, options=options, env=env, timeout=20)


@pytest.mark.skip_under("asan", "tsan")
def test_development_mode_has_nothing_to_say(run_python: Any) -> None:
    done = run_python(BIG_CALLS, "big_calls()", options=("-X", "dev", "-W", "error"))
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.skip_under("asan", "tsan")
def test_import_is_fast(run_python: Any) -> None:
    # From byte code, whatever this environment says: the compiler is not what is measured.
    env = {"PYTHONDONTWRITEBYTECODE": ""}

    def share_of_numpy() -> float:
        done = run_python("import numpy, embedrnn", options=("-X", "importtime"), env=env)
        lines = [line.split("|") for line in done.stderr.splitlines()]
        microseconds = {
            line[2].strip(): int(line[1]) for line in lines if line[1].strip().isdigit()
        }
        return microseconds["embedrnn"] / microseconds["numpy"]

    assert any(share_of_numpy() < 0.25 for _ in range(10))


# Tries to import something in a new sub-interpreter, and prints what came of it. The module for it
# has no public name.
SUB_INTERPRETER = """
    import sys

    try:
        import _interpreters as interpreters
    except ImportError:  # before Python 3.13
        import _xxsubinterpreters as interpreters

    def try_in_sub_interpreter():
        if interpreters.__name__ == "_interpreters":
            interpreter = interpreters.create(KIND)
        else:
            interpreter = interpreters.create(isolated=KIND == "isolated")
        code = f"import sys; sys.path[:] = {sys.path}; " + TRY
        assert interpreters.run_string(interpreter, code) is None
        interpreters.destroy(interpreter)
"""
TRY = """
try:
    {}
    print("imported", flush=True)
except ImportError as error:
    print("ImportError:", *str(error).split(), flush=True)
"""
SUB_IMPORTS = {
    "package": "import embedrnn",
    # Whether or not NumPy would be imported.
    "core": "from importlib.util import module_from_spec, spec_from_file_location; "
    f"spec = spec_from_file_location('embedrnn._core', {CORE and CORE.__file__!r}); "
    "spec.loader.exec_module(module_from_spec(spec))",
}


@needs_core
@pytest.mark.parametrize("kind", ["isolated", "legacy"])
@pytest.mark.parametrize("code", SUB_IMPORTS.values(), ids=SUB_IMPORTS)
@pytest.mark.parametrize("first", ["main", "sub"])
def test_a_sub_interpreter_is_refused(run_python: Any, kind: str, code: str, first: str) -> None:
    # Before Python 3.12 it waited for ever.
    start = f"KIND, TRY = {kind!r}, {TRY.format(code)!r}"
    in_main = """
        expected = big_calls()
        for _ in range(2):
            try_in_sub_interpreter()
            assert big_calls() == expected
    """
    if first == "main":
        done = run_python(start, SUB_INTERPRETER, BIG_CALLS, in_main)
    elif code == SUB_IMPORTS["core"]:
        done = run_python(start, SUB_INTERPRETER, "try_in_sub_interpreter()", BIG_CALLS, in_main)
    else:  # NumPy can be imported by one interpreter of a process, which it was
        done = run_python(start, SUB_INTERPRETER, "try_in_sub_interpreter()")
    lines = done.stdout.splitlines()
    assert lines
    for line in lines:
        assert line.startswith("ImportError: ")
        # NumPy refuses by words of its own.
        assert "interpreter" in line or "once per process" in line


# --- interrupts and memory -----------------------------------------------------------------------

# Calls that go on for long, many of them at one kind of work, with what they are made of.
LONG_CALLS = {
    "rnn_forward": (
        "x, weight, out = np.zeros((64, 999, 512)), np.zeros((512, 512)), np.zeros((64, 999, 512))",
        "er.rnn_forward(x, weight, weight, out=out)",
    ),
    "one_sequence": (
        "x, weight = np.zeros((1, 50_000, 512), 'f4'), np.zeros((512, 512), 'f4')",
        "er.rnn_forward(x, weight, weight)",
    ),
    "wide_input": (
        "x, weight = np.zeros((1, 99, 9999), 'f4'), np.zeros((8192, 9999), 'f4')",
        "er.lstm_forward(x, weight, weight[:, :2048])",
    ),
    "backward": (
        "x, weight = np.zeros((64, 200, 512), 'f4'), np.zeros((2048, 512), 'f4'); "
        "backward = er.lstm_vjp(x, weight, weight)[1]",
        "backward(x)",
    ),
    "backward_of_one_sequence": (
        "x, weight = np.zeros((1, 8_000, 512), 'f4'), np.zeros((1536, 512), 'f4'); "
        "backward = er.gru_vjp(x, weight, weight)[1]",
        "backward(x)",
    ),
    "backward_to_wide_input": (
        "x, weight = np.zeros((1, 99, 9999), 'f4'), np.zeros((4096, 9999), 'f4'); "
        "backward = er.lstm_vjp(x, weight, weight[:, :1024])[1]",
        "backward(x[..., :1024])",
    ),
    "scatter_add": (
        "target, updates = np.zeros((9, 1024)), np.ones(1024)",
        "er.scatter_add(target, ids(10**7), updates)",
    ),
    "gather": (
        "row, rows = np.zeros((1, 1024), 'f4'), np.ones((10**5, 1024), 'f4')",
        "er.gather(row, ids(10**5), out=rows)",
    ),
    "coalesce": (
        "rows, updates = np.arange(10**7) % 999, np.zeros(10**7, 'f4')",
        "er.coalesce(rows, updates, num_embeddings=999)",
    ),
    "one_bag": ("row = np.zeros((1, 1024), 'f4')", "er.embedding_bag(row, ids(5 * 10**6), [0])"),
    "one_bag_of_halves": (
        "row = np.zeros((1, 1024), 'f2')",
        "er.embedding_bag(row, ids(4 * 10**6), [0], mode='mean')",
    ),
    "one_bag_of_int8": (
        "row = er.quantize_rows(np.ones((1, 1000), 'f4'))",
        "er.embedding_bag(row, ids(4 * 10**6), [0])",
    ),
    "one_bag_of_scalars": (
        "row = np.zeros((1, 1), 'f8')",
        "er.embedding_bag(row, ids(4 * 10**7), [0])",
    ),
    "maximum": (
        "row = np.zeros((1, 1024), 'f4')",
        "er.embedding_bag(row, ids(10**6), [0], mode='max')",
    ),
    "products_of_a_bag": (
        "row, out = np.zeros((1, 1024), 'f4'), np.zeros(4 * 10**6, 'f4')",
        "core.bag_dot(row, 'float32', ids(out.size), np.array([0, out.size]), row, out)",
    ),
    "one_row_of_halves": (
        "row, update = np.zeros((1, 1024), 'f2'), np.zeros((1, 1024), 'f4')",
        "core.bag_add(update, ids(4 * 10**6), np.array([0, 4 * 10**6]), "
        "np.zeros(1, int), row, 'float16')",
    ),
    "padding": (
        "many, whole = ids(2 * 10**7), np.array([0, 2 * 10**7])",
        "core.without_row(many, whole, 0, 2)",
    ),
    "packing": (
        "weight = np.zeros((4 * 4096, 4096), 'f4')",
        "core.pack('lstm', weight, weight, None, None)",
    ),
    "search": (
        "many = np.zeros(10**9, np.int8)",
        "core.first_out_of_range(many, 1)",
    ),
    "sort": (
        "rows = np.random.default_rng(0).integers(0, 10**6, 10**7)",
        "er.coalesce(rows, np.zeros(rows.size), num_embeddings=10**6)",
    ),
}


@pytest.mark.slow
@needs_core
@pytest.mark.parametrize(("before", "call"), LONG_CALLS.values(), ids=LONG_CALLS)
@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.skip_under("asan", "tsan")
@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="has no clock of a thread")
def test_ctrl_c_is_noticed_within_50_ms(
    run_python: Any, before: str, call: str, threads: str
) -> None:
    # What is counted is the time that the calling thread ran, however busy the machine is, or that
    # all of them ran on average: it may sleep while the workers go on.
    code = f"""
        import os, signal, threading, time
        from embedrnn import _core as core

        # A job in the background is started with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        clock = time.pthread_getcpuclockid(threading.get_ident())
        clocks = lambda: np.array([time.clock_gettime(clock), time.process_time() / {threads}])
        ids = lambda n: np.zeros(n, np.int8)
        {before}

        def interrupt():
            global sent
            sent = clocks()
            os.kill(os.getpid(), signal.SIGINT)

        # The system's time to free what a whole call leaves comes on top: it is not the library's.
        result = {call}
        sent = clocks()
        del result
        freeing = (clocks() - sent).max()

        def waited(delay):
            timer = threading.Timer(delay, interrupt)
            timer.start()
            try:
                while True:
                    {call}
            except KeyboardInterrupt:
                return (clocks() - sent).max()

        for delay in (0.05, 0.1, 0.15, 0.23, 0.37):
            # A neighbour on the same core may spoil some of the tries.
            waits = []
            while not waits or min(waits) >= 0.05 + freeing:
                assert len(waits) < 12, (delay, freeing, waits)
                waits.append(waited(delay))
        assert big_calls() == big_calls()
    """
    run_python(BIG_CALLS, code, env={"EMBEDRNN_NUM_THREADS": threads}, timeout=60)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_an_error_of_a_worker_comes_to_the_caller(core: Any, threads: int) -> None:
    expected = big_gather() + big_rnn_forward()
    er.set_num_threads(threads)
    for _ in range(20):
        # Each time some worker has to come: the pool has neither lost them nor stayed taken.
        with pytest.raises(MemoryError):
            core.fail_in_workers(20)
    for actual, wanted in zip(big_gather() + big_rnn_forward(), expected, strict=True):
        assert_same_bits(actual, wanted)


@needs_core
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer here")
@pytest.mark.parametrize("call", FORKED_CALLS.values(), ids=FORKED_CALLS)
def test_an_error_of_a_signal_handler_comes_to_the_caller(run_python: Any, call: str) -> None:
    code = """
        import signal

        weight, row, ids = np.eye(256) / 2, np.ones((1, 1024)), np.arange(10**6) % 9
        expected, answer = big_calls(), call()

        def handler(*_):
            raise LookupError("from the handler")

        signal.signal(signal.SIGALRM, handler)
        for _ in range(2):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                while True:
                    call()
            except LookupError as error:
                assert str(error) == "from the handler"
            assert np.array_equal(call(), answer)
            assert big_calls() == expected
    """
    run_python(BIG_CALLS, f"call = lambda: {call}", code, env={"EMBEDRNN_NUM_THREADS": "2"})


@needs_core
@linux_only
@pytest.mark.skip_under("asan", "tsan")  # which need more address space than there is
def test_a_pool_without_memory_for_its_threads(run_python: Any) -> None:
    # A thread takes as much address space for its stack as the process was started with as limit.
    start = """
        import os, resource, sys, threading

        threading.stack_size(1 << 20)  # of Python's own threads
        limits = resource.getrlimit(resource.RLIMIT_STACK)
        if limits[0] != STACK:
            resource.setrlimit(resource.RLIMIT_STACK, (STACK, limits[1]))
            os.execv(sys.executable, [sys.executable, "-c", sys.orig_argv[-1]])
    """
    code = """
        er.set_num_threads(1)
        expected = big_calls()
        er.set_num_threads(4)
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        unlimited = resource.getrlimit(resource.RLIMIT_AS)
        for workers, most in (0, STACK // 2), (1, STACK * 3 // 2):
            resource.setrlimit(resource.RLIMIT_AS, (used + most, unlimited[1]))
            assert big_calls() == expected
            assert len(new_threads()) == workers, new_threads()
        resource.setrlimit(resource.RLIMIT_AS, unlimited)
        assert big_calls() == expected
        assert len(new_threads()) == 3, new_threads()
    """
    env = {"OPENBLAS_NUM_THREADS": "1"}
    run_python(f"STACK = {1 << 30}", start, BIG_CALLS, NEW_THREADS, code, env=env)


HUGE_CALLS = {
    "coalesce": "er.coalesce(np.zeros(3 * 10**8, np.int8), np.zeros(3 * 10**8, np.float32))",
    "gather": "er.gather(np.zeros((1, 4096)), np.zeros(10**7, np.int8))",
    "scatter_add": "er.scatter_add(np.zeros(5), broadcast(np.int8(0), 2**33), 1.0)",
    "output": "er.rnn_forward(broadcast(one, (1, 10**9, 1)), np.eye(99, 1), np.eye(99))",
}
HUGE_WEIGHT = "er.rnn_forward(np.ones((1, 1, 1)), broadcast(one, (n, 1)), broadcast(one, (n, n)))"


@needs_core
@pytest.mark.skip_under("asan", "tsan")
@pytest.mark.parametrize("backend_name", ["numpy", "native"])
@pytest.mark.parametrize("call", [*HUGE_CALLS.values(), HUGE_WEIGHT], ids=[*HUGE_CALLS, "weight"])
def test_memory_error(run_python: Any, call: str, backend_name: str) -> None:
    pytest.importorskip("resource")
    if call is HUGE_WEIGHT and backend_name == "numpy":
        pytest.skip("NumPy multiplies by repeated elements without a copy, and takes minutes")
    code = f"""
        import resource

        n, one, broadcast = 200_000, np.ones(()), np.broadcast_to
        expected = big_calls()
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
        try:
            {call}
        except MemoryError:
            print("MemoryError")
        assert big_calls() == expected
    """
    done = run_python(BIG_CALLS, code, env={"EMBEDRNN_BACKEND": backend_name})
    assert done.stdout.strip() == "MemoryError"


def test_sizes_whose_product_overflows(backend: str) -> None:
    x = np.broadcast_to(np.float32(1), (2**30, 2**30, 1))
    with pytest.raises((ValueError, MemoryError)):
        er.rnn_forward(x, np.ones((8, 1), np.float32), np.ones((8, 8), np.float32))


def test_references_are_given_back(backend: str) -> None:
    arguments = RnnCase("small", 3, 4, 5, 6).arguments(np.float32)
    table, indices, updates = values((5, 3), "f4"), np.array([1, 4]), values((2, 3), "f4")
    out, output = np.zeros_like(updates), np.zeros((3, 4, 6), np.float32)
    held = [*arguments.values(), table, indices, updates, out, output]
    gc.collect()
    before = [sys.getrefcount(array) for array in held]
    for _ in range(5):
        er.gather(table, indices)
        er.gather(table, indices, out=out)
        er.scatter_add(table, indices, updates)
        er.rnn_forward(**arguments)
        er.rnn_forward(**arguments, out=output)
    assert [sys.getrefcount(array) for array in held] == before


@linux_only
@pytest.mark.slow
@pytest.mark.skip_under("asan", "tsan")
def test_memory_does_not_grow(core: Any) -> None:
    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def calls(n: int) -> None:
        arguments = RnnCase("small", 3, 4, 50, 60).arguments(np.float32)
        table, indices = values((5, 300), "f4"), np.array([1, 4, 4])
        for _ in range(n):
            er.scatter_add(table, indices, er.gather(table, indices) * 0)
            er.rnn_forward(**arguments)

    calls(1000)
    before = resident()
    calls(10_000)
    assert resident() - before < 4 << 20


# --- the floating-point state --------------------------------------------------------------------


def test_import_leaves_subnormal_numbers_alone(run_python: Any) -> None:
    before = """
        import numpy as np

        tiny = np.float32(1e-39)
        assert tiny * np.float32(1) == tiny
    """
    after = """
        assert tiny * np.float32(1) == tiny
        big_calls()
        assert tiny * np.float32(1) == tiny
    """
    run_python(before, BIG_CALLS, after)


# What sets a state, by the C library: the direction of rounding by its number, subnormal numbers
# as zero by the bits of the register that fegetenv stores, as torch.set_flush_denormal sets them.
FLOAT_STATES = {
    "rounding_up": """
        upward = 0x400000 if ON_ARM else 0x800
        before = libm.fegetround()
        enter, leave = lambda: libm.fesetround(upward), lambda: libm.fesetround(before)
    """,
    "flushing_to_zero": """
        state, flushing = (ctypes.c_uint32 * 16)(), (ctypes.c_uint32 * 16)()
        libm.fegetenv(state), libm.fegetenv(flushing)
        flushing[0 if ON_ARM else 7] |= 1 << 24 if ON_ARM else 0x8040
        enter, leave = lambda: libm.fesetenv(flushing), lambda: libm.fesetenv(state)
    """,
}


@needs_core
@linux_only
@pytest.mark.skipif(
    platform.machine() not in {"x86_64", "aarch64"} or platform.libc_ver()[0] != "glibc",
    reason="knows the states of glibc on two machines",
)
@pytest.mark.parametrize("code", FLOAT_STATES.values(), ids=FLOAT_STATES)
def test_every_thread_computes_in_the_state_of_the_caller(run_python: Any, code: str) -> None:
    start = f"""
        import ctypes, ctypes.util

        import numpy as np
        import embedrnn as er

        ON_ARM = {platform.machine() == "aarch64"}
        libm = ctypes.CDLL(ctypes.util.find_library("m"))
        rng = np.random.default_rng(0)
        tiny = (rng.standard_normal((4096, 64)) * 1e-38).astype(np.float32)
        ids = rng.integers(0, 4096, 60_000)
        exponents = rng.integers(-9, 9, (4096, 64))
        table = np.ldexp(rng.standard_normal((4096, 64), np.float32), exponents)
        x, weight = table[:2048].reshape(64, 32, 64), table[:64]

        def big_calls():
            sums = [er.embedding_bag(rows, ids.reshape(-1, 60)) for rows in (table, tiny)]
            output, _ = er.rnn_forward(x, weight, weight / 99)
            return b"".join(a.tobytes() for a in (*sums, output))

        def calls_in_the_state(threads):
            er.set_num_threads(threads)
            enter()
            try:
                return big_calls()
            finally:
                leave()
    """
    end = """
        er.set_num_threads(2)
        usual = big_calls()
        expected = calls_in_the_state(1)
        assert expected != usual, "the state does not show"
        for _ in range(20):
            assert calls_in_the_state(2) == expected
            assert big_calls() == usual, "a worker has kept the state"
    """
    run_python(start, code, end)


@pytest.mark.parametrize("threads", THREADS)
def test_subnormal_numbers_flow_in_every_thread(backend: str, dtype: Any, threads: int) -> None:
    er.set_num_threads(threads)
    tiny = np.finfo(dtype).smallest_subnormal
    x = (np.arange(64 * 200 * 16) % 1000 * tiny).astype(dtype).reshape(64, 200, 16)
    identity, zeros = np.eye(16, dtype=dtype), np.zeros((16, 16), dtype)
    output, _ = er.rnn_forward(x, identity, zeros, nonlinearity="relu")
    assert_same_bits(output, x)
    rows = x.reshape(-1, 16)
    sums = er.scatter_add(np.zeros((8, 16), dtype), np.arange(len(rows)) % 8, rows)
    expected = math.fsum(rows[::8, 0].tolist())
    assert sums[0, 0] == expected
    assert dtype(tiny) * dtype(1) == tiny
