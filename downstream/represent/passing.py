"""One pass over the audio of a corpus: each file is opened once, each upstream hears it, each feature set gets it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
from tqdm import tqdm

from downstream.represent import store
from downstream.represent.all_frames import AllFrames, Frames
from downstream.represent.hearing import (
    LONGEST_SECONDS,
    Clip,
    Keeper,
    Listener,
    Utterance,
    heard_together,
    while_computing,
)
from downstream.represent.kept import Room
from downstream.represent.ledger import Ledger
from downstream.represent.pool import is_served, remove_partials, shard_lock
from downstream.represent.pooling import Pooled, RunningSums
from downstream.represent.request import FRAMES, Request
from downstream.represent.writing import Shard, Writer
from upstream.audio import SAMPLE_RATE, AudioNotes
from upstream.contract import HOP_SLACK

_CLAIMED_AHEAD = 1  # shards that are claimed while the one before is heard, so that its audio can be read

Span = dict[int, np.ndarray]  # rows that lie together, by the number of the feature set that lacks them


@dataclass
class Heard:
    """What a pass has done. Audio counts once for each upstream; decoding and hearing are sums over threads."""

    audio_seconds: float = 0.0
    seconds: float = 0.0
    decode_seconds: float = 0.0
    hear_seconds: float = 0.0
    write_seconds: float = 0.0
    bytes: int = 0


@dataclass
class _Claim:
    """A span that this process makes now: a shard for each of the sets that lack it."""

    shards: dict[int, Shard]
    rows: np.ndarray
    decoded: list[int] = field(default_factory=list)
    passed: dict[int, list[int]] = field(default_factory=dict)


class AudioPass:
    """Hears what feature sets lack and writes it. `sets` are requests that differ by their upstream, and folders."""

    def __init__(
        self,
        sets: list[tuple[Request, Path]],
        listeners: list[Listener],
        room: Room | None,
        ledger: Ledger | None,
        bar: tqdm,
    ) -> None:
        self.done = Heard()
        self._sets, self._listeners = sets, listeners
        self._room, self._ledger, self._bar = room, ledger, bar
        self._open: list[_Claim] = []
        self._writers: list[Writer] = []

    def make(self, spans: list[Span], wait: bool) -> None:
        """Make the shards of spans, each under its own lock: processes share the work, and none does it twice.

        What others are making at the end is theirs, or is waited for, and made if they have not.
        """
        start = time.perf_counter()
        for _, folder in self._sets:
            remove_partials(folder)
        while spans:
            spans = self._make_free_ones(spans)
            if not wait:
                break
            for number, rows in spans[0].items() if spans else ():  # which are held elsewhere, and nothing is held here
                lock = shard_lock(self._path(number, rows))
                lock.acquire(wait=True)
                lock.release()
        for _, folder in self._sets:
            remove_partials(folder)
        self.done.seconds += time.perf_counter() - start

    def _make_free_ones(self, spans: list[Span]) -> list[Span]:
        """Make what nobody else is making; returns the rest."""
        elsewhere: list[Span] = []
        self._writers = [Writer() for _ in self._sets]
        complete = False
        try:
            with closing(heard_together(self._listeners, self._read, self._keys(spans, elsewhere))) as utterances:
                for utterance in utterances:
                    self._keep(utterance)
            complete = True
        finally:
            self._end(give_up=not complete)
        return elsewhere

    def _end(self, give_up: bool) -> None:
        """Write what is complete, let go of the rest."""
        try:
            with ExitStack() as stack:  # all of them are closed, whatever goes wrong with one
                for writer in self._writers:
                    stack.callback(writer.close, give_up)
        finally:
            for claim in self._open:
                self._count(claim)
                for shard in claim.shards.values():
                    shard.held.close()
            self._open = []
            self.done.write_seconds += sum(writer.seconds for writer in self._writers)
            self.done.bytes += sum(writer.bytes for writer in self._writers)

    def _keys(self, spans: list[Span], elsewhere: list[Span]) -> Iterator[tuple[tuple[_Claim, int], float] | None]:
        seconds = self._sets[0][0].seconds
        for span in spans:
            while len(self._open) > _CLAIMED_AHEAD:
                yield None
            claim = self._claim(span, elsewhere)
            for row in claim.rows.tolist():
                yield (claim, row), float(seconds[row])

    def _claim(self, span: Span, elsewhere: list[Span]) -> _Claim:
        """Those shards of a span that nobody has made; none where another process is at any: it decodes for all."""
        claim = _Claim({}, np.empty(0, dtype=np.int64))
        self._open.append(claim)
        with ExitStack() as unclaimed:
            held: dict[int, ExitStack] = {}
            for number, rows in span.items():
                lock = shard_lock(self._path(number, rows))
                if not lock.acquire(wait=False):
                    elsewhere.append(span)
                    break
                held[number] = unclaimed.enter_context(ExitStack())
                held[number].callback(lock.release)
            else:
                self._take(claim, span, held)
        if claim.shards:
            claim.rows = np.unique(np.concatenate([shard.rows for shard in claim.shards.values()]))
        else:
            self._open.remove(claim)
        return claim

    def _take(self, claim: _Claim, span: Span, held: dict[int, ExitStack]) -> None:
        """The shards that are missing, with their locks and the room that they need."""
        for number, rows in span.items():
            request, folder = self._sets[number]
            path = self._path(number, rows)
            if is_served(path, request, rows):
                self._bar.update(request.seconds[rows].sum())
                continue
            if self._room is not None:
                held[number].enter_context(self._room.reserved(folder, most_bytes(request, rows)))
            claim.shards[number] = Shard(path, rows, held[number].pop_all())

    def _path(self, number: int, rows: np.ndarray) -> Path:
        """Named by what is heard of what, so that whoever wants the same makes the same shard."""
        request, folder = self._sets[number]
        wanted = (request.identities[rows], request.stamps[rows], request.croppable[rows])
        digest = blake2b(b"".join(np.ascontiguousarray(one).tobytes() for one in wanted), digest_size=12)
        return folder / f"{digest.hexdigest()}.shard"

    def _read(self, key: tuple[_Claim, int]) -> Utterance:
        """Open an utterance's audio, once for all. Each upstream has a copy of its own, which it may spoil."""
        claim, row = key
        start = time.perf_counter()
        wanted = {number: self._sets[number][0] for number, shard in claim.shards.items() if row in shard.rows}
        first, notes = next(iter(wanted.values())), AudioNotes()
        names = " and ".join(request.upstream.name for request in wanted.values())
        with while_computing(f"{names} on {first.examples[row].id} ({first.examples[row].audio})"):
            wave = first.wave(first.examples[row], notes)
        clips: list[Clip | None] = [None] * len(self._sets)
        for number, request in wanted.items():
            clips[number] = request.clip_of(row, wave if request is first else wave.copy(), notes)
        some = next(clip for clip in clips if clip is not None)
        audio = int.from_bytes(blake2b(some.wave.numpy(), digest_size=8).digest(), "big")
        size, mtime = first.stamps[row].tolist()
        for clip in filter(None, clips):
            clip.facts |= {"identity": int(first.identities[row]), "size": size, "mtime": mtime, "audio": audio}
        return Utterance(key, clips, row == claim.rows[-1], decode_seconds=time.perf_counter() - start)

    def _keep(self, utterance: Utterance) -> None:
        claim, row = utterance.key
        if row == claim.rows[0]:
            for number, shard in claim.shards.items():
                self._writers[number].begin(shard)
        self.done.decode_seconds += utterance.decode_seconds
        self.done.hear_seconds += utterance.hear_seconds
        claim.decoded.append(row)
        for number, (clip, kept) in enumerate(zip(utterance.clips, utterance.kept, strict=True)):
            if clip is None:
                continue
            if kept is not None:
                claim.passed.setdefault(number, []).append(row)
                self.done.audio_seconds += len(clip.wave) / SAMPLE_RATE
            self._writers[number].add(*_record(clip, kept))
            self._bar.update(float(self._sets[number][0].seconds[row]))
        if utterance.last:
            for number in claim.shards:
                self._writers[number].finish()
            self._open.remove(claim)
            self._count(claim)

    def _count(self, claim: _Claim) -> None:
        if self._ledger is None or not claim.decoded:
            return
        self._ledger.decoded(self._sets[0][0], np.array(claim.decoded))
        for number, rows in claim.passed.items():
            request = self._sets[number][0]
            self._ledger.heard(request.upstream.name, request, np.array(rows))


