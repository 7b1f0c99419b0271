"""Emotion recognition on IEMOCAP: four emotions, five folds, each tested on a session it has not heard."""

from downstream.corpora import iemocap
from downstream.fit.sampling import Pool
from downstream.objectives.classification import Classification
from downstream.protocols import TaskProtocol
from downstream.tasks import Fold, TrainedTask
from downstream.types import Manifest


def _folds(manifest: Manifest, _: TaskProtocol, __: Classification) -> list[Fold]:
    return [Fold(name, *map(Pool, parts)) for name, *parts in iemocap.folds(manifest)]


TASK = TrainedTask(
    name="er",
    corpus="iemocap",
    metric="accuracy",
    objective=lambda manifest, _: Classification((iemocap.CLASSES,)),
    folds=_folds,
)
