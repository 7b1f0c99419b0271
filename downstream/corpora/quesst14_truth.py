"""Which documents of QUESST 2014 hold which queries: the whole ground truth, all languages, in the formats of NIST.

A folder has the list of documents (ECF), the list of queries (a term list) and what occurs where (RTTM).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from downstream.corpora.folders import visible
from upstream.errors import DataError, MissingError

FOLDERS = {"dev": "scoring/groundtruth_quesst14_dev", "test": "scoring/groundtruth_quesst14_eval"}
AGAIN = "It comes in the folder `scoring` of the archive of QUESST 2014: unpack that folder again."

_SHOWN = 3
_OCCURRENCE = "LEXEME"
_FILLER = "NO_KEYWORD"
_FIELDS = 6  # of an occurrence, up to the query, which is the last that is read


@dataclass(frozen=True)
class GroundTruth:
    """The queries of a term list in its order, the documents they are looked for in, and those that hold each."""

    queries: tuple[str, ...]
    documents: frozenset[str]
    holders: dict[str, frozenset[str]]  # of every query, also of one that occurs nowhere


def ground_truth(root: Path, split: str) -> GroundTruth:
    """The whole ground truth of the queries of `dev` or `test`, of which SUPERB searches the English ones only."""
    folder = root / FOLDERS[split]
    documents_path, queries_path, occurrences_path = (
        _only_file(folder, suffix) for suffix in (".ecf.xml", ".tlist.xml", ".rttm")
    )
    documents = frozenset(map(stem, _values(documents_path, "ecf", "excerpt", "audio_filename")))
    queries = _values(queries_path, "termlist", "term", "termid")
    repeated = [query for query, count in Counter(queries).items() if count > 1]
    refuse(repeated, f"queries are listed more than once in {queries_path}")
    holders: dict[str, set[str]] = {query: set() for query in queries}
    strangers: dict[str, None] = {}
    for document, query in _occurrences(occurrences_path):
        if query in holders:
            holders[query].add(document)
        else:
            strangers[query] = None
    refuse(list(strangers), f"queries of {occurrences_path} are not in {queries_path}")
    absent = sorted(set().union(*holders.values()) - documents)
    refuse(absent, f"documents of {occurrences_path} are not in {documents_path}")
    return GroundTruth(tuple(queries), documents, {query: frozenset(documents) for query, documents in holders.items()})


def refuse(names: Sequence[str], what: str) -> None:
    """Stop where lists do not fit together: how many names do not, and the first of them."""
    if names:
        first = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise DataError(f"{len(names)} {what}: {first}. {AGAIN}")


def stem(path: str) -> str:
    """What a recording is called, where its file may be given with or without folder and suffix."""
    return path.rpartition("/")[2].removesuffix(".wav")


def text_lines(path: Path) -> list[str]:
    """The lines of a text file that comes with the corpus."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}. {AGAIN}") from error


def _only_file(folder: Path, suffix: str) -> Path:
    found = visible(folder, suffix) if folder.is_dir() else []
    if not found:
        raise MissingError(f"there is no file *{suffix} in {folder}. {AGAIN}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{folder} should have one file *{suffix}, it has {len(found)}: {names}. Leave the right one.")
    return found[0]


def _occurrences(path: Path) -> Iterator[tuple[str, str]]:
    """Document and query of each place where a query is said."""
    for number, line in enumerate(text_lines(path), start=1):
        fields = line.split(None, _FIELDS)
        if not fields or fields[0] != _OCCURRENCE:
            continue
        if len(fields) < _FIELDS:
            raise DataError(
                f"{path}, line {number}: {len(fields)} fields, where the document is the 2nd and the query the "
                f"{_FIELDS}th. {AGAIN}"
            )
        if fields[_FIELDS - 1] != _FILLER:
            yield stem(fields[1]), fields[_FIELDS - 1]


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree of a file that defines nothing: entities could make it huge, or read other files."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it has a DOCTYPE")


def _values(path: Path, root: str, element: str, attribute: str) -> list[str]:
    """An attribute of all elements of a kind."""
    try:
        tree = ElementTree.parse(path, ElementTree.XMLParser(target=_Builder()))
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(f"{path} is not XML as it should be: {error}. {AGAIN}") from error
    if tree.getroot().tag != root:
        raise DataError(f"{path} should be a list <{root}>, it is <{tree.getroot().tag}>. {AGAIN}")
    values = [entry.get(attribute) for entry in tree.iter(element)]
    if not values or None in values:
        which = f"a <{element}> without {attribute}" if values else f"no <{element}>"
        raise DataError(f"{path} has {which}. {AGAIN}")
    return values
