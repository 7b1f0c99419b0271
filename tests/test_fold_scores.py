"""Trainings that are scored apart: each choice of a learning rate, its scores and its heads, in one row."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file
from small_runs import SmallRuns, folder_of, lines
from user_files import GOOD, write_file

from downstream import tasks
from downstream.corpora.trials import drawn_trials, held_out
from downstream.corpora.voxceleb1_verification import read
from downstream.represent.silence import trimmed
from upstream.audio import read_audio

RATES = ("3", "1", "0.3", "0.1")
SUFFIXES = ("", "", "_other", "_third", "_other")  # of the five sessions of IEMOCAP
VERIFICATION = (
    *("asv.steps=4", "asv.eval_every=2", "asv.batch=4", "asv.accumulate=1", "asv.projector=8"),
    *("asv.crop_seconds=1.0", "asv.dev_speakers=2", "asv.dev_trials=40"),
)


def suffixed(folds):
    return [replace(fold, suffix=suffix) for fold, suffix in zip(folds, SUFFIXES, strict=True)]


@pytest.fixture(scope="module")
def emotions(mini_data, tmp_path_factory):
    """Emotion recognition, its sessions scored in three parts; three layers, so that heads have weights to learn."""
    folder = tmp_path_factory.mktemp("emotions")
    runs = SmallRuns(mini_data, folder, ("er.steps=30", "er.eval_every=10", "er.projector=4"))
    task = tasks.get("er")
    parts = replace(task, folds=lambda *arguments: suffixed(task.folds(*arguments)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("downstream.tasks.er.TASK", parts)
        runs.outcome = runs.run(write_file(folder, GOOD), task="er", lr=RATES)
    return runs


@pytest.fixture(scope="module")
def speakers(mini_data, tmp_path_factory):
    """Verification, with two training utterances of two seconds at most without silence, one of them nothing but that;
    and one such of a speaker who is held out."""
    folder = tmp_path_factory.mktemp("speakers")
    shutil.copytree(mini_data / "VoxCeleb1", folder / "data" / "VoxCeleb1")
    manifest = read(folder / "data" / "VoxCeleb1")
    train = manifest.splits["train"]
    held = held_out(train, 2)
    learned = [manifest.path(example) for example in train if example.group not in held]
    soundfile.write(learned[0], np.zeros(48000), 16000)
    tried = drawn_trials([example for example in train if example.group in held], 40).examples[0]
    for path in (learned[1], manifest.path(tried)):
        wave = read_audio(path)
        soundfile.write(path, np.concatenate([wave[:20000], np.zeros(40000), wave[20000:28000]]), 16000)
        assert 0 < len(trimmed(read_audio(path, gain_db=-3.0))) <= 32000
    runs = SmallRuns(folder / "data", folder, VERIFICATION)
    runs.outcome = runs.run("fbank_no_cmvn", task="asv", lr=RATES[:2])
    return runs


def only_row(runs):
    [row] = runs.outcome.rows
    return row


def of_suffix(row, suffix):
    """The names of the folds that are scored together, and their entries at each learning rate."""
    names = [
        name
        for name, own in zip(dict.fromkeys(e["fold"] for e in row.selection), SUFFIXES, strict=True)
        if own == suffix
    ]
    return names, {
        rate: [e for e in row.selection if e["fold"] in names and e["lr"] == rate] for rate in map(float, RATES)
    }


# ---- Any task


def test_names_of_scores_end_with_the_suffix_of_their_folds(emotions):
    row = only_row(emotions)
    assert list(row.metrics) == ["accuracy", "accuracy_other", "accuracy_third"]
    assert list(row.selected) == ["lr", "dev", "lr_other", "dev_other", "lr_third", "dev_third"]
    assert row.primary == "accuracy"
    assert row.score == row.metrics["accuracy"]


@pytest.mark.parametrize("suffix", ["", "_other", "_third"])
def test_folds_of_a_suffix_are_scored_together_at_the_rate_that_is_best_for_them(suffix, emotions):
    row = only_row(emotions)
    names, entries = of_suffix(row, suffix)
    assert len(names) == SUFFIXES.count(suffix)
    means = {rate: np.mean([entry["dev"] for entry in own]) for rate, own in entries.items()}
    best = max(means, key=means.get)  # the first of equals
    assert row.selected[f"lr{suffix}"] == best
    assert row.selected[f"dev{suffix}"] == pytest.approx(means[best])
    predictions = [line for line in lines(folder_of(emotions, row) / "predictions.jsonl") if line["fold"] in names]
    score = row.metrics[f"accuracy{suffix}"]
    assert score["n"] == len(predictions)
    assert score["value"] == pytest.approx(100 * np.mean([line["target"] == line["predicted"] for line in predictions]))


def test_the_choices_are_apart(emotions):
    """Else the tests above could not tell whether each suffix has one of its own."""
    row = only_row(emotions)
    assert len({row.selected[f"lr{suffix}"] for suffix in SUFFIXES}) > 1


def test_every_fold_leaves_its_predictions_and_the_head_of_the_rate_chosen_for_it(emotions):
    row = only_row(emotions)
    folder = folder_of(emotions, row)
    folds = list(dict.fromkeys(entry["fold"] for entry in row.selection))
    assert {path.name for path in folder.glob("*.safetensors")} == {f"head-{name}.safetensors" for name in folds}
    assert sorted(dict.fromkeys(line["fold"] for line in lines(folder / "predictions.jsonl"))) == sorted(folds)
    agree = {True: [], False: []}
    for entry in row.selection:
        suffix = dict(zip(folds, SUFFIXES, strict=True))[entry["fold"]]
        weights = load_file(folder / f"head-{entry['fold']}.safetensors")["mix.weights"].astype(np.float64)
        found = np.exp(weights) / np.exp(weights).sum()
        chosen = entry["lr"] == row.selected[f"lr{suffix}"]
        agree[chosen].append(np.allclose(found, entry["layer_weights"], atol=1e-6))
    assert all(agree[True])
    assert not any(agree[False][:3])  # of the first fold; large rates may end alike in others
    assert row.cost["optimizer_steps"] == 5 * 30 * len(RATES)


def test_the_layer_weights_of_a_row_are_those_of_its_main_score(emotions):
    row = only_row(emotions)
    own = of_suffix(row, "")[1][row.selected["lr"]]
    assert row.layer_weights == pytest.approx(np.mean([entry["layer_weights"] for entry in own], axis=0).tolist())


# ---- Verification


def test_verification_has_superbs_figures_and_honest_ones(speakers):
    row = only_row(speakers)
    assert list(row.metrics) == ["eer", "min_dcf", "eer_dev", "min_dcf_dev"]
    assert {e["fold"]: e["selected_on"] for e in row.selection} == {"superb": "test", "held-out": "dev"}
    for fold, suffix in (("superb", ""), ("held-out", "_dev")):
        own = [entry for entry in row.selection if entry["fold"] == fold]
        assert [entry["lr"] for entry in own] == [3, 1]
        best = min(own, key=lambda entry: entry["dev"])
        assert (row.selected[f"lr{suffix}"], row.selected[f"dev{suffix}"]) == (best["lr"], best["dev"])
        assert row.metrics[f"eer{suffix}"]["value"] == pytest.approx(best["test"])
        if fold == "superb":
            assert all(entry["dev"] == entry["test"] for entry in own)


def test_verification_leaves_the_heads_of_both_trainings(speakers):
    """The one that held speakers out has no outputs for them."""
    row = only_row(speakers)
    heads = {fold: load_file(folder_of(speakers, row) / f"head-{fold}.safetensors") for fold in ("superb", "held-out")}
    count = len({example.group for example in read(speakers.data / "VoxCeleb1").splits["train"]})
    assert [heads[fold]["head.speakers"].shape for fold in heads] == [(8, count), (8, count - 2)]
    told = [line["fold"] for line in lines(folder_of(speakers, row) / "predictions.jsonl")]
    assert told.count("superb") == told.count("held-out") == row.metrics["eer"]["n"]


def test_utterances_without_enough_speech_are_left_out_and_counted(speakers):
    row = only_row(speakers)
    notes = [note for note in row.corpus["notes"] if "left out" in note]
    assert notes == [
        "superb: 3 training utterances of no more than 2 s are left out",
        "held-out: 2 training utterances of no more than 2 s are left out",
        "held-out: 1 dev utterances of no more than 2 s are left out",
    ]


def test_live_features_leave_out_the_same(speakers, capsys):
    live = speakers.run("fbank_no_cmvn", task="asv", lr=RATES[:1], features="live", set=(*VERIFICATION, "asv.steps=2"))
    [row] = live.rows
    assert [note for note in row.corpus["notes"] if "left out" in note] == [
        note for note in only_row(speakers).corpus["notes"] if "left out" in note
    ]
    assert row.cost["audio_hours"] == only_row(speakers).cost["audio_hours"]
    assert "to see how much is silence" in capsys.readouterr().err
