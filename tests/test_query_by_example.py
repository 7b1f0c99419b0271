"""The whole of a search and its figures: scores against s3prl's expert, figures against every threshold tried."""

import csv
import io
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import test_stdlist
import torch
from search_sets import DIM, numbers, stored_frames, whole

from downstream.corpora.quesst14_truth import GroundTruth
from downstream.metrics.cross_entropy import min_cnxe
from downstream.metrics.spoken_terms import Trials
from downstream.search.query_by_example import DETECTIONS, QueryByExample
from downstream.types import Example
from upstream.errors import DataError

expert = test_stdlist.expert
BETA = 12.49
NAMES = {
    "documents": [f"quesst14_{number:05d}" for number in range(1, 15)],
    "dev": [f"quesst14_dev_{number:04d}" for number in range(1, 7)],
    "test": [f"quesst14_eval_{number:04d}" for number in range(1, 8)],
}
# Of each query, the documents that hold it by their places. The last one of dev occurs nowhere.
HELD = {"dev": [[0, 5], [1], [2, 13], [7], [3, 4], []], "test": [[6], [8, 9], [0], [10], [11, 12], [2], [13]]}
# Nobody searches these: of a document that no query is looked for in, and of queries in another language.
ELSEWHERE = {"dev": {NAMES["dev"][1]: 3}, "test": {NAMES["test"][4]: 2, NAMES["test"][5]: 1}}
FOREIGN = {"dev": {"foreign_1": [20, 21], "foreign_2": []}, "test": {"foreign_3": [22], "foreign_4": [0]}}
LISTED_DOCUMENTS = 60
SHORT = 3  # frames of the last query of test, which are too few
# How far what is said in a document is from the query, on each layer: dev likes the second best, and test the first.
NOISE = {"dev": (3.0, 1.3, 1.3), "test": (0.2, 1.2, 1.2)}


def truth(side):
    listed = [*NAMES["documents"], *(f"foreign_{number}" for number in range(LISTED_DOCUMENTS - 14))]
    holders = {
        name: {listed[place] for place in (*held, *range(30, 30 + ELSEWHERE[side].get(name, 0)))}
        for name, held in zip(NAMES[side], HELD[side], strict=True)
    }
    holders |= {name: {listed[place] for place in held} for name, held in FOREIGN[side].items()}
    return GroundTruth(tuple(holders), frozenset(listed), {name: frozenset(held) for name, held in holders.items()})


TRUTH = {side: truth(side) for side in HELD}
ROWS = {"documents": np.arange(14), "dev": np.arange(14, 20), "test": np.arange(20, 27)}
PARTS = {part: [Example(name, f"{name}.wav", ("",)) for name in names] for part, names in NAMES.items()}


def spoken():
    """Documents, and queries that are said again in the documents that hold them, some sounds longer and none alike."""
    random = np.random.default_rng(0)
    documents = random.standard_normal((14, 3, 160, DIM))
    lengths = {"dev": (8, 15, 10, 12, 9, 14), "test": (11, 8, 13, 10, 12, 9, SHORT)}
    queries = {side: [random.standard_normal((3, length, DIM)) for length in own] for side, own in lengths.items()}
    filled = [0] * 14
    for side, held in HELD.items():
        noise = np.array(NOISE[side])[:, None, None]
        for query, places in zip(queries[side], held, strict=True):
            for place in places:
                said = query.repeat(random.integers(1, 3, query.shape[1]), axis=1)
                said = said + noise * random.standard_normal(said.shape)
                documents[place][:, filled[place] :][:, : said.shape[1]] = said
                filled[place] += said.shape[1]
    found = [*documents, *queries["dev"], *queries["test"]]
    for one in found:
        one[2] = one[1]  # layers that are equally good
    return [torch.from_numpy(one).float() for one in found]


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    found = stored_frames(tmp_path_factory.mktemp("frames"), spoken(), [e.id for part in PARTS.values() for e in part])
    yield found
    found.close()


def run(features, folder, parts=PARTS, rows=ROWS, truth=TRUTH, changes=(), seed=0):
    return QueryByExample(parts, truth, numbers(*changes)).run(features, rows, folder, seed, False)


