"""Computes the cells of a command: skips what is done, continues what was begun, records what fails."""

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from tqdm import tqdm

from benchmark import watching
from benchmark.cells import Reading
from benchmark.hearings import Hearing, hearings
from benchmark.jobs.job import COMPUTE, Executor, InThisProcess, Result
from benchmark.jobs.processes import WorkerProcesses
from benchmark.jobs.schedule import Listening, Schedule
from benchmark.jobs.workshop import Workshop, finished_row
from benchmark.options import LIVE, Options
from benchmark.planning.predictions import compared, predict
from benchmark.planning.rates import Rates
from benchmark.rows import Row, read_row
from downstream.represent.extraction import folder_of
from downstream.represent.ledger import Ledger
from downstream.represent.sizes import shown_size
from upstream.errors import BenchmarkError, ResourceError, UsageError

T = TypeVar("T")


def say(line: str) -> None:
    """A line for the person watching, above any progress bar."""
    tqdm.write(line, file=sys.stderr)


@dataclass
class Outcome:
    """What became of the cells of a command."""

    raise_errors: bool = False
    rows: list[Row] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    fresh: int = 0  # cells computed now, not found done

    def attempt(self, what: str, work: Callable[[], T]) -> T | None:
        """The result of some work, or None and its error said and kept, so that the other cells go on."""
        try:
            return work()
        except Exception as error:
            if self.raise_errors:
                raise
            if not isinstance(error, BenchmarkError):  # a defect of ours: say where
                say(traceback.format_exc().rstrip())
            self.errors.append(error)
            say(f"{what}: {error}")
            return None

    def take(self, result: Result) -> None:
        """What came of a job."""
        self.rows += map(read_row, result.rows)
        self.fresh += result.fresh
        self.errors += result.errors
        if self.raise_errors and result.errors:
            raise result.errors[0]

    @property
    def exit_code(self) -> int:
        """0 when all is done; else 1 if any cell failed, or the code of what was missing or asked for wrongly."""
        codes = {getattr(error, "exit_code", 1) for error in self.errors}
        return 0 if not codes else 1 if 1 in codes else max(codes)


def run(options: Options, raise_errors: bool = False) -> Outcome:
    """Compute the cells of the options. One that fails does not stop the others, unless errors are to be raised."""
    outcome = Outcome(raise_errors)
    if options.tensorboard:
        watching.prepare(options.tensorboard)
    workshop = Workshop(options, say)
    schedule = _planned(workshop, outcome)
    ledger, start = Ledger(), time.monotonic()
    with _executor(workshop) as executor:
        for number, result in executor.run(schedule.steps, schedule.begin):
            schedule.ended(number, result)
            ledger.merge(result.ledger)
            if schedule.steps[number].job.kind == COMPUTE:  # what could not be heard its cells have said themselves
                outcome.take(result)
    if outcome.fresh:
        predictions = [listening.prediction for listening in schedule.listenings]
        took = compared(predictions, outcome.rows, options.workers, time.monotonic() - start)
        for line in (*ledger.lines(), *took):
            say(line)
    names = workshop.names()
    outcome.rows.sort(
        key=lambda row: (names.index(row.upstream), options.task.index(row.task), options.seed.index(row.seed))
    )
    return outcome


def extract(options: Options) -> Outcome:
    """Make the features of the cells and stop there."""
    if options.features == LIVE:
        raise UsageError("--features live keeps nothing: there is nothing to extract.")
    outcome = Outcome()
    workshop = Workshop(options, say)
    schedule = _planned(workshop, outcome, compute=False)
    ledger, told = Ledger(), set[tuple]()
    with _executor(workshop) as executor:
        for number, result in executor.run(schedule.steps, schedule.begin):
            schedule.ended(number, result)
            ledger.merge(result.ledger)
            job = schedule.steps[number].job
            for error in result.errors:
                met = (job.models, job.hearing, str(error))
                if met not in told:  # parts of one hearing may all meet it
                    say(f"{job}: {error}")
                told.add(met)
            outcome.take(result)
    for line in ledger.lines():
        say(line)
    for listening in schedule.listenings:
        outcome.attempt(f"{listening.model} / {listening.hearing}", lambda one=listening: _say_kept(one, workshop))
    return outcome


