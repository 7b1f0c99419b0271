"""The heads that give every frame its logits, for CTC: SUPERB's linear one (PR) and its recurrent one (ASR, SF)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from downstream.fit.head import Head
from downstream.fit.recurrent import BidirectionalLSTM


class FrameLinear(Head):
    """Linear, Linear: nothing in between. So both can be a single one, where that takes fewer multiplications."""

    def __init__(self, dim: int, projector: int, classes: int) -> None:
        super().__init__()
        self.projector = nn.Linear(dim, projector)
        self.classifier = nn.Linear(projector, classes)

    def forward(self, frames: Tensor, lengths: Tensor, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(batch, time, dim) to logits (batch, time, classes), and the lengths as they are."""
        first, second = self.projector, self.classifier
        if first.weight.numel() + second.weight.numel() <= first.in_features * second.out_features:
            return second(first(frames)), lengths
        bias = torch.addmv(second.bias, second.weight, first.bias)
        return functional.linear(frames, second.weight @ first.weight, bias), lengths


class Recurrent(Head):
    """Linear, bidirectional LSTMs each with dropout after it, Linear.

    `every` n-th frame alone is kept before the LSTMs. With `project` there is a Linear and a tanh after each dropout.
    """

    def __init__(
        self,
        dim: int,
        projector: int,
        hidden: int,
        layers: int,
        dropout: float,
        project: bool,
        every: int,
        classes: int,
    ) -> None:
        super().__init__()
        both = 2 * hidden
        self._dropout, self._every = dropout, every
        self.projector = nn.Linear(dim, projector)
        self.layers = nn.ModuleList(BidirectionalLSTM(both if n else projector, hidden) for n in range(layers))
        self.projections = nn.ModuleList(nn.Linear(both, both) for _ in range(layers if project else 0))
        self.classifier = nn.Linear(both, classes)

    def forward(self, frames: Tensor, lengths: Tensor, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(batch, time, dim) to logits (batch, frames of the longest that are kept, classes), and how many are kept."""
        frames, lengths = self._thinned(frames, lengths)
        found = self.projector(frames)
        for number, layer in enumerate(self.layers):
            found = layer(found, lengths)
            if random is not None:
                found = dropped(found, self._dropout, random)
            if self.projections:
                found = self.projections[number](found).tanh()
        return self.classifier(found), lengths

    def _thinned(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Every n-th frame. Lengths are rounded down, as in SUPERB: of 5 frames the first and third count as 2. But of
        the shortest utterance the first frame is left."""
        kept = (lengths // self._every).clamp(min=1)
        return frames[:, :: self._every][:, : int(kept.max())], kept


def dropped(frames: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Each value zero with that probability, the others scaled up so that the mean stays."""
    mask = torch.rand(frames.shape, generator=random, device=random.device).ge_(share).div_(1 - share)
    return frames * mask.to(frames.device)
