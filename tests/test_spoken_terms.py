"""Term-weighted values by hand, and against whole lists written out in which every query is looked at on its own."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from downstream.metrics import spoken_terms
from downstream.metrics.spoken_terms import Trials, curve, mtwv, mtwv_score, twv, twv_score
from upstream.errors import DataError

BETA = 12.49


def searched(scores, holds, **whole):
    """Trials of which nothing was left out, unless `whole` says so."""
    scores, holds = np.array(scores, dtype=float), np.array(holds, dtype=bool)
    return Trials(scores, holds, **({"holders": holds.sum(axis=1), "documents": scores.shape[1], "others": 0} | whole))


def random_trials(seed, decimals=1, others=None, queries=None):
    """A few queries whose scores say something; some score as what was left out does, and below it."""
    random = np.random.default_rng(seed)
    queries, documents = queries or random.integers(1, 6), random.integers(1, 15)
    unsearched = random.choice([0, random.integers(1, 100)])
    holds = random.random((queries, documents)) < random.choice([0.1, 0.4, 0.9])
    if not unsearched:
        holds[:, 0] = True
    elsewhere = random.integers(0, unsearched + 1, size=queries)
    return Trials(
        scores=np.round(random.normal(size=holds.shape) + holds * random.uniform(0, 3), decimals),
        holds=holds,
        holders=np.maximum(1, holds.sum(axis=1) + elsewhere),
        documents=documents + unsearched,
        others=int(random.integers(4)) if others is None else others,
        beta=random.choice([BETA, 2.0, 0.5]),
        default=random.choice([-10.0, -1.0, 0.5]),
    )


def written_out(trials):
    """(scores, holds) of all queries that occur and all documents of the list, one row a query."""
    rows = []
    for scores, holds, holders in zip(trials.scores, trials.holds, trials.holders, strict=True):
        unsearched = trials.documents - len(scores)
        hidden = np.arange(unsearched) < holders - holds.sum()
        rows.append((np.append(scores, np.full(unsearched, trials.default)), np.append(holds, hidden)))
    for _ in range(trials.others):
        left_out = np.full(max(2, trials.documents), trials.default)  # some hold it and some do not
        rows.append((left_out, np.arange(len(left_out)) == 0))
    return rows


def naive_rates(rows, threshold):
    """Means over the queries of P_miss and P_fa."""
    misses, alarms = [], []
    for scores, holds in rows:
        accepted = scores >= threshold
        misses.append(np.mean(~accepted[holds]))
        alarms.append(0 if np.all(holds) else np.mean(accepted[~holds]))
    return sum(misses) / len(rows), sum(alarms) / len(rows)


def naive_twv(rows, threshold, beta):
    missed, wrong = naive_rates(rows, threshold)
    return 1 - missed - beta * wrong


def all_scores(rows):
    return sorted({score for scores, _ in rows for score in scores}, reverse=True)


def naive_mtwv(rows, beta):
    best, where = 0.0, None
    for threshold in all_scores(rows):
        if (value := naive_twv(rows, threshold, beta)) > best + 1e-9:
            best, where = value, threshold
    return best, where


# By hand


def test_perfect_scores_are_worth_1_down_to_the_last_hit():
    trials = searched([[5, 1, 0], [1, 4, 3.5]], [[1, 0, 0], [0, 1, 1]])
    assert mtwv(trials) == (1.0, 3.5)
    assert twv(trials, 3.5) == 1
    assert twv(trials, 4.0) == 0.75  # the second query has half of its two documents
    assert twv(trials, 5.0) == 0.5
    assert twv(trials, 6.0) == twv(trials, None) == 0


def test_a_false_alarm_costs_beta_over_the_documents_that_do_not_hold_the_query():
    # One document is above the right one: 1 - 0 - 2 * 1/4.
    trials = searched([[2, 3, 0, 0, 0]], [[1, 0, 0, 0, 0]], beta=2.0)
    assert mtwv(trials) == (0.5, 2.0)
    assert twv(trials, 3.0) == -0.5
    assert twv(replace(trials, beta=3.0), 2.0) == 0.25
    assert twv(replace(trials, beta=0.0), 0.0) == 1


def test_where_every_threshold_costs_more_than_it_brings_all_is_rejected():
    trials = searched([[2, 3, 0, 0, 0]], [[1, 0, 0, 0, 0]])  # 1 - 12.49 / 4 = -2.1225
    assert mtwv(trials) == (0.0, None)
    assert twv(trials, 2.0) == pytest.approx(-2.1225, abs=1e-12)


def test_a_longer_list_of_documents_thins_false_alarms():
    trials = searched([[2, 3, 0, 0, 0]], [[1, 0, 0, 0, 0]], documents=1001)
    value, threshold = mtwv(trials)
    assert (value, threshold) == (pytest.approx(1 - 12.49 / 1000, abs=1e-12), 2.0)


def test_queries_that_were_not_searched_cap_the_mean():
    trials = searched([[9, 1]], [[1, 0]], others=3)
    assert mtwv(trials) == (0.25, 9.0)
    assert mtwv(trials.searched_only()) == (1.0, 9.0)


def test_a_holder_that_was_not_searched_is_a_miss():
    trials = searched([[9, 1]], [[1, 0]], holders=np.array([4]), documents=50)
    assert mtwv(trials) == (0.25, 9.0)


def test_equal_scores_are_accepted_together():
    # At 2 the hit comes with one of four false alarms: 1 - 1/4 of beta 1.
    trials = searched([[2, 2, 0, 0, 0]], [[1, 0, 0, 0, 0]], beta=1.0)
    assert mtwv(trials) == (0.75, 2.0)
    # Across queries too: the second gives up all its six false alarms of six, (1 - 0 + 0 - 1) / 2.
    trials = searched([[2, 0, 0, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2, 1]], [[1, *6 * [0]], [*6 * [0], 1]], beta=1.0)
    assert twv(trials, 2.0) == pytest.approx(0, abs=1e-12)
    assert mtwv(trials) == (pytest.approx(0.5), 1.0)  # at 1 the second query has its hit: (1 + 1 - 1) / 2


def test_from_the_default_score_down_all_that_was_left_out_is_accepted():
    # Of 4 documents 2 were searched. Above -10 the query has one of its two: 0.5, and the other query is worth 0.
    trials = searched([[3, -20]], [[1, 0]], holders=np.array([2]), documents=4, others=1, beta=0.5)
    assert twv(trials, -9.9) == 0.25
    # At -10: 1 - 0.5 * 1/2 (one of the two others has -20), and 1 - 0.5 for the query that was left out.
    assert twv(trials, -10.0) == pytest.approx((0.75 + 0.5) / 2)
    assert twv(trials, -20.0) == pytest.approx((0.5 + 0.5) / 2)
    assert mtwv(trials) == (pytest.approx(0.625), -10.0)
    assert mtwv(replace(trials, default=-30.0)) == (pytest.approx(0.5), -30.0)
    assert twv(replace(trials, beta=BETA), -20.0) == pytest.approx(1 - BETA)


@pytest.mark.parametrize("hits", [2, 3, 7])
def test_of_thresholds_that_are_equally_good_the_highest_is_taken(hits):
    # Each hit brings 1 / hits and each of 10 false alarms costs as much, but for rounding: 5 is as good as 3.
    scores, holds = [5, 4, 3, *[0] * (hits + 7)], [1, 0, 1, *[1] * (hits - 2), *[0] * 9]
    for rounding in (0, 1e-15, -1e-15):
        trials = searched([scores], [holds], beta=10 / hits * (1 + rounding))
        assert mtwv(trials) == (pytest.approx(1 / hits), 5.0)
        assert twv(trials, 3.0) == pytest.approx(1 / hits)


def test_a_query_that_every_document_holds_has_no_false_alarms():
    assert mtwv(searched([[3, 2]], [[1, 1]])) == (1.0, 2.0)
    assert twv(searched([[3, 2]], [[1, 1]]), 3.0) == 0.5


def test_searched_only_leaves_out_queries_that_occur_elsewhere_only():
    trials = searched([[3, 2], [1, 2]], [[1, 0], [0, 0]], holders=np.array([2, 1]), documents=9, others=5)
    plain = trials.searched_only()
    assert (trials.averaged, plain.averaged, plain.documents) == (7, 1, 2)
    assert plain.scores.tolist() == [[3, 2]] and plain.holders.tolist() == [1]
    with pytest.raises(DataError, match="0 queries that occur anywhere, 2 documents"):
        replace(trials, holds=np.zeros((2, 2), dtype=bool)).searched_only()


# Against the lists written out


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_the_best_threshold_is_the_one_found_by_trying_all(decimals):
    nowhere = 0
    for seed in range(150):
        trials = random_trials(seed, decimals)
        expected, threshold = naive_mtwv(written_out(trials), trials.beta)
        assert mtwv(trials) == (pytest.approx(expected, abs=1e-12), threshold), seed
        assert twv(trials, threshold) == pytest.approx(expected, abs=1e-12)
        nowhere += threshold is None
    assert 10 < nowhere < 140, "one of the two cases is hardly tried"


@pytest.mark.parametrize("seed", range(30))
def test_the_curve_is_that_of_every_score(seed):
    trials = random_trials(seed)
    rows = written_out(trials)
    found = curve(trials)
    assert found.thresholds.tolist() == all_scores(rows)
    rates = np.array([naive_rates(rows, threshold) for threshold in found.thresholds])
    assert found.p_miss == pytest.approx(rates[:, 0], abs=1e-12)
    assert found.p_fa == pytest.approx(rates[:, 1], abs=1e-12)
    each = [twv(trials, threshold) for threshold in found.thresholds]
    assert found.twv == pytest.approx(each, abs=1e-12)
    assert found.twv == pytest.approx(1 - rates[:, 0] - trials.beta * rates[:, 1], abs=1e-12)


def test_a_curve_of_few_points_has_its_ends_and_the_best_of_all():
    trials = replace(random_trials(2, decimals=6, queries=40), beta=0.5)
    whole, few = curve(trials), curve(trials, points=5)
    value, threshold = mtwv(trials)
    assert len(whole.thresholds) > 100 and len(few.thresholds) in (5, 6)
    assert few.thresholds[[0, -1]].tolist() == whole.thresholds[[0, -1]].tolist()
    assert np.all(np.diff(few.thresholds) < 0)
    assert few.twv.max() == pytest.approx(value) and few.thresholds[np.argmax(few.twv)] == threshold


# Intervals


def naive_interval(trials, thresholds):
    """Of the best of some thresholds, when the rows of the lists are drawn one by one."""
    rows, random = written_out(trials), np.random.default_rng(99)
    worth = np.array([[naive_twv([row], threshold, trials.beta) for threshold in thresholds] for row in rows])
    drawn = [worth[random.integers(len(rows), size=len(rows))] for _ in range(2000)]
    return np.percentile([one.mean(axis=0).max() for one in drawn], [2.5, 97.5])


@pytest.mark.parametrize("others", [0, 9])
def test_intervals_are_as_wide_as_those_of_lists_written_out(others):
    trials = replace(random_trials(4, queries=9, others=others), beta=2.0, default=-10.0)
    for score, thresholds in (
        (mtwv_score("mtwv", trials, 1), [np.inf, *all_scores(written_out(trials))]),
        (twv_score("twv", trials, 0.5, 1), [0.5]),
    ):
        low, high = naive_interval(trials, thresholds)
        assert score.ci95 == pytest.approx((low, high), abs=0.1 * (high - low))
        assert low < score.value < high


def test_scores_say_all_that_is_needed_to_read_them():
    trials = replace(random_trials(4, queries=9, others=5), beta=2.0)
    score = mtwv_score("mtwv", trials, 3)
    assert (score.metric, score.unit, score.direction, score.n) == ("mtwv", "", "higher", 14)
    assert score.value == mtwv(trials)[0] and score.resampled == "queries"
    assert score == mtwv_score("mtwv", trials, 3) and score.ci95 != mtwv_score("mtwv", trials, 4).ci95
    at = twv_score("mtwv_dev", trials, 0.5, 3)
    assert (at.metric, at.value, at.n) == ("mtwv_dev", twv(trials, 0.5), 14)
    nothing = twv_score("mtwv_dev", trials, None, 3)
    assert (nothing.value, nothing.ci95) == (0.0, (0.0, 0.0))


def test_the_more_queries_the_narrower():
    few, many = (searched(*many_queries(count)) for count in (20, 500))
    widths = [np.diff(mtwv_score("mtwv", trials, 0).ci95)[0] for trials in (few, many)]
    assert 0 < widths[1] < widths[0] / 3  # by the root of 25, 5 times


def many_queries(count):
    random = np.random.default_rng(8)
    holds = np.arange(20) < random.integers(1, 9, size=(count, 1))
    return np.round(random.normal(size=holds.shape) + 3 * holds, 4), holds


def test_resamples_of_queries_that_were_not_searched_are_worth_nothing():
    # One query of 1000 was searched, and found: 37 % of the resamples do not have it, 1.9 % have it 4 times or more.
    trials = searched([[9, 1]], [[1, 0]], others=999)
    score = mtwv_score("mtwv", trials, 0)
    assert (score.value, score.ci95) == (0.001, (0.0, 0.003))


@pytest.mark.parametrize("block", [1, 50])
def test_little_memory_gives_the_same_interval(monkeypatch, block):
    trials = random_trials(4, queries=9)
    expected = mtwv_score("mtwv", trials, 1)
    monkeypatch.setattr(spoken_terms, "_BLOCK", block)
    score = mtwv_score("mtwv", trials, 1)
    assert score.ci95 == pytest.approx(expected.ci95, abs=1e-12)


# What is no list of trials


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(DataError, match=r"2 of 4 trials.*first is query 1 in document 2\b"):
        searched([[1, np.nan], [np.inf, 0]], np.eye(2))


def test_a_list_without_queries_is_refused():
    with pytest.raises(DataError, match="nothing to score: 0 queries that occur anywhere, 7 documents"):
        searched(np.zeros((0, 7)), np.zeros((0, 7)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"holders": np.ones(3, dtype=int)},
        {"holders": np.array([1, 0])},
        {"holders": np.array([0, 1]), "holds": np.zeros((2, 2), dtype=bool)},
        {"holders": np.array([1, 5])},
        {"documents": 1},
        {"others": -1},
        {"beta": -1.0},
        {"holds": np.eye(3, dtype=bool)},
    ],
)
def test_counts_that_cannot_be_are_refused(wrong):
    right = searched([[1, 0], [0, 1]], np.eye(2), documents=5)
    with pytest.raises(ValueError):
        replace(right, **wrong)


def test_the_figures_need_neither_torch_nor_scipy():
    code = "import sys, downstream.metrics.cross_entropy; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
