"""95 % intervals by resampling what is independent: speakers where they are known, else utterances or trials."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 1000
_BLOCK = 1 << 24  # resampled counts held at a time, so that memory stays bounded


def ratio_interval(
    values: np.ndarray, weights: np.ndarray, groups: Sequence[str | int | None], seed: int
) -> tuple[float, float]:
    """Percentile interval of sum(weights x values) / sum(weights) when whole groups are drawn with replacement.

    A None among the groups stands for a unit of its own.
    """
    units: dict[object, int] = {}
    unit = np.array([units.setdefault((i,) if g is None else g, len(units)) for i, g in enumerate(groups)])
    above = np.bincount(unit, weights=weights * values)
    below = np.bincount(unit, weights=weights)
    random, count = np.random.default_rng(seed), len(units)
    estimates = []
    rows = max(1, _BLOCK // count)
    for first in range(0, RESAMPLES, rows):
        drawn = random.multinomial(count, np.full(count, 1 / count), size=min(rows, RESAMPLES - first))
        estimates.append((drawn @ above) / (drawn @ below))
    low, high = np.percentile(np.concatenate(estimates), [2.5, 97.5])
    return float(low), float(high)
