"""Which features a cell trains on, kept or heard anew, and what either would cost."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmark.cells import Cell, Reading
from benchmark.options import AUTO, FRAMES, LIVE, POOLED, Options
from benchmark.rows import DONE, read_row
from downstream.represent import features
from downstream.represent.extraction import bytes_to_write
from upstream.errors import DataError, UsageError
from upstream.loaded import LoadedUpstream

_SPARE = 0.1  # of the free space of the cache, which is left free


@dataclass(frozen=True)
class Price:
    """Of features of one mode: what is written, and how much audio the upstream has to hear."""

    mode: str
    bytes_to_write: int
    audio_seconds: float


def cell_of(reading: Reading, upstream: LoadedUpstream, seed: int, protocol: object, options: Options) -> Cell:
    """The cell with its mode settled. What was done or begun in one mode stays so, or goes on in it."""
    kept, asked = _kept(reading), options.features
    rest = (options.limit, options.results)
    cells = {mode: Cell(upstream, reading, protocol, seed, mode, *rest) for mode in (kept, LIVE)}
    if asked != AUTO:
        if asked not in cells:
            task = reading.task.name
            raise UsageError(f"task '{task}' has no features '{asked}'. Use --features {kept}, live or auto.")
        return cells[asked]
    if kept == POOLED:  # small and exact: there is nothing to weigh against keeping them
        return cells[POOLED]
    for so_far in (_is_done, _is_begun):
        for cell in cells.values():
            if so_far(cell):
                return cell
    if not bytes_to_write(reading.request(upstream), options.cache_dir):  # everything is there, and no audio is opened
        return cells[kept]
    return cells[cheaper(prices(reading, upstream, options.cache_dir), options.cache_dir)]


def cheaper(both: list[Price], cache: Path) -> str:
    """The mode in which less audio is heard, of those for which there is space."""
    place = next(parent for parent in [cache.absolute(), *cache.absolute().parents] if parent.exists())
    free = (1 - _SPARE) * shutil.disk_usage(place).free
    return min((price for price in both if price.bytes_to_write <= free), key=lambda p: p.audio_seconds).mode


def prices(reading: Reading, upstream: LoadedUpstream, cache: Path) -> list[Price]:
    """Of keeping features, where only what is missing is heard, and of hearing every batch anew."""
    request = reading.request(upstream)
    missing = bytes_to_write(request, cache)
    seconds = dict(zip(request.examples, request.seconds, strict=True))
    share = missing / max(1, request.bytes_estimate())
    return [
        Price(_kept(reading), missing, share * sum(seconds.values())),
        Price(LIVE, 0, reading.live_seconds(seconds)),
    ]


def _is_done(cell: Cell) -> bool:
    try:
        return cell.row_path.exists() and read_row(cell.row_path).status == DONE
    except DataError:  # it is told when the row is wanted
        return False


def _is_begun(cell: Cell) -> bool:
    return any(cell.folder.glob("*.state"))


def _kept(reading: Reading) -> str:
    return FRAMES if reading.form == features.FRAMES else POOLED
