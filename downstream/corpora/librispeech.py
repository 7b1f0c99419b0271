"""LibriSpeech: the three clean splits, with a file of transcripts in every chapter."""

import os
from pathlib import Path
from sys import intern

from downstream.corpora.folders import marker, refuse_missing, subfolders
from downstream.types import Example, Manifest
from upstream.errors import DataError, MissingError

CORPUS = "librispeech"
FOLDERS = {"train": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}
EXPECTED = {"train": 28539, "dev": 2703, "test": 2620}

_AGAIN = "Unpack the corpus again."


def read(root: Path) -> Manifest:
    """The splits train, dev and test, each sorted by speaker, chapter and utterance."""
    _refuse_absent_splits(root)
    reader = _Reader(root)
    splits = {split: reader.split(folder) for split, folder in FOLDERS.items()}
    refuse_missing(reader.missing, len(reader.seen), "transcribed audio files", _AGAIN)
    reader.refuse_untranscribed()
    mini = marker(root, CORPUS)
    return Manifest(CORPUS, root, splits, dict(mini["counts"] if mini else EXPECTED), mini)


class _Reader:
    """Reads chapter by chapter, and remembers what can only be judged when all are read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.seen: dict[str, str] = {}  # utterance to file and line
        self.missing: list[str] = []
        self.untranscribed: list[str] = []

    def split(self, folder: str) -> list[Example]:
        examples = []
        for speaker in subfolders(self._root / folder):
            for chapter in subfolders(self._root / folder / speaker):
                examples += self._chapter(f"{folder}/{speaker}/{chapter}", intern(speaker), f"{speaker}-{chapter}")
        if not examples:
            raise MissingError(f"{self._root / folder} holds no <speaker>/<chapter>/ folders. {_AGAIN}")
        return examples

    def refuse_untranscribed(self) -> None:
        if not self.untranscribed:
            return
        first = "".join(f"\n  {line}" for line in self.untranscribed[:3])
        raise DataError(f"{len(self.untranscribed)} audio files have no transcript. The first:{first}\n{_AGAIN}")

    def _chapter(self, folder: str, speaker: str, name: str) -> list[Example]:
        files = set(os.listdir(self._root / folder))  # noqa: PTH208 - one question to the disk per chapter
        listed = self._root / folder / f"{name}.trans.txt"
        if listed.name not in files:
            raise MissingError(f"the transcripts {listed} are missing. {_AGAIN}")
        examples = []
        for number, utterance, transcript in _lines(listed):
            here = f"{listed}, line {number}"
            self._check_id(utterance, name, here)
            audio = f"{utterance}.flac"
            if audio in files:
                files.remove(audio)
            else:
                self.missing.append(f"{self._root / folder / audio} ({listed.name}, line {number})")
            examples.append(Example(utterance, f"{folder}/{audio}", (transcript,), speaker))
        left = sorted(file for file in files if file.endswith(".flac") and not file.startswith("."))
        self.untranscribed += [f"{self._root / folder / file} (not in {listed.name})" for file in left]
        return sorted(examples, key=lambda example: example.id)

    def _check_id(self, utterance: str, name: str, here: str) -> None:
        if utterance.rpartition("-")[0] != name or "/" in utterance:
            raise DataError(f"{here}: '{utterance}' is not an utterance of this chapter ({name}-...). {_AGAIN}")
        if utterance in self.seen:
            raise DataError(f"{here}: utterance '{utterance}' was already listed in {self.seen[utterance]}. {_AGAIN}")
        self.seen[utterance] = here


def _refuse_absent_splits(root: Path) -> None:
    absent = [folder for folder in FOLDERS.values() if not (root / folder).is_dir()]
    if absent:
        lines = [f"{len(absent)} of {len(FOLDERS)} parts of LibriSpeech are missing:"]
        lines += [f"  {root / folder}  (https://www.openslr.org/resources/12/{folder}.tar.gz)" for folder in absent]
        raise MissingError("\n".join([*lines, f"Download and unpack them in {root.parent}."]))


def _lines(path: Path) -> list[tuple[int, str, str]]:
    """(line number, utterance, transcript) of each line. Words are upper-cased and one space apart."""
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            utterance, *words = line.decode("utf-8").split() or ("",)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: not UTF-8 ({error}). {_AGAIN}") from error
        if not words:
            what = f"utterance '{utterance}' has no transcript" if utterance else "an empty line"
            raise DataError(f"{path}, line {number}: {what}. {_AGAIN}")
        rows.append((number, utterance, " ".join(words).upper()))
    return rows
