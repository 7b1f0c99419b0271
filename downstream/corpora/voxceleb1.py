"""VoxCeleb1, identification split: 1251 speakers, each of them in all three splits."""

import re
from collections.abc import Iterator
from pathlib import Path
from sys import intern

from downstream.corpora.folders import FolderIndex, marker, refuse_missing, visible
from downstream.types import Example, Manifest
from upstream.errors import DataError, MissingError

CORPUS = "voxceleb1"
LISTS = ("veri_test_class.txt", "iden_split.txt")
LIST_SOURCE = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt"
SPLITS = {"1": "train", "2": "dev", "3": "test"}
EXPECTED = {"train": 138361, "dev": 6904, "test": 8251}

_ENTRY = re.compile(r"(id\d{5})/([^/\s]+)/([^/\s]+)\.wav")


def read(root: Path) -> Manifest:
    """The splits train, dev and test, each in the order of the list; a file may lie in any `<part>/wav`."""
    listed = _find_list(root)
    parts = [f"{path.name}/wav" for path in visible(root) if (path / "wav").is_dir()]
    if not parts:
        raise MissingError(
            f"{root / 'dev' / 'wav'} and {root / 'test' / 'wav'} are both missing. "
            "Unpack the audio there, as dev/wav/id10001/<video>/00001.wav."
        )
    index = FolderIndex(root)
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS.values()}
    missing: list[str] = []
    targets: dict[str, tuple[str]] = {}
    ids: set[str] = set()
    for line, split, entry, speaker, utterance in _entries(listed):
        if utterance in ids:
            raise DataError(f"{listed}, line {line}: {entry} is listed twice. Download the list again: {LIST_SOURCE}")
        ids.add(utterance)
        audio = next((path for part in parts if index.has(path := f"{part}/{entry}")), None)
        if audio is None:
            missing.append(f"{entry}, expected as {' or '.join(str(root / part / entry) for part in parts)}")
            continue
        target = targets.setdefault(speaker, (speaker,))
        splits[split].append(Example(utterance, audio, target, target[0]))
    refuse_missing(missing, len(ids), f"files listed in {listed.name}", f"Unpack the rest of the corpus into {root}.")
    mini = marker(root, CORPUS)
    expected = dict(mini["counts"] if mini else EXPECTED)
    return Manifest(CORPUS, root, splits, expected, mini, [f"splits from {listed.name}"])


def _find_list(root: Path) -> Path:
    candidates = [folder / name for folder in (root, root.parent) for name in LISTS]
    for path in candidates:
        if path.is_file():
            return path
    places = "\n".join(f"  {path}" for path in candidates)
    raise MissingError(
        f"the list of the identification split is missing. Looked for:\n{places}\nDownload {LIST_SOURCE} into {root}."
    )


def _entries(path: Path) -> Iterator[tuple[int, str, str, str, str]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if not fields:
                continue
            match = _ENTRY.fullmatch(fields[1]) if len(fields) == 2 else None
            if match is None or fields[0] not in SPLITS:
                raise DataError(
                    f"{path}, line {number}: '{line.strip()}' is not '<1|2|3> <speaker>/<video>/<file>.wav'. "
                    f"Download the list again: {LIST_SOURCE}"
                )
            yield number, SPLITS[fields[0]], fields[1], intern(match[1]), "-".join(match.groups())
