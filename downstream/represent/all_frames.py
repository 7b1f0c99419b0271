"""What is kept of hidden states where time matters: every frame, of one utterance after the other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from upstream.types import HiddenStates

_HALF_RANGE = 15  # values are scaled to lie below 2**15: half precision ends at 65504


@dataclass
class Frames:
    """All hidden states of one utterance: `values` (layers, frames, dim) times the `scales` of the layers."""

    frames: int
    norms: Tensor  # (layers), the mean length of the frames
    scales: Tensor  # (layers)
    values: Tensor

    def halved(self) -> "Frames":
        """In half precision, each layer scaled by a power of two, which costs no digit, so that all of it fits."""
        exponents = torch.frexp(self.values.flatten(1).abs().amax(dim=1)).exponent - _HALF_RANGE
        values = torch.ldexp(self.values, -exponents[:, None, None]).half()
        return Frames(self.frames, self.norms, torch.ldexp(self.scales, exponents), values)


class AllFrames:
    """Frames of a batch of utterances; or of one utterance alone, which may come piece after piece.

    With `halve` they are halved and leave the device; without, they stay where they are.
    """

    def __init__(self, halve: bool) -> None:
        self._halve = halve
        self._pieces: list[HiddenStates] = []

    def add(self, states: HiddenStates) -> None:
        self._pieces.append(states)

    def kept(self) -> list[Frames]:
        """What is kept of each utterance of the batch."""
        return [self._of(number) for number in range(len(self._pieces[0].lengths))]

    def _of(self, number: int) -> Frames:
        parts = [
            torch.stack([layer[number, : int(piece.lengths[number])].float() for layer in piece.layers])
            for piece in self._pieces
        ]
        values = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        norms = values.norm(dim=-1).mean(dim=1, dtype=torch.float64).float()
        frames = Frames(values.shape[1], norms, torch.ones_like(norms), values)
        if not self._halve:
            return frames
        half = frames.halved()
        return Frames(half.frames, half.norms.cpu(), half.scales.cpu(), half.values.cpu())
