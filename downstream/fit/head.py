"""What every head on frames is: a plain module, so that another one can take its place by name."""

import math

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Takes frames that are mixed from layers already.

    It is told of training by a random generator: dropout draws from it alone, so that a step can be taken again from
    its seed.
    """

    least_frames = 1  # of an utterance

    def forward(self, frames: Tensor, lengths: Tensor, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(batch, time, dim) frames to what the loss is computed from, and how long that is for each utterance."""
        raise NotImplementedError

    def answer(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same for what is predicted, where that is another thing."""
        return self(frames, lengths)

    def reset(self, random: torch.Generator) -> None:
        """Start anew, from a generator of one's own; for parameters on the CPU."""
        reset(self, random)


@torch.no_grad()
def reset(module: nn.Module, random: torch.Generator) -> None:
    """Torch's default initialisation of all Linears and LSTMs."""
    for part in module.modules():
        size = part.in_features if isinstance(part, nn.Linear) else getattr(part, "hidden_size", None)
        if size is not None:
            for parameter in part.parameters():
                parameter.uniform_(-1 / math.sqrt(size), 1 / math.sqrt(size), generator=random)
