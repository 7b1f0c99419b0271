"""Which examples a training step sees: a pure function of seed and step, so that any step can be taken again."""

from dataclasses import dataclass

import numpy as np

from downstream.types import Example

_ORDER, _CROPS, _DEV = 1, 2, 3  # streams of random numbers that never meet


@dataclass(frozen=True)
class Pool:
    """Examples to draw from: each once an epoch, or `draws` an epoch, with replacement, in proportion to `weights`."""

    examples: list[Example]
    weights: np.ndarray | None = None
    draws: int | None = None

    def epoch(self, seed: int, number: int, stream: int = _ORDER) -> np.ndarray:
        """Positions in `examples`, in the order of that epoch."""
        random = np.random.default_rng([seed, stream, number])
        if self.weights is None:
            return random.permutation(len(self.examples))
        return random.choice(len(self.examples), size=self.draws, p=self.weights / self.weights.sum())

    def dev_counts(self, seed: int) -> np.ndarray:
        """How often each example counts in a dev score: once, or as often as one weighted epoch draws it."""
        if self.weights is None:
            return np.ones(len(self.examples))
        drawn = self.epoch(seed, 0, _DEV)
        return np.bincount(drawn, minlength=len(self.examples)).astype(float)


@dataclass(frozen=True)
class Draw:
    """One optimizer step: rows of the feature set, the weight of each in the loss, where its crop starts (or -1)."""

    rows: np.ndarray
    weights: np.ndarray
    starts: np.ndarray


class Sampler:
    """Draws for every step of a training: `accumulate` micro-batches that flow across the borders of epochs.

    Each micro-batch's loss is its mean divided by `accumulate`, so an example weighs 1 / (its micro-batch's size x
    accumulate); only the last micro-batch of an epoch may be smaller, where `drop_last` does not remove it.
    """

    def __init__(
        self,
        pool: Pool,
        rows: np.ndarray,
        samples: np.ndarray,
        batch: int,
        accumulate: int,
        drop_last: bool,
        crop_samples: int | None,
        seed: int,
    ) -> None:
        self._pool, self._rows, self._samples = pool, rows, samples
        self._batch, self._accumulate, self._crop, self._seed = batch, accumulate, crop_samples, seed
        size = len(pool.examples) if pool.draws is None else pool.draws
        self._per_epoch = max(1, size // batch if drop_last else -(-size // batch))
        self._epochs: dict[int, np.ndarray] = {}

    def __call__(self, step: int) -> Draw:
        micro = [self._micro(step * self._accumulate + i) for i in range(self._accumulate)]
        rows = self._rows[np.concatenate(micro)]
        weights = np.concatenate([np.full(len(m), 1 / (len(m) * self._accumulate), dtype=np.float32) for m in micro])
        return Draw(rows, weights, self._starts(step, rows))

    def _micro(self, number: int) -> np.ndarray:
        epoch, place = divmod(number, self._per_epoch)
        if epoch not in self._epochs:
            self._epochs = {e: order for e, order in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = self._pool.epoch(self._seed, epoch)
        return self._epochs[epoch][place * self._batch : (place + 1) * self._batch]

    def _starts(self, step: int, rows: np.ndarray) -> np.ndarray:
        starts = np.full(len(rows), -1, dtype=np.int64)
        if self._crop is not None:
            spare = self._samples[rows] - self._crop
            random = np.random.default_rng([self._seed, _CROPS, step])
            drawn = random.integers(0, np.maximum(spare, 0) + 1)
            starts[spare > 0] = drawn[spare > 0]
        return starts
