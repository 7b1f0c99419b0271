"""What a mini corpus is before it is made: the files it will have, and how to make each."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Clip:
    """One audio file. `render` gives its int16 samples from a generator of its own: the order of making is free."""

    path: str
    render: Callable[[np.random.Generator], np.ndarray]
    rate: int | None = None  # of the file, where it is not what files of its kind have


@dataclass(frozen=True)
class Plan:
    """A corpus to be made. The paths of clips and texts begin with one of the top folders."""

    tops: tuple[str, ...]
    clips: list[Clip]
    texts: dict[str, str]
    counts: dict[str, int]  # what a reader of the corpus should find in each split
    also: dict[str, dict[str, int]] = field(default_factory=dict)  # the same of other readers: corpus name -> counts


def scaled(count: int, scale: float, least: int = 1) -> int:
    """How many are left of so many when a corpus is made smaller, never less than what keeps every class alive."""
    return max(least, round(count * scale))
