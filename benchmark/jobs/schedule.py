"""In what order the cells of a command are computed, so that all audio is heard once and the limits are kept.

Hearings come one after the other; in each, as many upstreams hear the audio together as fit into memory, and the
features of as many are made as fit into the cache. Then the cells that need them are computed.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from benchmark.hearings import Hearing
from benchmark.jobs.job import COMPUTE, HEAR, Job, Result, Step
from benchmark.jobs.workshop import Workshop
from benchmark.options import LIVE
from benchmark.planning.predictions import CellName, Prediction, upstream_bytes
from downstream.represent.extraction import folder_of
from downstream.represent.features import MEANS
from downstream.represent.kept import InUse, in_use


@dataclass(frozen=True)
class Listening:
    """An upstream and a hearing, with the cells of them that are to be computed."""

    model: str
    hearing: Hearing
    prediction: Prediction
    cells: list[CellName]

    @property
    def kept(self) -> list[CellName]:
        """The cells whose features are kept."""
        return [cell for cell in self.cells if self.prediction.modes[cell] != LIVE]

    @property
    def heard(self) -> bool:
        """Whether all that the cells need is there."""
        return len(self.kept) == len(self.cells) and not self.prediction.bytes

    def jobs(self) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...]]]:
        """Mode, tasks and seeds of cells that are computed side by side.

        All that is live, as it shares what is heard; and the seeds of tasks that learn from time means, of which
        thousands are read a second. Frames are so many that they are read for one training at a time.
        """
        modes = self.prediction.modes
        together = self.hearing.readings[0].form == MEANS
        live = [cell for cell in self.cells if modes[cell] == LIVE]
        for seeds, tasks in _alike(live).items():
            yield LIVE, tasks, seeds
        for task in dict.fromkeys(task for task, _ in self.kept):
            seeds = tuple(seed for own, seed in self.kept if own == task)
            for some in [seeds] if together else [(seed,) for seed in seeds]:
                yield modes[task, some[0]], (task,), some


def _alike(cells: Iterable[CellName]) -> dict[tuple[int, ...], tuple[str, ...]]:
    """Tasks by the seeds that are wanted of them: a job is of all pairs of its tasks and its seeds."""
    seeds: dict[str, tuple[int, ...]] = {}
    for task, seed in cells:
        seeds[task] = (*seeds.get(task, ()), seed)
    tasks: dict[tuple[int, ...], tuple[str, ...]] = {}
    for task, own in seeds.items():
        tasks[own] = (*tasks.get(own, ()), task)
    return tasks


@dataclass
class Schedule:
    """The steps of a command, and what has to be known while they are taken."""

    workshop: Workshop
    width: int  # how many jobs are done at a time
    compute: bool = True  # or only make the features
    steps: list[Step] = field(default_factory=list)
    listenings: list[Listening] = field(default_factory=list)
    _rounds: dict[int, "_Round"] = field(default_factory=dict)  # by the number of a step

    def add(self, listenings: list[Listening]) -> None:
        """The steps for one hearing."""
        self.listenings += listenings
        for together in self._rounds_of([one for one in listenings if one.kept]):
            self._add_round(together)
        for one in listenings if self.compute else ():
            self._add_computing(one, [job for job in one.jobs() if job[0] == LIVE], frozenset(), None)

    def _rounds_of(self, listenings: list[Listening]) -> Iterator[list[Listening]]:
        """Those that are heard together: as many as memory and cache hold."""
        memory, disk = self.workshop.memory_limit // self.width, self.workshop.room.available()
        together: list[Listening] = []
        for one in listenings:
            loaded = sum(upstream_bytes(self.workshop.upstream(other.model)) for other in (*together, one))
            written = sum(other.prediction.bytes for other in (*together, one))
            if together and (loaded > memory or (disk is not None and written > disk)):
                yield together
                together = []
            together.append(one)
        if together:
            yield together

    def _add_round(self, listenings: list[Listening]) -> None:
        before = frozenset()
        if self.workshop.options.cache_limit is not None and self.steps:
            before = frozenset(range(len(self.steps)))  # what was made before has to go first
        this, heard = _Round(listenings), set()
        missing = [one for one in listenings if one.prediction.bytes or not self.compute]
        if missing:
            models, tasks = tuple(one.model for one in missing), listenings[0].hearing.tasks
            seconds = sum(one.prediction.hearing_seconds for one in missing)
            urgent = seconds + max(sum(one.prediction.cell_seconds[cell] for cell in one.cells) for one in listenings)
            for part in range(self.width):
                heard.add(len(self.steps))
                self._add(Job(HEAR, tasks, models, part=(part, self.width)), before, urgent, this)
            if not self.compute and self.width > 1:  # no cell will ask for what a killed worker leaves undone, or wait
                self._add(Job(HEAR, tasks, models), frozenset(heard), urgent, this)  # for what another command makes
        for one in listenings if self.compute else ():
            jobs = [job for job in one.jobs() if job[0] != LIVE]
            self._add_computing(one, jobs, frozenset(heard) or before, this)

    def _add_computing(self, one: Listening, jobs: list, after: frozenset[int], this: "_Round | None") -> None:
        for mode, tasks, seeds in jobs:
            job = Job(COMPUTE, one.hearing.tasks, (one.model,), tasks, seeds, mode)
            seconds = sum(one.prediction.cell_seconds[task, seed] for task in tasks for seed in seeds)
            self._add(job, after, seconds or math.inf, this)  # what could not be predicted may be the longest of all

    def _add(self, job: Job, after: frozenset[int], seconds: float, this: "_Round | None") -> None:
        if this is not None:
            self._rounds[len(self.steps)] = this
            this.left += 1
        self.steps.append(Step(job, after, seconds))

    def begin(self, number: int) -> Job:
        """The job of a step, as it begins: what it reads stays in the cache until it has ended."""
        job, this = self.steps[number].job, self._rounds.get(number)
        if this is None:
            return job
        this.hold(self.workshop)
        return replace(job, hearing_seconds=this.share(job.models[0])) if job.kind == COMPUTE else job

    def ended(self, number: int, result: Result) -> None:
        this = self._rounds.get(number)
        if this is not None:
            this.ended(self.steps[number].job, result, self.width)


@dataclass
class _Round:
    """Upstreams that hear the same audio together, and the cells that learn from what is kept of it."""

    listenings: list[Listening]
    left: int = 0  # steps that have not ended
    _heard: float = 0.0  # seconds
    _held: list[InUse] = field(default_factory=list)

    def hold(self, workshop: Workshop) -> None:
        if not self._held:
            cache = workshop.options.cache_dir
            requests = (workshop.request(one.model, one.hearing.tasks) for one in self.listenings)
            self._held = [in_use(folder_of(request, cache)).acquire() for request in requests]

    def share(self, model: str) -> float:
        """Of the time that hearing took, what each of a model's cells is charged with."""
        seconds = {one.model: one.prediction.hearing_seconds for one in self.listenings}
        cells = next(len(one.kept) for one in self.listenings if one.model == model)
        return self._heard * seconds[model] / (sum(seconds.values()) or 1) / cells

    def ended(self, job: Job, result: Result, width: int) -> None:
        self.left -= 1
        if job.kind == HEAR:
            self._heard += result.seconds / width
        if not self.left:
            for held in self._held:
                held.release()
