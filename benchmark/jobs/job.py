"""The work of a command, cut into jobs. Any process can do one that has the same options, corpora and cache.

A job is plain data. Whatever runs jobs (`Executor`) needs to know nothing of tasks or upstreams: only which job has to
wait for which, and how long each will take. What a job does is in `workshop.py`.
"""

import builtins
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from upstream import errors
from upstream.errors import BenchmarkError

HEAR, COMPUTE = "hear", "compute"


@dataclass(frozen=True)
class Job:
    """One piece of work.

    `hear`: part k of n of the audio of a hearing (named by all tasks that share it) passes some upstreams, and what
    their heads need is kept. `compute`: the cells of one upstream, some tasks of a hearing and some seeds, which are
    trained side by side. `hearing_seconds` is what each of these cells had its upstream work for it before.
    """

    kind: str
    hearing: tuple[str, ...]
    models: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    mode: str = ""
    part: tuple[int, int] = (0, 1)
    hearing_seconds: float = 0.0

    def __str__(self) -> str:
        if self.kind == HEAR:
            part = f", part {self.part[0] + 1} of {self.part[1]}" if self.part[1] > 1 else ""
            return f"{' and '.join(self.models)} hear what {' '.join(self.hearing)} need{part}"
        return f"{self.models[0]} / {' '.join(self.tasks)} / seed {' '.join(map(str, self.seeds))}"

    def as_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict) -> "Job":
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in content.items()})


@dataclass
class Result:
    """What came of a job: the rows it left, which of them are new, what went wrong, and what was heard."""

    rows: list[Path] = field(default_factory=list)
    fresh: int = 0
    errors: list[Exception] = field(default_factory=list)
    ledger: dict = field(default_factory=dict)
    seconds: float = 0.0

    def as_json(self) -> dict:
        told = [{"type": type(error).__name__, "message": str(error)} for error in self.errors]
        return vars(self) | {"rows": list(map(str, self.rows)), "errors": told}

    @classmethod
    def from_json(cls, content: dict) -> "Result":
        failures = [_error(told["type"], told["message"]) for told in content["errors"]]
        return cls(**content | {"rows": list(map(Path, content["rows"])), "errors": failures})


def _error(name: str, message: str) -> Exception:
    """An error as it was in the process that met it."""
    for known in (errors, builtins):
        kind = getattr(known, name, None)
        if isinstance(kind, type) and issubclass(kind, (BenchmarkError, ArithmeticError, LookupError, ValueError)):
            return kind(message)
    return RuntimeError(f"{name}: {message}")


@dataclass(frozen=True)
class Step:
    """A job in a schedule: after which others (by their numbers) it can begin, and about how long it takes."""

    job: Job
    after: frozenset[int] = frozenset()
    seconds: float = 0.0


class Executor(Protocol):
    """Does the jobs of a schedule, in which none comes before what it has to wait for."""

    width: int  # how many jobs it does at a time

    def run(self, steps: Sequence[Step], begin: Callable[[int], Job]) -> Iterator[tuple[int, Result]]:
        """The number and the result of each step as it ends. `begin` is asked for the job of a step that begins."""


class InThisProcess:
    """One job after the other, in the order of the schedule."""

    width = 1

    def __init__(self, perform: Callable[[Job], Result]) -> None:
        self._perform = perform

    def run(self, steps: Sequence[Step], begin: Callable[[int], Job]) -> Iterator[tuple[int, Result]]:
        for number in range(len(steps)):
            yield number, self._perform(begin(number))
