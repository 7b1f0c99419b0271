"""One point of a grid of heads on frames: a head with its layer weights, and how far its training is."""

import math

import torch
from torch import Tensor, nn

from downstream.fit.adam import Adam
from downstream.fit.head import Head


class MixedHead(nn.Module):
    """A head with the layer weights before it: what a point of the grid trains, and what a row keeps of it."""

    def __init__(self, layers: int, head: Head) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.head = head


class Point:
    """One head: its parameters, its Adam, its best state so far."""

    def __init__(self, model: MixedHead, learned_mix: bool) -> None:
        self.model = model
        self.trained = [p for name, p in model.named_parameters() if name != "weights" or learned_mix]
        self.first, self.second = ([torch.zeros_like(p) for p in self.trained] for _ in range(2))
        self.steps = [torch.zeros((), device=p.device) for p in self.trained]
        self.best = {name: value.clone() for name, value in model.state_dict().items()}

    def end(self) -> None:
        """Let go of all but the best state."""
        self.model, self.trained, self.first, self.second, self.steps = None, [], [], [], []

    def tensors(self, live: bool = True) -> dict[str, Tensor]:
        found = {f"best.{name}": value for name, value in self.best.items()}
        if not live:
            return found
        found |= {f"now.{name}": value for name, value in self.model.state_dict().items()}
        for name, values in (("first", self.first), ("second", self.second), ("steps", self.steps)):
            found |= {f"{name}.{number}": value for number, value in enumerate(values)}
        return found

    @torch.no_grad()
    def update(self, rate: float, clip: float, optimizer: Adam) -> None:
        """Clip the whole gradient and take one step; none where the gradient is no number."""
        gradients = [p.grad for p in self.trained]
        norm = float(nn.utils.get_total_norm(gradients))
        if not math.isnan(norm):
            scale = clip / (norm + 1e-6)
            if scale < 1:
                torch._foreach_mul_(gradients, scale)
            parameters = [p.detach() for p in self.trained]
            optimizer.step(parameters, gradients, self.first, self.second, self.steps, rate)
        for p in self.trained:
            p.grad = None
