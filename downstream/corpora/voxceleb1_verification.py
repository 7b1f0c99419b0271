"""VoxCeleb1 for verification: nobody who is heard in training is heard in the test. Trials: see trials.py."""

import os
from pathlib import Path
from sys import intern

from downstream.corpora.folders import marker, subfolders
from downstream.types import Example, Manifest
from upstream.errors import DataError, MissingError

CORPUS = "voxceleb1_verification"
FOLDERS = {"train": "dev/wav", "test": "test/wav"}
EXPECTED = {"train": 148642, "test": 4874}
SOURCE = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html"

_LAYOUT = "<speaker>/<video>/<number>.wav"


def read(root: Path) -> Manifest:
    """Every file of the splits train and test, each sorted by speaker, video and file."""
    absent = [folder for folder in FOLDERS.values() if not (root / folder).is_dir()]
    if absent:
        lines = [f"{len(absent)} of {len(FOLDERS)} parts of VoxCeleb1 are missing:"]
        lines += [f"  {root / folder}" for folder in absent]
        raise MissingError("\n".join([*lines, f"Unpack the audio there, as {_LAYOUT}. It comes from {SOURCE}"]))
    splits = {split: _examples(root, folder) for split, folder in FOLDERS.items()}
    _refuse_shared_speakers(root, splits)
    mini = marker(root, CORPUS)
    return Manifest(CORPUS, root, splits, dict(mini["counts"] if mini else EXPECTED), mini)


def _examples(root: Path, part: str) -> list[Example]:
    examples = []
    for speaker in subfolders(root / part):
        name = intern(speaker)
        for video in subfolders(root / part / speaker):
            folder = f"{part}/{speaker}/{video}"
            files = sorted(os.listdir(root / folder))  # noqa: PTH208 - one question to the disk per video
            examples += [
                Example(f"{speaker}-{video}-{file.removesuffix('.wav')}", f"{folder}/{file}", (name,), name)
                for file in files
                if file.endswith(".wav") and not file.startswith(".")
            ]
    if not examples:
        raise MissingError(f"{root / part} holds no {_LAYOUT}. Unpack the audio there. It comes from {SOURCE}")
    return examples


def _refuse_shared_speakers(root: Path, splits: dict[str, list[Example]]) -> None:
    heard = [{example.group for example in examples} for examples in splits.values()]
    shared = sorted(set.intersection(*heard))
    if shared:
        raise DataError(
            f"{len(shared)} speakers have files under both {' and '.join(str(root / f) for f in FOLDERS.values())}: "
            f"{', '.join(shared[:3])}{', ...' if len(shared) > 3 else ''}. Speakers of the test must not be trained "
            "on: unpack the two archives of VoxCeleb1 again, each into its own folder."
        )
