"""Where mini corpora lie: the marker that tells ours from real ones, the lock, and the folder they are built in."""

import contextlib
import fcntl
import json
import shutil
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from tempfile import mkdtemp
from typing import TextIO

from downstream.corpora.folders import MARKER
from upstream.errors import ResourceError, UsageError

_LOCK = ".lock"
_BEING_MADE = ".making-"
_CHOICE = "Choose another --out, or delete the folder if it is not needed."


def is_whole(top: Path, expected: dict[str, object]) -> bool:
    """True for a corpus folder of ours as wanted, False for none, an error for anything else: it is left alone."""
    if not top.exists():
        return False
    try:
        marker = json.loads((top / MARKER).read_text())
    except FileNotFoundError:
        raise UsageError(f"{top} was not made here (it has no {MARKER}) and is left alone. {_CHOICE}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{top / MARKER} cannot be read ({error}); the folder is left alone. {_CHOICE}") from error
    found = {key: marker.get(key) if isinstance(marker, dict) else None for key in expected}
    if found != expected:
        is_, wanted = (", ".join(f"{key} {value}" for key, value in of.items()) for of in (found, expected))
        raise UsageError(f"{top} holds another mini corpus ({is_}) than asked for ({wanted}). {_CHOICE}")
    return True


@contextlib.contextmanager
def locked(out: Path) -> Iterator[TextIO]:
    """One process at a time makes corpora in a folder; others wait here."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that makes corpora in {out}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def remove_leftovers(out: Path) -> None:
    """Remove what killed runs left. Only for the holder of the lock: then nobody is building."""
    for folder in out.glob(f"{_BEING_MADE}*"):
        shutil.rmtree(folder)


@contextlib.contextmanager
def building(out: Path, corpus: str) -> Iterator[Path]:
    """A folder beside the place where a corpus will be, gone at the end whatever happens."""
    folder = Path(mkdtemp(prefix=f"{_BEING_MADE}{corpus}-", dir=out))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_marker(top: Path, content: dict[str, object]) -> None:
    """Describe a finished corpus folder, with a digest of all that is in it."""
    digest = blake2b(digest_size=16)
    size = 0
    files = sorted(path for path in top.rglob("*") if path.is_file())
    for path in files:
        data = path.read_bytes()
        size += len(data)
        digest.update(f"{path.relative_to(top).as_posix()}\0{len(data)}\0".encode())
        digest.update(data)
    content = content | {"files": len(files), "bytes": size, "digest": digest.hexdigest()}
    (top / MARKER).write_text(json.dumps(content, indent=2) + "\n")


@contextlib.contextmanager
def disk_errors_named(out: Path) -> Iterator[None]:
    """What the disk refuses becomes an error that names the folder."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"cannot make corpora in {out}: {error.strerror or error}. Free some space, or choose another --out."
        ) from error
