"""SF's figures against s3prl's own functions and what can be counted by hand."""

import random

import numpy as np
import pytest
from oracles import import_s3prl

from downstream.metrics.slots import edit_f1, slot_scores, type_f1, value_characters, value_words
from upstream.errors import DataError

TYPES = ["track", "artist", "playlist", "playlist_owner", "music_item", "timeRange", "city"]
WORDS = ["PLAY", "ADD", "THE", "BLUE", "HERON", "TO", "MY", "LIST", "IN", "NINETEEN", "NINETY", "WE'LL", "A", "BE"]


@pytest.fixture(scope="module")
def superb():
    return import_s3prl("s3prl.downstream.ctc.metric")


def tagged(source):
    """The pieces of a reference: words, and slots of one to four of them; a type may occur twice."""
    pieces = []
    for _ in range(source.randrange(7)):
        said = [source.choice(WORDS) for _ in range(source.randrange(1, 5))]
        kind = source.choice(TYPES)
        pieces += said if source.random() < 0.4 else [f"B-{kind}", *said, f"E-{kind}"]
    return pieces or [source.choice(WORDS)]


def misheard(pieces, source):
    """What a network might write: pieces lost, doubled, made up, retyped, run together or set apart by two spaces."""
    made_up = [*WORDS, *(f"{end}-{kind}" for end in "BE" for kind in TYPES), ""]
    text = ""
    for piece in pieces:
        kind = source.random()
        if kind < 0.08:
            continue
        if kind < 0.16:
            piece = source.choice(made_up)
        elif kind < 0.22:
            piece = (
                piece[: source.randrange(len(piece))] + source.choice("AEB-") + piece[source.randrange(len(piece)) :]
            )
        text += piece + ("" if kind > 0.96 else " ")
        if 0.22 < kind < 0.32:
            text += source.choice([*made_up, piece]) + " "
    return text.rstrip(" ")


def pairs(seed, count=1500):
    source = random.Random(seed)
    hyps, refs = [], []
    for i in range(count):
        pieces = tagged(source)
        refs.append(" ".join(pieces))
        hyps.append("" if i % 25 == 0 else refs[-1] if i % 5 == 0 else misheard(pieces, source))
    return hyps, refs


def f1(above, below):
    return 100 * above.sum() / below.sum()


@pytest.mark.parametrize("seed", range(3))
def test_the_figures_of_a_corpus_are_those_of_superb(superb, seed):
    hyps, refs = pairs(seed)
    assert 100 * type_f1(hyps, refs).mean() == pytest.approx(100 * superb.slot_type_f1(hyps, refs), rel=1e-12)
    assert value_characters(hyps, refs).rate == pytest.approx(100 * superb.slot_value_cer(hyps, refs), rel=1e-12)
    assert value_words(hyps, refs).rate == pytest.approx(100 * superb.slot_value_wer(hyps, refs), rel=1e-12)
    full, part = edit_f1(hyps, refs, full=True), edit_f1(hyps, refs, full=False)
    assert f1(*full) == pytest.approx(superb.slot_edit_f1_full(hyps, refs), rel=1e-12)
    assert f1(*part) == pytest.approx(superb.slot_edit_f1_part(hyps, refs), rel=1e-12)
    assert f1(*full) < f1(*part)


def agrees(superb, hyp, ref):
    """Every figure of this one pair is s3prl's, or ours counts nothing where s3prl divides by zero."""
    assert type_f1([hyp], [ref])[0] == pytest.approx(superb.slot_type_f1([hyp], [ref]), rel=1e-12)
    for count, theirs in ((value_characters, superb.slot_value_cer), (value_words, superb.slot_value_wer)):
        edits = count([hyp], [ref])
        counts_like(theirs, hyp, ref, edits.errors, edits.lengths, 1)
    counts_like(superb.slot_edit_f1_full, hyp, ref, *edit_f1([hyp], [ref], full=True), 100)
    counts_like(superb.slot_edit_f1_part, hyp, ref, *edit_f1([hyp], [ref], full=False), 100)


