"""Writing shards on a thread of its own, so that the upstream need not wait for the disk."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from downstream.represent import store

_WAITING_BYTES = 128 << 20  # of records that may wait for the disk


@dataclass
class Shard:
    """A shard that is to be made of some rows. What is `held` for it is let go when it is written, or given up."""

    path: Path
    rows: np.ndarray
    held: ExitStack


class _GivenUpError(Exception):
    """Nobody will say the rest of a shard."""


class Writer:
    """Writes one shard after the other. What goes wrong is raised by the next call, and by `close`."""

    def __init__(self) -> None:
        self.seconds, self.bytes = 0.0, 0
        self._changed = threading.Condition()
        self._waiting: deque[tuple[object, int]] = deque()
        self._size = 0
        self._idle = 0.0  # seconds that the shard at hand was waited for
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="shard-writer", daemon=True)
        self._thread.start()

    def begin(self, shard: Shard) -> None:
        self._put(shard)

    def add(self, arrays: Sequence[np.ndarray], facts: dict) -> None:
        """The next record of the shard that was begun; waits while too much waits for the disk."""
        self._put((arrays, facts), sum(array.nbytes for array in arrays))

    def finish(self) -> None:
        """The shard that was begun is complete."""
        self._put(None)

    def close(self, give_up: bool = False) -> None:
        """Wait until everything is on the disk. With `give_up`, of a shard that is not complete nothing is left."""
        with self._changed:
            self._waiting.append((_GivenUpError(), 0))
            self._changed.notify_all()
        self._thread.join()
        if self._error is not None and not give_up:
            raise self._error

    def _put(self, what: object, size: int = 0) -> None:
        with self._changed:
            while self._error is None and self._waiting and self._size + size > _WAITING_BYTES:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            self._waiting.append((what, size))
            self._size += size
            self._changed.notify_all()

    def _take(self) -> object:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            what, size = self._waiting.popleft()
            self._size -= size
            self._changed.notify_all()
        if isinstance(what, _GivenUpError):
            raise what
        return what

    def _run(self) -> None:
        try:
            while True:
                shard = self._take()
                start, self._idle = time.perf_counter(), 0.0
                with shard.held:
                    store.write_shard(shard.path, self._records())
                    self.bytes += shard.path.stat().st_size
                self.seconds += time.perf_counter() - start - self._idle
        except _GivenUpError:
            pass
        except BaseException as error:
            with self._changed:
                self._error = error
                for what, _ in self._waiting:
                    if isinstance(what, Shard):
                        what.held.close()
                self._changed.notify_all()

    def _records(self) -> Iterator[tuple[Sequence[np.ndarray], dict]]:
        while True:
            start = time.perf_counter()
            record = self._take()
            self._idle += time.perf_counter() - start
            if record is None:
                return
            yield record
