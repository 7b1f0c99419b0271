"""The pronunciations that phoneme recognition is scored by: two files beside LibriSpeech."""

from collections.abc import Sequence
from pathlib import Path

from upstream.errors import DataError, MissingError

FILES = ("librispeech-lexicon-200k-g2p.txt", "librispeech-lexicon-allothers-g2p.txt")
SOURCE = "https://huggingface.co/datasets/s3prl/g2p/tree/main/lexicon"

_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"
_WITH_STRESS = [f"{vowel}{stress}" for vowel in _VOWELS.split() for stress in range(3)]

PHONES: tuple[str, ...] = ("SIL", "SPN", *sorted([*_WITH_STRESS, *_CONSONANTS.split()]))
"""The 71 symbols in the order of their class numbers. A vowel under another stress is another phone."""

_KNOWN = frozenset(PHONES)
_AGAIN = f"Fetch the file again from {SOURCE}"


def find(root: Path) -> list[Path]:
    """Both files, in the order in which they are read, in or beside the corpus folder."""
    folders = [folder / below for folder in (root, root.parent) for below in ("", "lexicon")]
    found = {name: [folder / name for folder in folders if (folder / name).is_file()] for name in FILES}
    absent = [name for name in FILES if not found[name]]
    if absent:
        lines = [f"phoneme recognition needs pronunciations, and {' and '.join(absent)} cannot be found. Looked in:"]
        lines += [f"  {folder}" for folder in folders]
        raise MissingError("\n".join([*lines, f"Download from {SOURCE} into {root}."]))
    return [found[name][0] for name in FILES]


def read(paths: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """The phones of each word: its first pronunciation, in the order of the files and of their lines.

    Any white space may follow the word, as in s3prl: lexicons of LibriSpeech are found with tabs and with spaces.
    """
    lexicon: dict[str, tuple[str, ...]] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8: {error}. {_AGAIN}") from error
        for number, line in enumerate(text.split("\n"), start=1):
            word, *phones = line.split() or ("",)
            if phones and _KNOWN.issuperset(phones):
                lexicon.setdefault(word, tuple(phones))
            elif word:
                raise DataError(f"{path}, line {number}: the word '{word}' has {_complaint(phones)}. {_AGAIN}")
    return lexicon


def pronounce(transcript: str, lexicon: dict[str, tuple[str, ...]], who: str) -> str:
    """The phones of all words, one space apart, without anything between words. `who` names the utterance."""
    phones: list[str] = []
    for word in transcript.split():
        if word not in lexicon:
            raise DataError(
                f"{who}: the word '{word}' is in neither pronunciation file. There is no fallback: error rates over "
                f"other pronunciations compare with nothing. Check the transcript, and that {' and '.join(FILES)} are "
                f"whole ({SOURCE})."
            )
        phones += lexicon[word]
    return " ".join(phones)


def _complaint(phones: list[str]) -> str:
    unknown = next((phone for phone in phones if phone not in _KNOWN), None)
    return f"the unknown phone '{unknown}'" if unknown else "no phones"