@pytest.fixture(scope="module")
def found(features, tmp_path_factory):
    return run(features, tmp_path_factory.mktemp("found"))


def written(found):
    """By side and query, the score of each document as it stands in the predictions."""
    scores = {}
    for line in found.judgement.lines:
        scores.setdefault(line["fold"], {})[line["id"]] = line["scores"]
    return scores


def figures(found):
    return {score.metric: score.value for score in found.judgement.scores}


def worth(scores, truth, threshold):
    """TWV with every query and every document of the lists looked at on its own."""
    values = []
    for query, holders in truth.holders.items():
        accepted = {
            document
            for document in truth.documents
            if threshold is not None and scores.get(query, {}).get(document, -10.0) >= threshold
        }
        if holders:
            missed, false = len(holders - accepted), len(accepted - holders)
            values.append(1 - missed / len(holders) - BETA * false / (len(truth.documents) - len(holders)))
    return np.mean(values)


def greatest(scores, truth):
    every = {score for documents in scores.values() for score in documents.values()}
    return max(worth(scores, truth, threshold) for threshold in (None, -10.0, *every))


def searched(truth, scores):
    """What is left of a truth when nothing else was ever listed."""
    documents = frozenset(next(iter(scores.values())))
    return GroundTruth(tuple(scores), documents, {query: truth.holders[query] & documents for query in scores})


def assert_figures_fit(found, truth):
    """Those of a row with the lines that lie beside it."""
    scores, thresholds, values = written(found), found.judgement.facts["thresholds"], figures(found)
    plain = {side: searched(truth[side], scores[side]) for side in truth}
    for name, lists in (("mtwv", truth), ("mtwv_plain", plain)):
        own = scores["test"], lists["test"]
        assert values[name] == pytest.approx(greatest(*own), abs=1e-12)
        assert worth(*own, thresholds[name]) == pytest.approx(values[name], abs=1e-12)
        assert worth(*own, thresholds[f"{name}_dev"]) == pytest.approx(values[f"{name}_dev"], abs=1e-12)
        on_dev = scores["dev"], lists["dev"]
        assert worth(*on_dev, thresholds[f"{name}_dev"]) == pytest.approx(greatest(*on_dev), abs=1e-12)
    entry = found.selection[found.layer]
    for side in truth:
        assert entry[side] == pytest.approx(greatest(scores[side], truth[side]), abs=1e-12)
        assert entry[f"{side}_plain"] == pytest.approx(greatest(scores[side], plain[side]), abs=1e-12)


def test_the_figures_are_those_of_the_lines_written(found):
    assert_figures_fit(found, TRUTH)
    values = figures(found)
    assert list(values) == ["mtwv", "mtwv_dev", "mtwv_plain", "mtwv_plain_dev", "min_cnxe"]
    assert 0 < values["mtwv_dev"] < values["mtwv"] < values["mtwv_plain_dev"] < values["mtwv_plain"] < 1
    assert len(set(found.judgement.facts["thresholds"].values())) == 3  # both are best on test
    scores = written(found)["test"]
    table = np.array([list(documents.values()) for documents in scores.values()])
    holds = np.array([[document in TRUTH["test"].holders[q] for document in d] for q, d in scores.items()])
    assert values["min_cnxe"] == min_cnxe(Trials(table, holds, holds.sum(axis=1), holds.shape[1], 0))


def test_the_layer_is_chosen_on_dev_and_is_the_first_of_equals(found):
    worst, best, equal = found.selection
    assert worst["dev"] < best["dev"] == equal["dev"] and worst["test"] > best["test"]
    assert found.layer == 1 and found.selected == {"layer": 1, "dev": best["dev"]}
    assert {(entry["fold"], entry["selected_on"]) for entry in found.selection} == {("all", "dev")}
    assert [entry["layer"] for entry in found.selection] == [0, 1, 2]


def as_peers(xml):
    """Scores by query and document, and what else there is of each in the order in which it is written."""
    scores, others = {}, {}
    for query in ElementTree.fromstring(xml):
        terms = {term.get("file"): term for term in query}
        scores[query.get("termid")] = {name: float(term.attrib.pop("score")) for name, term in terms.items()}
        others[query.get("termid")] = list(query.attrib.items()), {n: list(t.attrib.items()) for n, t in terms.items()}
    return scores, others


