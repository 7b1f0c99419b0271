"""Runs cells one after the other: skips what is done, continues what was begun, records what fails."""

import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tqdm import tqdm

from benchmark.cells import Cell, Reading, data_folder, load_protocol, read_task
from benchmark.compute import compute, failed
from benchmark.options import Options
from benchmark.rows import DONE, Row, read_row
from downstream import files
from downstream.protocols import Protocol
from upstream import load
from upstream.errors import BenchmarkError, DataError, ResourceError


def say(line: str) -> None:
    """A line for the person watching, above any progress bar."""
    tqdm.write(line, file=sys.stderr)


@dataclass
class Outcome:
    """What became of the cells of a command."""

    rows: list[Row] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    fresh: int = 0  # cells computed now, not found done

    @property
    def exit_code(self) -> int:
        """0 when all is done; else 1 if any cell failed, or the code of what was missing or asked for wrongly."""
        codes = {getattr(error, "exit_code", 1) for error in self.errors}
        return 0 if not codes else 1 if 1 in codes else max(codes)


def run_cells(options: Options, raise_errors: bool = False) -> list[Row]:
    """Every row of the options: computed, continued or found."""
    return run(options, raise_errors).rows


def run(options: Options, raise_errors: bool = False) -> Outcome:
    """Compute the cells of the options, and say at the end what there is and what went wrong."""
    outcome = Outcome()
    protocol = load_protocol(options)
    data = data_folder(options, say)

    def attempt(work: Callable[[], object], what: str) -> object:
        try:
            return work()
        except Exception as error:
            if raise_errors:
                raise
            if not isinstance(error, BenchmarkError):  # a defect of ours: say where, and go on with the other cells
                say(traceback.format_exc().rstrip())
            outcome.errors.append(error)
            say(f"{what}: {error}")
            return None

    readings = [attempt(lambda task=task: _read(task, data, protocol, options), task) for task in options.task]
    for name in options.upstream:
        upstream = attempt(lambda name=name: load(name, options.weights, options.device, options.dtype), name)
        if upstream is None:
            continue
        for reading in filter(None, readings):
            for seed in options.seed:
                cell = Cell(upstream, reading, protocol, seed, options.mode, options.limit, options.results)
                row = attempt(lambda cell=cell: _one(cell, options, outcome), str(cell))
                if row is not None:
                    outcome.rows.append(row)
    return outcome


def _read(task: str, data: object, protocol: Protocol, options: Options) -> Reading:
    reading = read_task(task, data, protocol, options.limit)
    manifest = reading.manifest
    if not manifest.complete and options.limit is None:
        found = ", ".join(f"{split} {manifest.counts.get(split, 0)} of {n}" for split, n in manifest.expected.items())
        say(f"warning: {manifest.corpus} is not the published corpus ({found}); its rows are marked incomplete")
    return reading


def finished_row(cell: Cell) -> Row | None:
    """The row of a cell that is done already."""
    if not cell.row_path.exists():
        return None
    try:
        row = read_row(cell.row_path)
    except DataError as error:
        say(f"{error} It is computed again.")
        return None
    return row if row.status == DONE else None


def _one(cell: Cell, options: Options, outcome: Outcome) -> Row:
    row = finished_row(cell)
    if row is None:
        lock = files.Lock(cell.folder / ".lock")
        if not lock.acquire(wait=False):
            say(f"{cell}: another process is computing it in {cell.folder}; waiting for it")
            lock.acquire(wait=True)
        try:
            row = finished_row(cell)
            if row is None:
                row = _fresh(cell, options)
                outcome.fresh += 1
                say(f"{cell}: {_figure(row)} in {row.seconds['total']:.1f} s -> {cell.row_path}")
                return row
        finally:
            lock.release()
    say(f"{cell}: {_figure(row)}, already done -> {cell.row_path}")
    return row


def _fresh(cell: Cell, options: Options) -> Row:
    try:
        return compute(cell, options.cache_dir, options.progress, say)
    except Exception as error:
        with suppress(ResourceError):  # a full disk may have no room for the row of its own failure
            failed(cell, error)
        raise


def _figure(row: Row) -> str:
    score = row.score
    low, high = score["ci95"]
    return f"{row.primary} {score['value']:.2f} {score['unit']} (95 %: {low:.2f} to {high:.2f}, n = {score['n']})"
