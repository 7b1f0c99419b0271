"""Rows of the speaker tasks, and whether their figures follow from what lies beside them."""

import numpy as np
import pesq
import pystoi
import pytest
import soundfile
import torch
from oracles import import_s3prl
from PIL import Image
from pyannote.core import Annotation, Segment
from pyannote.metrics.diarization import DiarizationErrorRate
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from scipy.signal import medfilt
from sklearn.metrics import roc_curve
from small_runs import SmallRuns, folder_of, lines
from speaker_corpora import NUMBERS, RATES, TRIALS, speaker_corpora

from benchmark.cells import load_protocol, read_task
from benchmark.options import Options
from downstream.fit.sequence_grid import MixedHead
from downstream.fit.xvector import XVector
from downstream.metrics import quality
from downstream.metrics.turns import read_rttm
from downstream.represent.extraction import stored
from upstream import load

METRICS = {
    "asv": ["eer", "min_dcf", "eer_dev", "min_dcf_dev"],
    "sd": ["der", "der_dev"],
    "ss": ["si_sdri", "stoi", "pesq"],
    "se": ["si_sdri", "stoi", "pesq"],
}
PRIMARY = {"asv": "eer", "sd": "der", "ss": "si_sdri", "se": "pesq"}
UNITS = {"eer": "%", "der": "%", "si_sdri": "dB", "min_dcf": "", "stoi": "", "pesq": ""}
UPSTREAM = "fbank_no_cmvn"
SETTINGS = [(median, threshold) for median in (1, 11) for threshold in (0.3, 0.4, 0.5, 0.6, 0.7)]

pytestmark = pytest.mark.filterwarnings("ignore:'uem' was approximated")


@pytest.fixture(scope="module")
def runs(mini_data, tmp_path_factory):
    """One run of every task, and the features for more."""
    folder = tmp_path_factory.mktemp("speakers")
    runs = SmallRuns(speaker_corpora(mini_data, folder / "data"), folder, NUMBERS)
    runs.outcome = runs.run(UPSTREAM, task=list(METRICS), lr=RATES)
    return runs


@pytest.fixture(scope="module")
def rows(runs):
    return {row.task: row for row in runs.outcome.rows}


@pytest.fixture(params=METRICS)
def row(request, rows):
    return rows[request.param]


def predictions(runs, row, fold=None):
    found = lines(folder_of(runs, row) / "predictions.jsonl")
    return [line for line in found if line["fold"] == fold] if fold else found


def asv_run(runs, *changes):
    """Verification with other numbers, from the same features."""
    more = SmallRuns(runs.data, runs.folder, (*NUMBERS, *changes))
    [row] = more.run(UPSTREAM, task="asv", lr=RATES).rows
    return row


# All tasks


def test_every_figure_has_its_size_direction_and_interval(row):
    assert list(row.metrics) == METRICS[row.task]
    assert row.primary == PRIMARY[row.task]
    drawn = {"asv": "speakers", "sd": "recordings"}.get(row.task, "utterances")
    for name, score in row.metrics.items():
        assert score["n"] == (28 if row.task == "asv" else 2)
        assert score["direction"] == ("lower" if row.task in ("asv", "sd") else "higher")
        assert (score["unit"], score["resampled"]) == (UNITS[name.removesuffix("_dev")], drawn)
        low, high = score["ci95"]
        assert low <= score["value"] <= high
    assert row.corpus["notes"] == []


def test_the_row_says_how_its_figures_were_selected(rows):
    for task in ("asv", "sd"):
        told = rows[task].scoring["selection"]
        assert "so SUPERB reports it" in told
        assert f"{PRIMARY[task]}_dev is the test figure of the" in told
    assert {entry["selected_on"] for entry in rows["ss"].selection} == {"dev"}


# Verification


def test_eer_is_the_lowest_on_test_of_all_looks_and_rates(runs, rows):
    row = rows["asv"]
    eer = row.metrics["eer"]["value"]
    points = [entry for entry in row.selection if entry["fold"] == "superb"]
    assert [(entry["lr"], entry["selected_on"]) for entry in points] == [(0.001, "test"), (0.0001, "test")]
    for entry in points:
        assert eer <= entry["test"] == pytest.approx(entry["dev"])
    looks = [look for look in lines(folder_of(runs, row) / "train.jsonl") if look["fold"] == "superb"]
    seen = [value for look in looks for value in look["dev"]]
    assert len(set(seen)) > 1
    assert eer == pytest.approx(min(seen))


