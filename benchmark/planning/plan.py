"""What a run would do, without doing it: cells, data found or missing, what is heard and kept, and its time."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.cells import Cell, Reading, load_protocol, mini_folder, read_task
from benchmark.hearings import hearings
from benchmark.options import Options
from benchmark.planning.predictions import predict
from benchmark.planning.rates import Rates
from benchmark.planning.ways import CellName, Prediction
from benchmark.rows import DONE
from downstream import tasks
from downstream.corpora.check import look_at_audio
from downstream.represent.kept import Room
from upstream.errors import BenchmarkError, MissingError


@dataclass
class Planned:
    """One cell of a plan. `state` is `done`, `begun`, `to do`, or why it cannot be done.

    What several cells hear together is divided evenly among them. Seconds are None where they could not be measured.
    """

    upstream: str
    task: str
    seed: int
    state: str
    data: str
    exit_code: int = 0
    examples: int = 0
    audio_hours: float = 0.0
    features: str = ""
    why: str = ""  # the features are kept, or not
    heard_with: list[str] = field(default_factory=list)  # the tasks that need the same audio
    bytes_to_write: int = 0
    hearing_seconds: float | None = None
    seconds: dict[str, float | None] = field(default_factory=dict)  # of the rest, by hop
    total_seconds: float | None = None
    other_features: str = ""  # the mode that was not taken, and what it would cost
    other_bytes: int = 0
    other_hearing_seconds: float | None = None
    other_seconds: float | None = None  # all of it
    optimizer_steps: int = 0
    learning_rates: int = 0
    halving: bool = False  # learning rates that fall behind are dropped on the way
    heads: int = 0  # trained side by side: as many as learning rates, or that for every layer
    head_bytes: int = 0
    pairs: int = 0  # compared where nothing is learned
    row: str = ""


@dataclass
class Plan:
    """Cells in the order in which they were asked for, and what was predicted of those that can be computed."""

    cells: list[Planned]
    predictions: list[Prediction]
    options: Options

    @property
    def exit_code(self) -> int:
        return max((cell.exit_code for cell in self.cells), default=0)


def plan(options: Options, say: Callable[[str], None]) -> Plan:
    """Nothing is changed but the rates that are measured for it, in the cache."""
    protocol, folder = load_protocol(options), mini_folder(options.cache_dir) if options.mini else options.data
    readings: dict[str, Reading | BenchmarkError] = {}
    hours: dict[str, float] = {}
    for task in options.task:
        try:
            readings[task] = read_task(task, folder, protocol, options.limit)
            hours[task] = look_at_audio(readings[task].manifest, full=False, sources=False).hours
        except BenchmarkError as error:
            readings[task] = error
    shared = hearings(reading for reading in readings.values() if isinstance(reading, Reading))
    found, rates, room = (
        Plan([], [], options),
        Rates(options.cache_dir),
        Room(options.cache_dir, options.cache_limit, say),
    )
    for model in options.models:
        try:
            upstream = model.load(options.device, options.dtype)
        except BenchmarkError as error:
            say(f"{model}: {error}")
            found.cells += [_impossible(str(model), *name, error, folder, options) for name in _names(options)]
            continue
        planned: dict[CellName, Planned] = {}
        for hearing in shared:
            try:
                prediction = predict(hearing, upstream, protocol, options, room, rates)
            except BenchmarkError as error:
                names = ((task, seed) for task in hearing.tasks for seed in options.seed)
                planned |= {name: _impossible(upstream.name, *name, error, folder, options) for name in names}
                continue
            found.predictions.append(prediction)
            planned |= {name: _possible(prediction, name, hours[name[0]]) for name in prediction.cells}
        for name in _names(options):
            trouble = readings[name[0]]
            if isinstance(trouble, BenchmarkError):
                planned[name] = _impossible(upstream.name, *name, trouble, folder, options)
        found.cells += [planned[name] for name in _names(options)]
        upstream.release()
    for task, reading in readings.items():
        if isinstance(reading, BenchmarkError) and not _made_on_demand(reading, options):
            say(f"{task}: {reading}")
    return found


def _names(options: Options) -> Iterator[CellName]:
    return ((task, seed) for task in options.task for seed in options.seed)


def _made_on_demand(error: BenchmarkError, options: Options) -> bool:
    return options.mini and isinstance(error, MissingError)


def _impossible(upstream: str, task: str, seed: int, error: BenchmarkError, data: Path, options: Options) -> Planned:
    corpus = tasks.get(task).corpus
    if _made_on_demand(error, options):
        return Planned(upstream, task, seed, "to do", f"{corpus}: will be made in {data}")
    kind = "missing" if isinstance(error, MissingError) else "wrong"
    return Planned(upstream, task, seed, f"{kind}: {str(error).splitlines()[0]}", str(data), error.exit_code)


def _possible(prediction: Prediction, name: CellName, hours: float) -> Planned:
    cell: Cell = prediction.cells[name]
    reading, way, other = cell.reading, prediction.way, prediction.other
    planned = Planned(
        upstream=cell.upstream.name,
        task=reading.task.name,
        seed=cell.seed,
        state=prediction.states[name],
        data=str(reading.manifest.root),
        examples=len(reading.examples),
        audio_hours=round(hours, 3),
        features=cell.mode,
        heard_with=[task for task in prediction.hearing.tasks if task != reading.task.name],
        **reading.effort(cell.upstream.num_layers),
        head_bytes=prediction.head_bytes.get(name, 0),
        row=str(cell.row_path),
    )
    if planned.state == DONE:
        return planned
    planned.why = prediction.why
    hearing, hops = way.hearing(name), way.learning(name)
    planned.bytes_to_write, planned.hearing_seconds = way.written(name), _rounded(hearing)
    planned.seconds = {hop: _rounded(seconds) for hop, seconds in hops.items()}
    planned.total_seconds = _rounded(hearing + sum(hops.values()))
    if other is not None:
        planned.other_features, others = other
        planned.other_bytes, planned.other_hearing_seconds = others.written(name), _rounded(others.hearing(name))
        planned.other_seconds = _rounded(others.hearing(name) + sum(others.learning(name).values()))
    return planned


def _rounded(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds, 1)
