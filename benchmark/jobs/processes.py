"""Jobs done by processes of this machine, several at a time: the side that hands them out."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Self

from benchmark.jobs.job import Job, Result, Step
from downstream.processes import SHARE, python_path, share
from upstream.errors import ResourceError


@dataclass
class _Worker:
    process: subprocess.Popen
    number: int
    step: int | None = None  # that it is at work on


class WorkerProcesses:
    """So many processes, each with its share of the cores. They end with the `with` block, or with this process."""

    def __init__(self, count: int, setting: dict, say: Callable[[str], None]) -> None:
        """`setting` is what every worker is told before its first job."""
        self.width = count
        self._setting, self._say = setting, say
        self._events: SimpleQueue[tuple[_Worker, str]] = SimpleQueue()
        self._workers: list[_Worker] = []
        self._before: object = None  # what SIGTERM did

    def __enter__(self) -> Self:
        """SIGTERM does here what Ctrl-C does, as it does in a training: workers are not left behind."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Idle workers end when their input does; with an error those at work are told to save where they are."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
        for worker in self._workers:
            if kind is not None and worker.step is not None:
                worker.process.send_signal(signal.SIGINT)
            with suppress(OSError):
                worker.process.stdin.close()
        try:
            for worker in self._workers:
                worker.process.wait()
        except KeyboardInterrupt:  # a second Ctrl-C does not wait
            for worker in self._workers:
                worker.process.kill()

    def run(self, steps: Sequence[Step], begin: Callable[[int], Job]) -> Iterator[tuple[int, Result]]:
        """Of the steps that can begin, those that take longest first: the short ones fill what is left at the end."""
        waiting = dict(enumerate(steps))
        done: set[int] = set()
        while len(done) < len(steps):
            while (worker := self._idle()) is not None:
                able = [number for number, step in waiting.items() if step.after <= done]
                if not able:
                    break
                number = max(able, key=lambda number: (steps[number].seconds, -number))
                del waiting[number]
                self._give(worker, number, begin(number))
            worker, line = self._events.get()
            told = json.loads(line) if line else {"result": self._died(worker, steps).as_json()}
            if "say" in told:
                self._say(told["say"])
            elif worker.step is not None:
                number, worker.step = worker.step, None
                done.add(number)
                yield number, Result.from_json(told["result"])

    def _idle(self) -> _Worker | None:
        idle = next((worker for worker in self._workers if worker.step is None), None)
        if idle is None and len(self._workers) < self.width:
            return self._start()
        return idle

    def _start(self) -> _Worker:
        taken = {worker.number for worker in self._workers}
        number = next(number for number in range(self.width) if number not in taken)
        own = {name: str(share(self.width)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", SHARE)}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmark.jobs.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which passes it on
            env={"OMP_WAIT_POLICY": "PASSIVE"} | os.environ | own | {"PYTHONPATH": python_path()},
            text=True,
        )
        worker = _Worker(process, number)
        self._workers.append(worker)
        self._send(worker, self._setting | {"number": number})
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        return worker

    def _give(self, worker: _Worker, number: int, job: Job) -> None:
        worker.step = number
        self._send(worker, job.as_json())

    def _send(self, worker: _Worker, content: dict) -> None:
        with suppress(OSError):  # it died: its end of the output says so
            worker.process.stdin.write(json.dumps(content) + "\n")
            worker.process.stdin.flush()

    def _listen(self, worker: _Worker) -> None:
        for line in worker.process.stdout:
            self._events.put((worker, line))
        self._events.put((worker, ""))

    def _died(self, worker: _Worker, steps: Sequence[Step]) -> Result:
        """Another takes its place; the job it was at has failed."""
        self._workers.remove(worker)
        code = worker.process.wait()
        what = "" if worker.step is None else f" while {steps[worker.step].job}"
        reason = f"signal {-code}, often for want of memory" if code < 0 else f"code {code}"
        error = ResourceError(
            f"a worker process ended with {reason}{what}. Run the same command again, with fewer --workers: what was "
            "finished is kept."
        )
        self._say(str(error))
        return Result(errors=[error])
