"""Streams: results in order, how much is held, what an error leaves, and the end of the thread."""

import contextlib
import gc
import io
import itertools
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import embedrnn as er
from embedrnn._backend import current
from embedrnn.layers.stream import in_batches

THREAD = "embedrnn-stream"


def sums(batch: Sequence[np.ndarray]) -> list[int]:
    return [int(ids.sum()) for ids in batch]


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREAD)]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert threads() == []


def drawn(n: int, longest: int = 40, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 100, rng.integers(0, longest)) for _ in range(n)]


def until_error(stream: Iterator[Any]) -> tuple[list[Any], Exception]:
    """Return what came, and the error behind it."""
    found: list[Any] = []
    try:
        found.extend(stream)  # which keeps what came before an error
    except Exception as error:
        return found, error
    raise AssertionError("no error came")


# --- order and batches -------------------------------------------------------------------------


@pytest.mark.parametrize("batch_tokens", [1, 7, 100, 10**6])
@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_results_are_in_the_order_of_the_stream(n: int, batch_tokens: int) -> None:
    sequences = drawn(n)
    expected = [ids.sum() for ids in sequences]
    assert list(in_batches(sequences, sums, batch_tokens=batch_tokens)) == expected
    assert list(in_batches(iter(sequences), sums, batch_tokens=batch_tokens)) == expected


@pytest.mark.parametrize(
    "item",
    [[3, 4], (3, 4), range(3, 5), np.array([3, 4], np.uint8), np.array([3, 0, 4])[::2]],
    ids=["list", "tuple", "range", "uint8", "strided"],
)
def test_items_of_every_kind(item: Any) -> None:
    assert list(in_batches([item], sums, batch_tokens=10)) == [7]


def test_empty_sequences() -> None:
    empty = np.zeros(0, np.int32)
    assert list(in_batches([[], [5], empty, ()], sums, batch_tokens=2)) == [0, 5, 0, 0]


def test_rows_of_an_array_are_sequences() -> None:
    assert list(in_batches(np.arange(6).reshape(3, 2), sums, batch_tokens=2)) == [1, 5, 9]


def test_batches_hold_like_lengths() -> None:
    seen: list[list[int]] = []

    def run(batch: Sequence[np.ndarray]) -> list[int]:
        seen.append([len(ids) for ids in batch])
        return sums(batch)

    list(in_batches(drawn(1000), run, batch_tokens=200))
    lengths = [length for batch in seen for length in batch]
    assert sorted(lengths) == sorted(len(ids) for ids in drawn(1000))
    for batch in seen:
        assert sum(batch) <= 200
    padded = sum(len(batch) * max(batch) for batch in seen)
    assert padded < 1.3 * sum(lengths)
    assert len(seen) < 1.4 * sum(lengths) / 200


def test_a_sequence_that_is_too_long_is_a_batch_by_itself() -> None:
    seen: list[list[int]] = []

    def run(batch: Sequence[np.ndarray]) -> list[int]:
        seen.append([len(ids) for ids in batch])
        return sums(batch)

    list(in_batches([[1] * 9, [1], [1] * 8, [1]], run, batch_tokens=4))
    assert seen == [[1, 1], [8], [9]]


def test_a_stream_may_write_to_the_same_memory() -> None:
    def rewritten() -> Iterator[np.ndarray]:
        memory = np.empty(3, np.int64)
        for i in range(50):
            memory[:] = i
            yield memory

    found = list(in_batches(rewritten(), sums, batch_tokens=6))
    assert found == [3 * i for i in range(50)]


# --- what is held ------------------------------------------------------------------------------


def counted(items: Iterable[Any], read: list[int]) -> Iterator[Any]:
    for item in items:
        read[0] += 1
        yield item


