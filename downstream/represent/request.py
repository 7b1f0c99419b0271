"""What heads want to learn from: which utterances, heard by which upstream, prepared how."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from downstream.represent import code
from downstream.represent.hearing import Clip, while_computing
from downstream.represent.silence import trimmed
from downstream.types import Example, Manifest
from upstream.audio import SAMPLE_RATE, AudioNotes, read_audio, read_header
from upstream.errors import DataError, MissingError
from upstream.loaded import LoadedUpstream

MEANS, FRAMES = "means", "frames"  # the forms of features
BLOCK_SECONDS = 0.2
_OPENED = 32  # files whose headers say how many seconds a byte is


@dataclass
class Request:
    """Which examples, heard by which upstream, prepared how. `croppable` marks those that training crops at random.

    `form` is what the heads need of the hidden states: their `means` over time, or all `frames`. With `trim` silence is
    taken out. Of those marked, utterances that have no more than `least_samples` then are not learned from: nothing is
    heard of them. Rows number the examples.
    """

    upstream: LoadedUpstream
    manifest: Manifest
    examples: list[Example]
    croppable: np.ndarray
    gain_db: float = 0.0
    crop_seconds: float | None = None
    form: str = MEANS
    trim: bool = False
    least_samples: int = 0

    @property
    def crop_samples(self) -> int | None:
        return None if self.crop_seconds is None else round(self.crop_seconds * SAMPLE_RATE)

    @property
    def block_frames(self) -> int:
        return max(1, round(BLOCK_SECONDS * SAMPLE_RATE / self.upstream.hop))

    @property
    def preparation(self) -> tuple:
        """Alike for requests that want the same of the same corpus, whatever the upstream and the examples."""
        corpus = (self.manifest.root, self.manifest.corpus)
        return (*corpus, self.form, self.gain_db, self.crop_seconds, self.trim, self.least_samples)

    @cached_property
    def stamps(self) -> np.ndarray:
        """Size and modification time of each example's file: whether it may have changed since it was heard."""
        known: dict[str, tuple[int, int]] = {}
        for example in self.examples:
            if example.audio not in known:
                try:
                    stat = self.manifest.path(example).stat()
                except FileNotFoundError as error:
                    raise MissingError(f"audio file not found: {self.manifest.path(example)}") from error
                known[example.audio] = (stat.st_size, stat.st_mtime_ns)
        return np.array([known[example.audio] for example in self.examples], dtype=np.int64).reshape(-1, 2)

    @cached_property
    def identities(self) -> np.ndarray:
        """A number for each example that tells which part of which file it is."""
        parts = (f"{e.audio}\t{e.start}\t{e.stop}".encode() for e in self.examples)
        numbers = (int.from_bytes(blake2b(part, digest_size=8).digest(), "little") for part in parts)
        return np.fromiter(numbers, dtype=np.uint64, count=len(self.examples))

    @cached_property
    def key(self) -> str:
        """Changes with everything that changes the bytes of a feature, but for the audio of its own utterance."""
        head = {
            "upstream": self.upstream.fingerprint,
            "form": self.form,
            "gain_db": self.gain_db,
            "crop": self.crop_samples,
            "trim": self.trim,
            "least": self.least_samples,
            "block": self.block_frames,
            "corpus": (self.manifest.mini or {}).get("digest", self.manifest.corpus),
            "code": code.digest(),
        }
        return blake2b(json.dumps(head, sort_keys=True).encode(), digest_size=16).hexdigest()

    def rows(self, examples: Sequence[Example]) -> np.ndarray:
        """The rows of some of the examples, which another task may have read: what is to be predicted may differ."""
        try:
            return np.array([self._row_of[_name(example)] for example in examples], dtype=np.int64)
        except KeyError as error:
            raise ValueError(
                f"example {error.args[0]} of {self.manifest.corpus} is none of the {len(self.examples)} asked for"
            ) from error

    @cached_property
    def _row_of(self) -> dict[tuple, int]:
        return {_name(example): row for row, example in enumerate(self.examples)}

    def wave(self, example: Example, notes: AudioNotes | None = None) -> np.ndarray:
        wave = read_audio(self.manifest.path(example), example.start, example.stop, self.gain_db, notes)
        return trimmed(wave) if self.trim else wave

    def who(self, row: int) -> str:
        """An upstream at an utterance, in words."""
        return f"{self.upstream.name} on {self.examples[row].id} ({self.examples[row].audio})"

    def unheard(self, row: int | np.ndarray, samples: int | np.ndarray) -> np.ndarray:
        """Whether nothing is heard of an utterance, as too little is left of it to learn from."""
        return np.logical_and(self.least_samples > 0, self.croppable[row] & (samples <= self.least_samples))

    def has_edges(self, row: int | np.ndarray, samples: int | np.ndarray) -> np.ndarray:
        """Whether the running sums at the edges of blocks are kept: for crops, where the whole is longer than one."""
        if self.form != MEANS or self.crop_samples is None:
            return np.zeros(np.shape(row), dtype=bool)
        return self.croppable[row] & (samples > self.crop_samples)

    def clip(self, row: int, start: int = -1) -> Clip:
        """An example's audio as an upstream hears it; where `start` is not -1, the crop that starts at that sample."""
        notes = AudioNotes()
        with while_computing(self.who(row)):
            wave = self.wave(self.examples[row], notes)
        return self.clip_of(row, wave, notes, start)

    def clip_of(self, row: int, wave: np.ndarray, notes: AudioNotes, start: int = -1) -> Clip:
        """`clip`, once the audio is in memory."""
        samples, who = len(wave), self.who(row)
        unheard = bool(self.unheard(row, samples))
        if unheard:
            wave = wave[:0]
        else:
            if start >= 0:
                wave = wave[start : start + self.crop_samples]
            with while_computing(who):
                self._refuse_short(self.examples[row], len(wave))
        blocks = not unheard and bool(self.has_edges(row, len(wave)))
        facts = {"samples": samples, "resampled": notes.resampled, "mixed_down": notes.mixed_down}
        return Clip(torch.from_numpy(wave), who, blocks, facts)

    def _refuse_short(self, example: Example, samples: int) -> None:
        least = self.upstream.min_samples or 1
        if samples < least:
            raise DataError(
                f"{self.manifest.path(example)}: {samples} samples at {SAMPLE_RATE} Hz"
                f"{', silence taken out,' if self.trim else ''} are too short for upstream "
                f"'{self.upstream.name}', which needs {least} for one frame. No silence is added to it: replace the "
                "file, take it off its corpus's list, or use an upstream with a shorter window."
            )

    @cached_property
    def seconds(self) -> np.ndarray:
        """About how long each example is, from the size of its file where its end is open."""
        ratios = {suffix: self._seconds_per_byte(suffix) for suffix in {Path(e.audio).suffix for e in self.examples}}
        ends = (
            size * ratios[Path(example.audio).suffix] if example.stop is None else example.stop / SAMPLE_RATE
            for example, size in zip(self.examples, self.stamps[:, 0].tolist(), strict=True)
        )
        lengths = (max(0.0, end - e.start / SAMPLE_RATE) for e, end in zip(self.examples, ends, strict=True))
        return np.fromiter(lengths, dtype=np.float64, count=len(self.examples))

    def _seconds_per_byte(self, suffix: str) -> float:
        """As a few files of a suffix have it. A file that cannot be read is named when it is heard, not here."""
        same = [e for e in self.examples if Path(e.audio).suffix == suffix]
        seconds = size = 0.0
        for path in dict.fromkeys(self.manifest.path(e) for e in same[:: max(1, len(same) // _OPENED)][:_OPENED]):
            with suppress(DataError, MissingError):
                seconds += read_header(path).seconds
                size += path.stat().st_size
        return seconds / size if size else 0.5 / SAMPLE_RATE  # of 16-bit mono at 16 kHz

    def samples_in_headers(self, rows: np.ndarray) -> np.ndarray:
        """How long examples are by what their files say, silence included."""
        return np.array([self._samples_in_header(self.examples[row]) for row in rows], dtype=np.int64)

    def _samples_in_header(self, example: Example) -> int:
        stop = read_header(self.manifest.path(example)).samples if example.stop is None else example.stop
        return stop - example.start

    def record_bytes(self, rows: np.ndarray, samples: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """What is kept of examples that have so many samples and frames."""
        layers, dim = self.upstream.num_layers, self.upstream.dim
        if self.form == FRAMES:
            kept = 8 * layers + 2 * layers * dim * frames
        else:
            edges = self.has_edges(rows, samples) * (frames // self.block_frames + 1)
            kept = 4 * layers * (dim + 1) + 4 * layers * dim * edges
        return np.where(self.unheard(rows, samples), 0, kept)

    def bytes_estimate(self, rows: np.ndarray | None = None) -> int:
        """About how much a store of this takes, or of some rows of it, from file sizes."""
        rows = np.arange(len(self.examples)) if rows is None else rows
        samples = (self.seconds[rows] * SAMPLE_RATE).astype(np.int64)
        return int(self.record_bytes(rows, samples, samples // self.upstream.hop).sum())


def merged(requests: Sequence[Request]) -> Request:
    """One request for all that several want of an upstream: each utterance once, in the order of first appearance."""
    first = requests[0]
    if any(one.upstream is not first.upstream or one.preparation != first.preparation for one in requests):
        raise ValueError("only requests of one upstream and with one preparation can be merged")
    examples: dict[tuple, Example] = {}
    croppable: dict[tuple, bool] = {}
    for request in requests:
        for example, cropped in zip(request.examples, request.croppable.tolist(), strict=True):
            name = _name(example)
            examples.setdefault(name, example)
            croppable[name] = croppable.get(name, False) or cropped
    return replace(first, examples=list(examples.values()), croppable=np.array(list(croppable.values()), dtype=bool))


def _name(example: Example) -> tuple:
    return example.id, example.audio, example.start, example.stop
