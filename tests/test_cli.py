"""The command line as users and scripts meet it: what it prints, what it changes, how it ends."""

import csv
import io
import json
import shutil
import signal
import subprocess
import sys

import pytest
from small_runs import ROOT, SmallRuns, cells, contents
from user_files import GOOD, write_file

from benchmark import __version__, cli
from benchmark.cli import main
from downstream.corpora import CORPORA
from downstream.protocols import names as protocol_names
from downstream.tasks import TASKS
from upstream import registry


@pytest.fixture
def runs(mini_data, tmp_path):
    return SmallRuns(mini_data, tmp_path)


# run


def test_a_run_says_what_it_did_and_where_it_is(done_runs, say):
    code, out, err = say(*done_runs.arguments("run", *cells("fbank", task="ks sid")))
    assert (code, out) == (0, "")
    assert "fbank / ks / superb / seed 1337: accuracy " in err
    assert "0 computed, 2 already done, 0 failed" in err
    assert f"python -m benchmark leaderboard --results {done_runs.results}" in err


def test_a_run_prints_rows_as_json(done_runs, say):
    code, out, _ = say(*done_runs.arguments("run", *cells("fbank", task="all"), "--json"))
    assert code == 0
    rows = json.loads(out)
    assert [row["task"] for row in rows] == list(TASKS)
    metrics = {row["task"]: row["metrics"] for row in rows}
    assert metrics["ks"]["accuracy"]["n"] == 31
    assert list(metrics["asr"]) == ["wer", "uer", "wer_lm"]
    assert list(metrics["asv"]) == ["eer", "min_dcf", "eer_dev", "min_dcf_dev"]
    assert list(metrics["sd"]) == ["der", "der_dev"]
    assert list(metrics["qbe"]) == ["mtwv", "mtwv_dev", "mtwv_plain", "mtwv_plain_dev", "min_cnxe"]
    assert set(metrics["ss"]) == set(metrics["se"]) == {"si_sdri", "stoi", "pesq"}


