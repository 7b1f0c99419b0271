"""SI-SDR against s3prl's loss (asteroid's formula) and BSS-Eval with a filter of one tap; pairs against mir_eval's."""

import subprocess
import sys
import warnings
from itertools import permutations
from types import ModuleType

import numpy as np
import pytest
import torch
from mir_eval import separation as bss_eval
from oracles import import_s3prl

from downstream.metrics.separation import (
    LIMIT,
    best_assignment,
    improvement_score,
    mean_score,
    si_sdr,
    si_sdr_improvement,
)
from upstream.errors import DataError


@pytest.fixture(scope="module")
def superb():
    """s3prl's pairwise SI-SDR of (sources, samples): what estimate i holds of source j."""
    with pytest.MonkeyPatch.context() as patch:
        losses = ModuleType("asteroid.losses")
        losses.PITLossWrapper = None  # only the loss that tries the permutations wants it
        patch.setitem(sys.modules, "asteroid", ModuleType("asteroid"))
        patch.setitem(sys.modules, "asteroid.losses", losses)
        module = import_s3prl("s3prl.downstream.separation_stft.loss")

    def pairwise(references, estimates, zero_mean=False, eps=0.0):
        waves = [torch.from_numpy(np.asarray(side, np.float64))[None] for side in (estimates, references)]
        length = torch.tensor([references.shape[1]])
        return -module.PairwiseNegSDR("sisdr", zero_mean=zero_mean, EPS=eps)(*waves, length)[0].numpy()

    return pairwise


