"""One PR optimizer step (two micro-batches of 16): from stored frames of 13 x 768, and in s3prl with its upstream.

    python bench/pr_step.py

Utterances last 5.4 s on average, as many as a micro-batch of s3prl's took when its costs were first measured. Ours
reads its frames from a store on disk, mixes the layers, and trains SUPERB's head by CTC; with one learning rate, and
with all seven. s3prl's is its whole step: WavLM Base with random weights, its Featurizer, its FrameLevel head, CTC,
backward, clipping and Adam. What reading costs is printed beside it, and whether a step that reads ahead waits for it.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import import_s3prl, medians, random_frames, report, s3prl_wavlm

from downstream.fit.ctc_grid import CtcGrid
from downstream.fit.sampling import Draw
from downstream.fit.sequence_heads import FrameLinear
from downstream.represent.hearing import read_ahead

LAYERS, DIM, OUTPUTS, BATCH, MICRO = 13, 768, 74, 16, 2
FRAMES, SPREAD = 270, 60
STORED = 512  # utterances
RATES = [10.0**-k for k in range(1, 8)]
CPU = torch.device("cpu")


def batches(features, count: int):
    """Draws of random windows of the store, which lies in order of length as a sorted corpus does."""
    random = np.random.default_rng(0)
    weights = np.full(BATCH * MICRO, 1 / (BATCH * MICRO), dtype=np.float32)
    for step in range(count):
        starts = random.integers(0, STORED - BATCH, MICRO)
        rows = np.concatenate([np.arange(start, start + BATCH) for start in starts])
        yield Draw(step, rows, weights, np.full(len(rows), -1), [BATCH] * MICRO)


def targets_of(rows: np.ndarray) -> list[torch.Tensor]:
    return [torch.arange(60) % (OUTPUTS - 3) + 3 for _ in rows]


def ours(features, rates: list[float], steps: int, ahead: int):
    grid = CtcGrid(LAYERS, partial(FrameLinear, DIM, 256, OUTPUTS), rates, 1.0, 0, CPU, 320)

    def run() -> None:
        draws = list(batches(features, steps))
        read = lambda draw: (draw, features.batch(draw.rows))  # noqa: E731
        pairs = read_ahead(read, draws, np.zeros(steps), ahead, workers=1) if ahead else map(read, draws)
        for draw, batch in pairs:
            grid.step(batch, targets_of(draw.rows), draw)

    return run


def s3prl_step():
    upstream = s3prl_wavlm()
    featurizer = import_s3prl("s3prl.upstream.interfaces").Featurizer(upstream, upstream_device="cpu")
    head = import_s3prl("s3prl.downstream.model").FrameLevel(256, OUTPUTS)
    projector = torch.nn.Linear(DIM, 256)
    trained = [*featurizer.parameters(), *projector.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(trained, lr=1e-2)
    ctc = torch.nn.CTCLoss(blank=0, zero_infinity=True)
    lengths = np.random.default_rng(0).integers(FRAMES - 10, FRAMES + 10, BATCH)
    wavs = [torch.randn(320 * int(length) + 80) * 0.1 for length in lengths]

    def step() -> None:
        for _ in range(MICRO):
            with torch.no_grad():
                hidden = upstream(wavs)
            features = featurizer(wavs, hidden)
            sizes = torch.IntTensor([len(feature) for feature in features])
            padded = projector(torch.nn.utils.rnn.pad_sequence(features, batch_first=True))
            logits, sizes = head(padded, sizes)
            targets = torch.stack(targets_of(np.arange(BATCH)))
            log_probs = logits.log_softmax(-1).transpose(0, 1)
            (ctc(log_probs, targets, sizes, torch.full((BATCH,), 60)) / MICRO).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    random = np.random.default_rng(1)
    lengths = sorted((int(n) for n in random.integers(FRAMES - SPREAD, FRAMES + SPREAD, STORED)), reverse=True)
    with tempfile.TemporaryDirectory() as folder:
        features = random_frames(Path(folder), lengths, LAYERS, DIM)
        size = sum(lengths) * LAYERS * DIM * 2
        start = time.perf_counter()
        for draw in batches(features, 20):
            features.batch(draw.rows)
        reading = (time.perf_counter() - start) / 20
        steps = 5
        taken = medians(
            {
                "one": ours(features, [1e-2], steps, 2),
                "waiting": ours(features, [1e-2], steps, 0),
                "seven": ours(features, RATES, steps, 2),
                "s3prl": s3prl_step(),
            },
            repeats=3,
        )
        features.close()
    one, waiting, seven = (taken[name] / steps for name in ("one", "waiting", "seven"))
    bytes_read = 2 * LAYERS * DIM * FRAMES * BATCH * MICRO
    report(
        "PR step, 32 utterances of 5.4 s, 13 x 768",
        {
            "stored (GB)": size / 1e9,
            "reading a step's frames alone (ms)": 1000 * reading,
            "the store's rate (GB/s)": bytes_read / reading / 1e9,
            "one learning rate, reading ahead (ms)": one,
            "one learning rate, reading in between (ms)": waiting,
            "seven learning rates, reading ahead (ms)": seven,
            "s3prl with WavLM Base shape, one learning rate (ms)": taken["s3prl"],
            "s3prl / ours": taken["s3prl"] / one,
            "s3prl, seven runs / ours, seven rates": 7 * taken["s3prl"] / seven,
        },
    )


if __name__ == "__main__":
    main()
