"""The command line: one module a command, imported when its command is given, so that asking for help costs nothing.

Such a module has `add_options(parser)`, which sets `command`: a function of the arguments that returns the exit code.
"""

import argparse
import sys
from importlib import import_module
from io import TextIOWrapper

from benchmark import __version__
from upstream.errors import BenchmarkError

INTERRUPTED = 130
_COMMANDS = {
    "run": "compute leaderboard rows: every upstream on every task",
    "plan": "say what `run` would do and how long it would take: data, features, bytes, seconds",
    "extract": "make the features that `run` would train on, and stop there",
    "list": "what there is",
    "data": "make small corpora, check real ones",
    "leaderboard": "the rows so far, beside published ones",
    "check-upstream": "does a model keep the contract, how exact and fast is it",
    "plot": "figures: layer weights, learning rates, training, models over tasks, data seen",
    "compare": "is one model better than another: paired significance, task by task",
    "report": "one self-contained HTML page of everything",
    "results": "bring in scores made elsewhere",
    "submit": "predict.zip for the leaderboard of SUPERB",
    "score": "score prediction files made elsewhere",
    "cache": "features that are kept: list them, verify their checksums, remove those not used",
    "doctor": "versions, devices, what works and what does not",
}


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code is 0 done, 1 a cell failed, 2 wrong usage, 3 data or weights missing."""
    words = sys.argv[1:] if argv is None else argv
    try:
        arguments = _parser(words).parse_args(words)
        if isinstance(sys.stdout, TextIOWrapper):  # what a terminal cannot show is spelt out
            sys.stdout.reconfigure(errors="backslashreplace")
        return arguments.command(arguments)
    except BenchmarkError as error:
        warn(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, and the same command continues", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        return 0
    except OSError as error:  # a file that cannot be read, or no room where the output goes
        print(f"error: {error}. Correct the path, or make room.", file=sys.stderr)
        return 1


def _parser(words: list[str]) -> argparse.ArgumentParser:
    """Of all commands, with the options of the one that is given."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark",
        description="Measure self-supervised speech models: from a model's name to a SUPERB leaderboard row.",
        epilog="Exit codes: 0 done, 1 a cell failed, 2 wrong usage, 3 data or weights missing.",
    )
    parser.add_argument("--version", action="version", version=f"sslbench {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    given = next((word for word in words if not word.startswith("-")), None)
    for name, summary in _COMMANDS.items():
        own = commands.add_parser(name, help=summary)
        if name == given:
            import_module(f"benchmark.cli.{name.replace('-', '_')}").add_options(own)
    return parser


def warn(text: str) -> None:
    """Tell the user. Names from files may hold what a terminal would act on: it is spelt out, but for line ends."""
    from benchmark.boards.wording import printable

    print("\n".join(map(printable, text.split("\n"))), file=sys.stderr)
