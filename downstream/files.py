"""Writing files so that a reader sees the whole of one or nothing of it, and locks that die with their process."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from upstream.errors import BenchmarkError, ResourceError

_REMOVED_MEANWHILE = 100  # times a folder may vanish between the making of it and of a file in it


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`; it takes the place of `path` when the block ends well and vanishes otherwise.

    A link stays one: what it leads to is written. Folders, devices and pipes are refused, as their place is not ours.
    """
    with told(path):
        if path.exists() and not path.is_file():
            raise ResourceError(f"cannot write {path}: it is there already, and no file. Choose another name.")
        path = path.resolve() if path.is_symlink() else path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_partials(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left behind of a file. Only for who holds the lock on those that write it."""
    for partial in folder.glob(f".{name}.*.partial"):
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a write into an error that names the place and the way out."""
    try:
        yield
    except OSError as error:
        raise _explained(error, path) from error


def _explained(error: OSError, path: Path) -> BenchmarkError:
    way_out = (
        "Free some space or choose another place (--cache, --results, --output, --tensorboard), then run the same "
        "command."
    )
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ResourceError(f"no space left while writing {path}. {way_out} Finished parts are kept.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ResourceError(f"not allowed to write {path}: {error.strerror}. {way_out}")
    return ResourceError(f"cannot write {path}: {error.strerror or error}. {way_out}")


class Lock:
    """An advisory lock on a path. The system lets go of it when its holder dies, however it dies.

    One process alone has it, or several share it. It holds for the path: a holder whose file was removed or moved
    away meanwhile, together with the folder around it, makes both anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def acquire(self, wait: bool, shared: bool = False) -> bool:
        """Take the lock; without `wait`, say False when another process has it."""
        while self._descriptor is None:
            with told(self.path):
                descriptor = self._opened(shared)
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(descriptor)
                return False
            except BaseException:
                os.close(descriptor)
                raise
            if _is_at(descriptor, self.path):
                self._descriptor = descriptor
            else:
                os.close(descriptor)
        return True

    def _opened(self, shared: bool) -> int:
        flags = (os.O_RDONLY if shared else os.O_RDWR) | os.O_CREAT
        for _ in range(_REMOVED_MEANWHILE):
            with suppress(FileNotFoundError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                return os.open(self.path, flags, 0o644)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_locked(path: Path) -> bool:
    """Whether somebody has the lock on a path, alone or shared. Nothing is made where there is no file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
