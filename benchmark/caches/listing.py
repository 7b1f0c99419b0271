"""What a cache holds: feature sets, small corpora, and what is neither. Nothing here changes it."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from downstream.corpora.mini import MINI_VERSION
from downstream.processes import cores
from downstream.represent import code, store
from downstream.represent.kept import bytes_of, contents, features_folder, is_in_use, last_use, space
from upstream.audio import SAMPLE_RATE
from upstream.errors import DataError, UsageError, unknown

IN_USE, OUT_OF_DATE = "in use", "out of date"
_OURS = ("features", "mini", "room", "rates.json", ".rates.lock")  # names in a cache


@dataclass(frozen=True)
class KeptSet:
    """A feature set on disk. What its `meta.json` does not tell is not known."""

    folder: Path

    @cached_property
    def about(self) -> dict:
        """What `meta.json` says; nothing where it is missing or broken."""
        try:
            said = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    @property
    def upstream(self) -> str:
        return str(self.about.get("upstream", self.folder.parent.name))

    @property
    def corpus(self) -> str:
        return str(self.about.get("corpus", "?"))

    @cached_property
    def bytes(self) -> int:
        return space(self.folder).total

    @cached_property
    def used(self) -> float:
        return last_use(self.folder)

    @property
    def out_of_date(self) -> bool:
        """Whether other code made it, so that nobody will ask for it again."""
        return bool(self.about) and self.about.get("code") != code.digest()

    @cached_property
    def in_use(self) -> bool | None:
        """Whether somebody uses it now, where we may know."""
        try:
            return is_in_use(self.folder)
        except OSError:
            return None

    @cached_property
    def state(self) -> str:
        """What there is to say about it in a word or two."""
        used = "in use or not: no permission to see" if self.in_use is None else IN_USE
        words = [] if self.in_use is False else [used]
        words += [OUT_OF_DATE] if self.out_of_date else []
        words += [] if self.about else ["meta.json missing or broken"]
        words += [f"{self._unread} shards damaged"] if self._unread and not self.out_of_date else []
        return ", ".join(words)

    @property
    def preparation(self) -> str:
        """What is kept of the hidden states, and what was done to the audio before it was heard."""
        about = self.about
        words = [str(about.get("form", "?"))]
        words += [f"crops of {about['crop_seconds']:g} s"] if about.get("crop_seconds") else []
        words += [f"{about['gain_db']:g} dB"] if about.get("gain_db") else []
        words += ["silence taken out"] if about.get("trim") else []
        words += [f"over {about['least_samples']} samples"] if about.get("least_samples") else []
        return ", ".join(words)

    @cached_property
    def shards(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.shard") if path.is_file())

    @cached_property
    def made(self) -> float:
        """When the first of what it holds was written."""
        times = []
        for path in (*self.shards, self.folder / "meta.json"):
            try:
                times.append(path.stat().st_mtime)
            except FileNotFoundError:
                continue
        return min(times, default=self.used)

    @property
    def utterances(self) -> int | None:
        """How many utterances it holds; nothing where that is written in a way of other code."""
        return None if self._unread and self.out_of_date else self._counts[0]

    @property
    def audio_seconds(self) -> float | None:
        """How much audio these are, without the silence that was taken out."""
        return None if self._unread and self.out_of_date else self._counts[1] / SAMPLE_RATE

    @property
    def _unread(self) -> int:
        return self._counts[2]

    @cached_property
    def _counts(self) -> tuple[int, int, int]:
        """Utterances, samples, and shards whose index cannot be read."""
        indexes = store.read_indexes(self.shards, whole=False)
        read = [one for one in indexes if isinstance(one, np.ndarray)]
        records = np.concatenate([np.empty(0, store.ENTRY), *read])
        _, first = np.unique(records["identity"], return_index=True)  # two processes may have heard the same
        damaged = sum(isinstance(one, store.ShardError) for one in indexes)
        return len(first), int(records["samples"][first].sum()), damaged


@dataclass(frozen=True)
class MiniCorpus:
    """A small corpus that --mini made."""

    folder: Path
    bytes: int

    @property
    def state(self) -> str:
        return "" if self.folder.parent.name == f"version-{MINI_VERSION}" else OUT_OF_DATE


@dataclass(frozen=True)
class Cache:
    """Everything in a cache. Sets are in the order of their last use, the latest first."""

    folder: Path
    sets: list[KeptSet]
    leftovers: list[Path]  # sets whose removal was begun and not ended
    others: list[Path]  # not ours: counted where feature sets are, and left alone

    @cached_property
    def mini(self) -> list[MiniCorpus]:
        folders = [path for path in sorted(self.folder.glob("mini/*/*")) if path.is_dir()]
        with ThreadPoolExecutor(cores()) as pool:
            return [MiniCorpus(*one) for one in zip(folders, pool.map(bytes_of, folders), strict=True)]

    @cached_property
    def bytes(self) -> int:
        """What --cache-limit limits."""
        beside = [path for path in self.others if path.is_relative_to(features_folder(self.folder))]
        return sum(one.bytes for one in self.sets) + sum(map(bytes_of, [*self.leftovers, *beside]))

    def of(self, upstreams: Iterable[str]) -> list[KeptSet]:
        """The sets of some upstreams, by their names or those of their folders; all where none is named."""
        wanted = list(upstreams)
        known = {name for one in self.sets for name in (one.upstream, one.folder.parent.name)}
        for name in wanted:
            if name not in known:
                raise unknown("upstream", name, {one.upstream for one in self.sets}, f"Those of {self.folder} count.")
        return [one for one in self.sets if not wanted or {one.upstream, one.folder.parent.name} & set(wanted)]


def read_cache(folder: Path) -> Cache:
    """What a cache holds: nothing where it is not there yet."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--cache {folder}: a folder is expected, and this is none. Give the folder of the cache.")
    place = features_folder(folder)
    if place.exists() and not place.is_dir():
        raise DataError(f"{place}: the folder of feature sets is expected here. Move what is there to another place.")
    found = contents(folder)
    sets = sorted(map(KeptSet, found.sets), key=lambda one: (-one.used, one.folder))
    top = [path for path in sorted(folder.glob("*")) if path.name not in _OURS] if folder.exists() else []
    return Cache(folder, sets, found.leftovers, top + found.others)
