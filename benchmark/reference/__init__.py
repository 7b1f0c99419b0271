"""Published results to stand beside one's own."""

import csv
from dataclasses import dataclass
from pathlib import Path

from upstream.errors import unknown

SOURCES = {"superb": "WavLM paper, Table I (arXiv 2110.13900)"}


@dataclass(frozen=True)
class Published:
    """One published figure."""

    upstream: str
    name: str
    task: str
    metric: str
    value: float


def names() -> list[str]:
    return [*SOURCES, "none"]


def load(name: str) -> list[Published]:
    """The figures of a published table, model by model in its order; nothing for `none`."""
    if name == "none":
        return []
    if name not in SOURCES:
        raise unknown("reference", name, names())
    figures = []
    with Path(__file__).with_name(f"{name}.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            for column, value in line.items():
                task, slash, metric = column.partition("/")
                if slash:
                    figures.append(Published(line["upstream"], line["name"], task, metric, float(value)))
    return figures