# Both sum distances up in another order than the other, and s3prl scales frames in single precision.
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_scores_are_those_of_s3prl(features, expert, tmp_path, precision):
    _, peer = expert
    found = run(features, tmp_path, changes=[f"precision={precision}"])
    ours = written(found)
    for side in ("dev", "test"):
        rows = np.concatenate([ROWS[side], ROWS["documents"]])
        names = [*NAMES[side], *NAMES["documents"]]
        peer.test_dataset = SimpleNamespace(n_queries=len(NAMES[side]))
        held = [frames[found.layer] for frames in whole(features, rows)]
        peer.log_records(side, {"features": held, "audio_names": names})
        theirs = (tmp_path / DETECTIONS).read_bytes()
        scores, others = as_peers(theirs)
        assert scores.keys() == ours[side].keys()
        apart = [abs(ours[side][q][d] - score) for q, own in scores.items() for d, score in own.items()]
        assert max(apart) < 1.5e-4
        assert np.count_nonzero(np.array(apart) > 5e-5) <= 0.02 * len(apart)
    own_scores, own_others = as_peers(found.judgement.files[DETECTIONS])
    assert own_scores == ours["test"] and own_others == others
    assert {d for _, terms in others.values() for t in terms.values() for d in t[4:]} >= {("decision", "YES")}


def test_scores_of_a_query_are_normal(found):
    for own in written(found).values():
        for query, scores in own.items():
            values = np.array(list(scores.values()))
            assert values.mean() == pytest.approx(0, abs=1e-4)
            assert values.std() == (0 if query == NAMES["test"][-1] else pytest.approx(1, abs=1e-4))
            assert values.tolist() == [round(value, 4) for value in values.tolist()]


def test_what_is_told(found):
    facts = found.judgement.facts
    assert facts["searched"] == {"documents": 14, "dev": 6, "test": 7}
    assert facts["listed"] == {"dev": 8, "test": 9, "documents": LISTED_DOCUMENTS}
    assert facts["averaged"] == {"dev": 5 + 1, "test": 7 + 2}  # all but quesst14_dev_0006 and foreign_2
    assert facts["too_short"] == {"dev": 0, "test": 1}
    assert "best mtwv on dev" in facts["selection"]
    (note,) = found.notes
    assert note == (
        "test queries with fewer than 5 frames: 1 (quesst14_eval_0007); they have score 0 with every document"
    )
    counts = {score.metric: (score.n, score.resampled, score.direction) for score in found.judgement.scores}
    assert counts["mtwv"] == counts["mtwv_dev"] == (9, "queries", "higher")
    assert counts["mtwv_plain"] == counts["mtwv_plain_dev"] == (7, "queries", "higher")
    assert counts["min_cnxe"] == (7, "queries", "lower")


def test_a_line_for_each_query(found):
    lines = found.judgement.lines
    assert [(line["fold"], line["id"]) for line in lines] == [(side, q) for side in HELD for q in NAMES[side]]
    for line in lines:
        assert list(line["scores"]) == NAMES["documents"]
        assert line["holders"] == sorted(TRUTH[line["fold"]].holders[line["id"]])
    assert lines[1]["holders"] == ["foreign_16", "foreign_17", "foreign_18", NAMES["documents"][1]]
    assert lines[5]["holders"] == [] and set(lines[-1]["scores"].values()) == {0.0}


def test_many_short_queries(features, tmp_path):
    found = run(features, tmp_path, changes=["shortest_query=12"])
    assert found.judgement.facts["too_short"] == {"dev": 3, "test": 5}
    assert [note.split("(")[1].split(")")[0] for note in found.notes] == [
        "quesst14_dev_0001, quesst14_dev_0003, quesst14_dev_0005",
        "quesst14_eval_0001, quesst14_eval_0002, quesst14_eval_0004, ...",
    ]
    assert_figures_fit(found, TRUTH)


