"""Speech recognition out of domain, Spanish."""

from downstream.tasks.ood_asr import task

TASK = task("es")
