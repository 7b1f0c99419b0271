"""What it takes to find queries in documents, on one layer, against s3prl's `match` in as many processes as threads.

    python bench/qbe_pair.py
    python bench/qbe_pair.py --queries 4 --documents 4 --repeats 1  # to see whether it works

Frames of random numbers that change slowly, 768 dimensions, scaled. Both begin with the frames: ours prepares itself
for the queries every time, and takes documents one after the other on each thread, as the search does; s3prl submits
pair by pair, as its expert does, to processes that have been started before. The scores of both are compared.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from itertools import pairwise

import numpy as np
import torch
from common import medians, report
from oracles import import_s3prl_search

from downstream.processes import cores
from downstream.search.matcher import Matcher

SIZES = ((75, 1000), (50, 335))  # frames of a query, frames of a document; the second are means of QUESST 2014
DIM = 768
PRECISIONS = (torch.float32, torch.float64)
DTW = {"step_pattern": "asymmetric", "keep_internals": False, "distance_only": False} | dict.fromkeys(
    ("open_begin", "open_end"), True
)


def spoken(random: np.random.Generator, count: int, length: int) -> list[np.ndarray]:
    found = []
    for _ in range(count):
        frames = random.standard_normal((length, DIM))
        for before, frame in pairwise(frames):
            frame[:] = 0.8 * before + 0.6 * frame
        found.append(frames.astype(np.float32))
    return found


def peer_scores(expert, pool, queries, documents) -> np.ndarray:
    jobs = {
        pool.submit(expert.match, query, document, "", "", expert.cosine_exp, True, DTW): (i, j)
        for i, query in enumerate(queries)
        for j, document in enumerate(documents)
    }
    scores = np.empty((len(queries), len(documents)))
    for job in as_completed(jobs):
        scores[jobs[job]] = job.result()[2]
    return scores


def our_scores(pool, queries, documents, dtype) -> np.ndarray:
    matcher = Matcher([torch.from_numpy(query) for query in queries], "cosine_exp", dtype, torch.device("cpu"))
    costs = pool.map(lambda document: matcher.costs([torch.from_numpy(document)]), documents)
    return -np.concatenate(list(costs), axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=32)
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    expert = import_s3prl_search()
    random, pairs, figures = np.random.default_rng(0), asked.queries * asked.documents, {}
    with (
        ProcessPoolExecutor(cores()) as processes,
        ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,)) as threads,
    ):
        for of_query, of_document in SIZES:
            both = spoken(random, asked.queries, of_query), spoken(random, asked.documents, of_document)
            expected = peer_scores(expert, processes, *both)
            work = {"theirs": lambda both=both: peer_scores(expert, processes, *both)}
            for dtype in PRECISIONS:
                work[dtype] = lambda both=both, dtype=dtype: our_scores(threads, *both, dtype)
            taken = medians(work, asked.repeats)
            size = f"{of_query} x {of_document}"
            figures[f"{size}: s3prl, ms a pair"] = taken["theirs"] / pairs
            for dtype in PRECISIONS:
                name = str(dtype).removeprefix("torch.")
                figures[f"{size}: {name}, ms a pair"] = taken[dtype] / pairs
                figures[f"{size}: s3prl / {name}"] = taken["theirs"] / taken[dtype]
                figures[f"{size}: {name}, largest difference of a score"] = (
                    np.abs(work[dtype]() - expected).max().item()
                )
    report(f"{asked.queries} queries in {asked.documents} documents, {DIM} dimensions, {cores()} cores", figures)


if __name__ == "__main__":
    main()
