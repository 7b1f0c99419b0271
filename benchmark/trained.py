"""The work on cells in which something is learned: train every fold, choose, predict, score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from safetensors.torch import save

from benchmark.cells import Cell, TrainedReading
from benchmark.clock import Clock
from benchmark.findings import Findings
from benchmark.trained_fold import Curves, TrainedFold
from downstream.fit.looking import predict_all
from downstream.fit.train import fit
from downstream.objectives import Judgement
from downstream.represent.features import Features


def train(
    cells: Sequence[Cell], features: Features, clocks: Sequence[Clock], progress: bool, say: Callable[[str], None]
) -> list[Findings | Exception]:
    """Train and score the folds of some cells on the same features, or go on with them: what each cell came to, or the
    error that ended it.

    The first folds of all cells are trained side by side, then the second ones, and so on.
    """
    works = [_Work(cell, features, clock, say) for cell, clock in zip(cells, clocks, strict=True)]
    for number in range(max(len(work.reading.folds) for work in works)):
        _train([work for work in works if number < len(work.reading.folds)], number, features, progress)
    for work in works:
        work.attempt(work.judge)
    return [work.error or work.findings for work in works]


def _train(works: Sequence["_Work"], number: int, features: Features, progress: bool) -> None:
    """One fold of each cell."""
    for work in works:
        work.attempt(work.begin, number)
    going = [work for work in works if work.error is None]
    if not going:
        return
    trainings = [work.folds[-1].training for work in going]
    try:
        errors = fit(trainings, features, features.request.crop_samples, progress)
    finally:  # also where it is interrupted
        for work, training in zip(going, trainings, strict=True):
            work.clock.add("fit", training.seconds)
    for work, error in zip(going, errors, strict=True):
        work.error = error
    going = [work for work in going if work.error is None]
    questions = [work.folds[-1].question() for work in going]
    try:
        answers = predict_all(questions, features)
    except Exception as error:
        answers = [error] * len(going)
    for work, question, predicted in zip(going, questions, answers, strict=True):
        work.clock.add("score", question.seconds)
        work.attempt(work.score, predicted)


class _Work:
    """A cell on its way to its findings."""

    def __init__(self, cell: Cell, features: Features, clock: Clock, say: Callable[[str], None]) -> None:
        self.cell, self.features, self.clock, self._say = cell, features, clock, say
        self.reading: TrainedReading = cell.reading
        self.curves = Curves(cell)
        self.folds: list[TrainedFold] = []
        self.findings: Findings | None = None
        self.error: Exception | None = None

    def attempt(self, work: Callable[..., None], *arguments: object) -> None:
        """Some work on this cell alone, whose error ends no other one."""
        if self.error is None:
            try:
                work(*arguments)
            except Exception as error:
                self.error = error

    def begin(self, number: int) -> None:
        if number == 0 and self.reading.protocol.mix is not None:
            self._say(f"{self.cell}: {_size(self.cell)}")
        self.folds.append(TrainedFold(self.cell, self.reading.folds[number], self.features, self.curves))

    def score(self, predicted: list[list] | Exception) -> None:
        if isinstance(predicted, Exception):
            raise predicted
        fold = self.folds[-1]
        self.curves.update(fold.fold.name, fold.progress.history)
        with self.clock("score"):
            fold.score(predicted)

    def judge(self) -> None:
        """Choose a point of the grid, and put together what there is to say of the cell."""
        trained, suffixes = self.folds, dict.fromkeys(fold.fold.suffix for fold in self.folds)
        with self.clock("score"):
            chosen = [
                _choose(self.cell, [fold for fold in trained if fold.fold.suffix == suffix], self._say)
                for suffix in suffixes
            ]
        main = chosen[0]
        tested = {example for fold in trained for example in fold.test.pool.examples}
        self.findings = Findings(
            metrics={},
            selection=[entry for fold in trained for entry in fold.selection()],
            selected={},
            layer_weights=np.mean([fold.learners.layer_weights(main.point) for fold in main.folds], axis=0).tolist(),
            scored=[example for example in self.reading.examples if example in tested],
            cost={
                "head_parameters": sum(p.numel() for p in main.folds[0].learners.head(main.point).parameters()),
                "optimizer_steps": sum(fold.optimizer_steps for fold in trained),
            },
            notes=[note for fold in trained for note in fold.notes()],
        )
        for one in chosen:
            _add(self.findings, one)


def _size(cell: Cell) -> str:
    """What to expect of a head for every layer, before memory is taken for all of them."""
    reading: TrainedReading = cell.reading
    numbers, heads = reading.protocol, reading.effort(cell.upstream.num_layers)["heads"]
    single = replace(numbers, rates=numbers.rates[:1], mix=None)
    one = reading.objective.learners(cell.upstream, single, cell.seed, reading.folds[0].train.examples)
    size = heads * sum(tensor.nbytes for tensor in one.state().values())
    return (
        f"{heads} heads side by side, {cell.upstream.num_layers} layers at {len(numbers.rates)} learning rates each: "
        f"{size / 1e6:.1f} MB in memory and in a checkpoint, and their gradients; fewer rates (--lr) take less"
    )


def _add(findings: Findings, chosen: "_Chosen") -> None:
    """What came of folds that are scored together."""
    judgement, suffix = chosen.judgement, chosen.suffix
    findings.metrics |= {score.metric + suffix: score.as_dict() for score in judgement.scores}
    selected = chosen.folds[0].point(chosen.point) | {"dev": chosen.dev}
    findings.selected |= {f"{name}{suffix}": value for name, value in selected.items()}
    for name, fact in judgement.facts.items():
        if findings.scoring.setdefault(name, fact) != fact:
            findings.scoring[name + suffix] = fact
    findings.lines += judgement.lines
    findings.files |= judgement.files
    for fold in chosen.folds:
        head = save(fold.learners.head(chosen.point).state_dict())
        findings.files[f"head-{fold.fold.name}.safetensors"] = head
    if judgement.waves:
        findings.waves.append(judgement.waves)


@dataclass
class _Chosen:
    """The folds that are scored together, the point that is chosen for them, and what comes of it."""

    folds: list[TrainedFold]
    point: int
    dev: float
    judgement: Judgement

    @property
    def suffix(self) -> str:
        return self.folds[0].fold.suffix


def _choose(cell: Cell, folds: list[TrainedFold], say: Callable[[str], None]) -> _Chosen:
    objective = cell.reading.objective
    dev = np.mean([fold.progress.best_dev for fold in folds], axis=0)
    point = int(np.argmax(dev) if objective.higher else np.argmin(dev))  # the first of equals, in the grid's order
    judgement = objective.judge([fold.answers(point) for fold in folds], cell.seed, say)
    return _Chosen(folds, point, float(dev[point]), judgement)
