"""`plan`: what `run` would do, and how long that would take."""

import argparse
import json
from dataclasses import asdict

from benchmark.cli.cell_options import add_cell_options, options_of


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what `run` with the same arguments would do: cells, data found or missing, audio to hear, bytes to keep "
        "and seconds by hop. Nothing is changed but `rates.json` in the cache: how fast this machine is, which is "
        "measured the first time."
    )
    add_cell_options(parser)
    parser.set_defaults(command=show)


def show(arguments: argparse.Namespace) -> int:
    options = options_of(arguments)
    from benchmark.engine import say
    from benchmark.planning.plan import plan
    from benchmark.planning.text import lines

    found = plan(options, say)
    if arguments.json:
        print(json.dumps([asdict(cell) for cell in found.cells], indent=1))
    else:
        print("\n".join(lines(found)))
    return found.exit_code
