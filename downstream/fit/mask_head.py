"""SUPERB's head for separation and enhancement, which masks the spectrum of a mixture, and its loss.

Enhancement is separation with one source. The sources of a mixture have no order: the loss takes the one that fits
best.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from downstream.fit.head import Head
from downstream.fit.permutations import assigned
from downstream.fit.recurrent import BidirectionalLSTM
from downstream.fit.sequence_heads import dropped
from downstream.fit.spectra import BINS, Mixture


class MaskLSTM(Head):
    """Bidirectional LSTMs each with dropout after it, then a Linear and a ReLU for the mask of each source."""

    def __init__(
        self,
        dim: int,
        hidden: int = 896,
        layers: int = 3,
        dropout: float = 0.5,
        sources: int = 2,
        bins: int = BINS,
    ) -> None:
        super().__init__()
        both = 2 * hidden
        self._dropout = dropout
        self.layers = nn.ModuleList(BidirectionalLSTM(both if n else dim, hidden) for n in range(layers))
        self.masks = nn.ModuleList(nn.Linear(both, bins) for _ in range(sources))

    def forward(self, frames: Tensor, lengths: Tensor, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(batch, time, dim) to masks (batch, time, sources, bins), and the lengths as they are."""
        found = frames
        for layer in self.layers:
            found = layer(found, lengths)
            if random is not None:
                found = dropped(found, self._dropout, random)
        return torch.stack([mask(found) for mask in self.masks], dim=-2).relu(), lengths


def mask_losses(masks: Tensor, lengths: Tensor, targets: Sequence[Mixture]) -> Tensor:
    """Of each utterance, the squared error of its masked spectra: a mean over frames and sources, a sum over bins."""
    frames = [len(target.spectrum) for target in targets]
    if lengths.tolist() != frames:
        raise ValueError(f"the spectra have {frames} frames, but the masks {lengths.tolist()}")
    return torch.stack([_loss(own[:length], t) for own, length, t in zip(masks, frames, targets, strict=True)])


def _loss(masks: Tensor, target: Mixture) -> Tensor:
    masked = masks * target.spectrum.abs().to(masks)[:, None]
    errors = masked.transpose(0, 1)[:, None] - target.wanted.to(masks)  # (masks, sources, frames, bins)
    least, _ = assigned(errors.square().sum((-2, -1)))
    return least / (errors.shape[1] * errors.shape[2])
