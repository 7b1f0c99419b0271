"""Cells and what becomes of them: done once, the same everywhere, and a row even when they fail."""

import json
import shutil

import numpy as np
import pytest
from small_runs import SmallRuns, contents, folder_of, plain, rows_by_task, snapshot
from user_files import GOOD, variant, write_file

import benchmark
from benchmark import engine
from benchmark.options import Options
from benchmark.rows import Row, read_row
from upstream.errors import ContractError, MissingError, ResourceError, UsageError


@pytest.fixture
def runs(mini_data, tmp_path):
    """Results and cache of one's own."""
    return SmallRuns(mini_data, tmp_path)


# Doing nothing, doing less


def test_what_is_done_is_not_done_again(done_runs, capsys):
    before = snapshot(done_runs.folder)
    again = done_runs.run("fbank", "fbank_no_cmvn", task="all")
    assert snapshot(done_runs.folder) == before
    assert (again.fresh, again.exit_code) == (0, 0)
    assert [plain(row) for row in again.rows] == [plain(row) for row in done_runs.outcome.rows]
    assert capsys.readouterr().err.count("already done -> ") == len(again.rows) == 30


def test_the_same_cells_elsewhere_are_the_same_bytes(done_runs, runs):
    """Another cache, other results, another order: a cell is a function of its arguments."""
    runs.run("fbank_no_cmvn", task=["er", "sid"])
    names = contents(runs.results)
    assert len(names) == 2 * 3 + 6  # row, predictions and curve of two cells, one head and five
    assert names.items() <= contents(done_runs.results).items()


def test_live_features_give_the_same_row_where_nothing_is_cropped(done_runs, runs):
    """And where training crops, another one, that says where its crops come from."""
    runs.set = (*runs.set, "sid.steps=2", "sid.eval_every=1")
    live = runs.run("fbank_no_cmvn", task=["ic", "sid"], features="live").rows
    assert not (runs.cache / "features").exists()
    done = rows_by_task(done_runs, "fbank_no_cmvn")
    kept = [done["ic"], done["sid"]]
    assert [row.features["mode"] for row in live] == ["live", "live"]
    assert live[0].metrics == kept[0].metrics
    assert live[0].selection == kept[0].selection
    assert live[0].layer_norms == pytest.approx(kept[0].layer_norms)
    for name in ("predictions.jsonl", "train.jsonl", "head-all.safetensors"):
        assert (folder_of(runs, live[0]) / name).read_bytes() == (folder_of(done_runs, kept[0]) / name).read_bytes()
    assert "waveform" in live[1].features["crops"]
    assert {row.id for row in live}.isdisjoint(row.id for row in kept)


def test_settings_that_change_the_result_make_another_row(done_runs, runs):
    runs.set = (*runs.set, "ic.steps=20")
    ids = {row.id for row in done_runs.outcome.rows}
    for options in ({}, {"seed": 1}, {"lr": ["0.1"]}, {"limit": 20}, {"limit": 999}, {"features": "live"}):
        (row,) = runs.run("fbank_no_cmvn", task="ic", **options).rows
        assert row.id not in ids, options
        ids.add(row.id)
    assert len(list((runs.results / "fbank_no_cmvn" / "ic").iterdir())) == 6


def test_a_limit_is_said_and_kept(runs):
    (row,) = runs.run("mfcc_no_cmvn", task="ks", limit=30).rows
    assert (row.limit, row.corpus["complete"], row.score["n"]) == (30, False, 30)
    assert set(row.corpus["counts"].values()) == {30}


# A user's own upstream, and what goes wrong


def test_a_file_of_one_s_own_becomes_rows(runs, tmp_path):
    """Three layers, so that there is something to weigh."""
    path = write_file(tmp_path, GOOD)
    outcome = runs.run(path, task=["er", "ks"])
    assert outcome.exit_code == 0
    for row in outcome.rows:
        assert (row.upstream, row.status) == ("mine", "done")
        assert all(sum(point["layer_weights"]) == pytest.approx(1) for point in row.selection)
        assert any(max(point["layer_weights"]) > 0.34 for point in row.selection)
        assert sum(row.layer_weights) == pytest.approx(1)
        assert len(row.layer_norms) == 3
        assert row.layer_norms[2] == pytest.approx(3 * row.layer_norms[0], rel=1e-5)
        chosen = [p["layer_weights"] for p in row.selection if p["lr"] == row.selected["lr"]]
        assert row.layer_weights == pytest.approx(np.mean(chosen, axis=0).tolist())
    write_file(tmp_path, GOOD.replace("frames[:, 7]", "frames[:, 8]"))
    changed = runs.run(path, task="ks")
    assert changed.fresh == 1  # another model under the same name
    assert changed.rows[0].fingerprints["features"] != outcome.rows[1].fingerprints["features"]


BREAKS_ON_LONG = 'if len(wavs[0]) > 80000:\n    raise RuntimeError("too long for me")'


def test_a_cell_that_fails_is_a_row_too_and_stops_no_other(runs, tmp_path, capsys):
    path = write_file(tmp_path, variant(BREAKS_ON_LONG))
    outcome = runs.run(path, task=["sid", "ks"])
    assert outcome.exit_code == 1
    assert [(row.task, row.status) for row in outcome.rows] == [("ks", "done")]
    (failed,) = (runs.results / "mine" / "sid").glob("*/row.json")
    row = read_row(failed)
    assert (row.status, row.metrics, row.error["type"]) == ("failed", {}, "ContractError")
    for part in ("RuntimeError: too long for me", "mine.py, line", "while computing the features of mine on"):
        assert part in row.error["message"]
    said = capsys.readouterr().err
    assert "mine / sid / superb / seed 1337: " in said
    assert "Traceback" not in said  # a fault of the user's file is no defect of ours
    again = runs.run(path, task=["sid", "ks"])  # a failure is tried again, what is done is not
    assert (again.exit_code, again.fresh, len(again.rows)) == (1, 0, 1)


