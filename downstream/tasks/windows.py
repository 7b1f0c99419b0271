"""The folds of the tasks whose batches are SUPERB's sliding windows: PR, SF and OOD-ASR."""

from collections.abc import Callable

import numpy as np

from downstream.fit.sampling import Pool, Windows
from downstream.protocols import TaskProtocol
from downstream.tasks import Fold
from downstream.types import Example, Manifest
from upstream.audio import SAMPLE_RATE


def windowed(manifest: Manifest, protocol: TaskProtocol, length: Callable[[Example], int] | None = None) -> list[Fold]:
    """The one fold of a corpus. Windows slide over descending lengths of the targets, or durations where not given."""
    train = manifest.splits["train"]
    halve = None if protocol.halve_seconds is None else round(protocol.halve_seconds * SAMPLE_RATE)
    batches = Windows(None if length is None else np.array([length(example) for example in train]), halve)
    dev, test = (Pool(manifest.splits[split]) for split in ("dev", "test"))
    return [Fold("all", Pool(train, batches=batches), dev, test)]
