"""The weighted layer sum of kept frames, for every point of a grid at once, and its derivative by the weights.

A product of a few rows: memory is what it costs. So frames are brought out of half precision a stretch at a time, small
enough to stay in the processor's cache until it is summed up, and again on the way back.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from downstream.represent.frame_features import FrameBatch

_CACHED = 1 << 20  # values
_ALIGNED = 16  # values: torch's own tensors begin at multiples of 64 bytes


def mixed(batch: FrameBatch, weights: Tensor, places: Sequence[int] | None = None, points: int = 0) -> Tensor:
    """(rows, layers) weights to (rows, utterances, frames, dim) sums, zeros past each utterance.

    The rows are those of the points of a grid, or of some: of these places among so many points.
    """
    shape = (len(batch), int(batch.lengths.max()), batch.values[0].shape[-1])
    size = math.prod(shape)
    padded = -(-size // _ALIGNED) * _ALIGNED  # products of what lies otherwise in memory are rounded otherwise
    out = torch.zeros(len(weights), padded, device=weights.device)[:, :size].view(-1, *shape)
    every = among(weights, places, points)
    for number, values in enumerate(batch.values):
        scaled = every * batch.scales[number]
        for first, last, stretch in _stretches(values):
            sums = picked(scaled @ stretch, places)
            out[:, number, first:last] = sums.view(len(sums), last - first, -1)
    return out


def weight_gradients(batch: FrameBatch, d_mixed: Tensor) -> Tensor:
    """The derivative by the (points, layers) weights, from that by what `mixed` gave."""
    total = torch.zeros(len(d_mixed), batch.values[0].shape[0], device=d_mixed.device)
    for number, values in enumerate(batch.values):
        for first, last, stretch in _stretches(values):
            part = d_mixed[:, number, first:last].flatten(1) @ stretch.T
            total += part * batch.scales[number]
    return total


# A product of another number of rows may be rounded otherwise. So one that has a row a point is always made of all.


def among(rows: Tensor, places: Sequence[int] | None, points: int, fill: float = 0) -> Tensor:
    """What belongs to some points, at their places among all."""
    if places is None or len(places) == points:
        return rows
    every = rows.new_full((points, *rows.shape[1:]), fill)
    every[places] = rows
    return every


def picked(every: Tensor, places: Sequence[int] | None) -> Tensor:
    """What belongs to some of the points."""
    return every if places is None or len(places) == len(every) else every[places]


def fitted(frames: Tensor, lengths: Tensor, wanted: Tensor, repeat_last: bool) -> Tensor:
    """(utterances, frames, dim) cut or continued to the longest of the numbers of frames that are wanted.

    What is missing of an utterance is zero, or its last frame again.
    """
    longest = int(wanted.max())
    found = functional.pad(frames, (0, 0, 0, max(0, longest - frames.shape[1])))[:, :longest]
    if not repeat_last:
        return found
    position = torch.arange(longest, device=frames.device)
    missing = (position >= lengths[:, None]) & (position < wanted[:, None])
    last = frames[torch.arange(len(frames), device=frames.device), lengths - 1]
    return torch.where(missing[..., None], last[:, None], found)


def _stretches(values: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """(layers, frames, dim) values in single precision, a stretch at a time: first and last frame, the flat values."""
    layers, frames, dim = values.shape
    if values.dtype == torch.float32 or values.is_cuda:
        yield 0, frames, values.float().reshape(layers, -1)
        return
    step = max(1, _CACHED // (layers * dim))
    for first in range(0, frames, step):
        last = min(first + step, frames)
        yield first, last, values[:, first:last].float().view(layers, -1)