def test_the_curve_for_a_plot(found):
    header, *rows = csv.reader(io.StringIO(found.judgement.files["twv.csv"].decode()))
    assert header == ["fold", "threshold", "twv", "p_miss", "p_fa"]
    scores = written(found)
    for side in HELD:
        own = [tuple(map(float, row[1:])) for row in rows if row[0] == side]
        assert max(twv for _, twv, _, _ in own) == pytest.approx(found.selection[found.layer][side], abs=1e-12)
        for threshold, twv, p_miss, p_fa in own[:: max(1, len(own) // 9)]:
            assert twv == pytest.approx(worth(scores[side], TRUTH[side], threshold), abs=1e-12)
            assert twv == pytest.approx(1 - p_miss - BETA * p_fa, abs=1e-12)


def part_of(documents, dev, test):
    """The parts and rows of some places only."""
    places = {"documents": documents, "dev": dev, "test": test}
    parts = {part: [PARTS[part][place] for place in own] for part, own in places.items()}
    return {"parts": parts, "rows": {part: ROWS[part][own] for part, own in places.items()}}


def test_a_part_of_the_corpus(features, tmp_path):
    # Of dev, 0001 is left with one of two documents and 0002 with none; of test, 0004 and 0006 with none.
    found = run(features, tmp_path, **part_of([0, 3, 6, 8, 11, 12], [0, 1, 4, 5], [3, 0, 1, 5, 4]))
    assert_figures_fit(found, TRUTH)
    facts = found.judgement.facts
    assert facts["searched"] == {"documents": 6, "dev": 4, "test": 5}
    assert facts["averaged"] == {"dev": 6, "test": 9}
    counts = {score.metric: score.n for score in found.judgement.scores}
    assert (counts["mtwv"], counts["mtwv_plain"]) == (9, 3)
    assert list(written(found)["test"]) == [NAMES["test"][place] for place in (3, 0, 1, 5, 4)]


def test_no_query_of_dev_occurs_in_what_is_searched(features, tmp_path):
    with pytest.raises(DataError, match="nothing to score: 0 queries that occur anywhere, 2 documents"):
        run(features, tmp_path, **part_of([9, 10], [0, 1], [3]))


def test_another_run_of_the_same_is_the_same(features, found, tmp_path):
    once, again = run(features, tmp_path), run(features, tmp_path)
    assert once == again == found
    other = run(features, tmp_path, seed=1)
    assert figures(other) == figures(found) and other.judgement.scores != found.judgement.scores
    assert {path.suffix for path in tmp_path.iterdir()} == {".state"}


def changed(side, queries=None, documents=None, holders=None):
    old = TRUTH[side]
    new = replace(
        old,
        queries=queries or old.queries,
        documents=documents or old.documents,
        holders=old.holders | (holders or {}),
    )
    return TRUTH | {side: new}


def test_the_digest_changes_with_the_truth():
    names, dev, test = NAMES["documents"], TRUTH["dev"], TRUTH["test"]
    others = [
        changed("dev", holders={NAMES["dev"][5]: frozenset({names[0]})}),
        changed("dev", holders={"foreign_2": frozenset({names[0]})}),
        changed("test", holders={NAMES["test"][0]: frozenset({names[7]})}),
        changed("test", documents=test.documents | {"foreign_46"}),
        changed("dev", queries=(*dev.queries, "foreign_9"), holders={"foreign_9": frozenset()}),
    ]
    digests = [QueryByExample(PARTS, truth, numbers()).digest() for truth in (TRUTH, *others)]
    assert len(set(digests)) == len(digests)
    same = {side: replace(own, documents=frozenset(sorted(own.documents)[::-1])) for side, own in TRUTH.items()}
    assert QueryByExample(PARTS, same, numbers()).digest() == digests[0]


def test_pairs_are_counted():
    assert QueryByExample(PARTS, TRUTH, numbers()).pairs() == 14 * (6 + 7)


def test_live_audio_is_heard_once_more_to_scale_it():
    assert QueryByExample(PARTS, TRUTH, numbers()).passes == 2
    assert QueryByExample(PARTS, TRUTH, numbers("normalize=false")).passes == 1
