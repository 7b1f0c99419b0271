"""Optimizer steps of a training, some at a time: parts of a grid that can be trained apart take them side by side."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from downstream.fit.batches import Batch
from downstream.fit.learners import Learners
from downstream.fit.sampling import Draw
from downstream.fit.side_by_side import side_by_side
from downstream.objectives import Objective
from upstream.devices import threads

_AT_ONCE = 16  # whoever waited for the others after each step would wait as long as a step takes


class Step(NamedTuple):
    """What the heads learn from in one step."""

    batch: Batch
    targets: Sequence
    draw: Draw


def at_once(learners: Learners, cores: int) -> int:
    """How many steps to take at a time."""
    return _AT_ONCE if len(learners.parts(cores)) > 1 else 1


def take(objective: Objective, learners: Learners, steps: Sequence[Step], losses: Tensor, cores: int) -> Tensor:
    """Steps of every head, each with the bytes that it would have alone; returns the sums of their losses and these."""

    def of_part(part: Learners) -> Tensor:
        total = losses.clone()
        for step in steps:
            total += objective.step(part, step.batch, step.targets, step.draw).double()
        return total

    parts = learners.parts(cores)
    if len(parts) == 1:
        return of_part(parts[0])
    with threads(cores):
        found = side_by_side(of_part, parts, learners.device)
    for part, total in zip(parts[1:], found[1:], strict=True):
        found[0][part.live] = total[part.live]
    return found[0]