@pytest.mark.parametrize("item", [[], [1], [1, 2, 3]], ids=len)
def test_two_windows_are_held(item: list[int]) -> None:
    read, yielded, most = [0], 0, 0
    stream = counted(itertools.repeat(item, 200_000 // (1 + len(item))), read)
    for _ in in_batches(stream, sums, batch_tokens=300):
        yielded += 1
        most = max(most, read[0] - yielded)
    assert yielded == read[0] == 200_000 // (1 + len(item))
    assert most <= 16 * 300 // max(1, len(item))


def test_the_next_window_is_read_while_a_batch_runs() -> None:
    began, read_on = threading.Event(), threading.Event()

    def items() -> Iterator[list[int]]:
        yield from [[1]] * 8
        assert began.wait(30)
        read_on.set()
        yield [2]

    def run(batch: Sequence[np.ndarray]) -> list[int]:
        began.set()
        assert read_on.wait(30)
        return sums(batch)

    assert list(in_batches(items(), run, batch_tokens=1)) == [1] * 8 + [2]


def test_nothing_is_read_before_it_is_asked_for() -> None:
    read = [0]
    stream = in_batches(counted([[1]] * 9, read), sums, batch_tokens=1)
    assert read == [0]
    assert threads() == []
    assert next(stream) == 1
    assert threads() != []
    assert len(list(stream)) == 8


# --- errors ------------------------------------------------------------------------------------

NOT_SEQUENCES: dict[str, tuple[Any, type[Exception], str]] = {
    "floats": ([1.0], TypeError, r"^sequences\[57\] must be a sequence of integers, got float64$"),
    "bools": ([True], TypeError, "must be a sequence of integers, got bool"),
    "text": ("text", TypeError, "must be a sequence of integers, got 'text'"),
    "none": (None, TypeError, r"sequences\[57\] must be array_like, got NoneType"),
    "float_array": (np.zeros(0), TypeError, "must be a sequence of integers, got float64"),
    "too_large": ([2**64], TypeError, "must be a sequence of integers, got object"),
    "number": (3, ValueError, r"^sequences\[57\] must have shape \(T,\), got \(\)$"),
    "matrix": ([[1, 2]], ValueError, r"must have shape \(T,\), got \(1, 2\)"),
    "ragged": ([[1], [2, 3]], ValueError, r"sequences\[57\] must be one array, got sequences of"),
    "masked": (np.ma.array([1, 2], mask=[0, 1]), TypeError, r"sequences\[57\] .*without a mask"),
}


@pytest.mark.parametrize("name", NOT_SEQUENCES)
@pytest.mark.parametrize("batch_tokens", [1, 4, 50, 10**6])
def test_an_item_that_is_no_sequence_comes_behind_the_results_before(
    name: str, batch_tokens: int
) -> None:
    item, error, message = NOT_SEQUENCES[name]
    sequences = drawn(57)
    stream = in_batches([*sequences, item, [1]], sums, batch_tokens=batch_tokens)
    found, raised = until_error(stream)
    assert found == sums(sequences)
    with pytest.raises(error, match=message):
        raise raised
    assert list(stream) == []


@pytest.mark.parametrize("at", [0, 1, 57])
def test_an_error_of_the_stream_comes_behind_the_results_before(at: int) -> None:
    sequences, error = drawn(at), OSError("the disk is gone")

    def items() -> Iterator[Any]:
        yield from sequences
        raise error

    found, raised = until_error(in_batches(items(), sums, batch_tokens=100))
    assert found == sums(sequences)
    assert raised is error


def refusing(bad: int) -> Any:
    def run(batch: Sequence[np.ndarray]) -> list[int]:
        for row, ids in enumerate(batch):
            if bad in ids:
                raise IndexError(f"bad index in row {row}")
        return sums(batch)

    return run


@pytest.mark.parametrize("batch_tokens", [1, 4, 50, 10**6])
@pytest.mark.parametrize("at", [0, 1, 140, 299])
def test_an_error_of_a_batch_is_that_of_its_first_bad_sequence(at: int, batch_tokens: int) -> None:
    sequences = drawn(300)
    sequences[at] = np.array([1, 777, 2])
    sequences[-1] = np.array([777])
    stream = in_batches(sequences, refusing(777), batch_tokens=batch_tokens)
    found, raised = until_error(stream)
    assert found == sums(sequences[:at])
    with pytest.raises(IndexError, match=r"^bad index in row 0"):
        raise raised
    assert raised.__notes__ == [f"It comes from sequences[{at}], alone in a batch."]
    assert list(stream) == []


def test_the_error_that_comes_first_in_the_stream_is_raised() -> None:
    sequences = [[1], [777], [2], "no sequence"]
    found, raised = until_error(in_batches(sequences, refusing(777), batch_tokens=100))
    assert found == [1]
    assert isinstance(raised, IndexError)


def test_an_error_of_many_together_is_no_error_of_each() -> None:
    def run(batch: Sequence[np.ndarray]) -> list[int]:
        if len(batch) > 1:
            raise MemoryError
        return sums(batch)

    sequences = drawn(50)
    assert list(in_batches(sequences, run, batch_tokens=100)) == sums(sequences)


@pytest.mark.parametrize("where", ["stream", "run"])
def test_what_is_no_exception_comes_at_once(where: str) -> None:
    def items() -> Iterator[list[int]]:
        yield [1]
        if where == "stream":
            raise KeyboardInterrupt
        yield [2]

    def run(batch: Sequence[np.ndarray]) -> list[int]:
        raise SystemExit if where == "run" else AssertionError

    stream = in_batches(items(), run, batch_tokens=1)
    with pytest.raises(KeyboardInterrupt if where == "stream" else SystemExit):
        next(stream)
    assert list(stream) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt, also in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_comes_through_while_a_batch_is_waited_for() -> None:
    ran = []

    def run(batch: Sequence[np.ndarray]) -> list[int]:
        ran.append(len(batch))
        if len(ran) == 10:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.05)
        return sums(batch)

    with pytest.raises(KeyboardInterrupt):
        list(in_batches([[1]] * 100, run, batch_tokens=1))
    assert len(ran) <= 11


# --- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "drop", "break"])
def test_no_batch_begins_once_the_stream_is_closed(how: str) -> None:
    ran = []

    def run(batch: Sequence[np.ndarray]) -> list[int]:
        ran.append(len(batch))
        time.sleep(0.01)
        return sums(batch)

    stream = in_batches(itertools.repeat([1]), run, batch_tokens=1)
    assert next(stream) == 1
    if how == "close":
        stream.close()
    elif how == "break":
        with contextlib.closing(stream):
            for _ in stream:
                break
    else:
        del stream
    assert threads() == []
    assert len(ran) <= 4


def test_a_stream_that_was_never_begun_is_closed() -> None:
    stream = in_batches([[1]], sums, batch_tokens=1)
    stream.close()
    assert list(stream) == []


def test_the_thread_in_the_background_may_collect_the_stream() -> None:
    ran, gone = [], threading.Event()

    def run(batch: Sequence[np.ndarray]) -> list[int]:
        ran.append(len(batch))
        if len(ran) > 1:
            assert gone.wait(30)
            gc.collect()
        return sums(batch)

    stream = in_batches(itertools.repeat([1]), run, batch_tokens=1)
    circle: list[Any] = [stream]
    circle.append(circle)
    gc.disable()  # lest this thread should do it
    try:
        assert next(stream) == 1
        del circle, stream
        gone.set()
        for thread in threads():
            thread.join(30)
    finally:
        gc.enable()
    assert len(ran) == 2


def test_a_process_may_end_in_the_middle_of_a_stream(run_python: Any) -> None:
    code = """
    import itertools, time
    from embedrnn.layers.stream import in_batches

    def run(batch):
        time.sleep(0.01)
        return batch

    stream = in_batches(itertools.repeat([1]), run, batch_tokens=1)
    print(next(stream))
    """
    assert run_python(code).stdout == "[1]\n"


# --- context and arguments ---------------------------------------------------------------------


def test_batches_run_in_the_context_of_the_call() -> None:
    outside = current()
    with er.use_backend("numpy"):
        inside = current()
        stream = in_batches([[1]] * 20, lambda batch: [current()] * len(batch), batch_tokens=1)
    assert current() is outside
    assert set(map(id, stream)) == {id(inside)}


@pytest.mark.parametrize("progress", [False, True])
def test_arguments_are_checked_in_the_call(progress: bool) -> None:
    def call(sequences: Any = (), **arguments: Any) -> None:
        in_batches(sequences, sums, **{"batch_tokens": 1, "progress": progress} | arguments)

    with pytest.raises(TypeError, match=r"^sequences must be an iterable of sequences, got int$"):
        call(3)
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"^batch_tokens must be 1 or more, got {size}$"):
            call(batch_tokens=size)
    with pytest.raises(TypeError, match=r"^batch_tokens must be an integer, got float$"):
        call(batch_tokens=1.0)
    with pytest.raises(TypeError, match=r"^progress must be True or False, got 'yes'$"):
        call(progress="yes")


# --- progress ----------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("sized", [True, False])
def test_a_bar_shows_how_many_results_there_are(
    sized: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    sequences = [[1]] * 30
    stream = in_batches(
        sequences if sized else iter(sequences), sums, batch_tokens=4, progress=True
    )
    assert list(stream) == [1] * 30
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    last = shown.split("\r")[-1]
    assert ("100%" in last and "30/30" in last) if sized else "30 seq" in last
    assert last.endswith("\n")


def test_a_stream_with_a_bar_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    stream = in_batches(itertools.repeat([1]), sums, batch_tokens=4, progress=True)
    assert next(stream) == 1
    stream.close()
    assert threads() == []


def test_without_tqdm_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"^progress=True needs tqdm: pip install tqdm$"):
        in_batches([], sums, batch_tokens=1, progress=True)
    assert list(in_batches([[1]], sums, batch_tokens=1)) == [1]
