"""Libri2Mix for separation: two speakers at once without noise, and what each of them says alone."""

import re
from collections.abc import Iterable
from hashlib import sha1
from pathlib import Path
from random import Random

from downstream.corpora.folders import marker, names_in_all, refuse_missing
from downstream.types import Example, Manifest
from upstream.errors import DataError

CORPUS = "libri2mix_separation"
PARTS = {"train": "train-100", "dev": "dev", "test": "test"}
FOLDERS = ("mix_clean", "s1", "s2")
EXPECTED = {"train": 13900, "dev": 1000, "test": 3000}

_DEV = 1000
_DEV_SHA1 = "baf6125adffe7081fe5d46d499cecd58b0425d0a"  # of the ids that SUPERB's dev_1000 has, one a line
_NAME = re.compile(r"\d+-\d+-\d+_\d+-\d+-\d+\.wav")
_LIKE = "two utterances of LibriSpeech, <speaker>-<chapter>-<utterance>_<speaker>-<chapter>-<utterance>.wav"
_AGAIN = "Make the corpus again: python -m benchmark data librimix --help"


def read(root: Path) -> Manifest:
    """The splits train, dev and test, each sorted by mixture; of dev the mixtures that SUPERB takes."""
    places = {split: f"wav16k/min/{part}" for split, part in PARTS.items()}
    _refuse_absent_folders(root, places.values())
    missing: list[str] = []
    ids = {split: _ids(root, place, missing) for split, place in places.items()}
    refuse_missing(missing, len(FOLDERS) * sum(map(len, ids.values())), "audio files", _AGAIN)
    _refuse_repeated(ids)
    mini = marker(root, CORPUS)
    chosen = ids | {"dev": dev_1000(ids["dev"])}
    splits = {split: [_example(places[split], mixture) for mixture in chosen[split]] for split in PARTS}
    notes = [] if mini else _notes_on_dev(ids["dev"], chosen["dev"])
    return Manifest(CORPUS, root, splits, dict(mini["counts"] if mini else EXPECTED), mini, notes)


def dev_1000(ids: Iterable[str]) -> list[str]:
    """Which mixtures of dev SUPERB takes: 1000 drawn with Python's own generator, or all where there are fewer."""
    drawn = sorted(ids)
    Random(7).shuffle(drawn)
    return sorted(drawn[:_DEV])


def _refuse_absent_folders(root: Path, places: Iterable[str]) -> None:
    folders = [root / place / folder for place in places for folder in FOLDERS]
    absent = [str(folder) for folder in folders if not folder.is_dir()]
    refuse_missing(absent, len(folders), "folders of Libri2Mix", _AGAIN.replace(" again", ""))


def _ids(root: Path, place: str, missing: list[str]) -> list[str]:
    folders = [f"{place}/{folder}" for folder in FOLDERS]
    return [name.removesuffix(".wav") for name in names_in_all(root, folders, _NAME, _LIKE, missing, _AGAIN)]


def _refuse_repeated(ids: dict[str, list[str]]) -> None:
    seen: dict[str, str] = {}
    for split, mixtures in ids.items():
        for mixture in mixtures:
            if seen.setdefault(mixture, split) != split:
                raise DataError(f"mixture '{mixture}' is in both {seen[mixture]} and {split}. {_AGAIN}")


def _example(place: str, mixture: str) -> Example:
    mixed, *sources = (f"{place}/{folder}/{mixture}.wav" for folder in FOLDERS)
    return Example(mixture, mixed, (), sources=tuple(sources))


def _notes_on_dev(ids: list[str], chosen: list[str]) -> list[str]:
    if sha1("\n".join(chosen).encode()).hexdigest() == _DEV_SHA1:
        return [f"dev: the {len(chosen)} mixtures of {len(ids)} that SUPERB takes"]
    return [f"dev: {len(chosen)} mixtures of {len(ids)}, which are not those that SUPERB takes"]
