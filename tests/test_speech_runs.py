"""Rows of the tasks that write down what is said, and the frames that they are made from, kept or live."""

import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_runs import SPEECH, SmallRuns, folder_of, librispeech_of_one_s_own, lines, rows_by_task, snapshot
from user_files import GOOD, write_file

import upstream
from benchmark import engine
from benchmark.cells import load_protocol, read_task
from benchmark.cli import main
from benchmark.options import Options
from downstream.fit.sequence_grid import MixedHead
from downstream.fit.sequence_heads import FrameLinear, Recurrent
from downstream.metrics.edits import characters, compare, single_space_words, units, words
from downstream.metrics.slots import slot_scores
from downstream.represent.extraction import stored
from downstream.tasks import asr
from upstream.errors import ResourceError, UsageError

METRICS = {
    "pr": ["per"],
    "asr": ["wer", "uer", "wer_lm"],
    "ood-asr-zh": ["cer"],
    "ood-asr-es": ["wer"],
    "ood-asr-ar": ["wer"],
    "sf": ["slot_f1", "slot_cer", "slot_wer", "slot_edit_f1", "slot_edit_f1_part", "tagged_wer"],
}
COUNTS = {"pr": words, "asr": words, "ood-asr-zh": characters, "ood-asr-es": single_space_words}
COUNTS |= {"ood-asr-ar": single_space_words}
EVERY = {"ood-asr-zh": 2, "ood-asr-es": 2, "ood-asr-ar": 2}  # frames of 10 ms; these heads want one in 20


@pytest.fixture(params=SPEECH)
def row(request, done_runs):
    return rows_by_task(done_runs, "fbank")[request.param]


@pytest.fixture
def runs(mini_data, tmp_path):
    """Results and cache of one's own."""
    return SmallRuns(mini_data, tmp_path)


def losses(runs, row):
    return np.array([look["train_loss"] for look in lines(folder_of(runs, row) / "train.jsonl")], dtype=float)


# Rows


def test_every_figure_has_its_size_direction_and_interval(row, mini_manifest):
    assert list(row.metrics) == METRICS[row.task]
    assert row.primary == METRICS[row.task][0]
    for name, score in row.metrics.items():
        assert score["n"] == mini_manifest(row.corpus["name"]).counts["test"]
        assert (score["direction"] == "higher") == ("f1" in name)
        assert (score["unit"], score["resampled"]) == ("%", "speakers")
        low, high = score["ci95"]
        assert 0 <= low <= score["value"] <= high


def test_the_figures_follow_from_the_predictions(done_runs, row, mini_manifest):
    predictions = lines(folder_of(done_runs, row) / "predictions.jsonl")
    tested = mini_manifest(row.corpus["name"]).splits["test"]
    assert [(p["id"], p["group"]) for p in predictions] == [(e.id, e.group) for e in tested]
    if row.task != "pr":
        assert [p["target"] for p in predictions] == [e.target[0] for e in tested]
    hyps, refs = ([p[name] for p in predictions] for name in ("predicted", "target"))
    assert any(hyps) or row.task in ("asr", "ood-asr-es", "ood-asr-ar")  # so soon these may say nothing
    found = {} if row.task == "sf" else {row.primary: COUNTS[row.task](hyps, refs).rate}
    if row.task == "asr":
        found["wer_lm"] = words([p["predicted_lm"] for p in predictions], refs).rate
        spelled = [" ".join([*ref.replace(" ", asr.BAR), asr.BAR]) for ref in refs]
        found["uer"] = units([p["predicted_tokens"] for p in predictions], spelled).rate
    if row.task == "sf":
        found = {s.metric: s.value for s in slot_scores(hyps, refs, [p["group"] for p in predictions], row.seed)}
    assert {name: score["value"] for name, score in row.metrics.items()} == pytest.approx(found)


