"""Peak memory of training on a store of 150,000 utterances (13 x 768 means, 6 GB of random numbers, 1,251 classes).

    python bench/memory.py [FOLDER]

The store stays in FOLDER if one is given. Everything goes through the project's own reading, checking and training: the
store is read, never loaded. The same with 15,000 utterances shows what grows with the corpus.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import random_store, report

from downstream import protocols
from downstream.fit.grid import MeanLinearGrid
from downstream.fit.running import Split, Training
from downstream.fit.sampling import Pool
from downstream.fit.train import fit
from downstream.objectives.classification import Classification
from downstream.tasks import Fold

LAYERS, DIM, CLASSES, STEPS = 13, 768, 1251, 400


def measure(folder: Path, count: int) -> dict[str, float]:
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    features = random_store(folder, count, LAYERS, DIM, CLASSES)
    opened = time.perf_counter() - start
    protocol = protocols.load("superb", [f"sid.steps={STEPS}", f"sid.eval_every={STEPS // 2}"]).task("sid")
    examples = features.request.examples
    cut = int(0.9 * count)
    objective = Classification((tuple(sorted({e.target[0] for e in examples})),))
    fold = Fold("all", Pool(examples[:cut]), Pool(examples[cut:]), Pool(examples[cut:]))
    train, dev = (
        Split(pool, np.arange(*span), objective.encode(pool.examples, "random"), np.ones(span[1] - span[0]))
        for pool, span in ((fold.train, (0, cut)), (fold.dev, (cut, count)))
    )
    grid = MeanLinearGrid(LAYERS, DIM, (CLASSES,), 256, list(protocol.rates), 1.0, 0, torch.device("cpu"))
    start = time.perf_counter()
    training = Training(fold, objective, grid, train, dev, protocol, 0, folder / "all.state")
    [error] = fit([training], features, None, False)
    if error is not None:
        raise error
    return {
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "store GB": sum(path.stat().st_size for path in folder.glob("*.shard")) / 1e9,
        "seconds to open and check": opened,
        "seconds to train": time.perf_counter() - start,
    }


def main() -> None:
    if len(sys.argv) == 3:  # the measuring process: a fresh one, so that its peak is its own
        print(measure(Path(sys.argv[1]), int(sys.argv[2])))
        return
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(sys.argv[1]) if len(sys.argv) == 2 else Path(temporary)
        figures = {}
        for count in (15_000, 150_000):
            command = [sys.executable, __file__, str(base / str(count)), str(count)]
            subprocess.run(command, check=True, capture_output=True)  # makes the store
            (base / str(count) / "all.state").unlink()
            result = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            figures[f"{count} utterances"] = result.strip().strip("{}").replace("'", "")
    report(f"Memory of training all seven learning rates on SID's head, {STEPS} steps", figures)


if __name__ == "__main__":
    main()
