"""Measuring STOI and PESQ of many pairs of waves in parallel, seen from the side that has the waves."""

import contextlib
import json
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple, Self

import numpy as np

from downstream.metrics import quality
from downstream.processes import cores, started
from upstream.errors import BenchmarkError, DataError

_AHEAD = 2  # pairs handed out for each process: one in work, the other so that it never waits

Values = dict[str, float | None]


class Pair(NamedTuple):
    """The waves to compare, and the name of their utterance for messages."""

    name: str
    reference: np.ndarray
    estimate: np.ndarray


class _Request(NamedTuple):
    index: int
    name: str
    content: bytes


class QualityWorkers:
    """Processes that measure. They start with the first pair and end with the `with` block, or with this process.

    They are worth keeping from one evaluation to the next: each takes about a second to start.
    """

    def __init__(self, count: int | None = None) -> None:
        """As many as there are cores, unless told otherwise."""
        self._count = count or cores()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop()
        self._errors.close()

    def measure(self, pairs: Iterable[Pair], measures: Sequence[str] = ("stoi", "pesq")) -> list[Values]:
        """The measures of every pair, in order; None where one is undefined.

        `pairs` is read in the calling thread, a few ahead of the processes.
        """
        quality.require(measures)
        try:
            return self._measured(pairs, measures)
        except BaseException:
            self._stop()  # replies are still to come, which would be taken for those of the next call
            raise

    def _measured(self, pairs: Iterable[Pair], measures: Sequence[str]) -> list[Values]:
        results: list[Values] = []
        pending = 0
        for pair in pairs:
            if pending == _AHEAD * self._count:
                self._collect(results)
                pending -= 1
            request = _Request(len(results), pair.name, _encoded(pair, measures))
            if not self._processes:
                self._start()
            self._requests.put(request)
            results.append({})
            pending += 1
        for _ in range(pending):
            self._collect(results)
        return results

    def _start(self) -> None:
        self._errors.seek(0)
        self._errors.truncate()
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._replies: SimpleQueue[tuple[_Request, dict]] = SimpleQueue()
        for _ in range(self._count):
            process = started("downstream.metrics.quality_worker", stderr=self._errors)
            self._processes.append(process)
            thread = Thread(target=self._serve, args=(process,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, process: "subprocess.Popen[bytes]") -> None:
        """Hands requests to one process until there are none left, or the process is gone."""
        while request := self._requests.get():
            try:
                process.stdin.write(request.content)
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:
                line = b""
            self._replies.put((request, json.loads(line) if line else {"error": _ending(process.wait())}))
            if not line:
                return

    def _collect(self, results: list[Values]) -> None:
        """Wait for the measures of one pair, whichever is ready first."""
        request, reply = self._replies.get()
        if "values" not in reply:
            raise self._failure(request.name, reply["error"])
        results[request.index] = reply["values"]

    def _failure(self, name: str, error: str) -> BenchmarkError:
        self._errors.seek(0)
        tail = self._errors.read().decode("utf-8", errors="replace")[-2000:].strip()
        return BenchmarkError(
            f"{name}: its quality could not be measured: {error}\nThe last that was written:\n{tail or '(nothing)'}"
        )

    def _stop(self) -> None:
        for process in self._processes:
            process.kill()
            self._requests.put(None)
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.wait()
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.stdout.close()
        self._processes, self._threads = [], []


def _encoded(pair: Pair, measures: Sequence[str]) -> bytes:
    try:
        waves = quality.checked(pair.reference, pair.estimate)
    except DataError as error:
        raise DataError(f"{pair.name}: {error}") from error
    header = {"measures": list(measures), "samples": len(waves[0])}
    return b"".join((json.dumps(header).encode(), b"\n", *(wave.tobytes() for wave in waves)))


def _ending(code: int) -> str:
    name = signal.Signals(-code).name if code < 0 else f"code {code}"
    if name in ("SIGSEGV", "SIGABRT"):
        way_out = (
            "The pesq library crashes on a wave with more than about 50 stretches of speech: cut it into shorter ones."
        )
    else:
        way_out = "If the machine is short of memory, free some; then run the same command again."
    return f"the process that measured it ended with {name}. {way_out}"
