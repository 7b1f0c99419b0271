"""One cell from its corpus to its row: represent, fit, predict, score, record."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors.torch import save

from benchmark.cells import Cell
from benchmark.environment import environment
from benchmark.options import LIVE
from benchmark.rows import DONE, FAILED, Row, read_row
from downstream import files
from downstream.fit.sampling import Pool
from downstream.fit.train import Progress, Split, fit, log_probs, predict
from downstream.objectives import Answers
from downstream.represent.extraction import stored
from downstream.represent.features import FRAMES, Features, LiveFeatures, norm_rows
from downstream.represent.frame_features import LiveFrames
from downstream.tasks import Fold
from upstream.audio import SAMPLE_RATE
from upstream.errors import BenchmarkError


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
        self.train, dev, self.test = map(self._split, fold.pools, ("train", "dev", "test"))
        self.learners = objective.learners(cell.upstream, numbers, cell.seed)
        with clock("fit"):
            self.progress: Progress = fit(
                fold,
                objective,
                self.learners,
                features,
                self.train,
                dev,
                numbers,
                features.request.crop_samples,
                cell.seed,
                cell.folder / f"{fold.name}.state",
                progress,
                lambda history: curves.update(fold.name, history),
            )
        curves.update(fold.name, self.progress.history)
        with clock("score"):
            self.predicted = predict(objective, self.learners, features, self.test.rows, best=True)
            test, counts = self.test, np.ones(len(self.test.examples))
            self.test_scores = [
                objective.figure(point, test.examples, test.targets, counts) for point in self.predicted
            ]

    def answers(self, point: int) -> Answers:
        """What the head of a point says of the test examples."""
        return Answers(
            self.fold.name,
            self.test.examples,
            self.predicted[point],
            lambda: log_probs(self.learners, self.features, self.test.rows, point),
        )

    def too_short(self) -> str | None:
        """What there is to say of training utterances from which nothing could be learned."""
        rows = self.progress.too_short
        if not rows:
            return None
        ids = ", ".join(self.cell.reading.examples[row].id for row in rows[:3])
        return (
            f"{self.fold.name}: training utterances with fewer frames than their targets need: {len(rows)} ({ids}"
            f"{', ...' if len(rows) > 3 else ''}); their loss is infinite and counts as zero"
        )

    def _split(self, pool: Pool, name: str) -> Split:
        reading = self.cell.reading
        where = f"{reading.manifest.root}, {name} of {self.fold.name}"
        if not pool.examples:
            raise BenchmarkError(f"{where}: no examples. Use a larger --limit or check the corpus with `data check`.")
        targets = reading.objective.encode(pool.examples, where)
        return Split(pool.examples, reading.rows(pool.examples), targets, pool.dev_counts(self.cell.seed))


def _record(
    cell: Cell,
    features: Features,
    trained: list[_Trained],
    clock: Clock,
    started: str,
    say: Callable[[str], None],
) -> Row:
    objective, rates = cell.reading.objective, trained[0].learners.rates
    dev = np.mean([fold.progress.best_dev for fold in trained], axis=0)
    chosen = int(np.argmax(dev) if objective.higher else np.argmin(dev))  # the first of equals, in the grid's order
    with clock("score"):
        judgement = objective.judge([fold.answers(chosen) for fold in trained], cell.seed, say)
        test_rows = np.unique(np.concatenate([fold.test.rows for fold in trained]))
        norms = features.layer_norms(norm_rows(test_rows))
    with clock("cost"):
        upstream_cost = cell.upstream.cost()
    lines = [json.dumps(line, ensure_ascii=False) for line in judgement.lines]
    files.write_text(cell.folder / "predictions.jsonl", "\n".join(lines) + "\n")
    _write_heads(cell, trained, chosen)
    facts = features.facts()
    row = _blank(cell, DONE)
    row.metrics = {score.metric: score.as_dict() for score in judgement.scores}
    row.scoring = judgement.facts
    row.selected = {"lr": rates[chosen], "dev": float(dev[chosen])}
    for note in filter(None, (fold.too_short() for fold in trained)):
        say(f"{cell}: {note}")
        row.corpus["notes"] = [*row.corpus["notes"], note]
    row.selection = [
        {
            "fold": fold.fold.name,
            "lr": rate,
            "best_step": fold.progress.best_step[point],
            "dev": fold.progress.best_dev[point],
            "test": fold.test_scores[point],
            "layer_weights": fold.learners.layer_weights(point),
        }
        for fold in trained
        for point, rate in enumerate(rates)
    ]
    row.layer_weights = np.mean([fold.learners.layer_weights(chosen) for fold in trained], axis=0).tolist()
    row.layer_norms = norms
    upstream = cell.upstream
    heard = {"layers": upstream.num_layers, "dim": upstream.dim, "hop": upstream.hop, "note": upstream.note}
    row.features = heard | {name: value for name, value in facts.items() if name not in ("key", "audio")}
    row.cost = {
        "audio_hours": float(features.samples.sum() / SAMPLE_RATE / 3600),
        "examples": len(features.samples),
        "feature_bytes": facts["bytes"],
        "head_parameters": sum(p.numel() for p in trained[0].learners.head(chosen).parameters()),
        "optimizer_steps": len(trained) * cell.reading.protocol.steps * len(rates),
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


def _write_heads(cell: Cell, trained: list[_Trained], chosen: int) -> None:
    for fold in trained:
        with files.atomic(cell.folder / f"head-{fold.fold.name}.safetensors") as temporary:
            temporary.write_bytes(save(fold.learners.head(chosen).state_dict()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
