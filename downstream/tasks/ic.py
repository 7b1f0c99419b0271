"""Intent classification on Fluent Speech Commands: action, object and location, right only when all three are."""

from downstream.objectives.classification import Classification
from downstream.protocols import TaskProtocol
from downstream.tasks import TrainedTask, three_splits
from downstream.types import Manifest


def _objective(manifest: Manifest, _: TaskProtocol) -> Classification:
    """The values of each slot, numbered as they first appear in the training list."""
    slots = zip(*(example.target for example in manifest.splits["train"]), strict=True)
    return Classification(tuple(tuple(dict.fromkeys(values)) for values in slots))


TASK = TrainedTask(
    name="ic",
    corpus="fluent_speech_commands",
    metric="accuracy",
    objective=_objective,
    folds=three_splits,
)
