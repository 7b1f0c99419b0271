"""From the name of a speech model to a leaderboard row. Importing this package does not import torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.rows import Row

__version__ = "0.1.0"
__all__ = ["run"]


def run(upstream: str | Sequence[str] = (), task: str | Sequence[str] = (), **options: object) -> "Row | list[Row]":
    """Run cells and return their rows: one `Row` for one upstream, one task and one seed, else a list of them.

    The options are those of the command line, by the same names: `series` and `checkpoint` (in place of `upstream`),
    `data`, `mini`, `protocol`, `set`, `lr`, `layers`, `seed`, `features`, `weights`, `cache`, `results`, `device`,
    `dtype`, `limit`, `tensorboard`, `cache_limit`, `memory_limit`, `workers`. A cell that fails raises its error.
    """
    from benchmark.engine import run as run_all
    from benchmark.options import Options

    rows = run_all(Options.of(upstream=upstream, task=task, **options), raise_errors=True).rows
    return rows[0] if len(rows) == 1 else rows
