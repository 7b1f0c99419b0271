"""How fast training batches come out of the store, against torch.load of the same tensors one file each.

    python bench/store_read.py

4,000 utterances of 13 x 768 means (160 MB, in the page cache), 32 at random at a time. One tensor file an utterance is
how feature caches are usually made by hand.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from common import medians, random_store, report, times

COUNT, LAYERS, DIM, BATCH = 4000, 13, 768, 32


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        features = random_store(Path(folder), COUNT, LAYERS, DIM, 12)
        files = [Path(folder) / f"{i}.pt" for i in range(COUNT)]
        for i, path in enumerate(files):
            torch.save(features.batch(np.array([i]))[0], path)
        random = np.random.default_rng(0)
        taken = medians(
            {
                "store": times(50, lambda: features.batch(random.integers(0, COUNT, BATCH))),
                "files": times(
                    50,
                    lambda: torch.stack(
                        [torch.load(files[i], weights_only=True) for i in random.integers(0, COUNT, BATCH)]
                    ),
                ),
            },
            repeats=9,
        )
    store, single = taken["store"] / 50, taken["files"] / 50
    megabytes = BATCH * LAYERS * DIM * 4 / 1e6
    report(
        "Reading a batch of 32 from 13 x 768 means",
        {
            "store (ms)": store,
            "store (GB/s)": megabytes / store,
            "store (utterances/s)": 1000 * BATCH / store,
            "one torch file an utterance (ms)": single,
            "files / store": single / store,
        },
    )


if __name__ == "__main__":
    main()
