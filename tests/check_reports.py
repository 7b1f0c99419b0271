"""`check-upstream` as tests run it, and its report in parts."""

import re

from benchmark.cli import main

CHECKS = [
    *("loads", "layers", "lengths", "batch", "deterministic", "gradient", "finite", "short", "input", "dtype", "device")
]


def check_upstream(capsys, *words):
    """Exit code, what it printed, what it complained about."""
    code = main(["check-upstream", *map(str, words), "--device", "cpu"])
    out, err = capsys.readouterr()
    return code, out, err


def table(out):
    """The lines of a report: verdict, check, text."""
    return [re.split(r"\s+", line, maxsplit=2) for line in out.split("\n\n")[0].splitlines()]
