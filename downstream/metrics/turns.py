"""Who speaks when: turns, and RTTM, the text format in which diarization tools hand them to each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np

from upstream.errors import DataError, MissingError

_TURN = "SPEAKER"
_COMMENTS = (";", "#")
_OTHER_TYPES = {"SPKR-INFO", "SEGMENT", "NO_RT_METADATA", "NON-SPEECH"}
_TYPES_ON_WORDS = {"LEXEME", "FILLER", "EDIT", "SU", "IP", "CB", "A/P"}
_UNSCORED_TYPES = {"NOSCORE", "NON-LEX"}  # md-eval takes their time out of what it scores
_FIELDS = 9  # the tenth that most tools write says nothing, and SUPERB's files end before it
_REMEDY = "Correct the line, or make the file again."


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker speaks from `start` to `stop`, in seconds."""

    speaker: str
    start: float
    stop: float


class Spans(NamedTuple):
    """Turns as arrays: of each the number of its speaker, and when it starts and stops, in seconds."""

    speaker: np.ndarray
    start: np.ndarray
    stop: np.ndarray


def as_spans(turns: Sequence[Turn]) -> Spans:
    """The speakers are numbered in the order in which they appear."""
    numbers: dict[str, int] = {}
    speaker = [numbers.setdefault(turn.speaker, len(numbers)) for turn in turns]
    times = np.array([(turn.start, turn.stop) for turn in turns], dtype=np.float64).reshape(-1, 2)
    return Spans(np.array(speaker, dtype=np.int64), times[:, 0], times[:, 1])


def as_turns(spans: Spans) -> list[Turn]:
    """The number of a speaker becomes its name."""
    columns = (column.tolist() for column in spans)
    return [Turn(str(speaker), start, stop) for speaker, start, stop in zip(*columns, strict=True)]


def rttm_lines(recording: str, turns: Sequence[Turn]) -> str:
    """A line for each turn, start and duration with two decimals as SUPERB prints them."""
    _refuse_name("recording", recording)
    return "".join(_line(recording, turn) for turn in turns)


def read_rttm(path: Path) -> dict[str, list[Turn]]:
    """The turns of each recording, both in the order of the file. All channels of a recording count as one.

    Lines of the other types that RTTM has, comments and empty lines are passed over, save those of types that say which
    time not to score: they are refused.
    """
    recordings: dict[str, list[Turn]] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith(_COMMENTS) or fields[0].upper() in _OTHER_TYPES | _TYPES_ON_WORDS:
            continue
        problem = _problem(fields)
        if problem:
            raise DataError(f"{path} line {number}: {problem}. {_REMEDY}")
        start, duration = float(fields[3]), float(fields[4])
        recordings.setdefault(fields[1], []).append(Turn(fields[7], start, start + duration))
    return recordings


def _line(recording: str, turn: Turn) -> str:
    _refuse_name("speaker", turn.speaker)
    start, duration = f"{turn.start:.2f}", f"{turn.stop - turn.start:.2f}"
    if not float(duration) > 0:
        raise DataError(
            f"{recording}: the turn of {turn.speaker} from {turn.start} to {turn.stop} s has no length in hundredths "
            "of a second, the steps of RTTM. Leave it out."
        )
    return f"{_TURN} {recording} 1 {start} {duration} <NA> <NA> {turn.speaker} <NA> <NA>\n"


def _refuse_name(kind: str, name: str) -> None:
    if len(name.split()) != 1 or name != name.strip():
        raise DataError(f"the {kind} '{name}' cannot be written as RTTM: its name is empty or holds white space.")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise MissingError(f"there is no RTTM file at {path}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}. Copy or make the file again.") from error


def _problem(fields: Sequence[str]) -> str | None:
    """What is wrong with the line of a turn."""
    if fields[0].upper() in _UNSCORED_TYPES:
        return f"{fields[0]} takes time out of what is scored, and here all is scored"
    if fields[0].upper() != _TURN:
        return f"RTTM has no lines of type '{fields[0][:80]}'"
    if len(fields) < _FIELDS:
        return f"expected {_FIELDS} fields or more, got {len(fields)}: '{' '.join(fields)[:80]}'"
    start, duration = _number(fields[3]), _number(fields[4])
    if start is None or start < 0:
        return f"a turn of recording {fields[1]} starts at '{fields[3]}', which is no time in seconds"
    if duration is None or duration <= 0:
        return f"a turn of recording {fields[1]} lasts '{fields[4]}', which is no duration in seconds"
    return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None