def counts_like(theirs, hyp, ref, above, below, factor):
    if below[0]:
        assert factor * above[0] / below[0] == pytest.approx(theirs([hyp], [ref]), rel=1e-12)
    else:
        assert above[0] == 0
        with pytest.raises(ZeroDivisionError):
            theirs([hyp], [ref])


def test_the_figures_of_every_utterance_are_those_of_superb(superb):
    hyps, refs = pairs(7)
    for hyp, ref in zip(hyps, refs, strict=True):
        agrees(superb, hyp, ref)
    found, edits = type_f1(hyps, refs), value_characters(hyps, refs)
    assert len(set(found.tolist())) > 5 and 0 in edits.lengths
    assert (found[::25] < 1).any() and edits.errors[5] == 0


FAR = " ".join(["HERON"] * 201)
LONG = f"B-track {FAR} E-track"

# hypothesis, reference, F1 of types, character errors, characters, word errors, words, 2 TP, 2 TP + FP + FN: full, part
CASES = {
    "right": ("PLAY B-track AB CD E-track", "PLAY B-track AB CD E-track", 1, 0, 5, 0, 2, 2, 2, 2),
    "nothing to find": ("PLAY", "PLAY IT", 1, 0, 0, 0, 0, 0, 0, 0),
    "nothing heard": ("", "B-track AB CD E-track", 0, 5, 5, 2, 2, 0, 1, 1),
    "invented": ("B-track AB E-track B-track C E-track", "AB", 0, 0, 0, 0, 0, 0, 2, 0),
    "another type": ("B-artist AB E-artist", "B-track AB E-track", 0, 2, 2, 1, 1, 0, 2, 1),
    "half of the types": ("B-a X E-a", "B-a X E-a B-b Y E-b", 2 / 3, 1, 2, 1, 2, 2, 3, 3),
    "one letter off": ("B-a AX E-a", "B-a AB E-a", 1, 1, 2, 1, 1, 0, 2, 2),
    "nearest of two": ("B-a QQQQ E-a B-a ABD E-a", "B-a ABC E-a", 1, 1, 3, 1, 1, 0, 2, 2),
    "one value for two": ("B-a AB E-a", "B-a AB E-a B-a AC E-a", 1, 1, 4, 1, 2, 2, 4, 4),
    "a value too many": ("B-a AB E-a B-a C E-a", "B-a AB E-a", 1, 0, 2, 0, 1, 2, 2, 2),
    "opened only": ("B-a AB", "B-a AB E-a", 0, 2, 2, 1, 1, 0, 1, 1),
    "closed only": ("AB E-a", "B-a AB E-a", 0, 2, 2, 1, 1, 0, 1, 1),
    "opened twice": ("B-a AB B-a CD E-a", "B-a AB CD E-a", 1, 0, 5, 0, 2, 2, 2, 2),
    "closed by a longer type": ("B-list AB E-list_owner", "B-list AB E-list", 1, 0, 2, 0, 1, 2, 2, 2),
    "closed by a shorter type": ("B-list_owner AB E-list", "B-list_owner AB E-list_owner", 0, 2, 2, 1, 1, 0, 1, 1),
    "nested": ("B-a AB B-b CD E-b EF E-a", "B-a AB CD EF E-a B-b CD E-b", 2 / 3, 2, 10, 1, 4, 2, 3, 3),
    "nested in the reference": ("B-a AB CD E-a", "B-a AB B-b CD E-b E-a", 1, 8, 13, 2, 4, 0, 2, 2),
    "crossed": ("B-a AB B-b CD E-a EF E-b", "B-a AB CD E-a", 1, 0, 5, 0, 2, 2, 2, 2),
    "no value": ("B-a E-a", "B-a AB E-a", 0, 2, 2, 1, 1, 0, 1, 1),
    "no value, then another": ("B-a E-a AB E-a", "B-a AB E-a", 1, 4, 2, 1, 1, 0, 2, 2),
    "double spaces": ("B-a  AB   CD  E-a", "B-a AB CD E-a", 1, 0, 5, 0, 2, 2, 2, 2),
    "double spaces in the reference": ("B-a AB CD E-a", "B-a  AB  CD   E-a", 1, 0, 5, 0, 2, 2, 2, 2),
    "a tag run into a word": ("PLAYB-a AB E-aTO", "PLAY B-a AB E-a TO", 1, 0, 2, 0, 1, 2, 2, 2),
    "too far to be accepted": (LONG, "B-track XY E-track", 1, 2, 2, 1, 1, 0, 2, 2),
    "just near enough": (f"B-a {'X' * 199} E-a", "B-a QQ E-a", 1, 199, 2, 1, 1, 0, 2, 2),
    "just too far": (f"B-a {'X' * 200} E-a", "B-a QQ E-a", 1, 2, 2, 1, 1, 0, 2, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_slots_can_be_scored_by_hand(superb, name):
    hyp, ref, found, errors, length, wrong, said, hits, full, part = CASES[name]
    assert type_f1([hyp], [ref]).tolist() == pytest.approx([found])
    in_characters, in_words = value_characters([hyp], [ref]), value_words([hyp], [ref])
    assert (in_characters.errors.tolist(), in_characters.lengths.tolist()) == ([errors], [length])
    assert (in_words.errors.tolist(), in_words.lengths.tolist()) == ([wrong], [said])
    assert [side.tolist() for side in edit_f1([hyp], [ref], full=True)] == [[hits], [full]]
    assert [side.tolist() for side in edit_f1([hyp], [ref], full=False)] == [[hits], [part]]
    agrees(superb, hyp, ref)


def test_colons_and_semicolons_are_characters_like_any_other(superb):
    """None is in the corpus. s3prl's parser, which uses them as marks of its own, fails or finds another slot."""
    hyp, ref = "B-a AT 5:30; OR E-a", "B-a AT 5:31; OR E-a"
    assert superb.slot_value_wer([hyp], [ref]) == 2 / 4  # "AT 5" of type 31 is missing, " OR" is right
    for text in (hyp.replace(";", ""), hyp.replace(":", "")):
        with pytest.raises(ValueError):
            superb.slot_type_f1([text], [text])
        assert type_f1([text], [text]).tolist() == [1.0]
    assert type_f1([hyp], [ref]).tolist() == [1.0]
    assert value_characters([hyp], [ref]).errors.tolist() == [1]
    assert value_words([hyp], [ref]).rate == pytest.approx(100 / 3)


def test_the_scores_are_percentages_with_intervals(superb):
    hyps, refs = pairs(2, 300)
    scores = slot_scores(hyps, refs, [f"speaker{i % 30}" for i in range(300)], 0)
    theirs = {
        "slot_f1": 100 * superb.slot_type_f1(hyps, refs),
        "slot_cer": 100 * superb.slot_value_cer(hyps, refs),
        "slot_wer": 100 * superb.slot_value_wer(hyps, refs),
        "slot_edit_f1": superb.slot_edit_f1_full(hyps, refs),
        "slot_edit_f1_part": superb.slot_edit_f1_part(hyps, refs),
        "tagged_wer": 100 * superb.wer(hyps, refs),
    }
    assert {score.metric: score.value for score in scores} == pytest.approx(theirs, rel=1e-12)
    assert [score.direction for score in scores] == ["higher", "lower", "lower", "higher", "higher", "lower"]
    for score in scores:
        assert (score.n, score.unit, score.resampled) == (300, "%", "speakers")
        assert score.ci95[0] < score.value < score.ci95[1]
    assert slot_scores(hyps, refs, [None] * 300, 0)[0].resampled == "utterances"


def test_references_without_any_slot_have_no_error_rate():
    assert type_f1(["PLAY"], ["PLAY"]).tolist() == [1.0]
    for scored in (lambda: value_characters(["PLAY"], ["PLAY"]).rate, lambda: slot_scores([], [], [], 0)):
        with pytest.raises(DataError, match="nothing to score"):
            scored()
    assert value_words([], []).errors.dtype == np.int64
