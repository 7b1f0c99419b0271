"""Checks a file of n-grams before KenLM reads it, whose complaints name its own source files and a byte."""

import gzip
import math
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from upstream.errors import DataError, MissingError

_ENOUGH = 16 << 20  # bytes, read in about two seconds; LibriSpeech's 4-gram has all its words in them
_TAIL = 4096
_BINARY = b"mmap lm http://kheafield.com/code"
_GZIP = b"\x1f\x8b"
_COUNT = re.compile(r"ngram (\d+)=\s*(\d+)")
_USUAL = re.compile(r"-\d+\.\d+\t\S+(?: \S+)*(?:\t-?\d+\.\d+)?")
_REMEDY = "Copy, download or make the file again."


def check_arpa(path: Path) -> None:
    """Refuse a broken ARPA file. KenLM's binary files, which KenLM checks itself, pass.

    Of a file beyond 16 MB the first 16 MB and the last lines are looked at; of a compressed one that unpacks to
    more, the first 16 MB.
    """
    if not path.is_file():
        raise MissingError(f"there is no language model at {path}. Put the file back, or choose another.")
    with path.open("rb") as file:
        start = file.read(len(_BINARY))
    if start == _BINARY:
        return
    compressed = start.startswith(_GZIP)
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            arpa = _Arpa(path, file)
            arpa.check()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} cannot be unpacked: {error}. {_REMEDY}") from error
    except _Enough:
        if not compressed:
            _check_tail(path, arpa.order)


class _Enough(Exception):
    """The file goes on, but is too long to be read whole."""


class _Arpa:
    """One pass over the lines of an ARPA file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.order = 0
        self._path = path
        self._lines = self._filled_lines(file)
        self._number = 0
        self._words: set[str] = set()

    def check(self) -> None:
        if self._next("\\data\\") != "\\data\\":
            raise self._broken("the first line is not \\data\\, so this is no ARPA file")
        counts, line = self._counts()
        self.order = len(counts)
        for order, count in enumerate(counts, 1):
            if line != f"\\{order}-grams:":
                raise self._broken(f"expected \\{order}-grams:, got '{line[:80]}'")
            for _ in range(count):
                self._check_gram(self._next(f"the {count} {order}-grams"), order, count)
            if order == 1:
                self._check_marks()
            line = self._next("\\end\\")
        if line != "\\end\\":
            raise self._broken(f"expected \\end\\ after the {counts[-1]} {self.order}-grams, got '{line[:80]}'")

    def _filled_lines(self, file: BinaryIO) -> Iterator[str]:
        seen = 0
        for number, raw in enumerate(file, 1):
            self._number = number
            line = raw.decode("utf-8", errors="backslashreplace").strip("\r\n")
            if line:
                yield line
            seen += len(raw)
            if seen > _ENOUGH:
                raise _Enough

    def _next(self, expected: str) -> str:
        line = next(self._lines, None)
        if line is None:
            raise self._broken(f"the file ends here, before the end of {expected}")
        return line

    def _counts(self) -> tuple[list[int], str]:
        """How many n-grams the head promises, by order, and the line that follows."""
        counts: list[int] = []
        while match := _COUNT.fullmatch(line := self._next("its head")):
            order, count = map(int, match.groups())
            if order != len(counts) + 1:
                raise self._broken(f"expected the number of {len(counts) + 1}-grams, got '{line[:80]}'")
            counts.append(count)
        if not counts:
            raise self._broken(f"expected the number of 1-grams (ngram 1=...), got '{line[:80]}'")
        return counts, line

    def _check_gram(self, line: str, order: int, count: int) -> None:
        if line.startswith("\\"):
            raise self._broken(f"{line[:80]} comes before all {count} {order}-grams that the head promises are there")
        problem = _problem(line, order)
        if problem:
            raise self._broken(problem)
        words = line.split("\t")[1].split(" ")
        if order == 1:
            self._words.add(words[0])
        elif not self._words.issuperset(words):
            strange = next(word for word in words if word not in self._words)
            raise self._broken(f"the word '{strange}' is not among the 1-grams")

    def _check_marks(self) -> None:
        missing = sorted({"<s>", "</s>"} - self._words)
        if missing:
            raise self._broken(f"the 1-grams end here, without {' and '.join(missing)}")

    def _broken(self, problem: str) -> DataError:
        return DataError(f"{self._path} line {self._number}: {problem}. {_REMEDY}")


def _problem(line: str, order: int) -> str | None:
    """What is wrong with the line of an n-gram; None when nothing is."""
    if _USUAL.fullmatch(line) and line.count(" ") == order - 1:
        return None  # which is all there is to most lines, and fast
    fields = line.split("\t")
    if len(fields) not in (2, 3):
        return f"expected probability, words and perhaps a back-off weight with TABs between, got '{line[:80]}'"
    words = fields[1].split(" ")
    if len(words) != order or not all(words):
        return f"expected {order} words with single spaces between, got '{fields[1][:80]}'"
    for number in (fields[0], *fields[2:]):
        try:
            finite = math.isfinite(float(number))
        except ValueError:
            finite = False
        if not finite:
            return f"'{number[:80]}' is not a number"
    if float(fields[0]) > 0:
        return f"{fields[0]} is not the logarithm of a probability, which is 0 at most"
    return None


def _check_tail(path: Path, order: int) -> None:
    """The last lines of a long file: n-grams of its highest order, then the end mark."""
    with path.open("rb") as file:
        file.seek(-_TAIL, os.SEEK_END)
        lines = file.read().decode("utf-8", errors="backslashreplace").splitlines()[1:]
    lines = [line for line in lines if line]
    if not lines or lines[-1] != "\\end\\":
        raise DataError(f"{path} is cut: its last line is not \\end\\. {_REMEDY}")
    heading = f"\\{order}-grams:"
    for line in lines[lines.index(heading) + 1 : -1] if heading in lines else lines[:-1]:
        problem = _problem(line, order)
        if problem:
            raise DataError(f"{path}, among its last lines: {problem}. {_REMEDY}")
