"""What the training loop and the rows want of a set of heads that are trained side by side, one a point of a grid."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

_DROPPED = "dropped"  # in a state: the numbers of the points that are trained no more


class Learners(Protocol):
    rates: list[float]  # of each point
    live: list[int]  # the points that are trained: all but those that were dropped, in their order
    only_layers: list[int]  # of each point the one layer that it hears; empty where each learns a mix of all
    device: torch.device
    least_frames: int  # of an utterance
    threads: int  # with how many torch should compute its steps

    def keep(self, point: int) -> None:
        """Remember a point's parameters as its best so far."""

    def drop(self, points: Sequence[int]) -> None:
        """Train these points no more; what was kept of them stays. From then on their losses are no numbers."""

    def parts(self, count: int) -> "Sequence[Learners]":
        """Itself; or up to so many sets of some of its heads each, in the same memory, if side by side they are faster.

        Parts only take steps: a point's loss is right in the part where it is live.
        """

    def head(self, point: int) -> nn.Module:
        """The best head of a point as a plain module."""

    def layer_weights(self, point: int) -> list[float]:
        """The softmax layer weights of a point's best head."""

    def outputs(self, batch: object, best: bool, points: Sequence[int] | None = None) -> list[list[torch.Tensor]]:
        """For each point what its head answers of each utterance; of heads on frames.

        The points are those given; or all, if their best heads are asked, or else those that are trained.
        """

    def state(self) -> dict[str, torch.Tensor]:
        """Everything a continued training needs to end with the same bytes."""

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from a state; a `ValueError` says why it does not fit."""


def dropped_state(learners: Learners) -> dict[str, torch.Tensor]:
    """What a state says of points that were dropped: nothing where there are none."""
    gone = sorted(set(range(len(learners.rates))) - set(learners.live))
    return {_DROPPED: torch.tensor(gone)} if gone else {}


def dropped_points(state: dict[str, torch.Tensor]) -> list[int]:
    return state[_DROPPED].tolist() if _DROPPED in state else []


def refuse_other_shapes(expected: dict[str, tuple[int, ...]], state: dict[str, torch.Tensor]) -> None:
    if expected != {name: tuple(tensor.shape) for name, tensor in state.items() if name != _DROPPED}:
        raise ValueError("it is of a grid of another shape")
