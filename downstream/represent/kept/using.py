"""Keeping a feature set from being removed while somebody uses it, and removing it when nobody does."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from downstream.files import Lock, is_locked, told
from upstream.errors import ResourceError

REMOVED = "removed"  # the suffix of what is being removed, or was when its remover died
LOCKS = "locks"  # the folder of a feature set's locks
_ATTEMPTS, _PAUSE = 3, 0.01  # who asks whether a set is in use holds its lock for a moment
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class InUse:
    """A feature set that stays where it is from `acquire` to `release`, or in a `with` block, or until we die."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock(_lock_path(folder))

    def acquire(self) -> "InUse":
        """Make the set's folder where there is none, wait for whoever is removing it, and note that it was used."""
        try:
            self._lock.acquire(wait=True, shared=True)
        except ResourceError as error:
            # Who may only read can do without the lock: open files can be read on after they are removed.
            if getattr(error.__cause__, "errno", None) not in _READ_ONLY or not self._folder.is_dir():
                raise
        self._note()
        return self

    def release(self) -> None:
        """Let the set go. Harmless where it is not held."""
        if self._lock.held:
            self._note()
            self._lock.release()

    def _note(self) -> None:
        with suppress(OSError):  # a disk that is full or may not be written to: the note is not worth failing for
            (self._folder / "used").touch()

    def __enter__(self) -> "InUse":
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def in_use(folder: Path) -> InUse:
    """For a `with` block, or to `acquire` and `release`: nobody removes that feature set meanwhile."""
    return InUse(folder)


def is_in_use(folder: Path) -> bool:
    """Whether somebody uses a feature set now, this process included."""
    return is_locked(_lock_path(folder))


def last_use(folder: Path) -> float:
    """When a feature set was last used, in seconds since 1970; where nobody noted that, when it was made."""
    for path in (folder / "used", folder):
        with suppress(FileNotFoundError):
            return path.stat().st_mtime
    return 0.0


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether this process has a feature set to itself; if so, for as long as the block lasts."""
    lock = Lock(_lock_path(folder))
    for _ in range(_ATTEMPTS):
        if lock.acquire(wait=False):
            break
        time.sleep(_PAUSE)
    try:
        yield lock.held
    finally:
        lock.release()


def remove(folder: Path) -> bool:
    """Remove a feature set, unless somebody uses it: then say False.

    It is moved aside first: who comes while its files are deleted finds no set, rather than half of one.
    """
    if not folder.is_dir():
        return True
    with alone(folder) as ours:
        if ours:
            aside = folder.with_name(f".{folder.name}.{os.getpid()}.{time.time_ns()}.{REMOVED}")
            with told(folder):
                folder.rename(aside)
                _delete(aside)
                with suppress(OSError):
                    folder.parent.rmdir()  # that of the upstream, where this was its last set
    return ours


def finish_removal(aside: Path) -> bool:
    """Delete what a killed process moved aside, unless somebody is at it: then say False."""
    with told(aside):
        if is_locked(_lock_path(aside)):
            return False
        _delete(aside)
    return True


def _delete(aside: Path) -> None:
    def failed(_function: object, _path: str, info: tuple) -> None:
        if not isinstance(info[1], FileNotFoundError):  # another process may delete the same
            raise info[1]

    shutil.rmtree(aside, onerror=failed)


def _lock_path(folder: Path) -> Path:
    return folder / LOCKS / "use"