def test_one_cell_in_a_process_of_its_own_is_the_same_row(done_runs, runs):
    """The whole way, through `python -m benchmark`."""
    command = [sys.executable, "-m", "benchmark", *runs.arguments("run", *cells("fbank_no_cmvn", task="ic"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "1 computed, 0 already done, 0 failed" in done.stderr
    assert contents(runs.results).items() <= contents(done_runs.results).items()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--upstream", "fbnak", "--task", "ks"], "unknown upstream 'fbnak'. Did you mean: fbank"),
        (["--upstream", "fbank", "--task", "kss"], "unknown task 'kss'. Did you mean: ss, ks"),
        (["--upstream", "fbank", "--task", "ks", "--protocol", "supreb"], "Did you mean: superb"),
        (["--upstream", "fbank", "--task", "ks", "--set", "ks.stepz=3"], "unknown key"),
        (["--upstream", "fbank", "--task", "ks", "--lr", "fast"], "--lr fast: expected learning rates above 0"),
        (["--upstream", "fbank", "--task", "ks", "--features", "poled"], "Did you mean: pooled"),
        (["--upstream", "fbank", "--task", "ks", "--limit", "0"], "--limit 0: expected a number of examples above 0"),
        (["--upstream", "fbank", "--task", "ks", "--mini"], "leave out --data"),
        (["--upstream", "fbank", "--task", "ks", "--seed", "-1"], "--seed: expected one or more whole numbers from 0"),
        (["--upstream", "fbank", "--task"], "expected at least one argument"),
        (["--upstream", "fbank", "--task", "ks", "--colour", "blue"], "unrecognized arguments: --colour blue"),
        (["--upstream", "fbank", "mel", "--task", "ks", "--weights", "w"], "--weights names the weights of one"),
        (["--upstream", "zz:org/name", "--task", "ks"], "unknown prefix 'zz'"),
    ],
)
def test_wrong_usage_ends_with_2_and_changes_nothing(words, said, say, tmp_path):
    places = "--data", tmp_path, "--cache", tmp_path / "cache", "--results", tmp_path / "results"
    for command in ("run", "plan"):
        code, out, err = say(command, *words, *places)
        assert (code, out) == (2, "")
        assert said in err
        assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_no_data_given_is_wrong_usage(say):
    code, _, err = say("run", *cells("fbank"))
    assert code == 2
    assert "--data DIR with the corpora, or --mini" in err


@pytest.mark.parametrize("place", ["empty", "not there", "a file", "another corpus"])
def test_missing_data_ends_with_3_and_the_path_that_was_expected(place, runs, say, tmp_path):
    data = tmp_path / "data"
    if place == "empty":
        data.mkdir()
    elif place == "a file":
        data.write_text("")
    elif place == "another corpus":
        data.symlink_to(runs.data / "VoxCeleb1")
    runs.data = data
    code, _, err = say(*runs.arguments("run", *cells("fbank", task="ks ic")))
    assert code == 3
    for folder in ("speech_commands_v0.01", "speech_commands_test_set_v0.01", "fluent_speech_commands_dataset"):
        assert f"{data / folder}  (missing)" in err
    said = {"empty": "is empty", "not there": "does not exist", "a file": "is a file", "another corpus": "voxceleb1"}
    assert said[place] in err
    assert "0 computed, 0 already done, 2 failed" in err


def test_a_missing_user_file_ends_with_3(runs, say, tmp_path):
    code, _, err = say(*runs.arguments("run", *cells(tmp_path / "none.py")))
    assert code == 3
    assert f"upstream file not found: {tmp_path / 'none.py'}" in err


def test_a_cell_that_fails_ends_with_1_and_goes_before_other_codes(runs, say, tmp_path):
    broken = write_file(tmp_path, GOOD.replace("n + 1", "n / 0"), "broken.py")
    code, _, err = say(*runs.arguments("run", *cells(broken, tmp_path / "none.py", "mfcc_no_cmvn", task="ic")))
    assert code == 1
    assert "1 computed, 0 already done, 2 failed" in err
    assert "ZeroDivisionError" in err
    assert "broken.py, line" in err


def test_ctrl_c_anywhere_ends_with_130(runs, say, monkeypatch):
    monkeypatch.setattr("benchmark.jobs.workshop.read_task", lambda *_: signal.raise_signal(signal.SIGINT))
    code, _, err = say(*runs.arguments("run", *cells("fbank")))
    assert code == 130
    assert "stopped; what was finished is kept" in err
    assert "Traceback" not in err


# list, data, doctor


def test_lists(done_runs, say):
    expected = {
        "upstreams": registry.names(),
        "tasks": list(TASKS),
        "protocols": protocol_names(),
        "corpora": list(CORPORA),
        "runs": sorted(f"{row.upstream}/{row.task}/{row.id}" for row in done_runs.outcome.rows),
    }
    for what, names in expected.items():
        words = ("--results", done_runs.results) if what == "runs" else ()
        code, out, err = say("list", what, *words)
        assert (code, err) == (0, "")
        first_words = [line.split()[0] for line in out.splitlines() if line.strip()]
        assert sorted(name for name in first_words if name in names) == sorted(names)
        code, out, _ = say("list", what, "--json", *words)
        assert sorted(item["name"] for item in json.loads(out)) == sorted(names)
    assert "accuracy" in out
    assert say("list", "colours")[0] == 2


def test_data_check(done_runs, say, tmp_path):
    tasks = [task for task in TASKS if task != "asv"]
    code, out, _ = say("data", "check", "--data", done_runs.data, "--task", *tasks)
    assert code == 0
    assert out.count("a small made-up corpus") == len(CORPORA) - 1
    assert "test: 24 (complete)" in out
    assert "36 turns in 9 recordings" in out
    assert "6 mixtures of 12 files" in out
    code, out, _ = say("data", "check", "--data", tmp_path, "--task", "sid")
    assert code == 3
    assert str(tmp_path / "VoxCeleb1") in out
    shutil.copytree(done_runs.data / "VoxCeleb1", tmp_path / "VoxCeleb1")
    wav = next((tmp_path / "VoxCeleb1").rglob("*.wav"))
    wav.write_bytes(wav.read_bytes()[:1000])
    code, out, _ = say("data", "check", "--data", tmp_path, "--task", "sid", "ks")
    assert code == 1  # broken goes before missing
    assert f"{wav} is truncated" in out
    wav.unlink()
    code, out, _ = say("data", "check", "--data", tmp_path, "--task", "sid")
    assert code == 3
    assert wav.name in out
    code, _, err = say("data", "check", "--data", tmp_path, "--task", "sad")
    assert code == 2
    assert "Did you mean: sd" in err


def test_data_check_looks_at_what_verification_wants_beside_the_audio(done_runs, say, tmp_path):
    code, out, _ = say("data", "check", "--data", done_runs.data, "--task", "asv")
    assert code == 2
    assert "dev_speakers is 8, of 4 training speakers" in out  # there are more where the corpus has its full size
    shutil.copytree(done_runs.data / "VoxCeleb1", tmp_path / "VoxCeleb1")
    (tmp_path / "VoxCeleb1" / "voxceleb1_test_v2.txt").unlink()
    code, out, _ = say("data", "check", "--data", tmp_path, "--task", "asv")
    assert code == 3
    assert "30 (complete)" in out
    assert f"{tmp_path / 'VoxCeleb1' / 'voxceleb1_test_v2.txt'}" in out


def test_doctor_finds_nothing_wrong_here(say, tmp_path):
    code, out, _ = say("doctor", "--cache", tmp_path / "cache", "--results", tmp_path / "results")
    assert code == 0, out
    assert "FAIL" not in out
    assert f"sslbench       {__version__}" in out
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_what_is_wrong(say, tmp_path, monkeypatch):
    def broken():
        raise ArithmeticError("it does not add up")

    monkeypatch.setattr("benchmark.doctor._torch", broken)
    (tmp_path / "file").write_text("")
    code, out, _ = say("doctor", "--cache", tmp_path / "file" / "cache", "--results", tmp_path)
    assert code == 1
    assert "FAIL  torch          ArithmeticError: it does not add up" in out
    assert "FAIL  cache" in out
    assert "ok    audio" in out  # what is wrong does not stop the rest


def test_version_and_a_reader_that_has_seen_enough(say, monkeypatch):
    assert say("--version")[1] == f"sslbench {__version__}\n"
    assert say()[0] == 2

    def closed(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    monkeypatch.setattr(cli.sys, "stderr", io.StringIO())
    assert main(["list", "tasks"]) == 0


def test_what_the_system_refuses_is_told_and_what_a_terminal_lacks_is_spelt_out(tmp_path, capsys, monkeypatch):
    assert main(["leaderboard", "--results", "a" * 5000]) == 1
    assert "error: [Errno 36] File name too long" in capsys.readouterr().err
    monkeypatch.setattr(cli.sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1", write_through=True))
    assert main(["leaderboard", "--results", str(tmp_path)]) == 0
    assert b"overall \\u2191" in cli.sys.stdout.buffer.getvalue()


def test_a_board_as_csv_is_csv(done_runs, say):
    code, out, _ = say("leaderboard", "--results", done_runs.results, "--format", "csv", "--reference", "none")
    assert code == 0
    figures = sum(len(row.metrics) for row in done_runs.outcome.rows)
    assert sum(line["task"] != "all" for line in csv.DictReader(io.StringIO(out))) == figures
