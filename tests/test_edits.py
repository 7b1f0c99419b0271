"""Error rates against s3prl's own functions (which count with editdistance), jiwer, and what can be counted by hand."""

import random

import jiwer
import numpy as np
import pytest
from oracles import import_s3prl

from downstream.metrics.bootstrap import percentage_score
from downstream.metrics.edits import Edits, characters, single_space_words, units, words
from upstream.errors import DataError

VOCABULARY = [
    "A",
    "AN",
    "HERON",
    "WAITED",
    "BY",
    "THE",
    "RIVER",
    "RIVERS",
    "WE'LL",
    "É",
    "你好",
    "世",
    "مرحبا",
    "AH0",
    "AH1",
    "ZH",
]


@pytest.fixture(scope="module")
def superb():
    return import_s3prl("s3prl.downstream.ctc.metric")


@pytest.fixture(scope="module")
def asr_metrics():
    expert = import_s3prl("s3prl.downstream.asr.expert").DownstreamExpert
    return lambda *texts: expert._compute_metrics(None, *texts)


def disturbed(tokens, source, made_up):
    """The tokens with some of them dropped, replaced or doubled, and some put in."""
    result = []
    for token in tokens:
        kind = source.random()
        if kind < 0.1:
            continue
        result.append(source.choice(made_up) if kind < 0.2 else token)
        if kind > 0.9:
            result.append(source.choice([*made_up, token]))
    return result


def pairs(seed, count=1200, spaces=True, empty_refs=True):
    """Hypotheses made from references; of either some are empty, or have spaces at the ends or two in a row."""
    source = random.Random(seed)
    hyps, refs = [], []
    for i in range(count):
        ref = [source.choice(VOCABULARY) for _ in range(source.randrange(0 if empty_refs else 1, 25))]
        hyp = [] if i % 20 == 0 else disturbed(ref, source, VOCABULARY)
        if spaces:
            ref, hyp = (disturbed(side, source, [*side, ""]) if i % 7 == 0 else side for side in (ref, hyp))
        refs.append(" ".join(ref))
        hyps.append(" ".join(hyp))
    return hyps, refs


@pytest.mark.parametrize("seed", range(3))
def test_per_and_wer_are_those_of_superb(superb, seed):
    hyps, refs = pairs(seed)
    assert any("  " in ref for ref in refs) and "" in refs and "" in hyps
    edits = single_space_words(hyps, refs)
    assert edits.rate == pytest.approx(100 * superb.per(hyps, refs), rel=1e-12)
    assert edits.rate == pytest.approx(100 * superb.wer(hyps, refs), rel=1e-12)
    one_by_one = [superb.wer([hyp], [ref]) for hyp, ref in zip(hyps, refs, strict=True)]
    assert edits.errors / edits.lengths == pytest.approx(one_by_one)


@pytest.mark.parametrize("seed", range(3))
def test_character_error_rates_are_those_of_superb(superb, seed):
    hyps, refs = pairs(seed)
    edits = characters(hyps, refs)
    assert edits.rate == pytest.approx(100 * superb.cer(hyps, refs), rel=1e-12)
    counted = [i for i, ref in enumerate(refs) if ref]
    one_by_one = [superb.cer([hyps[i]], [refs[i]]) for i in counted]
    assert (edits.errors / np.maximum(edits.lengths, 1))[counted] == pytest.approx(one_by_one)


@pytest.mark.parametrize("seed", range(3))
def test_error_rates_of_asr_are_those_of_superb(asr_metrics, seed):
    hyps, refs = pairs(seed)
    letters = [[" ".join(text.replace(" ", "|")) for text in side] for side in (hyps, refs)]
    uer, wer = asr_metrics(letters[0], [hyp.split() for hyp in hyps], letters[1], [ref.split() for ref in refs])
    assert words(hyps, refs).rate == wer
    assert units(*letters).rate == uer


