"""Query by example: which documents hold what is said in a query, by the costs of warping one along the other."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from downstream.corpora.quesst14_truth import GroundTruth
from downstream.metrics.cross_entropy import min_cnxe_score
from downstream.metrics.spoken_terms import Trials, curve, mtwv, mtwv_score, twv_score
from downstream.objectives import Judgement
from downstream.protocols import SearchProtocol
from downstream.search import Found
from downstream.search.stdlist import stdlist_xml
from downstream.types import Example

if TYPE_CHECKING:
    from downstream.represent.features import Features

DETECTIONS = "benchmark.stdlist.xml"  # the name that the benchmark's own site asks for
_LEAST_DEVIATION = 1e-9
_DECIMALS = 4  # of the scores in the list of detections, from which others compute the figures too
_CHOSEN_ON, _SCORED = "dev", "test"
_SELECTION = (
    "the layer has the best mtwv on dev. mtwv is at the threshold that is best on test: so SUPERB reports it. mtwv_dev "
    "is at the threshold that is best on dev. Both are means over every query of the term list, with false alarms over "
    "all documents of the list, of which only the English ones are searched; the plain ones are over what was searched"
)


@dataclass(frozen=True)
class QueryByExample:
    """`parts` are the documents and the queries of dev and test, `truth` says which documents hold which queries."""

    parts: dict[str, list[Example]]
    truth: dict[str, GroundTruth]
    numbers: SearchProtocol
    form: str = "frames"

    @property
    def passes(self) -> int:
        return 2 if self.numbers.normalize else 1  # to scale frames takes what all of them are like

    def digest(self) -> str:
        digest = blake2b(digest_size=16)
        for side, truth in self.truth.items():
            facts = [side, *truth.queries, *sorted(truth.documents)]
            facts += [f"{query}\t{document}" for query in truth.queries for document in sorted(truth.holders[query])]
            digest.update("\n".join(facts).encode())
        return digest.hexdigest()

    def pairs(self) -> int:
        return len(self.parts["documents"]) * sum(len(self.parts[side]) for side in self.truth)

    def run(
        self,
        features: "Features",
        rows: dict[str, np.ndarray],
        folder: Path,
        seed: int,
        progress: bool,
    ) -> Found:
        from downstream.search.sweep import Sweep

        sides = {side: rows[side] for side in self.truth}
        sweep = Sweep(features, rows["documents"], sides, self.numbers, folder, progress)
        scores = {side: _standardized(costs) for side, costs in sweep.costs().items()}
        layers = range(len(scores[_CHOSEN_ON]))
        found = [self._layer(layer, {side: own[layer] for side, own in scores.items()}) for layer in layers]
        best = max(found, key=lambda entry: entry["dev"])["layer"]  # the first of equals
        judgement = self._judgement({side: own[best] for side, own in scores.items()}, sweep.short, seed)
        selected = {"layer": best, "dev": found[best]["dev"]}
        return Found(judgement, found, selected, best, list(self._notes(sweep.short)))

    def _layer(self, layer: int, scores: dict[str, np.ndarray]) -> dict:
        """What there is to say of a layer."""
        entry: dict = {"fold": "all", "layer": layer, "selected_on": _CHOSEN_ON}
        for side, own in scores.items():
            trials = self._trials(side, own)
            entry[side], entry[f"{side}_threshold"] = mtwv(trials)
            entry[f"{side}_plain"], entry[f"{side}_plain_threshold"] = mtwv(trials.searched_only())
        return entry

    def _trials(self, side: str, scores: np.ndarray) -> Trials:
        """Those of the queries that occur somewhere in the whole list of documents."""
        truth = self.truth[side]
        searched = [query.id for query in self.parts[side]]
        places = [place for place, query in enumerate(searched) if truth.holders[query]]
        occurring = sum(bool(truth.holders[query]) for query in truth.queries)
        return Trials(
            scores[places],
            self._holds(side)[places],
            np.array([len(truth.holders[searched[place]]) for place in places]),
            len(truth.documents),
            occurring - len(places),
            self.numbers.false_alarm_cost,
            self.numbers.default_score,
        )

    def _holds(self, side: str) -> np.ndarray:
        """(queries, documents) Whether a document holds a query."""
        documents = {document.id: place for place, document in enumerate(self.parts["documents"])}
        holds = np.zeros((len(self.parts[side]), len(documents)), dtype=bool)
        for row, query in zip(holds, self.parts[side], strict=True):
            row[[documents[holder] for holder in self.truth[side].holders[query.id] if holder in documents]] = True
        return holds

    def _judgement(self, scores: dict[str, np.ndarray], short: dict[str, np.ndarray], seed: int) -> Judgement:
        trials = {side: self._trials(side, own) for side, own in scores.items()}
        plain = {side: own.searched_only() for side, own in trials.items()}
        dev, plain_dev = (mtwv(of[_CHOSEN_ON])[1] for of in (trials, plain))
        judged = [
            mtwv_score("mtwv", trials[_SCORED], seed),
            twv_score("mtwv_dev", trials[_SCORED], dev, seed),
            mtwv_score("mtwv_plain", plain[_SCORED], seed),
            twv_score("mtwv_plain_dev", plain[_SCORED], plain_dev, seed),
            min_cnxe_score("min_cnxe", trials[_SCORED], seed),
        ]
        facts = {
            "selection": _SELECTION,
            "thresholds": {
                "mtwv": mtwv(trials[_SCORED])[1],
                "mtwv_dev": dev,
                "mtwv_plain": mtwv(plain[_SCORED])[1],
                "mtwv_plain_dev": plain_dev,
            },
            "searched": {side: len(own) for side, own in self.parts.items()},
            "listed": {side: len(truth.queries) for side, truth in self.truth.items()}
            | {"documents": len(self.truth[_SCORED].documents)},
            "averaged": {side: own.averaged for side, own in trials.items()},
            "too_short": {side: len(places) for side, places in short.items()},
        }
        detections = stdlist_xml(self._detections(_SCORED, scores[_SCORED]), self.numbers.yes_above)
        files = {DETECTIONS: detections, "twv.csv": _curves(trials)}
        lines = [line for side, own in scores.items() for line in self._lines(side, own)]
        return Judgement(judged, lines, facts, files)

    def _detections(self, side: str, scores: np.ndarray) -> Iterator[tuple[str, Iterator[tuple[str, float]]]]:
        documents = [document.id for document in self.parts["documents"]]
        for query, row in zip(self.parts[side], scores.tolist(), strict=True):
            yield query.id, zip(documents, row, strict=True)

    def _lines(self, side: str, scores: np.ndarray) -> Iterator[dict]:
        """A line a query: enough to score again."""
        for query, row in self._detections(side, scores):
            yield {"id": query, "fold": side, "holders": sorted(self.truth[side].holders[query]), "scores": dict(row)}

    def _notes(self, short: dict[str, np.ndarray]) -> Iterator[str]:
        for side, places in short.items():
            if len(places):
                ids = ", ".join(self.parts[side][place].id for place in places[:3])
                yield (
                    f"{side} queries with fewer than {self.numbers.shortest_query} frames: {len(places)} ({ids}"
                    f"{', ...' if len(places) > 3 else ''}); they have score 0 with every document"
                )


def _standardized(costs: np.ndarray) -> np.ndarray:
    """Scores from (layers, queries, documents) costs: of mean 0 and deviation 1 for each query, as they are written."""
    scores = -costs
    scores -= scores.mean(axis=2, keepdims=True)
    scores /= np.maximum(scores.std(axis=2, keepdims=True), _LEAST_DEVIATION)
    return np.round(scores, _DECIMALS, out=scores)


def _curves(trials: dict[str, Trials]) -> bytes:
    """How the figure goes with the threshold, for a plot."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["fold", "threshold", "twv", "p_miss", "p_fa"])
    for side, own in trials.items():
        found = curve(own)
        columns = (found.thresholds, found.twv, found.p_miss, found.p_fa)
        writer.writerows([side, *row] for row in zip(*(column.tolist() for column in columns), strict=True))
    return text.getvalue().encode()
