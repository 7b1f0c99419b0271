"""The optimizer of every task: torch's own fused Adam, with what SUPERB changes of it for some."""

from dataclasses import dataclass

import torch

_FIRST, _SECOND = 0.9, 0.999


@dataclass(frozen=True)
class Adam:
    """With `weight_decay` it is AdamW. `early_eps` adds eps before the bias of the second moment is corrected, as the
    first AdamW of transformers did: a larger eps in the first thousand steps."""

    weight_decay: float = 0.0
    eps: float = 1e-8
    early_eps: bool = False

    def step(
        self,
        parameters: list[torch.Tensor],
        gradients: list[torch.Tensor],
        first: list[torch.Tensor],
        second: list[torch.Tensor],
        steps: list[torch.Tensor],
        rate: float,
    ) -> None:
        """One step, in place: of the parameters, their two moments, and the counts of steps."""
        if self.weight_decay:
            torch._foreach_mul_(parameters, 1 - rate * self.weight_decay)
        eps = self.eps / (1 - _SECOND ** (float(steps[0]) + 1)) ** 0.5 if self.early_eps else self.eps
        # What torch.optim comes to in the end: on its way there it spends as long as a small head takes to learn.
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            parameters,
            gradients,
            first,
            second,
            [],
            steps,
            lr=rate,
            beta1=_FIRST,
            beta2=_SECOND,
            weight_decay=0,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )
