"""How long the heads of a cell will take, from rehearsals of them: learning, or looking for something, and scoring."""

import math
from dataclasses import dataclass, replace

from benchmark.cells import Reading, SearchReading, TrainedReading
from benchmark.planning.courses import Course, courses
from benchmark.planning.head_rehearsals import Rehearsal, at
from benchmark.planning.rates import Rates
from benchmark.planning.rehearsals import disk
from benchmark.planning.search_rehearsals import compared_seconds, searching
from downstream.processes import cores, free_memory
from downstream.represent.features import FRAMES, Request
from downstream.represent.sizes import shown_size
from downstream.types import Example
from upstream.audio import SAMPLE_RATE
from upstream.errors import ResourceError
from upstream.loaded import LoadedUpstream

_SAVED_EVERY = 5.0  # seconds, at most so often
_SAVING_SHARE = 0.05  # of the time of a training, at most
_LOADING = 1.0  # seconds until the processes that decode with a language model are ready
_DECODED_FRAMES = 10_000  # a second and process; 13,000 were measured on the mini corpus


@dataclass(frozen=True)
class Times:
    """Seconds by hop of a cell whose features are there already, and how much memory its heads take."""

    hops: dict[str, float]
    head_bytes: int = 0


@dataclass(frozen=True)
class Heads:
    """The heads of an upstream's cells, and what their times depend on beside themselves."""

    upstream: LoadedUpstream
    request: Request
    seconds: dict[Example, float]  # of audio
    memory: int  # bytes that the heads of a cell may take
    rates: Rates

    def times(self, reading: Reading, seed: int, kept: bool) -> Times:
        """Of a cell; reading what is kept included, hearing left out."""
        if isinstance(reading, SearchReading):
            return self._searched(reading)
        return self._trained(reading, courses(reading, seed, self.seconds), kept)

    def _searched(self, reading: SearchReading) -> Times:
        found = self.rates.of(
            f"the search of {reading.task.name} in {self._shape}",
            self.upstream.device,
            self._facts(reading),
            lambda: searching(reading, self.request, self.seconds),
        )
        if found is None:
            return Times({"search": math.nan})
        sweeping = found["seconds"] * compared_seconds(dict(reading.parts), self.seconds)
        return Times({"search": sweeping + _beyond(found["judged"], reading.search.pairs())})

    def _trained(self, reading: TrainedReading, trainings: list[Course], kept: bool) -> Times:
        size = learners_bytes(reading, self.upstream, trainings[0].seed)
        found = self.rates.of(
            f"the heads of {reading.task.name} on {self._shape}",
            self.upstream.device,
            self._facts(reading),
            lambda: self._rehearsed(reading, trainings[0], size),
        )
        if found is None:
            return Times({"fit": math.nan, "score": math.nan}, size)
        points = len(reading.protocol.heads(self.upstream.num_layers)[0])
        fit = sum(self._fit(course, found, points, kept) for course in trainings)
        return Times({"fit": fit, "score": self._scoring(reading, trainings, found, points)}, size)

    def _rehearsed(self, reading: TrainedReading, course: Course, size: int) -> dict:
        if size > self.memory:
            raise ResourceError(
                f"the heads of {reading.task.name} take {shown_size(size)}, and {shown_size(self.memory)} may be used. "
                "Fewer learning rates (--lr) take less."
            )
        return Rehearsal(course, self.upstream).figures()

    def _fit(self, course: Course, found: dict, points: int, kept: bool) -> float:
        """Seconds of a training. What is kept as frames is read while others are computed with."""
        steps, draws = course.numbers.steps, course.draws
        works, looks = [course.work(draw) for draw in draws], course.works(course.dev)
        weight = steps / len(draws)
        computing = weight * at(found["steps"], works, 1) + course.looks * at(found["looks"], looks, 1)
        opening = weight * at(found["steps"], works, 2) + course.looks * at(found["looks"], looks, 2)
        if kept:
            drawn = weight * sum(sum(self.seconds[e] for e, _ in course.heard(draw)) for draw in draws)
            rows = weight * sum(len(draw.rows) for draw in draws) * (1 if course.crop_samples is None else 2)
            looked = course.looks * sum(self.seconds[example] for example in course.dev)
            opening += self._reading(rows + course.looks * len(course.dev), drawn + looked)
        figures = course.looks * points * len(course.dev) * found["figure"]
        ahead = kept and self.request.form == FRAMES
        total = (max(computing, opening) if ahead else computing + opening) + figures
        return total + self._saving(total, course.looks, found["state_bytes"])

    def _reading(self, rows: float, seconds: float) -> float:
        """Of what is kept: so many means, or so many seconds of frames."""
        layers, dim = self.upstream.num_layers, self.upstream.dim
        if self.request.form != FRAMES:
            return rows * self.disk(4 * layers * dim)["record"]
        a_second = 2 * layers * dim * SAMPLE_RATE / self.upstream.hop
        size = max(1, round(a_second * sum(self.seconds.values()) / len(self.seconds)))
        found = self.disk(size)
        from_memory = self.request.bytes_estimate() < free_memory()
        return seconds * a_second * (found["record"] / size if from_memory else found["read"])

    def _saving(self, seconds: float, looks: int, size: int) -> float:
        each = size * self.disk(size)["write"]
        return each * (1 + min(looks, seconds / max(_SAVED_EVERY, each / _SAVING_SHARE)))

    def disk(self, record_bytes: int) -> dict:
        """What writing and reading take in the cache."""
        folder = self.rates.folder
        place = next(parent for parent in [folder.absolute(), *folder.absolute().parents] if parent.exists())
        bits = max(1, record_bytes).bit_length()
        facts = {"device": place.stat().st_dev, "record": bits}
        found = self.rates.of("the cache", self.upstream.device, facts, lambda: disk(folder, 1 << bits))
        return found or dict.fromkeys(("write", "read", "record"), math.nan)

    def _scoring(self, reading: TrainedReading, trainings: list[Course], found: dict, points: int) -> float:
        seconds = 0.0
        for course in trainings:
            test = course.fold.test.examples
            works = course.works(test)
            seconds += at(found["looks"], works, 1) + at(found["looks"], works, 2)
            seconds += points * found["figure"] * len(test)
        for suffix in {course.fold.suffix for course in trainings}:
            judged = [course for course in trainings if course.fold.suffix == suffix]
            seconds += _beyond(found["judged"], sum(len(course.fold.test.examples) for course in judged))
            if getattr(reading.objective, "search", None) is not None:
                heard = sum(self.seconds[example] for course in judged for example in course.fold.test.examples)
                frames = heard * SAMPLE_RATE / max(self.upstream.hop, reading.protocol.frame_samples or 0)
                seconds += _LOADING + frames / _DECODED_FRAMES / cores()
        return seconds

    @property
    def _shape(self) -> str:
        return f"{self.upstream.num_layers} x {self.upstream.dim} every {self.upstream.hop} samples"

    def _facts(self, reading: Reading) -> dict:
        manifest = reading.manifest
        corpus = (manifest.mini or {}).get("digest", manifest.corpus)
        return {
            "shape": [self.upstream.num_layers, self.upstream.dim, self.upstream.hop],
            "settings": reading.protocol.settings(),
            "corpus": [corpus, len(reading.examples)],
            "learned": reading.digest(),
        }


def learners_bytes(reading: Reading, upstream: LoadedUpstream, seed: int) -> int:
    """How much memory the heads of a cell take, from how much one of them does; gradients come to a quarter more."""
    if not isinstance(reading, TrainedReading):
        return 0
    numbers, heads = reading.protocol, reading.effort(upstream.num_layers)["heads"]
    single = replace(numbers, rates=numbers.rates[:1], mix=None)
    one = reading.objective.learners(upstream, single, seed, reading.folds[0].train.examples)
    return heads * sum(tensor.nbytes for tensor in one.state().values())


def _beyond(judged: list[tuple[int, float]], count: int) -> float:
    """Seconds to judge so many, from what some took: in a straight line that never goes down."""
    (few, short), (many, long) = judged[-2:] if len(judged) > 1 else judged * 2
    return long + max(0.0, long - short) / max(1, many - few) * (count - many)
