"""One KS training step (batch 32, one learning rate): from pooled means, from frames, and in s3prl with its upstream.

    python bench/train_step.py

The first two train the same head on 13 x 768 features of 1 s clips: ours reads its batch from a store on disk and takes
the closed-form step, the other mixes and pools 49 frames by autograd as s3prl's head does. The third is s3prl's whole
step: WavLM Base with random weights (a frozen upstream costs the same whatever its weights), its Featurizer, its KS
expert, backward, clipping and Adam, on 32 clips of 1 s.
"""

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from common import import_s3prl, medians, random_store, report, s3prl_keyword_expert, s3prl_wavlm

from downstream.corpora import mini
from downstream.fit.grid import MeanLinearGrid
from downstream.fit.heads import MeanLinear
from upstream.devices import threads
from upstream.types import HiddenStates

LAYERS, DIM, CLASSES, BATCH, FRAMES = 13, 768, 12, 32, 49
STEPS = 300  # ours are too short to be timed one by one
CPU = torch.device("cpu")


def pooled_steps(folder: Path, rates: list[float]):
    features = random_store(folder, 2000, LAYERS, DIM, CLASSES)
    grid = MeanLinearGrid(LAYERS, DIM, (CLASSES,), 256, rates, 1.0, 0, CPU)
    random = np.random.default_rng(0)
    weights = torch.full((BATCH,), 1 / BATCH)

    def steps() -> None:
        with threads(grid.threads):
            for _ in range(STEPS):
                rows = random.integers(0, 2000, BATCH)
                grid.step(features.batch(rows), torch.from_numpy(rows % CLASSES)[:, None], weights)

    return steps


def frames_step():
    head = MeanLinear(LAYERS, DIM, 256, CLASSES)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-4)
    states = HiddenStates([torch.randn(BATCH, FRAMES, DIM) for _ in range(LAYERS)], torch.full((BATCH,), FRAMES), 320)
    targets = torch.arange(BATCH) % CLASSES

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(states), targets).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()

    return step


def s3prl_step(work: Path):
    upstream = s3prl_wavlm()
    featurizer = import_s3prl("s3prl.upstream.interfaces").Featurizer(upstream, upstream_device="cpu")
    mini.make(work, ["speech_commands"], scale=0.02, progress=False)
    expert = s3prl_keyword_expert(work, DIM, work)
    trained = [*featurizer.parameters(), *expert.parameters()]
    optimizer = torch.optim.Adam(trained, lr=1e-4)
    wavs = [torch.randn(16000) * 0.1 for _ in range(BATCH)]
    labels = [i % CLASSES for i in range(BATCH)]

    def step() -> None:
        with torch.no_grad():
            hidden = upstream(wavs)
        loss = expert("train", featurizer(wavs, hidden), labels, ["x"] * BATCH, records=defaultdict(list))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, seven = (pooled_steps(Path(folder), rates) for rates in ([1e-4], [10.0**-k for k in range(1, 8)]))
        taken = medians(
            {
                "one": one,
                "seven": seven,
                "frames": frames_step(),
                "s3prl": s3prl_step(Path(folder) / "corpora"),
            },
            repeats=11,
        )
    one, seven = taken["one"] / STEPS, taken["seven"] / STEPS
    report(
        "KS training step, batch 32, 13 x 768",
        {
            "pooled, one learning rate, store read included (ms)": one,
            "pooled, seven learning rates in one pass (ms)": seven,
            "frames, one learning rate (ms)": taken["frames"],
            "s3prl with WavLM Base shape, one learning rate (ms)": taken["s3prl"],
            "seven learning rates / one": seven / one,
            "frames / pooled": taken["frames"] / one,
            "s3prl / pooled": taken["s3prl"] / one,
            "s3prl, seven runs / pooled, seven rates": 7 * taken["s3prl"] / seven,
        },
    )


if __name__ == "__main__":
    main()