def test_a_defect_of_ours_is_shown_with_its_place(runs, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.compute._record", lambda *_: 1 / 0)
        outcome = runs.run("mfcc_no_cmvn", task="ks")
    assert outcome.exit_code == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    (failed,) = runs.results.rglob("row.json")
    assert read_row(failed).error["type"] == "ZeroDivisionError"
    mended = runs.run("mfcc_no_cmvn", task="ks")  # the same cell: its failure does not count as done
    assert (mended.exit_code, mended.fresh) == (0, 1)
    assert read_row(failed).status == "done"


def test_a_full_disk_fails_the_cell_and_what_was_finished_serves_the_next_try(runs, monkeypatch):
    def full(*_):
        raise ResourceError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("benchmark.compute._write_beside", full)
        patch.setattr("benchmark.jobs.workshop.failed", full)  # nor is there room for the row of the failure
        outcome = runs.run("mfcc_no_cmvn", task="ks")
    assert (outcome.exit_code, [str(error) for error in outcome.errors]) == (1, ["no space left"])
    before = snapshot(runs.cache)
    assert runs.run("mfcc_no_cmvn", task="ks").exit_code == 0
    assert snapshot(runs.cache) == before
    assert not list(runs.results.rglob("*.state"))


def test_a_row_that_cannot_be_read_is_said_and_computed_again(done_runs, runs, capsys):
    row = rows_by_task(done_runs, "fbank")["ic"]
    shutil.copytree(done_runs.results / "fbank" / "ic", runs.results / "fbank" / "ic")
    runs.folder.joinpath("cache").symlink_to(done_runs.cache)
    path = folder_of(runs, row) / "row.json"
    for text, said in (('{"id": 3', "cannot be read as a row"), ('{"schema": 0}', "was written by an older version")):
        path.write_text(text)
        outcome = runs.run("fbank", task="ic")
        assert outcome.fresh == 1
        assert f"{path} {said}" in capsys.readouterr().err
        assert contents(runs.results).items() <= contents(done_runs.results).items()


def test_missing_data_costs_the_cells_that_need_it(runs, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    (data / "VoxCeleb1").symlink_to(runs.data / "VoxCeleb1")
    runs.data = data
    outcome = runs.run("mfcc_no_cmvn", task=["ks", "sid"])
    assert outcome.exit_code == 3
    assert [row.task for row in outcome.rows] == ["sid"]
    assert f"{data / 'speech_commands_v0.01'}  (missing)" in capsys.readouterr().err


# From Python


def test_run_gives_the_row(done_runs):
    row = benchmark.run("fbank", "ks", **{k: v for k, v in done_runs.options().items() if k != "upstream"})
    assert isinstance(row, Row)
    assert plain(row) == plain(rows_by_task(done_runs, "fbank")["ks"])
    rows = benchmark.run(**done_runs.options("fbank", task=["ks", "er"]))
    assert [row.task for row in rows] == ["ks", "er"]


def test_run_raises_what_went_wrong(runs, tmp_path):
    path = write_file(tmp_path, variant(BREAKS_ON_LONG))
    with pytest.raises(ContractError, match="too long for me"):
        benchmark.run(**runs.options(path, task="sid"))
    with pytest.raises(MissingError, match=r"speech_commands_v0\.01"):
        benchmark.run(**runs.options("fbank", task="ks", data=tmp_path))
    with pytest.raises(UsageError, match=r"unknown option 'sead'. Did you mean: seed"):
        benchmark.run(**runs.options("fbank", task="ks", sead=3))


def test_extract_makes_what_run_reads(runs, capsys):
    options = Options.of(**runs.options("mfcc_no_cmvn", task="ic"))
    assert engine.extract(options).exit_code == 0
    assert str(runs.cache / "features" / "mfcc_no_cmvn") in capsys.readouterr().err
    assert not runs.results.exists()
    before = snapshot(runs.cache)
    assert len(before) > 2
    assert runs.run("mfcc_no_cmvn", task="ic").exit_code == 0
    assert snapshot(runs.cache) == before


def test_a_transformer_of_any_size_goes_from_its_name_to_a_row(mini_data, tmp_path):
    config = tmp_path / "config.json"
    sizes = {"hidden_size": 32, "num_hidden_layers": 12, "num_attention_heads": 2, "intermediate_size": 48}
    config.write_text(json.dumps({"model_type": "wavlm", "conv_dim": [16] * 7, **sizes}))
    runs = SmallRuns(mini_data, tmp_path)
    outcome = runs.run(f"random:{config}", task="ks")
    assert outcome.exit_code == 0
    (row,) = outcome.rows
    assert row.upstream == f"random:{tmp_path.name}/config"
    assert len(row.layer_weights) == len(row.layer_norms) == 13
    assert sum(row.layer_weights) == pytest.approx(1)
    assert (row.features["layers"], row.features["dim"], row.features["hop"]) == (13, 32, 320)
    cost = row.cost["upstream"]
    assert cost["parameters"] > 1e5 and cost["macs_per_second"] > 1e6 and cost["real_time_factor"] > 0
    (path,) = runs.results.glob("*/ks/*/row.json")
    assert ":" not in str(path) and read_row(path).upstream == row.upstream
    assert runs.run(f"random:{config}", task="ks").fresh == 0
