"""How fast this machine is at what a run does: measured once, by short rehearsals, and kept beside the features."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import torch

from benchmark import __version__
from benchmark.environment import environment
from downstream import files
from upstream.errors import ResourceError
from upstream.fingerprint import paths_digest

_LOCK = ".rates.lock"  # in the cache
_SOURCES = ("upstream", "downstream", "benchmark/planning")
T = TypeVar("T")


class Rates:
    """What was measured, by all that it depends on, in `rates.json` of a cache; what is damaged is measured anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "rates.json"
        self._known = _read(self._path)
        self._failed: set[str] = set()  # keys of what is not tried again
        self.troubles: dict[str, str] = {}  # why something could not be measured, by what

    def of(self, what: str, device: torch.device, facts: dict, measure: Callable[[], dict]) -> dict | None:
        """The figures of something, measured unless they are known; None where that goes wrong.

        A rehearsal that fails costs a prediction. The run will meet the same trouble, and can say of what it is.
        """
        key = blake2b(json.dumps([what, _machine(device), facts], sort_keys=True).encode(), digest_size=12).hexdigest()
        if key in self._failed:
            return None
        if key not in self._known:
            try:
                with undisturbed(device):
                    figures = measure()
            except Exception as error:
                self.troubles[what] = f"{type(error).__name__}: {error}"
                self._failed.add(key)
                return None
            self._known[key] = {"of": what, **figures}
            self._write(key)
        return self._known[key]

    def _write(self, key: str) -> None:
        """With what another process has measured meanwhile."""
        lock = files.Lock(self.folder / _LOCK)
        with suppress(ResourceError):  # where nothing can be written it is measured again
            lock.acquire(wait=True)
            try:
                files.remove_partials(self.folder, self._path.name)
                self._known = _read(self._path) | self._known
                files.write_text(self._path, json.dumps(self._known, indent=1) + "\n")
            finally:
                lock.release()


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = content.items() if isinstance(content, dict) else ()
    return {key: figures for key, figures in known if isinstance(figures, dict)}


def _machine(device: torch.device) -> dict:
    """What every figure depends on."""
    return environment(device) | {"version": __version__, "code": _code()}


@cache
def _code() -> str:
    root = Path(__file__).parents[2]
    return paths_digest(sorted(path for name in _SOURCES for path in (root / name).rglob("*.py")))


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Whatever is rehearsed in the block leaves chance and threads as they were."""
    threads, devices = torch.get_num_threads(), [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        torch.set_num_threads(threads)
        if devices:
            torch.cuda.empty_cache()


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that some work takes, what it leaves on the device included."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
