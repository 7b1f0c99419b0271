"""All points of a grid, trained side by side on the same batches: one pass over the data serves them all.

A point is a learning rate, or a layer and a learning rate. Each has its own layer weights, head, Adam and gradient
clipping, exactly as if it were alone; they share only the start and the batches. The head is linear up to its last
layer, so its gradient is written down here in closed form: a handful of batched matrix products on stacked parameters,
with no autograd between them.
"""

import math
from collections.abc import Sequence
from copy import copy
from itertools import pairwise

import torch

from downstream.fit.adam import Adam
from downstream.fit.heads import MeanLinear, single_layer
from downstream.fit.learners import dropped_points, dropped_state, refuse_other_shapes
from downstream.fit.mixing import among, picked
from downstream.fit.stack import Stack

_ONE_THREAD_BELOW = 2_000_000  # parameters, of all points together
_PARTS_ABOVE = 1_000_000  # such parameters: two threads of Python would spend a smaller step waiting for each other


class MeanLinearGrid:
    """`MeanLinear` heads for utterance classification, one a point, stacked along the first axis.

    `rates` has the learning rate of each point, `only_layers` the one layer that it is given, where it is not to learn
    a mix of them. `slots` has the number of classes of each thing to predict. The loss is the sum over slots of the
    cross entropy, averaged over the batch with the weights given.

    Points that were dropped leave the stacks. As long as two are left, none of them can tell: it learns the same bytes
    (where batch, dim and classes have odd sizes products may be rounded otherwise).
    """

    least_frames = 1

    def __init__(
        self,
        layers: int,
        dim: int,
        slots: tuple[int, ...],
        projector: int,
        rates: list[float],
        clip: float,
        seed: int,
        device: torch.device,
        only_layers: Sequence[int] = (),
    ) -> None:
        self.rates, self.slots, self.device, self._clip = list(rates), slots, device, clip
        self.only_layers = list(only_layers)
        self._learned_mix = layers > 1 and not only_layers  # a single layer has the weight one whatever happens
        self.live = list(range(len(rates)))
        self._shape = (layers, dim, projector, sum(slots))
        self._now = Stack(self._initial(seed), len(rates), device)
        for point, layer in enumerate(self.only_layers):
            self._now.named["mix.weights"][point] = single_layer(layer, layers)
        self._best, self._first, self._second = (self._now.like(fill) for fill in (None, 0, 0))
        self._grad = self._now.like(0, shared="projector.weight")
        self._adam_steps = torch.zeros(len(rates), len(self._now.points[0]), device=device)  # Adam counts by tensor
        self._parts: list[MeanLinearGrid] = []

    def _initial(self, seed: int) -> dict[str, torch.Tensor]:
        """Torch's default initialisation of the head, from a generator of its own."""
        layers, dim, projector, classes = self._shape
        random = torch.Generator().manual_seed(seed)

        def linear(outputs: int, inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
            bound, shapes = 1 / math.sqrt(inputs), ((outputs, inputs), (outputs,))
            return tuple(torch.empty(shape).uniform_(-bound, bound, generator=random) for shape in shapes)

        first, second = linear(projector, dim), linear(classes, projector)
        return {
            "mix.weights": torch.zeros(layers),
            "projector.bias": first[1],
            "classifier.bias": second[1],
            "projector.weight": first[0],
            "classifier.weight": second[0],
        }

    def step(self, means: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """One optimizer step of every point on the same (batch, layers, dim) means; returns each point's loss."""
        p, g = self._now.named, self._grad.named
        mix = p["mix.weights"].softmax(-1)
        mixed = self._mixed(mix, means, self.live)
        through = self._through_product if self._shape[3] < len(means) else self._through_hidden
        loss, back, left, right = through(mixed, targets, weights)
        if self._learned_mix:
            d_mixed = torch.bmm(*back)
            d_mixed = among(d_mixed, self.live, len(self.rates)).transpose(0, 1)
            d_mix = picked(torch.bmm(d_mixed, means.transpose(1, 2)).sum(0), self.live)
            g["mix.weights"].copy_(mix * (d_mix - (mix * d_mix).sum(-1, keepdim=True)))
        # The projector's gradient left'right is large and its squared norm is sum(left left' * right right'), of two
        # small matrices: knowing the norm beforehand saves reading and scaling it for the sake of clipping.
        squares = (torch.bmm(left, left.transpose(1, 2)) * torch.bmm(right, right.transpose(1, 2))).sum((1, 2))
        rest = [self._grad.vectors, g["classifier.weight"].flatten(1)]
        norms = (squares.clamp(min=0) + sum(gradient.square().sum(1) for gradient in rest)).sqrt()
        scale = (self._clip / (norms + 1e-6)).clamp(max=1)[:, None]
        for gradient in rest:
            gradient.mul_(scale)
        left = (left * scale[:, None]).transpose(1, 2)
        for place, norm in enumerate(norms.tolist()):
            if not math.isnan(norm):  # else this step is skipped, for that point alone
                # One point at a time, so that the gradient is read from where it was just written.
                torch.mm(left[place], right[place], out=g["projector.weight"][place])
                self._adam(place)
        return among(loss, self.live, len(self.rates), math.nan)

    def _through_hidden(
        self, mixed: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], torch.Tensor, torch.Tensor]:
        """Forward and back as the head is drawn: (batch, projector) activations in the middle.

        Returns the loss, two factors of the derivative by `mixed`, and left and right factors of the projector's
        gradient; the other gradients but the layers' are written in place.
        """
        p, g = self._now.named, self._grad.named
        hidden, logits = self._forward(p, mixed)
        loss, d_logits = self._loss(logits, targets, weights)
        d_hidden = torch.bmm(d_logits, p["classifier.weight"])
        torch.sum(d_hidden, dim=1, out=g["projector.bias"])
        torch.sum(d_logits, dim=1, out=g["classifier.bias"])
        torch.bmm(d_logits.transpose(1, 2), hidden, out=g["classifier.weight"])
        return loss, (d_hidden, p["projector.weight"]), d_hidden, mixed

    def _through_product(
        self, mixed: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], torch.Tensor, torch.Tensor]:
        """The same function, cheaper with fewer classes than utterances: two Linears in a row are one matrix."""
        p, g = self._now.named, self._grad.named
        first, second = p["projector.weight"], p["classifier.weight"]
        product = torch.bmm(second, first)
        bias = torch.baddbmm(p["classifier.bias"][..., None], second, p["projector.bias"][..., None])
        logits = torch.baddbmm(bias.transpose(1, 2), mixed, product.transpose(1, 2))
        loss, d_logits = self._loss(logits, targets, weights)
        d_bias = d_logits.sum(dim=1)
        d_product = torch.bmm(d_logits.transpose(1, 2), mixed)
        g["classifier.bias"].copy_(d_bias)
        g["projector.bias"].copy_(torch.bmm(d_bias[:, None], second).squeeze(1))
        outer = d_bias[..., None] * p["projector.bias"][:, None]
        torch.baddbmm(outer, d_product, first.transpose(1, 2), out=g["classifier.weight"])
        return loss, (d_logits, product), second, d_product

    def _adam(self, place: int) -> None:
        """Torch's own fused Adam on the tensors of the point at a place of the stacks."""
        Adam().step(
            self._now.points[place],
            self._grad.points[place],
            self._first.points[place],
            self._second.points[place],
            list(self._adam_steps[place]),
            self.rates[self.live[place]],
        )

    def _mixed(self, mix: torch.Tensor, means: torch.Tensor, points: list[int]) -> torch.Tensor:
        """What each of the points hears, whose softmax weights are given."""
        if self._learned_mix:
            sums = torch.matmul(among(mix, points, len(self.rates)), means)
            return picked(sums.transpose(0, 1), points)
        if self._shape[0] > 1:
            return means.transpose(0, 1)[[self.only_layers[point] for point in points]]
        return means[:, 0].expand(len(mix), -1, -1)

    @staticmethod
    def _forward(p: dict[str, torch.Tensor], mixed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.baddbmm(p["projector.bias"][:, None], mixed, p["projector.weight"].transpose(1, 2))
        return hidden, torch.baddbmm(p["classifier.bias"][:, None], hidden, p["classifier.weight"].transpose(1, 2))

    def _loss(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each point's loss and its derivative by the logits, slot by slot."""
        loss, derivatives = 0, []
        for block, target in zip(logits.split(self.slots, dim=-1), targets.T, strict=True):
            log_probability = block.log_softmax(-1)
            right = target.view(1, -1, 1).expand(len(block), -1, 1)
            of_right = among(log_probability.gather(-1, right).squeeze(-1), self.live, len(self.rates))
            loss = loss - picked(of_right @ weights, self.live)
            derivative = log_probability.exp()
            derivative.scatter_add_(-1, right, derivative.new_full((1, 1, 1), -1.0).expand_as(right))
            derivatives.append(derivative.mul_(weights[:, None]))
        return loss, torch.cat(derivatives, dim=-1) if len(derivatives) > 1 else derivatives[0]

    @torch.inference_mode()
    def predict(self, means: torch.Tensor, best: bool = False) -> torch.Tensor:
        """(points, batch, slots) classes: by the best kept of all points, or by what those that are trained are now."""
        p, points = (self._best.named, list(range(len(self.rates)))) if best else (self._now.named, self.live)
        _, logits = self._forward(p, self._mixed(p["mix.weights"].softmax(-1), means, points))
        return torch.stack([block.argmax(-1) for block in logits.split(self.slots, dim=-1)], dim=-1)

    def keep(self, point: int) -> None:
        """Remember a point's parameters as its best so far."""
        self._best.copy_point(point, self._now, self.live.index(point))

    def drop(self, points: Sequence[int]) -> None:
        """Train these points no more; what was kept of them stays."""
        places = [place for place, point in enumerate(self.live) if point not in points]
        self.live = [self.live[place] for place in places]
        self._now, self._first, self._second = (stack.only(places) for stack in (self._now, self._first, self._second))
        self._grad = self._now.like(0, shared="projector.weight")
        self._adam_steps = self._adam_steps[places]
        self._parts = []

    def parts(self, count: int) -> "list[MeanLinearGrid]":
        """Some neighbouring points each, and at least two, so that none of them can tell."""
        count = min(count, len(self.live) // 2)
        if self.device.type != "cpu" or count < 2 or self._parameters < _PARTS_ABOVE:
            return [self]
        if len(self._parts) != count:
            ends = [len(self.live) * number // count for number in range(count + 1)]
            self._parts = [self._part(first, last) for first, last in pairwise(ends)]
        return self._parts

    def _part(self, first: int, last: int) -> "MeanLinearGrid":
        part = copy(self)
        part.live, part._adam_steps = self.live[first:last], self._adam_steps[first:last]
        part._now, part._first, part._second = (
            stack.between(first, last) for stack in (self._now, self._first, self._second)
        )
        part._grad = part._now.like(0, shared="projector.weight")
        return part

    @property
    def _parameters(self) -> int:
        return sum(tensor.numel() for tensor in self._best.named.values())

    @property
    def threads(self) -> int:
        """A step of a small grid is over before a second thread could help."""
        small = self._parameters < _ONE_THREAD_BELOW
        return 1 if self.device.type == "cpu" and small else torch.get_num_threads()

    def head(self, point: int) -> MeanLinear:
        """The best head of a point as a plain module."""
        layers, dim, projector, classes = self._shape
        head = MeanLinear(layers, dim, projector, classes)
        head.load_state_dict(self._best.of(point))
        return head

    def layer_weights(self, point: int) -> list[float]:
        """The softmax layer weights of a point's best head."""
        return self._best.of(point)["mix.weights"].double().softmax(-1).tolist()

    def state(self) -> dict[str, torch.Tensor]:
        """Everything a continued training needs to end with the same bytes."""
        stacks = {"now": self._now, "best": self._best, "first_moment": self._first, "second_moment": self._second}
        tensors = {"adam_steps": self._adam_steps}
        for name, stack in stacks.items():
            tensors |= stack.state(name)
        return tensors | dropped_state(self)

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        gone = dropped_points(state)
        shapes = {
            name: (len(tensor) if name.startswith("best.") else len(tensor) - len(gone), *tensor.shape[1:])
            for name, tensor in self.state().items()
        }
        refuse_other_shapes(shapes, state)
        self.drop(gone)
        mine = self.state()
        for name, tensor in state.items():
            mine[name].copy_(tensor)
