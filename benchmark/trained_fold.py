"""One training of a cell, from the splits of its fold to what every point of the grid predicts for test."""

import json
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from benchmark import watching
from benchmark.cells import Cell, TrainedReading
from downstream import files
from downstream.fit.checkpoints import Progress
from downstream.fit.halving import dropped_at
from downstream.fit.looking import Question, outputs
from downstream.fit.running import Split, Training
from downstream.fit.sampling import Pool
from downstream.objectives import Answers
from downstream.represent.features import Features
from downstream.tasks import Fold
from downstream.types import Example
from upstream.audio import SAMPLE_RATE
from upstream.errors import BenchmarkError, DataError


class Curves:
    """The training curves of a cell, one line a look at dev, on disk while it trains."""

    def __init__(self, cell: Cell) -> None:
        self._path, self._watched = cell.folder / "train.jsonl", cell.watched
        self._lines: dict[str, list[str]] = {}

    def update(self, fold: str, history: list[dict]) -> None:
        self._lines[fold] = [json.dumps({"fold": fold, **look}) for look in history]
        files.write_text(self._path, "\n".join(line for lines in self._lines.values() for line in lines) + "\n")
        if self._watched:
            watching.write_looks(self._watched / fold, history)


class TrainedFold:
    """A fold that is trained, and afterwards what its heads answer and how they got there."""

    def __init__(self, cell: Cell, fold: Fold, features: Features, curves: Curves) -> None:
        self.cell, self.fold, self.features = cell, fold, features
        reading: TrainedReading = cell.reading
        self.train, self.dev, self.test = map(self._split, fold.pools, ("train", "dev", "test"))
        self.learners = reading.objective.learners(cell.upstream, reading.protocol, cell.seed, fold.train.examples)
        self._refuse_short()
        self.training = Training(
            fold,
            reading.objective,
            self.learners,
            self.train,
            self.dev,
            reading.protocol,
            cell.seed,
            cell.folder / f"{fold.name}.state",
            lambda history: curves.update(fold.name, history),
        )
        self.predicted: list[list] = []
        self.test_scores: list[float] = []

    @property
    def progress(self) -> Progress:
        return self.training.progress

    def question(self) -> Question:
        """What every point predicts for test."""
        return Question(self.training.objective, self.learners, self.test.rows, self.test.targets, best=True)

    def score(self, predicted: list[list]) -> None:
        test, examples = self.test, self.test.pool.examples
        counts, self.predicted = np.ones(len(examples)), predicted
        figure = self.training.objective.figure
        self.test_scores = [figure(point, examples, test.targets, counts) for point in predicted]

    def answers(self, point: int) -> Answers:
        """What the head of a point says of the test examples."""
        return Answers(
            self.fold.name,
            self.test.pool.examples,
            self.predicted[point],
            lambda examples: self._outputs(examples, point),
            self.dev.pool.examples,
            self.train.pool.examples,
            self.cell.upstream.hop,
        )

    def _outputs(self, examples: list[Example], point: int) -> Iterator[tuple[int, Tensor, object]]:
        reading = self.cell.reading
        targets = reading.objective.encode(examples, str(reading.manifest.root))
        rows = self.features.request.rows(examples)
        return outputs(reading.objective, self.learners, self.features, rows, targets, point)

    def point(self, number: int) -> dict:
        """What tells a point of the grid from the others."""
        rates, layers = self.learners.rates, self.learners.only_layers
        return ({"layer": layers[number]} if layers else {}) | {"lr": rates[number]}

    def selection(self) -> list[dict]:
        """Every point of the grid, with its scores on what chooses among them and on test.

        Of those that were dropped on the way they are the scores of the best state until then.
        """
        halving = self.training.protocol.halving
        dropped = [{"dropped_at": step} if halving else {} for step in dropped_at(self.progress.history)]
        return [
            {
                "fold": self.fold.name,
                **self.point(point),
                **dropped[point],
                "best_step": self.progress.best_step[point],
                "selected_on": self.fold.selected_on,
                "dev": self.progress.best_dev[point],
                "test": self.test_scores[point],
                "layer_weights": self.learners.layer_weights(point),
            }
            for point in range(len(self.learners.rates))
        ]

    @property
    def optimizer_steps(self) -> int:
        """Of all points together."""
        steps = self.training.protocol.steps
        return sum(dropped or steps for dropped in dropped_at(self.progress.history))

    def notes(self) -> Iterator[str]:
        """What there is to say of utterances that are left out or from which nothing could be learned.

        Those of dev and test are left out where another fold learns from them.
        """
        seconds = self.features.request.least_samples / SAMPLE_RATE
        splits = (self.train, self.dev, self.test)
        for name, whole, split in zip(("training", "dev", "test"), self.fold.pools, splits, strict=True):
            left_out = len(whole.examples) - len(split.pool.examples)
            if left_out:
                yield f"{self.fold.name}: {left_out} {name} utterances of no more than {seconds:g} s are left out"
        short = self.progress.too_short
        if short:
            ids = ", ".join(self.train.pool.examples[place].id for place in short[:3])
            yield (
                f"{self.fold.name}: training utterances with fewer frames than their targets need: {len(short)} ({ids}"
                f"{', ...' if len(short) > 3 else ''}); their loss is infinite and counts as zero"
            )

    def _refuse_short(self) -> None:
        """Before hours of training: an utterance that cannot have the frames which the head needs."""
        hop, least = self.cell.upstream.hop, self.learners.least_frames
        left = " once silence is taken out" if self.features.request.trim else ""
        for split in (self.train, self.dev, self.test):
            for example, samples in zip(split.pool.examples, self.features.samples[split.rows], strict=True):
                if samples // hop + 1 < least:
                    raise DataError(
                        f"{self.cell.reading.manifest.path(example)}: {samples} samples{left} are too few: this head "
                        f"needs {least} frames, one every {hop} samples. Replace the file, or take it off its list."
                    )

    def _split(self, pool: Pool, name: str) -> Split:
        reading, request = self.cell.reading, self.features.request
        where = f"{reading.manifest.root}, {name} of {self.fold.name}"
        if request.least_samples:
            rows = request.rows(pool.examples)
            samples = self.features.samples[rows]
            heard = [not request.unheard(row, length) for row, length in zip(rows, samples, strict=True)]
            if heard and not any(heard):
                seconds = f"{request.least_samples / SAMPLE_RATE:g} s{', silence taken out' if request.trim else ''}"
                raise DataError(
                    f"{where}: all {len(heard)} utterances have no more than {seconds}, and such are left out. Look at "
                    f"the audio, or keep shorter ones with --set {reading.task.name}.min_seconds=0.5"
                )
            pool = pool.only(np.flatnonzero(heard))
        if not pool.examples:
            raise BenchmarkError(f"{where}: no examples. Use a larger --limit or check the corpus with `data check`.")
        targets = reading.objective.encode(pool.examples, where)
        return Split(pool, request.rows(pool.examples), targets, pool.dev_counts(self.cell.seed))
