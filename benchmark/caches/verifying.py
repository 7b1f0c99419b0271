"""Reading every byte of a cache's feature sets against its checksums, and clearing away what is no good."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from benchmark.caches.listing import IN_USE, Cache
from downstream.files import told
from downstream.processes import cores
from downstream.represent import store
from downstream.represent.kept import alone, bytes_of, finish_removal, partials
from upstream.errors import ResourceError


@dataclass
class Fault:
    """A shard that cannot be used, or what a killed process left."""

    path: Path
    trouble: str
    bytes: int
    left: str = ""  # why it was not removed although that was asked for
    removed: bool = False


@dataclass
class Verified:
    """What was read, and what is wrong. Leftovers harm nobody: they take space."""

    shards: int
    bytes: int
    out_of_date: int  # sets that nobody asks for any more, which were not read
    damaged: list[Fault] = field(default_factory=list)
    leftovers: list[Fault] = field(default_factory=list)

    @property
    def well(self) -> bool:
        return all(fault.removed for fault in self.damaged)


def verify(cache: Cache, progress: bool) -> Verified:
    """Look at every shard in several threads, and for leftovers."""
    current = [one for one in cache.sets if not one.out_of_date]
    paths = [path for one in current for path in one.shards]
    sizes = [bytes_of(path) for path in paths]
    found = Verified(len(paths), sum(sizes), len(cache.sets) - len(current))
    bar = tqdm(total=found.bytes, unit="B", unit_scale=True, desc="reading shards", disable=not progress, leave=False)

    def look(path: Path, size: int) -> str:
        trouble = _trouble(path)
        bar.update(size)
        return trouble

    with bar, ThreadPoolExecutor(cores()) as pool:
        troubles = list(pool.map(look, paths, sizes))
    for path, size, trouble in zip(paths, sizes, troubles, strict=True):
        if trouble:
            found.damaged.append(Fault(path, trouble, size))
    for one in cache.sets:
        if not one.in_use:  # else they are being written
            found.leftovers += [Fault(path, "half written", bytes_of(path)) for path in partials(one.folder)]
    found.leftovers += [Fault(path, "half removed", bytes_of(path)) for path in cache.leftovers]
    return found


def repair(found: Verified) -> None:
    """Remove damaged shards and leftovers, but for those of sets that somebody uses: they may be made anew just now."""
    for fault in (*found.damaged, *found.leftovers):
        try:
            fault.left = _cleared(fault)
        except ResourceError as error:
            fault.left = str(error)
        fault.removed = not fault.left


def _cleared(fault: Fault) -> str:
    """Remove something; or why it stays."""
    if not fault.path.exists():
        return ""
    if fault.path.is_dir():
        return "" if finish_removal(fault.path) else "another process is removing it"
    with alone(fault.path.parent) as ours:
        if not ours:
            return IN_USE
        if fault.path.suffix != ".shard" or _trouble(fault.path):  # it may have been made anew since
            with told(fault.path):
                fault.path.unlink(missing_ok=True)
    return ""


def _trouble(path: Path) -> str:
    """What is wrong with a shard; nothing where it was removed meanwhile."""
    try:
        store.read_index(path, whole=True)
    except store.ShardError as error:
        if isinstance(error.__cause__, PermissionError):
            raise ResourceError(f"not allowed to read {path}. Verify as a user who is.") from error
        return str(error) if path.exists() else ""
    return ""
