"""DER against pyannote.metrics, and where it and NIST's md-eval, which SUPERB scores with, part ways."""

import numpy as np
import pytest
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate
from scipy.optimize import linear_sum_assignment

from downstream.metrics.activity import turns
from downstream.metrics.bootstrap import ratio_interval
from downstream.metrics.diarization import Errors, der, der_score, error, errors, most_in_common, parts, sweep
from downstream.metrics.turns import Turn
from upstream.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:'uem' was approximated")  # to what ours is: of that there is a test

SETTINGS = [(median, threshold) for median in (1, 11) for threshold in (0.3, 0.4, 0.5, 0.6, 0.7)]


def annotation(turns, merged=True):
    made = Annotation()
    for track, turn in enumerate(turns):
        made[Segment(turn.start, turn.stop), track] = turn.speaker
    return made.support() if merged else made


def pyannote(reference, hypothesis, merged=True, uem=None):
    metric = DiarizationErrorRate(collar=0, skip_overlap=False)
    return metric(annotation(reference, merged), annotation(hypothesis, merged), uem=uem, detailed=True)


def as_pyannote(errors):
    return {
        "missed detection": errors.miss,
        "false alarm": errors.false_alarm,
        "confusion": errors.confusion,
        "total": errors.total,
    }


def speech(random, speakers, step):
    """A few turns of each speaker, anywhere in 15 s: silence, overlap, and turns of one speaker that overlap too."""
    made = []
    for speaker in range(speakers):
        for _ in range(random.integers(1, 7)):
            start, frames = random.integers(0, round(12 / step)), random.integers(1, round(3 / step))
            made.append(Turn(f"speaker{speaker}", float(start * step), float(start * step + frames * step)))
    return made


def disturbed(random, reference):
    """The reference with other names, starts and stops moved, turns lost or given to somebody else."""
    names = [f"x{i}" for i in random.permutation(6)]
    made = []
    for turn in reference:
        start, stop = (round(max(0, time + random.normal(0, 0.2)), 2) for time in (turn.start, turn.stop))
        number = int(turn.speaker[-1]) if random.random() < 0.8 else random.integers(6)
        if random.random() < 0.9 and stop > start:
            made.append(Turn(names[number], start, stop))
    return made


def cases(count):
    for seed in range(count):
        random = np.random.default_rng(seed)
        step = (0.02, 0.01, 0.001, 0.0375)[seed % 4]
        reference = speech(random, random.integers(2, 5), step)
        if seed % 25 == 0:
            yield reference, []
        elif seed % 2:
            yield reference, disturbed(random, reference)
        else:
            yield reference, speech(random, random.integers(1, 7), step)


def test_errors_are_those_of_pyannote():
    all_ours, whole = [], DiarizationErrorRate(collar=0, skip_overlap=False)
    seen = np.zeros(4)
    for reference, hypothesis in cases(200):
        ours, theirs = error(reference, hypothesis), pyannote(reference, hypothesis)
        for name, value in as_pyannote(ours).items():
            assert value == pytest.approx(theirs[name], abs=1e-9), name
        assert der([ours]) == pytest.approx(100 * theirs["diarization error rate"], abs=1e-9)
        whole(annotation(reference), annotation(hypothesis))
        all_ours.append(ours)
        seen += [ours.miss > 0, ours.false_alarm > 0, ours.confusion > 0, not hypothesis]
    assert der(all_ours) == pytest.approx(100 * abs(whole), abs=1e-9)
    assert min(seen) >= 8


def test_many_speakers_are_no_more_than_few():
    random = np.random.default_rng(0)
    reference, hypothesis = speech(random, 12, 0.01), speech(random, 14, 0.01)
    ours, theirs = error(reference, hypothesis), pyannote(reference, hypothesis)
    assert ours.confusion == pytest.approx(theirs["confusion"], abs=1e-9) != 0


def test_the_pairs_are_those_of_scipy():
    random = np.random.default_rng(0)
    for _ in range(500):
        common = random.integers(0, random.choice([3, 10, 10**9]), random.integers(0, 9, 2))
        best = common[linear_sum_assignment(common, maximize=True)].sum() if common.size else 0
        assert most_in_common(common.tolist()) == best


