"""One cell from its corpus to its row: represent, fit, predict, score, record."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors.torch import save
from torch import Tensor

from benchmark.cells import Cell
from benchmark.environment import environment
from benchmark.listening import show
from benchmark.options import LIVE
from benchmark.rows import DONE, FAILED, Row, read_row
from downstream import files
from downstream.fit.sampling import Pool
from downstream.fit.train import Progress, Split, fit, outputs, predict
from downstream.objectives import Answers, Judgement
from downstream.represent.extraction import stored
from downstream.represent.features import FRAMES, Features, LiveFeatures, norm_rows
from downstream.represent.frame_features import LiveFrames
from downstream.tasks import Fold
from downstream.types import Example
from upstream.audio import SAMPLE_RATE
from upstream.errors import BenchmarkError, DataError


class Clock:
    """Seconds by hop, summed over the processes that worked on a cell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.seconds: dict[str, float] = json.loads(path.read_text())
        except (OSError, ValueError):
            self.seconds = {}

    @contextmanager
    def __call__(self, hop: str) -> Iterator[None]:
        start, before = time.perf_counter(), self.seconds.get(hop, 0.0)
        try:
            yield
        finally:
            self.seconds[hop] = round(before + time.perf_counter() - start, 3)
            files.write_text(self._path, json.dumps(self.seconds))


def compute(cell: Cell, cache: Path, progress: bool, say: Callable[[str], None]) -> Row:
    """Compute a cell, or continue it, and leave its row, predictions, training curve and fitted head in its folder."""
    started = _now()
    files.remove_partials(cell.folder)
    clock = Clock(cell.folder / "clock.json")
    request = cell.reading.request(cell.upstream)
    with clock("represent"):
        if cell.mode == LIVE:
            features = (LiveFrames if request.form == FRAMES else LiveFeatures)(request, say)
        else:
            features = stored(request, cache, progress, say)
    try:
        curves = _Curves(cell.folder / "train.jsonl")
        trained = [_Trained(cell, fold, features, clock, curves, progress) for fold in cell.reading.folds]
        row = _record(cell, features, trained, clock, started, say)
    finally:
        features.close()
    files.write_text(cell.row_path, row.as_json())
    for leftover in (*cell.folder.glob("*.state"), cell.folder / "clock.json"):
        leftover.unlink(missing_ok=True)
    return read_row(cell.row_path)  # what whoever reads the file will see


def failed(cell: Cell, error: Exception) -> Row:
    """The row of a cell that could not be computed. What it had finished stays and is continued next time."""
    row = _blank(cell, FAILED)
    row.finished = _now()
    row.error = {"type": type(error).__name__, "message": str(error)}
    files.write_text(cell.row_path, row.as_json())
    return row


