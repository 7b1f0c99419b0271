"""What the readers share: looking into folders once, and the marker of a small made-up corpus."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from upstream.errors import DataError, MissingError

MARKER = "MINI.json"


class FolderIndex:
    """Says whether files exist by listing each folder once: far fewer questions to a network disk than one a file."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._names: dict[str, frozenset[str]] = {}

    def has(self, relative: str) -> bool:
        folder, _, name = relative.rpartition("/")
        names = self._names.get(folder)
        if names is None:
            try:
                names = frozenset(os.listdir(os.path.join(self._root, folder)))  # noqa: PTH118, PTH208 - speed
            except (FileNotFoundError, NotADirectoryError):
                names = frozenset()
            self._names[folder] = names
        return name in names


def visible(folder: Path, suffix: str = "") -> list[Path]:
    """What lies in a folder, sorted by name, without hidden entries (macOS leaves `._name` beside every file)."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(suffix) and not path.name.startswith("."))


def subfolders(folder: Path) -> list[str]:
    """Names in the order of strings. `scandir` tells folders from files without a question for each."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def names_in_all(
    root: Path, folders: Sequence[str], pattern: re.Pattern[str], like: str, missing: list[str], remedy: str
) -> list[str]:
    """The wav files of folders that should hold the same ones, sorted; what one of them lacks is added to `missing`."""
    found = {folder: {path.name for path in visible(root / folder, ".wav")} for folder in folders}
    names = sorted(set().union(*found.values()))
    if not names:
        raise MissingError(f"{' and '.join(str(root / folder) for folder in folders)} hold no wav files. {remedy}")
    for name in names:
        having = [folder for folder in folders if name in found[folder]]
        if not pattern.fullmatch(name):
            raise DataError(f"{root / having[0] / name} is not named after {like}. Remove it.")
        missing += [str(root / folder / name) for folder in folders if folder not in having]
    return names


def marker(folder: Path, corpus: str) -> dict | None:
    """The content of the file that says that a corpus is a small made-up one; None for the real corpus.

    One made corpus may serve several readers. Each finds its own counts under "counts".
    """
    path = folder / MARKER
    if not path.exists():
        return None
    remedy = "Make the corpus again: python -m benchmark data mini --out DIR"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}. {remedy}") from error
    counts = _counts_of(content, corpus) if isinstance(content, dict) else None
    if not isinstance(counts, dict):
        raise DataError(f"{path} does not describe '{corpus}' with its counts. {remedy}")
    return content | {"counts": counts}


def _counts_of(content: dict, corpus: str) -> object:
    if content.get("corpus") == corpus:
        return content.get("counts")
    also = content.get("also")
    return also.get(corpus) if isinstance(also, dict) else None


def refuse_missing(missing: Sequence[str], total: int, what: str, remedy: str) -> None:
    """Stop when files that a list names are not there: how many of how many, and the first three."""
    if not missing:
        return
    lines = [f"{len(missing)} of {total} {what} are missing. The first:", *(f"  {line}" for line in missing[:3])]
    raise MissingError("\n".join([*lines, remedy]))
