"""The files that decoding with a language model needs: where they are looked for, and whether they are in order."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from downstream.decoding.arpa import check_arpa
from upstream.errors import DataError, MissingError

NGRAMS = ("4-gram.bin", "4-gram.arpa", "4-gram.arpa.gz")
LEXICON = "librispeech_lexicon.lst"
_LONG = 64 << 20
_END = 1 << 20


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A word n-gram model and the spelling of its words.

    `arpa` is an ARPA file, plain or compressed, or the binary file that KenLM's `build_binary` makes of one. The 4-gram
    of LibriSpeech takes minutes and some 10 GB of memory to load as ARPA; as a binary file next to nothing of either.
    """

    arpa: Path
    lexicon: Path

    def fingerprint(self) -> str:
        """Changes with the content of the files. Of one above 64 MB: with its size, its first and its last MB."""
        digest = blake2b(digest_size=16)
        for path in (self.arpa, self.lexicon):
            size = path.stat().st_size
            digest.update(f"{size}\n".encode())
            with path.open("rb") as file:
                if size <= _LONG:
                    digest.update(file.read())
                else:
                    digest.update(file.read(_END))
                    file.seek(-_END, os.SEEK_END)
                    digest.update(file.read())
        return digest.hexdigest()

    def check(self, tokens: Sequence[str], blank: int, silence: str) -> None:
        """Refuse broken files, before a decoder takes minutes to load them."""
        check_arpa(self.arpa)
        read_spellings(self.lexicon, tokens, blank, silence)


def find(root: Path) -> LanguageModel | None:
    """The model beside a corpus: in its folder, the one above, or `lm` in either; the nearest. None without one."""
    folders = [root, root / "lm", root.parent, root.parent / "lm"]
    ngrams = _first(folders, NGRAMS)
    lexicon = _first(folders, (LEXICON,))
    if ngrams is None and lexicon is None:
        return None
    if ngrams is None:
        raise MissingError(f"{lexicon} is there, but no {' or '.join(NGRAMS)}. {where_to_get()}")
    if lexicon is None:
        raise MissingError(f"{ngrams} is there, but no {LEXICON}. {where_to_get()}")
    return LanguageModel(ngrams, lexicon)


def where_to_get() -> str:
    """For messages: what the files are called, where to put them and who has them."""
    return (
        f"Decoding with a language model needs {' or '.join(NGRAMS)} and {LEXICON}, in the folder of the corpus, the "
        "one above, or lm/ in either. The 4-gram is at https://www.openslr.org/11 (it loads fastest as .bin, made by "
        "build_binary of KenLM); the lexicon is fairseq's of that name."
    )


def read_spellings(path: Path, tokens: Sequence[str], blank: int, silence: str) -> dict[str, list[list[int]]]:
    """The words of a lexicon (`HERON<TAB>H E R O N |`), each with its spellings as indices of tokens."""
    indices = {token: index for index, token in enumerate(tokens) if index != blank}
    spellings: dict[str, list[list[int]]] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise MissingError(f"there is no lexicon at {path}. {where_to_get()}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}. Copy or download the file again.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        word, tab, spelling = line.partition("\t")
        letters = spelling.split()
        unknown = [letter for letter in letters if letter not in indices]
        if not tab or not word.strip():
            problem = f"expected a word, a TAB and its spelling, got '{line[:80]}'"
        elif unknown:
            problem = f"'{unknown[0]}' in the spelling of '{word}' is not in the vocabulary: {' '.join(indices)}"
        elif len(letters) < 2 or letters[-1] != silence:
            problem = f"the spelling of '{word}' should be letters and then '{silence}', got '{spelling.strip()[:80]}'"
        else:
            spellings.setdefault(word, []).append([indices[letter] for letter in letters])
            continue
        raise DataError(f"{path} line {number}: {problem}. Correct the line, or copy or download the file again.")
    if not spellings:
        raise DataError(f"{path} has no words. Copy or download the file again.")
    return spellings


def _first(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)
