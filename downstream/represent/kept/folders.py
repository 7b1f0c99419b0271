"""What lies in the cache: feature sets, what killed processes left, and things that are not ours."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from downstream.represent.kept.using import LOCKS, REMOVED

_KEY = re.compile(r"[0-9a-f]{32}")
_ASIDE = re.compile(rf"\.[0-9a-f]{{32}}\.\d+\.\d+\.{REMOVED}")
_PARTIAL = re.compile(r"\..+\.(\d+)\.partial")


@dataclass
class Contents:
    """Of `<cache>/features`. Links are not followed: what they lead to takes its space elsewhere."""

    sets: list[Path] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)  # sets whose removal was begun
    others: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Space:
    """Bytes that a feature set takes: finished files, and by process those that are being written or were left."""

    finished: int
    partial: dict[int, int]

    @property
    def total(self) -> int:
        return self.finished + sum(self.partial.values())


def contents(cache: Path) -> Contents:
    """Everything in the places of feature sets, `<cache>/features/<upstream>/<key>`."""
    found = Contents()
    for upstream in _entries(features_folder(cache)):
        if not upstream.is_dir(follow_symlinks=False):
            found.others.append(Path(upstream.path))
            continue
        for entry in _entries(Path(upstream.path)):
            own = entry.is_dir(follow_symlinks=False)
            if own and _KEY.fullmatch(entry.name):
                found.sets.append(Path(entry.path))
            elif own and _ASIDE.fullmatch(entry.name):
                found.leftovers.append(Path(entry.path))
            else:
                found.others.append(Path(entry.path))
    return found


def features_folder(cache: Path) -> Path:
    return cache / "features"


def space(folder: Path) -> Space:
    """What a feature set takes now."""
    finished, partial = 0, {}
    for entry in _entries(folder):
        written = _PARTIAL.fullmatch(entry.name)
        if written:
            process = int(written[1])
            partial[process] = partial.get(process, 0) + bytes_of(Path(entry.path))
        elif entry.name != LOCKS:  # thousands of empty files
            finished += bytes_of(Path(entry.path))
    return Space(finished, partial)


def partials(folder: Path) -> list[Path]:
    """Files of a feature set that are being written, or were when their writer died."""
    return [Path(entry.path) for entry in _entries(folder) if _PARTIAL.fullmatch(entry.name)]


def bytes_of(path: Path) -> int:
    """The size of a file, or of all files below a folder; none where it vanished."""
    with suppress(FileNotFoundError):
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(bytes_of(Path(entry.path)) for entry in _entries(path))
    return 0


def _entries(folder: Path) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
