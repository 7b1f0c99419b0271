"""Successive halving of a grid: points that fall behind on dev are not trained to the end.

SUPERB trains every point to the end, and the first to learn is not always the best in the end: a small learning rate
may take half of the steps to come up. So halving is careful. The worse half is dropped after an eighth of the steps,
and of what is left again after half of them, but two points are always trained to the end. A halving waits as long as
the differences between points are no larger than those between two looks at one of them: while nobody has learned
anything, the order of the points is chance.
"""

import math
from collections.abc import Sequence

import numpy as np

_WHEN = (1 / 8, 1 / 2)  # of the steps: from then on a halving is due
_LEFT = 2  # points at least
_AHEAD = 2.0  # changes of a point between two looks, by which the best has to be ahead of the worst


def to_drop(history: Sequence[dict], steps: int, higher: bool) -> list[int]:
    """The points that are trained no more after the last look of a history, of a training of so many steps.

    Where each layer has a head of its own, its learning rates are halved among themselves.
    """
    last = history[-1]
    if last["step"] >= steps or len(history) < 2:
        return []
    due = sum(last["step"] >= share * steps for share in _WHEN)
    scores = np.array([look["dev"] for look in history], float)  # NaN from where a point was dropped
    layers = np.array(last.get("layer", [0] * len(last["dev"])))
    dropped = []
    for layer in dict.fromkeys(layers.tolist()):
        points = np.flatnonzero(layers == layer)
        dropped += points[_behind(scores[:, points] if higher else -scores[:, points], due)].tolist()
    return sorted(dropped)


def _behind(scores: np.ndarray, due: int) -> list[int]:
    """Of (looks, points) scores, the higher the better: the worse half of those who live, if it is to go."""
    living = ~np.isnan(scores)
    halvings = len(set(living.sum(axis=1).tolist())) - 1  # so many there were
    live = np.flatnonzero(living[-1])
    left = max(_LEFT, math.ceil(len(live) / 2))
    if halvings >= due or left >= len(live):
        return []
    best = scores[:, live].max(axis=0)
    order = np.argsort(-best, kind="stable")  # the first of equals, in the grid's order, as in the choice at the end
    change = np.abs(np.diff(scores[:, live[order[:left]]], axis=0)).mean()
    if best[order[0]] - best[order[-1]] <= _AHEAD * change:
        return []
    return live[order[left:]].tolist()


def dropped_at(history: Sequence[dict]) -> list[int | None]:
    """After which step each point was trained no more; None if it was trained to the end of the history."""
    points = range(len(history[-1]["dev"]))
    seen = [[look["step"] for look in history if look["dev"][point] is not None] for point in points]
    return [None if own[-1] == history[-1]["step"] else own[-1] for own in seen]
