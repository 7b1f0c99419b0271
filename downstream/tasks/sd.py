"""Speaker diarization on Libri2Mix: who of two speakers in a noise talks when."""

from downstream.corpora import libri2mix_diarization as libri2mix
from downstream.fit import named_heads
from downstream.metrics.turns import Turn
from downstream.objectives.diarization import Diarization
from downstream.protocols import TaskProtocol
from downstream.tasks import TrainedTask, three_splits
from downstream.types import Manifest


def _objective(manifest: Manifest, protocol: TaskProtocol) -> Diarization:
    protocol.need("chunk_frames", "thresholds", "medians")
    named_heads.check("sd", protocol)
    reference = {
        recording: [Turn(*turn) for turn in turns]
        for split in ("dev", "test")
        for recording, turns in libri2mix.reference(manifest, split).items()
    }
    settings = tuple((median, threshold) for median in protocol.medians for threshold in protocol.thresholds)
    return Diarization(reference, settings, protocol.chunk_frames)


TASK = TrainedTask(
    name="sd",
    corpus=libri2mix.CORPUS,
    metric="der",
    objective=_objective,
    folds=three_splits,
)