def test_rates_are_those_of_jiwer_where_its_definition_is_the_same():
    hyps, refs = pairs(5, spaces=False, empty_refs=False)
    assert words(hyps, refs).rate == pytest.approx(100 * jiwer.wer(refs, hyps))
    assert characters(hyps, refs).rate == pytest.approx(100 * jiwer.cer(refs, hyps))
    assert single_space_words(hyps, refs).rate == pytest.approx(100 * jiwer.wer(refs, hyps))


@pytest.mark.parametrize(
    ("count", "hyp", "ref", "errors", "length"),
    [
        (single_space_words, "AH0 B K", "AH0 D K", 1, 3),
        (single_space_words, "AH1", "AH0", 1, 1),  # stress counts
        (single_space_words, "", "AH0 D K", 3, 3),  # one wrong word and two missing ones
        (single_space_words, "", "", 0, 1),
        (single_space_words, "A  B", "A B", 1, 2),
        (single_space_words, "A B ", "A B", 1, 2),
        (single_space_words, "A\tB", "A B", 2, 2),
        (single_space_words, "A B", "A  B", 1, 3),
        (words, "A  B ", " A B", 0, 2),
        (words, "", "A B", 2, 2),
        (words, "A B", "", 2, 0),
        (words, "B A A B", "A B A", 3, 3),
        (units, "A | B |", "A | C |", 1, 4),
        (characters, "你好世", "你好", 1, 2),
        (characters, "A B", "AB", 1, 2),
        (characters, "", "AB C", 4, 4),
        (characters, "KITTEN", "SITTING", 3, 7),
        (characters, "\U0001f600", "e\u0301", 2, 2),  # a code point counts once, whatever its width
    ],
)
def test_errors_can_be_counted_by_hand(count, hyp, ref, errors, length):
    edits = count([hyp, "X"], [ref, "X"])
    assert (edits.errors.tolist(), edits.lengths.tolist()) == ([errors, 0], [length, 1])


def test_the_rate_is_that_of_the_corpus_not_the_mean_of_the_utterances():
    assert words(["A", "A B C X"], ["B", "A B C D"]).rate == 40.0
    assert words(["A B C D"], ["A"]).rate == 300.0


@pytest.mark.parametrize("count", [single_space_words, words, units, characters])
def test_without_references_there_is_no_rate(count):
    for hyps, refs in (([], []), (["A", ""], ["", ""])):
        with pytest.raises(DataError, match=r"nothing to score.*Look at the transcripts"):
            _ = count(hyps, refs).rate


@pytest.mark.parametrize("count", [single_space_words, words, units, characters])
def test_a_hypothesis_too_few_is_not_overlooked(count):
    with pytest.raises(ValueError):
        count(["A"], ["A", "B"])


def test_the_score_says_all_that_is_needed_to_read_it():
    hyps, refs = pairs(1, 400)
    edits = words(hyps, refs)
    score = percentage_score("wer", *edits.counts, [f"speaker{i % 40}" for i in range(400)], 0, "lower")
    assert (score.metric, score.value, score.unit, score.direction) == ("wer", edits.rate, "%", "lower")
    assert (score.n, score.resampled) == (400, "speakers")
    assert score.ci95[0] < score.value < score.ci95[1]
    assert percentage_score("per", *edits.counts, [None] * 400, 0, "lower").resampled == "utterances"


def test_the_interval_is_wide_where_speakers_differ():
    errors = np.repeat([0, 1], 500)
    edits = Edits(errors, np.full(1000, 10))
    speakers = [f"speaker{i // 50}" for i in range(1000)]
    by_speaker, by_utterance = (
        percentage_score("wer", *edits.counts, groups, 0, "lower").ci95 for groups in (speakers, [None] * len(speakers))
    )
    assert (by_speaker[1] - by_speaker[0]) == pytest.approx((by_utterance[1] - by_utterance[0]) * 50**0.5, rel=0.15)


def test_intervals_survive_speakers_without_any_reference():
    edits = Edits(np.array([1, 2, 0, 0]), np.array([4, 4, 0, 0]))
    low, high = percentage_score("wer", *edits.counts, list("abcd"), 0, "lower").ci95
    assert (low, high) == (25.0, 50.0)
