"""Speaker identification on VoxCeleb1: which of the speakers of the training list is talking."""

from downstream.objectives.classification import Classification
from downstream.protocols import TaskProtocol
from downstream.tasks import TrainedTask, three_splits
from downstream.types import Manifest


def _objective(manifest: Manifest, _: TaskProtocol) -> Classification:
    """Speakers in the order of their numbers, which for the whole corpus is SUPERB's number minus 10001."""
    return Classification((tuple(sorted({e.target[0] for e in manifest.splits["train"]})),))


TASK = TrainedTask(
    name="sid",
    corpus="voxceleb1",
    metric="accuracy",
    objective=_objective,
    folds=three_splits,
)
