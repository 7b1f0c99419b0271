"""Speech Commands v0.01: ten keywords, everything else is `_unknown_`, and silence cut from the background files.

The splits of the training archive follow from the file names by the corpus's own hash rule; the share that the rule
calls testing is left out, because the test set is an archive of its own.
"""

import re
from collections import Counter
from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from sys import intern

from downstream.corpora.folders import marker, visible
from downstream.types import Example, Manifest
from upstream.audio import SAMPLE_RATE, read_header
from upstream.errors import DataError, MissingError

CORPUS = "speech_commands"
TRAIN_FOLDER = "speech_commands_v0.01"
TEST_FOLDER = "speech_commands_test_set_v0.01"
NOISE_FOLDER = "_background_noise_"
UNKNOWN, SILENCE = "_unknown_", "_silence_"
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
CLASSES = (*KEYWORDS, UNKNOWN, SILENCE)
OTHER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow"),
)
EXPECTED = {"train": 51088, "dev": 6798, "test": 3081}
NOISE_FILES = 6

CROP = SAMPLE_RATE  # a silence example lasts one second
CROP_STEP = SAMPLE_RATE // 10  # SUPERB draws crops at random; a grid of 0.1 s holds every tenth of a second of them

_HASH_RANGE = 2**27 - 1


def read(root: Path) -> Manifest:
    """The splits train, dev and test, and `silence`: the crops that SUPERB adds to train and to dev alike."""
    for folder in (TRAIN_FOLDER, TEST_FOLDER):
        if not (root / folder).is_dir():
            raise MissingError(
                f"{root / folder} is missing. {TRAIN_FOLDER} and {TEST_FOLDER} have to lie side by side in one folder; "
                "give that folder with --data DIR."
            )
    notes: list[str] = []
    train, dev = _words(root, notes)
    splits = {"train": train, "dev": dev, "test": _test(root), "silence": _silence(root, notes)}
    mini, test_mini = (marker(root / folder, CORPUS) for folder in (TRAIN_FOLDER, TEST_FOLDER))
    if (mini is None) != (test_mini is None):
        raise DataError(
            f"{root} has one real and one small made-up folder of {TRAIN_FOLDER} and {TEST_FOLDER}. "
            "Give a folder with both of a kind with --data DIR."
        )
    expected = {split: mini["counts"][split] for split in EXPECTED if split in mini["counts"]} if mini else EXPECTED
    return Manifest(CORPUS, root, splits, dict(expected), mini, notes)


@lru_cache(maxsize=4096)
def share(speaker: str) -> float:
    """Where the corpus's hash rule puts a speaker, in percent: under 10 is dev, under 20 testing, the rest train."""
    number = int(sha1(speaker.encode()).hexdigest(), 16) % (_HASH_RANGE + 1)
    return number * (100.0 / _HASH_RANGE)


def speaker_of(name: str) -> str:
    """The part of a file name that the hash rule looks at."""
    return intern(re.sub("_nohash_.*$", "", name))


def _words(root: Path, notes: list[str]) -> tuple[list[Example], list[Example]]:
    train: list[Example] = []
    dev: list[Example] = []
    left_out = 0
    folders = [path for path in visible(root / TRAIN_FOLDER) if path.is_dir() and path.name != NOISE_FOLDER]
    for folder in folders:
        for example in _clips(root, folder, folder.name if folder.name in KEYWORDS else UNKNOWN):
            place = share(example.group)
            if 10 <= place < 20:
                left_out += 1
            else:
                (dev if place < 10 else train).append(example)
    words = {folder.name for folder in folders}
    _require_classes(root / TRAIN_FOLDER, KEYWORDS, Counter(e.target[0] for e in train))
    if left_out:
        notes.append(f"{left_out} clips of {TRAIN_FOLDER} are in its testing share and left out, as in SUPERB")
    for word in sorted(words.difference(KEYWORDS, OTHER_WORDS)):
        notes.append(f"'{word}' is none of the 30 words of the corpus; its clips count as {UNKNOWN}")
    return train, dev


def _test(root: Path) -> list[Example]:
    folders = [path for path in visible(root / TEST_FOLDER) if path.is_dir()]
    for folder in folders:
        if folder.name not in CLASSES:
            raise DataError(
                f"{folder} is no class of the test set. It has exactly: {', '.join(CLASSES)}. "
                f"Unpack the archive of {TEST_FOLDER} again."
            )
    examples = [example for folder in folders for example in _clips(root, folder, folder.name)]
    _require_classes(root / TEST_FOLDER, CLASSES, Counter(e.target[0] for e in examples))
    return examples


def _clips(root: Path, folder: Path, label: str) -> list[Example]:
    target = (intern(label),)
    where = folder.relative_to(root).as_posix()
    return [
        Example(f"{folder.name}-{path.name}", f"{where}/{path.name}", target, speaker_of(path.name))
        for path in visible(folder, ".wav")
    ]


def _require_classes(folder: Path, classes: tuple[str, ...], found: Counter) -> None:
    without = [label for label in classes if not found[label]]
    if without:
        raise DataError(
            f"{folder} has no clips of: {', '.join(without)}. Expected them in a folder of that name. "
            "Unpack the archive again."
        )


def _silence(root: Path, notes: list[str]) -> list[Example]:
    folder = root / TRAIN_FOLDER / NOISE_FOLDER
    paths = visible(folder, ".wav") if folder.is_dir() else []
    if not paths:
        raise DataError(
            f"no background noise: {folder} has no wav files. {SILENCE} is cut from them. Unpack {TRAIN_FOLDER} again."
        )
    if len(paths) != NOISE_FILES:
        notes.append(f"{len(paths)} background files instead of {NOISE_FILES}")
    crops: list[Example] = []
    for path in paths:
        audio = path.relative_to(root).as_posix()
        samples = read_header(path).samples
        if samples < CROP:
            raise DataError(f"{path} lasts {samples / SAMPLE_RATE:.2f} s; a background file has to last 1 s or more.")
        crops += [
            Example(f"{NOISE_FOLDER}/{path.name}@{start}", audio, (SILENCE,), None, start, start + CROP)
            for start in range(0, samples - CROP + 1, CROP_STEP)
        ]
    return crops
