"""What `--lr auto` saves against the whole grid, and how often it ends at the same learning rate.

    python bench/halving.py
    python bench/halving.py --steps-only
    python bench/halving.py --seed 1 --task ks --set ks.steps=400 ks.eval_every=20          # to see whether it works

Both are run on the mini corpora, on two spectral features and on an encoder of three layers with random weights.
Saved are steps of points (of the optimizer) and seconds of fitting, looks at dev included. The last columns compare the
test scores of what is chosen: positive is better. `--cache` keeps the corpora and the features.

These upstreams are small, and a step takes as long as what all points share. So the steps of heads on hidden states of
13 x 768 are timed besides (random numbers, in memory, processor time): with seven points, with four and with two of the
seven left, and what that makes of a schedule whose halvings are made as soon as they are due.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from common import machine, medians, times

import benchmark
from benchmark.rows import Row
from downstream.fit.ctc_grid import CtcGrid
from downstream.fit.grid import MeanLinearGrid
from downstream.fit.head import Head
from downstream.fit.sampling import Draw
from downstream.fit.sequence_heads import FrameLinear, Recurrent
from downstream.represent.frame_features import FrameBatch

UPSTREAMS = ("mfcc_no_cmvn", "mel_no_cmvn")
LAYERS, DIM, RATES = 13, 768, [10.0**-power for power in range(1, 8)]
CPU = torch.device("cpu")
TASKS = ("ks", "sid", "ic", "er", "pr")
TINY = {
    "model_type": "hubert",
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": [32] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "feat_extract_norm": "group",
    "conv_bias": False,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "do_stable_layer_norm": False,
}


def tiny_encoder(folder: Path) -> str:
    """The name of an encoder that is so small that it is heard at once."""
    config = folder / "tiny" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(TINY))
    return f"random:{config}"


def cells(asked: argparse.Namespace, folder: Path, upstreams: list[str]) -> Iterator[tuple[Row, Row]]:
    """The rows of the whole grid and of the halved one, one after the other, so that other work disturbs both alike."""
    for upstream, task, seed in product(upstreams, asked.task, asked.seed):
        yield tuple(
            benchmark.run(
                upstream=upstream,
                task=task,
                seed=seed,
                lr=lr,
                mini=True,
                set=asked.set,
                cache=asked.cache or folder / "cache",
                results=folder / "results",
                progress=False,
            )
            for lr in ("grid", "auto")
        )


def means_grid(count: int) -> tuple[MeanLinearGrid, tuple]:
    """A grid of KS with so many points left, and what a step takes."""
    grid = MeanLinearGrid(LAYERS, DIM, (12,), 256, RATES, 1.0, 0, CPU)
    grid.drop(range(count, len(RATES)))
    return grid, (torch.randn(32, LAYERS, DIM), torch.randint(0, 12, (32, 1)), torch.full((32,), 1 / 32))


def frames_grid(make: Callable[[], Head], count: int) -> tuple[CtcGrid, tuple]:
    """A grid that writes down what is said of 8 utterances of 4 seconds."""
    grid = CtcGrid(LAYERS, make, RATES, 1.0, 0, CPU, 320)
    grid.drop(range(count, len(RATES)))
    values = [torch.randn(LAYERS, 200, DIM).half() for _ in range(8)]
    batch = FrameBatch(values, torch.ones(8, LAYERS), torch.full((8,), 64000))
    draw = Draw(0, np.arange(8), np.full(8, 1 / 8, dtype=np.float32), np.full(8, -1), [8])
    return grid, (batch, [torch.arange(30) % 28 + 1] * 8, draw)


def print_steps() -> None:
    kinds = {
        "ks": (means_grid, 20),
        "pr": (partial(frames_grid, partial(FrameLinear, DIM, 256, 74)), 1),
        "asr": (partial(frames_grid, partial(Recurrent, DIM, 1024, 1024, 2, 0.2, False, 1, 32)), 1),
    }
    print(f"milliseconds of a step on {LAYERS} x {DIM}, {machine()}\n")
    print(f"{'head':<6}{'7 points':>12}{'4 left':>12}{'2 left':>12}{'schedule saved':>17}")
    for name, (make, repeats) in kinds.items():
        work = {}
        for count in (7, 4, 2):
            grid, batch = make(count)
            work[count] = times(repeats, partial(grid.step, *batch))
        taken = {
            count: ms / repeats for count, ms in medians(work, 9 if repeats > 1 else 3, clock=time.thread_time).items()
        }
        saved = 1 - (taken[7] / 8 + taken[4] * 3 / 8 + taken[2] / 2) / taken[7]
        print(f"{name:<6}{taken[7]:>12.2f}{taken[4]:>12.2f}{taken[2]:>12.2f}{saved:>17.0%}")


def point(row: Row) -> float:
    """The mean over the folds of the test scores at the learning rate that was chosen."""
    return float(np.mean([entry["test"] for entry in row.selection if entry["lr"] == row.selected["lr"]]))


def gain(full: Row, halved: Row) -> float:
    """How much better the test score is."""
    sign = 1 if full.metrics[full.primary]["direction"] == "higher" else -1
    return sign * (point(halved) - point(full))


def saved(pairs: list[tuple[Row, Row]], of: Callable[[Row], float]) -> float:
    return 1 - sum(of(halved) for _, halved in pairs) / sum(of(full) for full, _ in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", default=list(TASKS))
    parser.add_argument("--seed", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--set", nargs="+", default=[])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--steps-only", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print_steps()
    if asked.steps_only:
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        upstreams = [*UPSTREAMS, tiny_encoder(folder)]
        pairs = list(cells(asked, folder, upstreams))
    print(f"\n--lr auto against --lr grid on the mini corpora, {', '.join(UPSTREAMS)} and a tiny random encoder")
    print(f"seeds {asked.seed}, {' '.join(asked.set) or 'the mini protocol'}; {machine()}")
    print(f"load of the machine over the last fifteen minutes: {os.getloadavg()[2]:.1f}\n")
    by_task: dict[str, list[tuple[Row, Row]]] = {}
    for full, halved in pairs:
        for name in (full.task, "all"):
            by_task.setdefault(name, []).append((full, halved))
        if full.selected["lr"] != halved.selected["lr"]:
            rates = f"{full.selected['lr']:g}, halved {halved.selected['lr']:g}"
            dev = f"{full.selected['dev']:.2f}, halved {halved.selected['dev']:.2f}"
            where = f"{full.upstream.split('/')[0]} {full.task} seed {full.seed}"
            print(f"another rate: {where}: {rates}; dev {dev}; test {gain(full, halved):+.2f}")
    columns = ("rows", "same rate", "steps saved", "seconds saved", "test: mean", "worst")
    print("\n" + f"{'task':<6}" + "".join(f"{column:>15}" for column in columns))
    for task, found in sorted(by_task.items(), key=lambda own: own[0] == "all"):
        same = sum(full.selected["lr"] == halved.selected["lr"] for full, halved in found)
        gains = [gain(full, halved) for full, halved in found]
        steps = saved(found, lambda row: row.cost["optimizer_steps"])
        seconds = saved(found, lambda row: row.seconds["fit"])
        figures = (len(found), same, f"{steps:.0%}", f"{seconds:.0%}", f"{np.mean(gains):+.2f}", f"{min(gains):+.2f}")
        print(f"{task:<6}" + "".join(f"{figure:>15}" for figure in figures))


if __name__ == "__main__":
    main()
