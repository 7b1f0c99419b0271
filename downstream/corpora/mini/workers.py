"""The processes that share the work of making clips, seen from the side that started them."""

import contextlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Self

from downstream.processes import started
from upstream.errors import BenchmarkError, ResourceError

_CLIPS_PER_REQUEST = 8


class Workers:
    """So many worker processes. They end with the `with` block, or when this process is no more."""

    def __init__(self, count: int, keep_open: int) -> None:
        """`keep_open` is the file descriptor of a lock. Workers hold it too, so that it outlives a killed parent."""
        self._count = count
        self._keep_open = keep_open
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        for _ in range(self._count):
            process = started("downstream.corpora.mini.worker", text=True, pass_fds=(self._keep_open,))
            self._processes.append(process)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop()

    def make(
        self, folder: Path, corpus: str, seed: int, scale: float, clips: int, made: Callable[[int], object]
    ) -> None:
        """Make all clips of a corpus in a folder; `made` is called with the number of those that are new."""
        requests: SimpleQueue[dict] = SimpleQueue()
        replies: SimpleQueue[tuple[int, dict]] = SimpleQueue()
        starts = range(0, clips, _CLIPS_PER_REQUEST)
        for start in starts:
            stop = min(start + _CLIPS_PER_REQUEST, clips)
            requests.put(
                {"folder": str(folder), "corpus": corpus, "seed": seed, "scale": scale, "start": start, "stop": stop}
            )
        self._threads = [Thread(target=_serve, args=(one, requests, replies), daemon=True) for one in self._processes]
        for thread in self._threads:
            thread.start()
        try:
            for _ in starts:
                count, reply = replies.get()
                if reply:
                    raise _failure(folder, reply)
                made(count)
        except BaseException:
            self._stop()  # before the folder is removed, or a worker would go on writing into it
            raise

    def _stop(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.stdout.close()
        self._processes, self._threads = [], []


def _serve(
    process: "subprocess.Popen[str]", requests: "SimpleQueue[dict]", replies: "SimpleQueue[tuple[int, dict]]"
) -> None:
    """Hands requests to one worker until there are none left, or the worker is gone."""
    while True:
        try:
            request = requests.get_nowait()
        except Empty:
            return
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        gone = {} if line else {"error": f"a worker process ended with code {process.wait()}"}
        replies.put((request["stop"] - request["start"], gone or json.loads(line)))
        if gone:
            return


def _failure(folder: Path, reply: dict) -> BenchmarkError:
    if "disk" in reply:
        return ResourceError(
            f"cannot write to {folder.parent}: {reply['disk']}. Free some space, or choose another --out."
        )
    return BenchmarkError(f"making a mini corpus failed: {reply['error']}")
