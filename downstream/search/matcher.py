"""Costs of many queries in documents, on one layer: compiled loops on the CPU, tensor operations elsewhere."""

import numpy as np
import torch
from torch import Tensor

from downstream.search import distances
from downstream.search.warping import Warping
from downstream.search.warping_batched import batched_costs
from upstream.devices import full_float32, tune_memory
from upstream.errors import DataError

_FRAMES = 32  # a multiple of which documents in float32 are made to have
_ROWS = 512  # frames of queries that are done at once: their distances are still in the cache when they are used


class Matcher:
    """Costs of many queries in documents, from their (frames, dim) features. Threads may share one."""

    def __init__(self, queries: list[Tensor], distance: str, dtype: torch.dtype, device: torch.device) -> None:
        _refuse_unusable(queries, "query")
        self._distance, self._dtype, self._device = distance, dtype, device
        self._exponential = distance == "cosine_exp"
        self._lengths = [len(query) for query in queries]
        self._queries = torch.cat([self._prepared(query) for query in queries])
        if device.type == "cpu":
            tune_memory()

    def costs(self, documents: list[Tensor]) -> np.ndarray:
        """(queries, documents) costs, in double precision whatever they were computed in."""
        _refuse_unusable(documents, "document")
        frames = [self._prepared(document) for document in documents]
        if self._device.type == "cpu":
            return np.stack([self._in_one(document) for document in frames], axis=1)
        with full_float32(self._device):
            return self._in_all(frames)

    def _prepared(self, frames: Tensor) -> Tensor:
        return distances.prepared(frames.to(self._device, self._dtype), self._distance)

    def _in_all(self, documents: list[Tensor]) -> np.ndarray:
        found = distances.between(self._queries, torch.cat(documents), self._distance)
        return batched_costs(found, self._lengths, [len(document) for document in documents]).double().cpu().numpy()

    def _in_one(self, document: Tensor) -> np.ndarray:
        """Costs of all queries in a document. Other threads can run beside nearly all of it.

        oneDNN prepares a product of its own for each shape it meets, and keeps it, at up to a megabyte each. So that
        they be few, every part has as many rows, wherever queries end, and the last frame of a document is repeated: a
        path may stay on it as long as it likes, so that this changes no cost.
        """
        if self._dtype == torch.float32 and len(document) > _FRAMES:
            document = torch.cat([document, document[-1:].expand(-len(document) % _FRAMES, -1)])
        warping = Warping(np.array(self._lengths), len(document), self._exponential)
        distance = "cosine" if self._exponential else self._distance  # the loops take the exponential on the way
        for rows in self._queries.split(_ROWS):
            found = distances.between(rows, document, distance)
            warping.advance(found.numpy(), found.amin(dim=1).numpy(), found.amax(dim=1).numpy())
        return warping.costs


def _refuse_unusable(utterances: list[Tensor], kind: str) -> None:
    """The loops are compiled for numbers that are finite: what comes of others is anything at all."""
    for number, frames in enumerate(utterances, start=1):
        if not len(frames):
            raise DataError(
                f"{kind} {number} of {len(utterances)} has no frames, so there is nothing to search. "
                "Check that its audio file is whole."
            )
        if not frames.isfinite().all():
            raise DataError(
                f"{kind} {number} of {len(utterances)} has features that are no finite numbers. "
                "Type: python -m benchmark check-upstream NAME"
            )
