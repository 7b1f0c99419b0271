"""One training: what it is made of, and its steps, looks and checkpoints while it is under way."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from downstream.fit import checkpoints
from downstream.fit.batches import Batch
from downstream.fit.checkpoints import Progress
from downstream.fit.halving import to_drop
from downstream.fit.learners import Learners
from downstream.fit.looking import Opened, Question
from downstream.fit.sampling import Draw, Pool, Sampler
from downstream.fit.stepping import Step, at_once, take
from downstream.objectives import Objective
from downstream.protocols import TaskProtocol
from downstream.represent.features import Features
from downstream.tasks import Fold


@dataclass
class Split:
    """A pool of examples as a fold needs it: rows of the feature set, what is learned of each, counts in a score."""

    pool: Pool
    rows: np.ndarray
    targets: Sequence
    counts: np.ndarray


@dataclass
class Training:
    """Every head of a grid learns from a fold, from its checkpoint on if there is one; the best state of each is kept.

    `on_look` is told the history so far after each look at dev. `seconds` is how long it took: of what several
    trainings share, each has its share.
    """

    fold: Fold
    objective: Objective
    learners: Learners
    train: Split
    dev: Split
    protocol: TaskProtocol
    seed: int
    checkpoint: Path
    on_look: Callable[[list[dict]], None] = lambda history: None
    progress: Progress = field(default_factory=Progress)
    seconds: float = 0.0


class Running:
    """A training under way."""

    def __init__(self, training: Training) -> None:
        self.training, self.error = training, None
        self.last = training.protocol.steps
        self.saved, self.saving = time.monotonic(), 0.0  # when the last checkpoint was written, and how long it took
        self._unsaved = False
        self._waiting: list[Step] = []

    def begin(self, features: Features, crop_samples: int | None) -> None:
        """From its checkpoint if there is one."""
        own = self.training
        protocol, points = own.protocol, len(own.learners.rates)
        self._sampler = Sampler(
            own.train.pool,
            own.train.rows,
            features.samples,
            protocol.batch,
            protocol.accumulate,
            protocol.drop_last,
            crop_samples,
            own.seed,
        )
        self._position = np.full(int(own.train.rows.max()) + 1, -1)  # from a row of the features back to the split
        self._position[own.train.rows] = np.arange(len(own.train.rows))
        self._cores, self._workers = torch.get_num_threads(), own.learners.threads
        own.progress = checkpoints.load(own.checkpoint, own.learners) or Progress(
            loss_sum=[0.0] * points, best_dev=[None] * points, best_step=[None] * points
        )
        self._losses = torch.tensor(own.progress.loss_sum, dtype=torch.float64, device=own.learners.device)

    def attempt(self, work: Callable[..., None], *arguments: object) -> None:
        """Some work on this training alone: it counts the time, and an error ends no other one."""
        if self.error is None:
            start = time.perf_counter()
            try:
                work(*arguments)
            except Exception as error:
                self.error = error
            self.training.seconds += time.perf_counter() - start

    @property
    def goes_on(self) -> bool:
        return self.error is None and (self.training.progress.step < self.last or self.is_at_a_look)

    @property
    def is_at_a_look(self) -> bool:
        """Whether dev has to be looked at before the next step."""
        progress, every = self.training.progress, self.training.protocol.eval_every
        looked = progress.history[-1]["step"] if progress.history else 0
        return progress.step > looked and (progress.step == self.last or progress.step % every == 0)

    @property
    def next_look(self) -> int:
        """At which step."""
        step, every = self.training.progress.step, self.training.protocol.eval_every
        return step if self.is_at_a_look else min(self.last, (step // every + 1) * every)

    def drawn(self, step: int) -> tuple[Draw, Opened]:
        draw, train = self._sampler(step), self.training.train
        return draw, Opened(self.training.objective, train.targets[self._position[draw.rows]])

    def step(self, batch: Batch, opened: Opened, draw: Draw) -> None:
        """Take a step, now or with some that follow."""
        own, targets = self.training, opened()
        short = own.objective.too_short(own.learners, batch, targets)
        if len(short):
            places = self._position[draw.rows[short]].tolist()
            own.progress.too_short = sorted({*own.progress.too_short, *places})
        self._waiting.append(Step(batch, targets, draw))
        if len(self._waiting) >= at_once(own.learners, self._cores):
            self.catch_up()

    def catch_up(self) -> None:
        """Take the steps that wait for others."""
        if not self._waiting:
            return
        own, steps = self.training, self._waiting
        self._waiting = []
        if torch.get_num_threads() != self._workers:
            torch.set_num_threads(self._workers)
        self._losses = take(own.objective, own.learners, steps, self._losses, self._cores)
        own.progress.step += len(steps)
        own.progress.loss_steps += len(steps)
        self._unsaved = True

    def question(self) -> Question:
        """What a look wants to know."""
        own, counted = self.training, self._counted
        rows, targets = own.dev.rows[counted], own.dev.targets[counted]
        return Question(own.objective, own.learners, rows, targets, workers=self._workers)

    @property
    def _counted(self) -> np.ndarray:
        return np.flatnonzero(self.training.dev.counts > 0)

    def score(self, found: list[list] | Exception) -> None:
        """Score every point that is trained on dev; keep those that are strictly better than they ever were."""
        if isinstance(found, Exception):
            raise found
        own, progress, dev, counted = self.training, self.training.progress, self.training.dev, self._counted
        higher, learners = own.objective.higher, own.learners
        examples, counts = [dev.pool.examples[i] for i in counted], dev.counts[counted]
        figures = (own.objective.figure(predicted, examples, dev.targets[counted], counts) for predicted in found)
        scores = dict(zip(learners.live, figures, strict=True))
        for point, value in scores.items():
            best = progress.best_dev[point]
            if best is None or (value > best if higher else value < best):
                progress.best_dev[point], progress.best_step[point] = value, progress.step
                learners.keep(point)
        mean_loss = (self._losses / progress.loss_steps).tolist()
        progress.history.append(
            {
                "step": progress.step,
                "lr": learners.rates,
                **({"layer": learners.only_layers} if learners.only_layers else {}),
                "train_loss": [loss if np.isfinite(loss) else None for loss in mean_loss],
                "dev": [scores.get(point) for point in range(len(learners.rates))],
            }
        )
        if own.protocol.halving:
            learners.drop(to_drop(progress.history, self.last, higher))
        self._losses.zero_()
        progress.loss_steps, self._unsaved = 0, True

    def save(self) -> None:
        self.catch_up()
        if self._unsaved:
            start = time.monotonic()
            self.training.progress.loss_sum = self._losses.tolist()
            checkpoints.save(self.training.checkpoint, self.training.learners, self.training.progress)
            self.saved, self._unsaved = time.monotonic(), False
            self.saving = self.saved - start

    def best_so_far(self) -> str:
        best_dev, learners = self.training.progress.best_dev, self.training.learners
        choose = max if self.training.objective.higher else min
        best = choose(range(len(learners.rates)), key=lambda point: best_dev[point])
        layer = f" of layer {learners.only_layers[best]}" if learners.only_layers else ""
        return f"best dev {best_dev[best]:.2f} at lr {learners.rates[best]:g}{layer}"
