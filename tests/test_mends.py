"""Tests that fail today, one a defect reported; each can move into the file named in its comment once it passes."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from feature_sets import counting, noise_corpus, request
from small_runs import SmallRuns
from test_boards import board, row
from test_resume import killed_at_write
from test_train import PROTOCOL, Training

from benchmark.cli import main
from benchmark.rows import read_row
from downstream.extraction import pooled
from downstream.protocols import load
from upstream.errors import UsageError


@pytest.fixture
def runs(mini_data, tmp_path):
    return SmallRuns(mini_data, tmp_path, ("steps=20", "eval_every=10", "projector=16"))


def test_a_row_says_only_what_was_changed_for_its_task(runs):  # test_engine.py
    runs.set = (*runs.set, "ic.steps=10")
    (first,) = runs.run("fbank", task="ks").rows
    runs.set = runs.set[:-1]
    (second,) = runs.run("fbank", task="ks").rows
    assert second.protocol_changes == list(runs.set)


def test_a_row_of_one_learning_rate_does_not_take_the_place_of_the_grid():  # test_boards.py
    superb = load("superb")
    settings = {lr: dataclasses.asdict(load("superb", lr=[lr]).task("ks")) for lr in ("grid", "1e-7")}
    rows = [row(settings=settings["grid"]), row(settings=settings["1e-7"], value=1.0, finished="2031")]
    assert superb.name == "superb"
    assert {entry["value"]: entry["board"] == "superb protocol" for entry in board(rows)} == {90.0: True, 1.0: False}


def test_a_file_of_one_s_own_cannot_pass_for_the_published_protocol(tmp_path):  # test_protocols.py
    for name, text in (("superb.yaml", "base: superb\n"), ("x.yaml", "name: superb\nbase: superb\n")):
        (tmp_path / name).write_text(text + "tasks: {ks: {steps: 5}}\n")
        try:
            assert load(str(tmp_path / name)).name != "superb"
        except UsageError:
            pass


@pytest.mark.parametrize("change", ["rates=[0.1]", "lr=-1", "clip=-1", "clip=0", "crop_seconds=-1", "crop_seconds=0", "steps=["])
def test_a_change_without_meaning_is_told(change):  # test_protocols.py
    with pytest.raises(UsageError):
        load("superb", [change])


@pytest.mark.parametrize(
    "text",
    [
        "base: superb\ndefaults:\ntasks: {ks: {steps: 5}}\n",
        "base: superb\ntasks: {ks: 5}\n",
        "base: superb\ntasks: {ks: {1: 5}}\n",
        "base: superb\ntasks: {ks: {rates: [5]}}\n",
        "base: superb\ngrid: 0.1\ntasks: {}\n",
        "base: superb\ngrid:\ntasks: {}\n",
        "base: superb\ngrid: [-1, 0]\ntasks: {}\n",
        "base: superb\ngrid: '123'\ntasks: {}\n",
        "base: [superb]\ntasks: {}\n",
        "base:\ntasks: {}\n",
        "base: FILE\ntasks: {}\n",
    ],
)
def test_a_wrong_file_is_told(text, tmp_path):  # test_protocols.py
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("FILE", str(path)))
    with pytest.raises(UsageError):
        load(str(path))


def test_a_killed_write_leaves_nothing_for_good(runs):  # test_resume.py
    kills = 0
    while killed_at_write(kills + 1, lambda: runs.run("mel_no_cmvn", task="sid")):
        kills += 1
    assert not list(runs.folder.rglob("*.partial"))


def test_a_crop_shorter_than_half_a_block_has_a_mean(tmp_path):  # test_features.py
    asked = request(counting(), noise_corpus(tmp_path / "data", 2), croppable=True, crop_seconds=0.05)
    kept = pooled(asked, tmp_path, False)
    assert kept.batch(np.array([0]), np.array([1600])).isfinite().all()


def test_a_checkpoint_of_another_shape_leaves_no_trace(tmp_path):  # test_train.py
    Training(tmp_path / "a")()
    small = dataclasses.replace(PROTOCOL, projector=12)
    expected = Training(tmp_path / "b", protocol=small)()
    shutil.copy(tmp_path / "a", tmp_path / "c")
    assert Training(tmp_path / "c", protocol=small)() == expected


def test_a_damaged_tensor_in_a_checkpoint_is_noticed(tmp_path, capsys):  # test_train.py
    one = Training(tmp_path / "a")
    one()
    content = bytearray((tmp_path / "a").read_bytes())
    content[-1000] ^= 0x40
    (tmp_path / "a").write_bytes(content)
    again = Training(tmp_path / "a")
    again()
    assert again.features.asked


def test_a_negative_seed_is_wrong_usage(runs, capsys):  # test_cli.py
    assert main([*runs.arguments("run", "--upstream", "fbank", "--task", "ks"), "--seed", "-1"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_fresh_row_equals_the_row_that_is_read_again(done_runs):  # test_rows.py
    fresh = done_runs.outcome.rows[0]
    assert fresh == read_row(done_runs.results / fresh.upstream / fresh.task / fresh.id / "row.json")


@pytest.mark.parametrize(
    "changes",
    [{"metrics": {"accuracy": {"value": 1.0}}}, {"status": "failed", "metrics": {}}, {"status": "odd"}, {"corpus": []}],
)
def test_a_row_that_lacks_something_is_left_out(changes, tmp_path, capsys):  # test_boards.py
    path = tmp_path / "a" / "ks" / "0" / "row.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**dataclasses.asdict(row()), **changes}))
    assert main(["leaderboard", "--results", str(tmp_path)]) == 0
    assert main(["list", "runs", "--results", str(tmp_path)]) == 0
    assert "left out" in capsys.readouterr().err


def test_frames_know_the_sample_rate():  # fails as tests/test_audio.py::test_one_sample_rate
    from upstream import frames

    assert frames.SAMPLE_RATE == 16000
    assert torch
