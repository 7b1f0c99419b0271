"""The cost of finding a query somewhere in a document: subsequence dynamic time warping, compiled for the CPU.

A path gives each frame of the query a frame of the document, beginning and ending anywhere; from one frame of the query
to the next it goes on by no, one or two frames of the document. Its cost is the mean of its distances, which are scaled
to lie between 0 and 1 for each frame of the query.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from downstream.search.compiling import machine_code

APART = 2  # places before the first frame of a document: how far a path goes on at most
LEAST_RANGE = 1e-9
_DEGREE = {np.float32: 8, np.float64: 14}  # with which the growth of exp(x) is as exact as such numbers can be


class Warping:
    """Costs of queries, one stacked on the other, in one document. Their distances come in any parts, from the top.

    Distances must be finite. With `exponential` the loops take exp(distance) - 1 of distances between 0 and 2.
    """

    def __init__(self, query_lengths: np.ndarray, document_length: int, exponential: bool) -> None:
        self.costs = np.full(len(query_lengths), np.nan)
        self._lengths, self._exponential = query_lengths, exponential
        self._place = np.zeros(2, dtype=np.int64)
        self._reached = np.full((2, APART + document_length), np.inf)

    def advance(self, distances: np.ndarray, least: np.ndarray, most: np.ndarray) -> None:
        """Go on by some frames of queries, with the least and the largest distance of each."""
        loops = compiled(distances.dtype.type, self._exponential)
        loops(distances, least, most, self._lengths, self._place, self._reached, self.costs)


@cache
def compiled(kind: type, exponential: bool) -> Callable[..., None]:
    """The loops for one kind of number. They become machine code, which takes a few seconds, when they first run."""
    highest, *others = growth_factors(kind)
    others = tuple(others)

    # Without these promises a loop goes number by number. There are no NaNs, and 0 and -0 are the same cost.
    @machine_code("nnan", "nsz", "contract")
    def advance(distances, least, most, lengths, place, reached, costs):  # noqa: ANN001, ANN202
        rows, frames = distances.shape
        query, frame = place
        before, after = reached[0], reached[1]
        above = np.empty(frames, distances.dtype)  # the least distance of the row
        for number in range(rows):
            row, low = distances[number], least[number]
            width, narrowest = np.float64(most[number] - low), LEAST_RANGE
            if exponential:  # exp(d) - exp(low), both divided by exp(low)
                for j in range(frames):
                    growth = highest
                    for factor in others:
                        growth = growth * (row[j] - low) + factor
                    above[j] = growth * (row[j] - low)
                width, narrowest = np.expm1(width), narrowest * np.exp(-np.float64(low))
            else:
                for j in range(frames):
                    above[j] = row[j] - low
            scale = 1 / max(width, narrowest)
            if frame == 0:
                before[APART:] = 0
            for j in range(frames):
                after[j + 2] = min(before[j + 2], min(before[j + 1], before[j])) + above[j] * scale
            before, after = after, before
            frame += 1
            if frame == lengths[query]:
                costs[query] = before[APART:].min() / frame
                query, frame = query + 1, 0
        place[:] = query, frame
        if rows % 2:
            reached[0] = before

    return advance


@cache
def growth_factors(kind: type) -> tuple:
    """Of the polynomial that is (exp(x) - 1) / x for x between 0 and 2, the highest power first."""
    series = Chebyshev.interpolate(lambda x: np.expm1(x) / x, _DEGREE[kind], domain=[0, 2])
    return tuple(kind(factor) for factor in series.convert(kind=Polynomial, domain=[-1, 1]).coef[::-1])
