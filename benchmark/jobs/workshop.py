"""Where jobs are done: corpora are read once, upstreams loaded once, whatever number of jobs want them."""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

from benchmark.boards import digits_of
from benchmark.cells import Cell, Reading, data_folder, load_protocol, read_task
from benchmark.command import command_of
from benchmark.compute import compute, failed
from benchmark.hearings import Hearing
from benchmark.jobs.job import COMPUTE, HEAR, Job, Result
from benchmark.options import LIVE, Options
from benchmark.planning.predictions import upstream_bytes
from benchmark.rows import DONE, Row, read_row
from downstream import files
from downstream.processes import free_memory
from downstream.represent import extraction
from downstream.represent.features import FRAMES, Features, LiveFeatures, Request
from downstream.represent.frame_features import LiveFrames
from downstream.represent.kept import Room
from downstream.represent.ledger import Ledger
from upstream.errors import BenchmarkError, DataError, ResourceError
from upstream.loaded import LoadedUpstream, Remembered


class Workshop:
    """Does jobs in this process. `known` are upstreams that another process has loaded before."""

    def __init__(
        self, options: Options, say: Callable[[str], None], known: dict[str, Remembered] | None = None
    ) -> None:
        self.options, self.say = options, say
        self.protocol = load_protocol(options)
        self.room = Room(options.cache_dir, options.cache_limit, say)
        self.ledger = Ledger()
        self.memory_limit = options.memory_limit or free_memory() // 2  # of the models that are loaded at a time
        self._data = data_folder(options)
        self._models = {str(model): model for model in options.models}
        self._readings: dict[str, Reading] = {}
        self._upstreams: dict[str, LoadedUpstream] = {}
        self._known = known or {}

    def reading(self, task: str) -> Reading:
        if task not in self._readings:
            self._readings[task] = read_task(task, self._data, self.protocol, self.options.limit)
        return self._readings[task]

    def hearing(self, tasks: tuple[str, ...]) -> Hearing:
        return Hearing(tuple(map(self.reading, tasks)))

    def upstream(self, model: str) -> LoadedUpstream:
        if model not in self._upstreams:
            source, known = self._models[model], self._known.get(model)
            where = (self.options.device, self.options.dtype)
            self._upstreams[model] = source.load(*where) if known is None else source.recall(known, *where)
        return self._upstreams[model]

    def names(self) -> list[str]:
        """What the upstreams that were loaded are called in rows, in the order in which they were asked for."""
        return [upstream.name for upstream in self._upstreams.values()]

    def known(self) -> dict[str, dict]:
        """The upstreams that were loaded, as other processes may know them."""
        return {model: upstream.remembered().as_json() for model, upstream in self._upstreams.items()}

    def make_space(self, wanted: tuple[str, ...] = ()) -> None:
        """Let go of models for those that are wanted now, where all together would pass the limit."""
        loaded = {name: upstream for name, upstream in self._upstreams.items() if upstream.in_memory}
        needed = sum(upstream_bytes(self._upstreams[name]) for name in {*loaded, *wanted})
        if needed > self.memory_limit // self.options.workers:
            for name in loaded.keys() - set(wanted):
                loaded[name].release()

    def cell(self, model: str, task: str, seed: int, mode: str) -> Cell:
        options, source = self.options, self._models[model]
        rest = (options.limit, options.results)
        cell = Cell(self.upstream(model), self.reading(task), self.protocol, seed, mode, *rest)
        command = command_of(options, source, cell)
        return replace(cell, pretraining=source.pretraining, command=command, tensorboard=options.tensorboard)

    def request(self, model: str, hearing: tuple[str, ...]) -> Request:
        return self.hearing(hearing).request(self.upstream(model))

    def perform(self, job: Job) -> Result:
        """Do a job; what goes wrong with it is part of its result."""
        start, self.ledger = time.perf_counter(), Ledger()
        result = Result()
        try:
            for model in job.models:
                self.upstream(model)
            self.make_space(job.models)
            work = self._hear if job.kind == HEAR else self._compute
            work(job, result)
        except Exception as error:
            self._note(error, result)
            if job.kind == COMPUTE:  # what could not be heard the cells will say
                self.say(f"{job}: {error}")
        result.ledger, result.seconds = self.ledger.as_dict(), time.perf_counter() - start
        return result

    def _note(self, error: Exception, result: Result) -> None:
        if not isinstance(error, BenchmarkError):  # a defect of ours: say where
            self.say("".join(traceback.format_exception(error)).rstrip())
        result.errors.append(error)

    def _hear(self, job: Job, result: Result) -> None:
        """All upstreams at once; where that fails each alone, so that one that breaks does not stop the others."""
        requests = [self.request(model, job.hearing) for model in job.models]
        try:
            self._hear_all(requests, job.part)
        except BenchmarkError as error:
            if len(requests) == 1:
                raise
            self.say(f"{job}: {error} Each is tried alone.")
            for request in requests:
                try:
                    self._hear_all([request], job.part)
                except BenchmarkError as own:
                    self._note(own, result)

    def _hear_all(self, requests: list[Request], part: tuple[int, int]) -> None:
        options = self.options
        extraction.hear(
            requests,
            options.cache_dir,
            progress=options.progress,
            say=self.say,
            room=self.room,
            ledger=self.ledger,
            part=part,
        )

    def _compute(self, job: Job, result: Result) -> None:
        cells = [self.cell(job.models[0], task, seed, job.mode) for task in job.tasks for seed in job.seeds]
        with _locked(cells, self.say):
            todo = []
            for cell in cells:
                if finished_row(cell, self.say) is None:
                    todo.append(cell)
                else:
                    self.settle(cell, result)
            if todo:
                self._compute_all(job, todo, result)

    def _compute_all(self, job: Job, cells: list[Cell], result: Result) -> None:
        try:
            start = time.perf_counter()
            with closing(self._features(job)) as features:
                opening = (time.perf_counter() - start) / len(cells)
                options, hearing = self.options, job.hearing_seconds + opening
                rows = compute(cells, features, hearing, options.progress, self.say)
        except Exception as error:
            rows = [error] * len(cells)
        for cell, row in zip(cells, rows, strict=True):
            if isinstance(row, Exception):
                with suppress(ResourceError):  # a full disk may have no room for the row of its own failure
                    failed(cell, row)
                self._note(row, result)
                self.say(f"{cell}: {row}")
            else:
                result.rows.append(cell.row_path)
                result.fresh += 1
                self.say(f"{cell}: {figure(row)} in {row.seconds['total']:.1f} s -> {cell.row_path}")

    def _features(self, job: Job) -> Features:
        request = self.request(job.models[0], job.hearing)
        if job.mode == LIVE:
            return (LiveFrames if request.form == FRAMES else LiveFeatures)(request, self.say, self.ledger)
        options = self.options
        return extraction.stored(request, options.cache_dir, options.progress, self.say, self.room, self.ledger)

    def settle(self, cell: Cell, result: Result) -> None:
        """A cell that is done already."""
        row = finished_row(cell, self.say)
        tensorboard = self.options.tensorboard
        unseen = cell.watched is not None and not cell.watched.is_dir()
        curves = f" (so {tensorboard} has no curves of it; train.jsonl beside the row has them)" if unseen else ""
        self.say(f"{cell}: {figure(row)}, already done{curves} -> {cell.row_path}")
        _with_pretraining(row, cell)
        result.rows.append(cell.row_path)


