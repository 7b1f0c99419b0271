"""The one way to look at a split: what heads answer of its rows, asked by one training or by several at once."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from downstream.fit.batches import Batch, gathered
from downstream.fit.learners import Learners
from downstream.objectives import Objective
from downstream.represent.features import Features
from downstream.represent.hearing import prefetched
from upstream.devices import threads


@dataclass
class Question:
    """What the heads of one training are asked: of which rows, the heads of now or the best.

    `workers` is with how many threads of torch they answer, where that matters. `seconds` grows by what it took: of a
    batch that several questions shared each has its share.
    """

    objective: Objective
    learners: Learners
    rows: np.ndarray
    targets: Sequence
    best: bool = False
    workers: int | None = None
    seconds: float = 0.0

    @property
    def points(self) -> Sequence[int]:
        """Whose heads answer: every point has a best one, and only those that are trained have one of now."""
        return range(len(self.learners.rates)) if self.best else self.learners.live


class Opened:
    """The targets of a batch with what is in files. What goes wrong is raised where they are wanted."""

    def __init__(self, objective: Objective, targets: Sequence) -> None:
        self._targets, self._error = None, None
        try:
            self._targets = objective.opened(targets)
        except Exception as error:
            self._error = error

    def __call__(self) -> Sequence:
        if self._error is not None:
            raise self._error
        return self._targets


def predict(
    objective: Objective,
    learners: Learners,
    features: Features,
    rows: np.ndarray,
    targets: Sequence,
    best: bool = False,
) -> list[list]:
    """What the best head of each point, or each of those that are trained, predicts of each row."""
    [found] = predict_all([Question(objective, learners, rows, targets, best)], features)
    if isinstance(found, Exception):
        raise found
    return found


def predict_all(questions: Sequence[Question], features: Features) -> list[list[list] | Exception]:
    """The answers to each question, or the error that it ended with. What the features raise ends all of them."""
    found: list = [[[None] * len(question.rows) for _ in question.points] for question in questions]
    for number, places, batch, opened in together(questions, features):
        if isinstance(found[number], Exception):
            continue
        question, start = questions[number], time.perf_counter()
        try:
            with threads(question.workers or torch.get_num_threads()):
                predicted = question.objective.predict(question.learners, batch, opened(), question.best)
            for answers, own in zip(found[number], predicted, strict=True):
                for place, answer in zip(places, own, strict=True):
                    answers[place] = answer
        except Exception as error:
            found[number] = error
        question.seconds += time.perf_counter() - start
    return found


def outputs(
    objective: Objective, learners: Learners, features: Features, rows: np.ndarray, targets: Sequence, point: int
) -> Iterator[tuple[int, torch.Tensor, object]]:
    """For each row its place among the rows, what the best head of a point answers, and its opened target."""
    with closing(together([Question(objective, learners, rows, targets)], features)) as batches:
        for _, places, batch, opened in batches:
            [found] = learners.outputs(batch, best=True, points=[point])
            for place, own, target in zip(places, found, opened(), strict=True):
                yield int(place), own, target


def together(questions: Sequence[Question], features: Features) -> Iterator[tuple[int, np.ndarray, Batch, Opened]]:
    """The batches of all questions: which question, their places among its rows, features, targets.

    Each question has the batches that it would have alone, the longest utterances first, so that its answers are the
    same. An utterance is read or heard when the first of them wants it, and let go after the last.
    """
    parts = _parts(questions, features)
    wanted: dict[int, list[int]] = {}  # by row: the numbers of the parts that have it
    for part, (number, places) in enumerate(parts):
        for row in questions[number].rows[places].tolist():
            wanted.setdefault(row, []).append(part)

    def read(part: int) -> tuple[list[int], Batch | None, Opened]:
        number, places = parts[part]
        question = questions[number]
        fresh = [row for row in question.rows[places].tolist() if wanted[row][0] == part]
        batch = features.batch(np.array(fresh)) if fresh else None
        return fresh, batch, Opened(question.objective, question.targets[places])

    held: dict[int, tuple[Batch, int]] = {}
    last, start = len(parts), time.perf_counter()
    with closing(prefetched(read, range(last), features.ahead)) as batches:
        for part, ((number, places), (fresh, batch, opened)) in enumerate(zip(parts, batches, strict=True)):
            held.update({row: (batch, place) for place, row in enumerate(fresh)})
            rows = questions[number].rows[places].tolist()
            whole = gathered([held[row] for row in rows])
            for row in rows:
                if wanted[row][-1] == part:
                    held.pop(row, None)
            sharing = {parts[other][0] for row in fresh for other in wanted[row]} or {number}
            taken = (time.perf_counter() - start) / len(sharing)
            for other in sharing:
                questions[other].seconds += taken
            del batch
            yield number, places, whole, opened
            start = time.perf_counter()


def _parts(questions: Sequence[Question], features: Features) -> list[tuple[int, np.ndarray]]:
    """The batches of each question, as places among its rows; of all of them the one with the longest first."""
    parts = []
    for number, question in enumerate(questions):
        samples = features.samples[question.rows]
        order = np.argsort(-samples, kind="stable")
        for first in range(0, len(order), features.eval_rows):
            places = order[first : first + features.eval_rows]
            parts.append((samples[places[0]], number, places))
    return [(number, places) for _, number, places in sorted(parts, key=lambda part: (-part[0], part[1]))]
