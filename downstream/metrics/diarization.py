"""DER: how much of the speakers' time is missed, made up or given to another speaker, as SUPERB scores it.

That is NIST's md-eval 22 without a collar and with overlapping speech, over all that either side calls speech: from the
first start to the last stop of reference and hypothesis, beyond which nothing can be wrong. Of one speaker, turns that
overlap are one turn. Every speaker of the hypothesis stands for at most one of the reference and the other way round,
file by file, in the way that gives them the most time in common; which of several such ways is taken makes no
difference. Two differences remain, neither of which SUPERB's files can show: md-eval leaves out recordings whose
reference has no turn, and here what a hypothesis says in them is false alarm; dscore, which SUPERB calls, rounds times
to a millisecond before md-eval sees them, and here it is a microsecond.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from downstream.metrics.activity import refuse_no_probabilities, spans
from downstream.metrics.bootstrap import ratio_interval
from downstream.metrics.score import Score
from downstream.metrics.turns import Spans, Turn, as_spans
from upstream.errors import DataError

Setting = tuple[int, float]  # median filter in frames, threshold

_TICKS = 1_000_000  # a second: in whole ticks sums are exact, and 0.42 + 3.16 is the same moment as 3.58


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one recording, in seconds of speakers' time; `total` is that of the reference."""

    miss: float
    false_alarm: float
    confusion: float
    total: float

    @property
    def wrong(self) -> float:
        return self.miss + self.false_alarm + self.confusion


def error(reference: Sequence[Turn], hypothesis: Sequence[Turn]) -> Errors:
    """What is wrong in one recording. The names of the hypothesis' speakers mean nothing."""
    return _compare(as_spans(reference), as_spans(hypothesis))


def errors(
    reference: Mapping[str, Sequence[Turn]], hypothesis: Mapping[str, Sequence[Turn]]
) -> tuple[list[Errors], int]:
    """Of each recording of the reference, in its order; and how many of them the hypothesis does not have.

    Those are scored as silence: an RTTM file has no way to say that nobody speaks but to say nothing.
    """
    absent = _absent(reference, hypothesis)
    return [error(turns, hypothesis.get(name, ())) for name, turns in reference.items()], absent


def sweep(
    posteriors: Mapping[str, np.ndarray],
    reference: Mapping[str, Sequence[Turn]],
    settings: Sequence[Setting],
    hop: int,
) -> tuple[dict[Setting, list[Errors]], int]:
    """As errors(), for each setting of what makes turns of (frames, speakers) probabilities, `hop` samples a frame."""
    absent = _absent(reference, posteriors)
    found: dict[Setting, list[Errors]] = {setting: [] for setting in settings}
    silence = np.zeros((0, 1), dtype=np.float32)
    for name, turns in reference.items():
        probabilities, truth = posteriors.get(name, silence), as_spans(turns)
        refuse_no_probabilities(f"the posteriors of recording {name}", probabilities)
        for (median, threshold), each in found.items():
            each.append(_compare(truth, spans(probabilities, threshold, median, hop)))
    return found, absent


def der(errors: Sequence[Errors]) -> float:
    """In percent, of all recordings together; above 100 where false alarms abound."""
    return 100 * sum(one.wrong for one in errors) / _total(errors)


def parts(errors: Sequence[Errors]) -> dict[str, float]:
    """What the DER is made of, in percent of the references' time."""
    total = _total(errors)
    return {
        name: 100 * sum(getattr(one, name) for one in errors) / total for name in ("miss", "false_alarm", "confusion")
    }


def der_score(errors: Sequence[Errors], seed: int) -> Score:
    """DER with its interval over recordings: of the two speakers of a mixture neither is a unit to draw."""
    value = der(errors)
    wrong, total = np.array([one.wrong for one in errors]), np.array([one.total for one in errors])
    low, high = ratio_interval(wrong, total, [None] * len(errors), seed)
    return Score(
        metric="der",
        value=value,
        unit="%",
        direction="lower",
        n=len(errors),
        ci95=(100 * low, 100 * high),
        resampled="recordings",
    )


def _total(errors: Sequence[Errors]) -> float:
    total = sum(one.total for one in errors)
    if not total > 0:
        raise DataError(
            f"nothing to score: nobody speaks in the references of all {len(errors)} recordings. "
            "Look at the reference RTTM of the split that is scored."
        )
    return total


