"""What a training goes through: how much work its steps and looks are, and how much audio they touch."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmark.cells import TrainedReading
from downstream.fit.sampling import Draw, Sampler
from downstream.protocols import TaskProtocol
from downstream.represent.features import FRAMES, PooledFeatures
from downstream.represent.frame_features import FrameFeatures
from downstream.tasks import Fold
from downstream.types import Example
from upstream.audio import SAMPLE_RATE

DRAWS = 16  # steps, evenly spread over a training, that are looked at


@dataclass(frozen=True)
class Course:
    """One fold's training with one seed. `seconds` has the length of every example, about.

    The work of a batch is what its head computes with: rows of means, or seconds of frames, padding included.
    """

    reading: TrainedReading
    fold: Fold
    seed: int
    seconds: dict[Example, float]

    @property
    def numbers(self) -> TaskProtocol:
        return self.reading.protocol

    @property
    def crop_samples(self) -> int | None:
        crop = self.numbers.crop_seconds
        return None if crop is None else round(crop * SAMPLE_RATE)

    @property
    def looks(self) -> int:
        return -(-self.numbers.steps // self.numbers.eval_every)

    @cached_property
    def sampler(self) -> Sampler:
        """Rows are places in the pool."""
        pool, numbers = self.fold.train, self.numbers
        samples = np.array([round(self.seconds[example] * SAMPLE_RATE) for example in pool.examples])
        every, rest = np.arange(len(samples)), (numbers.drop_last, self.crop_samples, self.seed)
        return Sampler(pool, every, samples, numbers.batch, numbers.accumulate, *rest)

    @cached_property
    def draws(self) -> list[Draw]:
        return [self.sampler(step) for step in spread(self.numbers.steps)]

    def heard(self, draw: Draw) -> list[tuple[Example, float]]:
        """The utterances of a step and how many seconds of each are heard."""
        crop = self.numbers.crop_seconds
        examples = [self.fold.train.examples[row] for row in draw.rows]
        return [
            (example, self.seconds[example] if start < 0 else crop)
            for example, start in zip(examples, draw.starts, strict=True)
        ]

    def work(self, draw: Draw) -> float:
        first, work = 0, 0.0
        for size in draw.sizes:
            work += self._work([seconds for _, seconds in self.heard(draw)[first : first + size]])
            first += size
        return work

    def _work(self, seconds: list[float]) -> float:
        return len(seconds) * (max(seconds) if self.reading.form == FRAMES else 1.0)

    @cached_property
    def dev(self) -> list[Example]:
        """Those that count."""
        counts = self.fold.dev.dev_counts(self.seed)
        return [example for example, count in zip(self.fold.dev.examples, counts, strict=True) if count > 0]

    def parts(self, examples: list[Example]) -> list[list[Example]]:
        """Batches of a look at some examples, the longest first."""
        size = (FrameFeatures if self.reading.form == FRAMES else PooledFeatures).eval_rows
        longest = sorted(examples, key=lambda example: -self.seconds[example])
        return [longest[first : first + size] for first in range(0, len(longest), size)]

    def works(self, examples: list[Example]) -> list[float]:
        return [self._work([self.seconds[example] for example in part]) for part in self.parts(examples)]


def courses(reading: TrainedReading, seed: int, seconds: dict[Example, float]) -> list[Course]:
    return [Course(reading, fold, seed, seconds) for fold in reading.folds]


def spread(count: int) -> list[int]:
    """Numbers below a count, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, DRAWS)).astype(int)).tolist()


def live_seconds(all_of_them: list[Course]) -> tuple[float, float]:
    """Seconds of audio that are read, and heard, by trainings in lockstep: what several want at once is heard once."""
    read = heard = 0.0
    rounds = spread(max(course.numbers.steps for course in all_of_them))
    weight = max(course.numbers.steps for course in all_of_them) / len(rounds)
    for step in rounds:
        wanted: dict[tuple[Example, int], float] = {}
        for course in all_of_them:
            if step < course.numbers.steps:
                draw = course.sampler(step)
                own = zip(course.heard(draw), draw.starts.tolist(), strict=True)
                wanted.update(((example, start), seconds) for (example, seconds), start in own)
        heard += weight * sum(wanted.values())
        read += weight * sum(all_of_them[0].seconds[example] for example, _ in wanted)
    looks: dict[Example, int] = {}
    for course in all_of_them:
        for example in course.dev:
            looks[example] = max(looks.get(example, 0), course.looks)
    test = {example for course in all_of_them for example in course.fold.test.examples}
    of_looks = sum(looks[e] * all_of_them[0].seconds[e] for e in looks) + sum(all_of_them[0].seconds[e] for e in test)
    return read + of_looks, heard + of_looks
