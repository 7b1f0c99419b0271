"""Fluent Speech Commands: three tables of utterances, each with an action, an object and a location."""

import csv
from pathlib import Path, PurePosixPath
from sys import intern

from downstream.corpora.folders import FolderIndex, marker, refuse_missing
from downstream.types import Example, Manifest
from upstream.errors import DataError, MissingError

CORPUS = "fluent_speech_commands"
SLOTS = ("action", "object", "location")
TABLES = {"train": "data/train_data.csv", "dev": "data/valid_data.csv", "test": "data/test_data.csv"}
COLUMNS = ("path", "speakerId", *SLOTS)
EXPECTED = {"train": 23132, "dev": 3118, "test": 3793}

_AGAIN = "Unpack the corpus again."


def read(root: Path) -> Manifest:
    """The splits train, dev and test, each in the order of its table."""
    index = FolderIndex(root)
    seen: dict[str, str] = {}
    known: tuple[set[str], ...] = tuple(set() for _ in SLOTS)
    missing: list[str] = []
    splits: dict[str, list[Example]] = {}
    for split, table in TABLES.items():
        splits[split] = []
        for line, row in _rows(root / table):
            example = _example(row)
            here = f"{root / table}, line {line}"
            if example.id in seen:
                raise DataError(f"{here}: utterance '{example.id}' was already listed in {seen[example.id]}. {_AGAIN}")
            seen[example.id] = here
            _check_values(example, known, here, may_be_new=split == "train")
            if not index.has(example.audio):
                missing.append(f"{root / example.audio} ({PurePosixPath(table).name}, line {line})")
            splits[split].append(example)
    refuse_missing(missing, len(seen), "listed audio files", _AGAIN)
    mini = marker(root, CORPUS)
    return Manifest(CORPUS, root, splits, dict(mini["counts"] if mini else EXPECTED), mini)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise MissingError(f"the table {path} is missing. {_AGAIN}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        for column in COLUMNS:
            if column not in columns:
                found = ", ".join(name or "(unnamed)" for name in columns) or "none"
                raise DataError(f"{path} has no column '{column}'. Columns found: {found}. {_AGAIN}")
        rows = []
        for row in reader:
            for column in COLUMNS:
                if not row[column]:
                    raise DataError(f"{path}, line {reader.line_num}: no value for '{column}'. {_AGAIN}")
            rows.append((reader.line_num, {column: row[column] for column in COLUMNS}))
    return rows


def _example(row: dict[str, str]) -> Example:
    return Example(
        id=PurePosixPath(row["path"]).stem,
        audio=row["path"],
        target=tuple(intern(row[slot]) for slot in SLOTS),
        group=intern(row["speakerId"]),
    )


def _check_values(example: Example, known: tuple[set[str], ...], here: str, may_be_new: bool) -> None:
    for slot, value, values in zip(SLOTS, example.target, known, strict=True):
        if may_be_new:
            values.add(value)
        elif value not in values:
            raise DataError(
                f"{here}: {slot} '{value}' never occurs in train_data.csv, so no class stands for it. "
                f"Known: {', '.join(sorted(values))}. {_AGAIN}"
            )
