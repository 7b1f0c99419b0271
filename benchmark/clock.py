"""How long each hop of a cell takes."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from downstream import files


class Clock:
    """Seconds by hop, summed over the processes that worked on a cell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.seconds: dict[str, float] = json.loads(path.read_text())
        except (OSError, ValueError):
            self.seconds = {}

    @contextmanager
    def __call__(self, hop: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(hop, time.perf_counter() - start)

    def add(self, hop: str, seconds: float) -> None:
        """What was timed elsewhere."""
        self.seconds[hop] = round(self.seconds.get(hop, 0.0) + seconds, 3)
        files.write_text(self._path, json.dumps(self.seconds))
