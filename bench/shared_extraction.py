"""One set of features made by one process, by two at once, and by two of which one is killed; memory by corpus size.

    python bench/shared_extraction.py
    python bench/shared_extraction.py --upstream mel --limit 100 --files 50     # to see whether it works

The set is what `extract --mini --task ks` makes, each time from nothing, each time from the same small corpus. The
shards are compared byte by byte with those of one process alone. The one that is killed (SIGKILL) gets it when half of
the bytes are there. The processes' own words follow, with how much each has heard.

Memory: `extraction.py` hears made-up files of a second with `mel`, and ten times as many.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path

from common import report
from extraction import make_files
from watched import benchmark, empty, environment, lines_of, make_corpora, processor_kind, size_of

_LOOK_SECONDS = 0.05


@dataclass
class Made:
    """A set of features, by whom it was made in what time, and what they said."""

    seconds: float
    shards: dict[str, str]  # digests by name
    leftovers: int
    said: list[list[str]]


def made(cache: Path, words: list[str], processes: int, kill_at: int | None = None) -> Made:
    """By so many processes at once; the first is killed when so many bytes are there, and the others end it."""
    empty(cache)
    command = [*benchmark("extract", "--mini", "--task", "ks", "--cache", cache), *words]
    with ExitStack() as files:
        outputs = [files.enter_context(tempfile.TemporaryFile()) for _ in range(processes)]
        start = time.perf_counter()
        running = [
            subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment()) for output in outputs
        ]
        if kill_at is not None:
            while size_of(cache / "features") < kill_at and running[0].poll() is None:
                time.sleep(_LOOK_SECONDS)
            running[0].send_signal(signal.SIGKILL)
        codes = [process.wait() for process in running]
        seconds = time.perf_counter() - start
        said = []
        for output in outputs:
            output.seek(0)
            said.append(lines_of(output.read()))
    expected = [-signal.SIGKILL if kill_at is not None else 0, *[0] * (processes - 1)]
    if codes != expected:
        raise SystemExit(f"exit codes {codes} where {expected} were expected\n" + "\n".join(chain(*said)))
    shards = {path.name: blake2b(path.read_bytes()).hexdigest() for path in cache.rglob("*.shard")}
    return Made(seconds, shards, sum("partial" in path.name for path in cache.rglob("*")), said)


def compared(one: Made, other: Made) -> str:
    if one.shards == other.shards:
        return f"the same {len(one.shards)} shards, every byte"
    same = sum(other.shards.get(name) == digest for name, digest in one.shards.items())
    return f"DIFFERENT: {same} of {len(one.shards)} shards are the same, there are {len(other.shards)}"


def memory(files: int) -> dict[str, str]:
    """Of `extraction.py` on so many files and ten times as many, each in a process of its own."""
    found = {}
    for count in (files, 10 * files):
        with tempfile.TemporaryDirectory() as folder:
            make_files(Path(folder), count, 1, 16000, 1, "wav")
            command = [sys.executable, str(Path(__file__).with_name("extraction.py")), "mel", folder]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        of = json.loads(said.splitlines()[-1])
        found[f"mel, {count} files: peak MB (before the first file)"] = (
            f"{of['peak MB']:.0f} ({of['peak MB before the first file']:.0f})"
        )
        found[f"mel, {count} files: audio seconds a second"] = f"{of['audio seconds per second']:.0f}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", default="random:wavlm_base")
    parser.add_argument("--files", type=int, default=2000, help="of the smaller corpus of which memory is measured")
    parser.add_argument("--folder", type=Path, help="a cache whose corpora stay; it is emptied but for these")
    asked, rest = parser.parse_known_args()  # what is left is an option of `extract`
    words = ["--upstream", asked.upstream, *rest]
    with tempfile.TemporaryDirectory() as temporary:
        cache = asked.folder or Path(temporary)
        make_corpora(cache, ["ks"])
        alone = made(cache, words, 1)
        size = size_of(cache / "features")
        together = made(cache, words, 2)
        killed = made(cache, words, 2, kill_at=size // 2)
        for title, run in (("one process", alone), ("two at once", together), ("two, the first killed", killed)):
            for number, lines in enumerate(run.said, 1):
                print(*(f"{title}, {number}: {line.replace(str(cache), 'CACHE')}" for line in lines), sep="\n")
    report(
        f"Features of {asked.upstream} for KS, {' '.join([*rest, processor_kind()])}",
        {
            "one process, s": alone.seconds,
            "two at once, s": together.seconds,
            "two, the first killed half way, s": killed.seconds,
            "MB of features": size / 1e6,
            "two at once, against one": compared(alone, together),
            "two, the first killed, against one": compared(alone, killed),
            "files left unfinished": alone.leftovers + together.leftovers + killed.leftovers,
            **memory(asked.files),
        },
    )


if __name__ == "__main__":
    main()