def test_eer_dev_is_of_the_step_and_rate_that_held_out_speakers_choose(rows):
    row = rows["asv"]
    points = [entry for entry in row.selection if entry["fold"] == "held-out"]
    assert [(entry["lr"], entry["selected_on"]) for entry in points] == [(0.001, "dev"), (0.0001, "dev")]
    best = min(points, key=lambda entry: entry["dev"])
    assert row.metrics["eer_dev"]["value"] == pytest.approx(best["test"])
    assert (row.selected["lr_dev"], row.selected["dev_dev"]) == (best["lr"], best["dev"])
    assert any(entry["dev"] != entry["test"] for entry in points)  # they are not the same trials


@pytest.mark.parametrize(("fold", "suffix"), [("superb", ""), ("held-out", "_dev")])
def test_eer_and_min_dcf_follow_from_the_predictions(fold, suffix, runs, rows):
    row = rows["asv"]
    told = predictions(runs, row, fold)
    listed = [line.split() for line in (runs.data / "VoxCeleb1" / TRIALS).read_text().splitlines()]
    names = [[file.removesuffix(".wav").replace("/", "-") for file in files] for _, *files in listed]
    assert [line["id"] for line in told] == ["_".join(pair) for pair in names]
    assert [line["target"] for line in told] == [int(same) for same, *_ in listed]
    same, scores = ([line[name] for line in told] for name in ("target", "predicted"))
    superb = import_s3prl("s3prl.downstream.sv_voxceleb1.utils").EER(same, scores)[0]
    assert row.metrics[f"eer{suffix}"]["value"] == pytest.approx(100 * superb, abs=1e-6)
    false_alarms, hits, _ = roc_curve(same, scores, drop_intermediate=False)
    cost = min(0.01 * (1 - hits) + 0.99 * false_alarms) / 0.01
    assert row.metrics[f"min_dcf{suffix}"]["value"] == pytest.approx(cost)


def embeddings_of(runs, row, examples, speakers):
    """From the features and the head that were kept, one utterance after the other: nothing of the grid."""
    options = Options.of(**runs.options(UPSTREAM, task="asv"))
    reading, upstream = read_task("asv", runs.data, load_protocol(options), None), load(UPSTREAM, device="cpu")
    head = MixedHead(1, XVector(upstream.dim, speakers, 32))
    head.load_state_dict(load_tensors(folder_of(runs, row) / "head-superb.safetensors"))
    features, found = stored(reading.request(upstream), runs.cache, False, pytest.fail), {}
    for example in examples(reading):
        batch = features.batch(features.request.rows([example]))
        frames = batch.values[0].float() * batch.scales[0][:, None, None]
        with torch.no_grad():
            found[example.id] = head.head.answer(frames, batch.lengths)[0][0].numpy()
    features.close()
    return found


def test_the_head_that_was_kept_gives_the_scores_again(runs, rows):
    vectors = embeddings_of(runs, rows["asv"], lambda reading: reading.folds[0].test.examples, 4)
    for line in predictions(runs, rows["asv"], "superb"):
        a, b = line["id"].split("_id")
        assert vectors[a] @ vectors[f"id{b}"] == pytest.approx(line["predicted"], abs=1e-6)  # float32


def test_without_held_out_speakers_there_is_no_second_training(runs):
    row = asv_run(runs, "asv.dev_speakers=null")
    assert list(row.metrics) == ["eer", "min_dcf"]
    assert {entry["fold"] for entry in row.selection} == {"superb"}
    assert "eer_dev" not in row.scoring["selection"]


def test_s_norm_comes_beside_and_is_that_of_its_formula(runs, rows):
    row = asv_run(runs, "asv.cohort=3")
    assert "the 3 nearest of 4 training speakers" in row.scoring["cohort"]
    assert "the 2 nearest of 2 training speakers" in row.scoring["cohort_dev"]
    assert list(row.metrics) == ["eer", "min_dcf", "eer_snorm", "eer_dev", "min_dcf_dev", "eer_snorm_dev"]
    assert row.metrics.items() >= rows["asv"].metrics.items()
    vectors = embeddings_of(runs, row, lambda reading: reading.examples, 4)
    speakers = sorted({name[:7] for name in vectors if not name.startswith("id1027")})
    cohort = [np.mean([v for name, v in vectors.items() if name[:7] == one][:5], axis=0) for one in speakers]

    def normed(score, name):
        nearest = np.sort([vectors[name] @ other / np.linalg.norm(other) for other in cohort])[-3:].astype(float)
        return (score - nearest.mean()) / nearest.std()

    same, scores = [], []
    for line in predictions(runs, row, "superb"):
        a, b = line["id"].split("_id")
        same.append(line["target"])
        scores.append((normed(line["predicted"], a) + normed(line["predicted"], f"id{b}")) / 2)
    superb = import_s3prl("s3prl.downstream.sv_voxceleb1.utils").EER(same, scores)[0]
    assert row.metrics["eer_snorm"]["value"] == pytest.approx(100 * superb, abs=1e-6)


