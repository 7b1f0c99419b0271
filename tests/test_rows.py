"""What is in a row, and that it follows from the files beside it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_runs import FEW_RATES, FRAMES, SEARCHES, folder_of, lines, plain

import upstream
from benchmark.cells import load_protocol, read_task
from benchmark.options import Options
from benchmark.rows import read_row
from downstream.fit.heads import MeanLinear
from downstream.represent.extraction import stored
from downstream.tasks import TASKS

RATES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]
# 998 frames in 10 s, each a real transform of 512 points (2.5 n log2 n operations) and 257 bins into 80 filters.
FBANK_MACS = round(998 * (2.5 * 512 * 9 / 2 + 257 * 80) / 10)
UPSTREAMS = ("fbank", "fbank_no_cmvn")
CELLS = [(name, task) for name in UPSTREAMS for task in TASKS]
# By the suffix of their scores, which folds are scored together.
FOLDS = {"er": {"": [f"fold{k}" for k in range(1, 6)]}, "asv": {"": ["superb"], "_dev": ["held-out"]}}


@pytest.fixture(params=CELLS, ids="-".join)
def row(request, done_runs):
    (found,) = [row for row in done_runs.outcome.rows if (row.upstream, row.task) == request.param]
    return found


def folds_of(row):
    return FOLDS.get(row.task, {"": ["all"]})


def rates_of(row):
    return list(FEW_RATES) if row.task in ("asv", "ss", "se") else RATES


def chooses_the_highest(row):
    """SD is scored by errors, and its steps and rates are chosen by the share of frames that are right."""
    return row.score["direction"] == "higher" or row.task == "sd"


# For tests of what the other tasks do not have; theirs: test_speech_runs.py, test_speaker_runs.py, test_qbe_runs.py.
trained_only = pytest.mark.parametrize("row", [c for c in CELLS if c[1] not in SEARCHES], indirect=True, ids="-".join)
classes_only = pytest.mark.parametrize("row", [c for c in CELLS if c[1] not in FRAMES], indirect=True, ids="-".join)


def test_every_cell_becomes_a_row(done_runs):
    outcome = done_runs.outcome
    assert [(row.upstream, row.task) for row in outcome.rows] == CELLS
    assert (outcome.fresh, outcome.errors, outcome.exit_code) == (30, [], 0)
    paths = sorted(str(path.relative_to(done_runs.results)) for path in done_runs.results.rglob("row.json"))
    assert paths == sorted(f"{row.upstream}/{row.task}/{row.id}/row.json" for row in outcome.rows)
    assert not list(done_runs.folder.rglob("*.partial"))


def test_the_file_is_the_row(done_runs, row):
    path = folder_of(done_runs, row) / "row.json"
    assert plain(read_row(path)) == plain(row) == json.loads(path.read_text())
    assert row.schema == 1


def test_a_row_describes_itself(done_runs, row, mini_manifest):
    assert (row.status, row.error, row.seed, row.limit) == ("done", None, 1337, None)
    assert row.protocol == "superb"
    general = [change for change in done_runs.set if "." not in change and not change.startswith("hidden")]
    for_all = [] if row.task in SEARCHES else general
    touching = [change for change in done_runs.set if change in for_all or change.startswith(f"{row.task}.")]
    touching += ["hidden=8"] if "hidden" in row.settings else []
    assert sorted(row.protocol_changes) == sorted(change.removeprefix(f"{row.task}.") for change in touching)
    assert (row.corpus["mini"], row.corpus["complete"]) == (True, True)
    assert row.corpus["counts"] == mini_manifest(row.corpus["name"]).counts
    assert row.corpus["counts"].items() >= row.corpus["expected"].items()
    assert {"upstream", "corpus", "features", "audio"} <= row.fingerprints.keys()
    assert all(len(bytes.fromhex(value)) == 16 for value in row.fingerprints.values())
    assert {"torch", "numpy", "python", "processor", "device", "threads"} <= row.environment.keys()
    work = "search" if row.task in SEARCHES else "fit"
    assert {"cost", "represent", work, "score", "total"} <= row.seconds.keys()
    assert row.seconds["total"] == pytest.approx(sum(v for k, v in row.seconds.items() if k != "total"), abs=0.01)
    assert row.started <= row.finished
    assert row.features["mode"] == ("frames" if row.task in FRAMES else "pooled")
    other_rate = row.task.startswith("ood-asr") or row.task == "qbe"  # that of the published ones
    assert (row.features["resampled"], row.features["mixed_down"]) == (row.cost["examples"] if other_rate else 0, 0)
    assert ("feature space" in (row.features["crops"] or "")) == (row.task in ("sid", "asv"))
    assert row.cost["feature_bytes"] == row.features["bytes"] > 0
    of_upstream = row.cost["upstream"]
    assert (of_upstream["parameters"], of_upstream["device"], of_upstream["threads"]) == (0, "cpu", 1)
    assert of_upstream["macs_per_second"] == FBANK_MACS
    assert 0 < of_upstream["real_time_factor"] < 10
    assert len(row.layer_norms) == len(row.layer_weights) == 1
    assert row.layer_norms[0] > 1
    assert row.layer_weights == [1.0]


@trained_only
def test_a_row_tells_how_it_was_trained(row):
    narrow = {"asv": 16} | dict.fromkeys(("sd", "ss", "se"))
    assert row.settings.get("projector") == narrow.get(row.task, 32)
    assert row.settings["steps"] == (300 if row.task == "sid" else 4 if row.task in FRAMES else 40)
    assert list(row.settings["rates"]) == rates_of(row)
    assert row.cost["optimizer_steps"] == row.settings["steps"] * len(rates_of(row)) * sum(
        map(len, folds_of(row).values())
    )


def test_an_upstream_is_measured_once_for_all_tasks(done_runs):
    for name in ("fbank", "fbank_no_cmvn"):
        costs = [row.cost["upstream"] for row in done_runs.outcome.rows if row.upstream == name]
        assert costs == costs[:1] * len(TASKS)


@classes_only
def test_the_score_has_its_size_and_interval(row, mini_manifest):
    manifest = mini_manifest(row.corpus["name"])
    (name,) = row.metrics
    score = row.metrics[name]
    assert name == row.primary
    tested = manifest.counts["test"] if row.task != "er" else sum(manifest.counts.values())
    assert score["n"] == tested
    assert (score["unit"], score["direction"], score["resampled"]) == ("%", "higher", "speakers")
    low, high = score["ci95"]
    assert 0 <= low <= score["value"] <= high <= 100


@trained_only
def test_every_point_of_the_grid_is_in_the_row(row):
    folds = [fold for scored in folds_of(row).values() for fold in scored]
    assert [(p["fold"], p["lr"]) for p in row.selection] == [(fold, lr) for fold in folds for lr in rates_of(row)]
    for point in row.selection:
        least = -100 if row.score["unit"] == "dB" else 0
        most = 100 if chooses_the_highest(row) else 1000  # what is inserted has no end
        assert least <= point["dev"] <= most
        assert least <= point["test"] <= most
        assert point["selected_on"] == ("test" if point["fold"] == "superb" else "dev")
        assert (point["dev"] == point["test"]) or point["fold"] != "superb"
        assert 0 < point["best_step"] <= row.settings["steps"]
        assert sum(point["layer_weights"]) == pytest.approx(1)


@trained_only
def test_the_rate_is_chosen_on_dev_by_the_mean_of_the_folds(row):
    """One rate for all folds that are scored together, the first of equals; their mean test score is the row's."""
    selected = {}
    for suffix, folds in folds_of(row).items():
        of_folds = [point for point in row.selection if point["fold"] in folds]
        by_rate = [[point for point in of_folds if point["lr"] == rate] for rate in rates_of(row)]
        dev = [np.mean([point["dev"] for point in points]) for points in by_rate]
        chosen = int(np.argmax(dev) if chooses_the_highest(row) else np.argmin(dev))
        selected |= {f"lr{suffix}": rates_of(row)[chosen], f"dev{suffix}": pytest.approx(dev[chosen])}
        if row.task != "sd":  # which is not scored by what chooses
            tested = np.mean([point["test"] for point in by_rate[chosen]])
            assert row.metrics[row.primary + suffix]["value"] == pytest.approx(tested)
    assert row.selected == selected


