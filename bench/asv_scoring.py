"""How long the scores of a speaker verification test set take, with their intervals, against scikit-learn and scipy.

    python bench/asv_scoring.py
    python bench/asv_scoring.py --trials 2000 --files 500 --peer-resamples 5  # to see whether it works

As many trials on as many embeddings (512 numbers each) of 40 speakers as SUPERB's list has: cosines, EER, and 1,000
resamples of speakers; then the least detection cost with its own. The peer has no intervals: it makes its EER (the
curve of scikit-learn, the root of scipy, as s3prl does) of resamples drawn in the same way: of some, and the time of
the rest is extrapolated. The EERs of the list itself are compared.
"""

import argparse
import time

import numpy as np
from common import import_s3prl, medians, report
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from downstream.metrics.bootstrap import RESAMPLES
from downstream.metrics.verification import cosine_scores, dcf_score, eer, eer_score

DIM, SPEAKERS, ALIKE = 512, 40, 0.4


def make_list(trials: int, files: int):
    """Embeddings around those of their speakers, and trials, half of them of one speaker."""
    random = np.random.default_rng(0)
    owner = np.arange(files) % SPEAKERS
    embeddings = ALIKE * random.standard_normal((SPEAKERS, DIM))[owner] + random.standard_normal((files, DIM))
    first = random.integers(files, size=trials)
    second = random.integers(files, size=trials)
    own = np.arange(trials) % 2 == 0
    second[own] = (second[own] - owner[second[own]] + owner[first[own]]) % files
    return embeddings.astype(np.float32), first, second, owner


def peer_eer(same, scores, weights) -> float:
    false_alarms, hits, _ = roc_curve(same, scores, sample_weight=weights)
    curve = interp1d(false_alarms, hits)
    return 100 * brentq(lambda x: 1.0 - x - curve(x), 0.0, 1.0)


def peer_seconds(same, scores, first, second, resamples: int) -> float:
    """Of one resample, when speakers are drawn and the trials weighted accordingly."""
    random, start = np.random.default_rng(0), time.perf_counter()
    for _ in range(resamples):
        copies = np.bincount(random.integers(SPEAKERS, size=SPEAKERS), minlength=SPEAKERS)
        peer_eer(same, scores, np.where(first == second, copies[first], copies[first] * copies[second]))
    return (time.perf_counter() - start) / resamples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=37720)
    parser.add_argument("--files", type=int, default=4715)
    parser.add_argument("--peer-resamples", type=int, default=20, help="how many the peer makes")
    arguments = parser.parse_args()
    embeddings, first, second, owner = make_list(arguments.trials, arguments.files)
    same = owner[first] == owner[second]
    names = [[f"speaker{i}" for i in owner[side]] for side in (first, second)]
    scores = cosine_scores(embeddings, first, second)

    taken = medians(
        {
            "cosines": lambda: cosine_scores(embeddings, first, second),
            "eer": lambda: eer(same, scores),
            "all": lambda: eer_score("eer", same, cosine_scores(embeddings, first, second), *names, 0),
            "cost": lambda: dcf_score("min_dcf", same, scores, *names, 0),
        },
        repeats=3,
    )
    superb = import_s3prl("s3prl.downstream.sv_voxceleb1.utils").EER
    their_eer = medians({"theirs": lambda: superb(same, scores)}, repeats=3)["theirs"]
    seconds = peer_seconds(same, scores, owner[first], owner[second], arguments.peer_resamples)
    peer = RESAMPLES * seconds
    report(
        f"Scoring {arguments.trials:,} trials on {arguments.files:,} embeddings of {DIM}",
        {
            "cosines (ms)": taken["cosines"],
            "EER without its interval (ms)": taken["eer"],
            "EER without an interval, s3prl (ms)": their_eer,
            f"cosines, EER and {RESAMPLES:,} resamples (s)": taken["all"] / 1000,
            f"least cost and {RESAMPLES:,} resamples (s)": taken["cost"] / 1000,
            f"EER of {RESAMPLES:,} resamples, the peer, extrapolated (s)": peer,
            "peer / ours": 1000 * peer / taken["all"],
            "EER (%)": eer(same, scores),
            "difference from s3prl's EER (points)": abs(eer(same, scores) - 100 * float(superb(same, scores)[0])),
        },
    )


if __name__ == "__main__":
    main()
