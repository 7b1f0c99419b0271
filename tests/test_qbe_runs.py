"""Rows of query by example, and whether their figures follow from what lies beside them."""

import csv
import json
from xml.etree import ElementTree

import dtw
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from small_runs import SmallRuns, contents, folder_of, lines, snapshot
from user_files import write_file

from benchmark.cells import load_protocol, read_task
from benchmark.cli import main
from benchmark.options import Options
from downstream import protocols
from downstream.corpora import mini
from downstream.represent.extraction import stored
from downstream.search import sweep
from upstream import load

# Small, and yet with ten queries a side and 48 documents: mel's plain MTWV was 0.70 to 0.75 on three seeds of it.
SCALE = 0.4
METRICS = ["mtwv", "mtwv_dev", "mtwv_plain", "mtwv_plain_dev", "min_cnxe"]
BETA = 12.49
# Of three layers, the second hears most.
LAYERED = """
    import torch

    class Upstream:
        def one(self, wav):
            frames = wav.unfold(0, 400, 160) * torch.hann_window(400)
            return (torch.fft.rfft(frames)[:, :64].abs() + 1e-3).log()

        def __call__(self, wavs):
            spectra = [self.one(wav) for wav in wavs]
            lengths = [len(spectrum) for spectrum in spectra]
            spectra = torch.nn.utils.rnn.pad_sequence(spectra, batch_first=True)
            loudness = spectra.mean(dim=2, keepdim=True).expand_as(spectra)
            return [loudness, spectra, spectra[..., :1].expand_as(spectra)], lengths
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quesst")
    mini.make(folder, ["quesst14"], seed=0, progress=False, scale=SCALE)
    return folder


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("qbe")
    runs = SmallRuns(data, folder, ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "_BLOCK", 16)  # a third of the documents
        runs.outcome = runs.run("mel", write_file(folder, LAYERED, "layered.py"), task="qbe")
    return runs


@pytest.fixture(scope="module")
def rows(runs):
    return {row.upstream: row for row in runs.outcome.rows}


@pytest.fixture(params=["mel", "layered"])
def row(request, rows):
    return rows[request.param]


def other_run(runs, *changes, upstream="mel", **options):
    """From the same features, with something else."""
    [row] = SmallRuns(runs.data, runs.folder, changes).run(upstream, task="qbe", **options).rows
    return row


def predictions(runs, row, fold):
    return [line for line in lines(folder_of(runs, row) / "predictions.jsonl") if line["fold"] == fold]


# The row


def test_mel_finds_what_was_planted(rows):
    assert rows["mel"].metrics["mtwv_plain"]["value"] > 0.3
    assert rows["mel"].metrics["mtwv_plain_dev"]["value"] > 0.3


def test_every_figure_has_its_size_direction_and_interval(row):
    assert (list(row.metrics), row.primary) == (METRICS, "mtwv")
    for name, score in row.metrics.items():
        assert score["n"] == (20 if name in ("mtwv", "mtwv_dev") else 10)
        assert score["direction"] == ("lower" if name == "min_cnxe" else "higher")
        assert (score["unit"], score["resampled"]) == ("", "queries")
        low, high = score["ci95"]
        assert low <= score["value"] <= high
    assert row.metrics["mtwv_dev"]["value"] <= row.metrics["mtwv"]["value"]
    assert row.metrics["mtwv_plain_dev"]["value"] <= row.metrics["mtwv_plain"]["value"]


def test_a_row_describes_itself(rows):
    for row, layers in ((rows["mel"], 1), (rows["layered"], 3)):
        assert (row.status, row.protocol, row.protocol_changes) == ("done", "superb", [])
        assert row.settings == protocols.load("superb").task("qbe").settings()
        assert row.corpus["counts"] == row.scoring["searched"] == {"documents": 48, "dev": 10, "test": 10}
        assert row.scoring["listed"] == {"dev": 20, "test": 20, "documents": 80}
        assert row.scoring["averaged"] == {"dev": 20, "test": 20}
        assert row.scoring["too_short"] == {"dev": 0, "test": 0}
        assert "so SUPERB reports it" in row.scoring["selection"]
        assert row.cost["pairs"] == layers * 48 * 20
        assert (row.cost["examples"], row.features["resampled"], row.features["mode"]) == (68, 68, "frames")
        assert set(row.seconds) == {"represent", "search", "score", "cost", "total"}
        assert row.environment["numba"]
        assert len(row.layer_norms) == layers
        assert row.corpus["notes"] == []


def test_the_layer_is_the_one_that_is_best_on_dev_and_the_whole_curve_is_there(rows):
    for row, layers in ((rows["mel"], 1), (rows["layered"], 3)):
        assert [entry["layer"] for entry in row.selection] == list(range(layers))
        best = max(row.selection, key=lambda entry: entry["dev"])
        assert row.selected == {"layer": best["layer"], "dev": best["dev"]}
        assert row.layer_weights == [float(layer == best["layer"]) for layer in range(layers)]
        assert row.metrics["mtwv"]["value"] == best["test"]
        assert row.metrics["mtwv_plain"]["value"] == best["test_plain"]
        thresholds = row.scoring["thresholds"]
        assert (thresholds["mtwv"], thresholds["mtwv_dev"]) == (best["test_threshold"], best["dev_threshold"])
        assert (thresholds["mtwv_plain"], thresholds["mtwv_plain_dev"]) == (
            best["test_plain_threshold"],
            best["dev_plain_threshold"],
        )
    assert rows["layered"].selected["layer"] == 1


# The figures, from their definitions


def truth_of(runs, part):
    """Every query of the whole list with the documents that hold it, and the number of documents."""
    [folder] = (runs.data / "quesst14Database/scoring").glob(f"groundtruth_quesst14_{part}")
    elements = {kind: ElementTree.parse(next(folder.glob(f"*.{kind}.xml"))).getroot() for kind in ("tlist", "ecf")}
    holders = {term.get("termid"): set() for term in elements["tlist"].iter("term")}
    for line in next(folder.glob("*.rttm")).read_text().splitlines():
        _, document, *_, query, _, _, _ = line.split()
        if query in holders:
            holders[query].add(document)
    return holders, len(list(elements["ecf"].iter("excerpt")))


def searched(runs, part):
    """The English queries in the order of their list."""
    listed = (runs.data / f"quesst14Database/scoring/language_key_{part}.lst").read_text().splitlines()
    return [line.split()[0].rpartition("/")[2][:-4] for line in listed if line.endswith(" nnenglish")]


def worth(told, holders, documents, threshold):
    """TWV by its definition, over the queries of `holders`; what was not searched is not accepted."""
    scores, worths = {line["id"]: line["scores"] for line in told}, []
    for query, held in holders.items():
        accepted = {document for document, score in scores.get(query, {}).items() if score >= threshold}
        missed = 1 - len(accepted & held) / len(held)
        worths.append(1 - missed - BETA * len(accepted - held) / (documents - len(held)))
    return np.mean(worths)


@pytest.mark.parametrize("plain", [False, True])
def test_mtwv_follows_from_the_predictions_and_the_ground_truth(plain, runs, row):
    best, suffix = {}, "_plain" if plain else ""
    for fold, part in (("dev", "dev"), ("test", "eval")):
        told, (holders, documents) = predictions(runs, row, fold), truth_of(runs, part)
        for line in told:
            assert line["holders"] == sorted(holders[line["id"]])
        if plain:
            holders, documents = {line["id"]: holders[line["id"]] for line in told}, len(told[0]["scores"])
        at = {score: worth(told, holders, documents, score) for line in told for score in line["scores"].values()}
        best[fold] = max(at, key=at.get)
    assert row.metrics[f"mtwv{suffix}"]["value"] == pytest.approx(at[best["test"]])
    at_dev = worth(told, holders, documents, best["dev"])
    assert row.metrics[f"mtwv{suffix}_dev"]["value"] == pytest.approx(at_dev)
    assert row.scoring["thresholds"][f"mtwv{suffix}_dev"] == best["dev"]


def test_the_list_of_detections_has_the_scores_and_decides_above_2(runs, row):
    root = ElementTree.parse(folder_of(runs, row) / "benchmark.stdlist.xml").getroot()
    told = predictions(runs, row, "test")
    assert [terms.get("termid") for terms in root] == [line["id"] for line in told] == searched(runs, "eval")
    for terms, line in zip(root, told, strict=True):
        assert {term.get("file"): float(term.get("score")) for term in terms} == line["scores"]
        assert all((term.get("decision") == "YES") == (float(term.get("score")) > 2) for term in terms)


def test_the_curve_that_was_written_has_the_best_figure(runs, row):
    with (folder_of(runs, row) / "twv.csv").open() as file:
        points = [point for point in csv.DictReader(file) if point["fold"] == "test"]
    best = max(points, key=lambda point: float(point["twv"]))
    assert float(best["twv"]) == pytest.approx(row.metrics["mtwv"]["value"])
    assert float(best["threshold"]) == row.scoring["thresholds"]["mtwv"]
    for point in points:
        assert float(point["twv"]) == pytest.approx(1 - float(point["p_miss"]) - BETA * float(point["p_fa"]))


def test_the_scores_are_those_of_dtw_python_on_the_features_that_were_kept(runs, rows):
    """Scaled by the statistics of all documents and the test queries; the dev queries have no part in it."""
    options = Options.of(**runs.options(runs.folder / "layered.py", task="qbe"))
    reading = read_task("qbe", runs.data, load_protocol(options), None)
    features = stored(reading.request(load(options.upstream[0], device="cpu")), runs.cache)
    layer = rows["layered"].selected["layer"]

    def frames_of(part):
        batches = (features.batch(np.array([row])) for row in features.request.rows(reading.search.parts[part]))
        return [(b.values[0][layer].double() * b.scales[0][layer].double()).numpy() for b in batches]

    queries, documents = frames_of("test"), frames_of("documents")
    features.close()
    everything = np.concatenate(queries + documents)
    mean, deviation = everything.mean(axis=0), everything.std(axis=0, ddof=1)
    for place, line in list(enumerate(predictions(runs, rows["layered"], "test")))[::4]:
        scores = []
        for document in documents:
            distances = np.exp(cdist((queries[place] - mean) / deviation, (document - mean) / deviation, "cosine")) - 1
            least, most = distances.min(axis=1, keepdims=True), distances.max(axis=1, keepdims=True)
            warped = dtw.dtw(
                (distances - least) / (most - least), step_pattern="asymmetric", open_begin=True, open_end=True
            )
            scores.append(-warped.normalizedDistance)
        expected = (scores - np.mean(scores)) / np.std(scores)
        assert list(line["scores"].values()) == pytest.approx(expected, abs=2e-4)  # float32, and four decimals


# Other ways to run it


def test_what_is_done_is_not_done_again(runs, rows, capsys):
    before = snapshot(runs.folder)
    again = runs.run("mel", task="qbe")
    assert (again.fresh, again.exit_code) == (0, 0)
    assert f"mtwv {rows['mel'].metrics['mtwv']['value']:.4f} (95 %" in capsys.readouterr().err
    assert snapshot(runs.folder) == before


def test_live_features_find_the_same(runs, rows):
    live = other_run(runs, features="live")
    assert (live.features["mode"], live.id != rows["mel"].id) == ("live", True)
    for fold in ("dev", "test"):
        for a, b in zip(predictions(runs, live, fold), predictions(runs, rows["mel"], fold), strict=True):
            assert list(a["scores"].values()) == pytest.approx(list(b["scores"].values()), abs=5e-3)
    assert live.metrics["mtwv_plain"]["value"] == pytest.approx(rows["mel"].metrics["mtwv_plain"]["value"], abs=0.05)


@pytest.mark.parametrize("change", ["distance=cosine", "distance=euclidean", "precision=float64", "normalize=false"])
def test_other_numbers_make_another_row(change, runs, rows):
    row = other_run(runs, f"qbe.{change}", upstream=runs.folder / "layered.py")
    assert row.protocol_changes == [change]
    assert row.id != rows["layered"].id
    told, before = (predictions(runs, one, "test") for one in (row, rows["layered"]))
    apart = max(abs(a["scores"][d] - b["scores"][d]) for a, b in zip(told, before, strict=True) for d in a["scores"])
    assert apart < 2e-4 if change == "precision=float64" else apart > 0.01


def test_a_limit_leaves_documents_that_hold_the_queries_that_are_left(runs):
    row = other_run(runs, limit=4)
    assert (row.limit, row.corpus["complete"]) == (4, False)
    assert row.scoring["searched"] == {"documents": 4, "dev": 4, "test": 4}
    for fold in ("dev", "test"):
        found = [set(line["holders"]) & set(line["scores"]) for line in predictions(runs, row, fold)]
        assert sum(map(bool, found)) >= 2
    assert row.metrics["mtwv_plain"]["n"] >= 2


def test_two_upstreams_from_the_command_line(runs, rows, tmp_path, capsys):
    """The same rows, printed as JSON; then their line in the plan, and in the table."""
    words = ("--upstream", "mel", runs.folder / "layered.py", "--task", "qbe")
    places = [str(one) for one in ("--data", runs.data, "--cache", runs.cache, "--results", tmp_path)]
    assert main(["plan", *map(str, words), *places]) == 0
    plan = capsys.readouterr().out
    assert "68 examples; 960 pairs to compare, all layers together" in plan
    assert "2880 pairs to compare, all layers together" in plan
    assert "2 cells, 2 to do: about 0 B to write" in plan
    assert not list(tmp_path.iterdir())
    assert main(["run", *map(str, words), *places, "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["metrics"] for row in json.loads(out)] == [row.metrics for row in rows.values()]
    assert "2 computed, 0 already done, 0 failed" in err
    assert contents(tmp_path).keys() == {
        f"{row.upstream}/qbe/{row.id}/{name}"
        for row in rows.values()
        for name in ("row.json", "predictions.jsonl", "benchmark.stdlist.xml", "twv.csv")
    }
    assert contents(tmp_path).items() <= contents(runs.results).items()
    assert main(["leaderboard", "--results", str(tmp_path), "--reference", "none"]) == 0
    table = capsys.readouterr().out
    assert [word for word in table.splitlines()[1].split() if "mtwv" in word or "cnxe" in word] == METRICS[:3]
    for row in rows.values():
        assert f"{row.metrics['mtwv']['value']:.4f} [" in table


def test_check_and_extract(runs, tmp_path, capsys):
    assert main(["data", "check", "--data", str(runs.data), "--task", "qbe"]) == 0
    said = capsys.readouterr().out
    for side, part in (("dev", "dev"), ("test", "eval")):
        held = {name: held for name, held in truth_of(runs, part)[0].items() if name in searched(runs, part)}
        assert f"10 {side} queries in {len(set().union(*held.values()))} documents" in said
    alone = SmallRuns(runs.data, tmp_path, ())
    assert main(alone.arguments("extract", "--upstream", "mel", "--task", "qbe")) == 0
    kept, extracted = (
        {p.name: p.read_bytes() for p in f.glob("features/mel/*/*.shard")} for f in (runs.cache, alone.cache)
    )
    assert extracted == kept
    assert not alone.results.exists()
