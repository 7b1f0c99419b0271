"""Speaker verification: scores of trials (are these two recordings of the same speaker?), and how well they decide it.

A trial is accepted when its score reaches a threshold. Trials of equal scores are accepted together.
"""

from collections.abc import Callable, Sequence

import numpy as np

from downstream.metrics.bootstrap import RESAMPLES
from downstream.metrics.score import Score
from upstream.errors import DataError, UsageError

PRIOR, C_MISS, C_FALSE = 0.01, 1.0, 1.0  # of the same speaker, and what each kind of error costs
_BLOCK = 1 << 22  # numbers held at a time, so that memory stays bounded
_TINY = 1e-12

Figure = Callable[[np.ndarray, np.ndarray], float]  # from the shares of hits and of false alarms, threshold falling


def cosine_scores(embeddings: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The cosine between the embeddings (rows) that each trial names. A row of zeros has 0 with all."""
    norms = np.maximum(np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings)), _TINY)  # without a copy of them all
    scores = np.empty(len(first))
    step = max(1, _BLOCK // embeddings.shape[1])
    for start in range(0, len(first), step):
        a, b = first[start : start + step], second[start : start + step]
        products = np.einsum("ij,ij->i", embeddings[a], embeddings[b])
        scores[start : start + step] = products / (norms[a] * norms[b])
    return scores


def s_normed(
    scores: np.ndarray, embeddings: np.ndarray, first: np.ndarray, second: np.ndarray, cohort: np.ndarray, top: int
) -> np.ndarray:
    """Adaptive s-norm: a score counts by how far it is above those with other speakers, the mean of both sides' views.

    What a side is compared with are the `top` embeddings of the cohort that are most like it.
    """
    if not 2 <= top <= len(cohort):
        raise UsageError(f"s-norm with the top {top} of a cohort of {len(cohort)}: choose from 2 to {len(cohort)}.")
    means, deviations = _cohort_statistics(embeddings, cohort, top)
    if not np.all(deviations > 0):
        raise DataError(
            f"s-norm: the top {top} of the cohort are all equally like embedding {int(np.argmin(deviations > 0))}. "
            "Take a larger cohort of different speakers."
        )
    return sum((scores - means[side]) / deviations[side] for side in (first, second)) / 2


def _cohort_statistics(embeddings: np.ndarray, cohort: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the `top` cosines of each embedding with the cohort."""
    cohort = _unit_length(cohort).T
    means, deviations = np.empty(len(embeddings)), np.empty(len(embeddings))
    step = max(1, _BLOCK // max(cohort.shape))
    for start in range(0, len(embeddings), step):
        cosines = _unit_length(embeddings[start : start + step]) @ cohort
        nearest = np.partition(cosines, -top, axis=1)[:, -top:].astype(float)
        means[start : start + step] = nearest.mean(axis=1)
        deviations[start : start + step] = nearest.std(axis=1)
    return means, deviations


def _unit_length(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)


def eer(same: np.ndarray, scores: np.ndarray) -> float:
    """Percentage of errors where misses and false alarms are equally frequent, on straight lines between thresholds."""
    return 100 * _Sorted(same, scores).figure(_equal_error)


def min_dcf(
    same: np.ndarray, scores: np.ndarray, prior: float = PRIOR, c_miss: float = C_MISS, c_false: float = C_FALSE
) -> float:
    """The least mean cost of a trial over all thresholds; 1 is that of the better of accepting all and none."""
    return _Sorted(same, scores).figure(_least_cost(prior, c_miss, c_false))


def eer_score(
    metric: str,
    same: np.ndarray,
    scores: np.ndarray,
    speakers_first: Sequence[str | None],
    speakers_second: Sequence[str | None],
    seed: int,
) -> Score:
    """The EER with its interval: over speakers where all are known, else over trials."""
    return _score(metric, "%", 100, _equal_error, _Sorted(same, scores), speakers_first, speakers_second, seed)


def dcf_score(
    metric: str,
    same: np.ndarray,
    scores: np.ndarray,
    speakers_first: Sequence[str | None],
    speakers_second: Sequence[str | None],
    seed: int,
) -> Score:
    """As eer_score, of the least cost."""
    cost = _least_cost(PRIOR, C_MISS, C_FALSE)
    return _score(metric, "", 1, cost, _Sorted(same, scores), speakers_first, speakers_second, seed)


def _equal_error(hits: np.ndarray, false_alarms: np.ndarray) -> float:
    """The false alarms where the curve first has as many misses."""
    together = hits + false_alarms
    after = int(np.searchsorted(together, 1))
    before = after - 1
    share = (1 - together[before]) / (together[after] - together[before])
    return float(false_alarms[before] + share * (false_alarms[after] - false_alarms[before]))


def _least_cost(prior: float, c_miss: float, c_false: float) -> Figure:
    of_misses, of_false_alarms = c_miss * prior, c_false * (1 - prior)

    def figure(hits: np.ndarray, false_alarms: np.ndarray) -> float:
        least = np.min(of_misses * (1 - hits) + of_false_alarms * false_alarms)
        return float(least / min(of_misses, of_false_alarms))

    return figure


class _Sorted:
    """Trials in the order in which a falling threshold accepts them. They are sorted once, however often resampled."""

    def __init__(self, same: np.ndarray, scores: np.ndarray) -> None:
        same, scores = np.asarray(same, dtype=bool), np.asarray(scores, dtype=float)
        _refuse_unusable(same, scores)
        self.order = np.argsort(-scores, kind="stable")
        self._same = same[self.order]
        falling = scores[self.order]
        # Acceptance jumps from the start of one run of equal scores to the start of the next.
        self._jumps = np.concatenate([[0], np.flatnonzero(np.diff(falling)) + 1, [len(scores)]])
        self._once = np.ones(len(scores), dtype=np.int64)

    def figure(self, figure: Figure) -> float:
        return self.weighted(figure, self._once)

    def weighted(self, figure: Figure, weights: np.ndarray) -> float | None:
        """With so many copies of each trial, in sorted order. None where a class has none left."""
        accepted = np.concatenate([[0], np.cumsum(weights)])[self._jumps]
        hits = np.concatenate([[0], np.cumsum(weights * self._same)])[self._jumps]
        false_alarms = accepted - hits
        if not hits[-1] or not false_alarms[-1]:
            return None
        return figure(hits / hits[-1], false_alarms / false_alarms[-1])


def _refuse_unusable(same: np.ndarray, scores: np.ndarray) -> None:
    if not 0 < np.sum(same) < len(same):
        of = "the same speaker" if np.sum(same) else "different speakers"
        what = f"all {len(same)} trials are of {of}" if len(same) else "there are no trials"
        raise DataError(f"nothing to decide: {what}. A trial list needs trials of both kinds.")
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise DataError(
            f"the scores of {len(wrong)} of {len(scores)} trials are not finite numbers; the first is trial "
            f"{wrong[0] + 1} ({scores[wrong[0]]}). Look for NaN in the embeddings of its two files."
        )


def _score(
    metric: str,
    unit: str,
    scale: int,
    figure: Figure,
    trials: _Sorted,
    speakers_first: Sequence[str | None],
    speakers_second: Sequence[str | None],
    seed: int,
) -> Score:
    known = None not in speakers_first and None not in speakers_second
    draw = _speaker_draws(speakers_first, speakers_second, trials.order) if known else _trial_draws(len(trials.order))
    random, estimates = np.random.default_rng(seed), []
    while len(estimates) < RESAMPLES:
        estimate = trials.weighted(figure, draw(random))
        if estimate is not None:  # else it lacks a class and says nothing: drawn again, as one in ten is used at worst
            estimates.append(estimate)
    low, high = np.percentile(estimates, [2.5, 97.5])
    return Score(
        metric=metric,
        value=scale * trials.figure(figure),
        unit=unit,
        direction="lower",
        n=len(trials.order),
        ci95=(float(scale * low), float(scale * high)),
        resampled="speakers" if known else "trials",
    )


def _speaker_draws(
    speakers_first: Sequence[str], speakers_second: Sequence[str], order: np.ndarray
) -> Callable[[np.random.Generator], np.ndarray]:
    """Copies of the trials, in the order given, when speakers are drawn with replacement.

    Of two speakers there is a trial for each pair of their copies, of one speaker a trial for each copy.
    """
    names: dict[str, int] = {}
    first, second = (
        np.array([names.setdefault(name, len(names)) for name in side])[order]
        for side in (speakers_first, speakers_second)
    )
    count = len(names)
    second[first == second] = count  # a place that always holds 1

    def draw(random: np.random.Generator) -> np.ndarray:
        copies = np.append(_copies(random, count), 1)
        return copies[first] * copies[second]

    return draw


def _trial_draws(count: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda random: _copies(random, count)


def _copies(random: np.random.Generator, count: int) -> np.ndarray:
    return np.bincount(random.integers(count, size=count), minlength=count)
