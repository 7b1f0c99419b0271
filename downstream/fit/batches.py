"""Parts of what was read or heard at once for several trainings: each gets its own utterances of it."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from downstream.fit.sampling import Draw
from downstream.represent.features import Features
from downstream.represent.frame_features import FrameBatch

Batch = Tensor | FrameBatch  # means of some utterances, or their frames


def read_together(features: Features, draws: Sequence[Draw], crops: bool) -> list[Batch]:
    """The batch of every draw. An utterance, or a crop of it, that several of them have is read or heard once."""
    if len(draws) == 1:
        return [features.batch(draws[0].rows, draws[0].starts if crops else None)]
    rows = np.concatenate([draw.rows for draw in draws])
    starts = np.concatenate([draw.starts for draw in draws])
    keys = rows * (starts.max() + 2) + starts + 1  # a number of its own for each row and start
    _, first, places = np.unique(keys, return_index=True, return_inverse=True)
    batch = features.batch(rows[first], starts[first] if crops else None)
    ends = np.cumsum([len(draw.rows) for draw in draws])
    return [picked(batch, own) for own in np.split(places, ends[:-1])]


def picked(batch: Batch, places: np.ndarray) -> Batch:
    """The utterances at some places of a batch."""
    if isinstance(batch, FrameBatch):
        return batch.pick(places)
    return batch[torch.from_numpy(places)]


def gathered(found: Sequence[tuple[Batch, int]]) -> Batch:
    """A batch of single utterances, each at its place in another one; that one itself where it is just these."""
    first, _ = found[0]
    if all(batch is first for batch, _ in found):
        places = np.array([place for _, place in found])
        return first if np.array_equal(places, np.arange(len(first))) else picked(first, places)
    if isinstance(first, FrameBatch):
        return FrameBatch(
            [batch.values[place] for batch, place in found],
            torch.stack([batch.scales[place] for batch, place in found]),
            torch.stack([batch.samples[place] for batch, place in found]),
        )
    return torch.stack([batch[place] for batch, place in found])
