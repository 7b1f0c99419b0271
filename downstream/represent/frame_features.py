"""Every frame of every layer, for heads that write down what is said: kept on disk in half precision (`frames`) or
computed when asked for (`live`)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from downstream.represent.all_frames import AllFrames, Frames
from downstream.represent.features import Live, Request, Stored

_EVAL_ROWS = 16


@dataclass
class FrameBatch:
    """Hidden states of some utterances: each has (layers, frames, dim) values, to be multiplied by its layers' scales.

    Half of the work on them is to bring them out of half precision, so that is left to whoever mixes the layers.
    """

    values: list[Tensor]
    scales: Tensor  # (utterances, layers)

    @property
    def lengths(self) -> Tensor:
        return torch.tensor([len(value[0]) for value in self.values])

    def __len__(self) -> int:
        return len(self.values)

    def part(self, first: int, last: int) -> "FrameBatch":
        return FrameBatch(self.values[first:last], self.scales[first:last])

    def to(self, device: torch.device) -> "FrameBatch":
        return FrameBatch([value.to(device, non_blocking=True) for value in self.values], self.scales.to(device))


class FrameFeatures(Stored):
    """Frames read from a store on disk."""

    mode, eval_rows, ahead = "frames", _EVAL_ROWS, 2

    def batch(self, rows: np.ndarray, starts: np.ndarray | None = None) -> FrameBatch:
        layers, dim = self.request.upstream.num_layers, self.request.upstream.dim
        norms, scales = np.empty(layers, dtype=np.float32), np.empty((len(rows), layers), dtype=np.float32)
        values, pinned = [], self.request.upstream.device.type == "cuda"  # which copies from pinned memory by itself
        for i, row in enumerate(rows):
            value = torch.empty(layers, int(self.reader.frames[row]), dim, dtype=torch.float16, pin_memory=pinned)
            self.reader.read_whole([norms, scales[i], value.numpy()], row)
            values.append(value)
        return FrameBatch(values, torch.from_numpy(scales))


class LiveFrames(Live):
    """Frames, not kept: one hearing serves every point of a grid."""

    eval_rows = _EVAL_ROWS

    def __init__(self, request: Request, say: Callable[[str], None] | None = None) -> None:
        super().__init__(request, lambda clips: AllFrames(halve=False), say)

    def batch(self, rows: np.ndarray, starts: np.ndarray | None = None) -> FrameBatch:
        frames: list[Frames] = self._hear(rows, starts)
        return FrameBatch([one.values for one in frames], torch.stack([one.scales for one in frames]))

    def layer_norms(self, rows: np.ndarray) -> list[float]:
        return torch.stack([one.norms for one in self._hear(rows)]).double().mean(dim=0).tolist()
