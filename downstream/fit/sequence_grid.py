"""All points of a grid for heads that look at every frame: trained side by side.

A point is a learning rate, or a layer and a learning rate. Each has its own layer weights, head, Adam and gradient
clipping, exactly as if it were alone. They share the start, the batches, one reading (or hearing) of the frames, and
what chance decides of a step.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from downstream.fit.adam import Adam
from downstream.fit.head import Head
from downstream.fit.heads import single_layer
from downstream.fit.learners import dropped_points, dropped_state, refuse_other_shapes
from downstream.fit.mixed_head import MixedHead, Point
from downstream.fit.mixing import among, fitted, mixed, picked, weight_gradients
from downstream.fit.sampling import Draw
from downstream.fit.side_by_side import side_by_side
from downstream.fit.specaugment import SpecAugment
from downstream.represent.frame_features import FrameBatch
from upstream.devices import tune_memory

_AUGMENT, _DROPOUT = 11, 12  # streams of random numbers that never meet
_ONE_THREAD_BELOW = 2_000_000  # parameters
_CPU = torch.device("cpu")
_ADAM = Adam()

Losses = Callable[[Tensor, Tensor, Sequence], Tensor]


class SequenceGrid:
    """Heads on frames, one a point. `make_head` makes one, the number of its outputs is its own affair.

    `rates` has the learning rate of each point, `only_layers` the one layer that it is given, where it is not to learn
    a mix of them. `losses` gives the loss of each utterance from what the head makes of a batch, the lengths of that,
    and the targets. `wanted` says how many frames the head is to see of utterances of so many samples, where that is
    not as many as the upstream gives: what is too much is cut, what is missing is zero, or the last frame again with
    `repeat_last`.
    """

    def __init__(
        self,
        layers: int,
        make_head: Callable[[], Head],
        losses: Losses,
        rates: Sequence[float],
        clip: float,
        seed: int,
        device: torch.device,
        hop: int,
        augment: SpecAugment | None = None,
        optimizer: Adam = _ADAM,
        wanted: Callable[[Tensor], Tensor] | None = None,
        repeat_last: bool = False,
        only_layers: Sequence[int] = (),
    ) -> None:
        if device.type == "cpu":
            tune_memory()
        self.rates, self.device, self.hop = list(rates), device, hop
        self._losses, self._clip, self._seed, self._augment, self._optimizer = losses, clip, seed, augment, optimizer
        self._wanted, self._repeat_last = wanted, repeat_last
        self.only_layers = list(only_layers)
        self._learned_mix = layers > 1 and not only_layers  # a single layer has the weight one whatever happens
        self._make = lambda: MixedHead(layers, make_head())
        first = self._make()
        first.head.reset(torch.Generator().manual_seed(seed))
        self.live = list(range(len(rates)))
        self._points: list[Point] = []
        for number in range(len(rates)):
            model = self._make()
            model.load_state_dict(first.state_dict())
            if only_layers:
                model.weights.data = single_layer(only_layers[number], layers)
            self._points.append(Point(model.to(device), self._learned_mix))
        self._best: dict[int, MixedHead] = {}  # as modules, where they were asked for
        self.parameters = sum(p.numel() for p in first.parameters())

    @property
    def least_frames(self) -> int:
        """How many frames an utterance must have."""
        return self._points[self.live[0]].model.head.least_frames

    @property
    def threads(self) -> int:
        """A step of a small head is over before a second thread could help; but heads may have one each."""
        small = self.parameters < _ONE_THREAD_BELOW and len(self._points) == 1
        return 1 if self.device.type == "cpu" and small else torch.get_num_threads()

    def parts(self, count: int) -> "list[SequenceGrid]":
        """Its heads are shared out among threads within a step: the batches are too large to keep several."""
        return [self]

    def step(self, batch: FrameBatch, targets: Sequence, draw: Draw) -> Tensor:
        """One optimizer step of every point on the same utterances; returns each point's loss."""
        losses, first = torch.zeros(len(self.live), device=self.device), 0
        for number, size in enumerate(draw.sizes):
            last = first + size
            weights = torch.from_numpy(draw.weights[first:last]).to(self.device)
            part = batch.part(first, last).to(self.device)
            losses += self._backward(part, targets[first:last], weights, draw.step, number)
            first = last
        for point in self.live:
            self._points[point].update(self.rates[point], self._clip, self._optimizer)
        return among(losses, self.live, len(self.rates), math.nan)

    def _backward(self, batch: FrameBatch, targets: Sequence, weights: Tensor, step: int, micro: int) -> Tensor:
        """Add the gradients of a micro-batch to those of every point."""
        models = [self._points[point].model for point in self.live]
        softmax, sums = self._mix(batch, models, self.live)
        learned = self._learned_mix
        lengths = batch.lengths.to(self.device)
        draws = None
        if self._augment is not None:
            random = self._random(_AUGMENT, step, micro, _CPU)  # a few numbers, which are needed one by one
            draws = self._augment.draw(batch.lengths, sums[0].shape[-1], random)

        def one(number: int) -> tuple[Tensor, Tensor | None]:
            frames = sums[number].detach().requires_grad_(learned)
            heard = frames if draws is None else self._augment.apply(frames, lengths, draws)
            random = self._random(_DROPOUT, step, micro, self.device)
            found, kept = models[number].head(*self._fitted(heard, lengths, batch), random)
            loss = (self._losses(found, kept, targets) * weights).sum()
            loss.backward()
            return loss.detach(), frames.grad

        losses, d_sums = zip(*side_by_side(one, range(len(models)), self.device), strict=True)
        if learned:
            every = weight_gradients(batch, among(torch.stack(d_sums), self.live, len(self.rates)))
            d_softmax = picked(every, self.live)
            d_weights = softmax * (d_softmax - (softmax * d_softmax).sum(-1, keepdim=True))
            for model, gradient in zip(models, d_weights, strict=True):
                own = model.weights
                own.grad = gradient.clone() if own.grad is None else own.grad + gradient
        return torch.stack(losses)

    def _random(self, stream: int, step: int, micro: int, device: torch.device) -> torch.Generator:
        """A generator of its own for each purpose and step: the same for all points, and when a step is taken again."""
        entropy = np.random.SeedSequence([self._seed, stream, step, micro]).generate_state(1, np.uint64)[0]
        return torch.Generator(device).manual_seed(int(entropy) >> 1)

    def _mix(
        self, batch: FrameBatch, models: list[MixedHead], points: Sequence[int] | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Softmax weights (models, layers), and the sum of each model; those who hear the same layer share it.

        Where it is said of which points the models are, the sums are those that these have among all points.
        """
        softmax = torch.stack([model.weights.detach() for model in models]).softmax(-1)
        if self._learned_mix:
            return softmax, list(mixed(batch, softmax, points, len(self.rates)))
        distinct, numbers = softmax.unique(dim=0, return_inverse=True)
        sums = mixed(batch, distinct)
        return softmax, [sums[number] for number in numbers.tolist()]

    @torch.no_grad()
    def outputs(self, batch: FrameBatch, best: bool, points: Sequence[int] | None = None) -> list[list[Tensor]]:
        """For each point what its head answers of each utterance, on the grid's device.

        The points are those given; or all, if their best heads are asked, or else those that are trained.
        """
        if points is None:
            points = range(len(self.rates)) if best else self.live
        models = [self._model(point, best) for point in points]
        batch = batch.to(self.device)
        _, sums = self._mix(batch, models, None if best else points)
        lengths = batch.lengths.to(self.device)

        @torch.no_grad()  # which is said to each thread
        def one(number: int) -> list[Tensor]:
            found, kept = models[number].head.answer(*self._fitted(sums[number], lengths, batch))
            if found.dim() == 2:  # of whole utterances
                return list(found)
            return [own[:length] for own, length in zip(found, kept.tolist(), strict=True)]

        return side_by_side(one, range(len(models)), self.device)

    def _fitted(self, frames: Tensor, lengths: Tensor, batch: FrameBatch) -> tuple[Tensor, Tensor]:
        if self._wanted is None:
            return frames, lengths
        wanted = self._wanted(batch.samples.to(frames.device))
        return fitted(frames, lengths, wanted, self._repeat_last), wanted

    def _model(self, point: int, best: bool) -> MixedHead:
        if not best:
            return self._points[point].model
        if point not in self._best:
            self._best[point] = self.head(point).to(self.device)
        return self._best[point]

    def keep(self, point: int) -> None:
        """Remember a point's parameters as its best so far."""
        one = self._points[point]
        self._best.pop(point, None)
        for name, value in one.model.state_dict().items():
            one.best[name].copy_(value)

    def drop(self, points: Sequence[int]) -> None:
        """Train these points no more; what was kept of them stays. As long as two are left, no point can tell."""
        self.live = [point for point in self.live if point not in points]
        for point in points:
            self._points[point].end()

    def head(self, point: int) -> MixedHead:
        """The best head of a point as a plain module."""
        model = self._make()
        model.load_state_dict(self._points[point].best)
        return model

    def layer_weights(self, point: int) -> list[float]:
        """The softmax layer weights of a point's best head."""
        return self._points[point].best["weights"].double().softmax(-1).tolist()

    def state(self) -> dict[str, Tensor]:
        """Everything a continued training needs to end with the same bytes."""
        return self._state(self.live) | dropped_state(self)

    def _state(self, live: list[int]) -> dict[str, Tensor]:
        return {f"{n}.{name}": t for n, one in enumerate(self._points) for name, t in one.tensors(n in live).items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        gone = dropped_points(state)
        left = self._state([point for point in self.live if point not in gone])
        refuse_other_shapes({name: tuple(tensor.shape) for name, tensor in left.items()}, state)
        self.drop(gone)
        mine = self.state()
        self._best.clear()
        for name, tensor in state.items():
            mine[name].copy_(tensor)
