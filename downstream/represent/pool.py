"""A feature set on disk as a pool of records: whoever wants some utterances of it takes those that are there."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from downstream import files
from downstream.represent import store
from downstream.represent.request import MEANS, Request

NONE = -1  # in the place of the number of a record


class Pool:
    """The shards in a folder, and which of their records serve a request."""

    def __init__(self, folder: Path, request: Request) -> None:
        self.folder = folder
        self._request = request
        self._indexes: dict[Path, np.ndarray] = {}
        self._versions: dict[Path, tuple] = {}
        self._checked: set[Path] = set()
        self.damaged: dict[Path, store.ShardError] = {}
        self.records = np.full(len(request.examples), NONE)  # for each row its record, counted over all shards
        self.stale = 0  # rows whose audio file changed since it was heard

    @property
    def missing(self) -> np.ndarray:
        """The rows that have to be heard, each utterance once however often it is asked for."""
        rows = np.flatnonzero(self.records == NONE)
        request = self._request
        wanted = np.stack([request.identities[rows], request.croppable[rows].astype(np.uint64)], axis=1)
        return rows[np.sort(np.unique(wanted, axis=0, return_index=True)[1])]

    def look(self, check: bool = True) -> None:
        """Find the records. With `check`, those of time means that would be used are read and compared with their sums;
        frames are too many to be read for nothing: they are checked when they are used."""
        there = {path: _version(path) for path in sorted(self.folder.glob("*.shard"))}
        for path in [path for path, version in self._versions.items() if there.get(path) != version]:
            self._indexes.pop(path, None)
            self._checked.discard(path)
        self._versions = there
        self._read([path for path in there if path not in self._indexes], whole=False)
        self._match()
        while check and self._request.form == MEANS and (unsure := self._used() - self._checked):
            self._read(sorted(unsure), whole=True)
            self._checked |= unsure
            self._match()

    def reader(self) -> store.ShardReader:
        """Of the records of all rows, which have to be there."""
        used = sorted(self._used())
        count = {path: len(index) for path, index in self._indexes.items()}
        first = dict(zip(count, np.cumsum([0, *count.values()]), strict=False))
        moved = np.concatenate([np.arange(first[path], first[path] + count[path]) for path in used])
        records = np.searchsorted(moved, self.records)
        return store.ShardReader(used, [self._indexes[path] for path in used], records)

    def remove_useless(self, say: Callable[[str], None] | None = None) -> None:
        """Remove shards that are damaged, and those of which every audio file has changed, unless somebody is at them.

        Who has them open can read on.
        """
        for path, trouble in sorted(self.damaged.items()):
            if say:
                say(f"{path}: {trouble}; what is needed of it is heard again")
        for path in [*self.damaged, *self._outdated()]:
            lock = shard_lock(path)
            if lock.acquire(wait=False):
                with files.told(path):
                    path.unlink(missing_ok=True)
                lock.release()
        self.damaged = {}

    def _read(self, paths: list[Path], whole: bool) -> None:
        for path, index in zip(paths, store.read_indexes(paths, whole), strict=True):
            self._indexes.pop(path, None)
            if isinstance(index, store.ShardError):
                self.damaged[path] = index
            elif index is not None:
                self._indexes[path] = index
        self._indexes = dict(sorted(self._indexes.items()))

    def _match(self) -> None:
        entries = np.concatenate([*self._indexes.values(), np.empty(0, dtype=store.ENTRY)])
        rows = np.arange(len(self._request.examples))
        self.records, self.stale = match(self._request, rows, entries)

    def _used(self) -> set[Path]:
        ends = np.cumsum([len(index) for index in self._indexes.values()])
        paths = list(self._indexes)
        found = np.searchsorted(ends, np.unique(self.records[self.records != NONE]), side="right")
        return {paths[place] for place in np.unique(found)}

    def _outdated(self) -> list[Path]:
        """Shards whose records all have an utterance of the request whose file is another now."""
        request = self._request
        order = np.argsort(request.identities)
        known = request.identities[order]
        found = []
        for path, index in self._indexes.items():
            places = np.minimum(np.searchsorted(known, index["identity"]), max(0, len(known) - 1))
            rows = order[places]
            same = request.identities[rows] == index["identity"]
            changed = (request.stamps[rows] != np.stack([index["size"], index["mtime"]], axis=1)).any(axis=1)
            if len(index) and (same & changed).all():
                found.append(path)
        return found


def match(request: Request, rows: np.ndarray, entries: np.ndarray) -> tuple[np.ndarray, int]:
    """For each row the first entry that serves it, or NONE; and of how many rows there are only entries of another file
    of the same name."""
    order = np.argsort(entries["identity"], kind="stable")
    identities = entries["identity"][order]
    first, last = (np.searchsorted(identities, request.identities[rows], side=side) for side in ("left", "right"))
    found, current = np.full(len(rows), NONE), np.zeros(len(rows), dtype=bool)
    for number in range(int((last - first).max(initial=0))):
        places = np.flatnonzero((found == NONE) & (first + number < last))
        tried = order[first[places] + number]
        fresh = _is_current(request, rows[places], entries[tried])
        serves = fresh & _is_enough(request, rows[places], entries[tried])
        current[places] |= fresh
        found[places[serves]] = tried[serves]
    return found, int(((last > first) & ~current).sum())


def _is_current(request: Request, rows: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Whether the audio files are those that were heard."""
    return (request.stamps[rows, 0] == entries["size"]) & (request.stamps[rows, 1] == entries["mtime"])


def _is_enough(request: Request, rows: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Whether they hold what is wanted: nothing, the whole, or the whole and the sums that crops are made of."""
    samples, frames = entries["samples"], entries["frames"]
    nothing = request.unheard(rows, samples) == (frames == 0)
    edges = ~request.has_edges(rows, samples) | (entries["blocks"] == frames // request.block_frames)
    return nothing & edges


def _version(path: Path) -> tuple:
    """Another one when a file takes the place of another."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def shard_lock(path: Path) -> files.Lock:
    """Who has it may write, replace or remove a shard."""
    return files.Lock(path.parent / "locks" / path.stem)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes left of shards that nobody else is making now."""
    for name in sorted({partial.name.split(".")[1] for partial in folder.glob(".*.shard.*.partial")}):
        lock = shard_lock(folder / f"{name}.shard")
        if lock.acquire(wait=False):
            files.remove_partials(folder, f"{name}.shard")
            lock.release()


def is_served(path: Path, request: Request, rows: Sequence[int]) -> bool:
    """Whether a shard is there that serves all of these rows."""
    [index] = store.read_indexes([path], request.form == MEANS)
    return isinstance(index, np.ndarray) and bool((match(request, np.asarray(rows), index)[0] != NONE).all())
