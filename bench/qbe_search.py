"""A whole QbE search of real size: every query in every document on every layer, from frames of random numbers on disk.

python bench/qbe_search.py --folder DIR      (17 GB in DIR at full size; made once, and read again the next time)

QUESST 2014 in English has 138 queries a split, of about 50 frames, and 2,438 documents, of about 335 frames. A run of
the benchmark searches for both splits, this here for one: the time of a run is about twice this one's. The peer's time
is that of its `match` on pairs of these very sizes, shared by as many processes as there are cores, times the pairs.
"""

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from common import random_frames, report
from oracles import import_s3prl_search

from downstream import protocols
from downstream.processes import cores
from downstream.search.sweep import Sweep

_PEER = {"step_pattern": "asymmetric", "keep_internals": False, "distance_only": False} | dict.fromkeys(
    ("open_begin", "open_end"), True
)


def lengths(random: np.random.Generator, count: int, mean: float) -> list[int]:
    """As utterances are: most near the mean, some three times as long."""
    return np.maximum(8, random.gamma(6.0, mean / 6.0, count)).round().astype(int).tolist()


def peer_seconds(queries: list[int], documents: list[int], dim: int, random: np.random.Generator, pairs: int) -> float:
    """Of one pair, on average, with a process a core, as the peer's expert shares them out."""
    expert = import_s3prl_search()
    drawn = [(int(random.choice(queries)), int(random.choice(documents))) for _ in range(pairs)]
    made = [[random.standard_normal((size, dim), dtype=np.float32) for size in pair] for pair in drawn]
    with ProcessPoolExecutor(cores()) as pool:
        list(pool.map(len, made[: 4 * cores()]))  # the processes start
        start = time.perf_counter()
        jobs = [pool.submit(expert.match, q, d, "q", "d", expert.cosine_exp, True, _PEER) for q, d in made]
        for job in jobs:
            job.result()
        return (time.perf_counter() - start) / pairs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=13)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--queries", type=int, default=138)
    parser.add_argument("--documents", type=int, default=2438)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--peer-pairs", type=int, default=600)
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    of_queries, of_documents = lengths(random, asked.queries, 50), lengths(random, asked.documents, 335)
    features = random_frames(asked.folder, of_queries + of_documents, asked.layers, asked.dim)
    features.request.key = "random"  # there are no files of audio to make one of
    rows = np.arange(len(of_queries) + len(of_documents))
    numbers = protocols.load("superb", [f"qbe.precision={asked.precision}"]).task("qbe")
    with tempfile.TemporaryDirectory() as folder:
        sides = {"test": rows[: asked.queries]}
        sweep = Sweep(features, rows[asked.queries :], sides, numbers, Path(folder), progress=True)
        start = time.perf_counter()
        costs = sweep.costs()["test"]
        seconds = time.perf_counter() - start
    pairs = costs.size
    peer = peer_seconds(of_queries, of_documents, asked.dim, random, asked.peer_pairs)
    report(
        f"{asked.layers} layers, {asked.queries} queries of {np.mean(of_queries):.0f} frames, {asked.documents} "
        f"documents of {np.mean(of_documents):.0f} frames, {asked.dim} dimensions, {asked.precision}, {cores()} cores",
        {
            "minutes, all layers": seconds / 60,
            "pairs a second": pairs / seconds,
            "peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
            f"peer: pairs a second, {asked.peer_pairs} of them": 1 / peer,
            "peer: hours for as many pairs": pairs * peer / 3600,
            "times the peer": pairs * peer / seconds,
        },
    )


if __name__ == "__main__":
    main()
