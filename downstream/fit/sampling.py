"""Which examples a training step sees: a pure function of seed and step, so that any step can be taken again."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from downstream.types import Example

_ORDER, _CROPS, _DEV = 1, 2, 3  # streams of random numbers that never meet


class Batches(Protocol):
    """A way of putting examples of similar length together: always the same batches, in another order every epoch."""

    def arrange(self, samples: np.ndarray, batch: int) -> list[np.ndarray]:
        """The batches of an epoch, as positions among examples of so many samples each."""

    def only(self, places: np.ndarray) -> "Batches":
        """The same way for those examples alone."""


@dataclass(frozen=True)
class Windows:
    """SUPERB's batches of PR, SF and OOD-ASR: from every example on, it and those that follow in descending length.

    So an epoch has as many batches as there are examples. The last windows are all the same one, and the first examples
    are in fewer windows than others. `lengths` are what is sorted by (of the targets, say); None: the audio's. A window
    whose first utterance has more than `halve_samples` loses its second half.
    """

    lengths: np.ndarray | None = None
    halve_samples: int | None = None

    def arrange(self, samples: np.ndarray, batch: int) -> list[np.ndarray]:
        order = np.argsort(-(samples if self.lengths is None else self.lengths), kind="stable")
        last = max(0, len(order) - batch)
        windows = [order[first : first + batch] for first in np.minimum(np.arange(len(order)), last)]
        if self.halve_samples is None:
            return windows
        return [w[: len(w) // 2] if len(w) > 1 and samples[w[0]] > self.halve_samples else w for w in windows]

    def only(self, places: np.ndarray) -> "Windows":
        return self if self.lengths is None else replace(self, lengths=self.lengths[places])


@dataclass(frozen=True)
class Groups:
    """SUPERB's batches of ASR: examples in descending duration, by the double batch, each cut in two.

    What is left over at the end stays one batch, however much it is; a single example is left out, unless it is all.
    """

    def arrange(self, samples: np.ndarray, batch: int) -> list[np.ndarray]:
        order = np.argsort(-samples, kind="stable")
        whole = len(order) // (2 * batch) * 2 * batch
        batches = [order[first : first + batch] for first in range(0, whole, batch)]
        return batches + ([order[whole:]] if len(order) - whole > 1 or not batches else [])

    def only(self, places: np.ndarray) -> "Groups":
        return self


@dataclass(frozen=True)
class Pool:
    """Examples to draw from: each once an epoch; or `draws` an epoch, with replacement, in proportion to `weights`; or
    in the batches that are given."""

    examples: list[Example]
    weights: np.ndarray | None = None
    draws: int | None = None
    batches: Batches | None = None

    def epoch(self, seed: int, number: int, stream: int = _ORDER) -> np.ndarray:
        """Positions in `examples`, in the order of that epoch."""
        random = np.random.default_rng([seed, stream, number])
        if self.weights is None:
            return random.permutation(len(self.examples))
        return random.choice(len(self.examples), size=self.draws, p=self.weights / self.weights.sum())

    def only(self, places: np.ndarray) -> "Pool":
        """The pool without its other examples."""
        weights = None if self.weights is None else self.weights[places]
        batches = None if self.batches is None else self.batches.only(places)
        return Pool([self.examples[place] for place in places], weights, self.draws, batches)

    def dev_counts(self, seed: int) -> np.ndarray:
        """How often each example counts in a dev score: once, or as often as one weighted epoch draws it."""
        if self.weights is None:
            return np.ones(len(self.examples))
        drawn = self.epoch(seed, 0, _DEV)
        return np.bincount(drawn, minlength=len(self.examples)).astype(float)


@dataclass(frozen=True)
class Draw:
    """One optimizer step: rows of the feature set, the weight of each in the loss, where its crop starts (or -1).

    `sizes` says how many of the rows each micro-batch has.
    """

    step: int
    rows: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    sizes: list[int]


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
        self._batches = pool.batches.arrange(samples[rows], batch) if pool.batches else None
        if self._batches is not None:
            self._per_epoch = len(self._batches)
        else:
            self._per_epoch = max(1, size // batch if drop_last else -(-size // batch))
        self._epochs: dict[int, np.ndarray] = {}

    def __call__(self, step: int) -> Draw:
        micro = [self._micro(step * self._accumulate + i) for i in range(self._accumulate)]
        rows = self._rows[np.concatenate(micro)]
        weights = np.concatenate([np.full(len(m), 1 / (len(m) * self._accumulate), dtype=np.float32) for m in micro])
        return Draw(step, rows, weights, self._starts(step, rows), [len(m) for m in micro])

    def _micro(self, number: int) -> np.ndarray:
        epoch, place = divmod(number, self._per_epoch)
        if epoch not in self._epochs:
            self._epochs = {e: order for e, order in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = self._order(epoch)
        if self._batches is not None:
            return self._batches[self._epochs[epoch][place]]
        return self._epochs[epoch][place * self._batch : (place + 1) * self._batch]

    def _order(self, epoch: int) -> np.ndarray:
        """Of the examples; or of the batches, where these are always the same."""
        if self._batches is None:
            return self._pool.epoch(self._seed, epoch)
        return np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self._batches))

    def _starts(self, step: int, rows: np.ndarray) -> np.ndarray:
        starts = np.full(len(rows), -1, dtype=np.int64)
        if self._crop is not None:
            spare = self._samples[rows] - self._crop
            random = np.random.default_rng([self._seed, _CROPS, step])
            drawn = random.integers(0, np.maximum(spare, 0) + 1)
            starts[spare > 0] = drawn[spare > 0]
        return starts
