"""The optimizer of every task: torch's own fused Adam, with the numbers that SUPERB never changes."""

import torch
from torch.optim.adam import adam


def adam_step(
    parameters: list[torch.Tensor],
    gradients: list[torch.Tensor],
    first: list[torch.Tensor],
    second: list[torch.Tensor],
    steps: list[torch.Tensor],
    rate: float,
) -> None:
    """One step, in place: of the parameters, their two moments, and the counts of steps."""
    adam(
        parameters,
        gradients,
        first,
        second,
        [],
        state_steps=steps,
        fused=True,
        lr=rate,
        beta1=0.9,
        beta2=0.999,
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        maximize=False,
    )
