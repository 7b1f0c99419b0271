"""The whole KS schedule of SUPERB, from no features at all to the row: 200,000 steps of 32 at seven learning rates.

    python bench/keyword_schedule.py
    python bench/keyword_schedule.py --steps 2000        # to see whether it works

The command is `run --mini --protocol superb --task ks`: the schedule at full length, on the small corpus of synthesized
speech, which is made first and told apart. Seconds by hop are those of the row.

s3prl's time is that of its own step, times steps, times learning rates: nobody waits for it to end. Its step is
measured here, in turn with ours from pooled features (`train_step.py`), and stands beside the one measured with s3prl
0.4.18 on two quiet cores of a Zen 5, KS with wavlm-base: 2.44 s.
"""

import argparse
import tempfile
from pathlib import Path

from common import medians, report
from train_step import STEPS, pooled_steps, s3prl_step
from watched import Watched, benchmark, empty, make_corpora, processor_kind, rows_under, watch

from downstream import protocols

PEER_ELSEWHERE = 2.44  # seconds a step, where it was measured first


def schedule(folder: Path, upstream: str, more: list[str], results: Path) -> tuple[dict, Watched, float]:
    """The row, what the command came to, and the seconds for the corpora before it. Features start from nothing."""
    corpora = make_corpora(folder, ["ks"])
    empty(folder)
    command = benchmark("run", "--mini", "--protocol", "superb", "--task", "ks", "--upstream", upstream)
    command += ["--cache", str(folder), "--results", str(results), *more]
    found = watch(command, folder / "features").must_succeed()
    (row,) = rows_under(results)
    return row, found, corpora


def steps_of(row: dict) -> int:
    return row["settings"]["steps"]


def figures(row: dict, found: Watched, corpora: float) -> dict[str, object]:
    return {
        "learning rates": len(row["settings"]["rates"]),
        "steps of each": steps_of(row),
        **{f"seconds, {hop}": value for hop, value in row["seconds"].items()},
        "seconds, the command from start to end": found.seconds,
        "minutes, the command from start to end": found.seconds / 60,
        "steps a second, all rates in each": steps_of(row) / row["seconds"]["fit"],
        "hours of audio heard": row["cost"]["audio_hours"],
        "peak memory, MB": found.peak_memory / 1e6,
        "peak of the features on disk, MB": found.peak_disk / 1e6,
        "seconds for the corpora, not counted": corpora,
    }


def reduced(row: dict) -> str:
    whole = protocols.load("superb").task("ks").steps
    return "" if steps_of(row) == whole and row["limit"] is None else ", REDUCED: ratios are lower than the whole's"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", default="random:wavlm_base")
    parser.add_argument("--steps", type=int, help="fewer than SUPERB's 200,000")
    parser.add_argument("--folder", type=Path, help="a cache whose corpora stay; it is emptied but for these")
    parser.add_argument("--peer-steps", type=int, default=5)
    asked, rest = parser.parse_known_args()  # what is left is an option of `run`
    if asked.steps:
        rest += ["--set", f"ks.steps={asked.steps}", f"ks.eval_every={max(1, asked.steps // 40)}"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary, "cache")
        row, found, corpora = schedule(folder, asked.upstream, rest, Path(temporary, "results"))
        print(found.shown(results=Path(temporary, "results"), cache=folder))
        pooled = pooled_steps(Path(temporary, "random"), list(row["settings"]["rates"]))
        work = {"s3prl": s3prl_step(Path(temporary, "corpora")), "ours": pooled}
        taken = medians(work, repeats=asked.peer_steps)
    here, steps = taken["s3prl"] / 1000, steps_of(row)
    times = len(row["settings"]["rates"]) * steps
    report(
        f"KS, whole schedule of {asked.upstream}, {processor_kind()}{reduced(row)}",
        figures(row, found, corpora)
        | {
            "ours, a step of all rates from pooled features (ms)": taken["ours"] / STEPS,
            "s3prl's step with a WavLM Base upstream here (s)": here,
            "s3prl, days for all rates, from that step": here * times / 86400,
            "s3prl / ours, both on this machine": here * times / found.seconds,
            "s3prl's step on two quiet cores of Zen 5 (s)": PEER_ELSEWHERE,
            "s3prl, days for all rates there": PEER_ELSEWHERE * times / 86400,
            "s3prl there / ours here": PEER_ELSEWHERE * times / found.seconds,
        },
    )


if __name__ == "__main__":
    main()