@classes_only
def test_the_score_follows_from_the_predictions(done_runs, row, mini_manifest):
    predictions = lines(folder_of(done_runs, row) / "predictions.jsonl")
    examples = {example.id: example for example in mini_manifest(row.corpus["name"]).examples()}
    assert len({(p["id"], p["fold"]) for p in predictions}) == len(predictions) == row.score["n"]
    right = {}
    for p in predictions:
        assert tuple(p["target"]) == examples[p["id"]].target
        assert p["group"] == examples[p["id"]].group
        right.setdefault(p["fold"], []).append(p["predicted"] == p["target"])
    assert row.score["value"] == pytest.approx(100 * np.mean([np.mean(fold) for fold in right.values()]))
    if row.task == "er":
        assert all(examples[p["id"]].audio.startswith(f"Session{p['fold'][-1]}/") for p in predictions)


@trained_only
def test_the_curves_hold_every_look_and_the_best_is_the_first_of_the_best(done_runs, row):
    curves = lines(folder_of(done_runs, row) / "train.jsonl")
    for point in row.selection:
        looks = [look for look in curves if look["fold"] == point["fold"]]
        steps, every = row.settings["steps"], row.settings["eval_every"]
        assert [look["step"] for look in looks] == list(range(every, steps + 1, every))
        assert all(look["lr"] == rates_of(row) for look in looks)
        dev = [look["dev"][rates_of(row).index(point["lr"])] for look in looks]
        best = max(dev) if chooses_the_highest(row) else min(dev)
        assert point["dev"] == best
        assert point["best_step"] == looks[dev.index(best)]["step"]


