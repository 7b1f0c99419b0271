"""Frame arithmetic: the only place that knows how many frames a number of samples makes, and which of them count."""

import torch


def snip_edges_frames(samples: int, window: int, hop: int) -> int:
    """Frames that lie whole inside the signal: Kaldi features, and any chain of unpadded convolutions."""
    return 0 if samples < window else 1 + (samples - window) // hop


def centred_frames(samples: int, hop: int) -> int:
    """Frames of a centred short-time Fourier transform, one at every multiple of the hop."""
    return 1 + samples // hop


def valid_mask(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """(batch, frames) booleans: True where a frame belongs to the utterance and not to its padding."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def masked_mean(frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mean over time of (batch, ..., frames, dim) features, over the valid frames only. Sums in double precision."""
    mask = valid_mask(lengths, frames.shape[-2])
    mask = mask.view(mask.shape[0], *[1] * (frames.dim() - 3), mask.shape[1], 1)
    total = frames.masked_fill(~mask, 0).sum(dim=-2, dtype=torch.float64)
    return (total / lengths.view(-1, *[1] * (total.dim() - 1))).to(torch.float32)
