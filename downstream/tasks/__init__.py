"""The tasks, each a short declaration in a file of its own. Importing this imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from downstream.protocols import TaskProtocol
from downstream.sampling import Pool
from downstream.types import Manifest
from upstream.errors import unknown

TASKS = {
    "ks": "Keyword spotting",
    "ic": "Intent classification",
    "sid": "Speaker identification",
    "er": "Emotion recognition",
}


@dataclass(frozen=True)
class Fold:
    """One training: what it learns from, what it is selected on, what it is scored on."""

    name: str
    train: Pool
    dev: Pool
    test: Pool

    @property
    def pools(self) -> tuple[Pool, Pool, Pool]:
        return self.train, self.dev, self.test


@dataclass(frozen=True)
class Task:
    """What makes a task that task; everything else is shared.

    `classes` lists the class names of each thing to predict, in the order of the head's outputs; `folds` arranges the
    corpus into trainings.
    """

    name: str
    corpus: str
    metric: str
    classes: Callable[[Manifest], tuple[tuple[str, ...], ...]]
    folds: Callable[[Manifest, TaskProtocol], list[Fold]]

    @property
    def title(self) -> str:
        return TASKS[self.name]


def get(name: str) -> Task:
    """The declaration of a task."""
    if name not in TASKS:
        raise unknown("task", name, TASKS, "Use --task all for every one.")
    return import_module(f"downstream.tasks.{name}").TASK


def three_splits(manifest: Manifest, _: TaskProtocol) -> list[Fold]:
    """The one fold of a corpus that comes with train, dev and test."""
    return [Fold("all", *(Pool(manifest.splits[split]) for split in ("train", "dev", "test")))]
