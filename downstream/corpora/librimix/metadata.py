"""The published lists: which two utterances and which noise make a mixture, and how loud each is."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path, PurePosixPath

from upstream.errors import DataError, MissingError

SOURCE = "https://github.com/s3prl/LibriMix"
LISTS = {
    "train-100": "libri2mix_train-clean-100.csv",
    "dev": "libri2mix_dev-clean.csv",
    "test": "libri2mix_test-clean.csv",
}
PARTS = tuple(LISTS)
EXPECTED = {"train-100": 13900, "dev": 3000, "test": 3000}
COLUMNS = (
    "mixture_ID",
    *("source_1_path", "source_1_gain", "source_2_path", "source_2_gain"),
    *("noise_path", "noise_gain"),
)

_PLACES = (".", "Libri2Mix", "metadata/Libri2Mix")  # in the folder with the lists, in metadata/, in the repository
_AGAIN = f"Fetch the list again from {SOURCE} (metadata/Libri2Mix)."


@dataclass(frozen=True, slots=True)
class Mixture:
    """One line of a list. `sources` are paths in LibriSpeech, `noise` is one in WHAM."""

    id: str
    sources: tuple[str, str]
    gains: tuple[float, float]
    noise: str
    noise_gain: float


def find_lists(metadata: Path, parts: Sequence[str]) -> dict[str, Path]:
    """Where the lists of the parts are, in a folder or in a copy of the repository that they come from."""
    folder = next((metadata / place for place in _PLACES if (metadata / place / LISTS[parts[0]]).is_file()), metadata)
    paths = {part: folder / LISTS[part] for part in parts}
    absent = [path for path in paths.values() if not path.is_file()]
    if absent:
        lines = [f"{len(absent)} of {len(paths)} lists of mixtures are missing:", *(f"  {path}" for path in absent)]
        lines.append(f"They come from {SOURCE} (metadata/Libri2Mix). Type: git clone {SOURCE}")
        raise MissingError("\n".join(lines))
    return paths


def read_list(path: Path) -> list[Mixture]:
    """The mixtures of a list, in its order."""
    mixtures, seen, wrong = [], {}, []
    for number, row in _rows(path):
        try:
            mixture = _mixture(row)
            if mixture.id in seen:
                raise ValueError(f"mixture '{mixture.id}' was already listed in line {seen[mixture.id]}")
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
            continue
        seen[mixture.id] = number
        mixtures.append(mixture)
    if wrong:
        lines = [f"{len(wrong)} of {len(wrong) + len(mixtures)} mixtures in {path} are broken. The first:"]
        raise DataError("\n".join([*lines, *(f"  {line}" for line in wrong[:3]), _AGAIN]))
    if not mixtures:
        raise DataError(f"{path} lists no mixtures. {_AGAIN}")
    return mixtures


def _rows(path: Path) -> list[tuple[int, dict[str, str | None]]]:
    """(line number, values by column) of every line under the header."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if absent:
                raise DataError(f"{path}, line 1: no column {', '.join(absent)}. {_AGAIN}")
            return [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file: {error}. {_AGAIN}") from error


def _mixture(row: dict[str, str | None]) -> Mixture:
    """A line as a mixture; ValueError says what is wrong with it."""
    absent = [column for column in COLUMNS if not row[column]]
    if absent:
        raise ValueError(f"no {', '.join(absent)}")
    first, second, noise = (_inside(row, column) for column in ("source_1_path", "source_2_path", "noise_path"))
    named = f"{PurePosixPath(first).stem}_{PurePosixPath(second).stem}"
    if row["mixture_ID"] != named:
        raise ValueError(f"mixture '{row['mixture_ID']}' has the sources of '{named}'")
    first_gain, second_gain, noise_gain = (_gain(row, f"{of}_gain") for of in ("source_1", "source_2", "noise"))
    return Mixture(named, (first, second), (first_gain, second_gain), noise, noise_gain)


def _inside(row: dict[str, str | None], column: str) -> str:
    path = PurePosixPath(row[column])
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{column} '{path}' is not a path inside its corpus")
    return str(path)


def _gain(row: dict[str, str | None], column: str) -> float:
    try:
        gain = float(row[column])
    except ValueError:
        gain = 0.0
    if not (isfinite(gain) and gain > 0):
        raise ValueError(f"{column} is '{row[column]}', not a number above 0")
    return gain