def test_the_head_that_was_kept_gives_the_predictions_again(done_runs, row):
    """Features from the store, the head from its file, one utterance after the other: nothing of the grid."""
    options = Options.of(**done_runs.options(row.upstream, task=row.task))
    reading = read_task(row.task, done_runs.data, load_protocol(options), None)
    loaded, objective = upstream.load(row.upstream, device="cpu"), reading.objective
    outputs, every = len(objective.tokens), EVERY.get(row.task, 1)
    if row.task == "pr":
        head = MixedHead(1, FrameLinear(loaded.dim, 32, outputs))
    else:
        head = MixedHead(1, Recurrent(loaded.dim, 32, 8, 2, 0.2, every == 2, every, outputs))
    head.load_state_dict(load_file(folder_of(done_runs, row) / "head-all.safetensors"))
    features = stored(reading.request(loaded), done_runs.cache, False, pytest.fail)
    predictions, found = lines(folder_of(done_runs, row) / "predictions.jsonl"), []
    for example, line in zip(reading.folds[0].test.examples, predictions, strict=True):
        batch = features.batch(features.request.rows([example]))
        frames = (batch.values[0].float() * batch.scales[0][:, None, None])[0]
        with torch.no_grad():
            logits, kept = head.head(frames[None], torch.tensor([len(frames)]))
        best = logits[0, : int(kept)].argmax(-1).unique_consecutive().tolist()
        found.append([objective.tokens[n] for n in best if n and objective.tokens[n] != objective.end])
        assert objective.text(found[-1]) == line["predicted"]
    if row.task == "asr":
        spelled = [[*line["target"].replace(" ", asr.BAR), asr.BAR] for line in predictions]
        assert compare(found, spelled).rate == pytest.approx(row.metrics["uer"]["value"])
    features.close()


def test_the_loss_is_in_the_curve_and_the_largest_rate_moves_it_most(done_runs, row):
    curve = losses(done_runs, row)
    assert curve.shape == (2, 7)
    assert (curve > 0).all()
    moved = np.abs(curve[0] - curve[0, -1])  # the last rate is so small that it stays where all begin
    assert moved[0] == moved.max() > 0.1
    assert moved[-2] < 0.01


def test_what_decoding_cost_is_in_the_row(done_runs):
    by_task = rows_by_task(done_runs, "fbank")
    facts = by_task["asr"].scoring["decoding"]
    assert (facts["utterances"], facts["language_model"]) == (4, "4-gram.arpa")
    assert facts["utterances_per_second"] == pytest.approx(4 / facts["seconds"])
    assert by_task["pr"].scoring == {}


# Frames, kept or live


def test_pr_and_asr_share_their_frames(done_runs):
    """And SD and SS their feature set: what they hear of Libri2Mix are other files of one folder."""
    for name in ("fbank", "fbank_no_cmvn"):
        by_task = rows_by_task(done_runs, name)
        assert by_task["pr"].fingerprints["features"] == by_task["asr"].fingerprints["features"]
        assert len(list((done_runs.cache / "features" / name).iterdir())) == len(by_task) - 2


@pytest.mark.parametrize("task", ["pr", "sf"])
def test_live_frames_give_nearly_the_same_row(task, runs, tmp_path):
    """Kept frames are in half precision, and that is all the difference."""
    path = write_file(tmp_path, GOOD.replace("(n + 1)", "2**n"))  # three layers, of which none is the others' mean
    runs.set = (*runs.set, "sf.freq_masks=0")  # these would mask all four figures of a frame
    kept, live = (runs.run(path, task=task, features=mode).rows[0] for mode in ("frames", "live"))
    assert (kept.features["mode"], live.features["mode"]) == ("frames", "live")
    assert kept.id != live.id
    assert live.features["bytes"] == live.cost["feature_bytes"] == 0
    assert kept.features.keys() - {"resampled", "mixed_down"} == live.features.keys()
    assert losses(runs, live) == pytest.approx(losses(runs, kept), rel=2e-3)
    assert not np.array_equal(losses(runs, live), losses(runs, kept))
    assert live.layer_norms == pytest.approx(kept.layer_norms, rel=1e-5)
    assert [p["layer_weights"] for p in live.selection] == [
        pytest.approx(p["layer_weights"], abs=1e-3) for p in kept.selection
    ]
    assert max(max(p["layer_weights"]) for p in kept.selection) > 0.34  # else nothing was learned of them


def test_after_extract_no_audio_is_opened(runs, mini_data, tmp_path):
    """Every file becomes zeros of the same size and date. What is asked for is that nothing else is opened either."""
    runs.data = tmp_path / "data"
    root = librispeech_of_one_s_own(mini_data, runs.data)
    options = Options.of(**runs.options("mel_no_cmvn", task="pr", features="frames"))
    assert engine.extract(options).exit_code == 0
    before = snapshot(runs.cache / "features")
    for path in root.rglob("*.flac"):
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    outcome = runs.run("mel_no_cmvn", task=["pr", "asr"], features="frames")
    assert (outcome.exit_code, outcome.fresh) == (0, 2)
    assert snapshot(runs.cache / "features") == before
    live = runs.run("mel_no_cmvn", task="pr", features="live")  # which does open them
    assert live.exit_code == 1