def listener_of(request: Request, say: Callable[[str], None]) -> Listener:
    """An upstream that keeps what a request wants of what it hears."""

    def keeper(clips: list[Clip]) -> Keeper:
        if request.form == FRAMES:
            return AllFrames(halve=True)
        return RunningSums(request.block_frames if any(clip.blocks for clip in clips) else None)

    return Listener(request.upstream, keeper, say)


def most_bytes(request: Request, rows: np.ndarray) -> int:
    """What a shard of some rows takes at most: of silence that will be taken out nothing is known yet."""
    samples = request.samples_in_headers(rows) + 1
    pieces = -(-samples // (LONGEST_SECONDS * SAMPLE_RATE))
    frames = samples // request.upstream.hop + HOP_SLACK * pieces
    return int(request.record_bytes(rows, samples, frames).sum()) + store.bytes_beside(len(rows))


def _record(clip: Clip, of: Pooled | Frames | None) -> tuple[list[np.ndarray], dict]:
    if of is None:
        return [], {**clip.facts, "frames": 0, "blocks": 0}
    if isinstance(of, Frames):
        values, blocks = [of.norms, of.scales, of.values], 0
    else:
        values, blocks = [of.norms, of.mean], 0
        if clip.blocks:
            values.append(of.edges)
            blocks = len(of.edges) - 1
    return [value.numpy() for value in values], {**clip.facts, "frames": of.frames, "blocks": blocks}