def test_other_lists_are_scored_by_their_names(runs):
    """Half of the trials, beside the corpus, under a name that VoxCeleb's cleaned list goes by."""
    kept = (runs.data / "VoxCeleb1" / TRIALS).read_text().splitlines(keepends=True)[::2]
    (runs.data / "veri_test2.txt").write_text("".join(kept))
    row = asv_run(runs, "asv.trials=o-cleaned", "asv.dev_speakers=null")
    assert row.scoring["trials"] == {"list": "veri_test2.txt", "scored": 14, "listed": 14}
    assert row.metrics["eer"]["n"] == 14
    assert "trials=o-cleaned" in row.protocol_changes


# Diarization


def annotation(turns):
    made = Annotation()
    for track, (speaker, start, stop) in enumerate(turns):
        made[Segment(start, stop), track] = speaker
    return made.support()


def der_by_pyannote(reference, hypothesis):
    metric = DiarizationErrorRate(collar=0, skip_overlap=False)
    for recording, turns in reference.items():
        metric(annotation(turns), annotation(hypothesis.get(recording, [])))
    return 100 * abs(metric)


def plain(path):
    return {name: [(t.speaker, t.start, t.stop) for t in turns] for name, turns in read_rttm(path).items()}


def turns_of(posteriors, median, threshold):
    """By scipy's filter and a loop over the changes; a frame every 10 ms."""
    spoken = medfilt((posteriors > np.float32(threshold)).astype(float), (median, 1))
    for speaker, column in enumerate(spoken.T):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], column, [0]]))) / 100
        for start, stop in edges.reshape(-1, 2):
            yield str(speaker), start, stop


@pytest.fixture(scope="module")
def kept(runs, rows):
    folder = folder_of(runs, rows["sd"])
    return load_file(folder / "posteriors.safetensors"), plain(folder / "reference.rttm")


def test_der_follows_from_the_posteriors_in_every_setting(rows, kept):
    posteriors, reference = kept
    table = rows["sd"].scoring["settings"]
    assert [(entry["median"], entry["threshold"]) for entry in table] == SETTINGS
    for entry in table:
        setting = entry["median"], entry["threshold"]
        hypothesis = {name: list(turns_of(own, *setting)) for name, own in posteriors.items()}
        assert entry["test"] == pytest.approx(der_by_pyannote(reference, hypothesis))
    assert len({entry["test"] for entry in table}) > 5


def test_der_is_the_lowest_on_test_and_der_dev_that_of_the_best_setting_on_dev(rows):
    row, table = rows["sd"], rows["sd"].scoring["settings"]
    assert row.metrics["der"]["value"] == min(entry["test"] for entry in table)
    assert row.metrics["der_dev"]["value"] == min(table, key=lambda entry: entry["dev"])["test"]
    assert any(entry["dev"] != entry["test"] for entry in table)


@pytest.mark.parametrize(("file", "metric"), [("hypothesis.rttm", "der"), ("hypothesis_dev.rttm", "der_dev")])
def test_the_turns_that_were_written_score_the_same(file, metric, runs, rows, kept):
    hypothesis = plain(folder_of(runs, rows["sd"]) / file)
    assert der_by_pyannote(kept[1], hypothesis) == pytest.approx(rows["sd"].metrics[metric]["value"])


def test_the_errors_of_each_recording_add_up(runs, rows):
    row = rows["sd"]
    for name in ("der", "der_dev"):
        errors = [line[name] for line in predictions(runs, row)]
        total = sum(one["total"] for one in errors)
        for kind, share in row.scoring["errors"][name].items():
            assert share == pytest.approx(100 * sum(one[kind] for one in errors) / total)
        assert row.metrics[name]["value"] == pytest.approx(sum(row.scoring["errors"][name].values()))


