"""The command line. Every command imports what it needs when it runs, so that asking for help costs nothing."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import __version__
from upstream.errors import BenchmarkError, MissingError

if TYPE_CHECKING:
    from downstream.protocols import Numbers

INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code is 0 done, 1 a cell failed, 2 wrong usage, 3 data or weights missing."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.command(arguments)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, and the same command continues", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmark",
        description="Measure self-supervised speech models: from a model's name to a SUPERB leaderboard row.",
        epilog="Exit codes: 0 done, 1 a cell failed, 2 wrong usage, 3 data or weights missing.",
    )
    parser.add_argument("--version", action="version", version=f"sslbench {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="compute leaderboard rows: every upstream on every task")
    _add_cell_options(run)
    run.add_argument("--dry-run", action="store_true", help="the same as `plan`")
    run.set_defaults(command=_run)

    plan = commands.add_parser("plan", help="say what `run` would do: data, hours, bytes, steps; changes nothing")
    _add_cell_options(plan)
    plan.set_defaults(command=_plan)

    extract = commands.add_parser("extract", help="make the features that `run` would train on, and stop there")
    _add_cell_options(extract)
    extract.set_defaults(command=_extract)

    listing = commands.add_parser("list", help="what there is")
    listing.add_argument("what", choices=list(_LISTS))
    listing.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(command=_list)

    data = commands.add_parser("data", help="make small corpora, check real ones")
    of_data = data.add_subparsers(metavar="COMMAND", required=True)
    mini = of_data.add_parser("mini", help="make small corpora of synthesized speech in the real layouts")
    mini.add_argument("--out", type=Path, required=True, metavar="DIR")
    mini.add_argument("--task", nargs="+", default=["all"], metavar="TASK")
    mini.add_argument("--seed", type=int, default=0)
    mini.set_defaults(command=_data_mini)
    _add_librimix(of_data.add_parser("librimix", help="make Libri2Mix from LibriSpeech, the noise and public lists"))
    check = of_data.add_parser("check", help="what is there, what is missing, what is broken")
    check.add_argument("--data", type=Path, required=True, metavar="DIR")
    check.add_argument("--task", nargs="+", default=["all"], metavar="TASK")
    check.set_defaults(command=_data_check)

    board = commands.add_parser("leaderboard", help="the rows so far, beside published ones")
    board.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    board.add_argument("--reference", default="superb", metavar="superb|none", help="published rows to show beside")
    board.add_argument("--format", default="table", metavar="table|md|csv|json")
    board.add_argument("--output", type=Path, metavar="FILE", help="write there, not to the terminal")
    board.set_defaults(command=_leaderboard)

    upstream = commands.add_parser("check-upstream", help="does a model keep the contract, how exact and fast is it")
    upstream.add_argument("name", metavar="NAME|FILE.py", help="a name from `list upstreams`, or path/to/mine.py")
    upstream.add_argument("--weights", type=Path, metavar="PATH", help="weights of the upstream, where it takes any")
    upstream.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu or cuda[:N]")
    upstream.add_argument("--dtype", default="auto", metavar="DTYPE", help="auto, float32, bfloat16 or float16")
    upstream.add_argument("--json", action="store_true", help="print JSON")
    upstream.set_defaults(command=_check_upstream)

    doctor = commands.add_parser("doctor", help="versions, devices, what works and what does not")
    doctor.add_argument("--cache", type=Path, metavar="DIR")
    doctor.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    doctor.set_defaults(command=_doctor)
    return parser


def _add_cell_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--upstream", nargs="+", required=True, metavar="NAME", help="names from `list upstreams`, or path/to/mine.py")
    add("--task", nargs="+", required=True, metavar="TASK", help="names from `list tasks`, or all")
    add("--data", type=Path, metavar="DIR", help="the folder that holds the corpora")
    add("--mini", action="store_true", help="make small corpora in the cache and use the mini protocol")
    add("--protocol", metavar="NAME|FILE", help="superb, mini, or a YAML file (default: superb; with --mini, mini)")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="change the protocol: steps=1000 or ks.steps=1000")
    add("--lr", nargs="+", default=["grid"], metavar="LR", help="learning rates, or grid for the protocol's (default)")
    add("--seed", nargs="+", type=int, default=[1337])
    add("--features", default="auto", metavar="MODE", help="auto, pooled or frames (kept on disk), live (not kept)")
    add("--weights", type=Path, metavar="PATH", help="weights of the upstream, where it takes any")
    add("--cache", type=Path, metavar="DIR", help="where features and small corpora are kept (~/.cache/sslbench)")
    add("--results", type=Path, default=Path("results"), metavar="DIR", help="where rows land (results)")
    add("--device", default="auto", metavar="DEVICE", help="auto, cpu or cuda[:N]")
    add("--dtype", default="auto", metavar="DTYPE", help="auto, float32, bfloat16 or float16")
    add("--limit", type=int, metavar="N", help="use at most N examples a split; the row says so")
    add("--json", action="store_true", help="print JSON to standard output")


def _options(arguments: argparse.Namespace) -> "object":
    from benchmark.options import Options

    skipped = ("command", "dry_run", "json")
    return Options.of(**{name: value for name, value in vars(arguments).items() if name not in skipped})


def _run(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        return _plan(arguments)
    options = _options(arguments)
    from benchmark.engine import run, say

    outcome = run(options)
    if arguments.json:
        print(json.dumps([asdict(row) for row in outcome.rows], indent=1))
    failed = len(options.upstream) * len(options.task) * len(options.seed) - len(outcome.rows)
    say(
        f"{outcome.fresh} computed, {len(outcome.rows) - outcome.fresh} already done, {failed} failed. "
        f"See them: python -m benchmark leaderboard --results {options.results}"
    )
    return outcome.exit_code


def _plan(arguments: argparse.Namespace) -> int:
    options = _options(arguments)
    from benchmark.engine import say
    from benchmark.plan import lines, plan

    planned = plan(options, say)
    if arguments.json:
        print(json.dumps([asdict(cell) for cell in planned], indent=1))
    else:
        print("\n".join(lines(planned)))
    return max((cell.exit_code for cell in planned), default=0)


def _extract(arguments: argparse.Namespace) -> int:
    options = _options(arguments)
    from benchmark.engine import extract

    return extract(options).exit_code


def _list(arguments: argparse.Namespace) -> int:
    items = _LISTS[arguments.what](arguments)
    if arguments.json:
        print(json.dumps(items, indent=1))
        return 0
    from benchmark.boards import plain_table

    if items:
        print(plain_table(list(items[0]), [["" if v is None else str(v) for v in item.values()] for item in items]))
    if arguments.what == "upstreams":
        print(f"\n{_about_upstreams()}")
    return 0


def _list_upstreams(arguments: argparse.Namespace) -> list[dict]:
    from upstream import registry

    cards = [registry.card(name) for name in registry.names()]
    if arguments.json:
        return [asdict(card) for card in cards]
    return [
        {
            "name": card.name,
            "provider": card.provider,
            "params": f"{card.params / 1e6:.2f}M" if card.params else None,
            "states": f"{card.layers} x {card.dim}",
            "hop": card.hop,
            "pretrained on, or what it is": _pretraining(card.corpus, card.hours) or card.summary,
            "licence": card.licence,
        }
        for card in cards
    ]


def _pretraining(corpus: str | None, hours: int | None) -> str:
    if hours is None:
        return corpus or ""
    return f"{corpus}, {hours} h" if hours < 10_000 else f"{corpus}, {hours // 1000}k h"


def _about_upstreams() -> str:
    from upstream import registry

    short = ", ".join(f"{alias} ({name})" for alias, name in registry.aliases().items())
    return f"Short names: {short}.\n{registry.OTHER_NAMES} All that is known of each: --json"


def _list_tasks(_: argparse.Namespace) -> list[dict]:
    from downstream import tasks

    declared = [tasks.get(name) for name in tasks.TASKS]
    return [{"name": t.name, "title": t.title, "corpus": t.corpus, "metric": t.metric} for t in declared]


def _list_corpora(_: argparse.Namespace) -> list[dict]:
    from downstream.corpora import CORPORA

    return [
        {"name": c.name, "title": c.title, "folders": " + ".join(c.folders), "source": c.source, "licence": c.licence}
        for c in CORPORA.values()
    ]


def _list_protocols(_: argparse.Namespace) -> list[dict]:
    from downstream import protocols

    loaded = [protocols.load(name) for name in protocols.names()]
    return [{"name": p.name, "tasks": ", ".join(_steps(*one) for one in p.tasks.items())} for p in loaded]


def _steps(task: str, numbers: "Numbers") -> str:
    return f"{task} {numbers.settings().get('steps', 'no')} steps"


def _list_runs(arguments: argparse.Namespace) -> list[dict]:
    from benchmark.rows import DONE, read_rows
    from upstream.registry import folder_name

    return [
        {
            "name": f"{folder_name(row.upstream)}/{row.task}/{row.id}",
            "status": row.status,
            "protocol": row.protocol,
            "seed": row.seed,
            "score": f"{row.primary} {row.score['value']:.2f}" if row.status == DONE else row.error["message"],
        }
        for row in read_rows(arguments.results, _warn)
    ]


_LISTS: dict[str, Callable[[argparse.Namespace], list[dict]]] = {
    "upstreams": _list_upstreams,
    "tasks": _list_tasks,
    "corpora": _list_corpora,
    "protocols": _list_protocols,
    "runs": _list_runs,
}


def _tasks_of(asked: list[str]) -> list[str]:
    from downstream import tasks

    return list(tasks.TASKS) if "all" in asked else asked


def _corpora_of(asked: list[str]) -> list[str]:
    from downstream import tasks

    return list(dict.fromkeys(tasks.get(name).corpus for name in _tasks_of(asked)))


def _data_mini(arguments: argparse.Namespace) -> int:
    from downstream import corpora
    from downstream.corpora import mini

    wanted = dict.fromkeys(corpora.info(name).mini_name for name in _corpora_of(arguments.task))
    made = mini.make(arguments.out, list(wanted), arguments.seed)
    for corpus, folders in made.items():
        print(f"{corpus}: {', '.join(map(str, folders))}")
    return 0


def _add_librimix(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--librispeech", type=Path, required=True, metavar="DIR", help="the folder LibriSpeech")
    add(
        "--metadata",
        type=Path,
        required=True,
        metavar="DIR",
        help="lists of mixtures, or a clone of s3prl/LibriMix",
    )
    add("--wham", type=Path, metavar="DIR", help="the folder wham_noise, with tr, cv and tt; the max mode needs it")
    add("--rttm", type=Path, metavar="DIR", help="when LibriSpeech's speakers speak (else looked for beside the lists)")
    add("--out", type=Path, required=True, metavar="DIR", help="Libri2Mix is made in there; what is there is kept")
    add("--mode", nargs="+", default=["min", "max"], metavar="MODE", help="min (separation), max (diarization)")
    add("--part", nargs="+", default=["train-100", "dev", "test"], metavar="PART", help="train-100, dev, test")
    parser.set_defaults(command=_data_librimix)


def _data_librimix(arguments: argparse.Namespace) -> int:
    from downstream.corpora.librimix import make

    make(
        arguments.librispeech,
        arguments.metadata,
        arguments.out,
        arguments.wham,
        arguments.rttm,
        modes=arguments.mode,
        parts=arguments.part,
    )
    return 0


def _data_check(arguments: argparse.Namespace) -> int:
    from downstream.corpora.check import check
    from downstream.tasks.check import check_tasks

    reports = check(_corpora_of(arguments.task), arguments.data)
    for report in reports:
        print("\n".join(report.lines()))
    codes = {report.exit_code for report in reports}
    read = {report.name: report.manifest for report in reports if report.manifest is not None}
    for task, code, lines in check_tasks(_tasks_of(arguments.task), read):
        print("\n".join([f"{task}:", *(f"  {line}" for line in lines)]))
        codes.add(code)
    return 1 if 1 in codes else max(codes)


def _leaderboard(arguments: argparse.Namespace) -> int:
    from benchmark import boards
    from benchmark.rows import read_rows
    from upstream.errors import unknown

    if arguments.format not in boards.FORMATS:
        raise unknown("format", arguments.format, boards.FORMATS)
    if not arguments.results.is_dir() and arguments.results != Path("results"):
        raise MissingError(f"no folder {arguments.results}. Rows are made by: python -m benchmark run --help")
    rows = read_rows(arguments.results, _warn)
    if not rows:
        _warn(f"no rows under {arguments.results} yet; they are made by: python -m benchmark run --help")
    for row in boards.failures(rows):
        _warn(f"failed: {row.upstream} / {row.task} / seed {row.seed}: {row.error['message']}")
    text = boards.render(boards.entries(rows, arguments.reference), arguments.format, arguments.reference)
    if arguments.output:
        from downstream.files import write_text

        write_text(arguments.output, text + "\n")
        print(f"written to {arguments.output}")
    else:
        print(text)
    return 0


def _check_upstream(arguments: argparse.Namespace) -> int:
    from benchmark.check_report import report
    from upstream.check import check

    findings = check(arguments.name, arguments.weights, arguments.device, arguments.dtype)
    return report(arguments.name, arguments.weights, findings, arguments.json)


def _doctor(arguments: argparse.Namespace) -> int:
    from benchmark.doctor import examine

    findings = examine(arguments.cache, arguments.results)
    for finding in findings:
        print(finding.line())
    return 1 if any(finding.needed and not finding.well for finding in findings) else 0


def _warn(line: str) -> None:
    print(line, file=sys.stderr)
