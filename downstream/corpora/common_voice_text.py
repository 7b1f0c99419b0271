"""What SUPERB makes of a Common Voice sentence: the text to be recognised, and which sentences are left out."""

import re
import unicodedata
from string import ascii_letters, punctuation

# SUPERB's own list, not all of Unicode's punctuation: ASCII without the apostrophe, then marks of these languages.
# It has two letters of their scripts (a stroke that stands for a comma, a Japanese length mark) and three accents
# that no letter before them could be composed with.
_MARKS = (
    punctuation.replace("'", "")
    + "‐–—―−─«»‘“”¡¿·×ː☭"  # dashes, quotation marks, and what is left of European writing
    + "、。「」『』《》〈〉〜・⋯ー丶"
    + "،؛؟"
    + "\N{COMBINING ACUTE ACCENT}\N{COMBINING TILDE}\N{COMBINING CARON}"
)
_REPLACED = str.maketrans(dict.fromkeys(_MARKS, " ") | {"’": "'", "ㄧ": "一"})

_LEFT_OUT_CHARACTERS = {
    "es": frozenset("しらゴミムラ消箱良"),
    "ar": frozenset(),
    # The first three are a Greek and two Cyrillic capitals.
    "zh-CN": frozenset(
        "\N{GREEK CAPITAL LETTER MU}\N{CYRILLIC CAPITAL LETTER I}\N{CYRILLIC CAPITAL LETTER TE}オカドヤ䴕"
    ),
}
_LATIN = frozenset(ascii_letters + "'")


def normalised(sentence: str, variant: str) -> str:
    """The sentence in capitals and without punctuation; Chinese without spaces too. May be empty."""
    text = unicodedata.normalize("NFKC", sentence).upper().translate(_REPLACED)
    return text.replace(" ", "") if variant == "zh-CN" else re.sub(" +", " ", text).strip()


def why_left_out(text: str, variant: str) -> str | None:
    """The reason for which SUPERB leaves a normalised sentence out, None for one that it keeps."""
    if variant != "es" and not _LATIN.isdisjoint(text):
        return "with a Latin letter or an apostrophe"
    if not _LEFT_OUT_CHARACTERS[variant].isdisjoint(text):
        return "with a character that SUPERB leaves out"
    return None if text else "without a letter or digit"
