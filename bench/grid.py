"""The whole grid of seven learning rates in one pass against seven single runs of the same steps.

    python bench/grid.py

Both read their batches from a store of random numbers. How far apart they end is printed: products of seven heads
are rounded otherwise than those of one. At a rate of 0.1 on random numbers that is enough to part them.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from common import medians, random_store, report

from downstream.fit.grid import MeanLinearGrid
from upstream.devices import threads

RATES = [10.0**-k for k in range(1, 8)]
STEPS, BATCH, CLASSES = 100, 32, 12


def train(features, layers: int, dim: int, rates: list[float]) -> MeanLinearGrid:
    grid = MeanLinearGrid(layers, dim, (CLASSES,), 256, rates, 1.0, 0, torch.device("cpu"))
    random = np.random.default_rng(0)
    weights = torch.full((BATCH,), 1 / BATCH)
    with threads(grid.threads):
        for _ in range(STEPS):
            rows = random.integers(0, len(features.reader), BATCH)
            grid.step(features.batch(rows), torch.from_numpy(rows % CLASSES)[:, None], weights)
    for point in range(len(rates)):
        grid.keep(point)
    return grid


def distance(grid: MeanLinearGrid, single: MeanLinearGrid, point: int) -> float:
    """How far apart two trainings ended, relative to how far they went."""
    layers, dim = len(single.layer_weights(0)), single.head(0).projector.in_features
    start = MeanLinearGrid(layers, dim, (CLASSES,), 256, [0.1], 1.0, 0, torch.device("cpu")).head(0)
    a, b, s = (torch.nn.utils.parameters_to_vector(h.parameters()) for h in (grid.head(point), single.head(0), start))
    return float(((a - b).norm() / (b - s).norm()).detach())


def main() -> None:
    figures = {}
    for layers, dim in ((13, 768), (25, 1024), (1, 240)):
        with tempfile.TemporaryDirectory() as folder:
            features = random_store(Path(folder), 2000, layers, dim, CLASSES)
            together = train(features, layers, dim, RATES)
            alone = [train(features, layers, dim, [rate]) for rate in RATES]
            apart = [distance(together, alone[i], i) for i in range(len(RATES))]
            taken = medians(
                {
                    "together": lambda f=features, s=(layers, dim): train(f, *s, RATES),
                    "alone": lambda f=features, s=(layers, dim): [train(f, *s, [rate]) for rate in RATES],
                },
                repeats=5,
            )
        shape = f"{layers} x {dim}"
        figures |= {
            f"{shape}: grid of seven, ms a step": taken["together"] / STEPS,
            f"{shape}: seven single runs, ms a step of all": taken["alone"] / STEPS,
            f"{shape}: single runs / grid": taken["alone"] / taken["together"],
            f"{shape}: grid and single run apart, relative, lr 0.1": apart[0],
            f"{shape}: the same, largest of the other rates": max(apart[1:]),
        }
    report(f"Seven learning rates, {STEPS} steps of batch {BATCH}", figures)


if __name__ == "__main__":
    main()
