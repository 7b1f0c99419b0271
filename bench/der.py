"""Post-processing and DER of a diarization test set: ours in SUPERB's ten settings, and pyannote.metrics.

    python bench/der.py
    python bench/der.py --recordings 100  # to see whether it works

3,000 made-up recordings of 15 s with two speakers, in frames of 20 ms, with probabilities as noisy as those of a poor
model. Ours makes turns of all of them in the ten settings and scores these; that is timed as a whole, once. pyannote
scores the turns that ours made of the first recordings, and its time is extrapolated to all. The DER of those in each
setting has to be the same.
"""

import argparse
import time
import warnings

import numpy as np
from common import report
from pyannote.core import Annotation, Segment
from pyannote.metrics.diarization import DiarizationErrorRate

from downstream.metrics.activity import turns
from downstream.metrics.diarization import der, der_score, sweep

SETTINGS = [(median, threshold) for median in (1, 11) for threshold in (0.3, 0.4, 0.5, 0.6, 0.7)]
SECONDS, HOP, SPEAKERS, STRETCH, NOISE = 15, 320, 2, 25, 1.5
SUBSET = 20  # recordings that pyannote scores, in each setting


def make(count: int):
    """References, and the probabilities by name: every half second each speaker may start or stop."""
    random = np.random.default_rng(0)
    frames = SECONDS * 16000 // HOP
    reference, posteriors = {}, {}
    for i in range(count):
        spoken = np.repeat(random.random((frames // STRETCH, SPEAKERS)) > 0.4, STRETCH, axis=0)
        logits = np.where(spoken, 2, -2) + NOISE * random.standard_normal(spoken.shape)
        reference[f"{i:05d}"] = turns(spoken.astype(np.float32), 0.5, 1, HOP)
        posteriors[f"{i:05d}"] = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return reference, posteriors


def annotation(found) -> Annotation:
    made = Annotation()
    for track, turn in enumerate(found):
        made[Segment(turn.start, turn.stop), track] = turn.speaker
    return made


def theirs(reference, posteriors):
    """pyannote's DER in each setting, and the seconds of processor time that it took, making turns aside."""
    warnings.filterwarnings("ignore", "'uem' was approximated")
    rates, taken = {}, 0.0
    for median, threshold in SETTINGS:
        metric = DiarizationErrorRate(collar=0, skip_overlap=False)
        for name, values in posteriors.items():
            pair = annotation(reference[name]), annotation(turns(values, threshold, median, HOP))
            start = time.process_time()
            metric(*pair)
            taken += time.process_time() - start
        rates[median, threshold] = 100 * abs(metric)
    return rates, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=3000)
    count = parser.parse_args().recordings
    reference, posteriors = make(count)
    start, start_wall = time.process_time(), time.perf_counter()
    found, _ = sweep(posteriors, reference, SETTINGS, HOP)
    seconds, wall = time.process_time() - start, time.perf_counter() - start_wall
    start = time.process_time()
    score = min((der_score(errors, 0) for errors in found.values()), key=lambda score: score.value)
    interval = time.process_time() - start
    subset = list(reference)[:SUBSET]
    rates, taken = theirs(reference, {name: posteriors[name] for name in subset})
    extrapolated = taken * count / len(subset)
    report(
        f"Diarization scoring, {count} recordings of {SECONDS} s and {SPEAKERS} speakers, {len(SETTINGS)} settings",
        {
            "turns and errors, ours (s of processor time)": seconds,
            "turns and errors, ours (s by the clock)": wall,
            "the ten DERs with intervals, ours (s)": interval,
            f"errors alone, pyannote, from {len(subset)} recordings (s)": extrapolated,
            "pyannote / ours": extrapolated / seconds,
            "lowest DER of the ten (%)": score.value,
            "its interval": f"{score.ci95[0]:.3f} to {score.ci95[1]:.3f}",
            "largest difference from pyannote (points)": max(
                abs(rates[setting] - der(errors[: len(subset)])) for setting, errors in found.items()
            ),
        },
    )


if __name__ == "__main__":
    main()
