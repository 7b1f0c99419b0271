"""All tasks of the mini suite for one upstream or several, from no features at all: `run --task all --mini`.

    python bench/suite.py random:wavlm_base
    python bench/suite.py mel random:wavlm_base --workers 2 --cache-limit 2GB
    python bench/suite.py mel --task ks qbe --set ks.steps=200            # to see whether it works

What is not known here is passed on to `run`. The small corpora are made first and told apart. Printed are seconds by
task and hop as the rows have them, and all that `run` says: what it predicted against what it took, and how often each
file was decoded and passed each upstream. Memory is that of all its processes together; disk is what the folder of
features held at most, both looked at every other second.
"""

import argparse
import os
import tempfile
from pathlib import Path

from common import report
from watched import benchmark, empty, make_corpora, processor_kind, rows_under, watch

from downstream.tasks import TASKS


def table(rows: list[dict]) -> list[str]:
    """Seconds of each cell by hop."""
    hops = [*dict.fromkeys(hop for row in rows for hop in row["seconds"] if hop != "total"), "total"]
    wide = max(len(row["upstream"]) for row in rows)
    lines = [f"{'upstream':<{wide}}  {'task':<10}  {'seed':>5}" + "".join(f"{hop:>11}" for hop in hops)]
    for row in sorted(rows, key=lambda row: (row["upstream"], list(TASKS).index(row["task"]), row["seed"])):
        cells = "".join(f"{row['seconds'].get(hop, 0):>11.1f}" for hop in hops)
        lines.append(f"{row['upstream']:<{wide}}  {row['task']:<10}  {row['seed']:>5}{cells}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("upstream", nargs="+")
    parser.add_argument("--task", nargs="+", default=["all"])
    parser.add_argument("--folder", type=Path, help="a cache whose corpora stay; it is emptied but for these")
    asked, rest = parser.parse_known_args()
    names = list(TASKS) if "all" in asked.task else asked.task
    with tempfile.TemporaryDirectory() as temporary:
        folder, results = asked.folder or Path(temporary, "cache"), Path(temporary, "results")
        corpora = make_corpora(folder, names)
        empty(folder)
        command = benchmark("run", "--mini", "--upstream", *asked.upstream, "--task", *names, *rest)
        command += ["--cache", str(folder), "--results", str(results)]
        found = watch(command, folder / "features")
        rows = [row for row in rows_under(results) if row["status"] == "done"]
    if not rows:
        raise SystemExit("\n".join([*found.lines, "no cell was computed"]))
    changes = sorted({change for row in rows for change in row["protocol_changes"]})
    smaller = f", REDUCED: {' '.join(changes)}" if changes or any(row["limit"] for row in rows) else ""
    print("\n".join([found.shown(results=results, cache=folder), "", *table(rows)]))
    print(f"load of the machine over the last five minutes: {os.getloadavg()[1]:.1f}")
    report(
        f"{len(names)} tasks of the mini suite, {' '.join([*asked.upstream, *rest])}, {processor_kind()}{smaller}",
        {
            "cells that were computed": len(rows),
            "exit code of `run`": found.exit_code,
            "minutes, the command from start to end": found.seconds / 60,
            "seconds of all cells together": sum(row["seconds"]["total"] for row in rows),
            "peak memory of all processes, MB": found.peak_memory / 1e6,
            "peak of the features on disk, MB": found.peak_disk / 1e6,
            "seconds for the corpora, not counted": corpora,
        },
    )


if __name__ == "__main__":
    main()