@contextmanager
def _locked(cells: list[Cell], say: Callable[[str], None]) -> Iterator[None]:
    """The cells for this process alone, in an order in which no two processes can wait for each other."""
    locks = []
    try:
        for cell in sorted(cells, key=lambda cell: str(cell.folder)):
            lock = files.Lock(cell.folder / ".lock")
            if not lock.acquire(wait=False):
                say(f"{cell}: another process is computing it in {cell.folder}; waiting for it")
                lock.acquire(wait=True)
            locks.append(lock)
        yield
    finally:
        for lock in locks:
            lock.release()


def finished_row(cell: Cell, say: Callable[[str], None]) -> Row | None:
    """The row of a cell that is done already."""
    if not cell.row_path.exists():
        return None
    try:
        row = read_row(cell.row_path)
    except DataError as error:
        say(f"{error} It is computed again.")
        return None
    return row if row.status == DONE else None


def _with_pretraining(row: Row, cell: Cell) -> None:
    """A row that was done before, with what a series now says of its model; what another said of it stays."""
    if row.pretraining != cell.pretraining and ("series" in cell.pretraining or not row.pretraining):
        row.pretraining = cell.pretraining
        files.write_text(cell.row_path, row.as_json())


def figure(row: Row) -> str:
    """The main figure of a row, in words."""
    score = row.score
    unit = f" {score['unit']}" if score["unit"] else ""
    value, low, high = (f"{number:.{digits_of(row.primary)}f}" for number in (score["value"], *score["ci95"]))
    return f"{row.primary} {value}{unit} (95 %: {low} to {high}, n = {score['n']})"
