"""What a user can ask of a run, wherever it comes from: the command line or Python."""

import os
from dataclasses import dataclass, fields
from pathlib import Path

from downstream.tasks import TASKS
from upstream import registry
from upstream.errors import UsageError, unknown

AUTO, POOLED, FRAMES, LIVE = "auto", "pooled", "frames", "live"
FEATURE_MODES = (AUTO, POOLED, FRAMES, LIVE)


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sslbench"


@dataclass(frozen=True)
class Options:
    upstream: tuple[str, ...]
    task: tuple[str, ...]
    data: Path | None = None
    mini: bool = False
    protocol: str | None = None
    set: tuple[str, ...] = ()
    lr: tuple[str, ...] = ("grid",)
    seed: tuple[int, ...] = (1337,)
    features: str = "auto"
    weights: Path | None = None
    cache: Path | None = None
    results: Path = Path("results")
    device: str = "auto"
    dtype: str = "auto"
    limit: int | None = None
    progress: bool = True

    @classmethod
    def of(cls, **given: object) -> "Options":
        """Options from loosely typed values: one word or several, text or paths."""
        known = {field.name: field.type for field in fields(cls)}
        ready = {}
        for name, value in given.items():
            if name not in known:
                raise unknown("option", name, known)
            kind = str(known[name])
            if "tuple" in kind:
                words = [value] if isinstance(value, (str, int, float)) else list(value or ())
                value = tuple(word if "int" in kind else str(word) for word in words)
            elif "Path" in kind and value is not None:
                value = Path(value).expanduser()
            ready[name] = value
        return cls(**ready)._checked()

    def _checked(self) -> "Options":
        tasks = tuple(TASKS) if "all" in self.task else _once(self.task)
        for task in tasks:
            if task not in TASKS:
                raise unknown("task", task, TASKS, "Use --task all for every one.")
        if not self.upstream:
            raise UsageError("no upstream given. Type: python -m benchmark list upstreams")
        for name in self.upstream:  # a typo should cost a second, not the hours of the models before it
            registry.resolve(name)
        if not tasks:
            raise UsageError("no task given. Type: python -m benchmark list tasks")
        if not self.seed or min(self.seed) < 0:
            raise UsageError("--seed: expected one or more whole numbers from 0 up.")
        if self.features not in FEATURE_MODES:
            raise unknown("features mode", self.features, FEATURE_MODES)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit {self.limit}: expected a number of examples above 0.")
        if self.mini and self.data:
            raise UsageError("--mini makes its own data: leave out --data, or leave out --mini to use that folder.")
        if not self.mini and not self.data:
            raise UsageError("no data given: --data DIR with the corpora, or --mini to make small ones.")
        if self.weights and len(self.upstream) > 1:
            raise UsageError(f"--weights names the weights of one upstream, {len(self.upstream)} were given.")
        return Options(**{**vars(self), "task": tasks, "upstream": _once(self.upstream), "seed": _once(self.seed)})

    @property
    def cache_dir(self) -> Path:
        return self.cache or default_cache()

    @property
    def protocol_name(self) -> str:
        return self.protocol or ("mini" if self.mini else "superb")


def _once(values: tuple) -> tuple:
    """The values in their order, repetitions left out."""
    return tuple(dict.fromkeys(values))
