"""Speech separation on Libri2Mix: two speakers who talk at once, without noise."""

from downstream.corpora import libri2mix_separation as libri2mix
from downstream.fit import named_heads
from downstream.objectives.separation import Separation
from downstream.protocols import TaskProtocol
from downstream.tasks import TrainedTask, three_splits
from downstream.types import Manifest


def _objective(manifest: Manifest, protocol: TaskProtocol) -> Separation:
    named_heads.check("ss", protocol)
    return Separation(manifest.root, "ss", sources=2, primary="si_sdri")


TASK = TrainedTask(
    name="ss",
    corpus=libri2mix.CORPUS,
    metric="si_sdri",
    objective=_objective,
    folds=three_splits,
)
