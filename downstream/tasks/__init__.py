"""The tasks, each a short declaration in a file of its own. Importing this imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from downstream.fit.sampling import Pool
from downstream.objectives import Objective
from downstream.protocols import Numbers, TaskProtocol
from downstream.search import Search
from downstream.types import Example, Manifest
from upstream.errors import unknown

TASKS = {
    "pr": "Phoneme recognition",
    "asr": "Speech recognition",
    "ood-asr-zh": "Speech recognition out of domain, Mandarin",
    "ood-asr-es": "Speech recognition out of domain, Spanish",
    "ood-asr-ar": "Speech recognition out of domain, Arabic",
    "ks": "Keyword spotting",
    "qbe": "Query by example",
    "sid": "Speaker identification",
    "ic": "Intent classification",
    "sf": "Slot filling",
    "er": "Emotion recognition",
    "asv": "Speaker verification",
    "sd": "Speaker diarization",
    "ss": "Speech separation",
    "se": "Speech enhancement",
}


@dataclass(frozen=True)
class Fold:
    """One training: what it learns from, what it is selected on, what it is scored on.

    Folds of the same `suffix` are scored together, with one learning rate; the names of their scores end with it.
    `selected_on` says what dev is, where that is something else.
    """

    name: str
    train: Pool
    dev: Pool
    test: Pool
    suffix: str = ""
    selected_on: str = "dev"

    @property
    def pools(self) -> tuple[Pool, Pool, Pool]:
        return self.train, self.dev, self.test


@dataclass(frozen=True)
class Task:
    """What makes a task that task; everything else is shared.

    `metric` is the main one. `objective` says what is learned or looked for, and how it is scored.
    """

    name: str
    corpus: str
    metric: str
    objective: Callable[[Manifest, Numbers], Objective | Search]

    @property
    def title(self) -> str:
        return TASKS[self.name]


@dataclass(frozen=True)
class TrainedTask(Task):
    """Its objective is an `Objective`; `folds` arranges the corpus into trainings."""

    folds: Callable[[Manifest, TaskProtocol, Objective], list[Fold]]


@dataclass(frozen=True)
class SearchTask(Task):
    """Its objective is a `Search`: nothing is learned. `limited` leaves at most so many examples of each split."""

    limited: Callable[[dict[str, list[Example]], int], dict[str, list[Example]]]


def get(name: str) -> Task:
    """The declaration of a task."""
    if name not in TASKS:
        raise unknown("task", name, TASKS, "Use --task all for every one.")
    return import_module(f"downstream.tasks.{name.replace('-', '_')}").TASK


def three_splits(manifest: Manifest, _: TaskProtocol, __: Objective) -> list[Fold]:
    """The one fold of a corpus that comes with train, dev and test."""
    return [Fold("all", *(Pool(manifest.splits[split]) for split in ("train", "dev", "test")))]
