"""SpecAugment on features, as SUPERB's ASR, SF and OOD-ASR train with it: a time warp, then masks.

What is drawn and what is done are apart: the draws of a step can be made again from its seed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from upstream.frames import valid_mask

_BEND = -0.75  # of the cubic kernel, as in torch's bicubic interpolation


@dataclass(frozen=True, eq=False)
class Draws:
    """What chance decided for a batch. Warp: (batch); masks: (batch, masks)."""

    centers: Tensor  # the frames before it become the frames before `warped`; both are 0 where nothing is warped
    warped: Tensor
    freq_starts: Tensor
    freq_widths: Tensor
    time_starts: Tensor
    time_widths: Tensor


@dataclass(frozen=True)
class SpecAugment:
    """How much is warped and masked, in frames and feature dimensions.

    A mask is narrower than its width: each number from 0 to it, without it, is equally likely. A window, a number of
    masks or a width of 0 switches that part off.
    """

    time_warp: int
    freq_masks: int
    freq_width: int
    time_masks: int
    time_width: int

    def draw(self, lengths: Tensor, dim: int, random: torch.Generator) -> Draws:
        """For a batch of utterances of these lengths and features of `dim` dimensions.

        Masks lie anywhere in the longest utterance, and so at times in the padding of the others.
        """
        warps = [self._draw_warp(length, random) for length in lengths.tolist()]
        centers, warped = torch.tensor(warps, device=random.device).T
        size = len(lengths)
        freq = _draw_masks((size, self.freq_masks), self.freq_width, dim, random)
        time = _draw_masks((size, self.time_masks), self.time_width, int(lengths.max()), random)
        return Draws(centers, warped, *freq, *time)

    def _draw_warp(self, length: int, random: torch.Generator) -> tuple[int, int]:
        window = self.time_warp
        if window == 0 or length <= 2 * window:
            return 0, 0
        center = _draw(window, length - window, random)
        return center, _draw(center - window + 1, center + window + 1, random)

    def apply(self, frames: Tensor, lengths: Tensor, draws: Draws) -> Tensor:
        """(batch, time, dim) to the same shape; frames past each length come out as zeros or as they were."""
        device = frames.device
        if bool((draws.centers > 0).any()):
            frames = _warp(frames, lengths, draws.centers.to(device), draws.warped.to(device))
        freq = _masked(draws.freq_starts.to(device), draws.freq_widths.to(device), frames.shape[2])
        time = _masked(draws.time_starts.to(device), draws.time_widths.to(device), frames.shape[1])
        return frames.masked_fill(time[:, :, None] | freq[:, None, :], 0)


def _draw(low: int, high: int, random: torch.Generator) -> int:
    """A number from `low` to `high`, without `high`."""
    return int(torch.randint(low, high, (1,), generator=random, device=random.device))


def _draw_masks(shape: tuple[int, int], width: int, axis: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Starts and widths. How far a mask may start is one number for the whole batch, by its widest mask."""
    widths = torch.randint(0, max(1, width), shape, generator=random, device=random.device)
    widest = int(widths.max()) if widths.numel() else 0
    starts = torch.randint(0, max(1, axis - widest), shape, generator=random, device=random.device)
    return starts, widths


def _masked(starts: Tensor, widths: Tensor, axis: int) -> Tensor:
    """(batch, masks) to (batch, axis): whether any mask covers the place."""
    place = torch.arange(axis, device=starts.device)
    starts, ends = starts[..., None], (starts + widths)[..., None]
    return ((starts <= place) & (place < ends)).any(dim=1)


def _warp(frames: Tensor, lengths: Tensor, centers: Tensor, warped: Tensor) -> Tensor:
    """Both sides of each center resampled by cubic interpolation: to `warped` frames, and to those that are left.

    As `torch.nn.functional.interpolate` in its mode "bicubic" on either side, but along time alone, and all utterances
    at once: every new frame is a weighted sum of four old ones.
    """
    batch, time, dim = frames.shape
    place = torch.arange(time, device=frames.device)
    lengths, centers, warped = (numbers.to(frames.device)[:, None] for numbers in (lengths, centers, warped))
    left = place < warped
    origin, start = torch.where(left, 0, centers), torch.where(left, 0, warped)
    before, after = torch.where(left, centers, lengths - centers), torch.where(left, warped, lengths - warped)
    scale = before.to(frames.dtype) / after.to(frames.dtype)
    # Rounded once, as by torch's fused multiply-add: rounded twice, late frames would be off by up to 1e-4.
    exact = (scale.double() * (place - start + 0.5) - 0.5).to(frames.dtype)
    whole = exact.floor()
    taps = whole.long()[..., None] + torch.arange(-1, 3, device=frames.device)
    taps = origin[..., None] + torch.minimum(taps.clamp(min=0), before[..., None] - 1)
    weights = _cubic(exact - whole) * valid_mask(lengths[:, 0], time)[..., None]
    rows = taps + time * torch.arange(batch, device=frames.device)[:, None, None]
    flat = (rows.flatten(0, 1), frames.reshape(batch * time, dim))
    return functional.embedding_bag(*flat, mode="sum", per_sample_weights=weights.flatten(0, 1)).view_as(frames)


def _cubic(fraction: Tensor) -> Tensor:
    """The weights of the four neighbours of a point that lies `fraction` of the way from the second to the third."""

    def near(distance: Tensor) -> Tensor:
        return ((_BEND + 2) * distance - (_BEND + 3)) * distance * distance + 1

    def far(distance: Tensor) -> Tensor:
        return ((_BEND * distance - 5 * _BEND) * distance + 8 * _BEND) * distance - 4 * _BEND

    return torch.stack([far(1 + fraction), near(fraction), near(1 - fraction), far(2 - fraction)], dim=-1)
