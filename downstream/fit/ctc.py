"""What is true of CTC whoever computes it."""

from collections.abc import Sequence
from itertools import pairwise

BLANK = 0  # the number of the output that is left out, of all heads here


def frames_needed(target: Sequence[int]) -> int:
    """The fewest frames on which a target can be written: one an output, and a blank between equal neighbours."""
    return len(target) + sum(a == b for a, b in pairwise(target))
