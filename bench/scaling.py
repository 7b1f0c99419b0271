"""What all of SUPERB costs for a base and a large upstream on three machines, ours and the peer's: docs/scaling.md.

    python bench/scaling.py                        # prints the tables
    python bench/scaling.py docs/scaling.md        # and puts them in the place of those in that file

Nothing is run. Rates of two cores are what the other scripts printed into `bench/output/`; those of a GPU have not been
measured and are assumed (`superb_hours.py`). What is asked for is in `superb_work.py`.
"""

import re
import sys
from pathlib import Path

from superb_hours import (
    ASR_STEP,
    ASV_STEP,
    BASE,
    BFLOAT16,
    DISK,
    FLOAT32,
    HOUR,
    LARGE,
    PAIRS,
    PR_STEP,
    SHARE,
    TIME_STEP,
    Model,
    cpu_flops,
    grid_step,
    head_hours,
    hearing_rate,
    measured,
    peer_head_hours,
)
from superb_work import MORE, SUPERB, Work, frames_gigabytes, works

from downstream.represent.store import ENTRY


def duration(hours: float) -> str:
    for least, unit, size in ((2 * 8766, "years", 8766), (48, "days", 24), (1, "h", 1)):
        if hours >= least:
            return f"{hours / size:.3g} {unit}"
    return f"{hours * 60:.2g} min"


