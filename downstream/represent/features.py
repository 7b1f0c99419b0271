"""What the heads train on: of which utterances, by which upstream; and the time means that utterance heads need.

All heads of KS, IC, SID and ER are linear up to the mean over time, so the mean is all they need: same logits, same
gradients. It is kept on disk (`pooled`) or computed when asked for (`live`). A training crop needs the mean of a
stretch of the utterance; for that the store keeps running sums at the edges of blocks of about 0.2 s, and the mean
between two edges costs two small reads however long the crop is.
"""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch

from downstream.represent import all_frames, hearing, pooling, silence, store
from downstream.represent.hearing import Clip, Listener, in_pieces, read_ahead, while_computing
from downstream.represent.pooling import Pooled, RunningSums
from downstream.represent.silence import trimmed
from downstream.types import Example, Manifest
from upstream import audio, frames, mp3
from upstream.audio import SAMPLE_RATE, AudioNotes, read_audio, read_header
from upstream.errors import DataError, MissingError
from upstream.fingerprint import paths_digest
from upstream.loaded import LoadedUpstream

MEANS, FRAMES = "means", "frames"  # the forms of features
BLOCK_SECONDS = 0.2
_OPENED = 32  # compressed files whose headers say how many seconds a byte is
NORM_SAMPLE = 256  # utterances over which the size of each layer's hidden states is averaged
_HERE = Path(__file__)
_CODE = (
    *(Path(module.__file__) for module in (audio, mp3, frames, store, hearing, pooling, silence, all_frames)),
    _HERE,
    *(_HERE.with_name(name) for name in ("extraction.py", "frame_features.py")),
)


