"""Cells before they are computed: which corpus, which examples, which numbers, and the name of the result."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np

from benchmark import __version__
from benchmark.options import Options
from downstream import corpora, protocols, tasks
from downstream.objectives import Objective
from downstream.protocols import Numbers, Protocol, SearchProtocol, TaskProtocol
from downstream.represent.features import Request
from downstream.search import Search
from downstream.tasks import Fold, SearchTask, Task, TrainedTask
from downstream.types import Example, Manifest, evenly
from upstream.audio import SAMPLE_RATE
from upstream.errors import UsageError
from upstream.loaded import LoadedUpstream
from upstream.registry import folder_name


@dataclass(frozen=True)
class Reading(ABC):
    """A task's corpus, read once for all upstreams and seeds."""

    task: Task
    manifest: Manifest
    protocol: Numbers

    @property
    @abstractmethod
    def form(self) -> str:
        """Of the features."""

    @property
    @abstractmethod
    def parts(self) -> Iterator[tuple[str, list[Example]]]:
        """The examples that are used, by what they are used for, and in which training."""

    @abstractmethod
    def digest(self) -> str:
        """Changes with everything beside the corpus and the protocol that changes what is learned, found or scored."""

    @abstractmethod
    def effort(self, layers: int) -> dict[str, int]:
        """How much there is to compute once the upstream has been heard, by name."""

    @cached_property
    def examples(self) -> list[Example]:
        """Every example that is used, once."""
        return list(dict.fromkeys(example for _, examples in self.parts for example in examples))

    @cached_property
    def corpus_digest(self) -> str:
        """Of the corpus and of how it is divided."""
        digest = blake2b(self.manifest.digest().encode(), digest_size=16)
        for name, examples in self.parts:
            digest.update("\n".join([name, *(e.id for e in examples)]).encode())
        return digest.hexdigest()

    @property
    def preparation(self) -> tuple:
        """Alike for readings whose features can be shared."""
        return (self.manifest.root, self.manifest.corpus, self.form, self.protocol.gain_db)

    def request(self, upstream: LoadedUpstream) -> Request:
        nowhere = np.zeros(len(self.examples), dtype=bool)
        return Request(upstream, self.manifest, self.examples, nowhere, self.protocol.gain_db, form=self.form)


@dataclass(frozen=True)
class TrainedReading(Reading):
    """Of a task in which something is learned."""

    protocol: TaskProtocol
    objective: Objective
    folds: list[Fold]

    @property
    def form(self) -> str:
        return self.objective.form

    @property
    def parts(self) -> Iterator[tuple[str, list[Example]]]:
        return ((fold.name, pool.examples) for fold in self.folds for pool in fold.pools)

    def digest(self) -> str:
        return self.objective.digest()

    def effort(self, layers: int) -> dict[str, int]:
        return {
            "optimizer_steps": len(self.folds) * self.protocol.steps,
            "learning_rates": len(self.protocol.rates),
            "halving": bool(self.protocol.halving),
            "heads": len(self.protocol.heads(layers)[0]),
        }

    @property
    def preparation(self) -> tuple:
        return (*super().preparation, self.protocol.crop_seconds, bool(self.protocol.trim), self._least_samples)

    @property
    def _least_samples(self) -> int:
        return round((self.protocol.min_seconds or 0) * SAMPLE_RATE)

    def request(self, upstream: LoadedUpstream) -> Request:
        numbers = self.protocol
        request = replace(
            super().request(upstream),
            crop_seconds=numbers.crop_seconds,
            trim=bool(numbers.trim),
            least_samples=self._least_samples,
        )
        if numbers.crop_seconds is not None or numbers.min_seconds is not None:
            for fold in self.folds:
                request.croppable[request.rows(fold.train.examples)] = True
        return request


@dataclass(frozen=True)
class SearchReading(Reading):
    """Of a task in which something is looked for, and nothing learned."""

    protocol: SearchProtocol
    search: Search

    @property
    def form(self) -> str:
        return self.search.form

    @property
    def parts(self) -> Iterator[tuple[str, list[Example]]]:
        return iter(self.search.parts.items())

    def digest(self) -> str:
        return self.search.digest()

    def effort(self, layers: int) -> dict[str, int]:
        return {"pairs": layers * self.search.pairs()}


@dataclass(frozen=True)
class Cell:
    """One (upstream, task, protocol, corpus, seed), and where its row goes.

    `command` computes it alone; under `tensorboard` its training can be watched.
    """

    upstream: LoadedUpstream
    reading: Reading
    protocol: Protocol
    seed: int
    mode: str
    limit: int | None
    results: Path
    pretraining: dict = field(default_factory=dict)  # of the upstream, as far as it is known
    command: str = ""
    tensorboard: Path | None = None

    @cached_property
    def id(self) -> str:
        """Changes with everything that the row depends on."""
        facts = {
            "upstream": self.upstream.fingerprint,
            "task": self.reading.task.name,
            "protocol": [self.protocol.name, *self.protocol.changes_of(self.reading.task.name)],
            "settings": self.reading.protocol.settings(),
            "corpus": self.reading.corpus_digest,
            "objective": self.reading.digest(),
            "seed": self.seed,
            "features": self.mode,
            "limit": self.limit,
            "version": __version__,
        }
        return blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=6).hexdigest()

    @property
    def _path(self) -> Path:
        return Path(folder_name(self.upstream.name), self.reading.task.name, self.id)

    @property
    def folder(self) -> Path:
        return self.results / self._path

    @property
    def watched(self) -> Path | None:
        return self.tensorboard and self.tensorboard / self._path

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
    read = _read_search if isinstance(task, SearchTask) else _read_trained
    return read(task, manifest, numbers, limit)


def _read_search(task: SearchTask, manifest: Manifest, numbers: SearchProtocol, limit: int | None) -> SearchReading:
    if limit is not None:
        manifest.splits = task.limited(manifest.splits, limit)
    return SearchReading(task, manifest, numbers, task.objective(manifest, numbers))


def _read_trained(task: TrainedTask, manifest: Manifest, numbers: TaskProtocol, limit: int | None) -> TrainedReading:
    objective = task.objective(manifest, numbers)
    if not objective.croppable:
        for key in ("crop_seconds", "trim"):
            if getattr(numbers, key):
                raise UsageError(f"task '{task.name}' learns whole utterances: its {key} can be nothing but null.")
    if limit is not None:
        manifest.splits = {split: evenly(examples, limit) for split, examples in manifest.splits.items()}
    return TrainedReading(task, manifest, numbers, objective, task.folds(manifest, numbers, objective))


def load_protocol(options: Options) -> Protocol:
    return protocols.load(options.protocol_name, options.set, options.lr, options.layers)
