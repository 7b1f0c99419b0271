"""Verification figures against s3prl's own EER, scikit-learn's curves, and lists in which resamples are written out."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import torch
from oracles import import_s3prl
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from downstream.metrics import verification
from downstream.metrics.verification import cosine_scores, dcf_score, eer, eer_score, min_dcf, s_normed
from upstream.errors import DataError, UsageError

EXACT = 1e-9  # of a percentage; s3prl's root is found to 2e-10


@pytest.fixture(scope="module")
def superb():
    function = import_s3prl("s3prl.downstream.sv_voxceleb1.utils").EER
    return lambda same, scores: 100 * function(same, scores)[0]


def random_trials(seed, count, decimals=None):
    """Trials of both kinds, whose scores say something about them; rounded, many are equal."""
    random = np.random.default_rng(seed)
    same = random.random(count) < random.uniform(0.1, 0.9)
    same[:2] = True, False
    scores = random.normal(size=count) + same * random.uniform(-1, 4)
    return same, scores if decimals is None else np.round(scores, decimals)


def speaker_trials(seed, speakers, utterances):
    """All pairs of the utterances of some speakers, of whom some are more alike than others."""
    random = np.random.default_rng(seed)
    owner = np.repeat(np.arange(speakers), utterances)
    embeddings = random.normal(size=(speakers, 5))[owner] + 0.9 * random.normal(size=(len(owner), 5))
    first, second = np.triu_indices(len(owner), 1)
    scores = cosine_scores(embeddings, first, second)
    return owner[first] == owner[second], scores, *([f"s{i}" for i in owner[side]] for side in (first, second))


def naive_cost(same, scores, prior=0.01, c_miss=1.0, c_false=1.0, weights=None):
    false_alarms, hits, _ = roc_curve(same, scores, drop_intermediate=False, sample_weight=weights)
    costs = c_miss * prior * (1 - hits) + c_false * (1 - prior) * false_alarms
    return costs.min() / min(c_miss * prior, c_false * (1 - prior))


# Figures


@pytest.mark.parametrize("decimals", [None, 3, 1, 0])
def test_eer_is_that_of_superb(superb, decimals):
    for seed in range(60):
        same, scores = random_trials(seed, 2 + seed * seed % 301, decimals)
        assert eer(same, scores) == pytest.approx(superb(same, scores), abs=EXACT, rel=0)


def test_eer_of_every_tiny_list_is_that_of_superb(superb):
    for same in ([1, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0, 0]):
        for scores in product(range(3), repeat=len(same)):
            assert eer(np.array(same, dtype=bool), np.array(scores)) == pytest.approx(superb(same, scores), abs=EXACT)


def test_eer_of_a_large_list_with_equal_scores(superb):
    same, scores = random_trials(1, 30_000, 2)
    assert eer(same, scores) == pytest.approx(superb(same, scores), abs=EXACT, rel=0)


def test_eer_that_can_be_seen():
    same = np.array([True, True, False, False])
    assert eer(same, np.array([3, 2, 1, 0])) == 0
    assert eer(same, np.array([0, 1, 2, 3])) == 100
    assert eer(same, np.array([3, 1, 2, 0])) == 50
    assert eer(same, np.zeros(4)) == 50


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize(("prior", "c_miss", "c_false"), [(0.01, 1, 1), (0.05, 1, 1), (0.5, 10, 2)])
def test_min_dcf_is_the_least_on_the_curve_of_scikit_learn(decimals, prior, c_miss, c_false):
    for seed in range(40):
        same, scores = random_trials(seed, 2 + seed * 7, decimals)
        expected = naive_cost(same, scores, prior, c_miss, c_false)
        assert min_dcf(same, scores, prior, c_miss, c_false) == pytest.approx(expected, rel=1e-12)


def test_min_dcf_that_can_be_seen():
    same = np.array([True, True, False, False])
    assert min_dcf(same, np.array([3, 2, 1, 0])) == 0
    assert min_dcf(same, np.array([0, 1, 2, 3])) == pytest.approx(1)  # accepting nobody
    assert min_dcf(same, np.array([3, 1, 2, 0])) == pytest.approx(0.5)  # half of them are missed
    assert min_dcf(same, np.array([3, 1, 2, 0]), prior=0.99) == pytest.approx(0.5)  # half of the others are let in


@pytest.mark.parametrize("figure", [eer, min_dcf])
def test_lists_of_one_kind_and_scores_that_are_no_numbers_are_refused(figure):
    with pytest.raises(DataError, match="all 3 trials are of the same speaker"):
        figure(np.ones(3, dtype=bool), np.arange(3))
    with pytest.raises(DataError, match="all 3 trials are of different speakers"):
        figure(np.zeros(3, dtype=bool), np.arange(3))
    with pytest.raises(DataError, match="there are no trials"):
        figure(np.zeros(0, dtype=bool), np.zeros(0))
    with pytest.raises(DataError, match=r"2 of 4 trials.*first is trial 2 \(nan\)"):
        figure(np.array([True, False, True, False]), np.array([1, np.nan, 0, np.inf]))


# Scores


@pytest.mark.parametrize("block", [1, 100, 1 << 22])
def test_cosine_scores_are_those_of_torch(monkeypatch, block):
    monkeypatch.setattr(verification, "_BLOCK", block)
    random = np.random.default_rng(0)
    embeddings = random.normal(scale=7, size=(30, 12)).astype(np.float32)
    embeddings[4] = 0
    first, second = random.integers(30, size=(2, 101))
    expected = torch.cosine_similarity(torch.from_numpy(embeddings[first]), torch.from_numpy(embeddings[second]))
    scores = cosine_scores(embeddings, first, second)
    assert scores.dtype == np.float64
    assert scores == pytest.approx(expected.numpy(), abs=1e-6)
    assert np.array_equal(scores, cosine_scores(embeddings, second, first)), "the order within a trial matters"
    assert np.all(scores[(first == 4) | (second == 4)] == 0)


@pytest.mark.parametrize("block", [1, 100, 1 << 22])
def test_s_norm_is_what_its_definition_says(monkeypatch, block):
    monkeypatch.setattr(verification, "_BLOCK", block)
    random = np.random.default_rng(1)
    embeddings, cohort = random.normal(size=(20, 8)), random.normal(size=(15, 8))
    first, second = random.integers(20, size=(2, 50))
    scores = cosine_scores(embeddings, first, second)

    def view(side, score):
        nearest = sorted(torch.cosine_similarity(torch.tensor(embeddings[side]), torch.tensor(cohort)).tolist())[-6:]
        mean = sum(nearest) / 6
        return (score - mean) / (sum((value - mean) ** 2 for value in nearest) / 6) ** 0.5

    expected = [(view(a, s) + view(b, s)) / 2 for a, b, s in zip(first, second, scores, strict=True)]
    assert s_normed(scores, embeddings, first, second, cohort, 6) == pytest.approx(expected, rel=1e-9)


def test_s_norm_that_cannot_be():
    embeddings, sides = np.eye(3), (np.array([0]), np.array([1]))
    for top in (1, 4):
        with pytest.raises(UsageError, match="choose from 2 to 3"):
            s_normed(np.zeros(1), embeddings, *sides, np.eye(3), top)
    with pytest.raises(DataError, match="equally like embedding 2"):
        s_normed(np.zeros(1), embeddings, *sides, np.array([[1.0, 2, 0], [2, 1, 0], [0.5, 4, 0]]), 2)


# Intervals


def written_out(same, scores, copies):
    """The list with so many copies of each trial."""
    return np.repeat(same, copies), np.repeat(scores, copies)


def copies_of(drawn, first, second):
    """Of each trial, when speakers are drawn so often."""
    times = np.array([[drawn[name] for name in side] for side in (first, second)])
    return times[0] * np.where(np.array(first) == np.array(second), 1, times[1])


def every_draw(count):
    return [np.bincount(drawn, minlength=count) for drawn in product(range(count), repeat=count)]


def draw_in_turn(monkeypatch, draws, kept):
    """Instead of drawing at random, take these, one after the other."""
    turns = iter(draws)
    monkeypatch.setattr(verification, "_copies", lambda random, count: next(turns))
    monkeypatch.setattr(verification, "RESAMPLES", kept)


def both_kinds(same, copies):
    return 0 < (same * copies).sum() < copies.sum()


@pytest.mark.parametrize("decimals", [5, 1])
def test_resampled_speakers_bring_and_take_their_trials(superb, monkeypatch, decimals):
    same, scores, first, second = speaker_trials(3, 3, 4)
    scores = np.round(scores, decimals)
    draws = every_draw(3)
    copies = [copies_of(dict(zip(("s0", "s1", "s2"), drawn, strict=True)), first, second) for drawn in draws]
    used = [one for one in copies if both_kinds(same, one)]
    assert 0 < len(used) < len(copies), "every draw has trials of two speakers: none has to be drawn again"
    expected = [superb(*written_out(same, scores, one)) for one in used]
    draw_in_turn(monkeypatch, draws, len(used))
    score = eer_score("eer", same, scores, first, second, 0)
    assert score.ci95 == pytest.approx(tuple(np.percentile(expected, [2.5, 97.5])), abs=EXACT)
    draw_in_turn(monkeypatch, draws, len(used))
    costs = [naive_cost(*written_out(same, scores, one)) for one in used]
    ci95 = dcf_score("min_dcf", same, scores, first, second, 0).ci95
    assert ci95 == pytest.approx(tuple(np.percentile(costs, [2.5, 97.5])), rel=1e-12)


def test_resampled_trials(superb, monkeypatch):
    same, scores = np.array([True, False, False, True]), np.array([0.3, 0.2, 0.5, 0.9])
    used = [one for one in every_draw(4) if both_kinds(same, one)]
    expected = [superb(*written_out(same, scores, one)) for one in used]
    draw_in_turn(monkeypatch, every_draw(4), len(used))
    score = eer_score("eer", same, scores, ["a", "a", None, "b"], ["a", "b", "b", "b"], 0)
    assert score.ci95 == pytest.approx(tuple(np.percentile(expected, [2.5, 97.5])), abs=EXACT)
    assert score.resampled == "trials"


def test_intervals_are_as_wide_as_those_of_scikit_learn():
    same, scores, first, second = speaker_trials(5, 12, 5)
    score = eer_score("eer", same, scores, first, second, 7)
    random, expected = np.random.default_rng(1), []
    names = sorted(set(first) | set(second))
    for _ in range(300):
        drawn = dict(zip(names, random.multinomial(12, np.full(12, 1 / 12)), strict=True))
        curve = interp1d(*roc_curve(same, scores, sample_weight=copies_of(drawn, first, second))[:2])
        expected.append(100 * brentq(lambda x, curve=curve: 1 - x - curve(x), 0, 1))
    low, high = np.percentile(expected, [2.5, 97.5])
    assert score.ci95 == pytest.approx((low, high), abs=0.12 * (high - low))
    assert low < score.value < high


def test_scores_say_all_that_is_needed_to_read_them():
    same, scores, first, second = speaker_trials(0, 5, 4)
    score = eer_score("eer", same, scores, first, second, 3)
    assert (score.metric, score.unit, score.direction, score.n) == ("eer", "%", "lower", 190)
    assert score.value == eer(same, scores) and score.resampled == "speakers"
    assert score == eer_score("eer", same, scores, first, second, 3)
    assert score.ci95 != eer_score("eer", same, scores, first, second, 4).ci95
    cost = dcf_score("min_dcf", same, scores, first, second, 3)
    assert (cost.metric, cost.unit, cost.direction, cost.n) == ("min_dcf", "", "lower", 190)
    assert cost.value == min_dcf(same, scores) and 0 <= cost.ci95[0] <= cost.value <= cost.ci95[1] <= 1
    with pytest.raises(DataError, match="same speaker"):
        eer_score("eer", np.ones(2, dtype=bool), np.zeros(2), ["a", "b"], ["a", "b"], 0)


def test_torch_is_not_imported_by_the_metrics():
    code = "import sys, downstream.metrics.verification; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
