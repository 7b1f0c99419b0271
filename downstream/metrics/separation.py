"""SI-SDR: how loud a separated or cleaned wave holds its source, next to all else that it holds, in dB.

As SUPERB counts, no mean is taken off, and an utterance's figure is the mean of its sources' SI-SDR less that of the
mixture: SI-SDRi. Which estimate belongs to which source is what gives the highest mean SI-SDR. SUPERB (asteroid 0.4.4)
takes the pairs with the highest mean SIR of BSS-Eval instead, which lets a filter of 512 taps stand between source and
estimate. The two part only where there is hardly any separation, and then ours is the higher: bench/si_sdr.py counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from downstream.metrics.bootstrap import ratio_interval, what_is_drawn
from downstream.metrics.score import Score
from upstream.errors import DataError

LIMIT = 80.0  # dB; s3prl's own loss has its -80 for silence, and a mean has to stay finite

_LIMIT_RATIO = 10 ** (-LIMIT / 10)


@dataclass(frozen=True)
class Improvement:
    """Of one utterance: mean SI-SDR of its sources after and before, and the estimate that belongs to each source."""

    si_sdr: float
    si_sdr_input: float
    permutation: tuple[int, ...]
    silent_estimates: int  # of nothing but zeros; each counts as -80 dB

    @property
    def gain(self) -> float:
        """SI-SDRi in dB."""
        return self.si_sdr - self.si_sdr_input


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float | None:
    """In dB, kept within -80 and 80; None where the reference is silent and there is nothing to look for.

    A silent estimate is -80: left out, it would be better to stay silent than to separate badly.
    """
    _refuse_lengths({"reference": reference, "estimate": estimate})
    value = _decibels([reference], [estimate])[0, 0]
    return None if np.isnan(value) else float(value)


def best_assignment(references: np.ndarray, estimates: np.ndarray) -> tuple[int, ...]:
    """Of (sources, samples) each: the estimate that belongs to each source, for the highest mean SI-SDR.

    The first of equals is taken, and a silent source has no say.
    """
    _refuse_misfits(references, estimates)
    return _best(np.nan_to_num(_decibels(references, estimates)))


def si_sdr_improvement(references: np.ndarray, estimates: np.ndarray, mixture: np.ndarray) -> Improvement | None:
    """SI-SDR of the estimates (sources, samples) and of the mixture (samples,); None where a source is silent."""
    _refuse_misfits(references, estimates, mixture)
    decibels = _decibels(references, [*estimates, mixture])
    if np.isnan(decibels).any():
        return None
    permutation = _best(decibels[:, :-1])
    return Improvement(
        si_sdr=_mean_of(decibels, permutation),
        si_sdr_input=float(decibels[:, -1].mean()),
        permutation=permutation,
        silent_estimates=sum(not estimate.any() for estimate in estimates),
    )


def improvement_score(
    values: Sequence[float | None], groups: Sequence[str | int | None], seed: int
) -> tuple[Score, int]:
    """SI-SDRi, and of how many utterances it is undefined."""
    return mean_score("si_sdri", values, "dB", groups, seed)


def mean_score(
    metric: str, values: Sequence[float | None], unit: str, groups: Sequence[str | int | None], seed: int
) -> tuple[Score, int]:
    """Mean over the utterances that have a value, with its interval over the groups, and how many have none.

    Higher is better.
    """
    defined = [(value, group) for value, group in zip(values, groups, strict=True) if value is not None]
    if not defined:
        raise DataError(
            f"{metric} is undefined for all {len(values)} utterances: in each a reference is silent or too short. "
            "Listen to the files of the split that is scored."
        )
    numbers, units = np.array([value for value, _ in defined], dtype=np.float64), [group for _, group in defined]
    score = Score(
        metric=metric,
        value=float(numbers.mean()),
        unit=unit,
        direction="higher",
        n=len(numbers),
        ci95=ratio_interval(numbers, np.ones(len(numbers)), units, seed),
        resampled=what_is_drawn(units),
    )
    return score, len(values) - len(defined)


def _refuse_misfits(references: np.ndarray, estimates: np.ndarray, mixture: np.ndarray | None = None) -> None:
    if len(references) != len(estimates) or not len(references):
        raise DataError(f"there are {len(references)} sources and {len(estimates)} estimates. Give one for each.")
    named = {f"source {i + 1}": wave for i, wave in enumerate(references)}
    named |= {f"estimate {i + 1}": wave for i, wave in enumerate(estimates)}
    if mixture is not None:
        named["mixture"] = mixture
    _refuse_lengths(named)


def _refuse_lengths(waves: dict[str, np.ndarray]) -> None:
    if len({len(wave) for wave in waves.values()}) > 1:
        lengths = ", ".join(f"{name} {len(wave)}" for name, wave in waves.items())
        raise DataError(f"the waves differ in length (samples): {lengths}. Cut or pad them before they are compared.")


def _decibels(references: Sequence[np.ndarray], waves: Sequence[np.ndarray]) -> np.ndarray:
    """(references, waves) SI-SDR; NaN of a silent reference. A silent wave holds nothing of anything.

    With a = <r, w> / <r, r>, |a r|^2 is <r, w>^2 / <r, r>, and |w - a r|^2 what of |w|^2 is left: products are enough.
    """
    references = [np.asarray(reference, np.float64) for reference in references]
    waves = [np.asarray(wave, np.float64) for wave in waves]
    common = np.array([[reference @ wave for wave in waves] for reference in references])
    reference_power = np.array([[reference @ reference] for reference in references])
    power = np.array([wave @ wave for wave in waves])
    if not (np.isfinite(common).all() and np.isfinite(reference_power).all() and np.isfinite(power).all()):
        raise DataError("a wave that is to be compared holds NaN or infinite samples. Look at what made it.")
    with np.errstate(divide="ignore", invalid="ignore"):
        source = common**2 / reference_power
        rest = np.maximum(power - source, 0)
        decibels = 10 * np.log10(np.maximum(source, _LIMIT_RATIO * rest) / np.maximum(rest, _LIMIT_RATIO * source))
    decibels[:, power == 0] = -LIMIT
    decibels[reference_power[:, 0] == 0] = np.nan
    return decibels


def _best(decibels: np.ndarray) -> tuple[int, ...]:
    return max(permutations(range(len(decibels))), key=lambda order: _mean_of(decibels, order))


def _mean_of(decibels: np.ndarray, permutation: Sequence[int]) -> float:
    return float(decibels[np.arange(len(decibels)), permutation].mean())
