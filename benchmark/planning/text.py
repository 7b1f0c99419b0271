"""A plan as text: a table of its cells, by what they hear, and what all of it comes to."""

import math
from collections.abc import Iterator

from benchmark.options import LIVE
from benchmark.planning.actuals import aligned
from benchmark.planning.durations import duration
from benchmark.planning.elapsed import elapsed
from benchmark.planning.plan import Plan, Planned
from benchmark.planning.ways import Prediction
from benchmark.rows import DONE
from downstream.represent.sizes import shown_size

_HEADING = ("cell", "state", "features", "audio", "heard", "kept", "hear", "fit", "score", "total")


def lines(plan: Plan) -> list[str]:
    """The table, with a few words under the cells of each hearing; then the totals."""
    cells = {(cell.upstream, cell.task, cell.seed): cell for cell in plan.cells}
    blocks: list[tuple[list[tuple[str, ...]], list[str]]] = []
    for prediction in plan.predictions:
        names = [(prediction.upstream.name, *name) for name in prediction.cells]
        own = [cells.pop(name) for name in names]
        rows = [_row(cell, prediction) for cell in own]
        blocks.append((rows, list(_notes(own, prediction))))
    for cell in cells.values():
        row = (_name(cell), cell.state.partition(":")[0], *[""] * (len(_HEADING) - 2))
        blocks.append(([row], [cell.state if ":" in cell.state else "", f"data  {cell.data}"]))
    table = aligned([_HEADING, *(row for rows, _ in blocks for row in rows)])
    text, first = [table[0]], 1
    for rows, notes in blocks:
        text += table[first : first + len(rows)] + [f"    {note}" for note in notes if note]
        first += len(rows)
    return [*text, *_totals(plan)]


def _name(cell: Planned) -> str:
    return f"{cell.upstream} / {cell.task} / seed {cell.seed}"


def _row(cell: Planned, prediction: Prediction) -> tuple[str, ...]:
    start = (_name(cell), cell.state, cell.features, f"{cell.audio_hours:.2f} h")
    if cell.state == DONE:
        return (*start, *[""] * (len(_HEADING) - len(start)))
    share = prediction.way.audio_seconds / max(1e-9, prediction.audio_seconds)
    heard = f"{share:.0f} times" if cell.features == LIVE else "once" if cell.bytes_to_write else "before"
    kept = shown_size(cell.bytes_to_write) if cell.bytes_to_write else ""
    fit = cell.seconds.get("fit", cell.seconds.get("search", 0.0))
    times = (cell.hearing_seconds, fit, cell.seconds.get("score", 0.0), cell.total_seconds)
    return (*start, heard, kept, *(duration(math.nan if seconds is None else seconds) for seconds in times))


def _notes(cells: list[Planned], prediction: Prediction) -> Iterator[str]:
    """Where the audio is, what is computed with it, why it is kept or not, and who shares it."""
    yield f"data  {cells[0].data}"
    for cell in {cell.task: cell for cell in cells}.values():
        yield _effort(cell)
    if any(cell.state != DONE for cell in cells):
        yield prediction.why + _instead(prediction)
        if len(cells) > 1:
            yield f"what is heard is shared by these {len(cells)} cells, and divided evenly among them above"
    for what, trouble in prediction.troubles.items():
        yield f"not predicted: {what} ({trouble})"


def _instead(prediction: Prediction) -> str:
    if prediction.other is None:
        return ""
    mode, way = prediction.other
    return f" (instead of {mode}: {shown_size(way.bytes)} to write, about {duration(way.seconds)})"


def _effort(cell: Planned) -> str:
    start = f"{cell.task}  {cell.examples} examples; "
    if cell.pairs:
        return f"{start}{cell.pairs} pairs to compare, all layers together"
    most = "at most " if cell.halving else ""  # what falls behind is not known beforehand
    work = f"{most}{cell.optimizer_steps} steps x {cell.learning_rates} learning rates"
    if cell.heads > cell.learning_rates:
        work += f" x {cell.heads // cell.learning_rates} layers: {cell.heads} heads side by side"
    return f"{start}{work}, {shown_size(cell.head_bytes)} of heads" if cell.head_bytes else start + work


def _totals(plan: Plan) -> Iterator[str]:
    todo = [cell for cell in plan.cells if not cell.exit_code and cell.state != DONE]
    for upstream in dict.fromkeys(prediction.upstream.name for prediction in plan.predictions):
        own = [one for one in plan.predictions if one.upstream.name == upstream]
        heard = sum(one.way.audio_seconds for one in own) / 3600
        yield f"{upstream}: {heard:.2f} h of audio to hear"
    size = sum(prediction.bytes for prediction in plan.predictions)
    limit = plan.options.cache_limit
    within = "" if limit is None else f" (--cache-limit {shown_size(limit)})"
    unknown = sum(math.isnan(one.way.seconds) for one in plan.predictions)
    some = f", and what could not be predicted of {unknown} hearings" if unknown else ""
    yield (
        f"{len(plan.cells)} cells, {len(todo)} to do: about {shown_size(size)} to write{within}, "
        f"about {duration(elapsed(plan.predictions, plan.options.workers))}{some}"
    )
