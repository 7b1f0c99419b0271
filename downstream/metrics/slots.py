"""SF: how well slots and their values are found in a text tagged like "PLAY B-track THE BLUE HERON E-track".

A slot is B-TYPE, a space, the shortest text that follows, a space and E-TYPE, looked for from left to right after runs
of spaces have become one. As in SUPERB, the type is only the beginning of what may follow E- (E-playlist_owner ends a
B-playlist), tags nobody closed open no slot, and tags within the value of a hypothesis are removed from it (not from
one of a reference, where none occur). Any character may stand in a value; ":" and ";", which the corpus does not have,
confuse SUPERB's own parser.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein

from downstream.metrics.bootstrap import percentage_score
from downstream.metrics.edits import Counts, Edits, single_space_words
from downstream.metrics.score import Score

Slots = dict[str, list[str]]  # type -> its values, in the order of the text

_SLOT = re.compile(r"B-(?P<type>\S+) (?P<value>.+?) E-(?P=type)")
_OPENING, _CLOSING, _SPACES = re.compile(r"B-\S+ "), re.compile(r" E-\S+"), re.compile(" +")
_FAR = 100  # errors for each token of the reference: a value of the hypothesis that is so far off counts as absent


def type_f1(hyps: Sequence[str], refs: Sequence[str]) -> np.ndarray:
    """F1 of the set of slot types of each utterance, 0 to 1; 1 where neither text has a slot."""
    scores = [
        2 * len(hyp.keys() & ref.keys()) / (len(hyp) + len(ref)) if hyp or ref else 1.0
        for hyp, ref in _slot_pairs(hyps, refs)
    ]
    return np.array(scores, dtype=float)


def value_characters(hyps: Sequence[str], refs: Sequence[str]) -> Edits:
    """Character edits between the values of the references' slots and the nearest of the same type, per utterance.

    An absent type leaves the whole value to be inserted; slots that only the hypothesis has cost nothing.
    """
    return _value_edits(hyps, refs, str)


def value_words(hyps: Sequence[str], refs: Sequence[str]) -> Edits:
    """As value_characters, in words."""
    return _value_edits(hyps, refs, lambda value: value.split(" "))


def edit_f1(hyps: Sequence[str], refs: Sequence[str], full: bool) -> tuple[np.ndarray, np.ndarray]:
    """2 TP and 2 TP + FP + FN of each utterance, whose sums make the edit F1.

    A reference slot is a hit if the hypothesis has its value under its type, a miss if it lacks the type, and both a
    miss and a false alarm if it has other values only. Types of the hypothesis that the reference lacks are false
    alarms in the full version and nothing in the other; more values than the reference has are never one.
    """
    counts = [_hits_and_errors(hyp, ref, full) for hyp, ref in _slot_pairs(hyps, refs)]
    hits, errors = np.array(counts, dtype=np.int64).reshape(-1, 2).T
    return 2 * hits, 2 * hits + errors


def _hits_and_errors(hyp: Slots, ref: Slots, full: bool) -> tuple[int, int]:
    hits = errors = 0
    for kind, values in ref.items():
        given = hyp.get(kind, [])
        right = sum(value in given for value in values)
        hits += right
        errors += (len(values) - right) * (2 if given else 1)
    if full:
        errors += sum(len(values) for kind, values in hyp.items() if kind not in ref)
    return hits, errors


def _value_edits(hyps: Sequence[str], refs: Sequence[str], tokens: Callable[[str], Sequence[str]]) -> Edits:
    counts = []
    for hyp, ref in _slot_pairs(hyps, refs):
        pairs = [(tokens(value), map(tokens, hyp.get(kind, []))) for kind, values in ref.items() for value in values]
        counts.append((sum(_errors_of_nearest(*pair) for pair in pairs), sum(len(value) for value, _ in pairs)))
    errors, lengths = np.array(counts, dtype=np.int64).reshape(-1, 2).T
    return Edits(errors, lengths)


def _errors_of_nearest(value: Sequence[str], given: Iterable[Sequence[str]]) -> int:
    """Which of several equally near values is taken makes no difference: only the count of errors is kept."""
    least = min((Levenshtein.distance(other, value) for other in given), default=len(value))
    return least if least < _FAR * len(value) else len(value)


def _slot_pairs(hyps: Sequence[str], refs: Sequence[str]) -> Iterator[tuple[Slots, Slots]]:
    for hyp, ref in zip(hyps, refs, strict=True):
        yield _slots(hyp, _without_tags), _slots(ref, str)


def _slots(text: str, treat: Callable[[str], str]) -> Slots:
    found: Slots = {}
    for slot in _SLOT.finditer(_SPACES.sub(" ", text)):
        found.setdefault(slot["type"], []).append(treat(slot["value"]))
    return found


def _without_tags(value: str) -> str:
    return _CLOSING.sub("", _OPENING.sub("", value))


def _f1_counts(hyps: Sequence[str], refs: Sequence[str]) -> Counts:
    found = type_f1(hyps, refs)
    return found, np.ones(len(found))


# The figures of SF in their order: name, what is above and below the line for each utterance, the better direction.
FIGURES: tuple[tuple[str, Callable[[Sequence[str], Sequence[str]], Counts], str], ...] = (
    ("slot_f1", _f1_counts, "higher"),
    ("slot_cer", lambda hyps, refs: value_characters(hyps, refs).counts, "lower"),
    ("slot_wer", lambda hyps, refs: value_words(hyps, refs).counts, "lower"),
    ("slot_edit_f1", lambda hyps, refs: edit_f1(hyps, refs, full=True), "higher"),
    ("slot_edit_f1_part", lambda hyps, refs: edit_f1(hyps, refs, full=False), "higher"),
    ("tagged_wer", lambda hyps, refs: single_space_words(hyps, refs).counts, "lower"),
)


def slot_scores(hyps: Sequence[str], refs: Sequence[str], groups: Sequence[str | None], seed: int) -> list[Score]:
    """All figures with their intervals, the main one first."""
    return [percentage_score(name, *count(hyps, refs), groups, seed, better) for name, count, better in FIGURES]
