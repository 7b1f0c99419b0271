"""What is heard once for several tasks: the same files of one corpus folder, prepared the same way."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from benchmark.cells import Reading
from downstream.represent import features
from downstream.represent.features import Request
from upstream.loaded import LoadedUpstream


@dataclass(frozen=True)
class Hearing:
    """The readings of tasks that share their audio."""

    readings: tuple[Reading, ...]

    def request(self, upstream: LoadedUpstream) -> Request:
        """Everything that any of the tasks wants of an upstream."""
        return features.merged([reading.request(upstream) for reading in self.readings])

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        return tuple(reading.task.name for reading in self.readings)

    def __str__(self) -> str:
        return f"{self.readings[0].manifest.corpus} ({' '.join(self.tasks)})"


def hearings(readings: Iterable[Reading]) -> list[Hearing]:
    """Readings by what they hear, in the order in which each comes first."""
    shared: dict[object, list[Reading]] = {}
    for reading in readings:
        shared.setdefault(reading.preparation, []).append(reading)
    return [Hearing(tuple(members)) for members in shared.values()]
