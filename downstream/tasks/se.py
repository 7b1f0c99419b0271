"""Speech enhancement on VoiceBank-DEMAND: one speaker in a noise."""

from downstream.corpora import voicebank_demand
from downstream.fit import named_heads
from downstream.metrics import quality
from downstream.objectives.separation import Separation
from downstream.protocols import TaskProtocol
from downstream.tasks import TrainedTask, three_splits
from downstream.types import Manifest


def _objective(manifest: Manifest, protocol: TaskProtocol) -> Separation:
    named_heads.check("se", protocol)
    quality.require(("pesq", "stoi"))  # before the training, of which PESQ chooses the step
    return Separation(manifest.root, "se", sources=1, primary="pesq")


TASK = TrainedTask(
    name="se",
    corpus=voicebank_demand.CORPUS,
    metric="pesq",
    objective=_objective,
    folds=three_splits,
)
