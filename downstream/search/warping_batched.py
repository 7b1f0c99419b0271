"""The costs of many queries in many documents at once, in tensor operations: the matching of `warping.py` for a GPU.

A step takes the next frame of every query that has one, in all frames of all documents. Nothing is padded to the
longest document, which may be many times as long as most: documents stand side by side, with two columns of infinite
cost before each. From one frame of a query to the next a path goes at most two frames on, so none comes out of the
document before.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from downstream.search.warping import APART, LEAST_RANGE

_MOST_BYTES = 2 << 30  # of temporary values; work that needs more is done in parts


def batched_costs(distances: Tensor, query_lengths: Sequence[int], document_lengths: Sequence[int]) -> Tensor:
    """(queries, documents) costs; `distances` is (frames of all queries, frames of all documents), finite, not scaled.

    Every pair comes out with the same bits whatever it is computed together with.
    """
    frames = (sum(query_lengths), sum(document_lengths))
    if distances.shape != frames or 0 in query_lengths or 0 in document_lengths:
        raise ValueError(f"distances are {tuple(distances.shape)}, lengths add up to {frames} and may not be 0")
    return _in_parts(distances, query_lengths, document_lengths)


def _in_parts(distances: Tensor, query_lengths: Sequence[int], document_lengths: Sequence[int]) -> Tensor:
    if _temporary_bytes(distances, query_lengths, document_lengths) > _MOST_BYTES:
        if len(document_lengths) > 1:
            halves = _halves(document_lengths)
            parts = zip(distances.split([sum(half) for half in halves], dim=1), halves, strict=True)
            return torch.cat([_in_parts(part, query_lengths, half) for part, half in parts], dim=1)
        if len(query_lengths) > 1:
            halves = _halves(query_lengths)
            parts = zip(distances.split([sum(half) for half in halves]), halves, strict=True)
            return torch.cat([_in_parts(part, half, document_lengths) for part, half in parts])
    return _together(distances, query_lengths, document_lengths)


def _temporary_bytes(distances: Tensor, query_lengths: Sequence[int], document_lengths: Sequence[int]) -> int:
    frames, columns = distances.shape
    width = columns + APART * len(document_lengths)
    values = frames * width + 2 * frames * max(document_lengths) + len(query_lengths) * width
    return values * distances.element_size()


def _halves(lengths: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    half = len(lengths) // 2
    return lengths[:half], lengths[half:]


def _together(distances: Tensor, query_lengths: Sequence[int], document_lengths: Sequence[int]) -> Tensor:
    device = distances.device
    lengths = torch.tensor(query_lengths)
    longest_first = lengths.argsort(descending=True, stable=True)
    rows, sizes = _by_step(lengths, longest_first)
    steps = _scaled(distances, rows.to(device, non_blocking=True), document_lengths).split(sizes)
    reached = steps[0]  # by the best path that ends there
    nearest = torch.empty_like(reached[:, APART:])
    for step in steps[1:]:
        before, least = reached[: len(step)], nearest[: len(step)]  # shorter queries stay where they ended
        torch.minimum(before[:, :-2], before[:, 1:-1], out=least)
        torch.minimum(least, before[:, 2:], out=least)
        torch.add(least, step[:, APART:], out=before[:, APART:])
    costs = torch.stack([reached[:, there].amin(dim=1) for there in _columns(document_lengths, APART)], dim=1)
    as_given = longest_first.argsort().to(device, non_blocking=True)
    return costs.index_select(0, as_given) / lengths.to(device, costs.dtype, non_blocking=True)[:, None]


def _by_step(lengths: Tensor, longest_first: Tensor) -> tuple[Tensor, list[int]]:
    """Rows of the stacked queries, all first frames before all second ones, and how many queries have each frame."""
    frame = torch.arange(int(lengths.max()))[:, None]
    there = frame < lengths[longest_first]
    first = (lengths.cumsum(0) - lengths)[longest_first]
    return (first + frame)[there], there.sum(dim=1).tolist()


def _scaled(distances: Tensor, rows: Tensor, document_lengths: Sequence[int]) -> Tensor:
    """Those rows, between 0 and 1 in each document, with infinite columns before each."""
    width = distances.shape[1] + APART * len(document_lengths)
    scaled = distances.new_full((len(rows), width), torch.inf)
    for there, here in zip(_columns(document_lengths, 0), _columns(document_lengths, APART), strict=True):
        part = distances[:, there].index_select(0, rows)
        least, most = part.aminmax(dim=1, keepdim=True)
        torch.sub(part, least, out=scaled[:, here]).div_((most - least).clamp_min_(LEAST_RANGE))
    return scaled


def _columns(document_lengths: Sequence[int], apart: int) -> list[slice]:
    """Of each document, when they stand side by side with so many columns before each."""
    ends = accumulate(apart + length for length in document_lengths)
    return [slice(end - length, end) for end, length in zip(ends, document_lengths, strict=True)]
