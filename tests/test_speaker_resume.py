"""Whatever stops a run of the speaker tasks, the same command goes on and ends with the same bytes."""

import random
import signal
import time
from pathlib import Path

import pytest
from small_runs import SmallRuns, contents, wait_for
from speaker_corpora import NUMBERS, speaker_corpora
from threadpoolctl import threadpool_limits

from downstream.fit import train

UPSTREAM = "mel_no_cmvn"
CELLS = ("asv", "sd", "ss", "se")
RATE = ("0.001",)
# Long enough to be stopped in the middle.
LONG = ("asv.steps=9", "asv.eval_every=3", "sd.steps=200", "sd.eval_every=20", "ss.steps=16", "se.steps=6")
# A checkpoint at every look: more moments to be stopped at.
OFTEN = """
from downstream.fit import train
train._SAVE_SECONDS = -1.0
train._SAVING_SHARE = float("inf")"""


@pytest.fixture(scope="module", autouse=True)
def one_thread_in_numpy():
    """As in the processes that are started here: SI-SDR's sums have other last digits on two."""
    with threadpool_limits(1):
        yield


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(train, "_SAVE_SECONDS", -1.0)
    monkeypatch.setattr(train, "_SAVING_SHARE", float("inf"))


@pytest.fixture(scope="module")
def data(mini_data, tmp_path_factory):
    return speaker_corpora(mini_data, tmp_path_factory.mktemp("corpora") / "data")


@pytest.fixture(scope="module")
def straight(data, tmp_path_factory):
    """What an undisturbed run leaves, and its features."""
    runs = SmallRuns(data, tmp_path_factory.mktemp("straight"), (*NUMBERS, *LONG))
    assert go_on(runs).fresh == len(CELLS)
    return contents(runs.results), runs.cache


@pytest.fixture
def runs(data, straight, tmp_path):
    """The features are there already: what is stopped here is training."""
    (tmp_path / "cache").symlink_to(straight[1])
    return SmallRuns(data, tmp_path, (*NUMBERS, *LONG))


def go_on(runs, *tasks):
    return runs.run(UPSTREAM, task=tasks or CELLS, lr=RATE, features="frames")


def start(runs, *tasks):
    cells = ("--upstream", UPSTREAM, "--task", *(tasks or CELLS), "--lr", *RATE, "--features", "frames")
    return runs.start(*cells, before=OFTEN)


def stopped_in(runs, task, fold, how):
    """A run that is stopped a little after the first checkpoint of that training; what it said."""
    process = start(runs)
    wait_for(runs.results, f"{UPSTREAM}/{task}/*/{fold}.state", process)
    time.sleep(random.uniform(0, 0.05))
    process.send_signal(how)
    _, said = process.communicate()
    assert not list((runs.results / UPSTREAM / task).glob("*/row.json")), said  # it was not too late
    return process.returncode, said


def test_killed_in_every_kind_of_training_the_result_is_the_same(runs, straight):
    """In both trainings of verification, of which the second is stopped with Ctrl-C, and in the others."""
    assert stopped_in(runs, "asv", "superb", signal.SIGKILL)[0] == -signal.SIGKILL
    code, said = stopped_in(runs, "asv", "held-out", signal.SIGINT)
    assert code == 130, said
    assert "stopped; what was finished is kept, and the same command continues" in said
    assert "Traceback" not in said
    code, said = stopped_in(runs, "ss", "all", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert said.count(" -> ") == 2  # verification and diarization are done
    outcome = go_on(runs)
    assert (outcome.exit_code, outcome.fresh) == (0, 2)
    found, wanted = contents(runs.results), straight[0]
    assert found.keys() == wanted.keys()  # no checkpoint is left among the results
    for name, content in wanted.items():
        assert found[name] == content, name


def children_of(process):
    """Whatever a process has started and not ended, as places in /proc."""
    told = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [Path(f"/proc/{number}") for number in told.read_text().split()] if told.exists() else []


def is_gone(place):
    """No longer there, or waiting for nothing but to be counted."""
    try:
        return (place / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_processes_that_measure_end_with_the_one_that_is_killed(runs, straight):
    """Enhancement has them while it trains, as PESQ chooses its steps."""
    process = start(runs, "se")
    wait_for(runs.results, f"{UPSTREAM}/se/*/all.state", process)
    started = children_of(process)
    assert started
    process.kill()
    process.communicate()
    end = time.monotonic() + 10
    while not all(map(is_gone, started)):
        assert time.monotonic() < end, "processes are left"
        time.sleep(0.01)
    assert go_on(runs, "se").fresh == 1
    found = contents(runs.results)
    assert found == {name: content for name, content in straight[0].items() if f"{UPSTREAM}/se/" in name}


def test_two_runs_of_the_same_cell_at_once_end_with_one_result(runs, straight, capsys):
    process = start(runs, "sd")
    wait_for(runs.results, f"{UPSTREAM}/sd/*/all.state", process)
    outcome = go_on(runs, "sd")
    _, said = process.communicate()
    assert (process.returncode, outcome.exit_code, outcome.fresh) == (0, 0, 0), said
    assert "another process is computing it" in capsys.readouterr().err
    found = contents(runs.results)
    assert found == {name: content for name, content in straight[0].items() if f"{UPSTREAM}/sd/" in name}
