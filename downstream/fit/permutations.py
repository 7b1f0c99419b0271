"""Which output is which speaker: nobody says, so a loss takes the assignment that costs least."""

from itertools import permutations

import torch
from torch import Tensor


def assigned(costs: Tensor) -> tuple[Tensor, Tensor]:
    """The least sum over all one-to-one assignments, and which target each output got in it.

    `costs` (..., outputs, targets) has what it costs to take an output for a target. Of equal sums the first counts.
    """
    number = costs.shape[-1]
    orders = torch.tensor(list(permutations(range(number))), device=costs.device)
    sums = costs[..., torch.arange(number, device=costs.device), orders].sum(-1)
    least, chosen = sums.min(-1)
    return least, orders[chosen]
