"""Accuracy, and the interval around it, against what can be counted or is known."""

from itertools import product

import numpy as np
import pytest

from downstream.metrics.accuracy import accuracy, accuracy_score
from downstream.metrics.bootstrap import percentage, percentage_score, ratio_interval
from upstream.errors import DataError


def one_slot(*values):
    return np.array(values)[:, None]


def score_of(right, groups=None, seed=0):
    """The score of one fold whose predictions are right where `right` is 1."""
    right = np.asarray(right)
    return accuracy_score([right[:, None]], [np.ones((len(right), 1), int)], [groups or [None] * len(right)], seed)


# Accuracy


def test_accuracy_is_the_share_in_percent():
    assert accuracy(one_slot(0, 1, 2, 2), one_slot(0, 1, 2, 0)) == 75.0
    assert accuracy(one_slot(1), one_slot(0)) == 0.0


def test_all_slots_have_to_be_right():
    predicted = np.array([[1, 2, 3], [1, 2, 0], [0, 2, 3], [1, 0, 3], [0, 0, 0]])
    assert accuracy(predicted, np.array([[1, 2, 3]] * 5)) == 20.0


def test_counts_weigh_the_rows():
    predicted, target = one_slot(1, 1, 0), one_slot(1, 0, 0)
    assert accuracy(predicted, target, np.array([1.0, 1.0, 2.0])) == 75.0
    assert accuracy(predicted, target, np.array([0.0, 5.0, 0.0])) == 0.0
    assert accuracy(predicted, target, np.array([3.0, 3.0, 3.0])) == pytest.approx(200 / 3)


def test_the_score_says_all_that_is_needed_to_read_it():
    score = score_of([1, 0, 1, 1])
    assert (score.metric, score.value, score.unit, score.direction, score.n) == ("accuracy", 75.0, "%", "higher", 4)
    assert score.resampled == "utterances"
    assert score.ci95[0] < 75 < score.ci95[1]
    written = score.as_dict()
    assert written == {
        "value": 75.0,
        "unit": "%",
        "direction": "higher",
        "n": 4,
        "ci95": list(score.ci95),
        "resampled": "utterances",
    }
    assert score_of([1, 0], ["a", None]).resampled == "speakers"


def test_folds_of_any_size_weigh_the_same():
    """SUPERB averages the accuracies of the folds, not those of the utterances."""
    folds = [[1] * 10, [0] * 90, [1, 0], [1, 1, 1, 0]]
    groups = [[f"{i}-{j % 3}" for j in range(len(fold))] for i, fold in enumerate(folds)]
    predicted = [one_slot(*fold) for fold in folds]
    score = accuracy_score(predicted, [np.ones_like(p) for p in predicted], groups, 0)
    assert score.value == pytest.approx(np.mean([100, 0, 50, 75]))
    assert score.value == pytest.approx(np.mean([accuracy(p, np.ones_like(p)) for p in predicted]))
    assert score.n == 106


# Intervals


def enumerated(values, weights, groups):
    """The exact distribution: every way to draw as many groups as there are, all equally likely."""
    names = list(dict.fromkeys(groups))
    parts = [np.flatnonzero([g == name for g in groups]) for name in names]
    results = []
    for drawn in product(range(len(names)), repeat=len(names)):
        rows = np.concatenate([parts[i] for i in drawn])
        results.append((weights[rows] * values[rows]).sum() / weights[rows].sum())
    return np.array(results)


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_is_that_of_all_possible_resamples(seed):
    """Six groups of unequal size make 46,656 equally likely resamples; 1,000 of them are drawn. Of the ends that gives,
    the share of the exact distribution below is 2.5 % give or take 0.5: between 1 % and 4.5 % to be safe."""
    random = np.random.default_rng(seed)
    groups = random.permutation(["a"] * 3 + ["b"] * 8 + ["c"] * 5 + ["d"] + ["e"] * 4 + ["f"] * 6).tolist()
    values = random.integers(0, 2, len(groups)).astype(float)
    weights = random.uniform(0.5, 2, len(groups))
    low, high = ratio_interval(weights * values, weights, groups, seed)
    exact = enumerated(values, weights, groups)
    assert (exact <= low + 1e-9).mean() > 0.01
    assert (exact < low - 1e-9).mean() < 0.045
    assert (exact >= high - 1e-9).mean() > 0.01
    assert (exact > high + 1e-9).mean() < 0.045


