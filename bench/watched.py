"""A command of ours that is watched while it runs: its seconds, its memory with all it starts, the disk it takes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from benchmark.cells import mini_folder
from downstream import corpora, tasks
from downstream.corpora import mini
from downstream.processes import python_path

_EVERY_SECONDS = 2.0  # adding up the pages of large processes takes a while, and stops them
_GENERATIONS = {"25": " (Zen 3 or 4)", "26": " (Zen 5)"}  # of AMD


@dataclass
class Watched:
    """What a command came to. `lines` are what it said, progress bars left out."""

    seconds: float
    exit_code: int
    peak_memory: int
    peak_disk: int
    lines: list[str]

    def shown(self, **folders: Path) -> str:
        """What it said, with names in the place of folders that mean nothing elsewhere."""
        text = "\n".join(self.lines)
        for name, folder in folders.items():
            text = text.replace(str(folder), name.upper())
        return text

    def must_succeed(self) -> "Watched":
        if self.exit_code:
            raise SystemExit("\n".join([*self.lines, f"the command ended with exit code {self.exit_code}"]))
        return self


def benchmark(*words: object) -> list[str]:
    return [sys.executable, "-m", "benchmark", *map(str, words)]


def environment() -> dict[str, str]:
    """That of a program which can be started from anywhere."""
    return os.environ | {"PYTHONPATH": python_path()}


def watch(command: list[str], folder: Path | None = None) -> Watched:
    """Run a command to its end, looking at its processes and at a folder every other second."""
    memory = disk = 0
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment())
        try:
            while True:
                memory = max(memory, memory_of(process.pid))
                disk = max(disk, size_of(folder) if folder else 0)
                try:
                    process.wait(_EVERY_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        seconds = time.perf_counter() - start
        disk = max(disk, size_of(folder) if folder else 0)
        said.seek(0)
        return Watched(seconds, process.returncode, memory, disk, lines_of(said.read()))


def lines_of(said: bytes) -> list[str]:
    """What stays on a terminal: of each line the part after the last return, and no bar that was left unfinished."""
    lines = (line.rpartition("\r")[2].rstrip() for line in said.decode(errors="replace").split("\n"))
    return [line for line in lines if line and "%|" not in line]


def memory_of(root: int) -> int:
    """Bytes of memory of a process and all below it; what several share is counted once."""
    children = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        children[parent].append(int(stat.parent.name))
    total, waiting = 0, [root]
    while waiting:
        number = waiting.pop()
        waiting += children[number]
        total += _own_memory(number)
    return total


def _own_memory(number: int) -> int:
    """Its proportional share: a page that n processes have in common is an n-th of a page for each."""
    try:
        lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def size_of(folder: Path) -> int:
    """Bytes of all files under a folder, those included that are being written."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:  # renamed or removed a moment ago
                continue
    return total


def empty(cache: Path) -> None:
    """Remove the features of a cache, and what it knows of the speed of this machine. Corpora stay."""
    shutil.rmtree(cache / "features", ignore_errors=True)
    (cache / "rates.json").unlink(missing_ok=True)


def make_corpora(cache: Path, names: list[str]) -> float:
    """Make the mini corpora of tasks where they are not there yet; how many seconds that took."""
    start = time.perf_counter()
    wanted = dict.fromkeys(corpora.info(tasks.get(name).corpus).mini_name for name in names)
    mini.make(mini_folder(cache), list(wanted), progress=False)
    return time.perf_counter() - start


def rows_under(results: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(results.glob("*/*/*/row.json"))]


def processor_kind() -> str:
    """Name and family of the processor: two generations of one maker can have one name."""
    wanted = ("model name", "cpu family")
    found = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in wanted:
            found.setdefault(key.strip(), value.strip())
    name, family = (found.get(key, "unknown") for key in wanted)
    return f"{name}, family {family}{_GENERATIONS.get(family, '')}"
