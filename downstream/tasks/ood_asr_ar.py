"""Speech recognition out of domain, Arabic."""

from downstream.tasks.ood_asr import task

TASK = task("ar")
