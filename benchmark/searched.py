"""The work on a cell in which something is looked for and nothing learned."""

from benchmark.cells import Cell, SearchReading
from benchmark.clock import Clock
from benchmark.findings import Findings
from downstream.represent.features import Features


def search(cell: Cell, features: Features, clock: Clock, progress: bool) -> Findings:
    """Search and score, or go on with that."""
    reading: SearchReading = cell.reading
    layers = cell.upstream.num_layers
    rows = {name: features.request.rows(examples) for name, examples in reading.parts}
    with clock("search"):
        found = reading.search.run(features, rows, cell.folder, cell.seed, progress)
    return Findings(
        metrics={score.metric: score.as_dict() for score in found.judgement.scores},
        selection=found.selection,
        selected=found.selected,
        layer_weights=[float(layer == found.layer) for layer in range(layers)],
        scored=reading.examples,
        cost=reading.effort(layers),
        scoring=found.judgement.facts,
        notes=found.notes,
        lines=found.judgement.lines,
        files=found.judgement.files,
    )