def test_live_frames_give_nearly_the_same_posteriors(runs, kept):
    [live] = runs.run(UPSTREAM, task="sd", lr=RATES, features="live").rows
    assert live.features["mode"] == "live"
    for name, posteriors in load_file(folder_of(runs, live) / "posteriors.safetensors").items():
        assert posteriors == pytest.approx(kept[0][name], abs=2e-3)
        assert not np.array_equal(posteriors, kept[0][name])  # kept frames are in half precision


# Separation and enhancement


@pytest.fixture(params=["ss", "se"])
def separated(request, rows):
    return rows[request.param]


def waves_of(runs, row):
    return {path.stem: soundfile.read(path)[0] for path in (folder_of(runs, row) / "example").glob("*.wav")}


def test_there_is_an_example_to_hear_and_see(runs, separated):
    count = {"ss": 2, "se": 1}[separated.task]
    which = [f"-{n}" for n in range(1, count + 1)] if count > 1 else [""]
    waves = waves_of(runs, separated)
    assert set(waves) == {"mixture", *(f"{kind}{n}" for kind in ("estimate", "source") for n in which)}
    root = {"ss": "Libri2Mix/wav16k/min/test/mix_clean", "se": "VoiceBank-DEMAND/noisy_testset_wav_16k"}
    name = predictions(runs, separated)[0]["id"]
    mixture, _ = soundfile.read(runs.data / root[separated.task] / f"{name}.wav")
    assert np.array_equal(waves["mixture"], mixture)
    assert {len(wave) for wave in waves.values()} == {len(mixture)}
    with Image.open(folder_of(runs, separated) / "example" / "spectrograms.png") as picture:
        picture.load()
        assert (picture.format, min(picture.size) > 300) == ("PNG", True)


def decibels(source, estimate):
    """SI-SDR by its definition."""
    target = (estimate @ source) / (source @ source) * source
    return 10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2))


def test_the_figures_of_the_example_are_those_of_its_waves(runs, separated):
    """As far as 16 bits go; by the definition of SI-SDR, and by the libraries of STOI and PESQ."""
    waves, told = waves_of(runs, separated), predictions(runs, separated)[0]
    pairs = [(waves[n.replace("estimate", "source")], waves[n]) for n in sorted(waves) if n.startswith("estimate")]
    gains = [decibels(source, estimate) - decibels(source, waves["mixture"]) for source, estimate in pairs]
    assert told["si_sdri"] == pytest.approx(np.mean(gains), abs=0.01)
    assert told["stoi"] == pytest.approx(np.mean([pystoi.stoi(*pair, 16000) for pair in pairs]), abs=1e-3)
    assert told["pesq"] == pytest.approx(np.mean([pesq.pesq(16000, *pair, "wb") for pair in pairs]), abs=1e-2)


def test_the_figures_are_means_of_the_predictions(runs, separated):
    for name, score in separated.metrics.items():
        values = [line[name] for line in predictions(runs, separated)]
        assert score["value"] == pytest.approx(np.mean(values))
        assert len(set(values)) == score["n"] == 2
    assert separated.scoring["undefined"] == {"si_sdri": 0, "stoi": 0, "pesq": 0}
    assert separated.selected["dev"] == max(entry["dev"] for entry in separated.selection)


def test_separation_goes_without_pesq_and_stoi_and_says_so(runs, rows, monkeypatch, capsys):
    """What is installed later makes another row."""
    monkeypatch.setattr(quality, "find_spec", lambda package: None)
    [row] = runs.run(UPSTREAM, task="ss", lr=RATES).rows
    assert row.metrics == {"si_sdri": rows["ss"].metrics["si_sdri"]}
    assert set(row.scoring["not_measured"]) == {"stoi", "pesq"}
    assert "not measured: pystoi is not installed. Type: pip install 'sslbench[quality]'" in capsys.readouterr().err
    assert row.id != rows["ss"].id


def test_enhancement_does_not_and_says_so_before_anything_is_heard(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quality, "find_spec", lambda package: None)
    alone = SmallRuns(runs.data, tmp_path, NUMBERS)
    assert alone.run(UPSTREAM, task="se").exit_code == 3
    said = capsys.readouterr().err
    assert "se: STOI cannot be measured: pystoi is not installed. Type: pip install 'sslbench[quality]'" in said
    assert not alone.results.exists() and not (alone.cache / "features").exists()
