"""Every query in every document, on every layer: documents stream by, and what is done stays done.

Documents are heard or read once for all layers and all sides. A side is a set of queries that is searched by itself:
frames are scaled by the statistics of its queries and of all documents.
"""

import io
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from hashlib import blake2b
from operator import add
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from downstream import files
from downstream.processes import cores
from downstream.protocols import SearchProtocol
from downstream.represent.features import Features
from downstream.represent.frame_features import FrameBatch
from downstream.represent.hearing import prefetched
from downstream.search.matcher import Matcher
from downstream.search.moments import Moments
from upstream.devices import threads

_BLOCK = 64  # documents that are done together: what a killed run loses at most
_CHECKSUM_BYTES = 16

T = TypeVar("T")
Utterance = tuple[Tensor, Tensor]  # (layers, frames, dim) values and the scales of the layers to multiply them by


@dataclass(frozen=True)
class _Side:
    """A set of queries, ready to be looked for: those that are long enough, by layer."""

    count: int
    long: np.ndarray  # the places of those
    scaling: tuple[Tensor, Tensor] | None
    matchers: list[Matcher]

    def costs(self, documents: list[Tensor], layer: int) -> np.ndarray:
        """(queries, documents) costs on a layer; nothing for queries that are too short."""
        costs = np.zeros((self.count, len(documents)))
        if len(self.long):
            costs[self.long] = self.matchers[layer].costs([_scaled(one, self.scaling, layer) for one in documents])
        return costs


