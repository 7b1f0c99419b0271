"""Audio SNIPS: orders to an assistant, each spoken by sixteen synthetic voices, of which every split has its own.

The target of an example is its tagged text, `PLAY B-track THE BLUE HERON E-track`, of which `snips_text` makes tokens.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from downstream.corpora.folders import marker, refuse_missing
from downstream.corpora.snips_text import CHARACTERS, OUTSIDE, UNKNOWN, is_spoken, slots, tagged
from downstream.types import Example, Manifest
from upstream.errors import DataError, MissingError

CORPUS = "audio_snips"
SENTENCES = "all.iob.snips.txt"
SLOTS = "slots.txt"
FOLDERS = {"train": "train", "dev": "valid", "test": "test"}  # each holds its sentences in all voices
VOICES = {
    "train": ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    "dev": ("Aditi", "Amy", "Geraint", "Nicole"),
    "test": ("Brian", "Emma", "Raveena", "Russell"),
}
EXPECTED = {"train": 8 * 13084, "dev": 4 * 700, "test": 4 * 700}

_AGAIN = "Unpack the corpus again."
_ID = re.compile(r"([^-]+)-snips-(train|valid|test)-[0-9]+")
_SPLITS = {folder: split for split, folder in FOLDERS.items()}
_NAMES = {voice: voice for voices in VOICES.values() for voice in voices}  # one string for all examples of a voice


def read(root: Path) -> Manifest:
    """The splits train, dev and test, each in the order of the file of sentences, in the voices of the split only."""
    absent = [str(root / folder) for folder in FOLDERS.values() if not (root / folder).is_dir()]
    if absent:
        raise MissingError(f"{len(absent)} of {len(FOLDERS)} audio folders are missing: {', '.join(absent)}. {_AGAIN}")
    reader = _Reader(root)
    for number, line in enumerate(_lines(root / SENTENCES), start=1):
        reader.add(number, line)
    reader.check_audio()
    mini = marker(root, CORPUS)
    expected = dict(mini["counts"] if mini else EXPECTED)
    return Manifest(CORPUS, root, reader.splits, expected, mini, reader.notes())


@dataclass(frozen=True, slots=True)
class _Sentence:
    target: tuple[str]
    unknown: frozenset[str]  # characters that no output stands for
    unspoken: frozenset[str]  # words that are not written


class _Reader:
    """Reads line by line, and remembers what can only be judged when all are read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tags = frozenset((OUTSIDE, *slots(root / SLOTS)))
        self._seen: dict[str, int] = {}  # utterance to line
        self._sentences: dict[str, _Sentence] = {}  # every one is there sixteen times
        self._unknown: list[tuple[int, frozenset[str]]] = []
        self._unspoken: list[tuple[int, frozenset[str]]] = []
        self.splits: dict[str, list[Example]] = {split: [] for split in FOLDERS}

    def add(self, number: int, line: str) -> None:
        utterance, _, rest = line.strip().partition(" ")
        voice, split = self._voice_and_split(number, utterance)
        if utterance in self._seen:
            raise self._broken(number, f"utterance '{utterance}' was already in line {self._seen[utterance]}")
        self._seen[utterance] = number
        if rest not in self._sentences:
            self._sentences[rest] = self._sentence(number, rest)
        if voice in VOICES[split]:
            sentence = self._sentences[rest]
            audio = f"{FOLDERS[split]}/{utterance}.wav"
            self.splits[split].append(Example(utterance, audio, sentence.target, _NAMES[voice]))
            if sentence.unknown:
                self._unknown.append((number, sentence.unknown))
            if sentence.unspoken:
                self._unspoken.append((number, sentence.unspoken))

    def check_audio(self) -> None:
        missing: list[str] = []
        unlisted: list[str] = []
        for split, examples in self.splits.items():
            voices, folder = VOICES[split], self._root / FOLDERS[split]
            if not examples:
                raise DataError(
                    f"{self._root / SENTENCES} has no sentence of {folder.name} in its voices, {', '.join(voices)}. "
                    f"{_AGAIN}"
                )
            files = set(os.listdir(folder))  # noqa: PTH208 - one question to the disk per folder
            for example in examples:
                name = f"{example.id}.wav"
                if name in files:
                    files.remove(name)
                else:
                    missing.append(f"{folder / name} ({SENTENCES}, line {self._seen[example.id]})")
            wavs = sorted(name for name in files if name.endswith(".wav"))
            unlisted += [str(folder / name) for name in wavs if name.partition("-")[0] in voices]
        refuse_missing(missing, sum(map(len, self.splits.values())), "audio files", _AGAIN)
        if unlisted:
            first = "".join(f"\n  {path}" for path in unlisted[:3])
            text = f"{len(unlisted)} audio files of these voices have no line of this folder in {SENTENCES}. The first:"
            raise DataError(f"{text}{first}\n{_AGAIN}")

    def notes(self) -> list[str]:
        """What SUPERB does to some sentences without a word."""
        notes = []
        for what, found in (
            (f"characters that become {UNKNOWN}", self._unknown),
            ("words that are not written", self._unspoken),
        ):
            if found:
                which = " ".join(map(repr, sorted(frozenset.union(*(some for _, some in found)))))
                first = f"first in {SENTENCES}, line {found[0][0]}"
                notes.append(f"utterances with {what}, as in SUPERB: {len(found)} ({which}; {first})")
        return notes

    def _voice_and_split(self, number: int, utterance: str) -> tuple[str, str]:
        found = _ID.fullmatch(utterance)
        if not found:
            raise self._broken(number, f"'{utterance}' is no utterance like Ivy-snips-train-12")
        voice, folder = found.groups()
        if voice not in _NAMES:
            raise self._broken(number, f"'{voice}' is none of the 16 voices {', '.join(sorted(_NAMES))}")
        return voice, _SPLITS[folder]

    def _sentence(self, number: int, rest: str) -> _Sentence:
        said, tab, tagging = rest.partition("\t")
        words, tags = said.split(" "), tagging.split(" ")
        if not tab:
            raise self._broken(number, "no TAB between the words and their tags")
        if len(words) < 2 or words[0] != "BOS" or words[-1] != "EOS":
            raise self._broken(number, f"the words '{said}' do not begin with BOS and end with EOS")
        if len(words) != len(tags):
            raise self._broken(number, f"{len(words)} words from BOS to EOS, but {len(tags)} tags")
        words, tags = words[1:-1], tags[1:-1]
        for tag in tags:
            if tag not in self._tags:
                raise self._broken(number, f"tag '{tag}' is not in {SLOTS}")
        spoken = [word for word in words if is_spoken(word)]
        if not spoken:
            raise self._broken(number, "an empty sentence: there is no word between BOS and EOS")
        unknown = frozenset("".join(word for word in spoken if word != "&")).difference(CHARACTERS)
        small = sorted(character for character in unknown if "a" <= character <= "z")
        if small:
            raise self._broken(
                number,
                f"the small letter '{small[0]}' in '{said}'. The sentences of this corpus are in capitals, and SUPERB "
                "has outputs for these only",
            )
        unspoken = frozenset(word for word in words if not is_spoken(word))
        return _Sentence((tagged(words, tags)[1],), unknown, unspoken)

    def _broken(self, number: int, what: str) -> DataError:
        return DataError(f"{self._root / SENTENCES}, line {number}: {what}. {_AGAIN}")


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise MissingError(f"the sentences {path} are missing. {_AGAIN}")
    content = path.read_bytes()
    try:
        return content.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {number}: not UTF-8 ({error}). {_AGAIN}") from error
