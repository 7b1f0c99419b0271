"""Cells before they are computed: which corpus, which examples, which numbers, and the name of the result."""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np

from benchmark import __version__
from benchmark.options import Options
from downstream import corpora, protocols, tasks
from downstream.objectives import Objective
from downstream.protocols import Protocol, TaskProtocol
from downstream.represent.features import Request
from downstream.tasks import Fold, Task
from downstream.types import Example, Manifest
from upstream.audio import SAMPLE_RATE
from upstream.errors import UsageError
from upstream.loaded import LoadedUpstream
from upstream.registry import folder_name


@dataclass(frozen=True)
class Reading:
    """A task's corpus, read once for all upstreams and seeds."""

    task: Task
    manifest: Manifest
    objective: Objective
    folds: list[Fold]
    protocol: TaskProtocol

    @cached_property
    def examples(self) -> list[Example]:
        """Every example that a fold uses, once."""
        return list(dict.fromkeys(e for fold in self.folds for pool in fold.pools for e in pool.examples))

    @cached_property
    def row_of(self) -> dict[Example, int]:
        return {example: row for row, example in enumerate(self.examples)}

    @cached_property
    def corpus_digest(self) -> str:
        """Of the corpus and of how the folds divide it."""
        digest = blake2b(self.manifest.digest().encode(), digest_size=16)
        for fold in self.folds:
            for pool in fold.pools:
                digest.update("\n".join([fold.name, *(e.id for e in pool.examples)]).encode())
        return digest.hexdigest()

    def rows(self, examples: list[Example]) -> np.ndarray:
        return np.array([self.row_of[example] for example in examples], dtype=np.int64)

    def request(self, upstream: LoadedUpstream) -> Request:
        croppable = np.zeros(len(self.examples), dtype=bool)
        numbers = self.protocol
        if numbers.crop_seconds is not None or numbers.min_seconds is not None:
            for fold in self.folds:
                croppable[self.rows(fold.train.examples)] = True
        return Request(
            upstream,
            self.manifest,
            self.examples,
            croppable,
            numbers.gain_db,
            numbers.crop_seconds,
            self.objective.form,
            bool(numbers.trim),
            round((numbers.min_seconds or 0) * SAMPLE_RATE),
        )


@dataclass(frozen=True)
class Cell:
    """One (upstream, task, protocol, corpus, seed), and where its row goes."""

    upstream: LoadedUpstream
    reading: Reading
    protocol: Protocol
    seed: int
    mode: str
    limit: int | None
    results: Path

    @cached_property
    def id(self) -> str:
        """Changes with everything that the row depends on."""
        facts = {
            "upstream": self.upstream.fingerprint,
            "task": self.reading.task.name,
            "protocol": [self.protocol.name, *self.protocol.changes_of(self.reading.task.name)],
            "settings": self.reading.protocol.settings(),
            "corpus": self.reading.corpus_digest,
            "objective": self.reading.objective.digest(),
            "seed": self.seed,
            "features": self.mode,
            "limit": self.limit,
            "version": __version__,
        }
        return blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=6).hexdigest()

    @property
    def folder(self) -> Path:
        return self.results / folder_name(self.upstream.name) / self.reading.task.name / self.id

    @property
    def row_path(self) -> Path:
        return self.folder / "row.json"

    def __str__(self) -> str:
        return f"{self.upstream.name} / {self.reading.task.name} / {self.protocol.name} / seed {self.seed}"


def mini_folder(cache: Path) -> Path:
    """Where --mini keeps its corpora: a place of its own for each version, so that they never mix."""
    from downstream.corpora.mini import MINI_VERSION

    return cache / "mini" / f"version-{MINI_VERSION}"


def data_folder(options: Options) -> Path:
    """The folder with the corpora; with --mini they are made in the cache where they are not there yet."""
    if not options.mini:
        return options.data
    from downstream.corpora import mini

    folder = mini_folder(options.cache_dir)
    wanted = dict.fromkeys(corpora.info(tasks.get(task).corpus).mini_name for task in options.task)
    mini.make(folder, list(wanted), progress=options.progress)
    return folder


def read_task(name: str, data: Path, protocol: Protocol, limit: int | None) -> Reading:
    """Find and read the corpus of a task and arrange it as the task wants it."""
    task = tasks.get(name)
    numbers = protocol.task(name)
    manifest = corpora.read(task.corpus, data)
    objective = task.objective(manifest, numbers)
    if not objective.croppable:
        for key in ("crop_seconds", "trim"):
            if getattr(numbers, key):
                raise UsageError(f"task '{name}' learns whole utterances: its {key} can be nothing but null.")
    if limit is not None:
        manifest.splits = {split: _evenly(examples, limit) for split, examples in manifest.splits.items()}
    return Reading(task, manifest, objective, task.folds(manifest, numbers, objective), numbers)


def _evenly(examples: list[Example], limit: int) -> list[Example]:
    """At most `limit` examples, evenly spread, so that sorted splits keep all of their classes as far as they can."""
    places = np.unique(np.linspace(0, len(examples) - 1, min(limit, len(examples))).astype(int))
    return [examples[place] for place in places]


def load_protocol(options: Options) -> Protocol:
    return protocols.load(options.protocol_name, options.set, options.lr)