@dataclass
class Request:
    """Which examples, heard by which upstream, prepared how. `croppable` marks those that training crops at random.

    `form` is what the heads need of the hidden states: their `means` over time, or all `frames`. With `trim` silence is
    taken out. Of those marked, utterances that have no more than `least_samples` then are not learned from: nothing is
    heard of them.
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

    @cached_property
    def stamps(self) -> list[tuple[int, int]]:
        """Size and modification time of each example's file: whether it may have changed since it was heard."""
        known: dict[str, tuple[int, int]] = {}
        for example in self.examples:
            if example.audio not in known:
                try:
                    stat = self.manifest.path(example).stat()
                except FileNotFoundError as error:
                    raise MissingError(f"audio file not found: {self.manifest.path(example)}") from error
                known[example.audio] = (stat.st_size, stat.st_mtime_ns)
        return [known[example.audio] for example in self.examples]

    @cached_property
    def key(self) -> str:
        """Changes with everything that changes the bytes of a feature."""
        digest = blake2b(digest_size=16)
        head = {
            "upstream": self.upstream.fingerprint,
            "form": self.form,
            "gain_db": self.gain_db,
            "crop": self.crop_samples,
            "trim": self.trim,
            "least": self.least_samples,
            "block": self.block_frames,
            "corpus": (self.manifest.mini or {}).get("digest", self.manifest.corpus),
            "code": paths_digest(_CODE),
        }
        digest.update(json.dumps(head, sort_keys=True).encode())
        for e, (size, _), croppable in zip(self.examples, self.stamps, self.croppable, strict=True):
            digest.update(f"{e.audio}\t{e.start}\t{e.stop}\t{size}\t{int(croppable)}\n".encode())
        return digest.hexdigest()

    def wave(self, example: Example, notes: AudioNotes | None = None) -> np.ndarray:
        wave = read_audio(self.manifest.path(example), example.start, example.stop, self.gain_db, notes)
        return trimmed(wave) if self.trim else wave

    def unheard(self, row: int, samples: int) -> bool:
        return self.least_samples > 0 and bool(self.croppable[row]) and samples <= self.least_samples

    def clip(self, row: int, start: int = -1) -> Clip:
        """An example's audio as an upstream hears it; where `start` is not -1, the crop that starts at that sample."""
        example, notes = self.examples[row], AudioNotes()
        who = f"{self.upstream.name} on {example.id} ({example.audio})"
        with while_computing(who):
            wave = self.wave(example, notes)
            samples = len(wave)
            if self.unheard(row, samples):
                wave = wave[:0]
            else:
                if start >= 0:
                    wave = wave[start : start + self.crop_samples]
                self._refuse_short(example, len(wave))
        blocks = bool(self.croppable[row]) and self.crop_samples is not None and len(wave) > self.crop_samples
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
    def seconds(self) -> list[float]:
        """About how long each example is, from the size of its file where its end is open."""
        ratios = {suffix: self._seconds_per_byte(suffix) for suffix in {Path(e.audio).suffix for e in self.examples}}
        ends = [
            size * ratios[Path(example.audio).suffix] if example.stop is None else example.stop / SAMPLE_RATE
            for example, (size, _) in zip(self.examples, self.stamps, strict=True)
        ]
        return [max(0.0, end - e.start / SAMPLE_RATE) for e, end in zip(self.examples, ends, strict=True)]

    def _seconds_per_byte(self, suffix: str) -> float:
        """Of WAV files as 16-bit mono at 16 kHz; of compressed ones as a few of them have it."""
        if suffix.lower() == ".wav":
            return 0.5 / SAMPLE_RATE
        same = [e for e in self.examples if Path(e.audio).suffix == suffix]
        paths = [self.manifest.path(e) for e in same[:: max(1, len(same) // _OPENED)][:_OPENED]]
        return sum(read_header(path).seconds for path in paths) / max(1, sum(path.stat().st_size for path in paths))

    def bytes_estimate(self) -> int:
        """About how much a store of this takes, from file sizes."""
        layers, dim = self.upstream.num_layers, self.upstream.dim
        if self.form == FRAMES:
            return int(2 * layers * dim * sum(self.seconds) * SAMPLE_RATE / self.upstream.hop)
        values = layers * (dim + 1) * len(self.examples)
        if self.crop_seconds is not None:
            for seconds, croppable in zip(self.seconds, self.croppable, strict=True):
                if croppable and seconds > self.crop_seconds:
                    values += int(seconds / BLOCK_SECONDS + 1) * layers * dim
        return 4 * values


class Features(Protocol):
    """What training and evaluation see of a feature set, kept or not. Rows number the request's examples."""

    mode: str
    request: Request
    samples: np.ndarray  # length of each example at 16 kHz
    eval_rows: int  # how many rows to look at together where no gradient is wanted
    ahead: int  # how many batches to read while others are computed with

    def batch(self, rows: np.ndarray, starts: np.ndarray | None = None) -> object:
        """What a head learns from; where `starts` is not -1, of the crop that starts at that sample.

        Means are one (rows, layers, dim) tensor, frames a `FrameBatch`.
        """

    def layer_norms(self, rows: np.ndarray) -> list[float]:
        """Mean length of the hidden state vectors of each layer."""

    def facts(self) -> dict:
        """What a row should say about these features."""


@dataclass
class Stored:
    """What features that are read from a store on disk have in common."""

    request: Request
    reader: store.ShardReader
    folder: Path
    audio_digest: str
    resampled: int = 0
    mixed_down: int = 0

    mode: ClassVar[str]

    @property
    def samples(self) -> np.ndarray:
        return self.reader.samples

    def layer_norms(self, rows: np.ndarray) -> list[float]:
        """Mean length of the hidden state vectors of each layer: what every record begins with."""
        norms = np.empty((len(rows), self.request.upstream.num_layers), dtype=np.float32)
        for i, row in enumerate(rows):
            self.reader.read_into([norms[i]], row)
        return norms.mean(axis=0, dtype=np.float64).tolist()

    def facts(self) -> dict:
        return {
            "mode": self.mode,
            "key": self.request.key,
            "audio": self.audio_digest,
            "resampled": self.resampled,
            "mixed_down": self.mixed_down,
            "in_pieces": int(in_pieces(self.samples).sum()),
            "crops": None,
            "bytes": sum(path.stat().st_size for path in self.folder.glob("*.shard")),
        }

    def close(self) -> None:
        self.reader.close()


class PooledFeatures(Stored):
    """Time means read from a store on disk."""

    mode, eval_rows, ahead = "pooled", 256, 0

    def batch(self, rows: np.ndarray, starts: np.ndarray | None = None) -> torch.Tensor:
        layers, dim = self.request.upstream.num_layers, self.request.upstream.dim
        out = np.empty((len(rows), layers, dim), dtype=np.float32)
        for i, row in enumerate(rows):
            if starts is None or starts[i] < 0 or not self._crop_into(out[i], row, int(starts[i])):
                self.reader.read_into([out[i]], row, skip=4 * layers)
        return torch.from_numpy(out)

    def _crop_into(self, out: np.ndarray, row: int, start: int) -> bool:
        request, size = self.request, out.size
        block_samples = request.block_frames * request.upstream.hop
        length = max(1, round(request.crop_samples / block_samples))
        last = int(self.reader.blocks[row]) - length
        if last < 0:  # hardly longer than the crop: the whole utterance is the nearest thing
            return False
        first = min(round(start / block_samples), last)
        skip = request.upstream.num_layers + size
        before = np.empty_like(out)
        self.reader.read_into([before], row, 4 * (skip + first * size))
        self.reader.read_into([out], row, 4 * (skip + (first + length) * size))
        np.subtract(out, before, out=out)
        out /= length * request.block_frames
        return True

    def facts(self) -> dict:
        if self.request.crop_seconds is None:
            return super().facts()
        crops = f"taken in feature space, from blocks of {BLOCK_SECONDS} s of the whole utterance's hidden states"
        return super().facts() | {"crops": crops}


class Live:
    """What is computed from the audio each time it is asked for has in common. Nothing is kept."""

    mode, ahead = "live", 0

    def __init__(
        self, request: Request, keeper: Callable[[list[Clip]], hearing.Keeper], say: Callable[[str], None] | None
    ) -> None:
        self.request = request
        self.samples = np.array(self._counts(say), dtype=np.int64)
        self._listener = Listener(request.upstream, keeper, say)
        cropped = request.croppable & (request.crop_samples is not None)
        self._in_pieces = int(in_pieces(self.samples[~cropped]).sum())
        if say and self._in_pieces:
            say(hearing.about_pieces(request.upstream.name, self._in_pieces))

    def _counts(self, say: Callable[[str], None] | None) -> list[int]:
        """How long each example is. No header tells how much of it is silence: with `trim` all audio is read."""
        request = self.request
        if not request.trim:
            return [self._count(example) for example in request.examples]
        if say:
            say(f"reading {len(request.examples)} files of {request.manifest.corpus} once, to see how much is silence")
        rows = range(len(request.examples))
        with closing(read_ahead(lambda row: len(request.wave(request.examples[row])), rows, request.seconds)) as counts:
            return list(counts)

    def _count(self, example: Example) -> int:
        if example.stop is not None:
            return example.stop - example.start
        return read_header(self.request.manifest.path(example)).samples - example.start

    def _hear(self, rows: np.ndarray, starts: np.ndarray | None = None) -> list:
        def read(number: int) -> Clip:
            return self.request.clip(rows[number], -1 if starts is None else int(starts[number]))

        numbers, seconds = range(len(rows)), (self.samples[rows] / SAMPLE_RATE).tolist()
        with closing(self._listener.hear(read, numbers, seconds)) as heard:
            return [kept for _, kept in heard]

    def facts(self) -> dict:
        crops = None if self.request.crop_seconds is None else "taken from the waveform, at any sample"
        unknown = {"key": None, "audio": None}
        return {"mode": self.mode, **unknown, "in_pieces": self._in_pieces, "crops": crops, "bytes": 0}

    def close(self) -> None:
        """Nothing to close."""


class LiveFeatures(Live):
    """Time means, not kept."""

    eval_rows = 256

    def __init__(self, request: Request, say: Callable[[str], None] | None = None) -> None:
        super().__init__(request, lambda clips: RunningSums(), say)

    def batch(self, rows: np.ndarray, starts: np.ndarray | None = None) -> torch.Tensor:
        pooled: list[Pooled] = self._hear(rows, starts)
        return torch.stack([one.mean for one in pooled])

    def layer_norms(self, rows: np.ndarray) -> list[float]:
        return torch.stack([one.norms for one in self._hear(rows)]).double().mean(dim=0).tolist()


def norm_rows(rows: np.ndarray) -> np.ndarray:
    """An evenly spaced sample of rows for `layer_norms`."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), NORM_SAMPLE)).astype(int))]