@pytest.mark.parametrize(("task", "mode", "own"), [("pr", "pooled", "frames"), ("ks", "frames", "pooled")])
def test_features_that_a_task_does_not_have_are_wrong_usage(task, mode, own, runs, capsys):
    for command in ("run", "plan", "extract"):
        words = runs.arguments(command, "--upstream", "mel", "--task", task, "sid", "--features", mode, "--limit", 9)
        assert main(words) == 2
        said = capsys.readouterr()
        assert f"task '{task}' has no features '{mode}'. Use --features {own}, live or auto." in said.out + said.err


def free_space(monkeypatch, free):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, used=0, free=free))


def test_auto_keeps_frames_when_there_is_space(runs, monkeypatch, capsys):
    def mode(free):
        free_space(monkeypatch, free)
        assert main(runs.arguments("plan", "--upstream", "mel", "--task", "asr", "--json")) == 0
        return json.loads(capsys.readouterr().out)[0]["features"]

    assert mode(free=10**12) == "frames"
    assert mode(free=10**5) == "live"


def test_what_was_begun_goes_on_in_its_mode(runs, monkeypatch, capsys):
    def full(*_):
        raise ResourceError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("benchmark.compute._record", full)
        assert runs.run("mel_no_cmvn", task="pr", features="live").exit_code == 1
    assert len(list(runs.results.rglob("all.state"))) == 1
    capsys.readouterr()
    (row,) = runs.run("mel_no_cmvn", task="pr", features="auto").rows
    assert (row.status, row.features["mode"]) == ("done", "live")
    assert runs.run("mel_no_cmvn", task="pr").fresh == 0  # nor is what is done so done again in another
    assert not (runs.cache / "features").exists()
    free_space(monkeypatch, 10)
    with pytest.raises(ResourceError, match="features live"):  # where keeping was asked for, nothing else is done
        engine.run(Options.of(**runs.options("mel_no_cmvn", task="asr", features="frames")), raise_errors=True)


def test_what_failed_in_one_mode_and_was_done_in_the_other_is_done(runs, monkeypatch):
    with monkeypatch.context() as patch:
        free_space(patch, 10)
        assert runs.run("mel_no_cmvn", task="pr", features="frames").exit_code == 1
        assert len(list(runs.results.rglob("row.json"))) == 1  # that of the failure
        (live,) = runs.run("mel_no_cmvn", task="pr").rows  # nothing was begun that would have to go on
    assert live.features["mode"] == "live"
    again = runs.run("mel_no_cmvn", task="pr")
    assert (again.fresh, again.rows[0].id) == (0, live.id)


def test_a_plan_has_both_modes(runs, capsys):
    words = ["--upstream", "mel_no_cmvn", "--task", "asr", "ks"]
    assert main(runs.arguments("plan", *words)) == 0
    text = capsys.readouterr().out
    assert "frames: heard once instead of" in text
    assert "(instead of live: 0 B to write, about" in text

    def planned():
        assert main(runs.arguments("plan", *words, "--json")) == 0
        return json.loads(capsys.readouterr().out)

    asr_cell, ks_cell = planned()
    assert (asr_cell["features"], asr_cell["other_features"]) == ("frames", "live")
    assert (ks_cell["features"], ks_cell["other_features"]) == ("pooled", "live")
    assert asr_cell["other_bytes"] == 0
    assert 0 <= asr_cell["hearing_seconds"] <= asr_cell["other_hearing_seconds"]
    options = Options.of(**runs.options("mel_no_cmvn", task="asr"))
    assert engine.extract(options).exit_code == 0
    written = sum(path.stat().st_size for path in runs.cache.rglob("*.shard"))
    assert written == pytest.approx(asr_cell["bytes_to_write"], rel=0.1)
    asr_cell, _ = planned()
    assert (asr_cell["bytes_to_write"], asr_cell["hearing_seconds"]) == (0, 0)


def test_whole_utterances_are_learned(mini_data):
    protocol = load_protocol(Options.of(upstream="mel", task="pr", data=mini_data, set=("pr.crop_seconds=3",)))
    with pytest.raises(UsageError, match="task 'pr' learns whole utterances: its crop_seconds can be nothing but null"):
        read_task("pr", mini_data, protocol, None)