def sources(seed, count=2, samples=4000):
    """Waves that swell and fade, of different colours and with a mean that is not zero."""
    rng = np.random.default_rng(seed)
    swell = np.repeat(rng.random((count, samples // 400)) ** 3, 400, axis=1)
    white = rng.standard_normal((count, samples + 1))
    white = white[:, 1:] + rng.uniform(-0.9, 0.9, (count, 1)) * white[:, :-1]
    return (0.1 * swell * white + rng.uniform(-0.05, 0.05, (count, 1))).astype(np.float32)


def leaky(references, seed, leak):
    """Every source with so much of all, at its own level and in another order, and a little noise."""
    rng = np.random.default_rng(seed)
    noise = 0.005 * rng.standard_normal(references.shape)
    estimates = (1 - leak) * references + leak * references.sum(axis=0) + noise
    order = rng.permutation(len(references))
    return (estimates * rng.uniform(0.1, 3, (len(references), 1)))[order].astype(np.float32), order


def one_tap(references, estimate, number):
    """BSS-Eval's SDR when its filter has one tap: what SI-SDR was made of."""
    parts = bss_eval._bss_decomp_mtifilt(references.astype(np.float64), estimate.astype(np.float64), number, 1)
    return bss_eval._bss_source_crit(*parts)[0]


# SI-SDR


@pytest.mark.parametrize("leak", [0.0, 0.1, 0.5, 1.0])
def test_it_is_that_of_s3prl_and_of_bss_eval_with_one_tap(superb, leak):
    for seed in range(12):
        references = sources(seed)
        estimates, _ = leaky(references, seed, leak)
        theirs = superb(references, estimates)
        for j, reference in enumerate(references):
            for i, estimate in enumerate(estimates):
                ours = si_sdr(reference, estimate)
                assert ours == pytest.approx(theirs[i, j], abs=1e-8)
                assert ours == pytest.approx(one_tap(references, estimate, j), abs=1e-8)


def test_the_mean_stays_in(superb):
    references = sources(0, 1)
    estimate = references + np.float32(0.1)
    assert si_sdr(references[0], estimate[0]) == pytest.approx(superb(references, estimate)[0, 0], abs=1e-8)
    assert si_sdr(references[0], estimate[0]) < superb(references, estimate, zero_mean=True)[0, 0] - 10


def test_level_and_sign_of_the_estimate_do_not_matter():
    reference = sources(0, 1)[0]
    estimate = reference + 0.1 * sources(1, 1)[0]
    expected = si_sdr(reference, estimate)
    for factor in (-1, 2**-20, 1024):
        assert si_sdr(reference, factor * estimate) == pytest.approx(expected, abs=1e-9)
    assert si_sdr(4 * reference, estimate) == pytest.approx(expected, abs=1e-9)


def test_it_is_right_up_to_the_limit_and_stays_within():
    """The noise is at right angles to the source, so that its level is the answer."""
    reference, noise = np.zeros(4000), np.zeros(4000)
    reference[::2], noise[1::2] = 1, 1
    for decibels, digits in ((-79.9, 9), (-60, 9), (0, 9), (60, 7), (79.9, 5)):  # what is left over is a difference
        found = si_sdr(reference, reference + noise * 10 ** (-decibels / 20))
        assert found == pytest.approx(decibels, abs=10.0**-digits)
    for decibels in (-200, -81):
        assert si_sdr(reference, reference + noise * 10 ** (-decibels / 20)) == pytest.approx(-LIMIT)
    assert si_sdr(reference, noise) == -LIMIT
    assert si_sdr(reference, reference + 1e-5 * noise) == pytest.approx(LIMIT)
    assert si_sdr(sources(0)[0], sources(0)[0]) == pytest.approx(LIMIT)


def test_silence(superb):
    references = sources(0)
    assert si_sdr(np.zeros(4000), references[0]) is None
    assert si_sdr(np.zeros(4000), np.zeros(4000)) is None
    assert si_sdr(np.zeros(0), np.zeros(0)) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert si_sdr(references[0], np.zeros(4000)) == -LIMIT
    assert superb(references, np.zeros((2, 4000)), eps=1e-8) == pytest.approx(-LIMIT)  # as it is in training


def test_waves_that_cannot_be_compared_are_refused():
    with pytest.raises(DataError, match="reference 5, estimate 4"):
        si_sdr(np.ones(5), np.ones(4))
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError, match="NaN or infinite"):
            si_sdr(np.ones(3), np.array([1, bad, 1]))


# Which estimate belongs to which source


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pairs_are_those_of_mir_eval_where_there_is_separation(count):
    for seed in range(6 if count < 3 else 1):
        references = sources(seed, count)
        estimates, order = leaky(references, seed, 0.3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # mir_eval's own, of what it will drop
            theirs = bss_eval.bss_eval_sources(references, estimates)[3]
        assert best_assignment(references, estimates) == tuple(theirs) == tuple(np.argsort(order))


def test_no_other_pairs_have_a_higher_mean():
    for seed in range(20):
        references = sources(seed, 3)
        estimates = sources(seed + 100, 3) + references[np.random.default_rng(seed).integers(3, size=3)]
        found = si_sdr_improvement(references, estimates, references.sum(axis=0))
        means = {
            order: np.mean([si_sdr(references[j], estimates[i]) for j, i in enumerate(order)])
            for order in permutations(range(3))
        }
        assert found.si_sdr == pytest.approx(max(means.values()), abs=1e-9)
        assert means[found.permutation] == pytest.approx(max(means.values()), abs=1e-9)
        assert best_assignment(references, estimates) == found.permutation


def test_a_silent_source_has_no_say():
    references = sources(0, 2)
    references[0] = 0
    assert best_assignment(references, np.stack([references[1], sources(5, 1)[0]])) == (1, 0)
    assert best_assignment(references, np.stack([sources(5, 1)[0], references[1]])) == (0, 1)


# Improvement


def test_the_improvement_is_over_the_mixture(superb):
    for seed in range(10):
        references = sources(seed)
        mixture = references.sum(axis=0)
        estimates, order = leaky(references, seed, 0.2)
        found = si_sdr_improvement(references, estimates, mixture)
        after, before = superb(references, estimates), superb(references, np.stack([mixture, mixture]))
        assert found.permutation == tuple(np.argsort(order))
        assert found.si_sdr == pytest.approx(np.mean(after[found.permutation, [0, 1]]), abs=1e-8)
        assert found.si_sdr_input == pytest.approx(np.mean(before[0]), abs=1e-8)
        assert found.gain == pytest.approx(found.si_sdr - found.si_sdr_input)
        assert found.silent_estimates == 0


def test_the_mixture_itself_improves_nothing_and_one_source_will_do():
    references = sources(0)
    mixture = references.sum(axis=0)
    assert si_sdr_improvement(references, np.stack([mixture, mixture]), mixture).gain == pytest.approx(0, abs=1e-9)
    clean = si_sdr_improvement(references[:1], references[:1], mixture)
    assert (clean.si_sdr, clean.permutation) == (pytest.approx(LIMIT), (0,))


def test_silence_is_undefined_in_a_source_and_counted_in_an_estimate():
    references = sources(0)
    mixture, quiet = references.sum(axis=0), np.zeros((2, 4000))
    assert si_sdr_improvement(np.stack([references[0], quiet[0]]), references, mixture) is None
    one = si_sdr_improvement(references, np.stack([quiet[0], references[0]]), mixture)
    assert (one.silent_estimates, one.permutation) == (1, (1, 0))
    assert one.si_sdr == pytest.approx(0)  # the mean of 80 and -80
    both = si_sdr_improvement(references, quiet, mixture)
    assert (both.silent_estimates, both.si_sdr) == (2, -LIMIT)


def test_what_does_not_fit_together_is_named():
    waves = sources(0)
    with pytest.raises(DataError, match=r"source 1 4000.*estimate 2 3999.*mixture 3998"):
        si_sdr_improvement(waves, waves[:, 1:], waves[0, 2:])
    with pytest.raises(DataError, match="2 sources and 1 estimates"):
        best_assignment(waves, waves[:1])


# Figures


def test_the_figure_is_the_mean_of_what_is_defined():
    values = [1.0, None, 2.0, -6.0, None]
    score, undefined = improvement_score(values, ["a", "b", "a", "c", None], 0)
    assert (score.metric, score.unit, score.direction) == ("si_sdri", "dB", "higher")
    assert (score.value, score.n, undefined, score.resampled) == (-1.0, 3, 2, "speakers")
    assert -6 <= score.ci95[0] < -1 < score.ci95[1] <= 2
    score, undefined = mean_score("stoi", [0.5, 0.7], "", [None, None], 0)
    assert (score.metric, score.unit, score.value, score.n, undefined) == ("stoi", "", pytest.approx(0.6), 2, 0)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    """1.96 standard errors each way, for many utterances that have nothing to do with each other."""
    values = np.random.default_rng(0).normal(10, 3, 3000)
    score, _ = improvement_score(list(values), [None] * len(values), 0)
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert score.ci95 == pytest.approx((values.mean() - error, values.mean() + error), abs=0.1 * error)
    assert improvement_score(list(values), [None] * len(values), 0)[0] == score


def test_nothing_defined_is_an_error():
    with pytest.raises(DataError, match="pesq is undefined for all 2 utterances"):
        mean_score("pesq", [None, None], "", ["a", "b"], 0)


def test_it_does_without_torch_and_scipy():
    program = "import sys, downstream.metrics.separation; print({'torch', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