@classes_only
def test_the_head_that_was_kept_gives_the_predictions_again(done_runs, row):
    """Features from the store, the head from its file, as plain modules: nothing of the grid."""
    options = Options.of(**done_runs.options(row.upstream, task=row.task))
    reading = read_task(row.task, done_runs.data, load_protocol(options), None)
    loaded = upstream.load(row.upstream, device="cpu")
    features = stored(reading.request(loaded), done_runs.cache, False, pytest.fail)
    classes = reading.objective.classes
    slots = [len(slot) for slot in classes]
    predicted = {(p["fold"], p["id"]): p["predicted"] for p in lines(folder_of(done_runs, row) / "predictions.jsonl")}
    for fold in reading.folds:
        head = MeanLinear(1, loaded.dim, 32, sum(slots))
        head.load_state_dict(load_file(folder_of(done_runs, row) / f"head-{fold.name}.safetensors"))
        with torch.no_grad():
            logits = head.from_means(features.batch(features.request.rows(fold.test.examples)))
        for example, blocks in zip(fold.test.examples, logits, strict=True):
            words = [slot[b.argmax()] for slot, b in zip(classes, blocks.split(slots), strict=True)]
            assert words == predicted[fold.name, example.id]
    features.close()


def test_cmvn_leaves_nothing_to_tell_speakers_by(done_runs):
    """Its time mean is zero for everyone, so one speaker is predicted for all; without it they are told apart."""
    by_name = {row.upstream: row for row in done_runs.outcome.rows if row.task == "sid"}
    predicted = {name: lines(folder_of(done_runs, row) / "predictions.jsonl") for name, row in by_name.items()}
    assert len({p["predicted"][0] for p in predicted["fbank"]}) == 1
    speakers = len({p["target"][0] for p in predicted["fbank"]})
    assert by_name["fbank"].score["value"] == pytest.approx(100 / speakers)
    assert by_name["fbank_no_cmvn"].score["value"] >= 2 * 100 / speakers


def test_a_fresh_row_equals_the_row_that_is_read_again(done_runs):
    fresh = done_runs.outcome.rows[0]
    assert fresh == read_row(done_runs.results / fresh.upstream / fresh.task / fresh.id / "row.json")
