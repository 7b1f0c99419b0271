"""What `--lr auto` saves against the whole grid, and how often it ends at the same learning rate.

    python bench/halving.py
    python bench/halving.py --seed 1 --task ks --set ks.steps=400 ks.eval_every=20          # to see whether it works

Both are run on the mini corpora, on two spectral features and on an encoder of three layers with random weights.
Saved are steps of points (of the optimizer) and seconds of fitting, looks at dev included. The last columns compare the
test scores of what is chosen: higher is better, or lower for pr. `--cache` keeps the corpora and the features.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
from common import machine

import benchmark
from benchmark.rows import Row

UPSTREAMS = ("mfcc_no_cmvn", "mel_no_cmvn")
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
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        upstreams = [*UPSTREAMS, tiny_encoder(folder)]
        pairs = list(cells(asked, folder, upstreams))
    print(f"--lr auto against --lr grid on the mini corpora, {', '.join(UPSTREAMS)} and a tiny random encoder")
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
