"""Speaker identification on VoxCeleb1: which of the speakers of the training list is talking."""

from downstream.tasks import Task, three_splits
from downstream.types import Manifest


def _classes(manifest: Manifest) -> tuple[tuple[str, ...], ...]:
    """Speakers in the order of their numbers, which for the whole corpus is SUPERB's number minus 10001."""
    return (tuple(sorted({e.target[0] for e in manifest.splits["train"]})),)


TASK = Task(
    name="sid",
    corpus="voxceleb1",
    metric="accuracy",
    classes=_classes,
    folds=three_splits,
)
