"""Which features a cell trains on, kept or heard anew, where that is not open."""

from benchmark.cells import Cell, Reading
from benchmark.options import AUTO, FRAMES, LIVE, POOLED, Options
from benchmark.rows import DONE, read_row
from downstream.protocols import Protocol
from downstream.represent import features
from upstream.errors import DataError, UsageError
from upstream.loaded import LoadedUpstream

BEGUN, TO_DO = "begun", "to do"  # what a cell can be, besides done


def kept_mode(reading: Reading) -> str:
    """The mode in which a task's features are kept."""
    return FRAMES if reading.form == features.FRAMES else POOLED


def cell_in(
    mode: str, reading: Reading, upstream: LoadedUpstream, seed: int, protocol: Protocol, options: Options
) -> Cell:
    return Cell(upstream, reading, protocol, seed, mode, options.limit, options.results)


def settled_cell(
    reading: Reading, upstream: LoadedUpstream, seed: int, protocol: Protocol, options: Options
) -> Cell | None:
    """The cell in the mode that was asked for, or in which it was done or begun; None where the choice is free."""
    kept, asked = kept_mode(reading), options.features
    cells = {mode: cell_in(mode, reading, upstream, seed, protocol, options) for mode in (kept, LIVE)}
    if asked != AUTO:
        if asked not in cells:
            task = reading.task.name
            raise UsageError(f"task '{task}' has no features '{asked}'. Use --features {kept}, live or auto.")
        return cells[asked]
    for state in (DONE, BEGUN):
        for cell in cells.values():
            if state_of(cell) == state:
                return cell
    return None


def state_of(cell: Cell) -> str:
    """`done`, `begun` or `to do`."""
    try:
        if cell.row_path.exists() and read_row(cell.row_path).status == DONE:
            return DONE
    except DataError:  # it is told when the row is wanted
        pass
    return BEGUN if any(cell.folder.glob("*.state")) else TO_DO
