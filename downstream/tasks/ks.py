"""Keyword spotting on Speech Commands v0.01: ten keywords, anything else, silence."""

import numpy as np

from downstream.corpora.speech_commands import CLASSES
from downstream.fit.sampling import Pool
from downstream.objectives.classification import Classification
from downstream.protocols import TaskProtocol
from downstream.tasks import Fold, TrainedTask
from downstream.types import Example, Manifest


def _balanced(words: list[Example], silence: list[Example]) -> Pool:
    """Every class equally likely; within silence every noise file, and within a file every crop.

    SUPERB counts each noise file as one item and crops it anew at each draw, so an epoch has as many draws as there are
    word clips and noise files.
    """
    by_class = dict(zip(*np.unique([e.target[0] for e in words], return_counts=True), strict=True))
    by_noise = dict(zip(*np.unique([e.audio for e in silence], return_counts=True), strict=True))
    weights = [1 / by_class[e.target[0]] for e in words]
    weights += [1 / (by_noise[e.audio] * len(by_noise)) for e in silence]
    return Pool([*words, *silence], np.array(weights), draws=len(words) + len(by_noise))


def _folds(manifest: Manifest, protocol: TaskProtocol, _: Classification) -> list[Fold]:
    splits = manifest.splits
    pool = _balanced if protocol.balanced else lambda words, silence: Pool([*words, *silence])
    train, dev = (pool(splits[name], splits["silence"]) for name in ("train", "dev"))
    return [Fold("all", train, dev, Pool(splits["test"]))]


TASK = TrainedTask(
    name="ks",
    corpus="speech_commands",
    metric="accuracy",
    objective=lambda manifest, _: Classification((CLASSES,)),
    folds=_folds,
)