@pytest.mark.parametrize(
    ("reference", "hypothesis", "miss", "false_alarm", "confusion"),
    [
        ([("a", 0, 4), ("b", 4, 6)], [("x", 0, 4), ("y", 4, 6)], 0, 0, 0),
        ([("a", 0, 4), ("b", 4, 6)], [("x", 0, 6)], 0, 0, 2),
        ([("a", 0, 4), ("b", 2, 6)], [("x", 0, 6)], 2, 0, 2),  # overlap is scored: one of the two is missed
        ([("a", 0, 4)], [("x", 1, 6)], 1, 2, 0),
        ([("a", 0, 4)], [("x", 0, 2), ("y", 2, 4)], 0, 0, 2),  # one speaker stands for one
        ([("a", 0, 4)], [("x", 0, 4), ("y", 0, 4)], 0, 4, 0),
        ([("a", 0, 3), ("a", 2, 4)], [("x", 0, 4), ("x", 1, 2)], 0, 0, 0),
        ([("a", 0, 2), ("a", 2, 4)], [("x", 0, 4)], 0, 0, 0),
        ([("a", 0, 4)], [], 4, 0, 0),
        ([], [("x", 0, 4)], 0, 4, 0),
        ([], [], 0, 0, 0),
    ],
)
def test_errors_can_be_counted_by_hand(reference, hypothesis, miss, false_alarm, confusion):
    sides = [[Turn(*turn) for turn in side] for side in (reference, hypothesis)]
    found = error(*sides)
    assert (found.miss, found.false_alarm, found.confusion) == (miss, false_alarm, confusion)
    assert found.total == pytest.approx(pyannote(*sides)["total"])


def test_a_perfect_hypothesis_has_no_error_at_all_whatever_its_numbers_went_through():
    reference = [Turn("a", 0.42, 0.42 + 3.16), Turn("b", 0.1 + 0.2, 7.7)]
    assert der([error(reference, [Turn("x", 0.42, 3.58), Turn("y", 0.3, 7.7)])]) == 0.0


def test_the_scored_region_goes_as_far_as_either_side_calls_speech():
    """dscore hands md-eval that region. Left to itself md-eval takes the reference's, in which less is false alarm."""
    reference, hypothesis = [Turn("a", 2, 5)], [Turn("x", 1, 3), Turn("y", 4, 9)]
    ours = as_pyannote(error(reference, hypothesis))
    for uem in (None, Timeline([Segment(1, 9)]), Timeline([Segment(0, 100)])):
        theirs = pyannote(reference, hypothesis, uem=uem)
        assert ours == {name: pytest.approx(theirs[name], abs=1e-9) for name in ours}
    assert ours["false alarm"] == 5
    assert pyannote(reference, hypothesis, uem=Timeline([Segment(2, 5)]))["false alarm"] == 0


def test_overlapping_turns_of_a_speaker_are_one_turn_which_pyannote_leaves_to_its_caller():
    reference, hypothesis = [Turn("a", 0, 3), Turn("a", 2, 4)], [Turn("x", 0, 4)]
    assert error(reference, hypothesis) == Errors(0, 0, 0, 4)
    apart, merged = (pyannote(reference, hypothesis, merged=merged) for merged in (False, True))
    assert (apart["total"], apart["missed detection"]) == (5, 1)
    assert (merged["total"], merged["missed detection"]) == (4, 0)


def test_which_of_equally_good_pairs_is_taken_makes_no_difference():
    reference = [Turn("a", 0, 2), Turn("b", 2, 4)]
    hypothesis = [Turn("x", 0, 1), Turn("y", 1, 2), Turn("x", 2, 3), Turn("y", 3, 4)]
    for first, second in (("x", "y"), ("y", "x")):
        named = [Turn({"x": first, "y": second}[turn.speaker], turn.start, turn.stop) for turn in hypothesis]
        assert error(reference, named) == error(reference[::-1], named[::-1]) == Errors(0, 0, 2, 4)
        assert pyannote(reference, named)["confusion"] == 2


def test_times_finer_than_a_microsecond_are_rounded_which_pyannote_does_not():
    reference, hypothesis = [Turn("a", 0, 1)], [Turn("x", 0, 1 - 4e-7)]
    assert error(reference, hypothesis).miss == 0
    assert error(reference, [Turn("x", 0, 1 - 4e-5)]).miss == pytest.approx(4e-5)  # dscore would call that equal


def test_false_alarms_count_where_nobody_speaks_as_in_pyannote_and_not_in_md_eval():
    found = error([], [Turn("x", 0, 4)])
    assert as_pyannote(found) == {
        name: value for name, value in pyannote([], [Turn("x", 0, 4)]).items() if name in as_pyannote(found)
    }
    assert der([found, Errors(0, 0, 0, 8)]) == 50.0


