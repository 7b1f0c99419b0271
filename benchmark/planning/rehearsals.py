"""Rehearsals of what comes before the heads: reading audio, hearing it, writing and reading what is kept."""

import dataclasses
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmark.planning.rates import timed
from downstream import files
from downstream.represent import extraction
from downstream.represent.hearing import read_ahead
from downstream.represent.request import Request
from downstream.types import Example
from upstream.audio import SAMPLE_RATE, AudioNotes
from upstream.contract import made_up

_PREFIX, _LOCK = ".rehearsal-", "lock"
_FEW_FILES = 4
_READING_SECONDS, _HEARING_SECONDS, _DISK_SECONDS = 0.3, 1.5, 0.1  # how long each rehearsal lasts, about
_DISTURBED = 1.2  # times as slow as the first few: to be heard again
_SAMPLE = 512  # utterances of which a rehearsal takes as many as it has time for
_SHARE = 0.05  # of the work itself that a rehearsal may be
_CHUNK, _MOST_CHUNKS = 1 << 22, 16  # bytes
_RECORDS = 200
_ORDER = 5  # a stream of random numbers of its own


@dataclass
class _MadeUp(Request):
    """A request for noise: as much of it as there is of each example."""

    lengths: dict[Example, float] = field(default_factory=dict)

    def wave(self, example: Example, notes: AudioNotes | None = None) -> np.ndarray:
        least = max(self.upstream.min_samples or 1, 1 + self.least_samples)
        return self._noise[: max(least, round(self.lengths[example] * SAMPLE_RATE))]

    @cached_property
    def _noise(self) -> np.ndarray:
        longest = round(max(self.lengths.values()) * SAMPLE_RATE)
        return made_up(max(longest, self.upstream.min_samples or 1, 1 + self.least_samples)).numpy()


def reading(request: Request) -> dict:
    """Seconds for a second of audio to be read, resampled and trimmed, side by side; how much is left of what sizes of
    files promise."""
    rows = _sample(len(request.examples))
    seconds = request.seconds[rows]

    def read(count: int) -> tuple[float, float]:
        examples = [request.examples[row] for row in rows[:count]]
        with closing(read_ahead(lambda e: len(request.wave(e)), examples, seconds[:count])) as lengths:
            return float(seconds[:count].sum()), sum(lengths) / SAMPLE_RATE

    few = min(_FEW_FILES, len(rows))
    start = time.perf_counter()
    read(few)
    count = max(few, _how_many((time.perf_counter() - start) / few, _READING_SECONDS, len(rows), len(request.examples)))
    start = time.perf_counter()
    promised, found = read(count)
    return {"seconds": (time.perf_counter() - start) / found, "left": found / promised}


def hearing(request: Request, lengths: np.ndarray, cache: Path) -> dict:
    """Seconds for an upstream to hear a second of audio, what is kept of it made and written.

    It hears noise of those lengths in seconds: real utterances have to pass it once, in the run.
    """
    rows = _sample(len(lengths))

    def hear(first: int, last: int) -> float:
        """Seconds for a second of audio."""
        own = rows[first:last]
        examples = [request.examples[row] for row in own]
        known = dict(zip(examples, lengths[own].tolist(), strict=True))
        fields = {one.name: getattr(request, one.name) for one in dataclasses.fields(Request)}
        noise = _MadeUp(**fields | {"examples": examples, "croppable": request.croppable[own]}, lengths=known)
        with _scratch(cache) as folder:  # of its own: what is there already would not be heard again
            hearing = partial(extraction.hear, [noise], folder, progress=False, say=_nothing)
            return timed(hearing, request.upstream.device) / sum(known.values())

    hear(0, 1)  # warms up
    few = min(len(rows), 1 + max(1, torch.get_num_threads()))
    if few < 2:
        return {"seconds": hear(0, 1)}
    pace = hear(1, few)
    each = pace * float(lengths.mean())
    count = _how_many(each, _HEARING_SECONDS, len(rows) - few, len(lengths))
    if count <= few:
        return {"seconds": pace}
    found = hear(few, few + count)
    if found > _DISTURBED * pace:  # more should be no slower than a few: something else had the disk or the cores
        found = min(found, hear(few, few + count))
    return {"seconds": found}


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """A folder in the cache for a while. Those that killed processes left go."""
    for old in cache.glob(f"{_PREFIX}*"):
        if not files.is_locked(old / _LOCK):
            shutil.rmtree(old, ignore_errors=True)
    with TemporaryDirectory(prefix=_PREFIX, dir=_made(cache)) as folder:
        lock = files.Lock(Path(folder, _LOCK))
        lock.acquire(wait=True)
        try:
            yield Path(folder)
        finally:
            lock.release()


def disk(folder: Path, record_bytes: int) -> dict:
    """Seconds to write a byte so that it stays, to read one back from the disk, and to read a record just written."""
    with _scratch(folder) as place:
        path = place / "noise"
        chunk = np.random.default_rng(0).bytes(_CHUNK)
        start, chunks = time.perf_counter(), 0
        with path.open("wb") as file:
            while chunks < _MOST_CHUNKS and (not chunks or time.perf_counter() - start < _DISK_SECONDS):
                zlib.crc32(chunk)
                file.write(chunk)
                chunks += 1
            file.flush()
            os.fsync(file.fileno())
        write = (time.perf_counter() - start) / (chunks * _CHUNK)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            record = _seconds_a_record(descriptor, min(record_bytes, _CHUNK)) * max(1.0, record_bytes / _CHUNK)
            read = _seconds_from_disk(descriptor, chunks * _CHUNK)
        finally:
            os.close(descriptor)
    return {"write": write, "read": read, "record": record}


def _seconds_a_record(descriptor: int, size: int) -> float:
    out = np.empty(size, dtype=np.uint8)
    places = np.random.default_rng(_ORDER).integers(0, _CHUNK - size + 1, _RECORDS if size < 1 << 16 else 10)
    start = time.perf_counter()
    for place in places:
        os.preadv(descriptor, [memoryview(out).cast("B")], int(place))
    return (time.perf_counter() - start) / len(places)


def _seconds_from_disk(descriptor: int, size: int) -> float:
    """Of each byte; as fast as from memory where the system cannot be asked to forget a file."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    start = time.perf_counter()
    for first in range(0, size, _CHUNK):
        os.pread(descriptor, _CHUNK, first)
    return (time.perf_counter() - start) / size


def _sample(count: int) -> np.ndarray:
    """Some of so many utterances, evenly spread, in an order of which every beginning is a fair sample as well."""
    rows = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(int))
    return np.random.default_rng(_ORDER).permutation(rows)


def _how_many(pace: float, seconds: float, sample: int, all_of_them: int) -> int:
    """Of a sample, so many as take so many seconds, and are little beside the whole."""
    return int(min(sample, max(1, min(seconds / max(pace, 1e-9), _SHARE * all_of_them))))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _nothing(line: str) -> None:
    """Nobody has to hear of a rehearsal."""
