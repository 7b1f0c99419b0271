"""`plan` as people and programs read it: a table and JSON, and nothing is changed but the rates."""

import json
import re

import pytest
from small_runs import SmallRuns, cells, snapshot

from benchmark.options import Options
from benchmark.planning.elapsed import elapsed
from benchmark.planning.plan import plan
from benchmark.planning.text import lines as text_of

TASKS = "sid er asv sd ss se qbe"


@pytest.fixture
def runs(mini_data, tmp_path):
    return SmallRuns(mini_data, tmp_path)


def test_plan_and_dry_run_change_nothing_but_the_rates(done_runs, say, tmp_path):
    place, before = ["--cache", tmp_path / "cache"], snapshot(done_runs.folder, done_runs.data)
    words = (*done_runs.arguments("plan", *cells("fbank", "mel", task="all")), *place)
    code, planned, _ = say(*words)
    assert code == 0
    code, dry, err = say("run", *words[1:], "--dry-run")
    assert (code, dry, err) == (0, planned, "")  # nothing was measured twice
    assert re.search(r"^fbank / ks / seed 1337 +done +pooled", planned, re.MULTILINE)
    assert re.search(r"^mel / er / seed 1337 +to do +pooled .* once ", planned, re.MULTILINE)
    assert f"data  {done_runs.data / 'VoxCeleb1'}" in planned
    assert "30 cells, 15 to do: about " in planned
    assert snapshot(done_runs.folder, done_runs.data) == before
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"rates.json", ".rates.lock"}


def test_corpora_that_a_run_would_make_are_told(say, tmp_path):
    code, out, err = say("plan", *cells("mel", task="ks asv"), "--mini", "--cache", tmp_path / "cache")
    assert (code, err) == (0, "")
    assert f"will be made in {tmp_path / 'cache' / 'mini'}" in out
    assert not (tmp_path / "cache").exists()


def test_a_plan_as_json_has_the_figures_of_the_run(done_runs, say, tmp_path):
    words = cells("fbank", "mel_no_cmvn", task=TASKS)
    code, out, _ = say(*done_runs.arguments("plan", *words, "--json"), "--cache", tmp_path)
    assert code == 0
    planned = {(cell["upstream"], cell["task"]): cell for cell in json.loads(out)}
    assert len(planned) == 2 * 7
    for row in done_runs.outcome.rows:
        if row.upstream == "fbank" and row.task in TASKS.split():
            cell = planned["fbank", row.task]
            assert (cell["state"], cell["bytes_to_write"]) == ("done", 0)
            assert cell["row"] == str(done_runs.results / "fbank" / row.task / row.id / "row.json")
            assert cell["examples"] == row.cost["examples"]
            assert cell["audio_hours"] == pytest.approx(row.cost["audio_hours"], rel=0.05, abs=0.002)
            assert cell["optimizer_steps"] * cell["learning_rates"] == row.cost.get("optimizer_steps", 0)
            assert cell["pairs"] == row.cost.get("pairs", 0)
            other = planned["mel_no_cmvn", row.task]
            assert other["state"] == "to do"
            assert other["bytes_to_write"] > 10_000
            assert other["total_seconds"] == pytest.approx(
                other["hearing_seconds"] + sum(other["seconds"].values()), abs=0.2
            )


def test_a_plan_says_what_is_missing(runs, say, tmp_path):
    runs.data = tmp_path
    (tmp_path / "VoxCeleb1").mkdir()
    code, out, err = say(*runs.arguments("plan", *cells("fbank", task="ks sid")))
    assert code == 3
    assert re.search(r"^fbank / ks / seed 1337 +missing$", out, re.MULTILINE)
    assert "    missing: speech_commands" in out
    assert f"{tmp_path / 'speech_commands_v0.01'}  (missing)" in err
    assert "veri_test_class.txt" in err
    assert "2 cells, 0 to do" in out


def test_what_is_heard_together_is_divided_among_its_cells(runs, say):
    words = cells("mel_no_cmvn", task="pr asr")
    _, out, _ = say(*runs.arguments("plan", *words, "--seed", "1", "2", "--json"))
    planned = json.loads(out)
    assert [(cell["task"], cell["seed"]) for cell in planned] == [("pr", 1), ("pr", 2), ("asr", 1), ("asr", 2)]
    assert len({cell["bytes_to_write"] for cell in planned}) == 1
    assert [cell["heard_with"] for cell in planned] == [["asr"], ["asr"], ["pr"], ["pr"]]
    _, out, _ = say(*runs.arguments("plan", *cells("mel_no_cmvn", task="pr"), "--json"))
    [alone] = json.loads(out)
    assert sum(cell["bytes_to_write"] for cell in planned) == pytest.approx(alone["bytes_to_write"], abs=4)
    _, text, _ = say(*runs.arguments("plan", *words, "--seed", "1", "2"))
    assert "what is heard is shared by these 4 cells" in text


def test_the_limit_is_told_and_kept(runs, say):
    _, text, _ = say(*runs.arguments("plan", *cells("mel_no_cmvn", task="pr")), "--cache-limit", "20KB")
    assert re.search(r"^mel_no_cmvn / pr / seed 1337 +to do +live .* \d+ times ", text, re.MULTILINE)
    assert "live: 1.2 MB do not fit in the 20.0 KB of --cache-limit (instead of frames: 1.2 MB to write" in text
    assert "about 0 B to write (--cache-limit 20.0 KB)" in text


def test_what_cannot_be_predicted_is_told(runs, say, monkeypatch):
    monkeypatch.setattr("benchmark.planning.training_times.Rehearsal", lambda *_: 1 / 0)
    code, text, _ = say(*runs.arguments("plan", *cells("mel_no_cmvn", task="ks")))
    assert code == 0
    assert "not predicted: the heads of ks on 1 x 80 every 160 samples (ZeroDivisionError: division by zero)" in text
    assert re.search(r"^mel_no_cmvn / ks .* \?  +\?$", text, re.MULTILINE)
    assert ", and what could not be predicted of 1 hearings" in text
    _, out, _ = say(*runs.arguments("plan", *cells("mel_no_cmvn", task="ks"), "--json"))
    [cell] = json.loads(out)
    assert cell["seconds"] == {"fit": None, "score": None}
    assert cell["total_seconds"] is None


def test_audio_is_read_once_for_all_upstreams_and_each_costs_once(runs):
    """The whole time, by hand from the parts."""
    options = Options.of(**runs.options("mel_no_cmvn", "fbank_no_cmvn", task=["ks", "pr"]))
    found = plan(options, print)
    assert [one.hearing.tasks for one in found.predictions] == 2 * [("ks",), ("pr",)]
    expected = 0.0
    for number, one in enumerate(found.predictions):
        hops = one.way.hops
        expected += hops["hear"] + hops["write"] + (hops["decode"] if number < 2 else 0.0)
        expected += sum(sum(own.values()) for own in one.way.cells.values())
        expected += one.cost_seconds if number in (0, 2) else 0.0
    assert elapsed(found.predictions, 1) == pytest.approx(expected)
    hours = sum(one.way.audio_seconds for one in found.predictions[:2]) / 3600
    assert f"mel_no_cmvn: {hours:.2f} h of audio to hear" in text_of(found)
