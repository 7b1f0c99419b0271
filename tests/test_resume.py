"""Whatever stops a run, the same command goes on and ends with the same bytes."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from small_runs import SHORT, SmallRuns, contents, wait_for

from benchmark.rows import read_row
from downstream.fit import train
from downstream.represent import extraction

CELLS = ("--upstream", "fbank_no_cmvn", "--task", "sid", "er", "--lr", "0.1", "0.001", "0.00001")
SETTINGS = ("projector=32", "eval_every=25", "sid.steps=700", "er.steps=250")
SHARD = 16
# A checkpoint at every look, and many shards: more moments to be stopped at.
OFTEN = f"""
from downstream.fit import train
from downstream.represent import extraction
train._SAVE_SECONDS = -1.0
train._SAVING_SHARE = float("inf")
extraction._SHARD_RECORDS = dict.fromkeys(extraction._SHARD_RECORDS, {SHARD})"""
SID, ER = "results/fbank_no_cmvn/sid", "results/fbank_no_cmvn/er"


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(train, "_SAVE_SECONDS", -1.0)
    monkeypatch.setattr(train, "_SAVING_SHARE", float("inf"))
    monkeypatch.setattr(extraction, "_SHARD_RECORDS", dict.fromkeys(extraction._SHARD_RECORDS, SHARD))


def go_on(runs):
    """The same command again, in this process."""
    return runs.run("fbank_no_cmvn", task=["sid", "er"], lr=["0.1", "0.001", "0.00001"])


@pytest.fixture(scope="module")
def straight(mini_data, tmp_path_factory):
    """What an undisturbed run leaves."""
    runs = SmallRuns(mini_data, tmp_path_factory.mktemp("straight"), SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "_SHARD_RECORDS", dict.fromkeys(extraction._SHARD_RECORDS, SHARD))
        go_on(runs)
    return contents(runs.results), {path.name: path.read_bytes() for path in runs.cache.rglob("*.shard")}


def stopped_at(runs, moment, how, jitter):
    """A run that is stopped a little after a file of that name has appeared; what it said."""
    process = runs.start(*CELLS, before=OFTEN)
    wait_for(runs.folder, moment, process)
    time.sleep(random.uniform(0, jitter))
    process.send_signal(how)
    _, said = process.communicate()
    return process.returncode, said


def test_killed_four_times_the_result_is_the_same(mini_data, straight, tmp_path):
    """In the middle of the features, of one training, with Ctrl-C in the third fold of another, and in its fourth."""
    runs = SmallRuns(mini_data, tmp_path, SETTINGS)
    assert stopped_at(runs, "cache/features/*/*/*.shard", signal.SIGKILL, 0.05)[0] == -signal.SIGKILL
    assert not list(runs.results.rglob("row.json"))
    assert stopped_at(runs, f"{SID}/*/all.state", signal.SIGKILL, 0.1)[0] == -signal.SIGKILL
    code, said = stopped_at(runs, f"{ER}/*/fold3.state", signal.SIGINT, 0.05)
    assert code == 130, said
    assert "stopped; what was finished is kept, and the same command continues" in said
    assert "Traceback" not in said
    (finished,) = runs.results.rglob("row.json")
    assert read_row(finished).task == "sid"
    before = finished.stat().st_mtime_ns
    code, said = stopped_at(runs, f"{ER}/*/fold4.state", signal.SIGKILL, 0.05)
    assert code == -signal.SIGKILL
    assert "sid / superb / seed 1337: accuracy" in said
    assert "already done" in said
    outcome = go_on(runs)
    assert (outcome.fresh, outcome.exit_code) == (1, 0)
    assert finished.stat().st_mtime_ns == before
    rows, shards = straight
    found = contents(runs.results)
    assert found.keys() == rows.keys()  # no checkpoint is left among the results
    for name, content in rows.items():
        assert found[name] == content, name
    assert shards == {path.name: path.read_bytes() for path in runs.cache.rglob("*.shard")}


def killed_at_write(number, work):
    """Does some work in a copy of this process, which dies when its write of that number is on the disk and still has
    to take its place. False when it made fewer."""
    child = os.fork()
    if child == 0:
        replace, writes = Path.replace, iter(range(1, 1000))

        def replace_or_die(self, target):
            if next(writes) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(self, target)

        Path.replace = replace_or_die
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("task", "mode"), [("sid", "pooled"), ("asr", "frames"), ("sf", "live"), ("qbe", "frames")])
def test_killed_in_the_middle_of_every_write(task, mode, mini_data, tmp_path):
    """One process after the other does the same, and each gets one write further before it is killed."""
    small = "sid.steps=20", "sid.eval_every=10", "projector=16", *SHORT
    straight, killed = (SmallRuns(mini_data, tmp_path / name, small) for name in ("straight", "killed"))
    straight.run("mel_no_cmvn", task=task, features=mode)
    kills = 0
    while killed_at_write(kills + 1, lambda: killed.run("mel_no_cmvn", task=task, features=mode)):
        kills += 1
        assert kills < 50
    assert kills > 5
    assert not list(killed.folder.rglob("*.partial"))
    (row,) = killed.results.rglob("row.json")
    assert read_row(row).status == "done"
    assert contents(killed.results) == contents(straight.results)


def test_two_runs_of_the_same_cells_at_once_end_with_one_result(mini_data, straight, tmp_path, capsys):
    """The second comes while the first is training: it waits, finds the row, and does the other cell or waits again."""
    runs = SmallRuns(mini_data, tmp_path, SETTINGS)
    process = runs.start(*CELLS, before=OFTEN)
    wait_for(runs.folder, f"{SID}/*/all.state", process)
    outcome = go_on(runs)
    _, said = process.communicate()
    assert (process.returncode, outcome.exit_code) == (0, 0), said
    assert outcome.fresh + said.count(" -> ") - said.count("already done -> ") == 2
    assert "another process is computing it" in capsys.readouterr().err
    assert contents(runs.results) == straight[0]
    assert [row.task for row in outcome.rows] == ["sid", "er"]


def test_one_that_waits_takes_over_when_the_other_is_killed(mini_data, straight, tmp_path):
    runs = SmallRuns(mini_data, tmp_path, SETTINGS)
    first = runs.start(*CELLS, before=OFTEN)
    wait_for(runs.folder, f"{SID}/*/all.state", first)
    first.send_signal(signal.SIGSTOP)  # it keeps its lock and does nothing
    second = runs.start(*CELLS, before=OFTEN)
    said = ""
    while "another process is computing it" not in said:
        line = second.stderr.readline()
        assert line, second.wait()
        said += line
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, rest = second.communicate()
    assert second.returncode == 0, rest
    assert "2 computed, 0 already done, 0 failed" in rest
    assert contents(runs.results) == straight[0]