def recordings(count, seed=0):
    """References, and noisy probabilities that they could have been made from."""
    random = np.random.default_rng(seed)
    reference, posteriors = {}, {}
    for i in range(count):
        frames = int(random.integers(100, 500))
        spoken = np.repeat(random.random((frames // 25 + 1, 2)) > 0.4, 25, axis=0)[:frames]
        logits = np.where(spoken, 2, -2) + 1.5 * random.standard_normal((frames, 2))
        reference[f"rec{i}"] = turns(spoken.astype(np.float32), 0.5, 1, 320)
        posteriors[f"rec{i}"] = (1 / (1 + np.exp(-logits))).astype(np.float32)[:, ::-1]
    return reference, posteriors


def test_the_sweep_is_what_turns_and_errors_give_one_setting_after_the_other():
    reference, posteriors = recordings(20)
    found, absent = sweep(posteriors, reference, SETTINGS, 320)
    assert (list(found), absent) == (SETTINGS, 0)
    for (median, threshold), each in found.items():
        made = {name: turns(values, threshold, median, 320) for name, values in posteriors.items()}
        assert (each, 0) == errors(reference, made)
    rates = [der(each) for each in found.values()]
    assert len(set(rates)) == 10 and min(rates) == der(found[11, 0.5]) < 5


def test_recordings_that_the_hypothesis_lacks_are_missed_and_counted():
    reference, posteriors = recordings(3)
    hypothesis = {"rec2": reference["rec2"]}
    found, absent = errors(reference, hypothesis)
    assert absent == 2
    assert [one.miss == one.total > 0 for one in found] == [True, True, False]
    swept, absent = sweep({"rec2": posteriors["rec2"]}, reference, SETTINGS, 320)
    assert absent == 2
    for each in swept.values():
        assert each[:2] == found[:2] and each[2].miss < each[2].total


def test_recordings_that_the_reference_lacks_are_refused():
    reference, posteriors = recordings(2)
    message = r"does not have 1 of the 3 recordings of the hypothesis: other\. Give the reference of the same split"
    with pytest.raises(DataError, match=message):
        errors(reference, {**reference, "other": []})
    with pytest.raises(DataError, match=message):
        sweep({**posteriors, "other": posteriors["rec0"]}, reference, SETTINGS, 320)


def test_broken_probabilities_are_named():
    reference, posteriors = recordings(2)
    posteriors["rec1"][5] = np.nan
    with pytest.raises(DataError, match="the posteriors of recording rec1: not all are probabilities"):
        sweep(posteriors, reference, SETTINGS, 320)


@pytest.mark.parametrize("stop", [1.0, 0.5, float("nan"), float("inf")])
def test_turns_without_a_duration_are_refused(stop):
    with pytest.raises(DataError, match="has no duration, a negative one, or NaN"):
        error([Turn("a", 0, 2)], [Turn("x", 1.0, stop)])


def test_the_score_says_all_that_is_needed_to_read_it():
    reference, posteriors = recordings(60)
    found = sweep(posteriors, reference, [(11, 0.5)], 320)[0][11, 0.5]
    score = der_score(found, seed=0)
    assert (score.metric, score.unit, score.direction, score.n) == ("der", "%", "lower", 60)
    assert (score.value, score.resampled) == (der(found), "recordings")
    interval = ratio_interval(
        np.array([one.wrong for one in found]), np.array([one.total for one in found]), range(60), 0
    )
    assert score.ci95 == pytest.approx([100 * bound for bound in interval])
    assert score.ci95[0] < score.value < score.ci95[1]
    assert sum(parts(found).values()) == pytest.approx(score.value)
    assert list(parts(found)) == ["miss", "false_alarm", "confusion"]


def test_the_rate_is_that_of_all_recordings_not_their_mean():
    found = [Errors(1, 0, 0, 1), Errors(0, 1, 1, 9)]
    assert der(found) == 30.0
    assert parts(found) == {"miss": 10.0, "false_alarm": 10.0, "confusion": 10.0}


@pytest.mark.parametrize("found", [[], [Errors(0, 3, 0, 0)]])
def test_without_a_reference_there_is_no_rate(found):
    for rate in (der, parts, lambda errors: der_score(errors, 0)):
        with pytest.raises(DataError, match="nobody speaks in the references"):
            rate(found)