def test_the_interval_of_independent_utterances_has_the_binomial_width():
    """1.96 standard errors on either side; an end of 1,000 resamples scatters by 0.09 standard errors."""
    for n, p in ((400, 0.5), (2000, 0.9), (1000, 0.2)):
        right = np.arange(n) < round(n * p)
        low, high = score_of(right.astype(int)).ci95
        error = 100 * np.sqrt(p * (1 - p) / n)
        assert low == pytest.approx(100 * p - 1.96 * error, abs=0.4 * error)
        assert high == pytest.approx(100 * p + 1.96 * error, abs=0.4 * error)


def test_utterances_of_a_speaker_that_agree_widen_the_interval():
    """Twenty speakers of whom each is always right or always wrong tell no more than twenty utterances would."""
    right = np.repeat([1, 0] * 10, 25)
    speakers = [f"s{i}" for i in np.repeat(np.arange(20), 25)]
    alone, together = score_of(right), score_of(right, speakers)
    width = [score.ci95[1] - score.ci95[0] for score in (alone, together)]
    assert alone.value == together.value == 50.0
    assert width[1] == pytest.approx(5 * width[0], rel=0.15)
    mixed = score_of(np.tile([1, 0, 1, 0, 1], 100), speakers)  # speakers that do not differ: no wider than alone
    assert mixed.ci95[1] - mixed.ci95[0] < width[0]


def test_unknown_speakers_are_units_of_their_own():
    """Not one large unit together, and not the same as a speaker of any name."""
    right = np.arange(200) % 2
    unknown = score_of(right)
    numbered = score_of(right, [str(i) for i in range(200)])
    assert unknown.ci95 == numbered.ci95
    assert unknown.ci95[1] - unknown.ci95[0] > 5
    half = score_of(right, ["one"] * 100 + [None] * 100)
    assert half.ci95 == score_of(right, ["one"] * 100 + [str(i) for i in range(100)]).ci95
    assert score_of(right, [0, None] * 100).ci95 == score_of(right, ["x", None] * 100).ci95


def test_intervals_repeat_with_their_seed():
    right = np.random.default_rng(1).integers(0, 2, 150)
    assert score_of(right, seed=3).ci95 == score_of(right, seed=3).ci95
    assert score_of(right, seed=3).ci95 != score_of(right, seed=4).ci95


def test_certainty_and_a_single_speaker_give_a_point():
    assert score_of([1] * 30).ci95 == (100.0, 100.0)
    assert score_of([0] * 30).ci95 == (0.0, 0.0)
    assert score_of([1, 0, 1, 0], ["a"] * 4).ci95 == (50.0, 50.0)


def test_large_test_sets_are_resampled_in_blocks_with_the_same_result(monkeypatch):
    right = np.random.default_rng(1).integers(0, 2, 300)
    whole = score_of(right).ci95
    monkeypatch.setattr("downstream.metrics.bootstrap._BLOCK", 301)  # one resample at a time
    assert score_of(right).ci95 == pytest.approx(whole)


@pytest.mark.parametrize("seed", range(4))
def test_resamples_in_which_nothing_counts_are_drawn_again(seed):
    """Of 3,125 equally likely resamples of five speakers 243 hold none of the two who said something that counts."""
    above, below = np.array([1.0, 0, 3, 1, 0]), np.array([4.0, 0, 5, 0, 0])
    low, high = ratio_interval(above, below, list("abcde"), seed)
    drawn = [np.array(rows) for rows in product(range(5), repeat=5)]
    exact = np.array([above[rows].sum() / below[rows].sum() for rows in drawn if below[rows].sum() > 0])
    assert len(exact) == 3125 - 243
    assert (exact <= low + 1e-9).mean() > 0.01
    assert (exact < low - 1e-9).mean() < 0.045
    assert (exact >= high - 1e-9).mean() > 0.01
    assert (exact > high + 1e-9).mean() < 0.045


def test_one_utterance_that_counts_among_thousands_gives_a_point():
    above, below = np.zeros(3000), np.zeros(3000)
    above[7], below[7] = 1, 4
    assert ratio_interval(above, below, [None] * 3000, 0) == (0.25, 0.25)


def test_where_nothing_counts_there_is_no_figure_and_no_interval():
    for below in (np.zeros(3), np.zeros(0), np.full(3, np.nan)):
        groups = [None] * len(below)
        for scored in (
            lambda b=below: percentage(np.zeros(len(b)), b),
            lambda b=below, g=groups: ratio_interval(np.zeros(len(b)), b, g, 0),
            lambda b=below, g=groups: percentage_score("wer", np.zeros(len(b)), b, g, 0, "lower"),
        ):
            with pytest.raises(DataError, match=f"nothing to score: {len(below)} utterances"):
                scored()