class _Curves:
    """The training curves of a cell, one line a look at dev, on disk while it trains."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[str, list[str]] = {}

    def update(self, fold: str, history: list[dict]) -> None:
        self._lines[fold] = [json.dumps({"fold": fold, **look}) for look in history]
        files.write_text(self._path, "\n".join(line for lines in self._lines.values() for line in lines) + "\n")


class _Trained:
    """A fold after training: what each grid point predicts for test, and how it got there."""

    def __init__(
        self, cell: Cell, fold: Fold, features: Features, clock: Clock, curves: _Curves, progress: bool
    ) -> None:
        self.cell, self.fold = cell, fold
        numbers, objective = cell.reading.protocol, cell.reading.objective
        self.features = features
        self.train, self.dev, self.test = map(self._split, fold.pools, ("train", "dev", "test"))
        self.learners = objective.learners(cell.upstream, numbers, cell.seed, fold.train.examples)
        self._refuse_short()
        with clock("fit"):
            self.progress: Progress = fit(
                fold,
                objective,
                self.learners,
                features,
                self.train,
                self.dev,
                numbers,
                features.request.crop_samples,
                cell.seed,
                cell.folder / f"{fold.name}.state",
                progress,
                lambda history: curves.update(fold.name, history),
            )
        curves.update(fold.name, self.progress.history)
        with clock("score"):
            test, examples = self.test, self.test.pool.examples
            self.predicted = predict(objective, self.learners, features, test.rows, test.targets, best=True)
            counts = np.ones(len(examples))
            self.test_scores = [objective.figure(point, examples, test.targets, counts) for point in self.predicted]

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
        return outputs(reading.objective, self.learners, self.features, reading.rows(examples), targets, point)

    def selection(self) -> list[dict]:
        """Every point of the grid, with its scores on what chooses among them and on test."""
        return [
            {
                "fold": self.fold.name,
                "lr": rate,
                "best_step": self.progress.best_step[point],
                "selected_on": self.fold.selected_on,
                "dev": self.progress.best_dev[point],
                "test": self.test_scores[point],
                "layer_weights": self.learners.layer_weights(point),
            }
            for point, rate in enumerate(self.learners.rates)
        ]

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
        rows = self.progress.too_short
        if rows:
            ids = ", ".join(self.cell.reading.examples[row].id for row in rows[:3])
            yield (
                f"{self.fold.name}: training utterances with fewer frames than their targets need: {len(rows)} ({ids}"
                f"{', ...' if len(rows) > 3 else ''}); their loss is infinite and counts as zero"
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
            rows = reading.rows(pool.examples)
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
        return Split(pool, reading.rows(pool.examples), targets, pool.dev_counts(self.cell.seed))


@dataclass
class _Chosen:
    """The folds that are scored together, the learning rate that is chosen for them, and what comes of it."""

    folds: list[_Trained]
    point: int
    dev: float
    judgement: Judgement

    @property
    def suffix(self) -> str:
        return self.folds[0].fold.suffix

    @property
    def rate(self) -> float:
        return self.folds[0].learners.rates[self.point]


def _choose(cell: Cell, folds: list[_Trained], say: Callable[[str], None]) -> _Chosen:
    objective = cell.reading.objective
    dev = np.mean([fold.progress.best_dev for fold in folds], axis=0)
    point = int(np.argmax(dev) if objective.higher else np.argmin(dev))  # the first of equals, in the grid's order
    judgement = objective.judge([fold.answers(point) for fold in folds], cell.seed, say)
    return _Chosen(folds, point, float(dev[point]), judgement)


def _record(
    cell: Cell,
    features: Features,
    trained: list[_Trained],
    clock: Clock,
    started: str,
    say: Callable[[str], None],
) -> Row:
    suffixes = dict.fromkeys(fold.fold.suffix for fold in trained)
    with clock("score"):
        chosen = [_choose(cell, [fold for fold in trained if fold.fold.suffix == suffix], say) for suffix in suffixes]
        test_rows = np.unique(np.concatenate([fold.test.rows for fold in trained]))
        norms = features.layer_norms(norm_rows(test_rows))
    with clock("cost"):
        upstream_cost = cell.upstream.cost()
    main = chosen[0]
    row = _blank(cell, DONE)
    _write_beside(cell, chosen, say)
    for one in chosen:
        scores = {score.metric + one.suffix: score.as_dict() for score in one.judgement.scores}
        row.metrics |= scores
        for name, fact in one.judgement.facts.items():
            if row.scoring.setdefault(name, fact) != fact:
                row.scoring[name + one.suffix] = fact
        row.selected |= {f"lr{one.suffix}": one.rate, f"dev{one.suffix}": one.dev}
    for note in (note for fold in trained for note in fold.notes()):
        say(f"{cell}: {note}")
        row.corpus["notes"] = [*row.corpus["notes"], note]
    row.selection = [entry for fold in trained for entry in fold.selection()]
    row.layer_weights = np.mean([fold.learners.layer_weights(main.point) for fold in main.folds], axis=0).tolist()
    row.layer_norms = norms
    upstream, facts = cell.upstream, features.facts()
    heard = {"layers": upstream.num_layers, "dim": upstream.dim, "hop": upstream.hop, "note": upstream.note}
    row.features = heard | {name: value for name, value in facts.items() if name not in ("key", "audio")}
    row.cost = {
        "audio_hours": float(features.samples.sum() / SAMPLE_RATE / 3600),
        "examples": len(features.samples),
        "feature_bytes": facts["bytes"],
        "head_parameters": sum(p.numel() for p in main.folds[0].learners.head(main.point).parameters()),
        "optimizer_steps": len(trained) * cell.reading.protocol.steps * len(trained[0].learners.rates),
        "upstream": asdict(upstream_cost),
    }
    row.fingerprints |= {"features": facts["key"], "audio": facts["audio"]}
    row.seconds = {**clock.seconds, "total": round(sum(clock.seconds.values()), 3)}
    row.started, row.finished = started, _now()
    return row


def _blank(cell: Cell, status: str) -> Row:
    reading, manifest = cell.reading, cell.reading.manifest
    return Row(
        id=cell.id,
        upstream=cell.upstream.name,
        task=reading.task.name,
        protocol=cell.protocol.name,
        protocol_changes=list(cell.protocol.changes_of(reading.task.name)),
        seed=cell.seed,
        status=status,
        limit=cell.limit,
        primary=reading.task.metric,
        settings=reading.protocol.settings(),
        corpus={
            "name": manifest.corpus,
            "mini": manifest.mini is not None,
            "complete": manifest.complete and cell.limit is None,
            "counts": manifest.counts,
            "expected": manifest.expected,
            "notes": manifest.notes,
        },
        fingerprints={"upstream": cell.upstream.fingerprint, "corpus": reading.corpus_digest},
        environment=environment(cell.upstream.device),
    )


def _write_beside(cell: Cell, chosen: list[_Chosen], say: Callable[[str], None]) -> None:
    """Predictions, heads, and whatever else a task leaves beside its row."""
    lines = [json.dumps(line, ensure_ascii=False) for one in chosen for line in one.judgement.lines]
    files.write_text(cell.folder / "predictions.jsonl", "\n".join(lines) + "\n")
    for one in chosen:
        for fold in one.folds:
            head = save(fold.learners.head(one.point).state_dict())
            files.write_bytes(cell.folder / f"head-{fold.fold.name}.safetensors", head)
        for name, content in one.judgement.files.items():
            files.write_bytes(cell.folder / name, content)
        if one.judgement.waves:
            show(cell.folder / "example", one.judgement.waves, say)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
