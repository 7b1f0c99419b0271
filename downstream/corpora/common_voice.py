"""Common Voice 7.0: sentences read aloud by volunteers, in Spanish (of Mexico), Arabic and Mandarin."""

import csv
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from string import ascii_uppercase
from sys import intern

from downstream.corpora.common_voice_text import normalised, why_left_out
from downstream.corpora.folders import FolderIndex, marker, refuse_missing
from downstream.types import Example, Manifest
from upstream.errors import DataError, MissingError

SPLITS = ("train", "dev", "test")
COLUMNS = ("client_id", "path", "sentence", "accent")
SPANISH_ACCENT = "mexicano"

# The rows of each list, from datasets/scripted-speech/cv-corpus-7.0-2021-07-21.json of common-voice/cv-dataset.
PUBLISHED_ROWS = {
    "es": {"train": 196006, "dev": 15338, "test": 15338},
    "ar": {"train": 27172, "dev": 10146, "test": 10284},
    "zh-CN": {"train": 21279, "dev": 9338, "test": 9338},
}

SPECIALS = 3  # blank, end of sentence and unknown, which the published sizes count
PUBLISHED_SIZES = {"es": 58, "ar": 60, "zh-CN": 4320}
SPANISH_CHARACTERS = (*" '", *ascii_uppercase, *"ÁÂÃÄÅÆÉÊËÌÍÑÓÔÕÖØÚÜĀĚİŁŌŞŪƏ")
ARABIC_CHARACTERS = (
    " ",
    *map(chr, range(0x0621, 0x063B)),  # letters
    *map(chr, range(0x0640, 0x064B)),  # the stroke that lengthens words, letters
    *map(chr, range(0x064B, 0x0653)),  # vowel marks
    *"\u0670\u0686\u06a8\u06a9\u06be\u06cc",  # another vowel mark, letters of other languages
    *"\u06d6\u06d7\u06d8\u06da\u06db",  # marks of the Quran
)
_FIXED_CHARACTERS = {"es": SPANISH_CHARACTERS, "ar": ARABIC_CHARACTERS}

_AGAIN = "Unpack the corpus again."


def read(root: Path, variant: str) -> Manifest:
    """The splits train, dev and test of a language, each in the order of its list; clips on no list are not read."""
    corpus = f"common_voice_{variant[:2]}"
    index = FolderIndex(root)
    seen: dict[str, str] = {}
    rows: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    missing: list[str] = []
    splits: dict[str, list[Example]] = {}
    for split in SPLITS:
        splits[split] = []
        for line, row in _rows(root / f"{split}.tsv"):
            rows[split] += 1
            here = f"{root / split}.tsv, line {line}"
            name = _clip_name(row["path"], here)
            if name in seen:
                raise DataError(f"{here}: clip '{name}' was already listed in {seen[name]}. {_AGAIN}")
            seen[name] = here
            text = normalised(row["sentence"], variant)
            if reason := _why_left_out(row, text, variant):
                left_out[reason] += 1
                continue
            audio = _audio(index, row["path"], name)
            if audio is None:
                missing.append(f"{root / 'clips' / row['path']} ({split}.tsv, line {line})")
                continue
            splits[split].append(Example(name, audio, (text,), intern(_speaker(row["client_id"]))))
    kept = rows.total() - left_out.total()
    refuse_missing(missing, kept, "listed clips", _AGAIN)
    mini = marker(root, corpus)
    expected = dict(mini["counts"]) if mini else _expected(splits, rows, variant)
    notes = _notes(splits, rows, left_out) + ([] if mini else _notes_on_rows(rows, variant))
    return Manifest(corpus, root, splits, expected, mini, notes)


def vocabulary(manifest: Manifest, variant: str) -> tuple[str, ...]:
    """The characters of a language in order: SUPERB's own for Spanish and Arabic, all that occur for Mandarin."""
    if variant in _FIXED_CHARACTERS:
        return _FIXED_CHARACTERS[variant]
    return tuple(sorted({character for example in manifest.examples() for character in example.target[0]}))


def vocabulary_note(characters: tuple[str, ...], variant: str) -> str | None:
    """Says when a corpus has another number of characters than the published one, which only Mandarin can have."""
    published = PUBLISHED_SIZES[variant] - SPECIALS
    if len(characters) == published:
        return None
    return f"{len(characters)} different characters; SUPERB's list for {variant} has {published}"


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows with the numbers of their lines. Quotation marks belong to the sentences, they quote nothing."""
    if not path.is_file():
        raise MissingError(f"the list {path} is missing. {_AGAIN}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        try:
            columns = reader.fieldnames or []
            for column in COLUMNS:
                if column not in columns:
                    found = ", ".join(name or "(unnamed)" for name in columns) or "none"
                    raise DataError(
                        f"{path} has no column '{column}'. Columns found: {found}. Is this Common Voice 7.0? {_AGAIN}"
                    )
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(
                        f"{path}, line {reader.line_num}: not the {len(columns)} fields of line 1. {_AGAIN}"
                    )
                yield reader.line_num, row
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 text after line {reader.line_num}: {error}. {_AGAIN}") from error


def _clip_name(path: str, here: str) -> str:
    if not path:
        raise DataError(f"{here}: no value for 'path'. {_AGAIN}")
    if PurePosixPath(path).name != path:
        raise DataError(f"{here}: path '{path}' is not the name of a file in clips. {_AGAIN}")
    return PurePosixPath(path).stem


def _why_left_out(row: dict[str, str], text: str, variant: str) -> str | None:
    if variant == "es" and row["accent"] != SPANISH_ACCENT:
        return f"with another accent than {SPANISH_ACCENT}, or none given"
    return why_left_out(text, variant)


def _audio(index: FolderIndex, path: str, name: str) -> str | None:
    """The clip, or what it was converted to: SUPERB's preparation leaves a .wav beside every .mp3."""
    return next((audio for audio in (f"clips/{path}", f"clips/{name}.wav") if index.has(audio)), None)


def _speaker(client_id: str) -> str:
    return blake2b(client_id.encode(), digest_size=8).hexdigest()


def _expected(splits: dict[str, list[Example]], rows: Counter[str], variant: str) -> dict[str, int]:
    """How many sentences SUPERB kept was not published, how many rows there are was: each missing row counts as one."""
    return {split: len(splits[split]) + published - rows[split] for split, published in PUBLISHED_ROWS[variant].items()}


def _notes(splits: dict[str, list[Example]], rows: Counter[str], left_out: Counter[str]) -> list[str]:
    notes = []
    if left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        notes.append(f"{left_out.total()} of {rows.total()} sentences left out, as in SUPERB: {reasons}")
    converted = sum(example.audio.endswith(".wav") for examples in splits.values() for example in examples)
    if converted:
        notes.append(f"clips read from a .wav file because their .mp3 is not there: {converted}")
    return notes


def _notes_on_rows(rows: Counter[str], variant: str) -> list[str]:
    return [
        f"{split}.tsv has {rows[split]} rows, that of Common Voice 7.0 {published}"
        for split, published in PUBLISHED_ROWS[variant].items()
        if rows[split] != published
    ]
