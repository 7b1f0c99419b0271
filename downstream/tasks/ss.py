"""Speech separation on Libri2Mix: two speakers who talk at once, without noise."""

from downstream.corpora import libri2mix_separation as libri2mix
from downstream.objectives.separation import Separation
from downstream.tasks import Task, three_splits

TASK = Task(
    name="ss",
    corpus=libri2mix.CORPUS,
    metric="si_sdri",
    objective=lambda manifest, _: Separation(manifest.root, "ss", sources=2, primary="si_sdri"),
    folds=three_splits,
)