class Sweep:
    """A search under way. `documents` and the sides' queries are rows of the features; `folder` holds its progress."""

    def __init__(
        self,
        features: Features,
        documents: np.ndarray,
        sides: dict[str, np.ndarray],
        numbers: SearchProtocol,
        folder: Path,
        progress: bool,
    ) -> None:
        self._features, self._documents, self._numbers = features, documents, numbers
        self._queries = sides
        self._folder, self._progress = folder, progress
        self._threads = torch.get_num_threads()  # now: those of the search are told to have one each
        upstream = features.request.upstream
        self._name = f"{upstream.name} on {features.request.manifest.corpus}"
        self._layers, self._device = upstream.num_layers, upstream.device
        self._blocks = [documents[first : first + _BLOCK] for first in range(0, len(documents), _BLOCK)]
        asked = {name: rows.tolist() for name, rows in {"documents": documents, **sides}.items()}
        known = [features.request.key, features.facts()["audio"], numbers.settings(), asked, _BLOCK]
        self._key = blake2b(json.dumps(known).encode(), digest_size=6).hexdigest()
        self.short: dict[str, np.ndarray] = {}  # of each side, the places of the queries with too few frames

    def costs(self) -> dict[str, np.ndarray]:
        """For each side the (layers, queries, documents) costs, 0 for queries that are too short."""
        with ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                return self._costs(pool)
            finally:
                pool.shutdown(cancel_futures=True)

    def _costs(self, pool: ThreadPoolExecutor) -> dict[str, np.ndarray]:
        of_documents = self._moments(pool) if self._numbers.normalize else None
        sides = {name: self._side(name, rows, of_documents) for name, rows in self._queries.items()}
        pairs = self._layers * sum(side.count for side in sides.values())
        bar = self._bar(f"{self._name}: search", len(self._documents) * pairs, "pair")

        def search(block: np.ndarray) -> dict[str, np.ndarray]:
            found = []
            for costs in self._each(block, lambda documents: self._costs_of(documents, sides), pool):
                found.append(costs)
                bar.update(pairs * next(iter(costs.values())).shape[-1])
            return {name: np.concatenate([one[name] for one in found], axis=2) for name in sides}

        with bar:
            blocks = [self._once("search", number, search, bar, pairs) for number in range(len(self._blocks))]
        return {name: np.concatenate([block[name] for block in blocks], axis=2) for name in sides}

    def _moments(self, pool: ThreadPoolExecutor) -> Moments:
        """Of all frames of all documents."""
        bar = self._bar(f"{self._name}: statistics", len(self._documents), "document")

        def measure(block: np.ndarray) -> dict[str, np.ndarray]:
            parts = []
            for part in self._each(block, _moments_of, pool):
                parts += part
                bar.update(len(part))
            return vars(reduce(add, parts))

        with bar:
            blocks = [self._once("statistics", number, measure, bar, 1) for number in range(len(self._blocks))]
        return reduce(add, (Moments(int(block["frames"]), block["mean"], block["squares"]) for block in blocks))

    def _side(self, name: str, rows: np.ndarray, of_documents: Moments | None) -> _Side:
        queries = [query for group in self._groups(rows) for query in group]
        lengths = np.array([values.shape[1] for values, _ in queries])
        scaling = None
        if of_documents is not None:
            scaling = reduce(add, _moments_of(queries), of_documents).scaling(self._device)
        long = np.flatnonzero(lengths >= self._numbers.shortest_query)
        self.short[name] = np.flatnonzero(lengths < self._numbers.shortest_query)
        dtype = getattr(torch, self._numbers.precision)
        matchers = [
            Matcher(
                [_scaled(_layer(queries[place], layer), scaling, layer) for place in long],
                self._numbers.distance,
                dtype,
                self._device,
            )
            for layer in range(self._layers if len(long) else 0)
        ]
        return _Side(len(rows), long, scaling, matchers)

    def _costs_of(self, documents: list[Utterance], sides: dict[str, _Side]) -> dict[str, np.ndarray]:
        """For each side the (layers, queries, documents) costs."""
        found = {name: [] for name in sides}
        for layer in range(self._layers):
            frames = [_layer(document, layer) for document in documents]
            for name, side in sides.items():
                found[name].append(side.costs(frames, layer))
        return {name: np.stack(costs) for name, costs in found.items()}

    def _each(self, rows: np.ndarray, work: Callable[[list[Utterance]], T], pool: ThreadPoolExecutor) -> Iterator[T]:
        """What comes of the utterances, in order: of each, on a thread of the pool; on a GPU of all together."""
        if self._device.type != "cpu":
            yield work([utterance for group in self._groups(rows) for utterance in group])
            return
        waiting = deque()
        for group in self._groups(rows):
            waiting.extend(pool.submit(work, [utterance]) for utterance in group)
            while waiting and len(waiting) > (len(group) if self._features.ahead else 0):  # hearing wants the cores
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _groups(self, rows: np.ndarray) -> Iterator[list[Utterance]]:
        """Utterances by the group that the features give together."""
        size = self._features.eval_rows
        parts = [rows[first : first + size] for first in range(0, len(rows), size)]
        ahead = self._features.ahead
        with closing(prefetched(self._features.batch if ahead else self._hear, parts, ahead)) as batches:
            for batch in batches:
                batch = batch.to(self._device)
                yield list(zip(batch.values, batch.scales, strict=True))

    def _hear(self, rows: np.ndarray) -> FrameBatch:
        """An upstream at work, while the threads that search wait for it."""
        with threads(self._threads):
            return self._features.batch(rows)

    def _once(
        self, kind: str, number: int, work: Callable[[np.ndarray], dict[str, np.ndarray]], bar: tqdm, each: int
    ) -> dict[str, np.ndarray]:
        """The result of a block, computed unless it was before."""
        path, block = self._folder / f"{kind}-{self._key}-{number:05d}.state", self._blocks[number]
        kept = _load(path)
        if kept is not None:
            _go_on_from(bar, len(block) * each)
            return kept
        found = work(block)
        buffer = io.BytesIO()
        np.savez(buffer, **found)
        content = buffer.getvalue()
        files.write_bytes(path, _checksum(content) + content)
        return found

    def _bar(self, title: str, total: int, unit: str) -> tqdm:
        return tqdm(
            total=total, desc=title, unit=unit, unit_scale=total > 10**5, disable=not self._progress, leave=False
        )


def _load(path: Path) -> dict[str, np.ndarray] | None:
    """A block that was done before; one that is damaged is as good as none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    told, content = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    if told != _checksum(content):
        tqdm.write(f"{path}: cannot be continued from (its numbers are damaged); this block is done again", sys.stderr)
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECKSUM_BYTES).digest()


def _go_on_from(bar: tqdm, done: int) -> None:
    """Count what was done before, so that the pace shown is that of this process."""
    if not bar.disable:
        bar.initial += done
        bar.n += done
        bar.refresh()


def _layer(utterance: Utterance, layer: int) -> Tensor:
    values, scales = utterance
    return values[layer].float() * scales[layer]


def _scaled(frames: Tensor, scaling: tuple[Tensor, Tensor] | None, layer: int) -> Tensor:
    if scaling is None:
        return frames
    mean, deviation = scaling
    return (frames - mean[layer]) / deviation[layer]


def _moments_of(utterances: list[Utterance]) -> list[Moments]:
    return [Moments.of(values, scales) for values, scales in utterances]
