"""Libri2Mix for diarization: recordings of two speakers in noise, and who of them speaks when.

What is learnt is in `segments`, what is scored by in `rttm`; both are made from the same times.
"""

from collections.abc import Iterator
from math import isfinite
from pathlib import Path, PurePosixPath
from sys import intern

from downstream.corpora.folders import FolderIndex, marker, refuse_missing
from downstream.metrics.turns import read_rttm
from downstream.types import Example, Manifest
from upstream.errors import DataError

CORPUS = "libri2mix_diarization"
PARTS = {"train": "train-100", "dev": "dev", "test": "test"}  # by split, which is also the folder under data/
LISTS = ("wav.scp", "reco2dur", "segments", "utt2spk")
SCORED = ("dev", "test")
SPEAKERS = 2
EXPECTED = {"train": 13900, "dev": 3000, "test": 3000}

_BEYOND = 0.1  # seconds by which a segment may outlast its recording
_AGREE = 0.01 + 1e-6  # seconds, and what sums of decimals are off by
_AGAIN = "Make the lists again: python -m benchmark data librimix --help"

Turn = tuple[str, float, float]  # speaker, start and stop in seconds


def read(root: Path) -> Manifest:
    """The splits train, dev and test, each sorted by recording."""
    _refuse_absent_lists(root)
    reader = _Reader(root)
    splits = {split: reader.split(split) for split in PARTS}
    remedy = "Make the recordings: python -m benchmark data librimix --help"
    refuse_missing(reader.missing, len(reader.seen), "recordings in wav.scp", remedy)
    mini = marker(root, CORPUS)
    manifest = Manifest(CORPUS, root, splits, dict(mini["counts"] if mini else EXPECTED), mini, reader.notes())
    examples = list(manifest.examples())
    manifest.holds = f"{sum(len(e.target) for e in examples)} turns in {len(examples)} recordings"
    manifest.notes += [note for split in SCORED for note in _notes_on_reference(manifest, split)]
    return manifest


def turns_of(example: Example) -> list[Turn]:
    """Who speaks when, from the first to speak to the last."""
    turns = (entry.split() for entry in example.target)
    return [(speaker, float(start), float(stop)) for speaker, start, stop in turns]


def reference(manifest: Manifest, split: str) -> dict[str, list[Turn]]:
    """The turns by which each recording of a split is scored: those of its rttm, without one those of its segments."""
    examples, path = manifest.splits[split], _rttm(manifest.root, split)
    if not path.is_file():
        return {example.id: turns_of(example) for example in examples}
    listed = read_rttm(path)
    absent = [example.id for example in examples if example.id not in listed]
    _refuse(absent, f"recordings have no turn in {path}, by which they would be scored")
    return {example.id: [(turn.speaker, turn.start, turn.stop) for turn in listed[example.id]] for example in examples}


