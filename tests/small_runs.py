"""Runs of a second or two on the small corpora, in this process or in one of their own."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark import engine
from benchmark.engine import Outcome
from benchmark.options import Options
from benchmark.rows import Row, read_row

ROOT = Path(__file__).parents[1]
SPEECH = ("pr", "asr", "ood-asr-zh", "ood-asr-es", "ood-asr-ar", "sf")  # the tasks that write down what is said
SPEAKERS = ("asv", "sd", "ss", "se")  # those that are about speakers
SEARCHES = ("qbe",)  # in which nothing is learned
FRAMES = (*SPEECH, *SPEAKERS, *SEARCHES)
RATES = "rates.json"
FEW_RATES = (1e-3, 1e-4)  # for heads that are large, or slow to measure
BRIEF = ("steps=4", "eval_every=2", "accumulate=1")
FEW = (*BRIEF, f"grid={list(FEW_RATES)}")
VERIFICATION = ("batch=4", "projector=16", "crop_seconds=1", "dev_speakers=2", "dev_trials=20")
CHANGES = {
    **dict.fromkeys(SPEECH, ("steps=4", "eval_every=2", "batch=4")),
    "asv": (*FEW, *VERIFICATION),
    "sd": (*BRIEF, "batch=2", "projector=null"),
    "ss": (*FEW, "batch=2", "projector=null", "layers=1"),
    "se": (*FEW, "batch=2", "projector=null", "layers=1"),
}
SHORT = ("hidden=8", *(f"{task}.{change}" for task, changes in CHANGES.items() for change in changes))
_measured: dict[str, dict] = {}  # how fast this machine is, as far as runs before have found out
_measuring: set[Path] = set()  # caches of runs that may have found out more
SMALL = ("steps=40", "eval_every=20", "projector=32", "sid.steps=300", "sid.eval_every=50", *SHORT)


@dataclass
class SmallRuns:
    """A data folder, and where features and rows of it go."""

    data: Path
    folder: Path
    set: tuple[str, ...] = SMALL
    outcome: Outcome | None = None

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def options(self, *upstream: object, **options: object) -> dict:
        places = {"data": self.data, "cache": self.cache, "results": self.results, "set": self.set, "progress": False}
        return places | {"upstream": list(map(str, upstream))} | options

    def run(self, *upstream: object, **options: object) -> Outcome:
        self.knows_rates()
        return engine.run(Options.of(**self.options(*upstream, **options)))

    def knows_rates(self) -> None:
        """A new cache gets the rates of all before it: hundreds of runs would rehearse the same steps."""
        for rates in (cache / RATES for cache in _measuring if (cache / RATES).exists()):
            _measured.update(json.loads(rates.read_text()))
        _measuring.clear()
        _measuring.add(self.cache)
        if _measured and not self.cache.exists():
            self.cache.mkdir(parents=True)
            (self.cache / RATES).write_text(json.dumps(_measured))

    def arguments(self, command: str, *more: object, to: Path | None = None) -> list[str]:
        """The same as a command line."""
        places = ["--data", self.data, "--cache", self.cache, "--results", to or self.results]
        return [command, *map(str, more), *map(str, places), *(("--set", *self.set) if self.set else ())]

    def start(self, *more: object, before: str = "", command: str = "run") -> subprocess.Popen:
        """A command in a process of its own, after some Python code."""
        self.knows_rates()
        code = f"import sys\n{before}\nfrom benchmark.cli import main\nsys.exit(main(sys.argv[1:]))"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started = [sys.executable, "-c", code, *self.arguments(command, *more)]
        return subprocess.Popen(started, cwd=ROOT, env=environment, **pipes)


def cells(*upstreams: object, task: str = "ks") -> tuple[object, ...]:
    """Which, on a command line."""
    return "--upstream", *upstreams, "--task", *task.split()


def librispeech_of_one_s_own(mini_data: Path, folder: Path) -> Path:
    """A new data folder with a copy of LibriSpeech, which is returned; the other corpora in it are those of all."""
    folder.mkdir()
    for source in mini_data.iterdir():
        if source.name != "LibriSpeech":
            (folder / source.name).symlink_to(source)
    return Path(shutil.copytree(mini_data / "LibriSpeech", folder / "LibriSpeech"))


def snapshot(*folders: Path) -> dict[str, tuple[int, int]]:
    """Every path below, with its size and the time of its last change; but for notes of when features were used and
    how fast this machine is."""
    paths = (
        path for folder in folders for path in folder.rglob("*") if path.name not in ("used", RATES, ".rates.lock")
    )
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def without_times(row: Row) -> dict[str, object]:
    kept = {
        name: value for name, value in vars(row).items() if name not in ("seconds", "started", "finished", "command")
    }
    if "decoding" in row.scoring:
        kept["scoring"] = {name: row.scoring["decoding"][name] for name in ("frames", "utterances", "language_model")}
    if row.cost:
        upstream = {name: value for name, value in row.cost["upstream"].items() if name != "real_time_factor"}
        kept["cost"] = row.cost | {"upstream": upstream}
    return kept


def contents(results: Path) -> dict[str, object]:
    """All that two runs of the same cells must agree on to the last byte: every file but the locks, rows without their
    times."""
    paths = (path for path in sorted(results.rglob("*")) if path.is_file() and path.name != ".lock")
    return {
        str(path.relative_to(results)): without_times(read_row(path)) if path.name == "row.json" else path.read_bytes()
        for path in paths
    }


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def is_there(folder: Path, pattern: str) -> bool:
    """Whether there is a file of that name; not yet, where a folder vanished while we looked."""
    with suppress(FileNotFoundError):
        return any(folder.glob(pattern))
    return False


def wait_for(folder: Path, pattern: str, process: subprocess.Popen) -> None:
    """Until a file of that name is there; an error if the process that should make it has ended."""
    while not is_there(folder, pattern):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def plain(row: Row) -> dict:
    """A row as a program that reads its file sees it."""
    return json.loads(row.as_json())


def rows_by_task(runs: SmallRuns, upstream: str) -> dict[str, Row]:
    return {row.task: row for row in runs.outcome.rows if row.upstream == upstream}


def folder_of(runs: SmallRuns, row: Row) -> Path:
    return runs.results / row.upstream / row.task / row.id
