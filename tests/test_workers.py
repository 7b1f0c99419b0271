"""Jobs as plain data, and the processes that do them: the rows are those of one process, whatever happens to it."""

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from small_runs import SHORT, SmallRuns, contents, is_there
from user_files import GOOD, variant, write_file

from benchmark import engine
from benchmark.jobs.job import COMPUTE, HEAR, InThisProcess, Job, Result, Step
from benchmark.options import Options
from benchmark.rows import read_row
from upstream.errors import BenchmarkError, DataError, UsageError

SETTINGS = ("projector=16", "eval_every=25", "sid.steps=500", "er.steps=250", "ks.steps=50", *SHORT)
TASKS = ("sid", "er", "ks", "sd")
CELLS = ("--upstream", "mel_no_cmvn", "fbank_no_cmvn", "--task", *TASKS)


@pytest.fixture(scope="module")
def straight(mini_data, tmp_path_factory) -> SmallRuns:
    """What one process leaves."""
    runs = SmallRuns(mini_data, tmp_path_factory.mktemp("straight"), SETTINGS)
    process = runs.start(*CELLS)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return runs


@pytest.fixture
def runs(mini_data, tmp_path) -> SmallRuns:
    return SmallRuns(mini_data, tmp_path, SETTINGS)


def children(process: subprocess.Popen) -> list[int]:
    """The worker processes of a run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == process.pid and b"benchmark.jobs.worker" in command:
            found.append(int(status.parent.name))
    return found


def wait_until(true: object, process: subprocess.Popen) -> None:
    while not true():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_job_and_a_result_are_the_same_after_a_journey():
    job = Job(COMPUTE, ("pr", "asr"), ("mel",), ("pr",), (1, 2), "live", hearing_seconds=1.5)
    assert Job.from_json(json.loads(json.dumps(job.as_json()))) == job
    errors = [DataError("broken"), ZeroDivisionError("by zero"), UsageError("no"), RuntimeError("OSError: odd")]
    result = Result([Path("a/row.json")], 1, [*errors[:3], OSError("odd")], {"heard": []}, 2.0)
    back = Result.from_json(json.loads(json.dumps(result.as_json())))
    assert (back.rows, back.fresh, back.ledger, back.seconds) == (result.rows, 1, result.ledger, 2.0)
    assert [(type(error), str(error)) for error in back.errors] == [(type(error), str(error)) for error in errors]


def test_a_class_of_python_s_own_is_not_made_of_what_a_worker_says():
    for name in ("SystemExit", "KeyboardInterrupt", "eval", "nothing"):
        told = {"rows": [], "fresh": 0, "errors": [{"type": name, "message": "m"}], "ledger": {}, "seconds": 0}
        assert [str(error) for error in Result.from_json(told).errors] == [f"{name}: m"]


def test_in_one_process_jobs_come_in_their_order():
    jobs = [Job(HEAR, (task,), ("mel",)) for task in "abc"]
    executor = InThisProcess(lambda job: Result(seconds=ord(job.hearing[0])))
    done = list(executor.run([Step(job) for job in jobs], lambda number: jobs[number]))
    assert [(number, result.seconds) for number, result in done] == [(0, 97), (1, 98), (2, 99)]


def test_two_workers_leave_what_one_process_leaves(runs, straight):
    process = runs.start(*CELLS, "--workers", "2")
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert contents(runs.results) == contents(straight.results)
    assert "8 computed, 0 already done, 0 failed" in said
    passes = re.findall(r"(mel_no_cmvn|fbank_no_cmvn|\(files read\)) .* (once(?:, for 2 upstreams)?)\n", said)
    assert len(passes) == 3 * len(TASKS), said  # each hearing: two upstreams and the reading, each once
    shards = {path.name: path.read_bytes() for path in runs.cache.rglob("*.shard")}
    assert shards == {path.name: path.read_bytes() for path in straight.cache.rglob("*.shard")}
    again = runs.run("mel_no_cmvn", "fbank_no_cmvn", task=list(TASKS), workers=2)
    assert (again.fresh, len(again.rows)) == (0, 8)
    assert [(row.upstream, row.task) for row in again.rows] == [
        (upstream, task) for upstream in ("mel_no_cmvn", "fbank_no_cmvn") for task in TASKS
    ]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_of_workers_that_is_stopped_goes_on(how, runs, straight):
    process = runs.start(*CELLS, "--workers", "2")
    wait_until(lambda: is_there(runs.results, "**/train.jsonl"), process)
    workers = children(process)
    assert workers
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    for worker in workers:  # they end by themselves
        deadline = time.monotonic() + 60
        while Path(f"/proc/{worker}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    last = runs.start(*CELLS, "--workers", "2")
    _, said = last.communicate()
    assert last.returncode == 0, said
    assert contents(runs.results) == contents(straight.results)


def test_a_worker_that_is_killed_fails_no_more_than_its_job(runs, straight):
    process = runs.start(*CELLS, "--workers", "2")
    wait_until(lambda: is_there(runs.results, "**/train.jsonl"), process)
    os.kill(children(process)[0], signal.SIGKILL)
    _, said = process.communicate()
    assert "a worker process ended with signal 9, often for want of memory" in said
    failed = int(re.search(r"(\d+) failed", said)[1])
    assert failed <= 1, said  # none where it was hearing: the cells that want that hear the rest themselves
    assert process.returncode == failed, said
    last = runs.start(*CELLS, "--workers", "2")
    _, said = last.communicate()
    assert last.returncode == 0, said
    assert contents(runs.results) == contents(straight.results)


SLOW = """
folder = Path({folder!r})
if (folder / "slow").exists():
    (folder / str(os.getpid())).touch()
    time.sleep(0.3)