def _say_kept(listening: Listening, workshop: Workshop) -> None:
    cache, request = workshop.options.cache_dir, workshop.request(listening.model, listening.hearing.tasks)
    if not listening.kept:
        raise ResourceError(
            f"keeping the features would cost more than hearing the audio anew, or there is no space for them in "
            f"{cache}. `plan` has the figures; --features frames keeps them all the same."
        )
    folder = folder_of(request, cache)
    size = shown_size(sum(path.stat().st_size for path in folder.glob("*.shard")))
    say(f"{request.upstream.name} / {' '.join(listening.hearing.tasks)}: {size} in {folder}")


def _planned(workshop: Workshop, outcome: Outcome, compute: bool = True) -> Schedule:
    """What there is to do. Each upstream is loaded to say what it is, and let go of again where memory is short."""
    options = workshop.options
    readings = (outcome.attempt(task, partial(_read, workshop, task)) for task in options.task)
    shared, rates = hearings(filter(None, readings)), Rates(options.cache_dir)
    listenings: dict[tuple[str, ...], list[Listening]] = {}
    for model in map(str, options.models):
        if outcome.attempt(model, partial(workshop.upstream, model)) is None:
            continue
        workshop.make_space((model,))
        for hearing in shared:
            work = partial(_listening, workshop, outcome if compute else None, model, hearing, rates)
            found = outcome.attempt(f"{model} / {hearing}", work)
            if found is not None:
                listenings.setdefault(found.hearing.tasks, []).append(found)
    schedule = Schedule(workshop, options.workers, compute)
    for heard in (True, False):  # what is there already first: what the rest takes may need its place
        for together in listenings.values():
            schedule.add([one for one in together if one.heard == heard])
    return schedule


def _read(workshop: Workshop, task: str) -> Reading:
    reading = workshop.reading(task)
    manifest = reading.manifest
    if not manifest.complete and workshop.options.limit is None:
        found = ", ".join(f"{split} {manifest.counts.get(split, 0)} of {n}" for split, n in manifest.expected.items())
        say(f"warning: {manifest.corpus} is not the published corpus ({found}); its rows are marked incomplete")
    return reading


def _listening(
    workshop: Workshop, outcome: Outcome | None, model: str, hearing: Hearing, rates: Rates
) -> Listening | None:
    """The cells of a model and a hearing that are not done yet; those that are done are taken into the outcome. Without
    one: all cells, done or not. Tasks that are done need not be heard again for those that are not."""
    options, upstream = workshop.options, workshop.upstream(model)
    prediction = predict(hearing, upstream, workshop.protocol, options, workshop.room, rates)
    cells, done = list(prediction.modes), Result()
    if outcome is not None:
        for name, mode in prediction.modes.items():
            cell = workshop.cell(model, *name, mode)
            if finished_row(cell, say) is not None:
                workshop.settle(cell, done)
                cells.remove(name)
        outcome.take(done)
    tasks = {task for task, _ in cells}
    if not tasks:
        return None
    if tasks < set(hearing.tasks):
        hearing = Hearing(tuple(reading for reading in hearing.readings if reading.task.name in tasks))
        prediction = predict(hearing, upstream, workshop.protocol, options, workshop.room, rates)
    return Listening(model, hearing, prediction, cells)


@contextmanager
def _executor(workshop: Workshop) -> Iterator[Executor]:
    options = workshop.options
    if options.workers == 1:
        yield InThisProcess(workshop.perform)
        return
    setting = {
        "options": replace(options, progress=False, memory_limit=workshop.memory_limit).as_json(),
        "known": workshop.known(),
    }
    with WorkerProcesses(options.workers, setting, say) as processes:
        yield processes
