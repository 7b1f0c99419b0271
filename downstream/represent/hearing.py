"""How upstreams hear many utterances: files are read ahead of them, in batches where that is faster, and what is too
long for their memory in pieces. The results come in the order asked for, whatever the threads do."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from downstream.represent.reading import AHEAD_SECONDS, THREADS, read_on
from downstream.represent.reading import prefetched as prefetched
from downstream.represent.reading import read_ahead as read_ahead
from upstream.audio import SAMPLE_RATE
from upstream.devices import threads
from upstream.errors import BenchmarkError, ResourceError
from upstream.loaded import LoadedUpstream
from upstream.types import HiddenStates

LONGEST_SECONDS = 300  # what is longer is heard in pieces
_WINDOW = 4  # batches' worth of utterances that are sorted by length

Key = TypeVar("Key")
Kept = TypeVar("Kept")


@dataclass
class Clip:
    """The audio of one utterance, and what messages call it. Where there is none, nothing is heard of it."""

    wave: Tensor
    who: str
    blocks: bool = False  # whether crops will be taken from it
    facts: dict = field(default_factory=dict)  # what the reader found out beside it


@dataclass
class Utterance:
    """One utterance on its way past several upstreams: for each what it is to hear, and what was kept of that.

    No clip means that this upstream is not to hear it. No batch goes beyond the `last` of some utterances.
    """

    key: object
    clips: list[Clip | None]
    last: bool = False
    kept: list = field(default_factory=list)
    decode_seconds: float = 0.0
    hear_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.kept = [None] * len(self.clips)


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

        def one(row: int) -> Utterance:
            return Utterance(row, [read(row)])

        with closing(heard_together([self], one, zip(rows, seconds, strict=True))) as utterances:
            for utterance in utterances:
                yield utterance.clips[0], utterance.kept[0]

    @property
    def side_by_side(self) -> int:
        """How many utterances it hears at a time, each on a thread of its own, from file to sums; 0 if not so.

        Threads that share one utterance wait for each other thousands of times a second: when anything else wants a
        core, all of them wait for the one that lost it.
        """
        return self._workers if self._upstream.concurrent else 0

    @property
    def window_seconds(self) -> float:
        """How much audio it wants to choose its batches from."""
        return _WINDOW * self._upstream.batch_seconds

    def hear_alone(self, utterance: Utterance, place: int) -> None:
        """Hear its own clip of an utterance, on this thread."""
        clip = utterance.clips[place]
        if clip is not None and len(clip.wave):
            start = time.perf_counter()
            with threads(1):
                utterance.kept[place] = self._batch([clip])[0]
            utterance.hear_seconds += time.perf_counter() - start

    def pin(self, utterance: Utterance, place: int) -> None:
        """Put its clip where a device copies from by itself, while the one before is heard."""
        clip, device = utterance.clips[place], self._upstream.device
        if clip is not None and device.type == "cuda":
            with torch.cuda.device(device):  # threads start on the first one
                clip.wave = clip.wave.pin_memory()

    def hear_windows(self, utterances: Iterator[Utterance], place: int) -> Iterator[Utterance]:
        """Utterances as they come, after its own clips of them were heard, so many seconds at a time."""
        window, samples = [], 0
        for utterance in utterances:
            window.append(utterance)
            clip = utterance.clips[place]
            samples += 0 if clip is None else len(clip.wave)
            if utterance.last or samples >= self.window_seconds * SAMPLE_RATE:
                yield from self._hear_window(window, place)
                window, samples = [], 0
        if window:
            yield from self._hear_window(window, place)

    def _hear_window(self, window: list[Utterance], place: int) -> list[Utterance]:
        own, start = [one for one in window if one.clips[place] is not None], time.perf_counter()
        for utterance, kept in zip(own, self._window([one.clips[place] for one in own]), strict=True):
            utterance.kept[place] = kept
        window[-1].hear_seconds += time.perf_counter() - start
        return window

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


def heard_together(
    listeners: Sequence[Listener],
    read: Callable[[Key], Utterance],
    keys: Iterable[tuple[Key, float] | None],
) -> Iterator[Utterance]:
    """What `read` makes of each key, which comes with about how many seconds it is, heard by all listeners.

    It is called on threads, once for all of them. Close the iterator when it is left early: its threads end then.
    """
    alone = [(one, place) for place, one in enumerate(listeners) if one.side_by_side]
    others = [(one, place) for place, one in enumerate(listeners) if not one.side_by_side]

    def begun(key: Key) -> Utterance:
        utterance = read(key)
        for listener, place in alone:
            listener.hear_alone(utterance, place)
        for listener, place in others:
            listener.pin(utterance, place)
        return utterance

    workers = max(one.side_by_side for one in listeners) or THREADS
    ahead = AHEAD_SECONDS * (workers if alone else 1) + sum(one.window_seconds for one, _ in others)
    with closing(read_on(begun, keys, ahead, workers)) as utterances:
        passing = utterances
        for listener, place in others:
            passing = listener.hear_windows(passing, place)
        yield from passing
