"""What a user can ask of a run, wherever it comes from: the command line or Python."""

import os
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

from benchmark.series import Model, named, read_series
from downstream.protocols import MIXES
from downstream.represent.sizes import size
from downstream.tasks import TASKS
from upstream.errors import UsageError, unknown

AUTO, POOLED, FRAMES, LIVE = "auto", "pooled", "frames", "live"
FEATURE_MODES = (AUTO, POOLED, FRAMES, LIVE)
_SIZES = ("cache_limit", "memory_limit")


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sslbench"


@dataclass(frozen=True)
class Options:
    upstream: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    series: Path | None = None
    checkpoint: tuple[str, ...] = ()
    data: Path | None = None
    mini: bool = False
    protocol: str | None = None
    set: tuple[str, ...] = ()
    lr: tuple[str, ...] = ("grid",)
    layers: str = "mixed"
    seed: tuple[int, ...] = (1337,)
    features: str = "auto"
    weights: Path | None = None
    cache: Path | None = None
    results: Path = Path("results")
    device: str = "auto"
    dtype: str = "auto"
    limit: int | None = None
    tensorboard: Path | None = None
    cache_limit: int | None = None
    memory_limit: int | None = None
    workers: int = 1
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
            elif name in _SIZES and value is not None:
                value = size(str(value))
            ready[name] = value
        return cls(**ready)._checked()

    def _checked(self) -> "Options":
        tasks = tuple(TASKS) if "all" in self.task else _once(self.task)
        for task in tasks:
            if task not in TASKS:
                raise unknown("task", task, TASKS, "Use --task all for every one.")
        if self.series and (self.upstream or self.weights):
            raise UsageError("--series names upstreams and their weights: leave out --upstream and --weights, or it.")
        if self.checkpoint and not self.series:
            raise UsageError("--checkpoint takes checkpoints out of a series: give its file with --series.")
        if not self.upstream and not self.series:
            raise UsageError("no upstream given. Type: python -m benchmark list upstreams")
        asked = replace(self, task=tasks, upstream=_once(self.upstream), seed=_once(self.seed))
        _ = asked.models  # a typo should cost a second, not the hours of the models before it
        if not tasks:
            raise UsageError("no task given. Type: python -m benchmark list tasks")
        if not self.seed or min(self.seed) < 0:
            raise UsageError("--seed: expected one or more whole numbers from 0 up.")
        if self.features not in FEATURE_MODES:
            raise unknown("features mode", self.features, FEATURE_MODES)
        if self.layers not in MIXES:
            raise unknown("word for --layers", self.layers, MIXES)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit {self.limit}: expected a number of examples above 0.")
        if self.workers < 1:
            raise UsageError(f"--workers {self.workers}: expected a number of processes above 0.")
        if self.mini and self.data:
            raise UsageError("--mini makes its own data: leave out --data, or leave out --mini to use that folder.")
        if not self.mini and not self.data:
            raise UsageError("no data given: --data DIR with the corpora, or --mini to make small ones.")
        if self.weights and len(self.upstream) > 1:
            raise UsageError(f"--weights names the weights of one upstream, {len(self.upstream)} were given.")
        return asked

    @cached_property
    def models(self) -> list[Model]:
        """The upstreams, or the checkpoints of the series, in their order."""
        if self.series is None:
            return [named(name, self.weights) for name in self.upstream]
        models = {str(model): model for model in read_series(self.series)}
        for name in self.checkpoint:
            if name not in models:
                raise unknown(f"checkpoint of {self.series}:", name, models)
        return [models[name] for name in _once(self.checkpoint) or models]

    @property
    def cache_dir(self) -> Path:
        return self.cache or default_cache()

    def as_json(self) -> dict:
        """What `of` makes the same options from, as plain data."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}

    @property
    def protocol_name(self) -> str:
        return self.protocol or ("mini" if self.mini else "superb")


def _once(values: tuple) -> tuple:
    """The values in their order, repetitions left out."""
    return tuple(dict.fromkeys(values))
