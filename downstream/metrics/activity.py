"""From the probability that each speaker speaks in each frame to turns, as SUPERB goes about it.

First the threshold, then a median filter on what is then 0 or 1, then turns whose start and duration are rounded to
hundredths of a second each, as they are when they are printed as RTTM: where a frame is no whole number of hundredths,
a turn's end can be a hundredth off its rounded end.
"""

from functools import lru_cache

import numpy as np

from downstream.metrics.turns import Spans, Turn, as_turns
from upstream.audio import SAMPLE_RATE
from upstream.errors import DataError, UsageError


def turns(posteriors: np.ndarray, threshold: float, median: int, hop: int) -> list[Turn]:
    """Turns of speakers named 0, 1, ..., from (frames, speakers) probabilities, `hop` samples a frame.

    A speaker speaks where the probability is above the threshold, in most of the `median` frames around (an odd
    number; 1 looks at no others). Beyond the ends nobody speaks. Turns too short for a hundredth of a second, which
    only frames under 5 ms can give, are left out.
    """
    refuse_no_probabilities("posteriors", posteriors)
    return as_turns(spans(posteriors, threshold, median, hop))


def spans(posteriors: np.ndarray, threshold: float, median: int, hop: int) -> Spans:
    """The same as arrays, for many settings of probabilities that have been looked at once."""
    if median < 1 or median % 2 == 0:
        raise UsageError(f"a median filter spans an odd number of frames, not {median}. Give 1 for none, or 11.")
    # float32 is compared in float32, as s3prl's files are: 0.3 is then not above 0.3.
    return _runs(_most_of(posteriors > threshold, median), hop)


def refuse_no_probabilities(name: str, posteriors: np.ndarray) -> None:
    if posteriors.ndim != 2:
        raise DataError(f"{name}: expected (frames, speakers), got the shape {posteriors.shape}.")
    if not ((posteriors >= 0) & (posteriors <= 1)).all():
        raise DataError(
            f"{name}: not all are probabilities from 0 to 1. Look at what made them; logits need a sigmoid."
        )


def _most_of(spoken: np.ndarray, median: int) -> np.ndarray:
    """Median filter of each column, which for yes and no is what most of the frames around say."""
    if median == 1:
        return spoken
    half, frames = median // 2, len(spoken)
    counts = np.zeros((frames + 1, spoken.shape[1]), dtype=np.int64)
    np.cumsum(spoken, axis=0, out=counts[1:])
    frame = np.arange(frames)
    return counts[np.minimum(frame + half + 1, frames)] - counts[np.maximum(frame - half, 0)] > half


def _runs(spoken: np.ndarray, hop: int) -> Spans:
    frames, speakers = spoken.shape
    padded = np.zeros((speakers, frames + 2), dtype=np.int8)
    padded[:, 1:-1] = spoken.T
    speaker, frame = np.nonzero(np.diff(padded, axis=1))  # a start and a stop by turns, speaker by speaker
    start, stop = frame[::2], frame[1::2]
    seconds = _printed_seconds(hop, 1 << frames.bit_length())
    start, duration = seconds[start], seconds[stop - start]
    found = duration > 0
    return Spans(speaker[::2][found], start[found], (start + duration)[found])


@lru_cache(maxsize=16)
def _printed_seconds(hop: int, frames: int) -> np.ndarray:
    """How long 0, 1, ... and so many frames last. numpy's rounding would differ from what is printed at 0.005."""
    return np.array([round(frame * (hop / SAMPLE_RATE), 2) for frame in range(frames + 1)])
