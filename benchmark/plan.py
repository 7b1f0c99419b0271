"""What a run would do, without doing it: cells, data found or missing, hours of audio, bytes to write."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.cells import Cell, Reading, load_protocol, mini_folder, read_task
from benchmark.engine import finished_row
from benchmark.options import Options
from downstream import tasks
from downstream.corpora.check import look_at_audio
from downstream.extraction import bytes_to_write
from upstream import load
from upstream.errors import BenchmarkError, MissingError


@dataclass
class Planned:
    """One cell of a plan. `state` is `done`, `to do`, or why it cannot be done."""

    upstream: str
    task: str
    seed: int
    state: str
    data: str
    exit_code: int = 0
    examples: int = 0
    audio_hours: float = 0.0
    features: str = ""
    bytes_to_write: int = 0
    optimizer_steps: int = 0
    learning_rates: int = 0
    row: str = ""


def plan(options: Options, say: Callable[[str], None]) -> list[Planned]:
    """The cells of the options in the order in which they would be computed."""
    protocol = load_protocol(options)
    data = mini_folder(options.cache_dir) if options.mini else options.data
    readings: dict[str, Reading | BenchmarkError] = {}
    hours: dict[str, float] = {}
    for task in options.task:
        try:
            readings[task] = read_task(task, data, protocol, options.limit)
            hours[task] = look_at_audio(readings[task].manifest, full=False).hours
        except BenchmarkError as error:
            readings[task] = error
    planned = []
    for name in options.upstream:
        try:
            upstream = load(name, options.weights, options.device, options.dtype)
        except BenchmarkError as error:
            say(f"{name}: {error}")
            planned += [_impossible(name, task, seed, error, data, options) for task, seed in _pairs(options)]
            continue
        for task, seed in _pairs(options):
            reading = readings[task]
            if isinstance(reading, BenchmarkError):
                planned.append(_impossible(upstream.name, task, seed, reading, data, options))
                continue
            cell = Cell(upstream, reading, protocol, seed, options.mode, options.limit, options.results)
            planned.append(_possible(cell, hours[task], options.cache_dir))
    for task, reading in readings.items():
        if isinstance(reading, BenchmarkError) and not _made_on_demand(reading, options):
            say(f"{task}: {reading}")
    return planned


def _pairs(options: Options) -> Iterator[tuple[str, int]]:
    return ((task, seed) for task in options.task for seed in options.seed)


def _made_on_demand(error: BenchmarkError, options: Options) -> bool:
    return options.mini and isinstance(error, MissingError)


def _impossible(upstream: str, task: str, seed: int, error: BenchmarkError, data: Path, options: Options) -> Planned:
    corpus = tasks.get(task).corpus
    if _made_on_demand(error, options):
        return Planned(upstream, task, seed, "to do", f"{corpus}: will be made in {data}")
    kind = "missing" if isinstance(error, MissingError) else "wrong"
    return Planned(upstream, task, seed, f"{kind}: {str(error).splitlines()[0]}", str(data), error.exit_code)


def _possible(cell: Cell, hours: float, cache: Path) -> Planned:
    reading, done = cell.reading, finished_row(cell) is not None
    to_write = 0 if done or cell.mode == "live" else bytes_to_write(reading.request(cell.upstream), cache)
    return Planned(
        upstream=cell.upstream.name,
        task=reading.task.name,
        seed=cell.seed,
        state="done" if done else "to do",
        data=str(reading.manifest.root),
        examples=len(reading.examples),
        audio_hours=round(hours, 3),
        features=cell.mode,
        bytes_to_write=to_write,
        optimizer_steps=len(reading.folds) * reading.protocol.steps,
        learning_rates=len(reading.protocol.rates),
        row=str(cell.row_path),
    )


def lines(planned: list[Planned]) -> list[str]:
    """The plan as text."""
    text = []
    for cell in planned:
        text.append(f"{cell.upstream} / {cell.task} / seed {cell.seed}: {cell.state}")
        text.append(f"    data  {cell.data}")
        if cell.examples:
            text.append(
                f"    {cell.examples} examples in {cell.audio_hours:.2f} h of audio; {cell.features} features, "
                f"{cell.bytes_to_write / 1e6:.1f} MB to write; {cell.optimizer_steps} steps x "
                f"{cell.learning_rates} learning rates"
            )
            text.append(f"    row   {cell.row}")
    todo = [cell for cell in planned if cell.state == "to do"]
    total = sum(cell.bytes_to_write for cell in todo)
    text.append(f"{len(planned)} cells, {len(todo)} to do, about {total / 1e6:.1f} MB to write")
    return text
