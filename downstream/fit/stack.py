"""The parameters of all points of a grid in few tensors."""

from copy import copy

import torch


class Stack:
    """One set of head parameters a point. The vectors share a tensor, each matrix has its own: few and contiguous."""

    def __init__(self, start: dict[str, torch.Tensor], points: int, device: torch.device) -> None:
        vectors = [tensor for tensor in start.values() if tensor.dim() == 1]
        self._tensors = {"vectors": torch.cat(vectors)} | {n: t for n, t in start.items() if t.dim() > 1}
        self._tensors = {n: t.to(device).repeat(points, *[1] * t.dim()) for n, t in self._tensors.items()}
        self._shapes = {name: tensor.shape for name, tensor in start.items()}
        self._name()

    def _name(self) -> None:
        """Views of every parameter by its name in `MeanLinear`, and of each point's own part of the tensors."""
        sizes = [shape.numel() for shape in self._shapes.values() if len(shape) == 1]
        vectors = iter(self._tensors["vectors"].split(sizes, dim=1))
        self.named = {n: next(vectors) if len(shape) == 1 else self._tensors[n] for n, shape in self._shapes.items()}
        self.points = [list(parts) for parts in zip(*self._tensors.values(), strict=True)]

    def like(self, fill: float | None, shared: str = "") -> "Stack":
        """Another stack of the same shape: filled, or a copy. A matrix of that name is one for all points."""
        other = copy(self)
        other._tensors = {n: t.clone() if fill is None else torch.full_like(t, fill) for n, t in self._tensors.items()}
        if shared:
            whole = other._tensors[shared]
            other._tensors[shared] = whole[:1].clone().expand_as(whole)
        other._name()
        return other

    def only(self, places: list[int]) -> "Stack":
        """The stack of the points at these places."""
        other = copy(self)
        other._tensors = {name: tensor[places] for name, tensor in self._tensors.items()}
        other._name()
        return other

    def between(self, first: int, last: int) -> "Stack":
        """The points from one place to before another, in the same memory."""
        other = copy(self)
        other._tensors = {name: tensor[first:last] for name, tensor in self._tensors.items()}
        other._name()
        return other

    def of(self, point: int) -> dict[str, torch.Tensor]:
        return {name: tensor[point] for name, tensor in self.named.items()}

    def copy_point(self, point: int, other: "Stack", place: int) -> None:
        """Take over a point from its place in another stack."""
        for mine, theirs in zip(self.points[point], other.points[place], strict=True):
            mine.copy_(theirs)

    @property
    def vectors(self) -> torch.Tensor:
        return self._tensors["vectors"]

    def state(self, prefix: str) -> dict[str, torch.Tensor]:
        return {f"{prefix}.{name}": tensor for name, tensor in self._tensors.items()}
