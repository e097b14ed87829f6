"""A stream of sequences: batches of like length, run in the background, results in order."""

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from embedrnn import _check
from embedrnn._check import stream as _check_stream

if TYPE_CHECKING:
    from concurrent.futures import Future

Ids = npt.NDArray[np.integer[Any]]
_Result = TypeVar("_Result")
_Start = Callable[[Sequence[Ids]], "Future[Sequence[Any]]"]

# So many batches are read before they are sorted. Lengths like those of sentences, 20 in the mean,
# padded to the longest of their batch of 8,192 would be 1.3 times the indices: 4.3 times without
# sorting, and 1.1 times in windows of 16.
_WINDOW = 8


class _Waiting(NamedTuple):
    """A sequence, and where its result will be: in those of a batch, at this place."""

    ids: Ids
    batch: "Future[Sequence[Any]]"
    place: int


def in_batches(
    sequences: Iterable[Any],
    run: Callable[[Sequence[Ids]], Sequence[_Result]],
    *,
    batch_tokens: int,
    progress: bool = False,
) -> Iterator[_Result]:
    """Yield a result for each sequence of a stream, which may be endless, in its order.

    `run` takes a list of arrays (T,) of like length, together `batch_tokens` indices at most unless
    one alone has more, and returns a result for each. One thread in the background calls it, in a
    copy of the context that this was called in. Meanwhile this thread reads on: a window of 8
    batches, which it sorts. Two windows are held at most: no more than 16 * `batch_tokens` indices,
    an empty sequence being one, and the last sequence of each have been read and not been yielded.

    Arguments are checked here, and nothing is read before the first result is asked for. An error
    of the stream, or of an item that is no sequence of integers, comes behind the results of all
    items before. A batch that fails is run again, one sequence after the other: what comes is the
    error of the first one that fails by itself, with its number in a note, behind the results of
    all before it. What is no `Exception`, as KeyboardInterrupt, comes at once. After any of these,
    and where the generator is closed early, no batch begins, and the one that runs is waited for.
    """
    items, bar = _check_stream.stream("sequences", sequences), _check_stream.bar_of(progress)
    size, context = _check.size("batch_tokens", batch_tokens), copy_context()
    results = _results(items, lambda batch: context.run(run, batch), size)
    return results if bar is None else _shown(results, bar, _length(sequences))


def _shown(results: Any, bar: Any, total: int | None) -> Iterator[Any]:
    with closing(results), bar(total=total, unit=" seq") as shown:
        for result in results:
            shown.update()
            yield result


def _length(sequences: Any) -> int | None:
    try:
        return len(sequences)
    except TypeError:
        return None


def _results(
    items: Iterator[Any], run: Callable[[Sequence[Ids]], Sequence[Any]], size: int
) -> Iterator[Any]:
    futures: Any = importlib.import_module("concurrent.futures")  # which not everybody needs
    executor = futures.ThreadPoolExecutor(1, "embedrnn-stream")

    def start(batch: Sequence[Ids]) -> Any:
        return executor.submit(run, batch)

    try:
        number, before = 0, iter(())
        for window, error in _windows(items, _WINDOW * size):
            behind = _in_order(_started(window, size, start), number, start)
            yield from before
            number, before = number + len(window), behind
            if error is not None:
                yield from before
                raise error
        yield from before
    finally:
        with suppress(RuntimeError):  # of that thread, where it collects this and would join itself
            executor.shutdown(cancel_futures=True)


def _windows(items: Iterator[Any], size: int) -> Iterator[tuple[list[Ids], Exception | None]]:
    """Yield about so many indices at a time; with what an error cut short comes the error."""
    number, ended = 0, None
    while ended is None:
        window, held = list[Ids](), 0
        try:
            while held < size:
                window.append(_check_stream.streamed("sequences", number, next(items)))
                number, held = number + 1, held + max(1, len(window[-1]))
        except Exception as error:
            ended = error
        yield window, None if isinstance(ended, StopIteration) else ended


def _started(window: list[Ids], size: int, start: _Start) -> list[_Waiting]:
    """Start the batches of a window."""
    waiting: dict[int, _Waiting] = {}
    for members in _alike([max(1, len(ids)) for ids in window], size):
        batch = start([window[i] for i in members])
        waiting |= {i: _Waiting(window[i], batch, place) for place, i in enumerate(members)}
    return [waiting[i] for i in range(len(window))]


def _alike(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield the numbers of those that make a batch, from the shortest to the longest."""
    members, held = list[int](), 0
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if members and held + lengths[i] > size:
            yield members
            members, held = [], 0
        members.append(i)
        held += lengths[i]
    if members:
        yield members


def _in_order(window: list[_Waiting], first: int, start: _Start) -> Iterator[Any]:
    """Yield results as they come to be there; the first sequence has this number."""
    for number, (ids, batch, place) in enumerate(window, first):
        if isinstance(batch.exception(), Exception):
            yield _alone(number, ids, start)
        else:
            yield batch.result()[place]


def _alone(number: int, ids: Ids, start: _Start) -> Any:
    """Return the result of one sequence by itself, or raise its own error."""
    try:
        (result,) = start([ids]).result()
    except Exception as error:
        error.add_note(f"It comes from sequences[{number}], alone in a batch.")
        raise
    return result
