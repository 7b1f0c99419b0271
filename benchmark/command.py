"""The command that computes a row again."""

import shlex
from dataclasses import fields

from benchmark.cells import Cell
from benchmark.options import Options
from benchmark.series import Model

_OWN = ("upstream", "series", "checkpoint", "task", "seed", "features")  # said of every cell
_OTHERS = ("tensorboard", "cache_limit", "memory_limit", "workers", "progress")  # which no row depends on


def command_of(options: Options, model: Model, cell: Cell) -> str:
    """The command for one of the cells of the options, with all that was asked for beside the defaults.

    The mode of the features is said even so: what `auto` comes to depends on what the cache has.
    """
    task, words = cell.reading.task.name, ["--upstream", model.upstream]
    if options.series:
        words = ["--series", str(options.series), "--checkpoint", str(model)]
    words += ["--task", task, "--seed", str(cell.seed), "--features", cell.mode]
    for field in fields(options):
        value = _set_for(task, options.set) if field.name == "set" else getattr(options, field.name)
        if field.name in (*_OWN, *_OTHERS) or value == field.default:
            continue
        words.append(f"--{field.name}")
        if isinstance(value, tuple):
            words += value
        elif value is not True:
            words.append(str(value))
    return shlex.join(["python", "-m", "benchmark", "run", *words])


def _set_for(task: str, changes: tuple[str, ...]) -> tuple[str, ...]:
    """The --set changes that are not of other tasks."""
    return tuple(change for change in changes if change.partition("=")[0].rpartition(".")[0] in ("", task))
