"""The limit on what feature sets may take, which holds for all processes that were given it."""

import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from downstream.files import Lock, is_locked, told
from downstream.represent.kept.folders import Space, bytes_of, contents, features_folder, space
from downstream.represent.kept.using import finish_removal, is_in_use, last_use, remove
from downstream.represent.sizes import shown_size
from upstream.errors import ResourceError

_SPARE = 0.1  # of the free space of the disk, which is left free
_SETTLED = 2.0  # seconds after which a folder's time of change tells of every change: clocks of disks are coarse


@dataclass(frozen=True)
class _Taken:
    """Bytes that each feature set takes, and all else: other files, and what processes have reserved."""

    sets: dict[Path, int]
    rest: int

    @property
    def total(self) -> int:
        return sum(self.sets.values()) + self.rest


class Room:
    """Space for new shards within a limit (`None`: none), made by removing the sets that were not used for longest."""

    def __init__(self, cache: Path, limit: int | None, say: Callable[[str], None] = print) -> None:
        self._cache, self._limit, self._say = cache, limit, say
        self._reservations = cache / "room"
        self._settled: dict[Path, tuple[int, Space]] = {}

    @contextmanager
    def reserved(self, folder: Path, nbytes: int) -> Iterator[None]:
        """Space for a file of up to `nbytes` that the block writes into a feature set which is in use."""
        if self._limit is None:
            yield
            return
        with self._one_at_a_time():
            self._forget_the_dead()
            self._make_room(folder, nbytes)
            reservation = self._reserve(folder, nbytes)
        try:
            yield
        finally:
            reservation.path.unlink(missing_ok=True)
            reservation.release()

    def available(self, staying: Collection[Path] = ()) -> int | None:
        """Bytes that could be had within the limit by removing all that nobody uses, but for the sets `staying`."""
        if self._limit is None:
            return None
        return self._available(self._taken(), staying)

    def fits(self, nbytes: int, staying: Collection[Path] = ()) -> bool:
        """Whether that many bytes could be written, with a tenth of what is free on the disk left free."""
        freed = 0
        if self._limit is not None:
            taken = self._taken()
            if nbytes > self._available(taken, staying):
                return False
            freed = max(0, taken.total + nbytes - self._limit)  # by what has to go for it
        place = next(parent for parent in [self._cache.absolute(), *self._cache.absolute().parents] if parent.exists())
        return nbytes <= (1 - _SPARE) * (shutil.disk_usage(place).free + freed)

    def _available(self, taken: _Taken, staying: Collection[Path]) -> int:
        removable = sum(taken.sets[one] for one in _removable(taken, staying))
        return max(0, self._limit - taken.total + removable)

    def _make_room(self, folder: Path, nbytes: int) -> None:
        if self._taken().total + nbytes <= self._limit:
            return
        for aside in contents(self._cache).leftovers:
            with suppress(ResourceError):  # another user's: it counts like any other file
                finish_removal(aside)
        taken = self._taken()
        excess = taken.total + nbytes - self._limit
        removable = _removable(taken, ())
        if excess > sum(taken.sets[one] for one in removable):
            raise self._too_small(folder, nbytes, taken, removable)
        for one in removable:
            if excess > 0 and self._removed(one, taken.sets[one]):
                excess -= taken.sets[one]
        if excess > 0:  # somebody began to use one of them
            raise self._too_small(folder, nbytes, self._taken(), [])

    def _removed(self, folder: Path, taken: int) -> bool:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(last_use(folder)))
        if not remove(folder):
            return False
        limit = shown_size(self._limit)
        self._say(f"{folder}: removed for --cache-limit {limit} ({shown_size(taken)}, last used {used})")
        return True

    def _too_small(self, folder: Path, nbytes: int, taken: _Taken, removable: list[Path]) -> ResourceError:
        stays = taken.total - sum(taken.sets[one] for one in removable)
        return ResourceError(
            f"--cache-limit {shown_size(self._limit)} is too small: {folder} needs {shown_size(nbytes)} more, and "
            f"{shown_size(stays)} in {features_folder(self._cache)} are in use, reserved or no feature sets. Give a "
            "larger --cache-limit, see `python -m benchmark cache list` and `cache prune` for what could go, or keep "
            "nothing with --features live. Finished parts are kept."
        )

    def _taken(self) -> _Taken:
        """What is reserved counts as written: a file that is being written counts as what was reserved for it."""
        found = contents(self._cache)
        reserved = self._reserved()
        writing = {(folder, process) for folder, process, _ in reserved}
        sets = {}
        for folder in found.sets:
            own = self._space(folder)
            left = (size for process, size in own.partial.items() if (folder.name, process) not in writing)
            sets[folder] = own.finished + sum(left)
        rest = sum(bytes_of(path) for path in found.leftovers + found.others)
        return _Taken(sets, rest + sum(nbytes for *_, nbytes in reserved))

    def _space(self, folder: Path) -> Space:
        """`space`, counted anew only where the folder changed: there may be thousands of large ones."""
        try:
            changed = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return Space(0, {})
        known = self._settled.get(folder)
        if known and known[0] == changed:
            return known[1]
        counted = space(folder)
        if not counted.partial and time.time() - changed / 1e9 > _SETTLED:
            self._settled[folder] = (changed, counted)
        return counted

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        lock = Lock(self._reservations / "lock")
        lock.acquire(wait=True)
        try:
            yield
        finally:
            lock.release()

    def _reserve(self, folder: Path, nbytes: int) -> Lock:
        """A locked file that says what is reserved; when we die, the lock does."""
        for number in count():
            lock = Lock(self._reservations / f"{os.getpid()}.{number}.json")
            if lock.acquire(wait=False):
                break
        try:
            with told(lock.path):
                lock.path.write_text(json.dumps({"set": folder.name, "bytes": nbytes}))
        except ResourceError:
            lock.release()
            raise
        return lock

    def _forget_the_dead(self) -> None:
        for path in self._reservations.glob("*.json"):
            if not is_locked(path):
                path.unlink(missing_ok=True)

    def _reserved(self) -> list[tuple[str, int, int]]:
        """Of living processes: the key of the set, the process and the bytes."""
        found = []
        for path in sorted(self._reservations.glob("*.json")):
            with suppress(FileNotFoundError, ValueError):  # it is being made or removed at this moment
                if is_locked(path):
                    said = json.loads(path.read_text())
                    found.append((said["set"], int(path.name.split(".")[0]), said["bytes"]))
        return found


def _removable(taken: _Taken, staying: Collection[Path]) -> list[Path]:
    """Sets that may go, the one that was not used for longest first."""
    stay = {path.absolute() for path in staying}
    free = [one for one in taken.sets if one.absolute() not in stay and _is_free(one)]
    return sorted(free, key=lambda one: (last_use(one), one))


def _is_free(folder: Path) -> bool:
    try:
        return not is_in_use(folder)
    except OSError:  # who may not ask may not remove it either
        return False
