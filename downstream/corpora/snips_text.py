"""The text of slot filling as SUPERB writes it: characters, and a tag before and after the value of each slot.

`PLAY B-track HERON E-track` is the tokens P L A Y, a space, B-track, H E R O N, E-track and <eos>: the space after an
opening tag and the one before a closing tag are no tokens. Text and tokens say the same, and each can be made from the
other. Where the last word is not spoken SUPERB has no <eos>, and both end with a space.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import ascii_uppercase

from upstream.errors import DataError, MissingError

PAD, END, UNKNOWN = "<pad>", "<eos>", "<unk>"
CHARACTERS = (" ", *ascii_uppercase, "'")
OUTSIDE = "O"  # the tag of words that are in no slot

_PUNCTUATION = "?!.,;-"
_WRITABLE = frozenset(CHARACTERS)
_TOKEN = re.compile(r"B-\S+ | E-\S+|<unk>|.", re.DOTALL)


def slots(path: Path) -> tuple[str, ...]:
    """The names of the slots, in the order of the outputs that stand for them."""
    if not path.is_file():
        raise MissingError(f"the list of slots {path} is missing. Unpack the corpus again.")
    names = path.read_text(encoding="utf-8").split("\n")
    if names[0] != OUTSIDE:
        raise DataError(
            f"{path}, line 1: '{names[0]}' instead of '{OUTSIDE}', the tag of words without a slot. SUPERB skips the "
            "first line whatever it says: the slot would have no output. Unpack the corpus again."
        )
    if not names[-1]:
        raise DataError(
            f"{path} ends with a new line. SUPERB would take what follows it for one more slot, without a name, and "
            f"give its model two more outputs. Remove the last character of the file: truncate -s -1 {path}"
        )
    for number, name in enumerate(names, start=1):
        if name.split() != [name]:
            raise DataError(f"{path}, line {number}: '{name}' is no name of a slot. Unpack the corpus again.")
        if names.index(name) + 1 < number:
            earlier = names.index(name) + 1
            raise DataError(f"{path}, line {number}: '{name}' was already in line {earlier}. Unpack the corpus again.")
    return tuple(names[1:])


def outputs(slots: Iterable[str]) -> tuple[str, ...]:
    """What a model can write, in SUPERB's order."""
    return (PAD, END, UNKNOWN, *CHARACTERS, *(f"{side}-{slot}" for slot in slots for side in "BE"))


def is_spoken(word: str) -> bool:
    """Whether SUPERB writes a word: not punctuation, which is any part of `?!.,;-`, and so also nothing at all."""
    return word not in _PUNCTUATION


def tagged(words: Sequence[str], tags: Sequence[str]) -> tuple[list[str], str]:
    """The tokens of a sentence and its tagged text, from one tag for each word.

    Neighbours with the same tag are one value. A slot opens where the word before has another tag and closes where the
    word after has, spoken or not: a value that begins or ends with an unspoken word lacks that tag, as in SUPERB.
    """
    tokens: list[str] = []
    neighbours = zip([None, *tags[:-1]], [*tags[1:], None], strict=True)
    for word, tag, (before, after) in zip(words, tags, neighbours, strict=True):
        if not is_spoken(word):
            continue
        if tag not in (OUTSIDE, before):
            tokens.append(f"B-{tag}")
        tokens += [character if character in _WRITABLE else UNKNOWN for character in _pronounced(word)]
        if tag not in (OUTSIDE, after):
            tokens.append(f"E-{tag}")
        tokens.append(" ")
    if words and is_spoken(words[-1]):
        tokens[-1] = END
    return tokens, text_of_tokens(tokens)


def text_of_tokens(tokens: Iterable[str]) -> str:
    """The tagged text of what a sentence or a model writes; nothing after an <eos> counts."""
    text = ""
    for token in tokens:
        if token == END:
            break
        if token != PAD:
            text += f"{token} " if token.startswith("B-") else f" {token}" if token.startswith("E-") else token
    return text


def tokens_of_text(text: str) -> list[str]:
    """The tokens that `tagged` gives together with this text."""
    tokens = [found if found == " " else found.strip(" ") for found in _TOKEN.findall(text)]
    return tokens if text.endswith(" ") else [*tokens, END]


def _pronounced(word: str) -> str:
    return "AND" if word == "&" else word
