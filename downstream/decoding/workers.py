"""Decoding many utterances in parallel, seen from the side that has their frames."""

import contextlib
import json
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Self

import numpy as np
from tqdm import tqdm

from downstream.decoding.beam import BeamSettings, require_flashlight
from downstream.decoding.language_model import LanguageModel
from downstream.processes import cores, started
from upstream.errors import BenchmarkError, DataError

_AHEAD = 3  # utterances handed out for each process: one in work, the others so that it never waits

Request = tuple[int, np.ndarray]
Reply = tuple[int, dict]


@dataclass(frozen=True, slots=True)
class DecodingFacts:
    """How long decoding took. `seconds` begin when the language model has been loaded and include the network's."""

    seconds: float
    frames: int
    utterances: int
    processes: int
    load_seconds: float

    @property
    def utterances_per_second(self) -> float:
        return self.utterances / self.seconds

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds


def decode_all(
    emissions: Iterable[np.ndarray],
    count: int,
    tokens: Sequence[str],
    blank: int,
    silence: str,
    language_model: LanguageModel,
    settings: BeamSettings,
    processes: int | None = None,
    progress: bool = False,
) -> tuple[list[list[str] | None], DecodingFacts]:
    """The words of every utterance, in order; None where nothing was found.

    `emissions` yields (frames, tokens) log-probabilities of `count` utterances; it is read in the calling thread,
    some utterances ahead of the processes (as many as there are cores, unless told otherwise).
    """
    require_flashlight()
    language_model.check(tokens, blank, silence)
    processes = max(1, min(processes or cores(), count))
    words: list[list[str] | None] = [None] * count
    frames = utterances = 0
    with (
        _Workers(tokens, blank, silence, language_model, settings, processes) as workers,
        tqdm(total=count, desc="decoding", unit="utt", disable=not progress, leave=False) as bar,
    ):
        started = time.perf_counter()
        pending = 0
        for emission in emissions:
            if utterances == count:
                raise ValueError(f"there are more than the {count} utterances announced")
            if emission.ndim != 2 or emission.shape[1] != len(tokens):
                raise ValueError(f"utterance {utterances} has the shape {emission.shape}, not (T, {len(tokens)})")
            if pending == _AHEAD * processes:
                workers.collect(words)
                bar.update()
                pending -= 1
            workers.requests.put((utterances, emission))
            pending += 1
            utterances += 1
            frames += len(emission)
        for _ in range(pending):
            workers.collect(words)
            bar.update()
        seconds = time.perf_counter() - started
    if utterances < count:
        raise ValueError(f"there are {utterances} utterances, {count} were announced")
    return words, DecodingFacts(seconds, frames, utterances, processes, workers.load_seconds)


class _Workers:
    """Processes that decode. They end with the `with` block, or when this process is no more."""

    def __init__(
        self,
        tokens: Sequence[str],
        blank: int,
        silence: str,
        language_model: LanguageModel,
        settings: BeamSettings,
        count: int,
    ) -> None:
        self.requests: SimpleQueue[Request | None] = SimpleQueue()
        self.load_seconds = 0.0
        self._task = {
            "tokens": list(tokens),
            "blank": blank,
            "silence": silence,
            "arpa": str(language_model.arpa),
            "lexicon": str(language_model.lexicon),
            "settings": asdict(settings),
        }
        self._count = count
        self._replies: SimpleQueue[Reply] = SimpleQueue()
        self._sockets: list[socket.socket] = []
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()
        pairs = [socket.socketpair() for _ in range(self._count)]
        self._sockets = [ours for ours, _ in pairs]
        theirs = [their.fileno() for _, their in pairs]
        module = "downstream.decoding.worker"
        self._process = started(module, stderr=self._errors, text=True, pass_fds=theirs)
        for _, their in pairs:
            their.close()
        try:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(self._task | {"sockets": theirs}) + "\n")
                self._process.stdin.flush()
            loaded = self._status()
            if "seconds" not in loaded:
                raise self._failure(loaded)
        except BaseException:
            self._stop()
            raise
        self.load_seconds = loaded["seconds"]
        self._threads = [Thread(target=self._serve, args=(one,), daemon=True) for one in self._sockets]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop()

    def collect(self, words: list[list[str] | None]) -> None:
        """Wait for the words of one utterance, whichever is ready first."""
        index, reply = self._replies.get()
        if "words" not in reply:
            raise self._failure(reply or self._status(), index)
        words[index] = reply["words"]

    def _serve(self, connection: socket.socket) -> None:
        """Hands utterances to one process until there are none left, or the process is gone."""
        with connection.makefile("rb") as stream:
            while request := self.requests.get():
                index, emission = request
                try:
                    connection.sendall(json.dumps({"frames": len(emission)}).encode() + b"\n")
                    connection.sendall(np.ascontiguousarray(emission, np.float32).tobytes())
                    line = stream.readline()
                except OSError:
                    line = b""
                self._replies.put((index, json.loads(line) if line else {}))
                if not line:
                    return

    def _status(self) -> dict:
        """What the program says next; when it says nothing, because it has ended, so much."""
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"error": "the decoding program has ended"}

    def _failure(self, reply: dict, index: int | None = None) -> BenchmarkError:
        where = "" if index is None else f"utterance {index}: "
        if "broken" in reply:
            return DataError(where + reply["broken"])
        self._errors.seek(0)
        tail = self._errors.read().decode("utf-8", errors="replace")[-2000:].strip()
        return BenchmarkError(
            f"{where}decoding with a language model failed: {reply['error']}. The last that it wrote:\n"
            f"{tail or '(nothing)'}\nIf the machine is short of memory, free some; then run the same command again."
        )

    def _stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # it has not been waited for: the number is still its own
        self._process.wait()
        for _ in self._threads:
            self.requests.put(None)
        for thread in self._threads:
            thread.join()
        for connection in self._sockets:
            connection.close()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()
