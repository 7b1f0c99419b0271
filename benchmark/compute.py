"""Cells from their features to their rows: learn or search, score, record."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from benchmark import watching
from benchmark.cells import Cell, SearchReading
from benchmark.clock import Clock
from benchmark.environment import environment
from benchmark.findings import Findings
from benchmark.listening import show
from benchmark.rows import DONE, FAILED, Row, read_row
from benchmark.searched import search
from benchmark.trained import train
from downstream import files
from downstream.represent.features import Features, norm_rows
from upstream.audio import SAMPLE_RATE

T = TypeVar("T")


def compute(
    cells: Sequence[Cell],
    features: Features,
    represent_seconds: float,
    progress: bool,
    say: Callable[[str], None],
) -> list[Row | Exception]:
    """Compute cells of one upstream on the same features, or continue them: each has what it would have alone.

    Each leaves its row, predictions and whatever else it makes in its folder. A cell that fails has its error in the
    place of its row, and stops no other. `represent_seconds` is what each of them waited for the features.
    """
    started, clocks = _now(), []
    for cell in cells:
        files.remove_partials(cell.folder)
        clocks.append(Clock(cell.folder / "clock.json"))
        clocks[-1].add("represent", represent_seconds)
    if isinstance(cells[0].reading, SearchReading):
        work = [partial(search, cell, features, clock, progress) for cell, clock in zip(cells, clocks, strict=True)]
        found = map(_attempt, work)  # each when its turn is
    else:
        found = train(cells, features, clocks, progress, say)
    rows: list[Row | Exception] = []
    for cell, clock, findings in zip(cells, clocks, found, strict=True):
        finish = partial(_finished, cell, features, findings, clock, started, say)
        rows.append(findings if isinstance(findings, Exception) else _attempt(finish))
    return rows


def _attempt(work: Callable[[], T]) -> T | Exception:
    try:
        return work()
    except Exception as error:
        return error


def _finished(
    cell: Cell, features: Features, findings: Findings, clock: Clock, started: str, say: Callable[[str], None]
) -> Row:
    """Leave a cell's row, and nothing that only computing it needed."""
    row = _record(cell, features, findings, clock, started, say)
    if cell.watched:
        watching.write_results(cell.watched, row)
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


def _record(
    cell: Cell, features: Features, findings: Findings, clock: Clock, started: str, say: Callable[[str], None]
) -> Row:
    with clock("score"):
        norms = features.layer_norms(norm_rows(features.request.rows(findings.scored)))
    with clock("cost"):
        upstream_cost = cell.upstream.cost()
    _write_beside(cell, findings, say)
    row = _blank(cell, DONE)
    row.metrics, row.scoring = findings.metrics, findings.scoring
    row.selection, row.selected = findings.selection, findings.selected
    for note in findings.notes:
        say(f"{cell}: {note}")
        row.corpus["notes"] = [*row.corpus["notes"], note]
    row.layer_weights, row.layer_norms = findings.layer_weights, norms
    own = features.request.rows(cell.reading.examples)
    upstream, facts = cell.upstream, features.facts(own)
    heard = {"layers": upstream.num_layers, "dim": upstream.dim, "hop": upstream.hop, "note": upstream.note}
    row.features = heard | {name: value for name, value in facts.items() if name not in ("key", "audio")}
    row.cost = {
        "audio_hours": float(features.samples[own].sum() / SAMPLE_RATE / 3600),
        "examples": len(own),
        "feature_bytes": facts["bytes"],
        **findings.cost,
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
        pretraining=cell.pretraining,
        environment=environment(cell.upstream.device),
        command=cell.command,
    )


def _write_beside(cell: Cell, findings: Findings, say: Callable[[str], None]) -> None:
    """Predictions, heads, and whatever else a task leaves beside its row."""
    lines = [json.dumps(line, ensure_ascii=False) for line in findings.lines]
    files.write_text(cell.folder / "predictions.jsonl", "\n".join(lines) + "\n")
    for name, content in findings.files.items():
        files.write_bytes(cell.folder / name, content)
    for waves in findings.waves:
        show(cell.folder / "example", waves, say)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
