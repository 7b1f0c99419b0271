"""Trials of speaker verification: the published lists of VoxCeleb1, and lists drawn from speakers that are held out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from downstream.corpora.folders import refuse_missing
from downstream.types import Example, Manifest
from upstream.errors import DataError, MissingError, UsageError, unknown

_SEED = 20170626  # of what is drawn here: the same for everybody
_META = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/"
_ENTRY = re.compile(r"[^/]+/[^/]+/[^/]+\.wav")


@dataclass(frozen=True)
class TrialList:
    """A published list: the names its file goes by, where to get it, and how much is in it, where that is known."""

    files: tuple[str, ...]
    source: str
    trials: int
    distinct_files: int | None = None


LISTS: dict[str, TrialList] = {
    "superb": TrialList(
        ("voxceleb1_test_v2.txt",), "https://www.openslr.org/resources/49/voxceleb1_test_v2.txt", 37720, 4715
    ),
    "o": TrialList(("veri_test.txt", "voxceleb1_test.txt"), f"{_META}veri_test.txt", 37720),
    "o-cleaned": TrialList(("veri_test2.txt",), f"{_META}veri_test2.txt", 37611),
    "e": TrialList(("list_test_all.txt",), f"{_META}list_test_all.txt", 581480),
    "e-cleaned": TrialList(("list_test_all2.txt",), f"{_META}list_test_all2.txt", 579818),
    "h": TrialList(("list_test_hard.txt",), f"{_META}list_test_hard.txt", 552536),
    "h-cleaned": TrialList(("list_test_hard2.txt",), f"{_META}list_test_hard2.txt", 550894),
}


@dataclass(frozen=True)
class Trials:
    """Pairs of examples, by their places in `examples`, which holds no others; `same` where one speaker is in both."""

    examples: list[Example]
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    source: str  # the file they are from, or how they were drawn

    @property
    def speakers(self) -> tuple[str, ...]:
        """Whom to keep out of training, if these trials are to say how well new speakers are told apart."""
        return tuple(sorted({example.group for example in self.examples}))

    @property
    def speakers_first(self) -> list[str]:
        return [self.examples[i].group for i in self.first]

    @property
    def speakers_second(self) -> list[str]:
        return [self.examples[i].group for i in self.second]


def trials(manifest: Manifest, name: str) -> Trials:
    """The trials of a published list in its order, repeated ones too. Its file lies in the corpus or beside it.

    The files may be of any split. How many trials the list should have is LISTS[name].trials.
    """
    path = _find(manifest.root, name)
    known = {example.audio.partition("/wav/")[2]: example for example in manifest.examples()}
    places: dict[str, int] = {}
    missing: dict[str, str] = {}
    rows = []
    for here, same, *entries in _lines(path, LISTS[name]):
        for entry in entries:
            places.setdefault(entry, len(places))
            if entry not in known:
                missing.setdefault(entry, f"{entry} ({here})")
        rows.append((same, *(places[entry] for entry in entries)))
    refuse_missing(
        list(missing.values()), len(places), f"files of the trials in {path}", f"Unpack the rest into {manifest.root}."
    )
    same, first, second = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    _refuse_one_class(path, same, LISTS[name])
    return Trials([known[entry] for entry in places], first, second, same.astype(bool), path.name)


def _find(root: Path, name: str) -> Path:
    if name not in LISTS:
        raise unknown("trial list", name, LISTS)
    candidates = [folder / file for folder in (root, root.parent) for file in LISTS[name].files]
    for path in candidates:
        if path.is_file():
            return path
    places = "\n".join(f"  {path}" for path in candidates)
    raise MissingError(
        f"the trial list '{name}' is missing. Looked for:\n{places}\nDownload {LISTS[name].source} into {root}."
    )


def _lines(path: Path, listed: TrialList) -> Iterator[tuple[str, int, str, str]]:
    """Where each trial stands, whether it is of one speaker, and the two files."""
    again = f"Download the list again: {listed.source}"
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        here = f"{path.name}, line {number}"
        text = line.decode("utf-8", errors="replace").strip()
        if not text:
            continue
        label, *entries = text.split()
        if label not in ("0", "1") or len(entries) != 2 or not all(map(_ENTRY.fullmatch, entries)):
            raise DataError(
                f"{path}, line {number}: '{text}' is not '<0|1> <speaker>/<video>/<file>.wav "
                f"<speaker>/<video>/<file>.wav'. {again}"
            )
        one_speaker = len({entry.partition("/")[0] for entry in entries}) == 1
        if one_speaker != (label == "1"):
            of = "one speaker" if one_speaker else "two speakers"
            raise DataError(f"{path}, line {number}: '{text}' says {label}, but its files are of {of}. {again}")
        yield here, int(one_speaker), *entries


def _refuse_one_class(path: Path, same: np.ndarray, listed: TrialList) -> None:
    if 0 < same.sum() < len(same):
        return
    what = f"all {len(same)} trials are of {'one speaker' if same.any() else 'two speakers'}" if len(same) else "empty"
    raise DataError(f"{path}: {what}; trials of both kinds are needed. Download the list again: {listed.source}")


def held_out(train: Sequence[Example], speakers: int) -> tuple[str, ...]:
    """So many of the speakers, for trials on which to choose without looking at the test.

    Whether a speaker is among them depends on the names alone: those whose digests come first.
    """
    names = {example.group for example in train}
    if not 0 < speakers < len(names):
        raise UsageError(
            f"{speakers} of {len(names)} speakers cannot be held out: choose from 1 to {len(names) - 1}, "
            "so that some are left to train on."
        )
    chosen = sorted(names, key=lambda name: blake2b(f"{_SEED}/{name}".encode(), digest_size=8).digest())
    return tuple(sorted(chosen[:speakers]))


def drawn_trials(examples: Sequence[Example], count: int) -> Trials:
    """`count` pairs, each once: half of one speaker in two videos, half of two speakers. Fewer where there are fewer.

    Pairs of one speaker are taken from within a video only where those of two videos do not suffice.
    """
    order = sorted(examples, key=lambda example: (example.group, example.audio))
    end_of_video = _ends([example.audio.rpartition("/")[0] for example in order])
    end_of_speaker = _ends([example.group for example in order])
    random, half = np.random.default_rng(_SEED), count // 2
    across = _drawn_pairs(end_of_video, end_of_speaker, half, random)
    within = _drawn_pairs(np.arange(len(order)) + 1, end_of_video, half - len(across), random)
    different = _drawn_pairs(end_of_speaker, np.full(len(order), len(order)), half, random)
    same = np.repeat([True, False], [len(across) + len(within), len(different)])
    if not 0 < same.sum() < len(same):
        speakers = len({example.group for example in order})
        raise DataError(
            f"no {count} trials can be drawn from {len(order)} utterances of {speakers} speakers: there have to be "
            "trials of one speaker and of two. Hold out more speakers."
        )
    used, places = np.unique(np.concatenate([across, within, different]), return_inverse=True)
    first, second = places.reshape(-1, 2).T
    return Trials([order[i] for i in used], first, second, same, "drawn")


def _ends(values: list[str]) -> np.ndarray:
    """For each entry of a sorted list, where the run of entries like it ends."""
    changes = [i for i in range(1, len(values)) if values[i] != values[i - 1]] + [len(values)]
    lengths = np.diff([0, *changes])
    return np.repeat(changes, lengths)


def _drawn_pairs(starts: np.ndarray, ends: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """(pairs, 2): `count` different pairs i, j with starts[i] <= j < ends[i], all equally likely; or all there are."""
    until, total = np.cumsum(ends - starts), int(np.sum(ends - starts))
    ranks = np.sort(random.choice(total, min(count, total), replace=False))
    i = np.searchsorted(until, ranks, side="right")
    return np.stack([i, ends[i] - (until[i] - ranks)], axis=1)
