"""What goes into an upstream and what comes out of it."""

from dataclasses import dataclass

import torch


@dataclass
class HiddenStates:
    """The hidden states of a batch of utterances, input side first.

    `layers` holds one (batch, frames, dim) tensor a layer; `lengths` the exact number of valid frames of each
    utterance; `hop` the samples per frame at 16 kHz. Frames past an utterance's length carry no meaning.
    """

    layers: list[torch.Tensor]
    lengths: torch.Tensor
    hop: int

    @property
    def dim(self) -> int:
        return self.layers[0].shape[-1]

    def stacked(self) -> torch.Tensor:
        """All layers in one (batch, layers, frames, dim) tensor."""
        return torch.stack(self.layers, dim=1)
