"""Speech recognition out of domain, Mandarin."""

from downstream.tasks.ood_asr import task

TASK = task("zh-CN")
