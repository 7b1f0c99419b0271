"""Who speaks when: SUPERB's head for diarization, its loss, and the accuracy that chooses its steps.

The speakers of a recording have no order. The outputs are compared with them in the order that fits best, and anew in
every chunk: a long recording is heard in chunks that know nothing of each other.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from downstream.fit.head import Head
from downstream.fit.permutations import assigned
from upstream.audio import SAMPLE_RATE
from upstream.frames import valid_mask

CHUNK = 2000  # frames


class FrameLSTM(Head):
    """LSTM, Linear: no projector, and forwards only.

    So padding, which comes last, reaches no valid frame, and no sequence has to be packed, which is slow on a CPU.
    """

    def __init__(self, dim: int, hidden: int = 512, layers: int = 1, speakers: int = 2, chunk: int = CHUNK) -> None:
        super().__init__()
        self._chunk = chunk
        self.recurrent = nn.LSTM(dim, hidden, layers, batch_first=True)
        self.classifier = nn.Linear(hidden, speakers)

    def forward(self, frames: Tensor, lengths: Tensor, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(batch, time, dim) to logits (batch, time, speakers), and the lengths as they are."""
        found = [self.recurrent(part)[0] for part in frames.split(self._chunk, dim=1)]
        return self.classifier(torch.cat(found, dim=1)), lengths


def activity(turns: Sequence[tuple[int, float, float]], hop: int, frames: int, speakers: int = 2) -> Tensor:
    """(frames, speakers) labels, 1 where that one speaks, from turns (speaker's number, start, stop) in seconds."""
    labels = torch.zeros(frames, speakers)
    for speaker, start, stop in turns:
        first, last = (int(np.rint(seconds * SAMPLE_RATE / hop)) for seconds in (start, stop))
        labels[first:last, speaker] = 1
    return labels


def activity_losses(logits: Tensor, lengths: Tensor, targets: Sequence[Tensor], chunk: int = CHUNK) -> Tensor:
    """Of each utterance, its cross-entropy times batch size over the frames of the batch: their mean is SUPERB's loss.

    That is a mean over frames, so a long utterance counts more. `targets` are labels of (frames, speakers) each.
    """
    _check_lengths(lengths, targets)
    wanted = pad_sequence(list(targets), batch_first=True).to(logits)
    frames = wanted.shape[1]
    costs = _costs(logits[:, :frames], wanted)
    costs = costs.masked_fill(~valid_mask(lengths, frames)[..., None, None], 0)
    parts = [assigned(part.sum(1))[0] for part in costs.split(chunk, dim=1)]
    return torch.stack(parts).sum(0) * len(targets) / lengths.sum()


def frame_accuracy(logits: np.ndarray, labels: np.ndarray, chunk: int = CHUNK) -> list[tuple[int, int]]:
    """Of each chunk of a recording: how many of its (frame, speaker) cells are right, and how many there are.

    Both arrays are (frames, speakers). A speaker is heard where the logit is above zero.
    """
    found = []
    for part, wanted in zip(_chunks(logits, chunk), _chunks(labels, chunk), strict=True):
        order = assigned(_costs(part, wanted).sum(0))[1]
        right = (part > 0) == (wanted[:, order] > 0)
        found.append((int(right.sum()), right.numel()))
    return found


def _chunks(values: np.ndarray, chunk: int) -> tuple[Tensor, ...]:
    return torch.from_numpy(values).float().split(chunk)


def _costs(logits: Tensor, wanted: Tensor) -> Tensor:
    """(..., speakers) each to (..., outputs, speakers): every output's cross-entropy to every speaker.

    Divided by their number, so that the sum over an assignment is a mean over speakers.
    """
    outputs, speakers = torch.broadcast_tensors(logits[..., :, None], wanted[..., None, :])
    losses = functional.binary_cross_entropy_with_logits(outputs, speakers, reduction="none")
    return losses / logits.shape[-1]


def _check_lengths(lengths: Tensor, targets: Sequence[Tensor]) -> None:
    frames = [len(target) for target in targets]
    if lengths.tolist() != frames:
        raise ValueError(f"there are labels for {frames} frames, but {lengths.tolist()} frames")
