"""A bidirectional LSTM that is fast on a CPU: on padded tensors instead of packed ones, with the same results."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from upstream.frames import valid_mask


class BidirectionalLSTM(nn.LSTM):
    """One bidirectional layer of `nn.LSTM`: its parameters, and what it gives for packed sequences.

    On a CPU torch goes through packed sequences frame by frame, and back in a time that grows with the square of
    their length. One direction alone on a padded tensor is a single call of a fast library. So each direction is one
    such call, and the backward one gets every sequence reversed within its own length: padding always comes last,
    where no valid frame depends on it. Other devices do get packed sequences: they have a library for those.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, batch_first=True, bidirectional=True)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(batch, time, inputs) to (batch, time, 2 * hidden), zero past each length.

        Every length is at least one frame; what lies past it in `frames` is finite and otherwise does not matter.
        """
        if frames.device.type != "cpu":
            return self._packed(frames, lengths)
        longest = int(lengths.max())
        found = self._padded(frames[:, :longest], lengths)
        missing = frames.shape[1] - longest
        return functional.pad(found, (0, 0, 0, missing)) if missing else found

    def _packed(self, frames: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)
        found, _ = super().forward(packed)
        return pad_packed_sequence(found, batch_first=True, total_length=frames.shape[1])[0]

    def _padded(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """The longest sequence fills `frames`. The result lies in memory with time first, as the next layer wants."""
        valid = valid_mask(lengths, frames.shape[1]).T[..., None]
        weights = list(self.parameters())
        forward, backward = weights[:4], weights[4:]
        sequences = frames.transpose(0, 1).contiguous()
        ahead = self._one_direction(sequences, forward)
        back = _reversed(self._one_direction(_reversed(sequences, lengths), backward), lengths)
        return torch.cat([ahead, back], dim=-1).masked_fill(~valid, 0).transpose(0, 1)

    def _one_direction(self, sequences: Tensor, weights: list[Tensor]) -> Tensor:
        """(time, batch, inputs) to (time, batch, hidden)."""
        start = sequences.new_zeros(1, sequences.shape[1], self.hidden_size)
        layers, dropout, two_ways, batch_first = 1, 0.0, False, False
        learning = torch.is_grad_enabled()
        return torch.lstm(sequences, (start, start), weights, True, layers, dropout, learning, two_ways, batch_first)[0]


def _reversed(sequences: Tensor, lengths: Tensor) -> Tensor:
    """(time, batch, dim) with the frames of each sequence in reverse order and its padding where it was."""
    time, batch, _ = sequences.shape
    position = torch.arange(time)[:, None]
    source = torch.where(position < lengths, lengths - 1 - position, position)
    rows = source * batch + torch.arange(batch)
    return functional.embedding(rows, sequences.flatten(0, 1))  # looks rows up, and adds gradients up quickly
