"""How an upstream hears many utterances: files are read ahead of it, in batches where that is faster, and what is too
long for its memory in pieces. The results come in the order asked for, whatever the threads do."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from upstream.audio import SAMPLE_RATE
from upstream.devices import threads
from upstream.errors import BenchmarkError, ResourceError
from upstream.loaded import LoadedUpstream
from upstream.types import HiddenStates

LONGEST_SECONDS = 300  # what is longer is heard in pieces
AHEAD_SECONDS = 120.0  # of audio that may wait for the upstream
_FILE_SECONDS = 1.0  # what each file counts besides its audio, so that there are not thousands of short ones
_WINDOW = 4  # batches' worth of utterances that are sorted by length
_THREADS = min(8, os.cpu_count() or 1)

T = TypeVar("T")
Key = TypeVar("Key")
Kept = TypeVar("Kept")


@dataclass
class Clip:
    """The audio of one utterance, and what messages call it. Where there is none, nothing is heard of it."""

    wave: Tensor
    who: str
    blocks: bool = False  # whether crops will be taken from it
    facts: dict = field(default_factory=dict)  # what the reader found out beside it


class Keeper(Protocol[Kept]):
    """Takes hidden states in and keeps what is wanted of them: of a batch, or of one utterance piece after piece."""

    def add(self, states: HiddenStates) -> None: ...

    def kept(self) -> list[Kept]:
        """What is kept of each utterance of the batch."""


class Listener(Generic[Kept]):
    """An upstream at work on a feature set; it remembers how large a batch fits into memory.

    `keeper` makes a keeper for the clips of a batch.
    """

    def __init__(
        self,
        upstream: LoadedUpstream,
        keeper: Callable[[list[Clip]], Keeper[Kept]],
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._upstream = upstream
        self._keeper = keeper
        self._say = say
        self._most_samples = round(upstream.batch_seconds * SAMPLE_RATE)  # of a batch, padding included
        self._halved = False
        self._workers = torch.get_num_threads()  # now: training, which comes later, may want fewer

    def hear(
        self, read: Callable[[int], Clip], rows: Sequence[int], seconds: Sequence[float]
    ) -> Iterator[tuple[Clip, Kept | None]]:
        """What is kept of each row, None where there is nothing to hear.

        `read` is called on threads; `seconds` says about how long each row is. Close the iterator when it is left
        early: its threads end then.
        """
        if self._upstream.concurrent:
            yield from self._side_by_side(read, rows, seconds)
            return
        window_seconds = _WINDOW * self._upstream.batch_seconds
        if self._upstream.device.type == "cuda":
            read = _pinning(read, self._upstream.device)
        with closing(read_ahead(read, rows, seconds, AHEAD_SECONDS + window_seconds)) as clips:
            for window in _windows(clips, window_seconds):
                yield from zip(window, self._window(window), strict=True)

    def _side_by_side(
        self, read: Callable[[int], Clip], rows: Sequence[int], seconds: Sequence[float]
    ) -> Iterator[tuple[Clip, Kept | None]]:
        """Each utterance on a thread of its own, from file to sums.

        Threads that share one utterance wait for each other thousands of times a second: when anything else wants a
        core, all of them wait for the one that lost it.
        """

        def heard(row: int) -> tuple[Clip, Kept | None]:
            clip = read(row)
            with threads(1):
                return clip, self._batch([clip])[0] if len(clip.wave) else None

        ahead = self._workers * AHEAD_SECONDS
        with closing(read_ahead(heard, rows, seconds, ahead, self._workers)) as results:
            yield from results

    def _window(self, clips: list[Clip]) -> list[Kept | None]:
        """The longest first, in batches of similar length; smaller ones from where the memory does not suffice."""
        audible = [number for number, clip in enumerate(clips) if len(clip.wave)]
        left = sorted(audible, key=lambda number: -len(clips[number].wave))
        found: dict[int, Kept] = {}
        while left:
            longest = len(clips[left[0]].wave)
            batch = left[: 1 if in_pieces(longest) else max(1, self._most_samples // longest)]
            try:
                found.update(zip(batch, self._batch([clips[number] for number in batch]), strict=True))
                left = left[len(batch) :]
            except ResourceError:  # no retry in here: the error holds on to what filled the memory
                if len(batch) == 1:
                    raise
                self._halve(len(batch), longest)
        return [found.get(number) for number in range(len(clips))]

    def _batch(self, clips: list[Clip]) -> list[Kept]:
        try:
            others = f" and {len(clips) - 1} more" if len(clips) > 1 else ""
            with while_computing(clips[0].who + others):
                return self._heard(clips).kept()
        except ResourceError:
            raise
        except BenchmarkError:
            for clip in clips if len(clips) > 1 else ():  # whoever is to blame fails alone too, and is named
                self._batch([clip])
            raise

    def _heard(self, clips: list[Clip]) -> Keeper[Kept]:
        keeper = self._keeper(clips)
        batches = [[piece] for piece in self._pieces(clips[0].wave)] if len(clips) == 1 else [[c.wave for c in clips]]
        for waves in batches:
            waves = [wave.to(self._upstream.device, non_blocking=True) for wave in waves]
            keeper.add(self._upstream(waves))
        return keeper

    def _pieces(self, wave: Tensor) -> list[Tensor]:
        """Equal pieces whose frames follow on each other, none missing and none twice.

        A piece goes on into the next one for as far as its last frame hears. Where that is not known, the pieces lie
        end to end, and their frames are joined as they come.
        """
        if not in_pieces(len(wave)):
            return [wave]
        hop, heard = self._upstream.hop, self._upstream.receptive_field
        count = -(-len(wave) // (LONGEST_SECONDS * SAMPLE_RATE))
        step = -(-len(wave) // (count * hop)) * hop
        beyond = heard - hop if heard else 0
        return [wave[start : start + step + beyond] for start in range(0, len(wave), step)]

    def _halve(self, count: int, longest: int) -> None:
        self._most_samples = count * longest // 2
        if self._say and not self._halved:
            self._say(
                f"{self._upstream.name} ran out of memory on {count} utterances of up to "
                f"{longest / SAMPLE_RATE:.1f} s; its batches are smaller from here on"
            )
        self._halved = True


def in_pieces(samples: int | np.ndarray) -> bool | np.ndarray:
    """Whether an utterance of so many samples is heard in pieces."""
    return samples > LONGEST_SECONDS * SAMPLE_RATE


def about_pieces(name: str, count: int) -> str:
    many = f"{count} utterances are" if count > 1 else "1 utterance is"
    return f"{many} longer than {LONGEST_SECONDS} s: {name} hears each in equal pieces, as if they were utterances"


@contextmanager
def while_computing(who: str) -> Iterator[None]:
    """Adds the utterance to what goes wrong with it."""
    try:
        yield
    except BenchmarkError as error:
        raise type(error)(f"{error} [while computing the features of {who}]") from error


def read_ahead(
    read: Callable[[Key], T],
    rows: Sequence[Key],
    seconds: Sequence[float],
    limit: float = AHEAD_SECONDS,
    workers: int = _THREADS,
) -> Iterator[T]:
    """`read(row)` for all rows in order, on threads, at most about `limit` seconds ahead of whoever takes them.

    What goes wrong with a row is raised where its turn is.
    """
    costs = [_FILE_SECONDS + length for length in seconds]
    waiting: deque[Future[T]] = deque()
    held, asked = 0.0, 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-ahead")
    try:
        for taken in range(len(rows)):
            # The one whose turn it is and the next are always asked for, however long they are.
            while asked < len(rows) and (asked <= taken + 1 or held + costs[asked] <= limit):
                waiting.append(pool.submit(read, rows[asked]))
                held += costs[asked]
                asked += 1
            held -= costs[taken]
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def prefetched(read: Callable[[Key], T], keys: Sequence[Key], count: int) -> Iterator[T]:
    """What is read for each key, so many keys ahead on a thread of its own. Close it when it is left early."""
    if count:
        yield from read_ahead(read, keys, np.zeros(len(keys)), count, workers=1)
    else:
        yield from map(read, keys)


def _windows(clips: Iterator[Clip], seconds: float) -> Iterator[list[Clip]]:
    """Clips by the group, each as many as it takes to reach that many seconds."""
    window, samples = [], 0
    for clip in clips:
        window.append(clip)
        samples += len(clip.wave)
        if samples >= seconds * SAMPLE_RATE:
            yield window
            window, samples = [], 0
    if window:
        yield window


def _pinning(read: Callable[[int], Clip], device: torch.device) -> Callable[[int], Clip]:
    """The audio in memory that the device copies from by itself, while the one before is heard."""

    def pinned(row: int) -> Clip:
        clip = read(row)
        with torch.cuda.device(device):  # threads start on the first one
            clip.wave = clip.wave.pin_memory()
        return clip

    return pinned
