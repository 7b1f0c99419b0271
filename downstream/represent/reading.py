"""Reading ahead: what is wanted next is made ready on threads, in order, and no further ahead than memory allows."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from downstream.processes import cores

AHEAD_SECONDS = 120.0  # of audio that may wait for the upstream
THREADS = min(32, cores())
_FILE_SECONDS = 1.0  # what each file counts besides its audio, so that there are not thousands of short ones

T = TypeVar("T")
Key = TypeVar("Key")


def read_ahead(
    read: Callable[[Key], T],
    rows: Sequence[Key],
    seconds: Iterable[float],
    limit: float = AHEAD_SECONDS,
    workers: int = THREADS,
) -> Iterator[T]:
    """`read(row)` for all rows in order, on threads, at most about `limit` seconds ahead of whoever takes them.

    What goes wrong with a row is raised where its turn is.
    """
    yield from read_on(read, zip(rows, seconds, strict=True), limit, workers)


def read_on(
    read: Callable[[Key], T], keys: Iterable[tuple[Key, float] | None], limit: float, workers: int
) -> Iterator[T]:
    """`read_ahead` of keys that become known on the way. None among them: no more until another one was taken."""
    coming, next_key = iter(keys), None
    waiting: deque[tuple[Future[T], float]] = deque()
    held = 0.0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-ahead")
    try:
        while True:
            while (next_key := next_key or next(coming, None)) is not None:
                cost = _FILE_SECONDS + next_key[1]
                # The one whose turn it is and the next are always asked for, however long they are.
                if len(waiting) > 1 and held + cost > limit:
                    break
                waiting.append((pool.submit(read, next_key[0]), cost))
                held, next_key = held + cost, None
            if not waiting:
                return
            future, cost = waiting.popleft()
            held -= cost
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def prefetched(read: Callable[[Key], T], keys: Sequence[Key], count: int) -> Iterator[T]:
    """What is read for each key, so many keys ahead on a thread of its own. Close it when it is left early."""
    if count:
        yield from read_ahead(read, keys, [0.0] * len(keys), count, workers=1)
    else:
        yield from map(read, keys)
