"""What is kept of hidden states: sums over time, so that no more frames than those of one piece are ever in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from upstream.frames import valid_mask
from upstream.types import HiddenStates


@dataclass
class Pooled:
    """What is kept of one utterance."""

    frames: int
    mean: Tensor  # (layers, dim), over the frames
    norms: Tensor  # (layers), the mean length of the frames
    edges: Tensor | None  # (whole blocks + 1, layers, dim), the sums of all frames before each edge of a block


class RunningSums:
    """Sums over the frames of a batch of utterances; or of one utterance alone, which may come piece after piece.

    They are made where the hidden states are, and leave the device once. Sums are kept in double precision.
    """

    def __init__(self, block_frames: int | None = None) -> None:
        self._block = block_frames
        self._frames = 0  # of the pieces before
        self._lengths: Tensor | int = 0
        self._total: Tensor | int = 0  # (batch, layers, dim)
        self._norms: Tensor | int = 0  # (batch, layers)
        self._edges: list[Tensor] = []  # (batch, edges, layers, dim), without the edge before the first frame

    def add(self, states: HiddenStates) -> None:
        frames = int(states.lengths.max())
        padding = None
        if int(states.lengths.min()) < frames:
            padding = ~valid_mask(states.lengths, frames)[..., None]
        totals, norms, edges = [], [], []
        for number, layer in enumerate(states.layers):
            layer = layer[:, :frames].float()
            if padding is not None:
                layer = layer.masked_fill(padding, 0)
            totals.append(layer.sum(dim=1, dtype=torch.float64))
            norms.append(layer.norm(dim=-1).sum(dim=1, dtype=torch.float64))
            if self._block:
                edges.append(self._edges_in(layer, self._total[:, number] if self._frames else 0))
        self._total = self._total + torch.stack(totals, dim=1)
        self._norms = self._norms + torch.stack(norms, dim=1)
        self._lengths = self._lengths + states.lengths
        self._frames += frames
        if self._block:
            self._edges.append(torch.stack(edges, dim=2).cpu())

    def kept(self) -> list[Pooled]:
        """What is kept of each utterance of the batch, on the CPU."""
        means = (self._total / self._lengths[:, None, None]).float().cpu()
        norms = (self._norms / self._lengths[:, None]).float().cpu()
        counts = self._lengths.tolist()
        if not self._block:
            return [Pooled(*parts, None) for parts in zip(counts, means, norms, strict=True)]
        edges = torch.cat([torch.zeros_like(means)[:, None], *self._edges], dim=1)
        return [
            Pooled(count, mean, norm, own[: count // self._block + 1])
            for count, mean, norm, own in zip(counts, means, norms, edges, strict=True)
        ]

    def _edges_in(self, layer: Tensor, before: Tensor | int) -> Tensor:
        """(batch, edges, dim): the running sums at those edges that lie in this piece of a layer."""
        first = self._block - self._frames % self._block
        blocks = (layer.shape[1] - first) // self._block
        if blocks < 0:
            return layer[:, :0]
        start = before + layer[:, :first].sum(dim=1, dtype=torch.float64)
        rest = layer[:, first : first + blocks * self._block].unflatten(1, (blocks, self._block))
        steps = torch.cat([start[:, None], rest.sum(dim=2, dtype=torch.float64)], dim=1)
        return steps.cumsum(dim=1).float()
