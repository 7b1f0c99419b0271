"""What the heads train on: of which utterances, by which upstream; and the time means that utterance heads need.

All heads of KS, IC, SID and ER are linear up to the mean over time, so the mean is all they need: same logits, same
gradients. It is kept on disk (`pooled`) or computed when asked for (`live`). A training crop needs the mean of a
stretch of the utterance; for that the store keeps running sums at the edges of blocks of about 0.2 s, and the mean
between two edges costs two small reads however long the crop is.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch

from downstream.represent import hearing, store
from downstream.represent.hearing import Clip, Listener, in_pieces
from downstream.represent.kept import InUse
from downstream.represent.ledger import Ledger
from downstream.represent.pooling import Pooled, RunningSums
from downstream.represent.reading import read_ahead
from downstream.represent.request import BLOCK_SECONDS, FRAMES, MEANS, Request, merged
from upstream.audio import SAMPLE_RATE

__all__ = [
    "FRAMES",
    "MEANS",
    "NORM_SAMPLE",
    "Features",
    "Live",
    "LiveFeatures",
    "PooledFeatures",
    "Request",
    "Stored",
    "merged",
    "norm_rows",
]

NORM_SAMPLE = 256  # utterances over which the size of each layer's hidden states is averaged


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

    def facts(self, rows: np.ndarray | None = None) -> dict:
        """What a row should say about these features, or about some rows of them."""


@dataclass
class Stored:
    """What features that are read from a store on disk have in common."""

    request: Request
    reader: store.ShardReader
    folder: Path
    use: InUse | None = None  # what keeps them from being removed

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

    def facts(self, rows: np.ndarray | None = None) -> dict:
        """Nothing in here depends on what else was asked for, or lies in the same folder."""
        rows, reader = np.arange(len(self.samples)) if rows is None else rows, self.reader
        heard = "".join(f"{audio:016x}" for audio in reader.audio[rows].tolist())
        return {
            "mode": self.mode,
            "key": self.request.key,
            "audio": blake2b(heard.encode(), digest_size=16).hexdigest(),
            "resampled": int(reader.resampled[rows].sum()),
            "mixed_down": int(reader.mixed_down[rows].sum()),
            "in_pieces": int(in_pieces(self.samples[rows]).sum()),
            "crops": None,
            "bytes": int(self.request.record_bytes(rows, reader.samples[rows], reader.frames[rows]).sum()),
        }

    def close(self) -> None:
        self.reader.close()
        if self.use is not None:
            self.use.release()


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

    def facts(self, rows: np.ndarray | None = None) -> dict:
        if self.request.crop_seconds is None:
            return super().facts(rows)
        crops = f"taken in feature space, from blocks of {BLOCK_SECONDS} s of the whole utterance's hidden states"
        return super().facts(rows) | {"crops": crops}


class Live:
    """What is computed from the audio each time it is asked for has in common. Nothing is kept."""

    mode, ahead = "live", 0

    def __init__(
        self,
        request: Request,
        keeper: Callable[[list[Clip]], hearing.Keeper],
        say: Callable[[str], None] | None,
        ledger: Ledger | None,
    ) -> None:
        self.request = request
        self._ledger = ledger
        self.samples = self._counts(say)
        self._listener = Listener(request.upstream, keeper, say)
        long = self._in_pieces()
        if say and long:
            say(hearing.about_pieces(request.upstream.name, long))

    def _counts(self, say: Callable[[str], None] | None) -> np.ndarray:
        """How long each example is. No header tells how much of it is silence: with `trim` all audio is read."""
        request, rows = self.request, np.arange(len(self.request.examples))
        if not request.trim:
            return request.samples_in_headers(rows)
        if say:
            say(f"reading {len(request.examples)} files of {request.manifest.corpus} once, to see how much is silence")
        with closing(read_ahead(lambda row: len(request.wave(request.examples[row])), rows, request.seconds)) as counts:
            samples = np.fromiter(counts, dtype=np.int64, count=len(rows))
        if self._ledger is not None:
            self._ledger.decoded(request, rows)
        return samples

    def _in_pieces(self, rows: np.ndarray | slice = slice(None)) -> int:
        cropped = self.request.croppable[rows] & (self.request.crop_samples is not None)
        return int(in_pieces(self.samples[rows][~cropped]).sum())

    def _hear(self, rows: np.ndarray, starts: np.ndarray | None = None) -> list:
        def read(number: int) -> Clip:
            return self.request.clip(rows[number], -1 if starts is None else int(starts[number]))

        numbers, seconds = range(len(rows)), (self.samples[rows] / SAMPLE_RATE).tolist()
        with closing(self._listener.hear(read, numbers, seconds)) as heard:
            found = [kept for _, kept in heard]
        if self._ledger is not None:
            self._ledger.decoded(self.request, rows)
            self._ledger.heard(self.request.upstream.name, self.request, rows)
        return found

    def facts(self, rows: np.ndarray | slice = slice(None)) -> dict:
        crops = None if self.request.crop_seconds is None else "taken from the waveform, at any sample"
        unknown = {"key": None, "audio": None}
        return {"mode": self.mode, **unknown, "in_pieces": self._in_pieces(rows), "crops": crops, "bytes": 0}

    def close(self) -> None:
        """Nothing to close."""


class LiveFeatures(Live):
    """Time means, not kept."""

    eval_rows = 256

    def __init__(
        self, request: Request, say: Callable[[str], None] | None = None, ledger: Ledger | None = None
    ) -> None:
        super().__init__(request, lambda clips: RunningSums(), say, ledger)

    def batch(self, rows: np.ndarray, starts: np.ndarray | None = None) -> torch.Tensor:
        pooled: list[Pooled] = self._hear(rows, starts)
        return torch.stack([one.mean for one in pooled])

    def layer_norms(self, rows: np.ndarray) -> list[float]:
        return torch.stack([one.norms for one in self._hear(rows)]).double().mean(dim=0).tolist()


def norm_rows(rows: np.ndarray) -> np.ndarray:
    """An evenly spaced sample of rows for `layer_norms`."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), NORM_SAMPLE)).astype(int))]