"""


def test_what_a_killed_worker_leaves_unheard_another_hears_before_extract_ends(runs, tmp_path):
    """All is one shard, so that one worker hears it and the other has nothing to do, until the first is killed."""
    (folder := tmp_path / "hearing").mkdir()
    (folder / "slow").touch()
    code = variant(SLOW.format(folder=str(folder)).strip(), "import os", "import time", "from pathlib import Path")
    extract = (write_file(tmp_path, code), "--task", "sd")
    process = runs.start("--upstream", *extract, "--workers", "2", command="extract")
    wait_until(lambda: any((folder / str(child)).exists() for child in children(process)), process)
    (victim,) = (child for child in children(process) if (folder / str(child)).exists())
    os.kill(victim, signal.SIGKILL)
    (folder / "slow").unlink()
    _, said = process.communicate()
    assert "a worker process ended with signal 9" in said
    assert process.returncode == 1, said
    before = {path: path.read_bytes() for path in runs.cache.rglob("*.shard")}
    assert len(before) == 1, said
    assert engine.extract(Options.of(**runs.options(extract[0], task="sd"))).exit_code == 0
    assert {path: path.read_bytes() for path in runs.cache.rglob("*.shard")} == before


def test_errors_are_told_as_one_process_tells_them(runs, tmp_path):
    breaks = write_file(tmp_path, variant('if len(wavs[0]) > 80000:\n    raise RuntimeError("too long for me")'))
    options = runs.options(breaks, task=["sid", "ks"], workers=2)
    outcome = engine.run(Options.of(**options))
    assert [(row.task, row.status) for row in outcome.rows] == [("ks", "done")]
    assert outcome.exit_code == 1
    assert [type(error).__name__ for error in outcome.errors] == ["ContractError"]
    assert "too long for me" in str(outcome.errors[0])
    (failed,) = (runs.results / "mine" / "sid").glob("*/row.json")
    assert read_row(failed).error["type"] == "ContractError"
    write_file(tmp_path, GOOD)
    with pytest.raises(BenchmarkError, match="too long for me"):
        write_file(tmp_path, variant('if len(wavs[0]) > 80000:\n    raise RuntimeError("too long for me")'))
        engine.run(Options.of(**options), raise_errors=True)


def test_a_limit_of_the_cache_is_never_passed(runs, straight):
    """Two upstreams whose features do not fit together take turns."""
    sizes = [
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for folder in (straight.cache / "features").glob("*/*")
    ]
    limit = int(1.2 * max(sizes))
    assert limit < sum(sizes) / 2
    process = runs.start(*CELLS, "--cache-limit", str(limit))
    highest = 0
    while process.poll() is None:
        highest = max(highest, used(runs.cache / "features"))
        time.sleep(0.01)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert 0 < highest <= limit
    assert contents(runs.results) == contents(straight.results)


def test_what_is_there_already_is_used_before_its_place_is_needed(runs, capsys):
    """Of two tasks the second has been heard, and the features of both do not fit together."""
    few = [*runs.set, "steps=20", "eval_every=10"]
    options = runs.options("mel_no_cmvn", task=["pr", "sd"], set=few, features="frames")
    assert engine.extract(Options.of(**options | {"task": "sd"})).exit_code == 0
    heard = used(runs.cache / "features")
    capsys.readouterr()
    outcome = engine.run(Options.of(**options | {"cache_limit": str(5 * heard // 2)}))
    assert [row.status for row in outcome.rows] == ["done", "done"]
    said = capsys.readouterr().err
    assert re.findall(r"(\w+): frames .* once", said) == ["librispeech", "librispeech"]  # the upstream, and the files
    assert "removed" in said


def used(folder: Path) -> int:
    """Bytes below a folder that others write to and remove from: `os.walk` passes over what vanishes meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(place, name).stat().st_size
    return total


def test_a_limit_that_nothing_fits_in_says_so(runs):
    process = runs.start("--upstream", "mel_no_cmvn", "--task", "ks", "--cache-limit", "1KB", "--features", "pooled")
    _, said = process.communicate()
    assert process.returncode == 1
    assert "--cache-limit" in said
    assert "Traceback" not in said


def test_models_that_do_not_fit_together_are_loaded_in_turn(runs, straight):
    process = runs.start(*CELLS, "--memory-limit", "1KB")
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert contents(runs.results) == contents(straight.results)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--workers", "0"), "--workers 0: expected a number of processes above 0"),
        (("--cache-limit", "much"), "'much' is no size"),
        (("--memory-limit", "-3GB"), "'-3GB' is no size"),
    ],
)
def test_wrong_words_end_with_2(words, part, runs):
    process = runs.start("--upstream", "mel", "--task", "ks", *(f"{words[0]}={words[1]}",))
    _, said = process.communicate()
    assert process.returncode == 2
    assert part in said