def table(head: list[str], rows: list[list[object]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def rates() -> str:
    """Of machines."""
    rows = []
    for model in (BASE, LARGE):
        rows.append([f"hearing, {model.name}: s of audio a second", f"{hearing_rate(model):.3g}", "encoder_speed.txt"])
        rows.append([f"the same, s3prl, {model.name}", f"{hearing_rate(model, 's3prl'):.3g}", "encoder_speed.txt"])
        rows.append(
            [f"KS IC SID ER, step of seven rates, {model.name}", f"{1000 * grid_step(model):.3g} ms", "grid.txt"]
        )
    rows += [
        ["PR, seven rates, 32 x 5.4 s, base", f"{PR_STEP:.3g} s a step", "pr_step.txt"],
        ["ASR, one rate, 16 x 810 frames", f"{ASR_STEP:.3g} s a step", "asr_step.txt"],
        ["ASV, one rate, 50 x 640 frames", f"{ASV_STEP:.3g} s a step", "asv_step.txt"],
        ["other recurrent heads, GFLOP/s", f"{cpu_flops(works()['asr']) / 1e9:.3g}", "from ASR's step"],
        ["QbE, pairs a second, 768 dimensions", f"{PAIRS:,.0f}", "qbe_search.txt"],
    ]
    for model in (BASE, LARGE):
        for name, flops in (("float32", FLOAT32), ("bfloat16", BFLOAT16)):
            of = f"assumed: {SHARE:.0%} of {flops / SHARE / 1e12:.0f} TFLOP/s"
            rows.append([f"hearing on a GPU, {model.name}, {name}", f"{flops / model.flops_a_second:,.0f}", of])
    rows.append(["frames from the disk of a GPU machine", f"{DISK / 1e9:.0f} GB/s", "assumed"])
    rows.append(["a recurrent layer's step in time on a GPU", f"{TIME_STEP * 1e6:.0f} µs", "assumed"])
    return table(["rate", "value", "from"], rows)


def hearing() -> str:
    """By corpus and preparation: hours once, hours live, hours of the peer, and what is kept."""
    shared: dict[str, list[Work]] = {}
    for work in works().values():
        shared.setdefault(work.corpus.name, []).append(work)
    rows = []
    for name, tasks in shared.items():
        corpus = tasks[0].corpus
        gigabytes = [f"{tasks[0].kept_gigabytes(model.layers, model.dim):,.1f}" for model in (BASE, LARGE)]
        live = sum(work.live_hours() for work in tasks)
        peer = sum(work.peer_hours(BASE.layers) for work in tasks)
        words = [work.task.upper() for work in tasks]
        label = f"{name}{' (' + corpus.assumed + ')' if corpus.assumed else ''}"
        rows.append([label, " ".join(words), f"{corpus.hours:,.0f}", f"{live:,.0f}", f"{peer:,.0f}", *gigabytes])
    for label, names in (("SUPERB's ten", SUPERB), ("all fifteen", (*SUPERB, *MORE))):
        own = [works()[name] for name in names]
        live, peer = sum(work.live_hours() for work in own), sum(work.peer_hours(BASE.layers) for work in own)
        sizes = [sum(_kept(names, model).values()) for model in (BASE, LARGE)]
        once = sum({work.corpus.name: work.corpus.hours for work in own}.values())
        rows.append([label, "", f"{once:,.0f}", f"{live:,.0f}", f"{peer:,.0f}", *(f"{size:,.0f}" for size in sizes)])
    head = ["audio", "tasks", "h, once", "h, live", "h, peer", "GB kept, base", "GB kept, large"]
    return table(head, rows)


def _kept(names: tuple[str, ...], model: Model) -> dict[str, float]:
    return {works()[n].corpus.name: works()[n].kept_gigabytes(model.layers, model.dim) for n in names}


def heads() -> str:
    """By task: what remains once the features are kept."""
    rows = []
    for task, work in works().items():
        steps = "search" if task == "qbe" else f"{work.trainings} x {work.numbers.steps:,} x {work.rates}"
        times = [duration(head_hours(work, model, gpu)) for gpu in (False, True) for model in (BASE, LARGE)]
        rows.append([task.upper(), steps, *times])
    return table(["task", "trainings x steps x rates", "2 cores, base", "large", "GPU, base", "large"], rows)


def totals() -> str:
    """Hearing once and all heads, beside the peer's."""
    cheap = ("ks", "ic", "sid", "er", "qbe", "pr")
    rows = []
    for label, names in (("KS IC SID ER QBE PR", cheap), ("SUPERB's ten", SUPERB), ("all fifteen", (*SUPERB, *MORE))):
        own = [works()[name] for name in names]
        once = sum({work.corpus.name: work.corpus.hours for work in own}.values())
        for model in (BASE, LARGE):
            peer_audio = sum(work.peer_hours(model.layers) for work in own)
            gpu_rate = FLOAT32 / model.flops_a_second
            for machine, gpu, count in (("2 cores", False, 1), ("1 GPU", True, 1), ("8 GPUs", True, 8)):
                rate = gpu_rate if gpu else hearing_rate(model)
                cells = [head_hours(work, model, gpu) for work in own]
                heard, fitted = once / rate / count, max(sum(cells) / count, max(cells))
                peer_rate = gpu_rate if gpu else hearing_rate(model, "s3prl")
                peer = (peer_audio / peer_rate + sum(peer_head_hours(work, model, gpu) for work in own)) / count
                ratio = f"{peer / (heard + fitted):.3g}"
                rows.append([label, model.name, machine, *map(duration, (heard, fitted, heard + fitted, peer)), ratio])
    return table(["tasks", "upstream", "machine", "hearing", "heads", "all", "peer", "peer / ours"], rows)


def hundred_thousand_hours() -> str:
    """Of audio, in utterances of LibriSpeech's length."""
    hours = 100_000
    utterances = hours * HOUR / works()["asr"].corpus.train.seconds
    rows = [["utterances", *[f"{utterances / 1e6:.1f} million"] * 2]]
    sized = [(m, FLOAT32 / m.flops_a_second, BFLOAT16 / m.flops_a_second) for m in (BASE, LARGE)]
    rows.append(["hearing, 2 cores", *(duration(hours / hearing_rate(m)) for m, *_ in sized)])
    rows.append(["hearing, 8 GPUs, float32", *(duration(hours / rate / 8) for _, rate, _ in sized)])
    rows.append(["hearing, 8 GPUs, bfloat16", *(duration(hours / rate / 8) for *_, rate in sized)])
    means = [utterances * 4 * m.layers * (m.dim + 1) / 1e12 for m, *_ in sized]
    rows.append(["means on disk", *(f"{size:.1f} TB" for size in means)])
    rows.append(["frames on disk", *(f"{frames_gigabytes(hours, m.layers, m.dim) / 1000:,.0f} TB" for m, *_ in sized)])
    rows.append(["shards of means, 512 records each", *[f"{utterances / 512:,.0f}"] * 2])
    rows.append(["shards of frames, 64 records each", *[f"{utterances / 64:,.0f}"] * 2])
    rows.append(["what lies where, in memory", *[f"{utterances * ENTRY.itemsize / 1e9:.1f} GB"] * 2])
    rows.append(["asking 5,000 files a second whether they changed", *[duration(utterances / 5000 / HOUR)] * 2])
    return table(["100,000 hours of audio", "base", "large"], rows)


def thousand_upstreams() -> str:
    """All fifteen tasks each."""
    count, own = 1000, list(works().values())
    once = sum({work.corpus.name: work.corpus.hours for work in own}.values())
    kept = [sum(_kept((*SUPERB, *MORE), model).values()) for model in (BASE, LARGE)]
    listed = count * len(own) / measured("boards.txt", "rows")
    size, board = (
        measured("boards.txt", name) for name in ("megabytes of rows", "leaderboard, files not in memory, s")
    )
    rows = [
        ["hearing, 8 GPUs, float32", *(duration(count * once * m.flops_a_second / FLOAT32 / 8) for m in (BASE, LARGE))],
        ["heads, 8 GPUs", *(duration(count * sum(head_hours(w, m, True) for w in own) / 8) for m in (BASE, LARGE))],
        ["features of all, if nothing were removed", *(f"{count * size / 1e6:.1f} PB" for size in kept)],
        ["features of one at a time", *(f"{size / 1000:.1f} TB" for size in kept)],
        ["rows", *[f"{count * len(own):,}"] * 2],
        ["their size", *[f"{listed * size:.0f} MB"] * 2],
        ["leaderboard of them", *[f"{listed * board:.1f} s"] * 2],
        ["page of them", *[f"{listed * measured('report.txt', 'report, s'):.0f} s"] * 2],
    ]
    return table(["1,000 upstreams x 15 tasks", "base", "large"], rows)


TABLES = (rates, hearing, heads, totals, hundred_thousand_hours, thousand_upstreams)


def placed(text: str) -> str:
    """The document with each table below the comment that names it."""
    for make in TABLES:
        begin = f"<!-- {make.__name__} -->\n"
        if begin not in text:
            raise SystemExit(f"the document has no line {begin.strip()} below which the table belongs")
        text = re.sub(re.escape(begin) + r"(\|[^\n]*\n)*", lambda _: begin + make() + "\n", text)  # noqa: B023
    return text


def main() -> None:
    if len(sys.argv) == 2:
        document = Path(sys.argv[1])
        document.write_text(placed(document.read_text(encoding="utf-8")), encoding="utf-8")
    print("\n\n".join(f"{make.__name__}\n{make()}" for make in TABLES))


if __name__ == "__main__":
    main()
