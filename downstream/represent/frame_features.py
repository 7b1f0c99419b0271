"""Every frame of every layer, for heads that look at them one by one: kept on disk in half precision (`frames`) or
computed when asked for (`live`)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from downstream.represent.all_frames import AllFrames, Frames
from downstream.represent.features import Live, Request, Stored
from downstream.represent.hearing import in_pieces
from downstream.represent.ledger import Ledger

_EVAL_ROWS = 16


@dataclass
class FrameBatch:
    """Hidden states of some utterances: each has (layers, frames, dim) values, to be multiplied by its layers' scales.

    Half of the work on them is to bring them out of half precision, so that is left to whoever mixes the layers.
    """

    values: list[Tensor]
    scales: Tensor  # (utterances, layers)
    samples: Tensor  # of the audio of each

    @property
    def lengths(self) -> Tensor:
        return torch.tensor([len(value[0]) for value in self.values])

    def __len__(self) -> int:
        return len(self.values)

    def part(self, first: int, last: int) -> "FrameBatch":
        return FrameBatch(self.values[first:last], self.scales[first:last], self.samples[first:last])

    def pick(self, places: np.ndarray) -> "FrameBatch":
        own = torch.from_numpy(places)
        return FrameBatch([self.values[place] for place in places], self.scales[own], self.samples[own])

    def to(self, device: torch.device) -> "FrameBatch":
        values = [value.to(device, non_blocking=True) for value in self.values]
        return FrameBatch(values, self.scales.to(device), self.samples)


class FrameFeatures(Stored):
    """Frames read from a store on disk."""

    mode, eval_rows, ahead = "frames", _EVAL_ROWS, 2

    def batch(self, rows: np.ndarray, starts: np.ndarray | None = None) -> FrameBatch:
        layers, dim = self.request.upstream.num_layers, self.request.upstream.dim
        norms, scales = np.empty(layers, dtype=np.float32), np.empty((len(rows), layers), dtype=np.float32)
        values, pinned = [], self.request.upstream.device.type == "cuda"  # which copies from pinned memory by itself
        samples = self.samples[rows]
        for i, row in enumerate(rows):
            value = torch.empty(layers, int(self.reader.frames[row]), dim, dtype=torch.float16, pin_memory=pinned)
            self.reader.read_whole([norms, scales[i], value.numpy()], row)
            if starts is not None and starts[i] >= 0:
                value, samples[i] = self._crop(value, int(starts[i])), self.request.crop_samples
            values.append(value)
        return FrameBatch(values, torch.from_numpy(scales), torch.from_numpy(samples))

    def _crop(self, value: Tensor, start: int) -> Tensor:
        """As many frames as the upstream gives of a crop, from the frame that begins nearest to its start."""
        frames = value.shape[1]
        length = min(frames, self._crop_frames)
        first = min(round(start / self.request.upstream.hop), frames - length)
        return value[:, first : first + length]

    @cached_property
    def _crop_frames(self) -> int:
        """By whole utterances: each has a frame every hop once the same few samples are added to it, or taken away.

        How many, one utterance tells to within a hop, and all of them together almost exactly. Those that were heard in
        pieces may lack a frame at each cut: they are asked where there are no others.
        """
        hop, frames = self.request.upstream.hop, self.reader.frames
        heard = frames > 0
        whole = heard & ~in_pieces(self.samples)
        added = (frames * hop - self.samples)[whole if whole.any() else heard].min() + hop - 1
        return max(1, int(self.request.crop_samples + added) // hop)

    def facts(self, rows: np.ndarray | None = None) -> dict:
        if self.request.crop_seconds is None:
            return super().facts(rows)
        return super().facts(rows) | {"crops": "taken in feature space, from the whole utterance's hidden states"}


class LiveFrames(Live):
    """Frames, not kept: one hearing serves every point of a grid."""

    eval_rows = _EVAL_ROWS

    def __init__(
        self, request: Request, say: Callable[[str], None] | None = None, ledger: Ledger | None = None
    ) -> None:
        super().__init__(request, lambda clips: AllFrames(halve=False), say, ledger)

    def batch(self, rows: np.ndarray, starts: np.ndarray | None = None) -> FrameBatch:
        frames: list[Frames] = self._hear(rows, starts)
        samples = self.samples[rows]
        if starts is not None:
            samples = np.where(starts >= 0, self.request.crop_samples, samples)
        scales = torch.stack([one.scales for one in frames])
        return FrameBatch([one.values for one in frames], scales, torch.from_numpy(samples))

    def layer_norms(self, rows: np.ndarray) -> list[float]:
        return torch.stack([one.norms for one in self._hear(rows)]).double().mean(dim=0).tolist()
