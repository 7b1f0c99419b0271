"""Minimum cross entropies against scikit-learn and scipy, by hand, and over resamples written out."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from downstream.metrics import cross_entropy
from downstream.metrics.cross_entropy import min_cnxe, min_cnxe_score
from downstream.metrics.spoken_terms import Trials
from upstream.errors import DataError

NEAR = 1e-8


def trials_of(scores, holds, beta=12.49):
    scores, holds = np.array(scores, dtype=float), np.array(holds, dtype=bool)
    holders = np.maximum(1, holds.sum(axis=1))
    return Trials(scores, holds, holders, documents=scores.shape[1] + 1, others=7, beta=beta)


def random_trials(seed, lift=1.5, queries=6, documents=80):
    """Scores of which some are equal, and which are higher where the document holds the query."""
    random = np.random.default_rng(seed)
    holds = random.random((queries, documents)) < 0.1
    holds[:, 0] = True
    return trials_of(np.round(random.normal(size=holds.shape) + lift * holds, 2), holds)


def bits(log_odds, holds, prior):
    """The formula of the measure, of log likelihood ratios plus those of the prior."""
    holding = np.mean(np.log2(1 + np.exp(-log_odds[holds])))
    without = np.mean(np.log2(1 + np.exp(log_odds[~holds])))
    entropy = -prior * np.log2(prior) - (1 - prior) * np.log2(1 - prior)
    return (prior * holding + (1 - prior) * without) / entropy


def by_scikit_learn(scores, holds, beta):
    prior = 1 / (1 + beta)
    weights = np.where(holds, prior / holds.sum(), (1 - prior) / (~holds).sum())
    line = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    line.fit(scores.reshape(-1, 1), holds.ravel(), sample_weight=weights.ravel() * scores.size)
    return bits(line.coef_[0, 0] * scores + line.intercept_[0], holds, prior), line.coef_[0, 0]


def by_scipy(scores, holds, beta):
    prior = 1 / (1 + beta)

    def cost(line):
        return bits(line[0] * scores + line[1] + np.log(prior / (1 - prior)), holds, prior)

    found = minimize(cost, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 5000})
    return found.fun


@pytest.mark.parametrize("lift", [0.2, 1.5, 3.0])
@pytest.mark.parametrize("beta", [12.49, 1.0, 500.0])
def test_the_cost_is_that_of_scikit_learn_and_of_scipy(lift, beta):
    for seed in range(6):
        trials = replace(random_trials(seed, lift), beta=beta)
        expected, gamma = by_scikit_learn(trials.scores, trials.holds, beta)
        assert gamma > 0
        assert min_cnxe(trials) == pytest.approx(expected, abs=NEAR)
        assert min_cnxe(trials) == pytest.approx(by_scipy(trials.scores, trials.holds, beta), abs=NEAR)


@pytest.mark.parametrize("seed", [0, 2, 5])
def test_scores_of_which_few_are_far_from_all_others_are_calibrated_too(seed):
    """Whole steps would overshoot."""
    trials = random_trials(seed)
    trials = replace(trials, scores=trials.scores**9, beta=1e5)
    expected, gamma = by_scikit_learn(trials.scores, trials.holds, trials.beta)
    assert gamma > 0
    assert min_cnxe(trials) == pytest.approx(expected, abs=NEAR)


def test_scores_may_be_of_any_scale_and_place():
    trials = random_trials(1)
    expected = min_cnxe(trials)
    for scale, shift in ((1e-6, 0), (1, 1e4), (1e8, -1e9)):
        assert min_cnxe(replace(trials, scores=scale * trials.scores + shift)) == pytest.approx(expected, abs=NEAR)


def test_two_scores_that_can_be_seen():
    # Equal priors; 3 of 4 holding documents have score 1, and 1 of 4 others: of either score, one in four is wrong. A
    # line through two points fits any odds, so the cost is the entropy of 1/4: 0.25 * 2 + 0.75 * log2(4/3) bits.
    trials = trials_of([[1, 1, 1, 0, 1, 0, 0, 0]], [[1, 1, 1, 1, 0, 0, 0, 0]], beta=1.0)
    assert min_cnxe(trials) == pytest.approx(0.5 + 0.75 * np.log2(4 / 3), abs=NEAR)


def test_scores_that_separate_cost_nothing():
    assert min_cnxe(trials_of([[3, 2, 1, 0]], [[1, 1, 0, 0]])) == 0


def test_where_one_score_only_is_in_doubt_the_cost_is_that_of_its_trials():
    # Equal priors. Score 1 has half of the holding documents and a quarter of the others, weights 1/4 and 1/8: with
    # the odds at their best, 2 to 1, they cost 1/4 * log2(3/2) + 1/8 * log2(3) bits, of 1 bit. The rest cost nothing.
    trials = trials_of([[2, 1, 1, 0, 0, 0]], [[1, 1, 0, 0, 0, 0]], beta=1.0)
    assert min_cnxe(trials) == pytest.approx(0.25 * np.log2(1.5) + 0.125 * np.log2(3), abs=1e-12)
    steep = bits(100 * (trials.scores - 1) + np.log(2), trials.holds, 0.5)
    assert min_cnxe(trials) == pytest.approx(steep, abs=1e-12)


def test_scores_that_hardly_overlap_come_to_an_end():
    for gap in (1e-2, 1e-5, 1e-9):
        scores, holds = [[9, 1, 1 + gap, 0, -3]], [[1, 1, 0, 0, 0]]
        least = min(bits(gamma * (np.array(scores) - 1) + 0.5, np.array(holds) > 0, 0.5) for gamma in (1, 10, 30))
        assert 0 < min_cnxe(trials_of(scores, holds, beta=1.0)) < least


def test_scores_that_say_nothing_or_the_contrary_cost_as_much_as_the_prior():
    assert min_cnxe(trials_of([[5, 5, 5]], [[1, 0, 0]])) == pytest.approx(1, abs=1e-12)
    assert min_cnxe(trials_of([[1, 0, 1, 0]], [[1, 1, 0, 0]])) == pytest.approx(1, abs=NEAR)
    assert min_cnxe(trials_of([[0, 1, 2, 3]], [[1, 1, 0, 0]])) == pytest.approx(1, abs=1e-12)
    trials = random_trials(0, lift=2)
    assert min_cnxe(replace(trials, scores=-trials.scores)) == pytest.approx(1, abs=1e-12)


def test_what_was_not_searched_makes_no_difference():
    trials = random_trials(3)
    assert min_cnxe(trials) == min_cnxe(replace(trials, documents=9000, others=0, holders=trials.holders + 5))
    assert min_cnxe(trials) == min_cnxe(trials.searched_only())


def test_trials_of_one_kind_are_refused():
    with pytest.raises(DataError, match="in 0 of 4 trials"):
        min_cnxe(trials_of(np.zeros((2, 2)), np.zeros((2, 2))))
    with pytest.raises(DataError, match="in 4 of 4 trials"):
        min_cnxe(trials_of(np.zeros((2, 2)), np.ones((2, 2))))


def test_a_calibration_that_does_not_settle_says_so(monkeypatch):
    monkeypatch.setattr(cross_entropy, "_MOST_STEPS", 1)
    with pytest.raises(DataError, match=r"scores from .* does not settle in 1 steps"):
        min_cnxe(random_trials(0))


@pytest.mark.parametrize("held_by", [4, 1])
def test_resampled_queries_bring_all_their_trials_and_are_calibrated_anew(monkeypatch, held_by):
    trials = random_trials(5, queries=4, documents=40)
    trials.holds[held_by:] = False
    monkeypatch.setattr(cross_entropy, "RESAMPLES", 50)
    score = min_cnxe_score("min_cnxe", trials, 3)
    random, expected, without = np.random.default_rng(3), [], 0
    while len(expected) < 50:
        drawn = random.integers(4, size=4)
        if trials.holds[drawn].any():
            expected.append(min_cnxe(trials_of(trials.scores[drawn], trials.holds[drawn])))
        else:
            without += 1
    assert (without > 5) == (held_by == 1)
    assert score.ci95 == pytest.approx(tuple(np.percentile(expected, [2.5, 97.5])), abs=NEAR)


def test_resamples_of_scores_that_separate_or_say_nothing():
    holds = np.arange(8) < np.ones((5, 1))
    assert min_cnxe_score("min_cnxe", trials_of(np.where(holds, 2, 1), holds), 0).ci95 == (0.0, 0.0)
    nothing = min_cnxe_score("min_cnxe", trials_of(np.where(holds, 1, 2), holds), 0)
    assert nothing.ci95 == pytest.approx((1, 1), abs=1e-12)


def test_scores_say_all_that_is_needed_to_read_them():
    trials = random_trials(0, queries=30)
    score = min_cnxe_score("min_cnxe", trials, 3)
    assert (score.metric, score.unit, score.direction, score.n) == ("min_cnxe", "", "lower", 30)
    assert type(score.value) is float and score.value == min_cnxe(trials) and score.resampled == "queries"
    assert score.ci95[0] < score.value < score.ci95[1] < 1
    assert score == min_cnxe_score("min_cnxe", trials, 3) and score.ci95 != min_cnxe_score("min_cnxe", trials, 4).ci95
    few = trials_of(trials.scores[:5], trials.holds[:5])
    assert np.diff(min_cnxe_score("min_cnxe", few, 3).ci95) > np.diff(score.ci95)
