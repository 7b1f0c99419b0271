"""What was predicted beside what came of it."""

import math
from collections.abc import Iterator, Sequence

from benchmark.planning.durations import duration
from benchmark.planning.elapsed import elapsed
from benchmark.planning.ways import Prediction
from benchmark.rows import Row

_HEADING = ("cell", "hop", "predicted", "actual", "actual / predicted")
_COST = "cost"
_HEARING = "represent"  # of a row: its share of what was heard for several


def compared(predictions: Sequence[Prediction], rows: Sequence[Row], workers: int, seconds: float) -> list[str]:
    """A table of the cells that were computed: seconds of each hop, as predicted and as they came to be.

    What several cells heard together is counted where they heard it, and the cost of an upstream with its first. The
    last line is of all of it, which so many workers did in so many seconds.
    """
    found = {(row.upstream, row.task, row.seed, row.features["mode"]): row for row in rows}
    timings, troubles, met = [], [], set()
    for prediction in predictions:
        name, cells = prediction.upstream.name, prediction.way.cells
        keys = {(task, seed): (name, task, seed, prediction.cells[task, seed].mode) for task, seed in cells}
        own = {cell: found[key] for cell, key in keys.items() if key in found}
        if own:
            heard = sum(row.seconds.get(_HEARING, 0.0) for row in own.values())
            timings.append((f"{name} / {prediction.hearing}", "hear", sum(prediction.way.hops.values()), heard))
            cost = sum(row.seconds.get(_COST, 0.0) for row in own.values())
            timings.append((name, _COST, 0.0 if name in met else prediction.cost_seconds, cost))
            met.add(name)
            troubles += [f"not predicted: {what} ({why})" for what, why in prediction.troubles.items()]
        for (task, seed), row in own.items():
            for hop, expected in cells[task, seed].items():
                timings.append((f"{name} / {task} / seed {seed}", hop, expected, row.seconds.get(hop, 0.0)))
    if not timings:
        return []
    unknown = sum(timing[3] for timing in timings if math.isnan(timing[2]))
    without = ", but for what was not predicted" if unknown else ""
    total = (f"from start to end{without}", "", elapsed(predictions, workers), seconds - unknown / workers)
    lines = [timing for timing in timings if timing[2] or timing[3]]
    return [*aligned([_HEADING, *(_line(*timing) for timing in (*lines, total))]), *troubles]


def _line(cell: str, hop: str, predicted: float, actual: float) -> tuple[str, ...]:
    return cell, hop, duration(predicted), duration(actual), _ratio(predicted, actual)


def _ratio(predicted: float, actual: float) -> str:
    return f"{actual / predicted:.2f}" if predicted > 0 else "?"


def aligned(table: list[tuple[str, ...]], left: int = 2) -> list[str]:
    """Columns as wide as what is in them; the first ones begin on the left."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(_padded(line, widths, left)).rstrip() for line in table]


def _padded(line: tuple[str, ...], widths: list[int], left: int) -> Iterator[str]:
    for place, (text, width) in enumerate(zip(line, widths, strict=True)):
        yield f"{text:<{width}}" if place < left else f"{text:>{width}}"
