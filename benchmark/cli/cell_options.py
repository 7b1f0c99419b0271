"""The options that say which cells: those of `run`, `plan` and `extract`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.options import Options


def add_cell_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--upstream", nargs="+", default=[], metavar="NAME", help="names from `list upstreams`, or path/to/mine.py"
    )
    which.add_argument(
        "--series",
        type=Path,
        metavar="FILE",
        help="checkpoints, YAML or CSV: upstream, weights, batch_seconds, step (or hours)",
    )
    add("--checkpoint", nargs="+", default=[], metavar="NAME", help="only these of the series, as rows call them")
    add("--task", nargs="+", required=True, metavar="TASK", help="names from `list tasks`, or all")
    add("--data", type=Path, metavar="DIR", help="the folder that holds the corpora")
    add("--mini", action="store_true", help="make small corpora in the cache and use the mini protocol")
    add("--protocol", metavar="NAME|FILE", help="superb, mini, or a YAML file (default: superb; with --mini, mini)")
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change the protocol: steps=1000 or ks.steps=1000",
    )
    add(
        "--lr",
        nargs="+",
        default=["grid"],
        metavar="LR",
        help="learning rates; grid: the protocol's (default); auto: halved on the way",
    )
    add("--layers", default="mixed", metavar="HOW", help="mixed: a learned mix (default); each: a head for each layer")
    add("--seed", nargs="+", type=int, default=[1337])
    add("--features", default="auto", metavar="MODE", help="auto, pooled or frames (kept on disk), live (not kept)")
    add("--weights", type=Path, metavar="PATH", help="weights of the upstream, where it takes any")
    add("--cache", type=Path, metavar="DIR", help="where features and small corpora are kept (~/.cache/sslbench)")
    add("--results", type=Path, default=Path("results"), metavar="DIR", help="where rows land (results)")
    add("--device", default="auto", metavar="DEVICE", help="auto, cpu or cuda[:N]")
    add("--dtype", default="auto", metavar="DTYPE", help="auto, float32, bfloat16 or float16")
    add("--limit", type=int, metavar="N", help="use at most N examples a split; the row says so")
    add("--cache-limit", metavar="SIZE", help="the features kept in the cache take no more than that: 20GB, 500MB")
    add(
        "--memory-limit",
        metavar="SIZE",
        help="load no more upstreams at a time than fit in that (half of what is free)",
    )
    add(
        "--workers", type=int, default=1, metavar="N", help="processes that share the work, and the cores (1: this one)"
    )
    add("--json", action="store_true", help="print JSON to standard output")


def options_of(arguments: argparse.Namespace) -> "Options":
    from benchmark.options import Options

    skipped = ("command", "dry_run", "json")
    return Options.of(**{name: value for name, value in vars(arguments).items() if name not in skipped})