class _Reader:
    """Reads split by split, and remembers what can only be judged or told when all are read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._index = FolderIndex(root)
        self._elsewhere = 0
        self._repeated: dict[str, int] = {}  # by split
        self.seen: dict[str, str] = {}  # recording to file and line
        self.missing: list[str] = []

    def split(self, split: str) -> list[Example]:
        folder = self._root / "data" / split
        audio = self._recordings(folder / "wav.scp", PARTS[split])
        lasting = {recording: _seconds(here, text) for here, (recording, text) in _rows(folder / "reco2dur", 2)}
        _refuse([one for one in audio if one not in lasting], f"recordings have no duration in {folder / 'reco2dur'}")
        speakers, repeated = _speakers(folder / "utt2spk")
        turns = _turns(folder / "segments", lasting, audio, speakers, repeated)
        _refuse([one for one in audio if one not in turns], f"recordings have no turn in {folder / 'segments'}")
        self._repeated[split] = len(repeated)
        return [Example(recording, audio[recording], _target(turns[recording])) for recording in sorted(audio)]

    def notes(self) -> list[str]:
        notes = [
            f"{split}: {count} segments are listed more than once; their speaker is the one listed last, as in SUPERB"
            for split, count in self._repeated.items()
            if count
        ]
        if self._elsewhere:
            notes.append(
                f"{self._elsewhere} recordings are taken from wav16k/max/<part>/mix_both: "
                "the files that wav.scp names are not in this folder"
            )
        return notes

    def _recordings(self, path: Path, part: str) -> dict[str, str]:
        """The audio file of each recording; where there is none, "" until all that are missing are told."""
        audio = {}
        for here, (recording, entry) in _rows(path, 2):
            if recording in self.seen:
                raise DataError(
                    f"{here}: recording '{recording}' was already listed in {self.seen[recording]}. {_AGAIN}"
                )
            self.seen[recording] = here
            audio[recording] = self._audio(recording, entry, part)
            if not audio[recording]:
                self.missing.append(f"{entry} ({here})")
        return audio

    def _audio(self, recording: str, entry: str, part: str) -> str:
        """Its path under the root. The list may have been made on another machine, whose folders are not ours."""
        named, usual = self._inside(entry), f"wav16k/max/{part}/mix_both/{recording}.wav"
        if named and self._index.has(named):
            return named
        if not self._index.has(usual):
            return ""
        self._elsewhere += 1
        return usual

    def _inside(self, entry: str) -> str | None:
        path = PurePosixPath(entry)
        if path.is_absolute():
            path = path.relative_to(self._root) if path.is_relative_to(self._root) else None
        return str(path) if path and ".." not in path.parts else None


def _refuse_absent_lists(root: Path) -> None:
    paths = [root / "data" / split / name for split in PARTS for name in LISTS]
    absent = [str(path) for path in paths if not path.is_file()]
    refuse_missing(absent, len(paths), "lists of who speaks when", _AGAIN.replace(" again", ""))


def _rttm(root: Path, split: str) -> Path:
    return root / "data" / split / "rttm"


def _refuse(recordings: list[str], what: str) -> None:
    if recordings:
        first = "".join(f"\n  {recording}" for recording in recordings[:3])
        raise DataError(f"{len(recordings)} {what}. The first:{first}\n{_AGAIN}")


def _rows(path: Path, fields: int) -> Iterator[tuple[str, list[str]]]:
    """Where each line stands, and its fields, of which the last may have spaces in it."""
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        here = f"{path}, line {number}"
        try:
            row = line.decode("utf-8").strip().split(None, fields - 1)
        except UnicodeDecodeError as error:
            raise DataError(f"{here}: not UTF-8 ({error}). {_AGAIN}") from error
        if len(row) != fields:
            raise DataError(f"{here}: {len(row)} fields instead of {fields}. {_AGAIN}")
        yield here, row


def _seconds(here: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not (isfinite(seconds) and seconds >= 0):
        raise DataError(f"{here}: '{text}' is no time in seconds. {_AGAIN}")
    return seconds


def _speakers(path: Path) -> tuple[dict[str, str], set[str]]:
    """The speaker of each segment, and the segments listed more than once.

    Two speakers who start and stop together have segments of the same name. SUPERB knows the later one only.
    """
    speakers: dict[str, str] = {}
    repeated = set()
    for here, (segment, speaker) in _rows(path, 2):
        if len(speaker.split()) != 1:
            raise DataError(f"{here}: more than 2 fields. {_AGAIN}")
        if segment in speakers:
            repeated.add(segment)
        speakers[segment] = intern(speaker)
    return speakers, repeated


def _turns(
    path: Path, lasting: dict[str, float], known: dict[str, str], speakers: dict[str, str], repeated: set[str]
) -> dict[str, dict[str, Turn]]:
    """What is said in each recording, as it is written and as a turn; adds to the segments listed more than once."""
    turns: dict[str, dict[str, Turn]] = {}
    owner: dict[str, str] = {}
    for here, (segment, recording, begins, ends) in _rows(path, 4):
        start, stop = _seconds(here, begins), _seconds(here, ends)
        if recording not in known:
            raise DataError(f"{here}: recording '{recording}' is not in wav.scp. {_AGAIN}")
        if segment not in speakers:
            raise DataError(f"{here}: segment '{segment}' has no speaker in utt2spk. {_AGAIN}")
        if owner.setdefault(segment, recording) != recording:
            raise DataError(f"{here}: segment '{segment}' was already listed for '{owner[segment]}'. {_AGAIN}")
        if start >= stop:
            raise DataError(f"{here}: the segment starts at {begins} and stops at {ends} s. {_AGAIN}")
        if stop > lasting[recording] + _BEYOND:
            raise DataError(f"{here}: it stops at {ends} s, its recording at {lasting[recording]} s. {_AGAIN}")
        own, speaker = turns.setdefault(recording, {}), speakers[segment]
        own[f"{speaker} {begins} {ends}"] = (speaker, start, stop)
        if len({turn[0] for turn in own.values()}) > SPEAKERS:
            raise DataError(f"{here}: speaker '{speaker}' is the third of the recording; it has {SPEAKERS}. {_AGAIN}")
    unused = [segment for segment in speakers if segment not in owner]
    if unused:
        raise DataError(f"{path} lacks {len(unused)} segments of utt2spk. The first: {unused[0]}. {_AGAIN}")
    return turns


def _target(turns: dict[str, Turn]) -> tuple[str, ...]:
    """Lines 'speaker start stop' in the order of time, with the decimals that they were given with."""
    return tuple(sorted(turns, key=lambda line: (*turns[line][1:], turns[line][0])))


def _notes_on_reference(manifest: Manifest, split: str) -> list[str]:
    if not _rttm(manifest.root, split).is_file():
        return [f"{split}: there is no rttm; the turns of segments are scored by"]
    notes, scored_by = [], reference(manifest, split)
    differing = [e.id for e in manifest.splits[split] if not _agree(turns_of(e), scored_by[e.id])]
    if differing:
        notes.append(
            f"{split}: {len(differing)} of {len(scored_by)} recordings have other turns in rttm than in segments, "
            f"{differing[0]} first; those of rttm are scored by"
        )
    unknown = [recording for recording in read_rttm(_rttm(manifest.root, split)) if recording not in scored_by]
    if unknown:
        notes.append(f"{split}: {len(unknown)} recordings of rttm are not in wav.scp, {unknown[0]} first; not scored")
    return notes


def _agree(turns: list[Turn], others: list[Turn]) -> bool:
    return len(turns) == len(others) and all(
        one[0] == other[0] and abs(one[1] - other[1]) <= _AGREE and abs(one[2] - other[2]) <= _AGREE
        for one, other in zip(sorted(turns), sorted(others), strict=True)
    )
