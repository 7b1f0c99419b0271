"""The six files that say who speaks when in Libri2Mix, in the form of Kaldi's data folders.

Times are written with every digit that adding start and duration gives, as in the published files, so that ours can
be compared with those byte by byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from downstream.corpora.librimix.metadata import SOURCE
from downstream.files import write_text
from upstream.audio import SAMPLE_RATE
from upstream.errors import DataError, MissingError

FOLDERS = {"train-100": "train", "dev": "dev", "test": "test"}
ACTIVITY = {"train-100": "train_clean_100.rttm", "dev": "dev_clean.rttm", "test": "test_clean.rttm"}

_PLACES = (".", "LibriSpeech", "metadata/LibriSpeech", "../LibriSpeech")  # the last beside metadata/Libri2Mix
_FIELDS = 10
_AGAIN = f"Fetch the file again from {SOURCE} (metadata/LibriSpeech)."

Activity = Mapping[str, Sequence[tuple[str, float, float]]]  # chapter-utterance -> (speaker, start, stop), in seconds


@dataclass(frozen=True, slots=True)
class Recording:
    """A mixture of which it is known who speaks when. `path` begins in the folder Libri2Mix."""

    id: str
    path: str
    samples: int


def find_activity(folders: Sequence[Path], parts: Sequence[str]) -> dict[str, Path]:
    """Where the speech of each utterance of LibriSpeech is listed: in one of the folders, or where these keep it."""
    places = [folder / place for folder in folders for place in _PLACES]
    folder = next((place for place in places if (place / ACTIVITY[parts[0]]).is_file()), folders[0])
    paths = {part: folder / ACTIVITY[part] for part in parts}
    absent = [path for path in paths.values() if not path.is_file()]
    if absent:
        lines = ["diarization needs to know when LibriSpeech's speakers speak, and this is missing:"]
        lines += [f"  {path}" for path in absent]
        lines.append(f"It comes from {SOURCE} (metadata/LibriSpeech). Type: git clone {SOURCE}")
        lines.append("Or make the mode 'min' only, which separation uses.")
        raise MissingError("\n".join(lines))
    return paths


def read_activity(path: Path) -> dict[str, list[tuple[str, float, float]]]:
    """When each utterance's speaker speaks, by chapter and utterance, which is how these files name utterances."""
    activity: dict[str, list[tuple[str, float, float]]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            utterance, turn = _turn(line.decode("utf-8").split())
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}. {_AGAIN}") from error
        activity.setdefault(utterance, []).append(turn)
    return activity


def refuse_unknown(mixtures: Sequence[str], activity: Activity) -> None:
    """Stop when it is not known of a mixture's sources when they speak, or somebody else is said to."""
    wrong = []
    for mixture in mixtures:
        for speaker, utterance in _sources(mixture):
            told = {name for name, _, _ in activity.get(utterance, ())}
            if told != {speaker}:
                found = f"said to be spoken by {', '.join(sorted(told))}" if told else "not listed"
                wrong.append(f"{speaker}-{utterance} in {mixture}: {found}")
    if wrong:
        lines = [f"of {len(wrong)} of {2 * len(mixtures)} sources it is not known when they speak. The first:"]
        raise DataError("\n".join([*lines, *(f"  {line}" for line in wrong[:3]), _AGAIN]))


def data_files(recordings: Sequence[Recording], activity: Activity) -> dict[str, str]:
    """The content of the six files by name. Recordings keep their order, and both speakers their turns' order."""
    refuse_unknown([recording.id for recording in recordings], activity)
    lines: dict[str, list[str]] = {name: [] for name in ("wav.scp", "segments", "utt2spk", "rttm", "reco2dur")}
    heard: dict[str, list[str]] = {}
    for recording in recordings:
        lines["wav.scp"].append(f"{recording.id} {recording.path}")
        lines["reco2dur"].append(f"{recording.id} {recording.samples / SAMPLE_RATE}")
        for speaker, start, stop in (turn for source in _sources(recording.id) for turn in activity[source[1]]):
            segment = f"{recording.id}_{int(start * 1000):06d}_{int(stop * 1000):06d}"
            lines["segments"].append(f"{segment} {recording.id} {start} {stop}")
            lines["utt2spk"].append(f"{segment} {speaker}")
            fields = ("SPEAKER", recording.id, 1, start, stop - start, "<NA>", "<NA>", speaker, "<NA>")
            lines["rttm"].append("\t".join(map(str, fields)))
            heard.setdefault(speaker, []).append(recording.id)
    lines["spk2utt"] = [f"{speaker} {' '.join(ids)}" for speaker, ids in heard.items()]
    return {name: "".join(f"{line}\n" for line in content) for name, content in lines.items()}


def write_folder(folder: Path, recordings: Sequence[Recording], activity: Activity) -> None:
    """Write the six files."""
    for name, text in data_files(recordings, activity).items():
        write_text(folder / name, text)


def _turn(fields: list[str]) -> tuple[str, tuple[str, float, float]]:
    """(utterance, turn) of a line; ValueError says what is wrong with it."""
    if len(fields) != _FIELDS or fields[0] != "SPEAKER":
        raise ValueError(f"not a line 'SPEAKER utterance 1 start duration ...' of {_FIELDS} fields")
    start, duration = float(fields[3]), float(fields[4])
    if not (isfinite(start) and isfinite(duration) and start >= 0 and duration > 0):
        raise ValueError(f"a turn that starts at {fields[3]} and lasts {fields[4]}")
    return fields[1], (fields[7], start, start + duration)


def _sources(mixture: str) -> list[tuple[str, str]]:
    """(speaker, chapter-utterance) of both sources of a mixture."""
    return [(source.partition("-")[0], source.partition("-")[2]) for source in mixture.split("_")]
