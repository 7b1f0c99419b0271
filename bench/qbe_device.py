"""What the matching of a QbE search takes on a GPU, or on whatever device there is, batched as it is for a GPU.

    python bench/qbe_device.py
    python bench/qbe_device.py --device cpu --layers 1 --queries 20 --documents 64  # to see whether it works

Frames of random numbers, made on the device, of as many queries and documents as QUESST 2014 has in English for one
split. Documents come in blocks as the search takes them; their frames are scaled to unit length, multiplied with those
of all queries, made into distances, and matched: first without a pause, then once more with one between, which shows
what takes how long. Neither reading nor extracting is in these times. The time of a whole run (13 layers, two splits,
full size) is extrapolated from that of a layer, by pairs of frames.
"""

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from common import report
from qbe_search import lengths
from torch import Tensor

from downstream.search.distances import between, prepared
from downstream.search.warping_batched import batched_costs
from upstream.devices import full_float32, pick_device

DISTANCE = "cosine_exp"
RUN = 13 * 2 * (138 * 50) * (2438 * 335)  # pairs of frames: layers, splits, frames of queries, frames of documents


class Clock:
    """Seconds spent on each piece of work, until the device was done with it."""

    def __init__(self, device: torch.device) -> None:
        self.seconds, self._device = {}, device

    def __call__(self, name: str, work: Callable[[], Tensor]) -> Tensor:
        self._wait()
        start = time.perf_counter()
        result = work()
        self._wait()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        return result

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def distances(queries: Tensor, documents: Tensor) -> Tensor:
    """Of all frames of the queries, which are prepared, and all frames of the documents."""
    return between(queries, prepared(documents, DISTANCE), DISTANCE)


def peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["float32", "float64"], default="float32")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--queries", type=int, default=138)
    parser.add_argument("--documents", type=int, default=2438)
    parser.add_argument("--block", type=int, default=64, help="documents that are matched together")
    parser.add_argument("--dim", type=int, default=768)
    asked = parser.parse_args()
    device, dtype = pick_device(asked.device), getattr(torch, asked.precision)
    random, generator = np.random.default_rng(0), torch.Generator(device).manual_seed(0)
    of_queries, of_documents = lengths(random, asked.queries, 50), lengths(random, asked.documents, 335)
    blocks = [of_documents[first : first + asked.block] for first in range(0, len(of_documents), asked.block)]

    def frames(count: int) -> Tensor:
        return torch.randn(count, asked.dim, device=device, dtype=dtype, generator=generator)

    def search(queries: Tensor, documents: Tensor, of_block: list[int]) -> Tensor:
        return batched_costs(distances(queries, documents), of_queries, of_block)

    with full_float32(device):
        queries, first = prepared(frames(sum(of_queries)), DISTANCE), frames(sum(blocks[0]))
        costs = search(queries, first, blocks[0])  # the device warms up
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        clock = Clock(device)
        for of_block in asked.layers * blocks:
            documents = frames(sum(of_block))
            clock("all", partial(search, queries, documents, of_block))
            apart = clock("distances", partial(distances, queries, documents))
            clock("matching", partial(batched_costs, apart, of_queries, of_block))
            del documents, apart
        peak = peak_bytes(device)
        exact = search(queries.double(), first.double(), blocks[0])
    of_layer = {name: seconds / asked.layers for name, seconds in clock.seconds.items()}
    seconds = of_layer["all"]
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    report(
        f"{asked.queries} queries of {np.mean(of_queries):.0f} frames, {asked.documents} documents of "
        f"{np.mean(of_documents):.0f} frames, {asked.dim} dimensions, {asked.precision}, on {where}",
        {f"{name}, a layer (s)": taken for name, taken in of_layer.items()}
        | {
            "pairs a second": asked.queries * asked.documents / seconds,
            "a run of 13 layers and two splits at full size (s)": seconds * RUN / (sum(of_queries) * sum(of_documents)),
            "peak memory (MB)": peak / 1e6,
            "largest difference from costs in double precision": (costs - exact).abs().max().item(),
        },
    )


if __name__ == "__main__":
    main()
