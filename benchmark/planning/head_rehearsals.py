"""Rehearsals of what heads cost: steps, looks at dev and scoring, by the real learners on made-up features."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import cycle

import numpy as np
import torch

from benchmark.planning.courses import Course
from benchmark.planning.rates import timed
from downstream.fit.stepping import Step, at_once, take
from downstream.objectives import Answers
from downstream.represent.features import FRAMES
from downstream.represent.frame_features import FrameBatch
from downstream.types import Example
from upstream.audio import SAMPLE_RATE, read_header
from upstream.devices import threads
from upstream.errors import DataError
from upstream.loaded import LoadedUpstream

_STEP_SECONDS, _LOOK_SECONDS, _JUDGE_SECONDS = 1.0, 0.5, 0.25  # that each part of a rehearsal takes, about
_LONG = 5  # times as long as a part of a rehearsal should take
_SHARE = 0.02  # of the work itself, which a rehearsal need not exceed
_MOST = 256  # trials
_JUDGED = (2, 8, 64, 512, 4096)  # test examples that are judged in turn, until that takes a while
_DEVIATION = 0.1  # of made-up features

Trial = tuple[float, float]  # seconds to compute something, and to open files for it
Points = list[tuple[float, float, float]]  # of so much work: the same


class Rehearsal:
    """The heads of a training at its start, and noise of the shape of hidden states to try them on."""

    def __init__(self, course: Course, upstream: LoadedUpstream) -> None:
        reading = course.reading
        self._course, self._upstream, self._objective = course, upstream, reading.objective
        self._manifest, self._noise = reading.manifest, torch.empty(0)
        self._learners = self._objective.learners(upstream, reading.protocol, course.seed, course.fold.train.examples)

    def figures(self) -> dict:
        """Everything that a prediction needs; see the methods."""
        cores = torch.get_num_threads()
        with threads(self._learners.threads):
            steps = self._steps(cores)
        looks, figure = self._looks()
        state = sum(tensor.nbytes for tensor in self._learners.state().values())
        return {"steps": steps, "looks": looks, "figure": figure, "judged": self._judged(), "state_bytes": state}

    def _steps(self, cores: int) -> Points:
        """How long a step of so much work takes, if as many are taken at a time as in training."""
        course, device = self._course, self._upstream.device
        count = at_once(self._learners, cores)
        works = [course.work(draw) for draw in course.draws]
        losses = torch.zeros(len(self._learners.rates), dtype=torch.float64, device=device)

        def one(number: int) -> Trial:
            draw = course.draws[number]
            examples = [course.fold.train.examples[row] for row in draw.rows]
            batch, opened, opening = self._batch(examples, draw.starts)

            # Batches of their own, as in training: one that is used again is nearer to the processor.
            batches = [batch, *(batch.clone() for _ in range(count - 1))]

            def some() -> None:
                steps = [Step(own, opened, course.sampler(draw.step)) for own in batches]
                for step in steps:
                    self._objective.too_short(self._learners, step.batch, step.targets)
                take(self._objective, self._learners, steps, losses, cores)

            return timed(some, device) / count, opening

        whole = course.numbers.steps * len(course.reading.folds)  # a trial takes as long as `count` of its steps
        return measured(works, one, _STEP_SECONDS / count, whole // count)

    def _looks(self) -> tuple[Points, float]:
        """How long it takes to predict a batch of so much work, and to score an example for one point."""
        course, device = self._course, self._upstream.device
        parts, works = course.parts(course.dev), course.works(course.dev)
        figures: list[float] = []

        def one(number: int) -> Trial:
            examples = parts[number]
            batch, opened, opening = self._batch(examples)
            found: list[list] = []
            seconds = timed(lambda: found.extend(self._objective.predict(self._learners, batch, opened, False)), device)
            targets, start = self._encoded(examples), time.perf_counter()
            with suppress(DataError):  # there may be no trial among so few
                for predicted in found:
                    self._objective.figure(predicted, examples, targets, np.ones(len(examples)))
                figures.append((time.perf_counter() - start) / len(found) / len(examples))
            return seconds, opening

        whole = course.looks * len(parts) * len(course.reading.folds)
        return measured(works, one, _LOOK_SECONDS, whole), figures[-1] if figures else 0.0

    def _judged(self) -> list[tuple[int, float]]:
        """How long it takes to judge so many test examples: more and more of them, after some that warm up."""
        objective, test = self._objective, self._course.fold.test.examples
        if getattr(objective, "search", None) is not None:  # what a language model makes of noise takes another time
            objective = replace(objective, search=None)
        found: list[tuple[int, float]] = []
        for count in (_JUDGED[0], *_JUDGED):
            places = np.unique(np.linspace(0, len(test) - 1, min(count, len(test))).astype(int))
            start = time.perf_counter()
            answers, ready = self._answers([test[place] for place in places]), time.perf_counter()
            try:
                objective.judge([answers], 0, lambda _: None)
            except DataError:
                if len(places) == len(test):
                    raise
                continue  # there may be no trial among so few
            found.append((len(places), time.perf_counter() - ready))
            if len(found) > 1 and len(places) == len(test):
                break
            if len(found) > 2 and time.perf_counter() - start > _JUDGE_SECONDS:
                break
        return found[1:] or found

    def _answers(self, examples: list[Example]) -> Answers:
        predicted: list = []
        for _, batch, opened in self._in_parts(examples):
            predicted.extend(self._objective.predict(self._learners, batch, opened, True)[0])
        fold = self._course.fold
        few = [pool.examples[: len(examples)] for pool in (fold.dev, fold.train)]
        return Answers(fold.name, examples, predicted, self._outputs, *few, self._upstream.hop)

    def _outputs(self, examples: list[Example]) -> Iterator[tuple[int, torch.Tensor, object]]:
        for places, batch, opened in self._in_parts(examples):
            [found] = self._learners.outputs(batch, best=True, points=[0])
            yield from zip(places, found, opened, strict=True)

    def _in_parts(self, examples: list[Example]) -> Iterator[tuple[range, object, Sequence]]:
        size = len(self._course.parts(examples)[0])
        for first in range(0, len(examples), size):
            batch, opened, _ = self._batch(examples[first : first + size])
            yield range(first, min(first + size, len(examples))), batch, opened

    def _batch(self, examples: list[Example], starts: np.ndarray | None = None) -> tuple[object, Sequence, float]:
        """Made-up features of some examples, their targets, and how long these took to open."""
        encoded = self._encoded(examples)
        start = time.perf_counter()
        opened = self._objective.opened(encoded)
        opening = time.perf_counter() - start
        layers, dim = self._upstream.num_layers, self._upstream.dim
        if self._course.reading.form != FRAMES:
            return self._values(len(examples), layers, dim).float(), opened, opening
        crop = self._course.crop_samples if starts is not None else None
        samples = np.array([self._samples(example) for example in examples])
        if crop is not None:
            samples = np.where(starts >= 0, crop, samples)
        values = [self._values(layers, max(1, round(count / self._upstream.hop)), dim) for count in samples]
        return FrameBatch(values, torch.ones(len(examples), layers), torch.from_numpy(samples)), opened, opening

    def _encoded(self, examples: list[Example]) -> object:
        return self._objective.encode(examples, str(self._manifest.root))

    def _values(self, *shape: int) -> torch.Tensor:
        """Noise in half precision, in memory of its own as what is read from a disk has it."""
        size = int(np.prod(shape))
        if size > len(self._noise):
            self._noise = (_DEVIATION * torch.randn(size)).half()
        return self._noise[:size].clone().view(shape)

    def _samples(self, example: Example) -> int:
        """Exactly, where the targets have to be as long."""
        if self._course.reading.protocol.crop_seconds is not None or example.stop is not None:
            return round(self._course.seconds[example] * SAMPLE_RATE)
        return read_header(self._manifest.path(example)).samples - example.start


def measured(works: list[float], one: Callable[[int], Trial], seconds: float, whole: int) -> Points:
    """Means of trials on some of those works, from the middle to the extremes, after one that warms up.

    They take about so many seconds, and little beside all of the work, which is `whole` trials. Where one takes much
    longer it is the only one, and what warming up adds is little of it.
    """
    order = np.argsort(works, kind="stable")
    quarters = [order[round(share * (len(order) - 1))] for share in (0.5, 0.0, 1.0, 0.25, 0.75)]
    places = list(dict.fromkeys([*quarters, *order]))
    first = one(places[0])
    if sum(first) > _LONG * seconds:
        return [(works[places[0]], *first)]
    trials: dict[float, list[Trial]] = {}
    limit, spent = min(seconds, _SHARE * whole * sum(first)), 0.0
    for count, place in enumerate(cycle(places), start=1):
        trials.setdefault(works[place], []).append(one(place))
        spent += sum(trials[works[place]][-1])
        if spent >= limit or count == _MOST:
            break
    return [(work, *np.mean(own, axis=0).tolist()) for work, own in sorted(trials.items())]


def at(points: Points, works: Sequence[float], column: int) -> float:
    """Seconds for some works together, from what was measured of others: 1 to compute, 2 to open files."""
    known, seconds = [point[0] for point in points], [point[column] for point in points]
    if len(points) == 1:
        return sum(seconds[0] * work / known[0] for work in works)
    return float(np.interp(works, known, seconds).sum())
