"""A rehearsal of what it costs to look for queries in documents: a few of each, made up."""

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmark.cells import SearchReading
from benchmark.planning.rates import timed
from downstream.represent.features import Request
from downstream.represent.frame_features import FrameBatch, FrameFeatures
from downstream.search.sweep import Sweep
from downstream.types import Example, evenly
from upstream.audio import SAMPLE_RATE
from upstream.errors import DataError

_SIZES = ((4, 8), (16, 32))  # queries a side, and documents
_SHORT = 0.2  # seconds: when few are done in less, more are looked at
_DEVIATION = 0.1


@dataclass
class _MadeUp:
    """Frames of the lengths that some examples have."""

    request: Request
    seconds: list[float]
    eval_rows: int = FrameFeatures.eval_rows
    ahead: int = FrameFeatures.ahead

    def __post_init__(self) -> None:
        """Noise for the longest: to make it for each would take as long as to look through it."""
        longest = math.prod(self._shape(round(max(self.seconds) * SAMPLE_RATE)))
        self._noise = (_DEVIATION * torch.randn(longest, generator=torch.Generator().manual_seed(0))).half()

    def facts(self) -> dict:
        return {"audio": "made up"}

    def batch(self, rows: np.ndarray) -> FrameBatch:
        samples = [round(self.seconds[row] * SAMPLE_RATE) for row in rows]
        values = [self._noise[: math.prod(shape)].clone().view(shape) for shape in map(self._shape, samples)]
        return FrameBatch(values, torch.ones(len(rows), self.request.upstream.num_layers), torch.tensor(samples))

    def _shape(self, samples: int) -> tuple[int, int, int]:
        upstream = self.request.upstream
        return upstream.num_layers, max(1, samples // upstream.hop), upstream.dim


def searching(reading: SearchReading, request: Request, seconds: dict[Example, float]) -> dict:
    """Seconds to look for a second of query in a second of document, on all layers; and [pairs, seconds] to judge what
    was found of so many."""
    _Search(reading, request, seconds, 1, 1).sweep()  # compiles
    judged = []
    for size in _SIZES:
        some = _Search(reading, request, seconds, *size)
        took = some.sweep()
        with suppress(DataError):  # none of so few queries may be said anywhere
            judged.append((some.search.pairs(), max(0.0, some.whole() - took)))
        if took > _SHORT:
            break
    return {"seconds": took / compared_seconds(some.search.parts, seconds), "judged": judged or [(0, 0.0)]}


class _Search:
    """A few queries a side, and documents."""

    def __init__(
        self, reading: SearchReading, request: Request, seconds: dict[Example, float], queries: int, documents: int
    ) -> None:
        counts = {name: documents if name == "documents" else queries for name, _ in reading.parts}
        parts = {name: evenly(own, counts[name]) for name, own in reading.parts}
        self.search, self._numbers, self._device = (
            replace(reading.search, parts=parts),
            reading.protocol,
            request.upstream.device,
        )
        self._features = _MadeUp(request, [seconds[example] for own in parts.values() for example in own])
        edges = np.cumsum([0, *map(len, parts.values())])
        self._rows = {name: np.arange(*edges[place : place + 2]) for place, name in enumerate(parts)}

    def sweep(self) -> float:
        sides = dict(self._rows)
        with TemporaryDirectory() as folder:
            sweep = Sweep(self._features, sides.pop("documents"), sides, self._numbers, Path(folder), False)
            return timed(sweep.costs, self._device)

    def whole(self) -> float:
        with TemporaryDirectory() as folder:
            return timed(lambda: self.search.run(self._features, self._rows, Path(folder), 0, False), self._device)


def compared_seconds(parts: dict[str, list[Example]], seconds: dict[Example, float]) -> float:
    """Seconds of documents times seconds of queries."""
    lengths = {name: sum(seconds[example] for example in own) for name, own in parts.items()}
    return lengths.pop("documents") * sum(lengths.values())