def _absent(reference: Mapping[str, object], hypothesis: Mapping[str, object]) -> int:
    unknown = [name for name in hypothesis if name not in reference]
    if unknown:
        raise DataError(
            f"the reference does not have {len(unknown)} of the {len(hypothesis)} recordings of the hypothesis: "
            f"{', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}. "
            "Give the reference of the same split, with the same names."
        )
    return len(reference) - len(hypothesis)


def _compare(reference: Spans, hypothesis: Spans) -> Errors:
    """Between two neighbours among all starts and stops nothing changes: there it is enough to count speakers."""
    bounds = [_ticks(side) for side in (reference, hypothesis)]
    moments = np.unique(np.concatenate([bound for pair in bounds for bound in pair]))
    lengths = np.diff(moments)
    truth, guess = (
        _speaking(side.speaker, np.searchsorted(moments, start), np.searchsorted(moments, stop), len(moments))
        for side, (start, stop) in zip((reference, hypothesis), bounds, strict=True)
    )
    speakers, guessed = truth.sum(axis=0), guess.sum(axis=0)
    total, both = int(lengths @ speakers), int(lengths @ np.minimum(speakers, guessed))
    together = most_in_common(((truth * lengths) @ guess.T).tolist())
    in_ticks = (total - both, int(lengths @ guessed) - both, both - together, total)
    return Errors(*(ticks / _TICKS for ticks in in_ticks))


def _ticks(spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    durations = spans.stop - spans.start
    if not (np.isfinite(durations) & (durations > 0)).all():
        raise DataError("a turn that is to be scored has no duration, a negative one, or NaN. Look at what made it.")
    return tuple(np.rint(_TICKS * times).astype(np.int64) for times in (spans.start, spans.stop))


def _speaking(speaker: np.ndarray, start: np.ndarray, stop: np.ndarray, moments: int) -> np.ndarray:
    """(speakers, stretches between moments): 1 where a speaker has a turn or several, else 0."""
    speakers = int(speaker.max(initial=-1)) + 1
    starts, stops = (np.bincount(speaker * moments + moment, minlength=speakers * moments) for moment in (start, stop))
    open_turns = (starts - stops).reshape(speakers, moments).cumsum(axis=1)
    return (open_turns[:, :-1] > 0).astype(np.int64)


def most_in_common(common: Sequence[Sequence[int]]) -> int:
    """The most that pairs of a row and a column have in common, all pairs together, each row and column used once.

    Rows come one after the other and take the column where the least is lost, and the row that had it looks for the
    next best, until one finds a free column. Prices keep track of what each row and column is worth so far, so that
    three loops over the speakers do it and not all their permutations (Kuhn and Munkres).
    """
    if len(common) > len(common[0] if common else ()):
        common = list(zip(*common, strict=True))
    if not common:
        return 0
    row_price, column_price = [max(row) for row in common], [0] * len(common[0])
    taken_by: dict[int, int] = {}
    for newcomer in range(len(common)):
        lost, came_from, column = _cheapest_way(common, newcomer, taken_by, row_price, column_price)
        row_price[newcomer] -= lost[column]
        for passed in lost.keys() & taken_by.keys():
            column_price[passed] += lost[column] - lost[passed]
            row_price[taken_by[passed]] -= lost[column] - lost[passed]
        while column is not None:
            before = came_from[column]
            taken_by[column] = newcomer if before is None else taken_by[before]
            column = before
    return sum(common[row][column] for column, row in taken_by.items())


def _cheapest_way(
    common: Sequence[Sequence[int]],
    newcomer: int,
    taken_by: Mapping[int, int],
    row_price: Sequence[int],
    column_price: Sequence[int],
) -> tuple[dict[int, int], dict[int, int | None], int]:
    """From a row to a free column: what is lost up to each column passed, the column before each, and the free one."""
    nearest: dict[int, int] = {}
    came_from: dict[int, int | None] = {}
    lost: dict[int, int] = {}
    row, column, so_far = newcomer, None, 0
    while True:
        for other, price in enumerate(column_price):
            loss = so_far + row_price[row] + price - common[row][other]
            if other not in lost and loss < nearest.get(other, loss + 1):
                nearest[other], came_from[other] = loss, column
        column = min(nearest, key=nearest.__getitem__)
        so_far = lost[column] = nearest.pop(column)
        if column not in taken_by:
            return lost, came_from, column
        row = taken_by[column]
