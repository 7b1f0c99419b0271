"""QUESST 2014, the part that SUPERB takes: English queries, looked for in English documents.

The target of a query are the documents that hold it. The ground truth of all languages: see quesst14_truth.py.
"""

from pathlib import Path, PurePosixPath

from downstream.corpora.folders import FolderIndex, marker, refuse_missing
from downstream.corpora.quesst14_truth import AGAIN, FOLDERS, GroundTruth, ground_truth, refuse, stem, text_lines
from downstream.types import Example, Manifest
from upstream.errors import DataError

CORPUS = "quesst14"
LANGUAGE = "nnenglish"  # spoken by those whose own language it is not
LISTS = {
    "documents": "scoring/language_key_utterances.lst",
    "dev": "scoring/language_key_dev.lst",
    "test": "scoring/language_key_eval.lst",
}
EXPECTED = {"documents": 2438, "dev": 138, "test": 138}


def read(root: Path) -> Manifest:
    """The splits documents, dev and test, each in the order of its list."""
    parts = [root / part for part in (*LISTS.values(), *FOLDERS.values())]
    absent = [str(path) for path in parts if not path.exists()]
    refuse_missing(absent, len(parts), "lists and folders of ground truth", AGAIN.replace("It comes", "They come"))
    audio = _audio(root)
    truths = {split: ground_truth(root, split) for split in FOLDERS}
    for split, truth in truths.items():
        unlisted = [query for query in audio[split] if query not in truth.holders]
        refuse(unlisted, f"{LANGUAGE} queries are not in the term list of {root / FOLDERS[split]}")
        unlisted = [document for document in audio["documents"] if document not in truth.documents]
        refuse(unlisted, f"{LANGUAGE} documents are not in the ECF of {root / FOLDERS[split]}")
    splits = {
        split: [Example(name, path, _holders(truths.get(split), name)) for name, path in files.items()]
        for split, files in audio.items()
    }
    mini = marker(root, CORPUS)
    notes = [note for split in FOLDERS for note in _notes_on_absent(split, splits[split])]
    holds = ", ".join(_in_words(split, splits[split]) for split in FOLDERS)
    return Manifest(CORPUS, root, splits, dict(mini["counts"] if mini else EXPECTED), mini, notes, holds)


def _audio(root: Path) -> dict[str, dict[str, str]]:
    """By split and name the path of each recording under the root, all of which are there."""
    seen: dict[str, str] = {}
    audio = {split: _listed(root / path, seen) for split, path in LISTS.items()}
    paths = [path for files in audio.values() for path in files.values()]
    index = FolderIndex(root)
    missing = [str(root / path) for path in paths if not index.has(path)]
    refuse_missing(missing, len(paths), f"audio files of {LANGUAGE}", "Unpack the archive of QUESST 2014 again.")
    return audio


def _listed(path: Path, seen: dict[str, str]) -> dict[str, str]:
    """The recordings of SUPERB's language; where each is listed is added to `seen`."""
    files: dict[str, str] = {}
    languages = set()
    for number, line in enumerate(text_lines(path), start=1):
        here, fields = f"{path}, line {number}", line.split()
        if len(fields) != 2:
            raise DataError(f"{here}: {len(fields)} fields instead of a path and a language. {AGAIN}")
        entry, language = fields
        languages.add(language)
        if language != LANGUAGE:
            continue
        name = stem(entry)
        if name in seen:
            raise DataError(f"{here}: '{name}' was already listed in {seen[name]}. {AGAIN}")
        seen[name], files[name] = here, _inside(entry, here)
    if not files:
        found = ", ".join(sorted(languages)) or "none"
        raise DataError(f"{path} lists no recording of {LANGUAGE}. Its languages: {found}. {AGAIN}")
    return files


def _inside(entry: str, here: str) -> str:
    """Its path under the root: the list has the corpus folder, under whatever name, before it."""
    _, slash, rest = entry.partition("/")
    path = PurePosixPath(rest if slash else entry)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{here}: '{entry}' leads out of the corpus. {AGAIN}")
    return str(path)


def _holders(truth: GroundTruth | None, name: str) -> tuple[str, ...]:
    return tuple(sorted(truth.holders[name])) if truth else ()


def _in_words(split: str, queries: list[Example]) -> str:
    holding = {document for query in queries for document in query.target}
    return f"{len(queries)} {split} queries in {len(holding)} documents"


def _notes_on_absent(split: str, queries: list[Example]) -> list[str]:
    absent = [query.id for query in queries if not query.target]
    if not absent:
        return []
    return [f"{split}: {len(absent)} of {len(queries)} queries are in no document, {absent[0]} first; not scored"]
